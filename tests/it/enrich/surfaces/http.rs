//! Paths, methods, queries, types and encodings, over HTTP/1.1, HTTP/2 and a socket file.

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};
use http::Method;
use hyper_util::rt::TokioIo;
use k8s_relay::{
    enrich::{
        cluster::ClusterIdentity,
        resource::Resource,
        view::{Sync, Trouble},
    },
    enrich_api::Limits,
    net::Listener,
};
use serde_json::json;
use tokio::net::UnixStream;

use super::world::{Relay, event, plain, pod, profiles};
use crate::support::must;

const NDJSON: &str = "application/x-ndjson";

async fn relay() -> Relay {
    let relay = Relay::new(plain()).await;
    relay.objects().apply(&pod("web"));
    relay
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn what_is_not_a_question_is_refused_with_a_code_and_a_sentence() {
    let relay = relay().await;
    for (method, path, content_type, body, code, allow) in [
        ("POST", "/v1/enrich/flow", NDJSON, "", 404, None),
        ("POST", "/v1/enrich/pod?profile=none", NDJSON, "", 404, None),
        ("POST", "/v1/enrich/pod?output=all", NDJSON, "", 400, None),
        ("POST", "/v1/enrich/pod?wait_ms=soon", NDJSON, "", 400, None),
        ("POST", "/v1/enrich/pod?wait_ms=-1", NDJSON, "", 400, None),
        ("POST", "/v1/enrich/pod?schema=otel", NDJSON, "", 400, None),
        (
            "POST",
            "/v1/enrich/pod?output=event&output=event",
            NDJSON,
            "",
            400,
            None,
        ),
        ("POST", "/v1/enrich/%ff", NDJSON, "", 400, None),
        ("POST", "/v1/enrich/pod", "text/plain", "", 415, None),
        ("POST", "/v1/enrich/pod", "", "", 415, None),
        (
            "POST",
            "/v1/enrich/pod",
            "application/json-seq",
            "",
            415,
            None,
        ),
        ("GET", "/v1/enrich/pod", "", "", 405, Some("POST")),
        ("PUT", "/v1/lookup", "", "", 405, Some("GET,HEAD,POST")),
        (
            "DELETE",
            "/v1/lookup/pod/shop/web",
            "",
            "",
            405,
            Some("GET,HEAD"),
        ),
        (
            "POST",
            "/v1/status",
            "application/json",
            "",
            405,
            Some("GET,HEAD"),
        ),
        ("GET", "/v1/status?all=1", "", "", 400, None),
        ("GET", "/v1/lookup/rollout/shop/web", "", "", 404, None),
        (
            "GET",
            "/v1/lookup/pod/shop/web?profile=none",
            "",
            "",
            404,
            None,
        ),
        (
            "GET",
            "/v1/lookup/pod/shop/web?schema=xml",
            "",
            "",
            400,
            None,
        ),
        (
            "GET",
            "/v1/lookup/pod/shop/web?semconv=v2",
            "",
            "",
            400,
            None,
        ),
        (
            "GET",
            "/v1/lookup/pod/shop/web?with_limits=maybe",
            "",
            "",
            400,
            None,
        ),
        (
            "GET",
            "/v1/lookup/pod/shop/web?colour=red",
            "",
            "",
            400,
            None,
        ),
        ("GET", "/v1/lookup/pod/-/web", "", "", 400, None),
        (
            "GET",
            "/v1/lookup/node/-/n1?container=app",
            "",
            "",
            400,
            None,
        ),
        ("GET", "/v1/lookup", "", "", 400, None),
        ("GET", "/v1/lookup?uid=", "", "", 400, None),
        ("GET", "/v1/lookup?uid=a&pod_ip=10.0.0.1", "", "", 400, None),
        ("GET", "/v1/lookup?pod_ip=10.0.0.300", "", "", 400, None),
        (
            "GET",
            "/v1/lookup?pod_ip=10.0.0.1&at=yesterday",
            "",
            "",
            400,
            None,
        ),
        (
            "GET",
            "/v1/lookup?uid=a&at=2026-11-30T08:00:00Z",
            "",
            "",
            400,
            None,
        ),
        (
            "GET",
            "/v1/lookup?container_id=docker://",
            "",
            "",
            400,
            None,
        ),
        ("POST", "/v1/lookup", NDJSON, "{}", 415, None),
        ("POST", "/v1/lookup", "application/json", "{}", 400, None),
        ("POST", "/v1/lookup", "application/json", "[]", 400, None),
        (
            "POST",
            "/v1/lookup",
            "application/json",
            r#"{"refs":{}}"#,
            400,
            None,
        ),
        (
            "POST",
            "/v1/lookup",
            "application/json",
            r#"{"refs":[],"kind":"pod"}"#,
            400,
            None,
        ),
        (
            "POST",
            "/v1/lookup",
            "application/json",
            r#"{"refs":[],"profile":"none"}"#,
            404,
            None,
        ),
        (
            "POST",
            "/v1/lookup",
            "application/json",
            r#"{"refs":[],"schema":"xml"}"#,
            400,
            None,
        ),
        ("GET", "/", "", "", 404, None),
        ("GET", "/livez", "", "", 404, None),
        ("GET", "/v1/lookup/pod/shop", "", "", 404, None),
    ] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let content_type = [("content-type", content_type)];
        let headers = content_type
            .iter()
            .copied()
            .filter(|(_, value)| !value.is_empty());
        let headers: Vec<_> = headers.collect();
        let answer = relay.send(method, path, &headers, body).await;
        assert_eq!(answer.code, code, "{path}: {}", answer.text());
        assert_eq!(answer.header("allow"), allow, "{path}");
        let error = answer.json()["error"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        assert!(error.len() > 10, "{path}: {error}");
    }
    relay.stop().await;
}

#[tokio::test]
async fn the_code_of_a_lookup_says_what_became_of_it() {
    let limited = json!({ "metricsets": ["pod", "state_service", "node"] });
    let relay = Relay::new(limited).await;
    let objects = relay.objects();
    objects.apply(&pod("web"));
    objects.apply(&pod("gone"));
    objects.delete(&pod("gone"));
    let refused = Sync {
        listed: false,
        trouble: Some(Trouble::Forbidden),
        age_ms: 0,
    };
    objects.set_sync(Resource::Service, refused);
    for (path, code, state, reason) in [
        ("pod/shop/web", 200, "LIVE", None),
        ("pod/shop/gone", 200, "DELETED", None),
        ("pod/shop/none", 404, "MISSING", None),
        ("service/shop/web", 503, "SYNCING", Some("forbidden")),
        ("job/shop/web", 404, "DISABLED", None),
        ("pod/-/web", 400, "INVALID", None),
    ] {
        let answer = relay.get(&format!("/v1/lookup/{path}")).await;
        let said = answer.json();
        assert_eq!(
            (answer.code.as_u16(), &said["state"]),
            (code, &json!(state)),
            "{path}"
        );
        assert_eq!(said["reason"].as_str(), reason, "{path}");
        let retry_after = answer.header("retry-after");
        assert_eq!(retry_after, (code == 503).then_some("1"), "{path}");
        assert_eq!(
            answer.header("content-type"),
            Some("application/json"),
            "{path}"
        );
    }
    let states = relay.counters.answers();
    assert_eq!(states.len(), 6, "{states:?}");
    assert!(
        states.contains(&(["lookup", "SYNCING", "forbidden"], 1)),
        "{states:?}"
    );
    relay.stop().await;
}

#[tokio::test]
async fn bodies_may_be_compressed_with_gzip_and_with_nothing_else() {
    let relay = relay().await;
    let lines = format!("{}\n", event("web")).repeat(500);
    let array = format!("[{}]", vec![event("web"); 500].join(","));
    let refs = json!({ "refs": vec![json!({ "pod_uid": "uid-web" }); 500] }).to_string();
    let zeroes = "\n".repeat(8 << 20);
    for (path, content_type, encoding, body, code) in [
        ("/v1/enrich/pod", NDJSON, "gzip", gzip(&lines), 200),
        (
            "/v1/enrich/pod",
            NDJSON,
            "identity",
            lines.clone().into_bytes(),
            200,
        ),
        (
            "/v1/enrich/pod",
            "application/json",
            "gzip",
            gzip(&array),
            200,
        ),
        ("/v1/lookup", "application/json", "gzip", gzip(&refs), 200),
        ("/v1/enrich/pod", NDJSON, "br", Vec::new(), 415),
        ("/v1/lookup", "application/json", "deflate", Vec::new(), 415),
        (
            "/v1/enrich/pod",
            "application/json",
            "gzip",
            b"[]".to_vec(),
            400,
        ),
        // Bombs.
        ("/v1/enrich/pod", NDJSON, "gzip", gzip(&zeroes), 200),
        (
            "/v1/enrich/pod",
            "application/json",
            "gzip",
            gzip(&zeroes),
            413,
        ),
    ] {
        let headers = [
            ("content-type", content_type),
            ("content-encoding", encoding),
        ];
        let size = body.len();
        let answer = relay.send(Method::POST, path, &headers, body).await;
        assert_eq!(
            answer.code,
            code,
            "{path} {encoding} {size}: {}",
            answer.text()
        );
        let lives = answer.text().matches("\"LIVE\"").count();
        assert!(lives == 500 || code != 200 || lives == 0, "{lives}");
    }
    let mut cut = gzip(&lines);
    cut.truncate(cut.len() - 4);
    let headers = [("content-type", NDJSON), ("content-encoding", "gzip")];
    let answer = relay
        .send(Method::POST, "/v1/enrich/pod", &headers, cut)
        .await;
    let said = answer.lines();
    let (last, others) = said.split_last().unwrap();
    assert!(others.iter().all(|line| line["state"] == "LIVE"));
    assert_eq!(last["error"], "the gzip data is damaged or cut");
    relay.stop().await;
}

#[tokio::test]
async fn one_port_speaks_http_1_and_http_2_without_an_upgrade() {
    let relay = relay().await;
    let over_1 = relay.get("/v1/lookup/pod/shop/web").await;
    let over_2 = relay
        .send_http2(Method::GET, "/v1/lookup/pod/shop/web", &[], "")
        .await;
    assert_eq!((over_1.code, over_1.json()), (over_2.code, over_2.json()));
    let headers = [("content-type", NDJSON)];
    let lines = format!("{}\n", event("web")).repeat(2000);
    let answer = relay
        .send_http2(Method::POST, "/v1/enrich/pod", &headers, lines)
        .await;
    assert_eq!(answer.lines().len(), 2000);
    relay.stop().await;
}

#[tokio::test]
async fn a_socket_file_answers_as_a_port_does() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("enrich.sock");
    let listener = Listener::unix(&path).unwrap();
    let settings = profiles(&json!({}));
    let relay = Relay::at(
        listener,
        settings,
        ClusterIdentity::default(),
        Limits::default(),
    );
    relay.objects().apply(&pod("web"));
    let socket = TokioIo::new(UnixStream::connect(&path).await.unwrap());
    let (mut requests, connection) = hyper::client::conn::http1::handshake(socket).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::get("/v1/lookup?pod_ip=10.0.0.1").header("host", "x");
    let request = request.body(String::new()).unwrap();
    let answer = must("an answer", requests.send_request(request))
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    drop((answer, requests));
    let _ = connection.await;
    relay.stop().await;
    assert!(!path.exists(), "the file goes with the server");
}

