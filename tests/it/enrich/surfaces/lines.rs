//! `POST /v1/enrich/{metricset}`: lines in, lines out, while they come.

use bytes::Bytes;
use futures_util::StreamExt as _;
use http_body_util::{BodyExt as _, StreamBody};
use hyper_util::rt::TokioIo;
use k8s_relay::enrich::{event::MAX_EVENT_BYTES, resource::Resource, view::Sync};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::world::{Relay, event, plain, pod};
use crate::support::must;

const NDJSON: &str = "application/x-ndjson";

async fn relay() -> Relay {
    let relay = Relay::new(plain()).await;
    relay.objects().apply(&pod("web"));
    relay
}

/// A request whose body is sent piece by piece, and its answer as it comes.
struct Stream {
    pieces: Option<mpsc::Sender<Bytes>>,
    answer: http::Response<hyper::body::Incoming>,
    read: Vec<u8>,
}

impl Stream {
    async fn open(relay: &Relay, path: &str) -> Self {
        let (pieces, sent) = mpsc::channel::<Bytes>(64);
        let frames = tokio_stream::wrappers::ReceiverStream::new(sent)
            .map(|piece| Ok::<_, std::convert::Infallible>(http_body::Frame::data(piece)));
        let socket = TokioIo::new(relay.connect().await);
        let (mut requests, connection) =
            hyper::client::conn::http1::handshake(socket).await.unwrap();
        tokio::spawn(connection);
        let request = http::Request::post(path)
            .header("host", "localhost")
            .header("content-type", NDJSON)
            .body(StreamBody::new(frames))
            .unwrap();
        let answer = must("the head of the answer", requests.send_request(request)).await;
        Self {
            pieces: Some(pieces),
            answer: answer.unwrap(),
            read: Vec::new(),
        }
    }

    async fn send(&self, piece: &str) {
        let pieces = self.pieces.as_ref().expect("the request is open");
        pieces
            .send(Bytes::copy_from_slice(piece.as_bytes()))
            .await
            .unwrap();
    }

    /// The next line of the answer; `None` at its end.
    async fn line(&mut self) -> Option<Value> {
        loop {
            if let Some(at) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=at).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = must("a piece of the answer", self.answer.body_mut().frame()).await?;
            self.read
                .extend_from_slice(&frame.unwrap().into_data().unwrap());
        }
    }
}

#[tokio::test]
async fn an_answer_begins_before_the_request_and_follows_it_line_by_line() {
    let relay = relay().await;
    let mut stream = Stream::open(&relay, "/v1/enrich/pod").await;
    assert_eq!(stream.answer.status(), 200);
    let content_type = stream.answer.headers().get("content-type").cloned();
    assert_eq!(content_type.unwrap(), NDJSON);
    for _ in 0..3 {
        let event = event("web");
        // A line is answered when it ends, not before.
        let (begin, end) = event.split_at(11);
        stream.send(begin).await;
        stream.send(&format!("{end}\n")).await;
        let line = stream.line().await.unwrap();
        assert_eq!(
            (&line["state"], &line["event"]["uid"]),
            (&json!("LIVE"), &json!("uid-web"))
        );
    }
    stream.send(&event("last")).await;
    stream.pieces = None;
    assert_eq!(stream.line().await.unwrap()["state"], "MISSING");
    assert_eq!(stream.line().await, None);
    relay.stop().await;
}

