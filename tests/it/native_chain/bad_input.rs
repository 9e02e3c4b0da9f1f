//! Objects as no cluster should have them, and histories as few have.

use k8s_relay::{
    config::{Config, Lists, Reannounce},
    model::Kind,
    sim::kube::{Meta, Object, Owner, Pod, Raw, SimApi},
};
use serde_json::{Value, json};

use super::world::World;

fn bare(name: &str) -> Pod {
    Pod::new("shop", name, name).address("10.0.0.1")
}

fn on_change(config: &mut Config) {
    config.reannounce = Reannounce::OnChange;
}

/// Pods, ReplicaSets and Jobs with names, images and containers of this size.
fn sized(api: &SimApi, length: usize) {
    let long = |first: char| -> String {
        let rest = std::iter::repeat_n('x', length.saturating_sub(1));
        std::iter::once(first).chain(rest).take(length).collect()
    };
    let uid = |what: &str| format!("{what}-{length}");
    let (name, image) = (long('n'), long('i'));
    api.apply(
        Pod::new("shop", &name, &uid("pod"))
            .address("10.0.0.1")
            .container(&name, &image, &uid("id")),
    );
    let (set, web) = (
        uid("set"),
        Owner::controller("Deployment", &long('d'), &uid("web")),
    );
    api.apply(Object::replica_set(
        Meta::new("shop", &long('s'), &set).of(web),
    ));
    let of = Owner::controller("ReplicaSet", &long('s'), &set);
    api.apply(bare(&uid("owned")).of(of));
    let (job, night) = (
        uid("job"),
        Owner::controller("CronJob", &long('c'), &uid("night")),
    );
    api.apply(Object::job(Meta::new("shop", &long('j'), &job).of(night)));
    api.apply(bare(&uid("done")).of(Owner::controller("Job", &long('j'), &job)));
    // A namespace of that length, too.
    api.apply(Pod::new(&long('m'), "here", &uid("inside")).address("10.0.0.1"));
    let many = (0..250).map(|n| (format!("c-{n}"), format!("{}-{n}", uid("many"))));
    let many = many.fold(bare(&uid("crowd")), |pod, (name, id)| {
        pod.container(&name, "shop/main:1", &id)
    });
    api.apply(many);
}

#[tokio::test]
async fn names_and_images_may_be_empty_or_long_and_containers_many() {
    for list in [Lists::Pages, Lists::WatchList] {
        let world = World::with(
            |api| sized(api, 0),
            |config| {
                on_change(config);
                config.native.list = list;
            },
        )
        .await;
        world.known().await;
        sized(&world.api, 1_000);
        world.known().await;
        world.end().await;
    }
}

#[tokio::test]
async fn texts_that_no_message_holds_are_cut_and_all_else_is_sent() {
    let world = World::with(|api| sized(api, 30_000), |_| ()).await;
    world.quiet().await;
    sized(&world.api, 30_001);
    world.quiet().await;
    let expected_state = world.expected_state();
    world.reducer.with(|state| {
        let reducer_state = state.reducer_state().unwrap();
        assert_eq!(reducer_state.pods(), expected_state.pods.len());
        for (uid, known) in &expected_state.pods {
            let pod = reducer_state.pod(uid.as_bytes()).unwrap();
            for (sent, whole) in [
                (pod.pod_name(), &known.name),
                (pod.ns(), &known.namespace),
                (pod.owner_name(), &known.owner_name),
                (pod.version(), &known.version),
            ] {
                assert!(whole.as_bytes().starts_with(sent), "{uid}");
                assert_eq!(sent.is_empty(), whole.is_empty(), "{uid}");
            }
            assert_eq!(pod.owner_uid(), known.owner_uid.as_bytes(), "{uid}");
            assert_eq!(pod.containers().len(), known.containers.len(), "{uid}");
        }
    });
    world.end().await;
}

