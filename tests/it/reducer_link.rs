//! The connection to the reducer: how it comes, what it says by itself, how it comes back.

use std::{
    future::pending,
    io::{self, ErrorKind},
    net::SocketAddr,
    time::{Duration, Instant},
};

use k8s_relay::{
    announce::Sink,
    reducer::{Loss, Reducer, ReducerError, ReducerEvent, Resolver, Tcp, Times},
    wire::PlainReader,
};
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
};

use crate::support::reducer::{
    HANDSHAKE, Peer, during, listen, next, options, pod, quiet, resolver, send_pods, soon,
};

fn is_disconnect(event: &ReducerEvent) -> bool {
    matches!(event, ReducerEvent::Disconnected { .. })
}

#[tokio::test]
async fn the_handshake_comes_first_in_its_frames_and_its_first_message_is_plain() {
    for (labels, label_names) in [
        (vec![], vec![]),
        (vec!["zone", "env"], vec!["set_config_label"; 2]),
    ] {
        let (listener, mut options) = listen().await;
        options.handshake.labels = labels.iter().map(|l| ((*l).into(), "x".into())).collect();
        let mut reducer = Reducer::new(options).unwrap();
        let script = async {
            let mut peer = Peer::accept(&listener).await;
            let mut raw = [0; 24];
            peer.stream.read_exact(&mut raw).await.unwrap();
            assert_eq!(
                raw[8..],
                [0x36, 1, 0, 0, 0, 0, 0, 0, 11, 0, 0, 0, 0, 0, 0, 0]
            );
            peer.reader.push(&raw);
            let expected = [&HANDSHAKE[..3], &label_names, &HANDSHAKE[3..]].concat();
            assert_eq!(peer.names(expected.len()).await, expected);
            assert_eq!(
                peer.reader.counters().frames,
                if labels.is_empty() { 2 } else { 3 }
            );
        };
        let mut events = Vec::new();
        during(&mut reducer, &mut events, script).await;
        assert!(matches!(events[0], ReducerEvent::Connected));
    }
}

#[tokio::test]
async fn verbs_arrive_in_order_as_soon_as_they_are_flushed() {
    let (listener, options) = listen().await;
    let mut reducer = Reducer::new(options).unwrap();
    assert!(matches!(next(&mut reducer).await, ReducerEvent::Connected));
    let p1 = pod("p1");
    reducer.outbox().pod_new_no_owner(&p1);
    reducer.outbox().pod_delete(&p1.uid);
    // A flush alone moves bytes: nobody awaits `next` here.
    reducer.flush(Instant::now());
    let mut peer = Peer::accept(&listener).await;
    soon(peer.handshake_done()).await;
    assert_eq!(
        soon(peer.names(2)).await,
        ["pod_new_with_name", "pod_delete"]
    );
    let progress = reducer.progress();
    assert_eq!(
        (progress.connection, progress.connected, progress.queued),
        (1, true, 0)
    );
    let close = reducer.close(Duration::from_secs(20));
    let (rest, unsent) = soon(async { tokio::join!(peer.rest(), close) }).await;
    assert_eq!((rest, unsent), ((vec![], Ok(())), 0));
    assert_eq!(progress.sent, peer.reader.position());
}

#[tokio::test]
async fn heartbeats_and_health_go_on_by_themselves() {
    let (listener, mut options) = listen().await;
    let interval = Duration::from_millis(20);
    options.times = Times {
        heartbeat: interval,
        health: interval / 2,
        ..quiet()
    };
    let mut reducer = Reducer::new(options).unwrap();
    let script = async {
        let mut peer = Peer::accept(&listener).await;
        peer.handshake_done().await;
        let mut names = Vec::new();
        let has_three = |names: &[_], of| names.iter().filter(|name| **name == of).count() >= 3;
        while !has_three(&names, "heartbeat") || !has_three(&names, "agent_resource_usage") {
            names.push(peer.name().await.unwrap());
        }
        names
    };
    let mut events = Vec::new();
    let names = during(&mut reducer, &mut events, script).await;
    // On a busy machine the first heartbeat may be due before anything is sent.
    let mut reports = names.iter().filter(|name| **name != "heartbeat");
    assert_eq!(reports.next(), Some(&"collector_health"));
    assert_eq!(reports.next(), Some(&"agent_resource_usage"));
    let health = names
        .iter()
        .filter(|name| **name == "collector_health")
        .count();
    let usage = names
        .iter()
        .filter(|name| **name == "agent_resource_usage")
        .count();
    assert_eq!(health, usage);
    assert_eq!(events.len(), 1);
}

