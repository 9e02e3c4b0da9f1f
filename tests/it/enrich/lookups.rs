//! Lookups over time: by name, uid, container and address, live and deleted.

use k8s_relay::enrich::{
    Reference,
    cluster::ClusterIdentity,
    object::Timestamp,
    resource::Resource,
    view::{Sync, Trouble},
};
use serde_json::{Value, json};

use super::{
    generated::recorded,
    world::{World, document, shown},
};

fn world() -> World {
    let joined = json!({ "node": { "enabled": false }, "namespace": { "enabled": false } });
    let settings = json!({ "add_resource_metadata": joined });
    World::new(&settings, ClusterIdentity::default())
}

/// A pod with an address that started this many seconds after the world began.
fn pod(uid: &str, address: &str, started: i64, changed: Value) -> Value {
    let start = |seconds| Timestamp::from_millis(1_800_000_000_000 + 1000 * seconds).to_string();
    let mut pod = json!({
        "kind": "Pod",
        "metadata": { "name": uid, "namespace": "shop", "uid": uid },
        "spec": { "containers": [{ "name": "app" }] },
        "status": {
            "podIP": address, "startTime": start(started),
            "containerStatuses": [{ "name": "app", "containerID": format!("containerd://{uid}") }],
        },
    });
    merge(&mut pod, changed);
    pod
}

