//! The `Collect` service under load: small frames that wait unread, and streams by the thousand.

use std::time::Duration;

use bytes::Bytes;
use k8s_relay::{
    model::HasUid,
    source::{CallEnd, CollectMessage, FeedEvent},
};
use kube::runtime::watcher::Event;
use tonic::Code;

use crate::support::collect::*;

const INFOS: usize = 50_000;

/// One Info of at most 60 bytes in a frame of its own.
fn frame(n: usize) -> Bytes {
    let frame = grpc_info(&pod(format!("0a1b2c3d-0000-4000-8000-{n:012}")));
    assert!(frame.len() <= 5 + 60);
    frame
}

/// Sends frames until flow control has held the watcher back for this long.
async fn send_until_held_back(
    call: &mut RawCall,
    frame: impl Fn(usize) -> Bytes,
    long: Duration,
) -> usize {
    for n in 0..INFOS {
        match tokio::time::timeout(long, call.send(frame(n))).await {
            Ok(sent) => sent.expect("the call stands"),
            Err(_held_back) => return n,
        }
    }
    panic!("nothing holds the watcher back")
}

#[tokio::test]
async fn small_frames_that_wait_for_a_second_are_all_read_then() {
    let mut served = Served::start(4).await;
    let mut raw = Raw::connect(served.address).await;
    let mut call = raw.call().await.unwrap();
    let opened = served.opened().await;
    let next = send_until_held_back(&mut call, frame, Duration::from_secs(1)).await;

    let sending = async {
        for n in next..INFOS {
            call.send(frame(n)).await.expect("the call survives");
        }
        call.frames.send_data(Bytes::new(), true).unwrap();
        call.end().await
    };
    let (end, (events, infos)) = tokio::join!(sending, served.until_closed(opened.stream));
    assert_eq!(end, seen(0, Code::Cancelled, ""));
    assert_eq!(infos, INFOS as u64);
    for (n, event) in events.iter().enumerate() {
        let FeedEvent::Pod(Event::Apply(pod)) = event else {
            panic!("{event:?}")
        };
        assert!(
            pod.uid().to_string().ends_with(&format!("-{n:012}")),
            "in order"
        );
    }
    assert!(!raw.connection.is_finished());
    served.stop().await;
}

#[tokio::test]
async fn even_a_full_window_of_the_smallest_frames_leaves_the_connection_alive() {
    let mut served = Served::start(4).await;
    let mut raw = Raw::connect(served.address).await;
    let mut call = raw.call().await.unwrap();
    let opened = served.opened().await;
    let smallest = |_| grpc(&[]);
    let sent = send_until_held_back(&mut call, smallest, Duration::from_millis(200)).await;
    assert!(sent >= (128 << 10) / 5, "{sent}: a full window at least");
    call.frames.send_data(Bytes::new(), true).unwrap();
    let (end, (events, infos)) = tokio::join!(call.end(), served.until_closed(opened.stream));
    assert_eq!(end, seen(0, Code::Cancelled, ""));
    assert_eq!((events.len(), infos), (0, sent as u64));
    assert!(!raw.connection.is_finished());
    served.stop().await;
}

#[tokio::test]
async fn a_call_that_is_ended_under_load_still_hears_why() {
    for (end, expected) in [
        (CallEnd::Overflow, seen(0, Code::Cancelled, "")),
        (
            CallEnd::Reset,
            seen(1, Code::Cancelled, "Cancelled on the server side"),
        ),
    ] {
        let mut served = Served::start(4).await;
        let mut raw = Raw::connect(served.address).await;
        let mut call = raw.call().await.unwrap();
        let opened = served.opened().await;
        send_until_held_back(&mut call, frame, Duration::from_secs(1)).await;
        opened.end.send(end).unwrap();
        assert_eq!(call.end().await, expected);
        served.until_closed(opened.stream).await;
        assert!(!raw.connection.is_finished());
        served.stop().await;
    }
}

