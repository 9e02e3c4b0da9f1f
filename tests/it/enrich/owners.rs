//! Which owners a document names.

use k8s_relay::enrich::{Reference, cluster::ClusterIdentity};
use serde_json::{Value, json};

use super::world::{World, document, shown};

fn owned(kind: &str, uid: &str, owners: Value) -> Value {
    json!({
        "kind": kind,
        "metadata": { "name": uid, "namespace": "shop", "uid": uid, "ownerReferences": owners },
        "spec": {}, "status": { "podIP": "10.0.0.1", "podIPs": [{ "ip": "10.0.0.1" }, { "ip": "fd00::1" }] },
    })
}

fn controller(api_version: &str, kind: &str, name: &str) -> Value {
    json!([{
        "apiVersion": api_version, "kind": kind, "name": name, "uid": name, "controller": true,
    }])
}

/// The document of the first object, without what every one has, and its partial parts.
fn said(settings: Value, objects: &[Value]) -> Value {
    let mut world = World::new(&settings, ClusterIdentity::default());
    for object in objects {
        world.apply(object);
    }
    world.apply(&json!({ "kind": "Namespace", "metadata": { "name": "shop", "uid": "ns" } }));
    let uid = objects[0]["metadata"]["uid"].as_str().unwrap();
    let answer = world.ask(Reference::Uid(uid));
    let mut document = document(&answer);
    let said = document["kubernetes"].as_object_mut().unwrap();
    said.remove("namespace");
    said.remove("namespace_uid");
    for part in shown(&answer)["partial"].as_array().into_iter().flatten() {
        said.insert("partial".to_owned(), part["part"].clone());
    }
    json!(said)
}

#[test]
fn an_owner_of_a_custom_kind_is_named_if_the_settings_say_so() {
    let pod = owned(
        "Pod",
        "p",
        controller("argoproj.io/v1alpha1", "Rollout", "web"),
    );
    let plain = json!({ "pod": { "name": "p", "uid": "p", "ip": "10.0.0.1" } });
    assert_eq!(said(json!({}), std::slice::from_ref(&pod)), plain);
    let rollout = json!({ "extra_owner_kinds": ["Rollout"] });
    let mut named = plain.clone();
    named["rollout"] = json!({ "name": "web" });
    assert_eq!(said(rollout, &[pod]), named);
    let pod = owned("Pod", "p", controller("apps/v1", "ReplicaSet", "rs"));
    let set = owned(
        "ReplicaSet",
        "rs",
        controller("argoproj.io/v1alpha1", "Rollout", "web"),
    );
    let both = json!({
        "extra_owner_kinds": ["Rollout"], "add_resource_metadata.deployment": true,
    });
    named["replicaset"] = json!({ "name": "rs" });
    assert_eq!(said(both, &[pod, set]), named);
}

#[test]
fn the_kind_text_decides_and_the_uid_distinguishes_groups() {
    let pod = owned(
        "Pod",
        "p",
        controller("batch.volcano.sh/v1alpha1", "Job", "train"),
    );
    let mut batch = owned("Job", "other", controller("batch/v1", "CronJob", "nightly"));
    batch["metadata"]["name"] = json!("train");
    let settings = json!({ "add_resource_metadata.cronjob": true });
    let expected = json!({
        "pod": { "name": "p", "uid": "p", "ip": "10.0.0.1" },
        "job": { "name": "train" }, "partial": "job",
    });
    assert_eq!(said(settings, &[pod, batch]), expected);
}

#[test]
fn a_controller_of_its_own_kind_takes_the_name() {
    let job = owned("Job", "child", controller("batch/v1", "Job", "parent"));
    let expected = json!({ "job": { "name": "parent", "uid": "child" } });
    assert_eq!(said(json!({}), &[job]), expected);
}

#[test]
fn the_flags_are_for_pods_alone() {
    let set = owned(
        "ReplicaSet",
        "rs",
        controller("apps/v1", "Deployment", "web"),
    );
    let expected = json!({
        "replicaset": { "name": "rs", "uid": "rs" }, "deployment": { "name": "web" },
    });
    assert_eq!(said(json!({}), &[set]), expected);
}

#[test]
fn all_addresses_are_said_if_the_settings_say_so() {
    let pod = owned("Pod", "p", json!([]));
    let expected = json!({ "pod": {
        "name": "p", "uid": "p", "ip": "10.0.0.1", "ips": ["10.0.0.1", "fd00::1"],
    } });
    assert_eq!(said(json!({ "pod_ips": true }), &[pod]), expected);
}
