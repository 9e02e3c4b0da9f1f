//! Lines of a watch.

use k8s_relay::{
    model::{HasUid, Interner, PodMeta, Seed},
    source::native::decode::{Decoding, Dropped, Line, ObjectError, Pods, Status, decode_line},
};
use serde_json::{Value, json};

use super::{UID, pod_with, whole_pod};

/// What a line says, as one text.
fn read(line: &[u8]) -> String {
    let (mut texts, mut dropped) = (Interner::new(Seed::FIXED), Dropped::default());
    let line = decode_line::<Pods>(line, &Decoding::default(), &mut texts, &mut dropped);
    let unusable = u64::from(matches!(line, Line::Unusable { .. }));
    assert_eq!(
        dropped.iter().map(|(_, count)| count).sum::<u64>(),
        unusable
    );
    let object = |verb: &str, object: &PodMeta, version: &str| {
        format!("{verb} {} {} at {version}", object.uid(), object.name)
    };
    match line {
        Line::Added {
            object: pod,
            version,
        } => object("added", &pod, &version),
        Line::Modified {
            object: pod,
            version,
        } => object("modified", &pod, &version),
        Line::Deleted {
            object: pod,
            version,
        } => object("deleted", &pod, &version),
        Line::Bookmark {
            version,
            initial_events_end,
        } => format!("bookmark {version} {initial_events_end}"),
        Line::Error(status) => format!("error {} {}", status.code, status.reason),
        Line::Unusable { version, uid, why } => {
            let uid = uid.map_or(String::new(), |uid| format!(" {uid}"));
            format!("{}{uid} at {version:?}", why.label())
        }
        Line::InvalidJson => "garbled".to_owned(),
    }
}

fn event(verb: Value, object: &Value) -> String {
    read(
        json!({"type": verb, "object": object})
            .to_string()
            .as_bytes(),
    )
}

#[test]
fn a_line_is_an_event_of_a_watch() {
    let pod = whole_pod();
    let mark = |annotations: Value| json!({"kind": "Pod", "metadata": {"resourceVersion": "9", "annotations": annotations}});
    for (verb, object, says) in [
        ("ADDED", &pod, format!("added {UID} web-1 at 7")),
        ("MODIFIED", &pod, format!("modified {UID} web-1 at 7")),
        ("DELETED", &pod, format!("deleted {UID} web-1 at 7")),
        (
            "BOOKMARK",
            &mark(json!(null)),
            "bookmark 9 false".to_owned(),
        ),
        (
            "BOOKMARK",
            &mark(json!({"k8s.io/initial-events-end": "true"})),
            "bookmark 9 true".to_owned(),
        ),
        (
            "BOOKMARK",
            &mark(json!({"k8s.io/initial-events-end": "false"})),
            "bookmark 9 false".to_owned(),
        ),
        (
            "BOOKMARK",
            &mark(json!({"k8s.io/initial-events-end": true})),
            "bookmark 9 false".to_owned(),
        ),
        (
            "BOOKMARK",
            &json!({"metadata": {}}),
            "no_version at None".to_owned(),
        ),
        (
            "ERROR",
            &json!({"kind": "Status", "code": 410, "reason": "Expired"}),
            "error 410 Expired".to_owned(),
        ),
        ("ERROR", &json!("what"), "error 0 ".to_owned()),
    ] {
        assert_eq!(event(json!(verb), object), says);
    }
}

#[test]
fn an_object_that_cannot_be_used_still_moves_the_watch_and_says_what_it_is_if_it_can() {
    for (place, value, says) in [
        (
            "/metadata/uid",
            json!(null),
            "no_uid at Some(\"7\")".to_owned(),
        ),
        (
            "/status",
            json!(1),
            format!("wrong_type {UID} at Some(\"7\")"),
        ),
        (
            "/metadata/resourceVersion",
            json!(null),
            format!("no_version {UID} at None"),
        ),
        (
            "/metadata/resourceVersion",
            json!(""),
            format!("no_version {UID} at None"),
        ),
        (
            "/metadata/resourceVersion",
            json!(7),
            format!("no_version {UID} at None"),
        ),
        (
            "/metadata/resourceVersion",
            json!("7".repeat(1025)),
            format!("no_version {UID} at None"),
        ),
    ] {
        let object = pod_with(&[(place, value)]);
        assert_eq!(event(json!("MODIFIED"), &object), says, "{object}");
    }
    assert_eq!(event(json!("ADDED"), &json!(null)), "not_an_object at None");
    assert_eq!(event(json!("ADDED"), &json!([1])), "not_an_object at None");
}

