//! The `Collect` service: what streams send the driver, and every way in which a call ends.

use k8s_relay::{
    model::{HasUid, Uid},
    net::grpc,
    proto::{Info, PodInfo, info::Event as Verb},
    source::{CallEnd, CollectMessage, FeedEvent, StreamId, legacy::Options},
};
use kube::runtime::watcher::Event;
use prost::Message;
use std::{sync::atomic::Ordering::Relaxed, time::Duration};
use tonic::Code;

use crate::support::collect::*;

fn applied(events: &[FeedEvent]) -> Vec<Uid> {
    let uid = |event: &FeedEvent| match event {
        FeedEvent::Pod(Event::Apply(pod)) => pod.uid().clone(),
        other => panic!("not an added pod: {other:?}"),
    };
    events.iter().map(uid).collect()
}

fn uids<const N: usize>(uids: [&str; N]) -> Vec<Uid> {
    uids.map(Uid::new).into()
}

#[tokio::test]
async fn a_stream_is_opened_sent_in_order_and_closed() {
    let mut served = Served::start(8).await;
    let mut call = call(&mut client(served.address).await).await.unwrap();
    let opened = served.opened().await;
    assert_eq!(opened.stream, StreamId(1));
    call.send(pod("a"));
    let (events, infos) = served.batch().await;
    assert_eq!((applied(&events), infos), (uids(["a"]), 1), "at once");
    for uid in ["b", "c", "d"] {
        call.send(pod(uid));
    }
    call.half_close();
    let (events, infos) = served.until_closed(opened.stream).await;
    assert_eq!((applied(&events), infos), (uids(["b", "c", "d"]), 3));
    assert_eq!(call.end().await, seen(0, Code::Cancelled, ""));
    assert_eq!(served.stop().await, (0, 0));
}

#[tokio::test]
async fn all_addresses_are_served_alike() {
    let mut served = Served::start(8).await;
    for (n, address) in (1..).zip([served.address, served.other_address]) {
        let call = call(&mut client(address).await).await.unwrap();
        assert_eq!(served.opened().await.stream, StreamId(n));
        drop(call);
        assert!(matches!(served.next().await, CollectMessage::Closed { .. }));
    }
    assert_eq!(served.stop().await, (0, 0));
}

#[tokio::test]
async fn streams_are_numbered_as_they_come_and_each_merges_alone() {
    let mut served = Served::start(64).await;
    let mut client = client(served.address).await;
    let mut calls = Vec::new();
    for n in 1..=3 {
        let call = call(&mut client).await.unwrap();
        let CollectMessage::Opened { stream, peer, end } = served.next().await else {
            panic!("not opened")
        };
        assert_eq!(stream, StreamId(n));
        assert!(peer.is_some_and(|peer| peer.ip().is_loopback()));
        let mut named = pod("same");
        named.pod_info.as_mut().unwrap().name = format!("name-{n}");
        call.send(named);
        let (events, _) = served.batch().await;
        calls.push((call, end, events));
    }
    for (call, _, _) in &calls {
        call.send(pod("same"));
        let (events, _) = served.batch().await;
        let [FeedEvent::Pod(Event::Apply(pod))] = &*events else {
            panic!("{events:?}")
        };
        let said_before = calls.iter().any(|(_, _, events)| {
            matches!(&**events, [FeedEvent::Pod(Event::Apply(before))] if before.ptr_eq(pod))
        });
        assert!(said_before, "merged with what its own stream said");
    }
    assert_eq!(served.counters.infos.load(Relaxed), 6);
    drop(calls);
    assert_eq!(served.stop().await, (0, 3));
}

#[tokio::test]
async fn a_call_ends_as_the_driver_says() {
    let mut served = Served::start(8).await;
    let mut client = client(served.address).await;
    for (end, expected) in [
        (Some(CallEnd::Overflow), seen(0, Code::Cancelled, "")),
        (
            Some(CallEnd::Reset),
            seen(1, Code::Cancelled, "Cancelled on the server side"),
        ),
        (
            Some(CallEnd::Shutdown),
            seen(0, Code::Unavailable, "the relay is shutting down"),
        ),
        (
            None,
            seen(0, Code::Unavailable, "the relay is shutting down"),
        ),
    ] {
        let mut call = call(&mut client).await.unwrap();
        let opened = served.opened().await;
        call.send(pod("a"));
        served.batch().await;
        match end {
            Some(end) => opened.end.send(end).unwrap(),
            None => drop(opened.end),
        }
        assert_eq!(call.end().await, expected, "{end:?}");
        let (events, _) = served.until_closed(opened.stream).await;
        assert_eq!(events.len(), 0);
    }
    served.stop().await;
}