#[tokio::test]
async fn the_status_shows_profiles_stores_and_the_cache() {
    let settings = json!({
        "default_profile": "a",
        "profiles": {
            "a": { "metricsets": ["pod", "node"] },
            "b": { "metricsets": ["state_job"], "output_schema": "otel", "node": "n1" },
        },
    });
    let relay = Relay::with(settings, Limits::default()).await;
    let objects = relay.objects();
    objects.apply(&pod("web"));
    objects.apply(&pod("gone"));
    objects.delete(&pod("gone"));
    let away = Sync {
        listed: true,
        trouble: Some(Trouble::Unreachable),
        age_ms: 7000,
    };
    objects.set_sync(Resource::Pod, away);
    for _ in 0..3 {
        relay.get("/v1/lookup/pod/shop/web").await;
    }
    let status = relay.get("/v1/status").await.json();
    assert_eq!(
        status["profiles"],
        json!([
            { "name": "a", "metricsets": ["pod", "node"], "scope": "cluster", "schema": "ecs", "generation": 1 },
            { "name": "b", "metricsets": ["state_job"], "scope": "node", "schema": "otel", "generation": 1 },
        ])
    );
    assert_eq!(
        status["stores"][0],
        json!({
            "kind": "pod", "scope": "cluster", "state": "DEGRADED", "reason": "unreachable",
            "objects": 1, "bytes": 0, "buried": 1, "last_contact_ms": 7000, "users": ["default"],
        })
    );
    let cache = &status["cache"];
    assert_eq!(
        (&cache["entries"], &cache["hits"], &cache["misses"]),
        (&json!(1), &json!(2), &json!(1))
    );
    assert!(cache["bytes"].as_u64() > Some(100), "{cache}");
    assert_eq!(status.as_object().map(|members| members.len()), Some(3));
    relay.stop().await;
}