#[test]
fn a_delete_counts_whatever_else_is_wrong_with_the_object() {
    let wrong = [
        ("/status", json!(1)),
        ("/metadata/name", json!([])),
        ("/metadata/ownerReferences", json!(1)),
    ];
    assert_eq!(
        event(json!("DELETED"), &pod_with(&wrong)),
        format!("deleted {UID}  at 7")
    );
    let nameless = pod_with(&[("/metadata/uid", json!(""))]);
    assert_eq!(event(json!("DELETED"), &nameless), "no_uid at Some(\"7\")");
}

#[test]
fn the_type_may_come_after_the_object() {
    let pod = whole_pod();
    let line = format!("  {{\"object\" : {pod} , \"more\": [1, {{}}], \"type\":\"DELETED\"}}\r\n");
    assert_eq!(read(line.as_bytes()), format!("deleted {UID} web-1 at 7"));
}

#[test]
fn json_that_is_no_event_is_unusable() {
    for line in [
        "{}",
        "[]",
        "7",
        "null",
        r#""text""#,
        r#"{"type":"ADDED"}"#,
        r#"{"object":{}}"#,
    ] {
        assert_eq!(read(line.as_bytes()), "unknown_event at None", "{line}");
    }
    for verb in [json!("PATCHED"), json!("added"), json!(7), json!(null)] {
        assert_eq!(event(verb, &whole_pod()), "unknown_event at None");
    }
}

#[test]
fn a_bare_status_is_an_error_as_one_in_an_event_is() {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "too old", "reason": "Expired", "code": 410,
    });
    let within = event(json!("ERROR"), &status);
    assert!(within.contains("410"), "{within}");
    assert_eq!(read(status.to_string().as_bytes()), within);
    // Another object is none, and an event stays one whatever stands next to it.
    assert_eq!(
        read(br#"{"kind":"PodList","items":[]}"#),
        "unknown_event at None"
    );
    let pod = whole_pod();
    let line = format!(r#"{{"kind":"Status","code":500,"type":"ADDED","object":{pod}}}"#);
    assert!(read(line.as_bytes()).starts_with("added"), "{line}");
}

#[test]
fn what_is_cut_or_no_json_is_garbled() {
    let whole = json!({"type": "ADDED", "object": whole_pod()}).to_string();
    for end in 0..whole.len() {
        assert_eq!(read(&whole.as_bytes()[..end]), "garbled", "{end}");
    }
    for line in [
        "<html>",
        "{\"type\":\"ADDED\",}",
        "{\"type\" \"ADDED\"}",
        "{1:2}",
        "{}{}",
        "{} x",
        "tru",
        "{\"type\":\"\\x\"}",
        "{\"type\":+1}",
        "{\"type\":-}",
    ] {
        assert_eq!(read(line.as_bytes()), "garbled", "{line}");
    }
}

#[test]
fn a_status_says_why_and_when_to_come_back() {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "ü".repeat(2000),
        "reason": "TooManyRequests", "details": {"retryAfterSeconds": 7}, "code": 429,
    });
    let status = Status::decode(status.to_string().as_bytes()).unwrap();
    assert_eq!((status.code, &*status.reason), (429, "TooManyRequests"));
    assert_eq!(status.message, "ü".repeat(Status::MAX_TEXT_LEN / 2));
    assert_eq!(status.retry_after_seconds, Some(7));
    let wrong = json!({"kind": "Status", "code": "429", "reason": 7, "message": null, "details": {"retryAfterSeconds": -1}});
    assert_eq!(
        Status::decode(wrong.to_string().as_bytes()),
        Some(Status::default())
    );
    for other in ["", "<html>", "{}", r#"{"kind":"PodList"}"#, "[]"] {
        assert_eq!(Status::decode(other.as_bytes()), None);
    }
    assert_eq!(ObjectError::NoUid.label(), "no_uid");
}