#[tokio::test]
async fn a_call_ends_although_the_driver_does_not_listen() {
    let mut served = Served::start(1).await;
    let mut client = client(served.address).await;
    for end in [CallEnd::Overflow, CallEnd::Reset] {
        let mut call = call(&mut client).await.unwrap();
        let opened = served.opened().await;
        for n in 0..5_000 {
            call.send(pod(format!("pod-{n}")));
        }
        // One batch has the only place; the next one waits.
        soon(async {
            while served.inputs.is_empty() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        opened.end.send(end).unwrap();
        let responses = usize::from(end == CallEnd::Reset);
        assert_eq!(call.end().await.responses, responses);
        served.until_closed(opened.stream).await;
    }
    served.stop().await;
}

#[tokio::test]
async fn a_watcher_that_goes_away_closes_its_stream() {
    let mut served = Served::start(8).await;
    let mut client = client(served.address).await;
    let cancelled = call(&mut client).await.unwrap();
    let opened = served.opened().await;
    drop(cancelled);
    served.until_closed(opened.stream).await;

    let mut raw = Raw::connect(served.address).await;
    let _call = raw.call().await.unwrap();
    let opened = served.opened().await;
    raw.connection.abort();
    served.until_closed(opened.stream).await;
    served.stop().await;
}

#[tokio::test]
async fn a_watcher_that_falls_silent_is_pinged_and_given_up() {
    let options = Options {
        connections: grpc::Options {
            keepalive_interval: Duration::from_millis(50),
            keepalive_timeout: Duration::from_millis(50),
            ..grpc::Options::default()
        },
        ..Options::default()
    };
    let mut served = Served::with(8, options).await;
    let socket = tokio::net::TcpStream::connect(served.address)
        .await
        .unwrap();
    let (mut requests, connection) = h2::client::handshake(socket).await.unwrap();
    let request = http::Request::post("http://relay/collector.Collector/Collect")
        .header("content-type", "application/grpc")
        .body(())
        .unwrap();
    let (_response, _frames) = requests.send_request(request, false).unwrap();
    let mut connection = Box::pin(connection);
    let opened = tokio::select! {
        opened = served.opened() => opened,
        end = &mut connection => panic!("{end:?}"),
    };
    // From here on nobody drives the watcher's side: no ping is answered.
    served.until_closed(opened.stream).await;
    drop(connection);
    served.stop().await;
}

#[tokio::test]
async fn bytes_that_are_no_info_end_their_call_only() {
    let mut served = Served::start(8).await;
    let mut raw = Raw::connect(served.address).await;
    let mut not_utf8 = pod("name").encode_to_vec();
    let at = not_utf8.windows(4).position(|w| w == b"name").unwrap();
    not_utf8[at] = 0xff;
    let bystander = call(&mut client(served.address).await).await.unwrap();
    let standing = served.opened().await;
    for (what, payload) in [
        ("garbage", vec![0xff; 40]),
        ("an endless varint", vec![0x80; 40]),
        ("a length beyond the end", vec![0x1a, 0x7f, 0x0a]),
        ("invalid UTF-8", not_utf8),
        ("a group that never ends", vec![0x0b; 200]),
    ] {
        let mut call = raw.call().await.unwrap();
        let opened = served.opened().await;
        call.send(grpc_info(&pod("before"))).await.unwrap();
        call.send(grpc(&payload)).await.unwrap();
        assert_eq!(call.end().await, seen(0, Code::Cancelled, ""), "{what}");
        let (events, infos) = served.until_closed(opened.stream).await;
        assert_eq!((applied(&events), infos), (uids(["before"]), 1), "{what}");
    }
    let counts: Vec<_> = served.counters.dropped.snapshot().collect();
    assert_eq!(counts, [("undecodable", 5)]);
    bystander.send(pod("still here"));
    assert_eq!(applied(&served.batch().await.0), uids(["still here"]));
    drop(standing);
    served.stop().await;
}

#[tokio::test]
async fn a_message_of_four_mebibytes_is_read_and_a_larger_one_ends_the_call() {
    const MAX: usize = 4_194_304;
    let mut served = Served::start(8).await;
    let mut client = client(served.address).await;
    let sized = |len: usize| {
        let mut info = pod("big");
        let name = |info: &mut Info, len| info.pod_info.as_mut().unwrap().name = "n".repeat(len);
        name(&mut info, len);
        let over = info.encoded_len() - len;
        name(&mut info, len - over);
        assert_eq!(info.encoded_len(), len);
        info
    };
    let mut call_ = call(&mut client).await.unwrap();
    let opened = served.opened().await;
    call_.send(sized(MAX));
    let (events, _) = served.batch().await;
    assert_eq!(applied(&events), uids(["big"]));
    call_.send(sized(MAX + 1));
    let text = "Received message larger than max (4194305 vs. 4194304)";
    assert_eq!(call_.end().await, seen(0, Code::ResourceExhausted, text));
    served.until_closed(opened.stream).await;

    let mut raw = Raw::connect(served.address).await;
    let mut call = raw.call().await.unwrap();
    let opened = served.opened().await;
    call.send(bytes::Bytes::from_static(&[0, 0xff, 0xff, 0xff, 0xff]))
        .await
        .unwrap();
    let text = "Received message larger than max (4294967295 vs. 4194304)";
    assert_eq!(call.end().await, seen(0, Code::ResourceExhausted, text));
    served.until_closed(opened.stream).await;
    let counts: Vec<_> = served.counters.dropped.snapshot().collect();
    assert_eq!(counts, [("too_large", 2)]);
    served.stop().await;
}

#[tokio::test]
async fn what_cannot_be_used_is_counted_and_the_stream_goes_on() {
    let mut served = Served::start(64).await;
    let mut call = call(&mut client(served.address).await).await.unwrap();
    let opened = served.opened().await;
    let with = |change: fn(&mut Info)| {
        let mut info = pod("p");
        change(&mut info);
        info
    };
    for info in [
        Info::default(),
        with(|info| info.r#type = 2),
        with(|info| info.event = 3),
        with(|info| info.event = 9),
        with(|info| info.pod_info = Some(PodInfo::default())),
        with(|info| info.r#type = 7),
    ] {
        call.send(info);
    }
    call.half_close();
    let (events, infos) = served.until_closed(opened.stream).await;
    assert_eq!(applied(&events), uids(["p"]), "of the unknown type");
    assert_eq!(infos, 6, "dropped ones count");
    let counts: Vec<_> = served.counters.dropped.snapshot().collect();
    let expected = [
        ("no_uid", 1),
        ("no_payload", 2),
        ("error_event", 1),
        ("unknown_event", 1),
        ("unknown_type", 1),
    ];
    assert_eq!(counts, expected);
    served.stop().await;
}

#[tokio::test]
async fn the_first_change_says_that_the_stream_is_listed() {
    let mut served = Served::start(8).await;
    let mut call = call(&mut client(served.address).await).await.unwrap();
    let opened = served.opened().await;
    for event in [Verb::Added, Verb::Modified, Verb::Deleted] {
        let mut info = pod("p");
        info.event = event as i32;
        call.send(info);
    }
    call.half_close();
    let (events, _) = served.until_closed(opened.stream).await;
    assert!(matches!(
        &*events,
        [
            FeedEvent::Pod(Event::Apply(_)),
            FeedEvent::Listed,
            FeedEvent::Pod(Event::Apply(_)),
            FeedEvent::Pod(Event::Delete(_)),
        ]
    ));
    served.stop().await;
}

#[tokio::test]
async fn at_the_end_every_call_is_sent_before_the_server_goes() {
    let mut served = Served::start(64).await;
    let mut client = client(served.address).await;
    let mut calls = Vec::new();
    for _ in 0..10 {
        let call = call(&mut client).await.unwrap();
        calls.push((call, served.opened().await));
    }
    let stopping = tokio::spawn(served.stop());
    for (call, _) in &mut calls {
        let end = seen(0, Code::Unavailable, "the relay is shutting down");
        assert_eq!(call.end().await, end);
    }
    assert_eq!(soon(stopping).await.unwrap(), (0, 10));
}

#[tokio::test]
async fn neither_a_watcher_nor_a_driver_that_stands_still_keeps_the_server() {
    let options = Options {
        connections: grpc::Options {
            grace: Duration::from_millis(100),
            ..grpc::Options::default()
        },
        ..Options::default()
    };
    let served = Served::with(1, options).await;
    let socket = tokio::net::TcpStream::connect(served.address)
        .await
        .unwrap();
    let mut idle = tokio::net::TcpStream::connect(served.address)
        .await
        .unwrap();
    let (mut requests, mut connection) = h2::client::handshake(socket).await.unwrap();
    let request = http::Request::post("http://relay/collector.Collector/Collect")
        .header("content-type", "application/grpc")
        .body(())
        .unwrap();
    let (_response, mut frames) = requests.send_request(request, false).unwrap();
    frames.send_data(grpc_info(&pod("p")), false).unwrap();
    // Opened takes the only place and is never read; then the watcher stops, too.
    soon(async {
        tokio::select! {
            end = &mut connection => panic!("{end:?}"),
            () = async { while served.inputs.is_empty() { tokio::task::yield_now().await } } => {}
        }
    })
    .await;
    served.shutdown.cancel();
    soon(served.server)
        .await
        .unwrap()
        .expect("it ends in order");
    let mut rest = Vec::new();
    // Closed or reset, but not left open.
    let _ = soon(tokio::io::AsyncReadExt::read_to_end(&mut idle, &mut rest)).await;
    assert_eq!(served.inputs.len(), 1);
}

#[tokio::test]
async fn a_driver_that_is_gone_ends_the_calls() {
    let mut served = Served::start(8).await;
    let mut client = client(served.address).await;
    let mut standing = call(&mut client).await.unwrap();
    let opened = served.opened().await;
    drop(served.inputs);
    standing.send(pod("p"));
    let end = seen(0, Code::Unavailable, "the relay is shutting down");
    assert_eq!(standing.end().await, end);
    assert_eq!(call(&mut client).await.unwrap().end().await, end);
    drop(opened);
    served.shutdown.cancel();
    soon(served.server)
        .await
        .unwrap()
        .expect("it ends in order");
}