#[tokio::test]
async fn each_line_that_is_not_blank_is_answered_in_its_place() {
    let relay = relay().await;
    let (web, none) = (event("web"), event("none"));
    let long = |bytes: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8));
    let deep = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
    let invalid = |line: u64| ("INVALID", Some(line));
    for (body, expected) in [
        (
            format!("{web}\n{none}\n"),
            vec![("LIVE", None), ("MISSING", None)],
        ),
        (
            format!("\u{feff}{web}\r\n\r\n \t\n{none}"),
            vec![("LIVE", None), ("MISSING", None)],
        ),
        (
            format!("{web}\n\u{feff}{web}\n{web}"),
            vec![("LIVE", None), invalid(2), ("LIVE", None)],
        ),
        (
            format!("{{\"cut\n{web}\n\n[1]\n7\n{web}"),
            vec![
                invalid(1),
                ("LIVE", None),
                invalid(4),
                invalid(5),
                ("LIVE", None),
            ],
        ),
        (
            format!(
                "{}\n{}\n{web}",
                long(MAX_EVENT_BYTES),
                long(MAX_EVENT_BYTES + 1)
            ),
            vec![("MISSING", None), invalid(2), ("LIVE", None)],
        ),
        (
            format!("{}\r\n{}\n{web}\n", deep(64), deep(65)),
            vec![("MISSING", None), invalid(2), ("LIVE", None)],
        ),
        (
            format!("{}\n{web}", "[".repeat(100_000)),
            vec![invalid(1), ("LIVE", None)],
        ),
        (
            format!("{web}\n{}", &web[..web.len() - 1]),
            vec![("LIVE", None), invalid(2)],
        ),
        (String::new(), vec![]),
        ("\n\n\r\n".to_owned(), vec![]),
        ("\u{feff}".to_owned(), vec![]),
        (format!("{web}\n").repeat(1000), vec![("LIVE", None); 1000]),
    ] {
        let answer = relay.post("/v1/enrich/pod", NDJSON, body.clone()).await;
        assert_eq!(answer.code, 200);
        let said = answer.lines();
        let said: Vec<_> = said
            .iter()
            .map(|line| (line["state"].as_str().unwrap(), line["line"].as_u64()))
            .collect();
        let short: String = body.chars().take(60).collect();
        assert_eq!(said, expected, "{short}");
        for line in answer.lines() {
            let is_invalid = line["state"] == "INVALID";
            assert_eq!(line["error"].is_string(), is_invalid, "{line}");
            assert_eq!(line.get("event").is_some(), !is_invalid, "{line}");
        }
    }
    let broken = b"{\"name\":\"\xff\"}\n".to_vec();
    let answer = relay.post("/v1/enrich/pod", NDJSON, broken).await;
    assert_eq!(
        answer.lines(),
        [json!({ "state": "INVALID", "error": "not UTF-8", "line": 1 })]
    );
    relay.stop().await;
}

#[tokio::test]
async fn bare_events_are_unchanged_where_nothing_was_found() {
    let relay = relay().await;
    let (web, none) = (event("web"), event("none"));
    let deep = "[".repeat(65);
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_EVENT_BYTES));
    let body = format!(" {none} \r\n{web}\n{{\"cut\n\n{deep}\n{long}\n[1.10]\n7");
    let answer = relay
        .post("/v1/enrich/pod?output=event", NDJSON, body)
        .await;
    let text = answer.text();
    let lines: Vec<_> = text.lines().collect();
    let merged = "{\"name\":\"web\",\"n\":1.10,\"_module\":{\"namespace\":\"shop\",\
        \"node\":{\"name\":\"n1\"},\"labels\":{\"app\":\"web\"}},\"uid\":\"uid-web\",\
        \"ip\":\"10.0.0.1\",\"meta\":{}}";
    assert_eq!(
        lines,
        [&format!(" {none} "), merged, "{\"cut", "[1.10]", "7"]
    );
    let limits: Vec<_> = relay
        .counters
        .limits()
        .filter(|(_, count)| *count > 0)
        .collect();
    assert_eq!(limits, [("event", 2)]);
    relay.stop().await;
}