#[tokio::test]
async fn pods_may_change_their_owner_and_address_and_be_born_again_under_their_name() {
    let world = World::with(|_| (), on_change).await;
    let kinds = ["StatefulSet", "ReplicaSet", "Job", "DaemonSet", "Rollout"];
    for kind in ["ReplicaSet", "Job"] {
        let meta = Meta::new("shop", kind, kind);
        world.api.apply(match kind {
            "Job" => Object::job(meta),
            _ => Object::replica_set(meta),
        });
    }
    for (number, kind) in kinds.into_iter().enumerate() {
        let pod = |uid: &str| Pod::new("shop", "same", uid).address(&format!("10.0.0.{number}"));
        let owner = Owner::controller(kind, kind, kind);
        world.api.apply(pod("same").of(owner.clone()));
        world.quiet().await;
        assert_eq!(world.wrong(), None, "{kind}");
        world.api.delete(Kind::POD, "shop", "same").unwrap();
        world.api.apply(pod(&format!("same-{number}")).of(owner));
        world.quiet().await;
        assert_eq!(world.wrong(), None, "{kind}, born again");
        // The same unseen.
        let again = pod(&format!("again-{number}"));
        world
            .missed(|api| {
                api.delete(Kind::POD, "shop", "same").unwrap();
                api.apply(again);
            })
            .await;
        world.quiet().await;
        assert_eq!(world.wrong(), None, "{kind}, born again unseen");
        world.api.delete(Kind::POD, "shop", "same").unwrap();
    }
}

#[tokio::test]
async fn deletes_may_come_twice_or_for_nothing() {
    let world = World::of(|api| {
        // Two objects with one uid: the later one counts.
        api.apply(Pod::new("shop", "one", "twin").address("10.0.0.1"));
        api.apply(Pod::new("shop", "two", "twin").address("10.0.0.2"));
        api.apply(bare("other"));
        for name in ["set-1", "set-2"] {
            let above = Owner::controller("Deployment", "web", "web");
            api.apply(Object::replica_set(
                Meta::new("shop", name, "set").of(above),
            ));
        }
        api.apply(bare("owned").of(Owner::controller("ReplicaSet", "set", "set")));
    })
    .await;
    world.quiet().await;
    let twin = |name: &str| {
        world.reducer.with(|state| {
            let pod = state.reducer_state().unwrap().pod(b"twin");
            pod.is_some_and(|pod| pod.pod_name() == name.as_bytes())
        })
    };
    assert!(twin("one") || twin("two"));
    for name in ["one", "two"] {
        world.api.delete(Kind::POD, "shop", name).unwrap();
        world.quiet().await;
        assert!(!twin("one") && !twin("two"), "it is gone");
    }
    for name in ["set-1", "set-2"] {
        world.api.delete(Kind::REPLICA_SET, "shop", name).unwrap();
    }
    // Was never there with an address, so it was never announced.
    world.api.apply(Pod::new("shop", "early", "early"));
    world.api.delete(Kind::POD, "shop", "early").unwrap();
    world.quiet().await;
    assert_eq!(world.wrong(), None);
    let state = world.end().await;
    let reducer_state = state.reducer_state().unwrap();
    assert_eq!(reducer_state.counts().deletes_unknown, 0);
}

#[tokio::test]
async fn a_delete_that_the_server_sends_twice_counts_once() {
    let world = World::with(|_| (), on_change).await;
    for uid in ["pod-1", "pod-2"] {
        // The name of another object, but of this uid; and it cannot be used but for that.
        let json =
            json!({"metadata": {"uid": uid, "name": "echo", "namespace": "shop"}, "status": 17});
        world.api.apply(bare(uid));
        world.api.apply(Object::Raw(Raw {
            kind: Kind::POD,
            namespace: "shop".into(),
            name: "echo".into(),
            json,
        }));
        world.quiet().await;
        let before = world.messages();
        world.api.delete(Kind::POD, "shop", uid).unwrap();
        world.api.delete(Kind::POD, "shop", "echo").unwrap();
        world.quiet().await;
        assert_eq!(world.sent_since(before), [format!("pod_delete {uid}")]);
    }
    for _ in 0..2 {
        world
            .api
            .apply(Object::job(Meta::new("shop", "job", "job")));
        world.api.delete(Kind::JOB, "shop", "job").unwrap();
    }
    world.quiet().await;
    assert_eq!(world.wrong(), None);
    let state = world.end().await;
    assert_eq!(state.reducer_state().unwrap().counts().deletes_unknown, 0);
}

