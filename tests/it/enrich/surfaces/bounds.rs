//! Clients that send and never read, open thousands of streams, or send nothing.

use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use k8s_relay::{
    enrich_api::Limits,
    net,
    proto::k8smeta::{LookupRequest, StatusRequest},
};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::Code;

use super::{
    grpc::{Call, batch},
    world::{Relay, event, plain, pod, state, until},
};
use crate::support::must;

/// Limits by which clients are not waited for long.
fn impatient() -> Limits {
    let connections = net::http::Options {
        idle: Duration::from_millis(200),
        stall: Duration::from_millis(200),
        ..net::http::Options::default()
    };
    Limits {
        stall: Duration::from_millis(200),
        body: Duration::from_millis(200),
        connections,
        ..Limits::default()
    }
}

async fn relay(limits: Limits) -> Relay {
    let relay = Relay::with(json!({ "profiles": { "default": plain() } }), limits).await;
    relay.objects().apply(&pod("web"));
    relay
}

#[tokio::test]
async fn a_client_of_http_1_that_never_reads_is_cut_and_its_place_is_free() {
    let relay = relay(impatient()).await;
    let mut socket = relay.connect().await;
    let head = "POST /v1/enrich/pod HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-ndjson\r\n\
        transfer-encoding: chunked\r\n\r\n";
    socket.write_all(head.as_bytes()).await.unwrap();
    let lines = format!("{}\n", event("web")).repeat(500);
    let chunk = format!("{:x}\r\n{lines}\r\n", lines.len());
    // Until the relay takes no more, and then ends the connection.
    let mut sent = 0;
    let ended = async {
        while socket.write_all(chunk.as_bytes()).await.is_ok() {
            sent += chunk.len();
        }
    };
    must("the end of the connection", ended).await;
    assert!(sent < 64 << 20, "the relay took {sent} bytes");
    until("a free place", || {
        relay.counters.streams.open.load(Relaxed) == 0
    })
    .await;
    assert_eq!(state(&relay.get("/v1/lookup/pod/shop/web").await).1, "LIVE");
    relay.stop().await;
}

#[tokio::test]
async fn a_stream_of_grpc_that_is_never_read_is_ended_and_its_place_is_free() {
    let relay = relay(impatient()).await;
    let call = Call::open(&relay).await.unwrap();
    let web = event("web");
    let events = vec![web.as_str(); 1000];
    let mut sent = 0;
    let ended = async {
        while call.requests.send(batch(sent, &events)).await.is_ok() {
            sent += 1;
        }
    };
    let is_stalled = until("a stream that has ended", || {
        relay.counters.limits().any(|hit| hit == ("stalled", 1))
    });
    tokio::select! {
        () = must("the end of the stream", ended) => {}
        () = is_stalled => {}
    }
    until("a free place", || {
        relay.counters.streams.open.load(Relaxed) == 0
    })
    .await;
    assert_eq!(state(&relay.get("/v1/lookup/pod/shop/web").await).1, "LIVE");
    drop(call);
    relay.stop().await;
}

#[tokio::test]
async fn ten_thousand_streams_of_one_client_cost_the_others_nothing() {
    let relay = relay(Limits::default()).await;
    let client = relay.grpc().await;
    let mut calls = FuturesUnordered::new();
    for _ in 0..10_000 {
        let mut client = client.clone();
        calls.push(async move {
            let never = tokio_stream::pending::<k8s_relay::proto::k8smeta::EnrichRequest>();
            client.enrich(never).await
        });
    }
    let (mut open, mut refused) = (Vec::new(), 0);
    let all = async {
        while let Some(call) = calls.next().await {
            match call {
                Ok(answers) => open.push(answers),
                Err(status) => {
                    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
                    refused += 1;
                }
            }
        }
    };
    must("an answer to each call", all).await;
    assert_eq!((open.len(), refused), (256, 10_000 - 256));
    // Another one is answered, over that connection and over its own.
    let mut same = client.clone();
    let found = must("an answer", same.status(StatusRequest {}))
        .await
        .unwrap();
    assert_eq!(found.into_inner().profiles.len(), 1);
    assert_eq!(state(&relay.get("/v1/lookup/pod/shop/web").await).1, "LIVE");
    let begin = Instant::now();
    relay.stop().await;
    assert!(
        begin.elapsed() < Duration::from_secs(3),
        "{:?}",
        begin.elapsed()
    );
}

