//! What a list after the first one sends.

use k8s_relay::{
    config::Reannounce,
    model::Kind,
    sim::kube::{Meta, Object, Owner, Pod, SimApi, store::key},
};

use super::world::World;

fn bare(name: &str) -> Pod {
    let pod = Pod::new("shop", name, name).address("10.0.0.1");
    pod.container("main", "shop/main:1", &format!("id-{name}"))
}

fn cluster(api: &SimApi) {
    for name in ["one", "two", "three"] {
        api.apply(bare(name));
    }
    let web = Owner::controller("Deployment", "web", "web");
    api.apply(Object::replica_set(Meta::new("shop", "set", "set").of(web)));
    api.apply(bare("web").of(Owner::controller("ReplicaSet", "set", "set")));
}

#[tokio::test]
async fn nothing_has_changed_and_nothing_is_sent() {
    for reannounce in [Reannounce::Never, Reannounce::OnChange] {
        let world = World::with(cluster, |config| config.reannounce = reannounce).await;
        world.quiet().await;
        let before = world.messages();
        // The other kinds are listed again because the version has gone on.
        world
            .missed(|api| {
                let set = key("shop", "set");
                api.change(|store| store.touch(Kind::REPLICA_SET, &set))
                    .unwrap();
            })
            .await;
        world.quiet().await;
        assert_eq!(world.lists(), [2, 2, 2]);
        assert_eq!(world.sent_since(before), [""; 0]);
        assert_eq!(world.wrong(), None);
    }
}

#[tokio::test]
async fn only_the_difference_is_sent() {
    let world = World::of(cluster).await;
    world.quiet().await;
    let before = world.messages();
    world
        .missed(|api| {
            api.delete(Kind::POD, "shop", "one").unwrap();
            api.delete(Kind::POD, "shop", "two").unwrap();
            api.apply(Pod {
                meta: Meta::new("shop", "two", "two-again"),
                ..bare("two")
            });
            api.apply(bare("three").container("more", "shop/more:1", "id-more"));
            api.delete(Kind::REPLICA_SET, "shop", "set").unwrap();
            api.apply(bare("four"));
        })
        .await;
    world.quiet().await;
    let mut sent = world.sent_since(before);
    sent.sort_unstable();
    let expected = [
        "pod_container four",
        "pod_container three",
        "pod_container two-again",
        "pod_delete one",
        "pod_delete two",
        "pod_new_with_name four",
        "pod_new_with_name two-again",
    ];
    assert_eq!(sent, expected);
    assert_eq!(world.wrong(), None);
}

#[tokio::test]
async fn what_expires_while_it_is_watched_is_listed_again_at_once() {
    let world = World::of(cluster).await;
    world.quiet().await;
    let before = world.messages();
    let gone = k8s_relay::sim::kube::Fault::gone_in_stream;
    let when = || k8s_relay::sim::kube::When::watch().of(Kind::POD).once();
    world.api.fault(when(), gone());
    world.api.end_watches();
    world.quiet().await;
    assert_eq!(world.lists(), [2, 1, 1]);
    world
        .api
        .fault(when(), k8s_relay::sim::kube::Fault::code(410));
    world.api.end_watches();
    world.quiet().await;
    assert_eq!(world.lists(), [3, 1, 1]);
    assert_eq!(world.sent_since(before), [""; 0]);
}

#[tokio::test]
async fn who_wants_everything_again_gets_it_after_a_resync() {
    let world = World::with(cluster, |config| config.native.relist_resync = true).await;
    world.quiet().await;
    let before = world.messages();
    world
        .missed(|api| {
            api.delete(Kind::POD, "shop", "one").unwrap();
        })
        .await;
    world.quiet().await;
    let sent = world.sent_since(before);
    let resyncs = sent.iter().filter(|sent| sent.starts_with("pod_resync"));
    assert_eq!(resyncs.count(), 1, "{sent:?}");
    for pod in ["two", "three", "web"] {
        let sent = sent.contains(&format!("pod_new_with_name {pod}"));
        assert!(sent, "{pod} is announced again");
    }
    assert_eq!(world.wrong(), None);
}

#[tokio::test]
async fn an_etcd_that_was_restored_is_listed_again() {
    let world = World::of(cluster).await;
    world.quiet().await;
    // An event of each kind since its list: the next one need not wait.
    world.quiet().await;
    let before = world.messages();
    world.api.change(|store| {
        store.delete(Kind::POD, "shop/one");
        store.reset_to_version(3);
    });
    world.api.reset_to_version(3);
    world.quiet().await;
    assert_eq!(world.sent_since(before), ["pod_delete one"]);
    assert_eq!(world.wrong(), None);
}
