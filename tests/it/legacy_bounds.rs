//! How much of the `Collect` port strangers can take: streams, connections, and time.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use k8s_relay::{
    net::grpc,
    source::{CollectMessage, legacy::Options},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic::Code;

use crate::support::collect::*;

/// The status of a call that was refused with its head.
async fn refusal(call: RawCall) -> (i32, String) {
    let head = soon(call.response).await.expect("a head");
    let text = |name| head.headers().get(name).map_or("", |v| v.to_str().unwrap());
    let message = text("grpc-message").replace("%20", " ");
    (text("grpc-status").parse().unwrap(), message)
}

/// Waits until the peer has closed this connection, in whatever way.
async fn closed(mut socket: TcpStream) {
    let mut rest = Vec::new();
    // Reset is as good as FIN.
    let _ = soon(socket.read_to_end(&mut rest)).await;
}

#[tokio::test]
async fn of_a_thousand_silent_streams_64_are_open_and_a_watcher_alongside_them_goes_on() {
    let options = Options {
        silence: Duration::from_secs(3600),
        ..Options::default()
    };
    let mut served = Served::with(8, options).await;
    let watcher = call(&mut client(served.address).await).await.unwrap();
    let _opened = served.opened().await;
    watcher.send(pod("a"));
    served.batch().await;

    let mut raw = Raw::connect(served.address).await;
    let mut silent = Vec::new();
    let mut ends = Vec::new();
    for _ in 0..63 {
        silent.push(raw.call().await.unwrap());
        ends.push(served.opened().await);
    }
    let refused = (
        Code::Unavailable as i32,
        "too many streams are open".to_owned(),
    );
    for _ in 64..1_000 {
        assert_eq!(refusal(raw.call().await.unwrap()).await, refused);
    }
    assert_eq!(served.counters.streams.refused.load(Relaxed), 936);
    assert_eq!(served.counters.opened.load(Relaxed), 64);
    watcher.send(pod("b"));
    served.batch().await;

    // A place is free again when its call has ended.
    let mut first = silent.remove(0);
    first.frames.send_reset(h2::Reason::CANCEL);
    assert!(matches!(served.next().await, CollectMessage::Closed { .. }));
    let taken = async {
        // The call's task lets go of its place after it has said that it is over.
        loop {
            let call = raw.call().await.unwrap();
            let opened = served.inputs.recv();
            tokio::select! {
                input = opened => return (call, input),
                head = refusal(raw.call().await.unwrap()) => assert_eq!(head, refused),
            }
        }
    };
    let (_call, input) = soon(taken).await;
    assert!(matches!(input, Some(CollectMessage::Opened { .. })));
    assert!(!raw.connection.is_finished());
    drop(silent);
    served.stop().await;
}

#[tokio::test]
async fn a_silent_stream_gives_way_to_a_new_one_and_a_watcher_never_does() {
    let options = Options {
        streams: 3,
        silence: Duration::ZERO,
        ..Options::default()
    };
    let mut served = Served::with(8, options).await;
    let watcher = call(&mut client(served.address).await).await.unwrap();
    let _opened = served.opened().await;
    watcher.send(pod("a"));
    served.batch().await;
    let mut raw = Raw::connect(served.address).await;
    let mut silent = Vec::new();
    let mut ends = Vec::new();
    for _ in 0..20 {
        silent.push(raw.call().await.unwrap());
        loop {
            match served.next().await {
                CollectMessage::Opened { end, .. } => break ends.push(end),
                CollectMessage::Closed { .. } => {}
                CollectMessage::Batch { .. } => panic!("nobody sends anything"),
            }
        }
    }
    let oldest = silent.remove(0);
    let end = seen(
        0,
        Code::Unavailable,
        "too many streams are open, and this one is silent",
    );
    assert_eq!(oldest.end().await, end);
    watcher.send(pod("b"));
    while !matches!(served.next().await, CollectMessage::Batch { .. }) {}
    assert_eq!(served.counters.streams.gave_way.load(Relaxed), 18);
    assert_eq!(served.counters.streams.refused.load(Relaxed), 0);
    served.stop().await;
}

