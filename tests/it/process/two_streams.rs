//! A second watcher alongside the first. Times are tested at the feeds themselves.

use k8s_relay::{
    proto::info::Event,
    sim::{
        cluster::{Cluster, sent_as},
        reducer::Options,
    },
};

use serde_json::Value;

use super::world::{ExpectedState, World};
use crate::support::must;

const LEGACY: [&str; 2] = ["--stream-handover", "legacy"];

#[tokio::test]
async fn in_legacy_mode_the_newest_stream_is_sent_and_older_ones_are_read_on() {
    let (one, two) = clusters();
    let world = World::with(Options::default(), &LEGACY).await;
    let mut first = world.watcher.open();
    let mut sent = World::send(&mut first, one.list()).await;
    world.announced(1, sent).await;
    world.known(&ExpectedState::of(one, 0..100)).await;

    let mut second = world.watcher.open();
    let infos = World::send(&mut second, two.list()).await;
    world.announced(2, infos).await;
    world.known(&ExpectedState::of(two, 0..60)).await;
    // The first is read, but no longer announced.
    let gone = (0..50).map(|n| sent_as(Event::Deleted, one.pod(n)));
    sent += World::send(&mut first, gone).await;
    world.announced(1, sent).await;
    world.known(&ExpectedState::of(two, 0..60)).await;

    // Nothing is lost when a watcher goes.
    second.half_close();
    must("the call ends", second.ended()).await;
    assert_eq!(
        resyncs_at_the_end(world, &ExpectedState::of(two, 0..60)).await,
        1
    );
}

#[tokio::test]
async fn a_second_stream_is_on_standby_and_a_restart_of_the_first_is_not_noticed() {
    let (one, two) = clusters();
    let world = World::start().await;
    let mut first = world.watcher.open();
    let sent = World::send(&mut first, one.list()).await;
    world.announced(1, sent).await;

    // A stranger, complete, that knows others; and a stream that sends nothing.
    let mut stranger = world.watcher.open();
    let mut infos = World::send(&mut stranger, two.list()).await;
    let change = [sent_as(Event::Modified, two.pod(0))];
    infos += World::send(&mut stranger, change).await;
    world.announced(2, infos).await;
    let _silent = world.watcher.open();
    let third = |line: &Value| line["message"] == "a stream begins" && line["stream"] == 3;
    world.relay.logged("the silent stream", third).await;
    world.known(&ExpectedState::of(one, 0..100)).await;

    first.half_close();
    must("the call ends", first.ended()).await;
    let mut again = world.watcher.open();
    let mut sent = World::send(&mut again, one.list()).await;
    world.announced(4, sent).await;
    world.known(&ExpectedState::of(one, 0..100)).await;
    let gone = (0..10).map(|n| sent_as(Event::Deleted, one.pod(n)));
    sent += World::send(&mut again, gone).await;
    world.announced(4, sent).await;
    world.known(&ExpectedState::of(one, 10..100)).await;
    assert_eq!(
        resyncs_at_the_end(world, &ExpectedState::of(one, 10..100)).await,
        0
    );
}

/// Of 100 and 60 pods; they have none in common.
fn clusters() -> (Cluster, Cluster) {
    let one = Cluster::new(10, 100);
    let two = Cluster {
        seed: 2,
        ..Cluster::new(10, 60)
    };
    (one, two)
}

async fn resyncs_at_the_end(world: World, expected_state: &ExpectedState) -> u64 {
    assert_eq!(world.relay.stop().await.code(), Some(0));
    let state = world.reducer.shutdown().await;
    assert!(*expected_state == *state.reducer_state().unwrap());
    state.connections[0].count("pod_resync")
}