#[tokio::test]
async fn connections_are_bounded_and_silent_ones_give_way() {
    let mut limits = Limits::default();
    limits.connections.connections = 3;
    limits.connections.patience = Duration::ZERO;
    let relay = relay(limits).await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(relay.connect().await);
    }
    assert_eq!(state(&relay.get("/v1/lookup/pod/shop/web").await).1, "LIVE");
    until("those that gave way", || {
        relay.counters.connections.open.load(Relaxed) <= 3
    })
    .await;
    relay.stop().await;
}

#[tokio::test]
async fn a_connection_without_a_request_is_closed_after_a_while() {
    let relay = relay(impatient()).await;
    for begin in ["", "GET /v1/sta", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut socket = relay.connect().await;
        socket.write_all(begin.as_bytes()).await.unwrap();
        let mut read = Vec::new();
        let ended = must("the end of the connection", socket.read_to_end(&mut read)).await;
        assert!(ended.is_ok(), "{begin:?}");
    }
    relay.stop().await;
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let relay = relay(impatient()).await;
    let mut socket = relay.connect().await;
    let head = "POST /v1/lookup HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
        content-length: 100\r\n\r\n{";
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut read = vec![0; 64];
    let length = must("an answer", socket.read(&mut read)).await.unwrap();
    let text = String::from_utf8_lossy(&read[..length]).into_owned();
    assert!(text.starts_with("HTTP/1.1 408"), "{text}");
    until("a free place", || {
        relay.counters.streams.open.load(Relaxed) == 0
    })
    .await;
    relay.stop().await;
}

#[tokio::test]
async fn a_stream_that_is_quiet_stays_open() {
    let relay = relay(impatient()).await;
    let mut call = Call::open(&relay).await.unwrap();
    let web = event("web");
    let begin = Instant::now();
    let mut answered = 0;
    // Longer than everything that an idle or stalled client is given.
    while begin.elapsed() < Duration::from_millis(900) {
        let quiet = tokio::time::timeout(Duration::from_millis(300), call.answers.message());
        assert!(quiet.await.is_err(), "nothing was asked");
        call.requests.send(batch(answered, &[&web])).await.unwrap();
        assert_eq!(call.next().await.unwrap().unwrap().seq, answered);
        answered += 1;
    }
    relay.stop().await;
}

#[tokio::test]
async fn nonsense_ends_its_connection_and_nothing_else() {
    let relay = relay(Limits::default()).await;
    for nonsense in [
        Bytes::from_static(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
        Bytes::from_static(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnonsense that is no frame"),
        Bytes::from(vec![b'a'; 200_000]),
        Bytes::from(format!(
            "GET /{} HTTP/1.1\r\nhost: x\r\n\r\n",
            "a".repeat(100_000)
        )),
    ] {
        let mut socket = relay.connect().await;
        // It may end before all is sent.
        let _ = socket.write_all(&nonsense).await;
        let mut read = Vec::new();
        let _ = must("the end of the connection", socket.read_to_end(&mut read)).await;
    }
    let mut client = relay.grpc().await;
    let found = client
        .lookup(LookupRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert!(found.items.is_empty());
    relay.stop().await;
}

#[tokio::test]
async fn the_relay_ends_in_time_whatever_its_clients_do() {
    let relay = relay(Limits::default()).await;
    let web = event("web");
    let mut silent = relay.connect().await;
    silent
        .write_all(b"POST /v1/enrich/pod HTTP/1.1\r\n")
        .await
        .unwrap();
    let unread = Call::open(&relay).await.unwrap();
    for seq in 0..32 {
        unread.requests.try_send(batch(seq, &[&web])).unwrap();
    }
    let mut waits = Call::open(&relay).await.unwrap();
    let mut asked = batch(1, &[&event("none")]);
    asked.wait_ms = 5000;
    waits.requests.send(asked).await.unwrap();
    until("a batch that waits", || relay.is_waited_for()).await;
    let begin = Instant::now();
    relay.stop().await;
    assert!(
        begin.elapsed() < Duration::from_secs(3),
        "{:?}",
        begin.elapsed()
    );
    assert_eq!(
        waits.next().await.unwrap().map(|answer| answer.seq),
        Some(1)
    );
}
