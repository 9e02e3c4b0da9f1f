#![allow(clippy::unwrap_used)]

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: LookupArgs,
}

fn args(line: &[&str]) -> LookupArgs {
    let words = ["lookup"].iter().chain(line);
    Line::try_parse_from(words).unwrap().args
}

#[test]
fn what_is_asked_for_is_in_the_query() {
    for (line, expected) in [
        (&["shop/web-1"][..], "/v1/lookup/pod/shop/web-1"),
        (
            &[
                "shop/web-1/main",
                "--schema=otel",
                "--semconv=both",
                "--with-limits",
                "--wait=1s",
            ],
            "/v1/lookup/pod/shop/web-1?container=main&schema=otel&semconv=both&with_limits=1\
             &wait_ms=1000",
        ),
        (
            &["container:containerd://ab", "--profile=a&b"],
            "/v1/lookup?container_id=containerd%3A%2F%2Fab&profile=a%26b",
        ),
        (
            &["ip:fd00::1", "--at=2026-01-01T00:00:00Z"],
            "/v1/lookup?pod_ip=fd00%3A%3A1&at=2026-01-01T00%3A00%3A00Z",
        ),
    ] {
        assert_eq!(path(&args(line)), expected);
    }
}

fn shown(answer: &str) -> (String, u8) {
    let found: Found = serde_json::from_str(answer).unwrap();
    let plain = anstream::adapter::strip_str(&text(&found)).to_string();
    (
        plain,
        ending(&found).map_or_else(|error| error.status(), |()| 0),
    )
}

#[test]
fn an_answer_is_a_table_of_fields_and_says_what_is_missing() {
    let (text, status) = shown(
        r#"{"state":"DELETED","metadata":{"kubernetes":{"pod":{"name":"web-1","uid":"u"},
           "labels":{"app":"a\u001b[31m"}},"container":{"id":"c"}},"hash":"00",
           "partial":[{"part":"replicaset","reason":"not_found"}],"resource_version":"7",
           "uid":"u","deleted_at":"2026-01-01T00:00:00Z","age_ms":1500,
           "limits":{"limits.cpu.cores":0.5},"truncated":["kubernetes.labels.app"]}"#,
    );
    assert_eq!(status, 0);
    insta::assert_snapshot!(text, @r"
    state     DELETED
    deleted   2026-01-01T00:00:00Z
    uid       u
    version   7
    as of     1.5s ago, when the API server was last heard
    without   its replicaset (not_found)
    cut       kubernetes.labels.app

    FIELD                   VALUE
    kubernetes.pod.name     web-1
    kubernetes.pod.uid      u
    kubernetes.labels.app   a\u{1b}[31m
    container.id            c
    limits.cpu.cores        0.5
    ");
}

#[test]
fn each_state_has_its_exit_status() {
    for (answer, status) in [
        (r#"{"state":"LIVE"}"#, 0),
        (r#"{"state":"DELETED"}"#, 0),
        (r#"{"state":"MISSING"}"#, 1),
        (r#"{"state":"DISABLED"}"#, 1),
        (
            r#"{"state":"AMBIGUOUS","candidates":[{"kind":"pod","namespace":"a","name":"b","uid":"c"}]}"#,
            1,
        ),
        (r#"{"state":"INVALID","error":"no"}"#, 2),
        (r#"{"state":"SYNCING","reason":"forbidden"}"#, 3),
    ] {
        assert_eq!(shown(answer).1, status, "{answer}");
    }
    let (text, _) = shown(r#"{"state":"SYNCING","reason":"forbidden"}"#);
    assert_eq!(text, "state     SYNCING (forbidden)\n");
}