#[tokio::test]
async fn a_heartbeat_interval_of_zero_means_one_at_once_and_none_later() {
    let (listener, mut options) = listen().await;
    let health = Duration::from_millis(5);
    options.times = Times {
        heartbeat: Duration::ZERO,
        health,
        ..quiet()
    };
    let mut reducer = Reducer::new(options).unwrap();
    let script = async {
        let mut peer = Peer::accept(&listener).await;
        peer.handshake_done().await;
        peer.names(11).await
    };
    let names = during(&mut reducer, &mut Vec::new(), script).await;
    let health = ["collector_health", "agent_resource_usage"].repeat(5);
    assert_eq!(names, [vec!["heartbeat"], health].concat());
}

#[tokio::test]
async fn a_reducer_that_refuses_is_connected_to_until_it_listens() {
    let (listener, live) = listen().await;
    let bound = TcpSocket::new_v4().unwrap();
    bound.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let refusing = bound.local_addr().unwrap();
    let there = listener.local_addr().unwrap();
    let answers = vec![
        Ok(vec![refusing]),
        Ok(vec![refusing]),
        Ok(vec![refusing]),
        Ok(vec![there]),
    ];
    let mut options = live;
    options.resolver = resolver(answers);
    let mut reducer = Reducer::new(options).unwrap();
    assert!(matches!(next(&mut reducer).await, ReducerEvent::Connected));
    assert_eq!(reducer.counters().failed_dials, 3);
}

#[tokio::test]
async fn all_addresses_of_a_name_are_tried_in_one_attempt() {
    let (listener, mut options) = listen().await;
    let bound = TcpSocket::new_v4().unwrap();
    bound.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let addresses = vec![bound.local_addr().unwrap(), listener.local_addr().unwrap()];
    options.resolver = resolver(vec![Ok(addresses)]);
    let mut reducer = Reducer::new(options).unwrap();
    assert!(matches!(next(&mut reducer).await, ReducerEvent::Connected));
    assert_eq!(reducer.counters().failed_dials, 0);
}

#[tokio::test]
async fn a_name_that_does_not_resolve_yet_is_asked_for_again() {
    let (listener, mut options) = listen().await;
    options.host = "reducer.example".into();
    let unknown = || Err(io::Error::new(ErrorKind::NotFound, "no such name"));
    let there: SocketAddr = listener.local_addr().unwrap();
    options.resolver = resolver(vec![unknown(), Ok(vec![]), unknown(), Ok(vec![there])]);
    let mut reducer = Reducer::new(options).unwrap();
    assert!(matches!(next(&mut reducer).await, ReducerEvent::Connected));
    assert_eq!(reducer.counters().failed_dials, 3);
}

#[tokio::test]
async fn a_resolver_that_never_answers_is_given_up_and_asked_again() {
    let (_listener, mut options) = listen().await;
    options.tcp = Tcp {
        resolve_timeout: Duration::from_millis(5),
        ..options.tcp
    };
    options.resolver = Resolver::new(|_, _| pending());
    let mut reducer = Reducer::new(options).unwrap();
    soon(async {
        while reducer.counters().failed_dials < 3 {
            let wait = Duration::from_millis(10);
            let nothing = tokio::time::timeout(wait, reducer.next()).await;
            assert!(nothing.is_err());
        }
    })
    .await;
    assert!(!reducer.is_connected());
}

