//! Every kind of pod that there is.

use k8s_relay::{
    config::{Config, Containers, Escalate, Lists, Reannounce},
    model::Kind,
    sim::{
        cluster::Cluster,
        kube::{Container, Meta, Object, Owner, Pod, Report, SimApi, Sort},
    },
};

use super::world::World;

/// All kinds of owners, containers and addresses, in two namespaces.
fn fill(api: &SimApi) {
    api.populate(&Cluster::new(4, 12));
    for namespace in ["a", "b"] {
        let uid = |name: &str| format!("{namespace}-{name}");
        let meta = |name: &str| Meta::new(namespace, name, &uid(name));
        let owner = |kind: &str, name: &str| Owner::controller(kind, name, &uid(name));
        let volcano = Owner::custom("batch.volcano.sh/v1alpha1", "Job", "train", &uid("train"));
        let rollout = Owner::custom("argoproj.io/v1alpha1", "Rollout", "canary", &uid("canary"));
        api.apply(Object::replica_set(
            meta("web-1").of(owner("Deployment", "web")),
        ));
        api.apply(Object::replica_set(meta("canary-1").of(rollout)));
        api.apply(Object::replica_set(meta("orphaned")));
        api.apply(Object::job(meta("night-1").of(owner("CronJob", "night"))));
        api.apply(Object::job(meta("once")));
        let mut last = 0;
        let mut pod = |name: &str| {
            last += 1;
            Pod::new(namespace, name, &uid(name))
                .address(&format!("10.1.0.{last}"))
                .container(
                    "main",
                    "shop/main:1",
                    &format!("containerd://{namespace}-{last}"),
                )
        };
        for of in [
            ("web-1-x", owner("ReplicaSet", "web-1")),
            ("canary-1-x", owner("ReplicaSet", "canary-1")),
            ("orphaned-x", owner("ReplicaSet", "orphaned")),
            ("night-1-x", owner("Job", "night-1")),
            ("once-x", owner("Job", "once")),
            ("db-0", owner("StatefulSet", "db")),
            ("agent-x", owner("DaemonSet", "agent")),
            ("kube-proxy-x", owner("Node", "node-1")),
            ("train-0", volcano),
            ("adopted", owner("Deployment", "other").not_controlling()),
        ] {
            let (name, owner) = of;
            api.apply(pod(name).of(owner).label("app", name));
        }
        api.apply(pod("bare").host_network().label("tier", "front"));
        api.apply(
            pod("sidecars")
                .init(Container::running("mesh", "shop/mesh:2", &uid("mesh")))
                .init(Container {
                    report: Report::Ended(uid("setup")),
                    ..Container::unreported("setup", "shop/setup:1")
                })
                .init(Container {
                    report: Report::Waiting,
                    ..Container::unreported("waits", "shop/waits:1")
                })
                .ephemeral(Container::running("debug", "busybox", &uid("debug")))
                .label("tier", "front"),
        );
        let plain = |name: &str| Pod::new(namespace, name, &uid(name));
        api.apply(plain("dual").address("2001:db8::1").address("10.2.0.1"));
        api.apply(
            plain("dual-4-first")
                .address("10.2.0.2")
                .address("2001:db8::2"),
        );
        api.apply(plain("only-6").address("2001:db8::3"));
        api.apply(plain("pending").container("main", "shop/main:1", ""));
    }
}

/// Replaces what is there, and adds and removes some, as it happens in any cluster.
fn live_on(api: &SimApi) {
    let started = Pod::new("a", "pending", "a-pending").address("10.3.0.1");
    api.apply(started.container("main", "shop/main:1", "containerd://late"));
    api.delete(Kind::POD, "a", "web-1-x").unwrap();
    api.delete(Kind::POD, "b", "only-6").unwrap();
    let again = Owner::controller("ReplicaSet", "web-1", "a-web-1");
    api.apply(
        Pod::new("a", "web-1-y", "a-web-1-y")
            .address("10.3.0.2")
            .of(again),
    );
    // The pod first: it waits for its ReplicaSet.
    let next = Owner::controller("ReplicaSet", "web-2", "b-web-2");
    api.apply(
        Pod::new("b", "web-2-x", "b-web-2-x")
            .address("10.3.0.3")
            .of(next),
    );
    let web = Owner::controller("Deployment", "web", "b-web");
    api.apply(Object::replica_set(
        Meta::new("b", "web-2", "b-web-2").of(web),
    ));
}

