//! A reducer that is slow or restarts: nothing grows, nobody waits, and the reducer's state is
//! right in the end.

use futures_util::stream;
use k8s_relay::{
    proto::{Info, info::Event},
    sim::{
        cluster::{Cluster, sent_as},
        reducer::{Options, State},
    },
};

use super::world::{ExpectedState, MIB, World};
use crate::support::must;

/// As large as they are, half of them fill the buffer.
const PODS: u32 = 900;

/// The outgoing buffer (D6).
const HIGH_MARK: u64 = 4 * MIB;

#[tokio::test]
async fn a_flood_over_a_reducer_that_reads_nothing_ends_in_a_resync_and_the_expected_state() {
    let stalling = Options {
        keep_everything: false,
        receive_buffer: Some(64 << 10),
        ..Options::default()
    };
    let world = World::with(stalling, &[]).await;
    let cluster = Cluster::new(10, PODS);
    let mut call = world.watcher.open();
    let mut sent = World::send(&mut call, cluster.all_replica_sets()).await;
    sent += World::send(&mut call, (0..100).map(|n| large(cluster.pod(n)))).await;
    world.announced(1, sent).await;

    world.reducer.pause_reading();
    sent += World::send(&mut call, (100..PODS).map(|n| large(cluster.pod(n)))).await;
    world.applied(1, sent).await;
    let full = world.relay.until("it rests", |_| true).await;
    assert!(full.queued > HIGH_MARK - MIB, "{full:?}");
    let memory = world.relay.memory();
    // Now all of them change and some go, and nothing of it can be sent.
    for _ in 0..3 {
        let again = (0..PODS).map(|n| sent_as(Event::Modified, large(cluster.pod(n))));
        sent += World::send(&mut call, again).await;
    }
    let gone = (50..300).map(|n| sent_as(Event::Deleted, cluster.pod(n)));
    sent += World::send(&mut call, gone).await;
    world.applied(1, sent).await;
    let full = world.relay.until("it rests", |_| true).await;
    // The mark is looked at before each pod, not within it.
    assert!(full.queued < HIGH_MARK + MIB, "{full:?}");
    let grown = world.relay.memory().saturating_sub(memory);
    assert!(grown < 8 * MIB, "{} KiB more", grown >> 10);

    world.reducer.resume_reading();
    let left = ExpectedState::of(cluster, 0..50).and(ExpectedState::of(cluster, 300..PODS));
    world.known(&left).await;
    world.reducer.with(|state| {
        assert_eq!(state.connections.len(), 1, "the connection has stood");
        assert_eq!(state.connections[0].count("pod_resync"), 1);
        assert_eq!(state.violations().count(), 0);
    });
    assert_eq!(world.relay.stop().await.code(), Some(0));
}

/// A pod that takes almost a whole message, which no compression makes smaller.
fn large(mut pod: Info) -> Info {
    let info = pod.pod_info.as_mut().unwrap();
    let mut seed = u64::from_str_radix(&info.uid[..8], 16).unwrap();
    info.version = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        format!("{:08x}", seed >> 32)
    })
    .take(1_500)
    .collect();
    pod
}

#[tokio::test]
async fn a_reducer_that_restarts_in_the_middle_of_a_list_knows_it_all_in_the_end() {
    let options = Options {
        keep_everything: false,
        ..Options::default()
    };
    let world = World::with(options, &[]).await;
    // All of it fits into the outgoing buffer: a flood would be a reason for a resync.
    let cluster = Cluster::new(300, 6_000);
    let list = world.watcher.play(stream::iter(cluster.list()));
    let restarts = async {
        let some = |state: &State| state.reducer_state().is_some_and(|p| p.pods() >= 1_000);
        must("some pods", world.reducer.wait_until(some)).await;
        world.reducer.disconnect().await;
        let again = |state: &State| state.connections.len() == 2;
        must("it connects again", world.reducer.wait_until(again)).await;
        world.known(&ExpectedState::of(cluster, 0..6_000)).await;
    };
    let (_, ()) = tokio::join!(list, restarts);
    world.reducer.with(|state| {
        assert_eq!(state.connections.len(), 2);
        // A reconnect is no reason for a resync: the new connection knows nothing.
        assert_eq!(state.connections[1].count("pod_resync"), 0);
        assert_eq!(state.violations().count(), 0);
    });
    assert_eq!(world.relay.stop().await.code(), Some(0));
}