#[tokio::test]
async fn a_request_of_several_lookups_is_answered_in_its_order() {
    let relay = Relay::new(plain()).await;
    relay.objects().apply(&pod("web"));
    let body = json!({
        "profile": "default", "schema": "otel", "semconv": "both", "with_limits": 1, "wait_ms": 0,
        "refs": [
            { "kind": "pod", "namespace": "shop", "name": "web" },
            { "kind": "pod", "namespace": "shop", "name": "web", "container": "app" },
            { "kind": "pod", "namespace": "shop", "name": "other", "uid": "uid-web" },
            { "container_id": "web-c" },
            { "pod_uid": "uid-web" },
            { "uid": "uid-web" },
            { "pod_ip": "10.0.0.1" },
            { "pod_ip": "10.0.0.1", "at": "2020-01-01T00:00:00Z" },
            { "kind": "rollout", "name": "x" },
            { "kind": 7 },
            "web",
            {},
            { "kind": "node", "name": "n2" },
        ],
    });
    let answer = relay
        .post("/v1/lookup", "application/json", body.to_string())
        .await;
    assert_eq!(answer.code, 200, "{}", answer.text());
    let said = answer.json();
    let items = said["items"].as_array().unwrap();
    let states: Vec<_> = items
        .iter()
        .map(|item| item["state"].as_str().unwrap())
        .collect();
    assert_eq!(
        states,
        [
            "LIVE", "LIVE", "LIVE", "LIVE", "LIVE", "LIVE", "LIVE", "LIVE", "INVALID", "INVALID",
            "INVALID", "INVALID", "MISSING",
        ]
    );
    for item in items {
        let is_live = item["state"] == "LIVE";
        assert_eq!(item.get("schema_url").is_some(), is_live, "{item}");
        assert_eq!(item.get("limits").is_some(), is_live, "{item}");
        assert_eq!(
            item.get("error").is_some(),
            item["state"] == "INVALID",
            "{item}"
        );
    }
    assert_eq!(items[1]["metadata"]["k8s.container.name"], "app");
    assert_eq!(said.as_object().map(serde_json::Map::len), Some(1));
    let refs = |number: usize| json!({ "refs": vec![json!({ "uid": "u" }); number] }).to_string();
    for (number, code) in [(10_000, 200), (10_001, 413)] {
        let answer = relay
            .post("/v1/lookup", "application/json", refs(number))
            .await;
        assert_eq!(answer.code, code, "{number}");
        let items = answer.json()["items"].as_array().map(Vec::len);
        assert_eq!(items, (code == 200).then_some(number));
    }
    relay.stop().await;
}

#[tokio::test]
async fn an_address_that_two_pods_have_is_ambiguous() {
    let relay = Relay::new(plain()).await;
    for name in ["one", "two"] {
        relay.objects().apply(&pod(name));
    }
    let answer = relay.get("/v1/lookup?pod_ip=10.0.0.1").await;
    let candidate = |name: &str| json!({ "kind": "pod", "namespace": "shop", "name": name, "uid": format!("uid-{name}") });
    let expected = json!({
        "state": "AMBIGUOUS", "age_ms": 0, "candidates": [candidate("one"), candidate("two")],
    });
    assert_eq!((answer.code.as_u16(), answer.json()), (200, expected));
    relay.stop().await;
}