#[tokio::test]
async fn of_two_objects_with_one_uid_the_later_word_counts_and_a_list_finds_the_one_that_is_left() {
    for list in [Lists::Pages, Lists::WatchList] {
        let world = World::with(
            |_| (),
            |config| {
                on_change(config);
                config.native.list = list;
            },
        )
        .await;
        let twin = |name: &str| Pod::new("shop", name, "twin").address("10.0.0.1");
        let known = || {
            world.reducer.with(|state| {
                let pod = state.reducer_state().unwrap().pod(b"twin")?;
                Some(String::from_utf8(pod.pod_name().to_owned()).unwrap())
            })
        };
        for name in ["one", "two", "one"] {
            world.api.apply(twin(name));
            world.quiet().await;
            assert_eq!(known().as_deref(), Some(name), "{list}");
        }
        // Both in one list: whichever comes last in it, and once.
        world.missed(|_| ()).await;
        world.quiet().await;
        assert!(known().is_some(), "{list}");
        world.api.delete(Kind::POD, "shop", "one").unwrap();
        world.quiet().await;
        assert_eq!(known(), None, "a uid that is deleted is gone");
        world.missed(|_| ()).await;
        world.quiet().await;
        assert_eq!(known().as_deref(), Some("two"), "{list}");
        world
            .missed(|api| _ = api.delete(Kind::POD, "shop", "two"))
            .await;
        world.quiet().await;
        assert_eq!(known(), None, "{list}");
        let state = world.end().await;
        assert_eq!(state.reducer_state().unwrap().counts().deletes_unknown, 0);
    }
}

/// Objects that mean nothing, each among those of its kind.
fn nonsense() -> Vec<Value> {
    let meta = json!({"name": "bad", "namespace": "bad", "uid": "bad"});
    vec![
        json!({}),
        json!([]),
        json!(null),
        json!("text"),
        json!(17),
        json!({"metadata": null}),
        json!({"metadata": []}),
        json!({"metadata": {"name": "no-uid", "namespace": "bad"}}),
        json!({"metadata": {"uid": 17, "name": "n", "namespace": "bad"}}),
        json!({"metadata": {"uid": {"a": []}, "name": "n", "namespace": "bad"}}),
        json!({"metadata": {"uid": "", "name": "n", "namespace": "bad"}}),
        json!({"metadata": {"uid": "u".repeat(30_000), "name": "n", "namespace": "bad"}}),
        json!({"metadata": {"uid": "name-of-type", "name": {}, "namespace": "bad"}}),
        json!({"metadata": {"uid": "owners", "name": "n", "ownerReferences": "none"}}),
        json!({"metadata": {"uid": "owner", "name": "n", "ownerReferences": [17, null]}}),
        json!({"metadata": meta, "status": 17, "spec": "x"}),
        json!({"metadata": meta, "status": {"podIP": 17, "podIPs": "x"}}),
        json!({"metadata": meta, "status": {"podIP": "no address", "containerStatuses": {}}}),
        json!({"metadata": meta, "status": {"containerStatuses": [17, null, {"containerID": 3}]}}),
    ]
}