#[tokio::test]
async fn results_carry_all_that_is_said_of_an_event() {
    let relay = Relay::new(json!({})).await;
    let objects = relay.objects();
    objects.apply(&pod("web"));
    objects.set_sync(Resource::Namespace, Sync::PENDING);
    let body = event("web");
    let path = "/v1/enrich/pod?output=metadata";
    let mut line = relay
        .post(path, NDJSON, body.clone())
        .await
        .lines()
        .remove(0);
    let hash = line.as_object_mut().unwrap().remove("hash").unwrap();
    assert_eq!(hash.as_str().unwrap().len(), 32);
    let expected = json!({
        "state": "LIVE",
        "metadata": { "kubernetes": {
            "pod": { "name": "web", "uid": "uid-web", "ip": "10.0.0.1" },
            "node": { "name": "n1" }, "namespace": "shop", "labels": { "app": "web" },
        } },
        "partial": [
            { "part": "node", "reason": "not_found" },
            { "part": "namespace", "reason": "syncing" },
        ],
        "resource_version": "7",
        "uid": "uid-web",
        "age_ms": 0,
    });
    assert_eq!(line, expected);
    let event = relay
        .post("/v1/enrich/pod", NDJSON, body)
        .await
        .lines()
        .remove(0);
    assert_eq!((event.get("hash"), event.get("metadata")), (None, None));
    let counts = relay.counters.partial();
    assert_eq!(
        counts,
        [
            (["pod", "node", "not_found"], 2),
            (["pod", "namespace", "syncing"], 2)
        ]
    );
    assert_eq!(relay.counters.answers(), [(["pod", "LIVE", ""], 2)]);
    relay.stop().await;
}

#[tokio::test]
async fn an_array_is_answered_as_an_array() {
    let relay = relay().await;
    let path = "/v1/enrich/pod";
    let body = format!("[{}, 7 ,{}]", event("web"), event("none"));
    for (query, expected) in [
        ("", json!(["LIVE", "INVALID", "MISSING"])),
        ("?output=metadata", json!(["LIVE", "INVALID", "MISSING"])),
    ] {
        let answer = relay
            .post(&format!("{path}{query}"), "application/json", body.clone())
            .await;
        assert_eq!(
            (answer.code.as_u16(), answer.header("content-type")),
            (200, Some("application/json"))
        );
        let said = answer.json();
        let states: Vec<_> = said
            .as_array()
            .unwrap()
            .iter()
            .map(|one| &one["state"])
            .collect();
        assert_eq!(json!(states), expected);
        assert_eq!(said[1].get("line"), None);
    }
    let bare = relay
        .post("/v1/enrich/pod?output=event", "application/json", body)
        .await;
    let bare = bare.json();
    assert_eq!(
        (&bare[0]["uid"], &bare[1], &bare[2]["name"]),
        (&json!("uid-web"), &json!(7), &json!("none"))
    );
    let empty = relay
        .post(path, "application/json; charset=utf-8", "\u{feff}[]")
        .await;
    assert_eq!(empty.json(), json!([]));
    let events = |number: usize| format!("[{}]", vec!["{}"; number].join(","));
    let long = |bytes: usize| format!("[{}{{}}]", " ".repeat(bytes - 4));
    for (body, code) in [
        (events(10_000), 200),
        (events(10_001), 413),
        (long(4 << 20), 200),
        (long((4 << 20) + 1), 413),
        ("{}".to_owned(), 400),
        ("[{}".to_owned(), 400),
        ("[{}] []".to_owned(), 400),
        (String::new(), 400),
    ] {
        let short: String = body.chars().take(20).collect();
        let answer = relay.post(path, "application/json", body).await;
        assert_eq!(answer.code, code, "{short}");
        assert_eq!(answer.json().get("error").is_some(), code != 200, "{short}");
    }
    relay.stop().await;
}

#[tokio::test]
async fn a_stream_goes_on_through_a_reload_with_the_new_profiles() {
    let relay = relay().await;
    let mut stream = Stream::open(&relay, "/v1/enrich/pod?output=metadata").await;
    let line = format!("{}\n", event("web"));
    stream.send(&line).await;
    let before = stream.line().await.unwrap();
    let identity = k8s_relay::enrich::cluster::ClusterIdentity {
        name: "prod".to_owned(),
        url: String::new(),
    };
    let one = |name: &str| {
        let mut profiles = serde_json::Map::new();
        profiles.insert(name.to_owned(), plain());
        super::world::profiles(&json!({ "default_profile": name, "profiles": profiles }))
    };
    relay.service.replace(one("default"), identity.clone());
    stream.send(&line).await;
    let after = stream.line().await.unwrap();
    assert_eq!(before["metadata"].get("orchestrator"), None);
    assert_eq!(after["metadata"]["orchestrator"]["cluster"]["name"], "prod");
    assert_eq!(
        relay.get("/v1/status").await.json()["profiles"][0]["generation"],
        2
    );
    relay.stop().await;
}
