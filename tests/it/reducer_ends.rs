//! How connections end: with FIN, whatever the reducer does, because it leaks pods on RST (D5).

use std::time::{Duration, Instant};

use k8s_relay::reducer::{Loss, Reducer, ReducerEvent, Times};
use tokio::net::TcpListener;

use crate::support::reducer::{Peer, during, listen, next, quiet, send_pods, soon};

/// More than the kernel takes for a peer that does not read.
const TOO_MANY: u64 = 60_000;

/// Reads to the end, and panics on a reset. A stalled stream may end inside of a frame.
async fn reads_to_eof(listener: &TcpListener) -> Vec<&'static str> {
    let mut peer = Peer::accept(listener).await;
    soon(peer.rest()).await.0
}

#[tokio::test]
async fn an_ordinary_end_sends_everything_and_then_eof() {
    let (listener, options) = listen().await;
    let mut reducer = Reducer::new(options).unwrap();
    assert!(matches!(next(&mut reducer).await, ReducerEvent::Connected));
    send_pods(&mut reducer, TOO_MANY);
    let script = async {
        let mut peer = Peer::accept(&listener).await;
        peer.handshake_done().await;
        peer.rest().await
    };
    let ((names, end), unsent) =
        soon(async { tokio::join!(script, reducer.close(Duration::from_secs(20))) }).await;
    assert_eq!((names.len() as u64, end), (TOO_MANY, Ok(())));
    assert_eq!((unsent, reducer.counters().unflushed_ends), (0, 0));
    assert!(!reducer.is_connected());
}

/// The linger outlasts the kernel's limit, which would make the end a reset.
#[tokio::test]
async fn an_end_does_not_wait_for_a_reducer_that_takes_nothing_and_it_still_gets_eof() {
    let (listener, mut options) = listen().await;
    let (limit, linger) = (Duration::from_millis(50), Duration::from_millis(1500));
    options.times.linger = linger;
    options.tcp.user_timeout = Duration::from_millis(300);
    let mut reducer = Reducer::new(options).unwrap();
    assert!(matches!(next(&mut reducer).await, ReducerEvent::Connected));
    send_pods(&mut reducer, TOO_MANY);
    let start = Instant::now();
    assert!(soon(reducer.close(limit)).await > 0, "bytes are left");
    assert!(start.elapsed() >= limit + linger);
    assert_eq!(reducer.counters().unflushed_ends, 1);
    let names = reads_to_eof(&listener).await;
    assert!(names.len() > 6 && (names.len() as u64) < TOO_MANY);
}

#[tokio::test]
async fn an_end_at_once_waits_for_nothing_and_it_still_gets_eof() {
    let (listener, mut options) = listen().await;
    options.times.linger = Duration::from_secs(3600);
    let mut reducer = Reducer::new(options).unwrap();
    assert!(matches!(next(&mut reducer).await, ReducerEvent::Connected));
    send_pods(&mut reducer, TOO_MANY);
    let unsent = soon(reducer.close_at_once()).await;
    assert!(unsent > 0, "bytes are left");
    assert_eq!(reducer.counters().unflushed_ends, 1);
    let names = reads_to_eof(&listener).await;
    assert!(names.len() > 6 && (names.len() as u64) < TOO_MANY);
}

#[tokio::test]
async fn an_end_without_connection_is_immediate_and_nothing_is_connected_to_afterwards() {
    let (listener, options) = listen().await;
    let mut reducer = Reducer::new(options).unwrap();
    soon(reducer.close(Duration::from_secs(20))).await;
    let wait = Duration::from_millis(50);
    assert!(tokio::time::timeout(wait, reducer.next()).await.is_err());
    assert!(tokio::time::timeout(wait, listener.accept()).await.is_err());
}

