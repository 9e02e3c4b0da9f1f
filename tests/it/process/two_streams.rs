//! A second watcher beside the first. Times are tested at the feeds themselves.

use k8s_relay::{
    proto::info::Event,
    sim::cluster::{Cluster, told_as},
};

use super::world::{Truth, World};
use crate::support::must;

#[tokio::test]
async fn the_newest_stream_is_told_and_older_ones_are_read_on() {
    let (one, two) = (
        Cluster::new(10, 100),
        Cluster {
            seed: 2,
            ..Cluster::new(10, 60)
        },
    );
    let world = World::start().await;
    let mut first = world.watcher.open();
    let mut sent = World::send(&mut first, one.list()).await;
    world.told(1, sent).await;
    world.known(&Truth::of(one, 0..100)).await;

    let mut second = world.watcher.open();
    let infos = World::send(&mut second, two.list()).await;
    world.told(2, infos).await;
    world.known(&Truth::of(two, 0..60)).await;
    // The first is heard, but no longer told.
    let gone = (0..50).map(|n| told_as(Event::Deleted, one.pod(n)));
    sent += World::send(&mut first, gone).await;
    world.told(1, sent).await;
    world.known(&Truth::of(two, 0..60)).await;

    // Nothing is lost when a watcher goes.
    second.half_close();
    must("the call ends", second.ended()).await;
    assert_eq!(world.relay.stop().await.code(), Some(0));
    let state = world.reducer.shutdown().await;
    assert!(Truth::of(two, 0..60) == *state.picture().unwrap());
    let resyncs = state.connections[0].count("pod_resync");
    assert_eq!(resyncs, 1, "when the second stream opened");
}