#[tokio::test]
async fn a_connection_too_many_is_closed_at_once_and_the_next_one_after_an_end_is_not() {
    let options = Options {
        connections: grpc::Options {
            connections: 2,
            ..grpc::Options::default()
        },
        ..Options::default()
    };
    let mut served = Served::with(8, options).await;
    let mut watcher = client(served.address).await;
    let call_ = call(&mut watcher).await.unwrap();
    let _opened = served.opened().await;
    let standing = Raw::connect(served.other_address).await;
    for _ in 0..10 {
        closed(TcpStream::connect(served.address).await.unwrap()).await;
    }
    assert_eq!(served.counters.connections.refused.load(Relaxed), 10);
    assert_eq!(served.counters.connections.open.load(Relaxed), 2);
    standing.connection.abort();
    soon(async {
        while served.counters.connections.open.load(Relaxed) > 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut raw = Raw::connect(served.address).await;
    let _call = raw.call().await.unwrap();
    let _opened = served.opened().await;
    call_.send(pod("a"));
    served.batch().await;
    served.stop().await;
}

#[tokio::test]
async fn a_connection_without_a_call_is_closed_and_one_with_a_call_stays() {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let options = Options {
        connections: grpc::Options {
            idle: Duration::from_millis(50),
            ..grpc::Options::default()
        },
        ..Options::default()
    };
    let mut served = Served::with(8, options).await;
    let mut raw = Raw::connect(served.address).await;
    let mut call = raw.call().await.unwrap();
    let _opened = served.opened().await;
    for begins in [
        &b""[..],
        &PREFACE[..10],
        PREFACE,
        // Settings, and the head of a call whose end never comes.
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x01\x01\0\0\0\0\x01\x82",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3],
        &[0xff; 5_000],
    ] {
        let mut socket = TcpStream::connect(served.address).await.unwrap();
        socket.write_all(begins).await.unwrap();
        closed(socket).await;
    }
    // One that has made its calls is closed as well.
    let mut done = Raw::connect(served.address).await;
    let mut over = done.call().await.unwrap();
    over.frames.send_reset(h2::Reason::CANCEL);
    let _ = soon(done.connection).await;
    // By now the standing call has outlived its connection's patience many times.
    call.send(grpc_info(&pod("a"))).await.unwrap();
    while !matches!(served.next().await, CollectMessage::Batch { .. }) {}
    assert!(!raw.connection.is_finished());
    served.stop().await;
}

/// Whether it says no more than how many Infos were dropped unread.
fn is_report(input: &CollectMessage) -> bool {
    matches!(input, CollectMessage::Batch { events, .. } if events.is_empty())
}

#[tokio::test]
async fn in_stage_native_infos_are_counted_and_dropped_and_all_streams_end_when_it_is_left() {
    let (alone, native_alone) = tokio::sync::watch::channel(false);
    let options = Options {
        native_alone,
        ..Options::default()
    };
    let mut served = Served::with(8, options).await;
    let mut client = client(served.address).await;
    let mut before = call(&mut client).await.unwrap();
    let _before = served.opened().await;
    before.send(pod("read"));
    served.batch().await;

    alone.send_replace(true);
    let mut during = call(&mut client).await.unwrap();
    let _during = served.opened().await;
    for call in [&before, &during] {
        for n in 0..1_000 {
            call.send(pod(format!("dropped-{n}")));
        }
    }
    let counters = served.counters.clone();
    soon(async {
        while counters.ignored.load(Relaxed) < 2_000 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(counters.infos.load(Relaxed), 2_001);
    let mut reports = 0;
    while let Ok(input) = served.inputs.try_recv() {
        assert!(
            is_report(&input),
            "the loop hears how many, and nothing else: {input:?}"
        );
        reports += 1;
    }
    assert!(reports < 100, "and seldom: {reports} times of 2000 Infos");

    alone.send_replace(false);
    let end = seen(1, Code::Cancelled, "Cancelled on the server side");
    for call in [&mut before, &mut during] {
        assert_eq!(call.end().await, end);
        let mut input = served.next().await;
        while is_report(&input) {
            input = served.next().await;
        }
        assert!(matches!(input, CollectMessage::Closed { .. }));
    }
    let after = call(&mut client).await.unwrap();
    let _after = served.opened().await;
    after.send(pod("read"));
    assert_eq!(served.batch().await.1, 1);
    served.stop().await;
}
