//! What thin decoding makes of an API server's JSON: pods, owners, lines and pages.

mod bad;
mod lines;
mod pages;
mod properties;
mod typed;

use std::net::Ipv4Addr;

use k8s_relay::{
    model::{Interner, ObjectMeta, OwnerKind, PodMeta, Seed},
    source::native::decode::{
        Containers, Decoding, Dropped, Line, MetadataOnly, ObjectError, Pods, WatchedKind,
        decode_line,
    },
};
use serde_json::{Value, json};

const UID: &str = "d913487f-1ed0-4c4a-8327-4d7a97d33d36";

/// A pod of every field that matters.
fn whole_pod() -> Value {
    json!({
        "metadata": {
            "name": "web-1",
            "namespace": "shop",
            "uid": UID,
            "resourceVersion": "7",
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "rs", "controller": true
            }],
            "managedFields": [{"fieldsV1": {"f:metadata": {}}}],
        },
        "spec": {"hostNetwork": true, "containers": [{"name": "ignored"}]},
        "status": {
            "podIP": "10.1.2.3",
            "podIPs": [{"ip": "10.1.2.3"}],
            "containerStatuses": [
                {"containerID": "containerd://m", "name": "main", "image": "web:1"},
            ],
            "initContainerStatuses": [
                {"containerID": "containerd://i", "name": "init", "image": "init:1"},
            ],
            "ephemeralContainerStatuses": [
                {"containerID": "containerd://e", "name": "debug", "image": "busybox"},
            ],
        },
    })
}

/// The whole pod, changed at these places; `null` is as good as absent.
fn pod_with(changes: &[(&str, Value)]) -> Value {
    let mut pod = whole_pod();
    for (place, value) in changes {
        let (parent, field) = place.rsplit_once('/').unwrap();
        pod.pointer_mut(parent).unwrap()[field] = value.clone();
    }
    pod
}

/// What a watch makes of an added object, and what was dropped of it.
fn decode<T: WatchedKind>(
    object: &Value,
    decoding: &Decoding,
) -> (Result<T::Object, ObjectError>, Dropped) {
    let line = json!({"type": "ADDED", "object": object}).to_string();
    let mut dropped = Dropped::default();
    let mut texts = Interner::new(Seed::FIXED);
    let object = match decode_line::<T>(line.as_bytes(), decoding, &mut texts, &mut dropped) {
        Line::Added { object, .. } => Ok(object),
        Line::Unusable { why, .. } => Err(why),
        _ => panic!("this line is neither an object nor unusable: {line}"),
    };
    (object, dropped)
}

fn pod(object: &Value) -> Result<PodMeta, ObjectError> {
    decode::<Pods>(object, &Decoding::default()).0
}

fn owner(object: &Value) -> Result<ObjectMeta, ObjectError> {
    decode::<MetadataOnly>(object, &Decoding::default()).0
}

/// `id name image` of each container.
fn containers(pod: &PodMeta) -> Vec<String> {
    let show = |c: &k8s_relay::model::ContainerMeta| format!("{} {} {}", c.id, c.name, c.image);
    pod.containers.iter().map(show).collect()
}

fn counts(dropped: &Dropped) -> Vec<(ObjectError, u64)> {
    dropped.iter().collect()
}

#[test]
fn a_pod_keeps_what_the_reducer_is_announced() {
    let pod = pod(&whole_pod()).unwrap();
    assert!(pod.uid == *UID);
    assert_eq!((&*pod.name, &*pod.namespace), ("web-1", "shop"));
    assert_eq!(&*pod.version, "'web:1'");
    assert_eq!(pod.address, Some(Ipv4Addr::new(10, 1, 2, 3)));
    assert!(pod.host_network);
    let owner = pod.owner.as_ref().unwrap();
    assert!(owner.uid == *"rs" && !owner.custom);
    assert_eq!((&*owner.name, &owner.kind), ("web", &OwnerKind::ReplicaSet));
    assert_eq!(
        containers(&pod),
        [
            "containerd://m main web:1",
            "containerd://i init init:1",
            "containerd://e debug busybox"
        ]
    );
    assert_eq!((pod.auxiliary, pod.main_containers().len()), (2, 1));
}

#[test]
fn a_pod_needs_no_more_than_a_uid() {
    let pod = pod(&json!({"metadata": {"uid": UID, "resourceVersion": "1"}})).unwrap();
    assert!(pod.uid == *UID && pod.owner.is_none() && pod.address.is_none() && !pod.host_network);
    assert_eq!([&*pod.name, &*pod.namespace, &*pod.version], ["", "", ""]);
    assert!(pod.containers.is_empty());
}

#[test]
fn an_address_is_the_ipv4_one_if_there_is_any() {
    for (ip, ips, address) in [
        (json!("10.1.2.3"), json!([]), Some([10, 1, 2, 3])),
        (
            json!("10.1.2.3"),
            json!([{"ip": "10.9.9.9"}]),
            Some([10, 1, 2, 3]),
        ),
        (
            json!("fd00::1"),
            json!([{"ip": "fd00::1"}, {"ip": "10.1.2.3"}]),
            Some([10, 1, 2, 3]),
        ),
        (
            json!("fd00::1"),
            json!([{"ip": "10.1.2.3"}, {"ip": "10.1.2.4"}]),
            Some([10, 1, 2, 3]),
        ),
        (json!("fd00::1"), json!([{"ip": "fd00::1"}]), Some([255; 4])),
        (json!("fd00::1"), json!(null), Some([255; 4])),
        (
            json!("nonsense"),
            json!([{"ip": "10.1.2.3"}]),
            Some([255; 4]),
        ),
        (json!("10.1"), json!(null), Some([10, 0, 0, 1])),
        (json!(""), json!([{"ip": "10.1.2.3"}]), None),
        (json!(null), json!([{"ip": "10.1.2.3"}]), None),
    ] {
        let object = pod_with(&[("/status/podIP", ip), ("/status/podIPs", ips)]);
        assert_eq!(
            pod(&object).unwrap().address,
            address.map(Ipv4Addr::from),
            "{object}"
        );
    }
}