#[tokio::test]
async fn a_reducer_that_vanishes_is_given_a_new_handshake_and_hears_nothing_of_before() {
    let (listener, options) = listen().await;
    let mut reducer = Reducer::new(options).unwrap();
    assert!(matches!(next(&mut reducer).await, ReducerEvent::Connected));
    let mut peer = Peer::accept(&listener).await;
    soon(peer.handshake_done()).await;
    drop(peer);
    let lost = next(&mut reducer).await;
    assert!(
        matches!(
            lost,
            ReducerEvent::Disconnected {
                reason: Loss::Closed
            }
        ),
        "{lost:?}"
    );
    assert!(!reducer.is_connected());
    reducer.outbox().pod_new_no_owner(&pod("into-the-void"));
    assert!(matches!(next(&mut reducer).await, ReducerEvent::Connected));
    reducer.outbox().pod_new_no_owner(&pod("p1"));
    reducer.flush(Instant::now());
    let script = async {
        let mut peer = Peer::accept(&listener).await;
        peer.handshake_done().await;
        assert_eq!(peer.names(1).await, ["pod_new_with_name"]);
        assert!(peer.plain.windows(2).any(|bytes| bytes == b"p1"));
    };
    during(&mut reducer, &mut Vec::new(), script).await;
    assert_eq!(reducer.progress().connection, 2);
}