fn merge(into: &mut Value, changed: Value) {
    match (into, changed) {
        (Value::Object(into), Value::Object(changed)) => {
            for (key, value) in changed {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, changed) => *into = changed,
    }
}

/// The state, and the uids of what was found or could be meant.
fn found(world: &World, about: Reference<'_>) -> String {
    let answer = shown(&world.ask(about));
    let candidates = answer["candidates"].as_array().cloned().unwrap_or_default();
    let uids = candidates.iter().map(|candidate| &candidate["uid"]);
    let uids = uids
        .chain(answer.get("uid"))
        .map(|uid| uid.as_str().unwrap());
    let words = std::iter::once(answer["state"].as_str().unwrap()).chain(uids);
    words.collect::<Vec<_>>().join(" ")
}

fn at(world: &World, address: &str, seconds: Option<f64>) -> String {
    let millis = |seconds: f64| 1_800_000_000_000 + (seconds * 1000.0) as i64;
    let about = Reference::PodAddress {
        address: address.parse().unwrap(),
        at: seconds.map(|seconds| Timestamp::from_millis(millis(seconds))),
    };
    found(world, about)
}

#[test]
fn every_recorded_sequence_goes_as_recorded() {
    let cases = recorded("sequence");
    assert_eq!(cases.len(), 3);
    for (name, case) in cases {
        let mut world = World::of_case(&case["config"]);
        for step in case["steps"].as_array().unwrap() {
            match step["op"].as_str().unwrap() {
                "apply" => world.apply(&step["object"]),
                "delete" => world.delete(&step["object"]),
                "advance_seconds" => world.advance(step["value"].as_f64().unwrap()),
                "lookup" => check_lookup(&world, step, &name),
                other => panic!("{name}: {other}"),
            }
        }
    }
}

fn check_lookup(world: &World, step: &Value, name: &str) {
    let answer = world.ask_for(&step["resource"], world.wish());
    let is_found = answer.document.is_some();
    assert_eq!(is_found, step["expect"] != "not_found", "{name}: {step}");
    if let Some(state) = step["state"].as_str() {
        assert_eq!(answer.state.as_str(), state, "{name}: {step}");
    }
    for (path, expected) in step["expect_fields"].as_object().into_iter().flatten() {
        let document = document(&answer);
        let field = path.split('.').fold(&document, |value, key| &value[key]);
        assert_eq!(field, expected, "{name}: {path}");
    }
}

#[test]
fn every_recorded_limit_is_answered_as_recorded() {
    let cases = recorded("limits");
    assert_eq!(cases.len(), 2);
    for (name, case) in cases {
        let mut world = World::of_case(&case["config"]);
        for step in case["steps"].as_array().unwrap() {
            match step["op"].as_str().unwrap() {
                "apply" => world.apply(&step["object"]),
                "delete" => world.delete(&step["object"]),
                "expect" => check_limits(&world, step, &name),
                other => panic!("{name}: {other}"),
            }
        }
    }
}

fn check_limits(world: &World, step: &Value, name: &str) {
    let resource = match step["pod"].as_str() {
        Some(pod) => {
            let (namespace, pod) = pod.split_once('/').unwrap();
            let container = &step["container"];
            json!({ "kind": "Container", "namespace": namespace, "pod": pod, "name": container })
        }
        None => json!({ "kind": "Node", "name": step["node"] }),
    };
    let mut wish = world.wish();
    wish.with_limits = true;
    let limits = shown(&world.ask_for(&resource, wish))["limits"].clone();
    for (expected, value) in [
        ("cores_limit", "limits.cpu.cores"),
        ("memory_limit", "limits.memory.bytes"),
        ("cores_allocatable", "node.allocatable.cpu.cores"),
        ("memory_allocatable", "node.allocatable.memory.bytes"),
    ] {
        let expected = step.get(expected).unwrap_or(&Value::Null);
        assert_eq!(limits[value].as_f64(), expected.as_f64(), "{name}: {step}");
    }
}

#[test]
fn a_pod_has_a_limit_if_each_regular_container_has_one() {
    let mut world = world();
    let limited = |cpu: &str| json!({ "name": cpu, "resources": { "limits": { "cpu": cpu } } });
    for (uid, containers, cores) in [
        ("both", json!([limited("1"), limited("500m")]), json!(1.5)),
        (
            "one",
            json!([limited("1"), { "name": "free" }]),
            Value::Null,
        ),
        ("none", json!([]), Value::Null),
    ] {
        let init = json!([{ "name": "init" }]);
        let spec = json!({ "spec": { "containers": containers, "initContainers": init } });
        world.apply(&pod(uid, "", 0, spec));
        let mut wish = world.wish();
        wish.with_limits = true;
        let resource = json!({ "kind": "Pod", "namespace": "shop", "name": uid });
        let answer = shown(&world.ask_for(&resource, wish));
        assert_eq!(answer["limits"]["limits.cpu.cores"], cores, "{uid}");
    }
}

#[test]
fn an_address_is_the_youngest_live_pods_that_has_it_for_itself() {
    let mut world = world();
    let host = json!({ "spec": { "hostNetwork": true } });
    world.apply(&pod("host", "10.0.0.1", 90, host));
    assert_eq!(at(&world, "10.0.0.1", None), "MISSING");
    world.apply(&pod("old", "10.0.0.1", 10, json!({})));
    world.apply(&pod("new", "10.0.0.1", 20, json!({})));
    assert_eq!(at(&world, "10.0.0.1", None), "LIVE new");
    assert_eq!(at(&world, "10.0.0.1", Some(15.0)), "LIVE old");
    assert_eq!(at(&world, "10.0.0.1", Some(25.0)), "LIVE new");
    // Start times are whole seconds: it may have started at any moment of this one.
    assert_eq!(at(&world, "10.0.0.1", Some(20.0)), "LIVE new");
    assert_eq!(at(&world, "10.0.0.1", Some(19.999)), "LIVE old");
    assert_eq!(at(&world, "10.0.0.1", Some(5.0)), "MISSING");
    world.apply(&pod("twin", "10.0.0.1", 20, json!({})));
    assert_eq!(at(&world, "10.0.0.1", None), "AMBIGUOUS new twin");
}

#[test]
fn a_finished_pod_releases_its_address() {
    let mut world = world();
    world.apply(&pod("job", "10.0.0.1", 0, json!({})));
    world.advance(10.0);
    let finished = json!({ "status": { "phase": "Succeeded" } });
    world.apply(&pod("job", "10.0.0.1", 0, finished.clone()));
    assert_eq!(at(&world, "10.0.0.1", None), "MISSING");
    assert_eq!(at(&world, "10.0.0.1", Some(9.0)), "LIVE job");
    assert_eq!(at(&world, "10.0.0.1", Some(11.0)), "MISSING");
    // A later version does not move the moment at which it finished.
    world.advance(10.0);
    world.apply(&pod("job", "10.0.0.1", 0, finished));
    assert_eq!(at(&world, "10.0.0.1", Some(11.0)), "MISSING");
    world.apply(&pod("next", "10.0.0.1", 15, json!({})));
    assert_eq!(at(&world, "10.0.0.1", None), "LIVE next");
}

#[test]
fn an_address_of_a_deleted_pod_answers_until_another_one_has_it() {
    let mut world = world();
    let first = pod("first", "10.0.0.1", 0, json!({}));
    world.apply(&first);
    world.advance(30.0);
    world.delete(&first);
    assert_eq!(at(&world, "10.0.0.1", None), "DELETED first");
    world.apply(&pod("second", "10.0.0.1", 28, json!({})));
    assert_eq!(at(&world, "10.0.0.1", None), "LIVE second");
    assert_eq!(at(&world, "10.0.0.1", Some(20.0)), "DELETED first");
    // Both had it then, as far as the test knows.
    assert_eq!(at(&world, "10.0.0.1", Some(29.0)), "AMBIGUOUS first second");
    assert_eq!(at(&world, "10.0.0.1", Some(31.0)), "LIVE second");
    world.advance(120.0);
    assert_eq!(at(&world, "10.0.0.1", Some(20.0)), "MISSING");
}

#[test]
fn each_address_of_a_dual_stack_pod_finds_it() {
    let mut world = world();
    let ips = json!([{ "ip": "10.0.0.1" }, { "ip": "fd00::1" }]);
    world.apply(&pod(
        "dual",
        "10.0.0.1",
        0,
        json!({ "status": { "podIPs": ips } }),
    ));
    assert_eq!(at(&world, "fd00::1", None), "LIVE dual");
    assert_eq!(at(&world, "fd00:0:0::1", None), "LIVE dual");
    // A pod that has lost one no longer answers to it.
    world.apply(&pod("dual", "10.0.0.1", 0, json!({})));
    assert_eq!(at(&world, "fd00::1", None), "MISSING");
}

#[test]
fn a_container_is_found_by_its_id_and_by_the_one_before() {
    let mut world = world();
    let hash = "0123456789abcdef".repeat(4);
    let with = |id: &str| json!({ "status": { "containerStatuses": [{ "name": "app", "containerID": id }] } });
    world.apply(&pod("p", "", 0, with("cri-o://one")));
    assert_eq!(
        found(&world, Reference::ContainerId("cri-o://one")),
        "LIVE p"
    );
    assert_eq!(found(&world, Reference::ContainerId("one")), "LIVE p");
    world.apply(&pod("p", "", 0, with(&format!("containerd://{hash}"))));
    assert_eq!(found(&world, Reference::ContainerId("one")), "LIVE p");
    assert_eq!(found(&world, Reference::ContainerId(&hash)), "LIVE p");
    let answer = world.ask(Reference::ContainerId("one"));
    let document = document(&answer);
    assert_eq!(
        document["container"]["id"],
        hash.as_str(),
        "the document follows the status"
    );
    assert_eq!(
        document["kubernetes"]["container"],
        json!({ "name": "app" })
    );
    world.advance(121.0);
    assert_eq!(found(&world, Reference::ContainerId("one")), "MISSING");
    assert_eq!(found(&world, Reference::ContainerId(&hash)), "LIVE p");
    world.delete(&pod("p", "", 0, json!({})));
    assert_eq!(found(&world, Reference::ContainerId(&hash)), "DELETED p");
    world.advance(121.0);
    assert_eq!(found(&world, Reference::ContainerId(&hash)), "MISSING");
}

#[test]
fn a_container_that_has_an_id_again_keeps_it() {
    let mut world = world();
    for id in ["one", "two", "one"] {
        let status = json!([{ "name": "app", "containerID": format!("x://{id}") }]);
        let status = json!({ "status": { "containerStatuses": status } });
        world.apply(&pod("p", "", 0, status));
        world.advance(60.0);
    }
    assert_eq!(found(&world, Reference::ContainerId("two")), "LIVE p");
    world.advance(121.0);
    assert_eq!(found(&world, Reference::ContainerId("one")), "LIVE p");
    assert_eq!(found(&world, Reference::ContainerId("two")), "MISSING");
    assert_eq!(world.index.next_expiry(), None);
}

#[test]
fn an_id_that_two_pods_claim_is_ambiguous() {
    let mut world = world();
    let same = json!({ "status": { "containerStatuses": [{ "name": "app", "containerID": "x://same" }] } });
    world.apply(&pod("a", "", 0, same.clone()));
    world.apply(&pod("b", "", 0, same));
    let answer = shown(&world.ask(Reference::ContainerId("same")));
    assert_eq!(answer["state"], "AMBIGUOUS");
    assert_eq!(answer["candidates"].as_array().unwrap().len(), 2);
    world.delete(&pod("b", "", 0, json!({})));
    assert_eq!(found(&world, Reference::ContainerId("same")), "LIVE a");
    world.delete(&pod("a", "", 0, json!({})));
    assert_eq!(
        found(&world, Reference::ContainerId("same")),
        "AMBIGUOUS a b"
    );
}

#[test]
fn a_uid_finds_an_object_of_any_kind() {
    let mut world = world();
    world.apply(
        &json!({ "kind": "Service", "metadata": { "name": "s", "namespace": "n", "uid": "us" } }),
    );
    assert_eq!(found(&world, Reference::Uid("us")), "LIVE us");
    assert_eq!(found(&world, Reference::PodUid("us")), "MISSING");
    assert_eq!(found(&world, Reference::Uid("other")), "MISSING");
    let forbidden = Sync {
        listed: false,
        trouble: Some(Trouble::Forbidden),
        age_ms: 0,
    };
    world.index.set_sync(Resource::Job, forbidden);
    let answer = shown(&world.ask(Reference::Uid("other")));
    assert_eq!(answer, json!({ "state": "SYNCING", "reason": "forbidden" }));
}

#[test]
fn what_a_deleted_pod_named_is_found_among_the_deleted_too() {
    let settings = json!({ "add_resource_metadata.deployment": true });
    let mut world = World::new(&settings, ClusterIdentity::default());
    let named = |kind: &str, name: &str, uid: &str| json!({ "kind": kind, "metadata": { "name": name, "uid": uid } });
    let owner = |kind: &str, name: &str, uid: &str| json!([{ "kind": kind, "name": name, "uid": uid, "controller": true }]);
    let mut set = named("ReplicaSet", "rs", "urs");
    merge(
        &mut set,
        json!({ "metadata": {
        "namespace": "shop", "ownerReferences": owner("Deployment", "web", "ud"),
    } }),
    );
    let pod = pod(
        "p",
        "",
        0,
        json!({
            "metadata": { "ownerReferences": owner("ReplicaSet", "rs", "urs") },
            "spec": { "nodeName": "n1" },
        }),
    );
    let node = named("Node", "n1", "un");
    for manifest in [&set, &pod, &node, &named("Namespace", "shop", "us")] {
        world.apply(manifest);
    }
    let before = document(&world.ask(Reference::PodUid("p")));
    world.delete(&node);
    let partial = shown(&world.ask(Reference::PodUid("p")))["partial"].clone();
    assert_eq!(
        partial,
        json!([{ "part": "node", "reason": "not_found" }]),
        "a live pod's node is live"
    );
    world.delete(&set);
    world.delete(&pod);
    let answer = world.ask(Reference::PodUid("p"));
    assert_eq!(shown(&answer)["partial"], Value::Null);
    assert_eq!(document(&answer), before);
    assert_eq!(
        document(&answer)["kubernetes"]["deployment"],
        json!({ "name": "web" })
    );
}

#[test]
fn a_late_delete_does_not_touch_the_successor() {
    let mut world = world();
    let of = |uid: &str| json!({ "kind": "Service", "metadata": { "name": "s", "namespace": "n", "uid": uid } });
    world.apply(&of("one"));
    world.apply(&of("two"));
    world.delete(&of("one"));
    let by_name = Reference::Named {
        resource: Resource::Service,
        namespace: "n",
        name: "s",
        container: None,
        uid: None,
    };
    assert_eq!(found(&world, by_name), "LIVE two");
    assert_eq!(found(&world, Reference::Uid("one")), "DELETED one");
}

#[test]
fn what_was_deleted_is_bounded_and_the_oldest_goes_first() {
    let settings = json!({ "deleted_capacity": 2 });
    let mut world = World::new(&settings, ClusterIdentity::default());
    for uid in ["a", "b", "c"] {
        let pod = pod(uid, "10.0.0.1", 0, json!({}));
        world.apply(&pod);
        world.delete(&pod);
    }
    assert_eq!(world.index.kind(Resource::Pod).counts(), (0, 2));
    assert_eq!(found(&world, Reference::PodUid("a")), "MISSING");
    assert_eq!(found(&world, Reference::ContainerId("a")), "MISSING");
    assert_eq!(found(&world, Reference::PodUid("b")), "DELETED b");
    world.advance(120.0);
    assert_eq!(world.index.kind(Resource::Pod).counts(), (0, 0));
    assert_eq!(world.index.next_expiry(), None);
}

#[test]
fn without_grace_nothing_that_is_gone_answers() {
    for settings in [
        json!({ "deleted_grace_seconds": 0 }),
        json!({ "deleted_capacity": 0 }),
    ] {
        let mut world = World::new(&settings, ClusterIdentity::default());
        let pod = pod("p", "10.0.0.1", 0, json!({}));
        world.apply(&pod);
        world.delete(&pod);
        for about in [Reference::PodUid("p"), Reference::ContainerId("p")] {
            assert_eq!(found(&world, about), "MISSING", "{settings}");
        }
        assert_eq!(at(&world, "10.0.0.1", None), "MISSING");
        assert_eq!(world.index.kind(Resource::Pod).counts(), (0, 0));
    }
}

#[test]
fn only_pods_have_containers_and_only_those_that_are_named() {
    let mut world = world();
    world.apply(&pod("p", "", 0, json!({})));
    world.apply(&json!({ "kind": "Node", "metadata": { "name": "n", "uid": "n" } }));
    let about = |resource, name, container| Reference::Named {
        resource,
        namespace: "shop",
        name,
        container: Some(container),
        uid: None,
    };
    assert_eq!(found(&world, about(Resource::Pod, "p", "app")), "LIVE p");
    assert_eq!(found(&world, about(Resource::Pod, "p", "none")), "MISSING");
    assert_eq!(found(&world, about(Resource::Node, "n", "app")), "INVALID");
}

#[test]
fn values_that_were_cut_are_named() {
    let mut world = world();
    let labels = json!({ "long": "x".repeat(5000), "short": "x" });
    world.apply(&pod(
        "p",
        "",
        0,
        json!({ "metadata": { "labels": labels } }),
    ));
    let answer = world.ask(Reference::PodUid("p"));
    assert_eq!(shown(&answer)["truncated"], json!(["long"]));
    let label = document(&answer)["kubernetes"]["labels"]["long"].clone();
    assert_eq!(label.as_str().unwrap().len(), 4096);
}
