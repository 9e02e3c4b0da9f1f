//! What is wrong with an object costs that object, or less.

use k8s_relay::{
    model::{Interner, MAX_ID_LEN, Seed},
    source::native::decode::{
        Decoding, Dropped, Line, MAX_OBJECT_LEN, ObjectError, Pods, decode_line,
    },
};
use serde_json::{Value, json};

use super::{UID, containers, counts, decode, owner, pod, pod_with, whole_pod};

#[test]
fn a_field_that_cannot_be_used_costs_the_object() {
    use ObjectError::{NoUid, OwnerUidTooLong, TooLarge, UidTooLong, WrongType};
    let long = "x".repeat(MAX_ID_LEN + 1);
    let owner = |field: &str, value: Value| {
        let mut owner = json!({"uid": "o", "controller": true});
        owner[field] = value;
        json!([owner])
    };
    let many = vec![json!({}); 8193];
    for (place, value, why) in [
        ("/metadata/uid", json!(null), NoUid),
        ("/metadata/uid", json!(""), NoUid),
        ("/metadata/uid", json!(7), WrongType),
        ("/metadata/uid", json!({"uid": UID}), WrongType),
        ("/metadata/uid", json!(long), UidTooLong),
        ("/metadata/name", json!(1.5), WrongType),
        ("/metadata/namespace", json!([]), WrongType),
        ("/metadata/ownerReferences", json!("x"), WrongType),
        ("/metadata/ownerReferences", json!({}), WrongType),
        ("/metadata/ownerReferences", json!([7]), WrongType),
        (
            "/metadata/ownerReferences",
            owner("controller", json!("true")),
            WrongType,
        ),
        (
            "/metadata/ownerReferences",
            owner("uid", json!(1)),
            WrongType,
        ),
        (
            "/metadata/ownerReferences",
            owner("uid", json!(long)),
            OwnerUidTooLong,
        ),
        (
            "/metadata/ownerReferences",
            owner("name", json!(false)),
            WrongType,
        ),
        (
            "/metadata/ownerReferences",
            owner("kind", json!([])),
            WrongType,
        ),
        (
            "/metadata/ownerReferences",
            owner("apiVersion", json!({})),
            WrongType,
        ),
        ("/spec", json!([]), WrongType),
        ("/spec/hostNetwork", json!("true"), WrongType),
        ("/status", json!("x"), WrongType),
        ("/status/podIP", json!(-1), WrongType),
        ("/status/podIPs", json!("10.1.2.3"), WrongType),
        ("/status/containerStatuses", json!({}), WrongType),
        ("/status/containerStatuses", json!(many), TooLarge),
        ("/status/initContainerStatuses", json!(1), WrongType),
    ] {
        let (object, dropped) = decode::<Pods>(&pod_with(&[(place, value)]), &Decoding::default());
        assert_eq!(object.err(), Some(why), "{place}");
        assert_eq!(counts(&dropped), [(why, 1)], "{place}");
    }
}

#[test]
fn a_container_or_address_that_cannot_be_used_costs_itself() {
    let long = "x".repeat(MAX_ID_LEN + 1);
    let good = json!({"containerID": "containerd://m", "name": "main", "image": "web:1"});
    let neighbours = |bad: Value| json!([bad, good]);
    for (place, value, why) in [
        (
            "/status/containerStatuses",
            neighbours(json!(7)),
            ObjectError::ContainerWrongType,
        ),
        (
            "/status/containerStatuses",
            neighbours(json!({"containerID": 1, "image": "x"})),
            ObjectError::ContainerWrongType,
        ),
        (
            "/status/containerStatuses",
            neighbours(json!({"name": []})),
            ObjectError::ContainerWrongType,
        ),
        (
            "/status/containerStatuses",
            neighbours(json!({"image": {}})),
            ObjectError::ContainerWrongType,
        ),
        (
            "/status/containerStatuses",
            neighbours(json!({"containerID": long, "image": "web:1"})),
            ObjectError::ContainerIdTooLong,
        ),
        ("/status/podIPs", json!([7]), ObjectError::AddressWrongType),
        (
            "/status/podIPs",
            json!([{"ip": 7}]),
            ObjectError::AddressWrongType,
        ),
    ] {
        let object = pod_with(&[(place, value)]);
        let (pod, dropped) = decode::<Pods>(&object, &Decoding::default());
        let pod = pod.unwrap();
        assert_eq!(containers(&pod)[0], "containerd://m main web:1", "{place}");
        assert!(pod.version.contains("'web:1'") && pod.address.is_some());
        assert_eq!(counts(&dropped), [(why, 1)], "{place}");
    }
}