#[tokio::test]
async fn a_stalled_reducer_is_dropped_connected_to_again_and_gets_eof_when_it_resumes() {
    let (listener, mut options) = listen().await;
    options.times = Times {
        stall: Duration::from_millis(200),
        ..quiet()
    };
    let mut reducer = Reducer::new(options).unwrap();
    assert!(matches!(next(&mut reducer).await, ReducerEvent::Connected));
    let mut stalled = Peer::accept(&listener).await;
    send_pods(&mut reducer, TOO_MANY);
    let lost = next(&mut reducer).await;
    assert!(
        matches!(
            lost,
            ReducerEvent::Disconnected {
                reason: Loss::Stalled
            }
        ),
        "{lost:?}"
    );
    assert!(matches!(next(&mut reducer).await, ReducerEvent::Connected));
    let script = async {
        // The new connection lives while the old one learns of its end.
        Peer::accept(&listener).await.handshake_done().await;
        stalled.rest().await.0
    };
    let names = during(&mut reducer, &mut Vec::new(), script).await;
    assert!(names.len() > 6 && (names.len() as u64) < TOO_MANY);
    let counters = reducer.counters();
    assert_eq!(
        (
            counters.stalls,
            counters.unflushed_ends,
            counters.connections
        ),
        (1, 1, 2)
    );
}

/// The kernel's limit also counts a closed window, and it ends with RST. It must not come first.
#[tokio::test]
async fn a_stall_that_outlasts_the_kernels_limit_ends_with_eof_as_well() {
    let (listener, mut options) = listen().await;
    options.times = Times {
        stall: Duration::from_millis(2000),
        ..quiet()
    };
    options.tcp.user_timeout = Duration::from_millis(1100);
    let mut reducer = Reducer::new(options).unwrap();
    assert!(matches!(next(&mut reducer).await, ReducerEvent::Connected));
    send_pods(&mut reducer, TOO_MANY);
    let lost = next(&mut reducer).await;
    assert!(
        matches!(
            lost,
            ReducerEvent::Disconnected {
                reason: Loss::Stalled
            }
        ),
        "{lost:?}"
    );
    let names = reads_to_eof(&listener).await;
    assert!(names.len() > 6);
}

/// What waits fits into the kernel's buffers: only the next heartbeat meets the closed window.
#[tokio::test]
async fn a_stall_with_little_to_send_is_seen_before_the_kernels_limit_and_ends_with_eof() {
    let (listener, mut options) = listen().await;
    let receive_buffer = socket2::SockRef::from(&listener).set_recv_buffer_size(8 * 1024);
    receive_buffer.unwrap();
    options.times = Times {
        heartbeat: Duration::from_millis(50),
        stall: Duration::from_millis(2000),
        ..quiet()
    };
    options.tcp.user_timeout = Duration::from_millis(1400);
    let mut reducer = Reducer::new(options).unwrap();
    assert!(matches!(next(&mut reducer).await, ReducerEvent::Connected));
    send_pods(&mut reducer, 1000);
    let lost = next(&mut reducer).await;
    assert!(
        matches!(
            lost,
            ReducerEvent::Disconnected {
                reason: Loss::Stalled
            }
        ),
        "{lost:?}"
    );
    let names = reads_to_eof(&listener).await;
    assert!(names.len() > 6);
    assert_eq!(reducer.counters().stalls, 1);
}

#[tokio::test]
async fn a_reducer_that_ends_its_half_only_still_reads_what_was_sent_and_eof() {
    let (listener, options) = listen().await;
    let mut reducer = Reducer::new(options).unwrap();
    assert!(matches!(next(&mut reducer).await, ReducerEvent::Connected));
    let mut peer = Peer::accept(&listener).await;
    socket2::SockRef::from(&peer.stream)
        .shutdown(std::net::Shutdown::Write)
        .unwrap();
    send_pods(&mut reducer, 3);
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
    soon(peer.handshake_done()).await;
    assert_eq!(
        soon(peer.rest()).await,
        (vec!["pod_new_with_name"; 3], Ok(()))
    );
}