#[tokio::test]
async fn a_connection_outlives_any_number_of_calls_that_were_ended_under_load() {
    const AHEAD: usize = 2_000;
    let mut served = Served::start(4).await;
    let mut raw = Raw::connect(served.address).await;
    for n in 0..200 {
        let mut call = raw.call().await.expect("the connection stands");
        let opened = served.opened().await;
        soon(call.room_for(AHEAD * frame(0).len())).await.unwrap();
        // The watcher goes on sending until the status has reached it.
        opened.end.send(CallEnd::Overflow).unwrap();
        for n in 0..AHEAD {
            call.frames.send_data(frame(n), false).unwrap();
        }
        assert_eq!(call.end().await, seen(0, Code::Cancelled, ""), "call {n}");
        served.until_closed(opened.stream).await;
    }
    assert!(!raw.connection.is_finished());
    served.stop().await;
}

/// Receives until this many streams were opened; ends none of them.
async fn all_opened(served: &mut Served, count: usize) -> Vec<Opened> {
    let mut all = Vec::new();
    while all.len() < count {
        match served.next().await {
            CollectMessage::Opened { stream, end, .. } => all.push(Opened { stream, end }),
            CollectMessage::Batch { .. } => {}
            closed @ CollectMessage::Closed { .. } => panic!("{closed:?}"),
        }
    }
    all
}

async fn all_closed(served: &mut Served, count: usize) {
    let mut closed = 0;
    while closed < count {
        match served.next().await {
            CollectMessage::Closed { .. } => closed += 1,
            CollectMessage::Batch { .. } => {}
            opened @ CollectMessage::Opened { .. } => panic!("{opened:?}"),
        }
    }
}

#[tokio::test]
async fn two_thousand_streams_are_opened_and_dropped() {
    const AT_ONCE: usize = 50;
    let mut served = Served::start(64).await;
    for _ in 0..2 {
        let mut client = client(served.address).await;
        for _ in 0..1_000 / AT_ONCE {
            let opening = async {
                let mut calls = Vec::new();
                for _ in 0..AT_ONCE {
                    let call = call(&mut client).await.unwrap();
                    call.send(pod("p"));
                    calls.push(call);
                }
                calls
            };
            let (calls, opened) = tokio::join!(opening, all_opened(&mut served, AT_ONCE));
            drop(calls);
            all_closed(&mut served, AT_ONCE).await;
            drop(opened);
        }
    }
    let later = call(&mut client(served.address).await).await.unwrap();
    let opened = served.opened().await;
    later.send(pod("later"));
    assert_eq!(served.batch().await.1, 1);
    drop((later, opened));
    assert_eq!(served.stop().await, (0, 1));
}

#[tokio::test]
async fn streams_cancelled_as_fast_as_they_are_opened_do_no_harm() {
    const STREAMS: usize = 20_000;
    let mut served = Served::start(16).await;
    let address = served.address;
    let flood = async {
        let (mut opened, mut connections) = (0, 0);
        while opened < STREAMS {
            let mut raw = Raw::connect(address).await;
            connections += 1;
            while opened < STREAMS {
                // The server may end a connection that floods it; then there is a new one.
                let Ok(mut call) = raw.call().await else {
                    break;
                };
                call.frames.send_reset(h2::Reason::CANCEL);
                opened += 1;
            }
        }
        connections
    };
    let inputs = &mut served.inputs;
    let (mut open, mut closed) = (0, 0);
    let mut flood = std::pin::pin!(flood);
    let connections = loop {
        tokio::select! {
            connections = &mut flood => break connections,
            input = inputs.recv() => match input.expect("the source serves") {
                CollectMessage::Opened { .. } => open += 1,
                CollectMessage::Closed { .. } => closed += 1,
                CollectMessage::Batch { .. } => {}
            },
        }
    };
    assert!(connections < 100, "{connections}");
    let end = served.stop().await;
    assert_eq!(
        open + end.0,
        closed + end.1,
        "whatever was opened is closed"
    );
}