#[test]
fn an_owner_is_not_cost_by_what_it_does_not_have() {
    let object = pod_with(&[("/status", json!(7)), ("/spec", json!("x"))]);
    assert!(owner(&object).is_ok());
}

#[test]
fn names_and_images_of_any_length_are_kept() {
    for len in [0, 1_000, 30_000] {
        let text = "n".repeat(len);
        let status = json!({"containerID": "c", "name": text, "image": text});
        let statuses = vec![status; 250];
        let object = pod_with(&[
            ("/metadata/name", json!(text)),
            ("/status/containerStatuses", json!(statuses)),
        ]);
        if object.to_string().len() > MAX_OBJECT_LEN {
            assert_eq!(pod(&object), Err(ObjectError::TooLarge));
            continue;
        }
        let pod = pod(&object).unwrap();
        assert_eq!(pod.containers.len(), 252);
        assert_eq!((&*pod.name, &*pod.containers[0].image), (&*text, &*text));
    }
}

#[test]
fn depth_costs_nothing_wherever_it_is() {
    let deep = format!("{}{}", "[".repeat(500_000), "]".repeat(500_000));
    let line = |field: &str| {
        format!(
            r#"{{"type":"ADDED","object":{{"metadata":{{"uid":"u","resourceVersion":"1","{field}":{deep}}}}}}}"#
        )
    };
    assert!(matches!(
        read(line("labels").as_bytes()),
        Line::Added { .. }
    ));
    for field in ["name", "ownerReferences", "uid"] {
        let line = line(field);
        let why = match read(line.as_bytes()) {
            Line::Unusable { why, .. } => why,
            other => panic!("{field}: {other:?}"),
        };
        assert_eq!(why, ObjectError::WrongType, "{field}");
    }
}

/// As Go reads it, and so the legacy watcher.
#[test]
fn what_is_no_utf8_is_read_as_a_replacement_character() {
    for (name, read_as) in [
        (&b"a\xffb"[..], "a\u{fffd}b"),
        (b"\xe2\x82", "\u{fffd}"),
        (br"a\ud800b", "a\u{fffd}b"),
        (br"\udc00\ud83d\ude00", "\u{fffd}\u{1f600}"),
        (br"\ud800\u0041", "\u{fffd}A"),
        (b"\\n\xff\\u00fc", "\n\u{fffd}\u{fc}"),
    ] {
        let line = [
            &br#"{"type":"ADDED","object":{"metadata":{"labels":{"x":"\udead"#[..],
            b"\xff",
            br#""},"uid":"u","resourceVersion":"1","name":""#,
            name,
            br#""}}}"#,
        ]
        .concat();
        match read(&line) {
            Line::Added { object, .. } => assert_eq!(&*object.name, read_as),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn of_a_field_that_comes_twice_the_last_one_counts() {
    let line = br#"{"type":"ADDED","object":{"metadata":{"uid":"u","resourceVersion":"1","name":7,"name":"a",
        "ownerReferences":[{"uid":"o","controller":true}],"ownerReferences":[]},"status":{"podIP":"10.0.0.1",
        "containerStatuses":[{"containerID":"a"}],"containerStatuses":[{"containerID":"b"}],"podIP":"10.0.0.2"}}}"#;
    match read(line) {
        Line::Added { object, .. } => {
            assert_eq!(&*object.name, "a");
            assert!(object.owner.is_none());
            assert_eq!(containers(&object), ["b  "]);
            assert_eq!(object.address, Some([10, 0, 0, 2].into()));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_line_over_4_mib_costs_itself() {
    let at_limit = |len: usize| {
        let mut object = whole_pod();
        let line = |object: &Value| json!({"type": "ADDED", "object": object}).to_string();
        object["metadata"]["annotations"] = json!({"a": ""});
        let short = line(&object).len();
        object["metadata"]["annotations"]["a"] = json!("x".repeat(len - short));
        line(&object)
    };
    let (fits, too_long) = (at_limit(MAX_OBJECT_LEN), at_limit(MAX_OBJECT_LEN + 1));
    assert!(matches!(read(fits.as_bytes()), Line::Added { .. }));
    assert!(matches!(
        read(too_long.as_bytes()),
        Line::Unusable {
            version: None,
            uid: None,
            why: ObjectError::TooLarge
        }
    ));
}

fn read(line: &[u8]) -> Line<'_, k8s_relay::model::PodMeta> {
    let (mut texts, mut dropped) = (Interner::new(Seed::FIXED), Dropped::default());
    decode_line::<Pods>(line, &Decoding::default(), &mut texts, &mut dropped)
}