#[tokio::test]
async fn every_kind_of_pod_is_known_as_the_api_server_has_it_however_it_is_listed() {
    for (list, sort, not) in [
        (Lists::WatchList, Sort::WatchList, Sort::List),
        (Lists::Pages, Sort::List, Sort::WatchList),
        (Lists::Auto, Sort::WatchList, Sort::List),
    ] {
        let set = |config: &mut Config| {
            config.native.list = list;
            config.native.page_size = 7;
            config.reannounce = Reannounce::OnChange;
        };
        let world = World::with(fill, set).await;
        world.known().await;
        live_on(&world.api);
        world.known().await;
        let (asked, other) = world
            .api
            .requests(|book| (book.count(Kind::POD, sort), book.count(Kind::POD, not)));
        assert_eq!((asked, other), (1, 0), "{list}");
        world.end().await;
    }
}

#[tokio::test]
async fn a_server_without_streamed_lists_is_listed_in_pages() {
    let world = World::with(
        |api| {
            api.set_watch_list(false);
            fill(api);
        },
        |config| config.reannounce = Reannounce::OnChange,
    )
    .await;
    world.known().await;
    live_on(&world.api);
    world.known().await;
}

#[tokio::test]
async fn only_the_named_namespaces_are_watched_each_by_its_own_watches() {
    let world = World::with(fill, |config| {
        config.native.namespaces = vec!["a".to_owned(), "b".to_owned()];
    })
    .await;
    let watched =
        |pod: &k8s_relay::sim::kube::expected_state::Known| ["a", "b"].contains(&&*pod.namespace);
    world.known_of(watched).await;
    live_on(&world.api);
    world.known_of(watched).await;
    assert!(
        world
            .expected_state()
            .pods
            .values()
            .any(|pod| !watched(pod)),
        "there is more in the cluster"
    );
    assert_eq!(world.lists(), [2, 2, 2]);
    // A list of one namespace says nothing of the other.
    let before = world.messages();
    world
        .missed(|api| {
            api.delete(Kind::POD, "b", "bare").unwrap();
        })
        .await;
    world.known_of(watched).await;
    world.quiet_in("a").await;
    assert_eq!(world.sent_since(before), ["pod_delete b-bare"]);
}

#[tokio::test]
async fn a_selector_chooses_pods_and_leaves_their_owners_be() {
    let chosen = ["web-1-x", "night-1-x", "bare", "sidecars"];
    for selector in ["app in (web-1-x, night-1-x)", "tier=front"] {
        let world = World::with(fill, |config| {
            config.native.selector = Some(selector.to_owned());
        })
        .await;
        let two = match selector {
            "tier=front" => &chosen[2..],
            _ => &chosen[..2],
        };
        let is_chosen =
            |pod: &k8s_relay::sim::kube::expected_state::Known| two.contains(&&*pod.name);
        world.known_of(is_chosen).await;
        live_on(&world.api);
        world.known_of(is_chosen).await;
    }
}

#[tokio::test]
async fn who_wants_main_containers_only_gets_no_others() {
    let world = World::with(fill, |config| {
        config.native.containers = Containers::Main;
    })
    .await
    .strict();
    world.known().await;
    world.reducer.with(|state| {
        let pod = state.reducer_state().unwrap().pod(b"a-sidecars").unwrap();
        assert_eq!(pod.containers().len(), 1);
    });
}

#[tokio::test]
async fn any_controller_of_a_replica_set_may_be_the_owner() {
    for (escalate, owner) in [(Escalate::Known, "canary-1"), (Escalate::Any, "canary")] {
        let world = World::with(fill, |config| config.escalate = escalate)
            .await
            .strict();
        world.known().await;
        world.reducer.with(|state| {
            let pod = state.reducer_state().unwrap().pod(b"a-canary-1-x").unwrap();
            assert_eq!(pod.owner_name(), owner.as_bytes());
        });
    }
}
