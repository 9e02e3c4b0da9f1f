//! The fence before the connection: real sockets, and a clock of the test's own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use k8s_relay::{
    announce::Sink as _,
    ha::Fence,
    reducer::{Reducer, ReducerEvent},
};

use crate::support::reducer::{Peer, during, listen, pod, soon};

struct Clock(Arc<AtomicU64>);

impl Clock {
    fn fence() -> (Self, Fence) {
        let time = Arc::new(AtomicU64::new(1));
        let read = time.clone();
        (
            Self(time),
            Fence::with_clock(move || Duration::from_secs(read.load(SeqCst))),
        )
    }

    fn set(&self, seconds: u64) {
        self.0.store(seconds, SeqCst);
    }
}

fn announce(reducer: &mut Reducer, uids: std::ops::Range<u32>) {
    for number in uids {
        reducer
            .outbox()
            .pod_new_no_owner(&pod(&format!("uid-{number}")));
    }
    reducer.flush(Instant::now());
}

#[tokio::test]
async fn after_the_deadline_heartbeats_go_on_and_pods_wait_and_nothing_is_lost() {
    let (listener, mut options) = listen().await;
    let (clock, fence) = Clock::fence();
    options.fence = Some(fence.clone());
    options.times.heartbeat = Duration::from_millis(20);
    let mut reducer = Reducer::new(options).unwrap();
    let mut events = Vec::new();
    fence.allow_until(Duration::from_secs(10));
    reducer.serve(Instant::now());
    let mut peer = during(&mut reducer, &mut events, Peer::accept(&listener)).await;
    during(&mut reducer, &mut events, peer.handshake_done()).await;

    clock.set(10);
    announce(&mut reducer, 0..3);
    let names = during(&mut reducer, &mut events, peer.names(4)).await;
    assert_eq!(names, ["heartbeat"; 4]);
    assert!(reducer.is_silent());

    fence.allow_until(Duration::from_secs(20));
    announce(&mut reducer, 3..4);
    let pods = async {
        let mut pods = 0;
        while pods < 4 {
            let name = peer.name().await.unwrap();
            pods += usize::from(name == "pod_new_with_name");
        }
    };
    during(&mut reducer, &mut events, pods).await;
    assert!(matches!(events.as_slice(), [ReducerEvent::Connected]));
}

#[tokio::test]
async fn a_replica_that_stands_by_ends_with_fin_and_throws_away_what_waits() {
    let (listener, mut options) = listen().await;
    let (clock, fence) = Clock::fence();
    options.fence = Some(fence.clone());
    let mut reducer = Reducer::new(options).unwrap();
    let mut events = Vec::new();
    fence.allow_until(Duration::from_secs(10));
    reducer.serve(Instant::now());
    let mut peer = during(&mut reducer, &mut events, Peer::accept(&listener)).await;
    during(&mut reducer, &mut events, peer.handshake_done()).await;
    announce(&mut reducer, 0..2);
    let names = during(&mut reducer, &mut events, peer.names(2)).await;
    assert_eq!(names, ["pod_new_with_name"; 2]);
    clock.set(11);
    announce(&mut reducer, 2..5);
    assert!(reducer.stand_by(Instant::now()));
    let (names, end) = during(&mut reducer, &mut events, peer.rest()).await;
    assert_eq!((names, end), (vec![], Ok(())));

    // It connects again only when it shall.
    fence.allow_until(Duration::from_secs(20));
    reducer.serve(Instant::now());
    let mut peer = during(&mut reducer, &mut events, Peer::accept(&listener)).await;
    during(&mut reducer, &mut events, peer.handshake_done()).await;
    assert!(!reducer.is_silent());
}

#[tokio::test]
async fn a_replica_with_a_fence_connects_to_nobody_by_itself() {
    let (listener, mut options) = listen().await;
    let (_, fence) = Clock::fence();
    options.fence = Some(fence);
    let mut reducer = Reducer::new(options).unwrap();
    let waits = async {
        while tokio::time::timeout(Duration::from_millis(50), listener.accept())
            .await
            .is_ok()
        {}
    };
    during(&mut reducer, &mut Vec::new(), waits).await;
    assert!(!reducer.is_connected());
    assert!(!reducer.stand_by(Instant::now()));
}

#[tokio::test]
async fn a_quiet_replica_ends_a_half_written_frame_and_begins_no_other() {
    let (listener, mut options) = listen().await;
    let (_, fence) = Clock::fence();
    options.fence = Some(fence.clone());
    let mut reducer = Reducer::new(options).unwrap();
    let mut events = Vec::new();
    fence.allow_until(Duration::from_secs(10));
    reducer.serve(Instant::now());
    let mut peer = during(&mut reducer, &mut events, Peer::accept(&listener)).await;
    during(&mut reducer, &mut events, peer.handshake_done()).await;
    // More than the kernel takes, so that a frame is half written.
    announce(&mut reducer, 0..150_000);
    assert!(reducer.progress().queued > 0);
    fence.quiet();
    let whole = async {
        // What was written ends with a whole frame: the reader has nothing left over.
        while let Ok(name) = tokio::time::timeout(Duration::from_millis(300), peer.name()).await {
            assert_eq!(name, Some("pod_new_with_name"));
        }
    };
    during(&mut reducer, &mut events, whole).await;
    assert!(reducer.between_frames().is_some());
    assert_eq!(soon(reducer.close(Duration::from_secs(5))).await, 0);
    let (names, end) = peer.rest().await;
    assert_eq!((names, end), (vec![], Ok(())));
}