#[tokio::test]
async fn a_reducer_that_resets_is_connected_to_again() {
    let (listener, options) = listen().await;
    let mut reducer = Reducer::new(options).unwrap();
    assert!(matches!(next(&mut reducer).await, ReducerEvent::Connected));
    let mut peer = Peer::accept(&listener).await;
    soon(peer.handshake_done()).await;
    SockRef::from(&peer.stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(peer);
    let lost = next(&mut reducer).await;
    assert!(
        matches!(
            lost,
            ReducerEvent::Disconnected {
                reason: Loss::Broken(_)
            }
        ),
        "{lost:?}"
    );
    assert!(matches!(next(&mut reducer).await, ReducerEvent::Connected));
}

#[tokio::test]
async fn a_reducer_that_closes_in_the_middle_of_a_frame_gets_the_handshake_from_the_start() {
    let (listener, options) = listen().await;
    let mut reducer = Reducer::new(options).unwrap();
    let mut events = Vec::new();
    let script = async {
        let mut peer = Peer::accept(&listener).await;
        let mut some = [0; 40];
        peer.stream.read_exact(&mut some).await.unwrap();
        drop(peer);
        Peer::accept(&listener).await.handshake_done().await;
    };
    during(&mut reducer, &mut events, script).await;
    assert!(matches!(events[0], ReducerEvent::Connected), "{events:?}");
    assert!(is_disconnect(&events[1]), "{events:?}");
}

#[tokio::test]
async fn a_reducer_that_talks_is_not_listened_to_but_read() {
    let (listener, mut options) = listen().await;
    options.times.linger = Duration::from_secs(20);
    let mut reducer = Reducer::new(options).unwrap();
    let noise = vec![0xa5; 3_000_000];
    let mut events = Vec::new();
    let mut peer = during(&mut reducer, &mut events, async {
        let mut peer = Peer::accept(&listener).await;
        peer.stream.write_all(&noise).await.unwrap();
        peer.handshake_done().await;
        peer
    })
    .await;
    reducer.outbox().pod_new_no_owner(&pod("p1"));
    reducer.flush(Instant::now());
    // Unread input would turn the end into a reset.
    let (rest, _) = soon(async {
        tokio::join!(
            async {
                peer.stream.write_all(&noise).await.unwrap();
                let rest = peer.rest().await;
                drop(peer);
                rest
            },
            reducer.close(Duration::from_secs(20))
        )
    })
    .await;
    assert_eq!(rest, (vec!["pod_new_with_name"], Ok(())));
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(reducer.counters().discarded_bytes, 2 * noise.len() as u64);
}

#[tokio::test]
async fn a_reducer_that_rejects_every_connection_is_connected_to_ever_more_slowly() {
    let (listener, mut options) = listen().await;
    options.times = Times {
        backoff_min: Duration::from_millis(20),
        backoff_max: Duration::from_millis(80),
        ..quiet()
    };
    let mut reducer = Reducer::new(options).unwrap();
    let start = Instant::now();
    let script = async {
        for _ in 0..5 {
            Peer::accept(&listener).await.handshake_done().await;
        }
        start.elapsed()
    };
    let mut events = Vec::new();
    let elapsed = during(&mut reducer, &mut events, script).await;
    // 20 + 40 + 80 + 80 ms, each at most a fifth shorter.
    assert!(elapsed >= Duration::from_millis(176), "{elapsed:?}");
    assert_eq!(reducer.counters().connections, 5);
    assert!(events.len() <= 10, "{events:?}");
}

#[tokio::test]
async fn a_big_backlog_reaches_a_slow_reader_whole_and_says_when_it_has_drained() {
    let (listener, options) = listen().await;
    let mut reducer = Reducer::new(options).unwrap();
    assert!(matches!(next(&mut reducer).await, ReducerEvent::Connected));
    send_pods(&mut reducer, 40_000);
    assert!(reducer.outbox().queued() > 1 << 20);
    let script = async {
        let mut peer = Peer::accept(&listener).await;
        peer.handshake_done().await;
        let names = peer.names(40_000).await;
        assert!(names.iter().all(|name| *name == "pod_new_with_name"));
        peer
    };
    let mut events = Vec::new();
    during(&mut reducer, &mut events, script).await;
    assert!(matches!(events[..], [ReducerEvent::Drained]), "{events:?}");
    assert_eq!(reducer.outbox().queued(), 0);
}

#[tokio::test]
async fn a_recording_is_what_the_reducer_has_read_on_all_connections() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("recording");
    std::fs::write(&path, "of an earlier run").unwrap();
    let (listener, mut options) = listen().await;
    options.record = Some(path.clone());
    options.times.heartbeat = Duration::ZERO;
    let mut reducer = Reducer::new(options).unwrap();
    let mut heard = Vec::new();
    for n in 0..2 {
        assert!(matches!(next(&mut reducer).await, ReducerEvent::Connected));
        send_pods(&mut reducer, 10);
        let script = async {
            let mut peer = Peer::accept(&listener).await;
            peer.handshake_done().await;
            assert_eq!(peer.names(11).await.last(), Some(&"heartbeat"));
            peer.plain
        };
        let mut events = Vec::new();
        heard.extend(during(&mut reducer, &mut events, script).await);
        if n == 0 && events.is_empty() {
            assert!(is_disconnect(&next(&mut reducer).await));
        }
    }
    soon(reducer.close(Duration::from_secs(1))).await;
    let recorded = std::fs::read(&path).unwrap();
    assert_eq!(recorded, heard);
    let mut reader = PlainReader::new();
    reader.push(&recorded);
    let mut connections = 0;
    while let Some((_, message)) = reader.next_message().unwrap() {
        connections += usize::from(message.row().name == "version_info");
    }
    assert_eq!(connections, 2);
}

#[tokio::test]
async fn a_recording_that_can_not_be_opened_stops_the_start() {
    let mut options = options(1);
    options.record = Some("/no/such/directory/recording".into());
    let error = Reducer::new(options).err().unwrap();
    assert!(matches!(error, ReducerError::Recording { .. }));
    assert!(
        error.to_string().contains("/no/such/directory/recording"),
        "{error}"
    );
}

#[tokio::test]
async fn a_recording_on_a_full_disk_ends_and_the_connection_stays() {
    let (listener, mut options) = listen().await;
    options.record = Some("/dev/full".into());
    let mut reducer = Reducer::new(options).unwrap();
    let script = async {
        let mut peer = Peer::accept(&listener).await;
        peer.handshake_done().await;
        peer
    };
    let mut events = Vec::new();
    let mut peer = during(&mut reducer, &mut events, script).await;
    send_pods(&mut reducer, 2);
    assert_eq!(soon(peer.names(2)).await, ["pod_new_with_name"; 2]);
    assert_eq!(events.len(), 1);
}