#[test]
fn an_owner_is_the_first_reference_that_controls() {
    let reference = |uid: &str, controller: Value| json!({"uid": uid, "name": "n", "kind": "K", "controller": controller});
    for (references, uid) in [
        (json!(null), None),
        (json!([]), None),
        (json!([null]), None),
        (json!([reference("a", json!(null))]), None),
        (json!([reference("a", json!(false))]), None),
        (
            json!([reference("a", json!(false)), reference("b", json!(true))]),
            Some("b"),
        ),
        (
            json!([reference("a", json!(true)), reference("b", json!(true))]),
            Some("a"),
        ),
        // What follows the controller does not matter, nor does what is inside another one.
        (json!([reference("a", json!(true)), 7]), Some("a")),
        (json!([{"uid": 7}, reference("b", json!(true))]), Some("b")),
        (json!([{"controller": true}]), Some("")),
    ] {
        let object = pod_with(&[("/metadata/ownerReferences", references)]);
        let found = pod(&object)
            .unwrap()
            .owner
            .clone()
            .map(|owner| owner.uid.to_string());
        assert_eq!(found.as_deref(), uid, "{object}");
    }
}

#[test]
fn a_namesake_of_a_built_in_kind_is_custom() {
    for (api_version, kind, custom) in [
        ("apps/v1", "ReplicaSet", false),
        ("apps/v1beta2", "Deployment", false),
        ("batch/v1", "Job", false),
        ("batch/v1beta1", "CronJob", false),
        ("batch.volcano.sh/v1alpha1", "Job", true),
        ("apps/v1", "Job", true),
        ("batch/v1", "Deployment", true),
        ("v1", "ReplicaSet", true),
        ("", "CronJob", true),
        ("apps", "ReplicaSet", true),
        ("apps/v1", "DaemonSet", false),
        ("example.com/v1", "DaemonSet", false),
        ("", "NoOwner", false),
        ("argoproj.io/v1alpha1", "Rollout", false),
    ] {
        let controller = json!([{"apiVersion": api_version, "kind": kind, "name": "o", "uid": "o", "controller": true}]);
        let object = json!({"metadata": {"uid": "u", "resourceVersion": "1", "ownerReferences": controller}});
        for controller in [
            pod(&object).unwrap().owner.clone(),
            owner(&object).unwrap().controller.clone(),
        ] {
            let controller = controller.unwrap();
            assert_eq!(
                (controller.kind.as_str(), controller.custom),
                (kind, custom),
                "{object}"
            );
        }
    }
}

#[test]
fn a_container_is_sent_once_it_has_an_id() {
    let object = pod_with(&[
        (
            "/status/containerStatuses",
            json!([
                {"containerID": "", "name": "starting", "image": "b"},
                {"name": "waiting", "image": "c"},
                {"containerID": "containerd://m"},
                null,
            ]),
        ),
        (
            "/status/initContainerStatuses",
            json!([{"name": "i", "image": "a"}]),
        ),
        ("/status/ephemeralContainerStatuses", json!(null)),
    ]);
    let (pod, dropped) = decode::<Pods>(&object, &Decoding::default());
    assert_eq!(containers(&pod.unwrap()), ["containerd://m  "]);
    assert!(dropped.is_empty());
}

#[test]
fn the_version_is_made_of_the_main_containers_images() {
    for (images, version) in [
        (json!([]), ""),
        (json!(["b"]), "'b'"),
        (json!(["b:2", "a:1", "b:10"]), "'a:1','b:10','b:2'"),
        (json!(["a", "a:1", "a"]), "'a','a','a:1'"),
        (json!(["x", null]), "'','x'"),
        (json!(["a", "a!"]), "'a!','a'"),
        (json!(["ü", "z"]), "'z','ü'"),
    ] {
        let images = images.as_array().unwrap().iter();
        let statuses: Vec<Value> = images.map(|image| json!({"image": image})).collect();
        let object = pod_with(&[("/status/containerStatuses", json!(statuses))]);
        assert_eq!(&*pod(&object).unwrap().version, version, "{object}");
    }
}

#[test]
fn init_and_ephemeral_containers_are_not_read_unless_they_are_sent() {
    let decoding = Decoding {
        containers: Containers::Main,
        keep: None,
    };
    let wrong = pod_with(&[("/status/initContainerStatuses", json!("wrong"))]);
    for object in [whole_pod(), wrong] {
        let (pod, dropped) = decode::<Pods>(&object, &decoding);
        let pod = pod.unwrap();
        assert_eq!(containers(&pod), ["containerd://m main web:1"]);
        assert_eq!(pod.auxiliary, 0);
        assert!(dropped.is_empty());
    }
}

#[test]
fn an_owner_keeps_its_uid_and_controller() {
    let replica_set = owner(&whole_pod()).unwrap();
    assert!(replica_set.uid == *UID);
    assert!(
        replica_set
            .controller
            .as_ref()
            .is_some_and(|by| by.uid == *"rs")
    );
    let bare = owner(&json!({"metadata": {"uid": "u", "resourceVersion": "1"}})).unwrap();
    assert!(bare.controller.is_none());
}