#[tokio::test]
async fn what_is_known_of_an_object_stays_while_it_is_there_in_a_form_that_cannot_be_used() {
    for list in [Lists::Pages, Lists::WatchList] {
        let world = World::with(
            |api| {
                let (web, set) = (
                    Owner::controller("Deployment", "web", "web"),
                    Owner::controller("ReplicaSet", "set", "set"),
                );
                api.apply(Object::replica_set(Meta::new("shop", "set", "set").of(web)));
                api.apply(bare("good").of(set));
                api.apply(bare("other"));
            },
            |config| config.native.list = list,
        )
        .await;
        world.known().await;
        let before = world.messages();
        let spoil = |kind: Kind, name: &str, api: &SimApi| {
            let owners = json!("none");
            api.apply(Object::Raw(Raw {
                kind,
                namespace: "shop".into(),
                name: name.into(),
                json: json!({"metadata": {"uid": name, "name": name, "namespace": "shop",
                    "ownerReferences": owners}}),
            }));
        };
        spoil(Kind::POD, "good", &world.api);
        spoil(Kind::REPLICA_SET, "set", &world.api);
        let new = |name: &str| bare(name).of(Owner::controller("ReplicaSet", "set", "set"));
        world
            .missed(|api| {
                api.delete(Kind::POD, "shop", "other").unwrap();
                api.apply(new("new"));
            })
            .await;
        world.quiet().await;
        let sent = world.sent_since(before);
        assert_eq!(
            sent,
            ["pod_delete other", "pod_new_with_name new"],
            "{list}"
        );
        let under = |pod: &str| {
            world.reducer.with(|state| {
                let pod = state.reducer_state().unwrap().pod(pod.as_bytes()).unwrap();
                String::from_utf8(pod.owner_name().to_owned()).unwrap()
            })
        };
        assert_eq!([under("good"), under("new")], ["web", "web"], "{list}");
        // It is still known which one it was.
        world.api.delete(Kind::POD, "shop", "good").unwrap();
        world.quiet().await;
        assert_eq!(world.sent_since(before)[2..], ["pod_delete good"]);
        world.end().await;
    }
}

/// Puts all of it among what is good.
fn among(api: &SimApi, round: &str) {
    for (number, json) in nonsense().into_iter().enumerate() {
        for kind in [Kind::POD, Kind::REPLICA_SET, Kind::JOB] {
            api.apply(Object::Raw(Raw {
                kind,
                namespace: "shop".into(),
                name: format!("{round}-{number}-bad"),
                json: json.clone(),
            }));
        }
        let name = format!("{round}-{number}-good");
        let uid = |what: &str| format!("{what}-{name}");
        let web = Owner::controller("Deployment", &name, &uid("web"));
        api.apply(Object::replica_set(
            Meta::new("shop", &name, &uid("set")).of(web),
        ));
        let set = Owner::controller("ReplicaSet", &name, &uid("set"));
        api.apply(
            Pod::new("shop", &name, &uid("pod"))
                .address("10.0.0.1")
                .of(set),
        );
    }
}

#[tokio::test]
async fn a_bad_object_costs_itself_alone_in_pages_streams_and_watches() {
    for list in [Lists::Pages, Lists::WatchList] {
        let world = World::with(
            |api| among(api, "listed"),
            |config| {
                config.native.list = list;
                config.native.page_size = 5;
            },
        )
        .await;
        world.quiet().await;
        among(&world.api, "watched");
        for (number, _) in nonsense().iter().enumerate() {
            let name = format!("listed-{number}-bad");
            world.api.delete(Kind::POD, "shop", &name).unwrap();
        }
        world.quiet().await;
        let good: Vec<String> = world.expected_state().pods.into_keys().collect();
        world.knows(&good).await;
        assert_eq!(world.lists(), [1, 1, 1], "{list}");
        let state = world.end().await;
        let sent = state.reducer_state().unwrap();
        let strays: Vec<_> = sent
            .sorted()
            .into_iter()
            .map(|(uid, _)| String::from_utf8_lossy(uid).into_owned())
            .filter(|uid| !good.contains(uid))
            .collect();
        // Those that have a uid and an address of some sort may be announced.
        assert!(strays.len() <= 1, "{strays:?}");
    }
}
