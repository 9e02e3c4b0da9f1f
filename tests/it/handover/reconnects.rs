//! A reducer that goes and comes back in the middle of a hand-over.

use k8s_relay::{announce::Watermarks, feeds::Settings};

use super::world::{PODS, World};
use crate::support::core::{MESSAGE, secs};

#[test]
fn without_an_active_stream_a_reconnect_sends_what_was_announced() {
    let mut world = World::new();
    world.ends();
    for _ in 0..2 {
        world.core.disconnect();
        world.pass(secs(60));
        world.core.connect();
        assert_eq!(world.counted(), (0, PODS));
        assert_eq!(world.known(), PODS);
    }
}

#[test]
fn while_the_next_stream_lists_a_reconnect_sends_what_it_has_not_listed_too() {
    let mut world = World::new();
    world.ends();
    let next = world.restarts(0..30);
    world.core.disconnect();
    world.core.connect();
    assert_eq!(world.counted(), (0, PODS));
    let containers = world.core.reducer.reducer_state.pods.values();
    assert!(containers.into_iter().all(|pod| pod.containers.len() == 1));
    world.sends(next, 30..95);
    assert_eq!(world.sent(), "");
    world.core.listed(next);
    assert_eq!(
        world.counted(),
        (0, 0),
        "it may have been touched just before"
    );
    world.pass(secs(10));
    assert_eq!(world.counted(), (5, 0));
}

#[test]
fn a_hand_over_without_connection_loses_nothing() {
    let mut world = World::new();
    world.core.disconnect();
    world.ends();
    let cut = world.restarts(0..30);
    world.core.close(cut);
    world.restarts(20..50);
    world.core.connect();
    assert_eq!(world.counted(), (0, PODS));
    world.core.disconnect();
    world.core.listed(world.stream);
    world.core.connect();
    // It fits: half of them are its own or were its predecessor's.
    assert_eq!(world.known(), PODS, "30 of 100 do not fit");
    world.pass(secs(301));
    assert_eq!(world.known(), 30);
}

#[test]
fn with_little_room_all_of_it_arrives() {
    let marks = Watermarks {
        low: 2 * MESSAGE,
        high: 5 * MESSAGE,
        limit: 8 * MESSAGE,
    };
    let mut world = World::with(Settings {
        marks,
        ..Settings::default()
    });
    world.ends();
    world.core.disconnect();
    let next = world.restarts(0..30);
    world.core.connect();
    world.core.resume();
    // The stream goes on in the middle of what is sent again.
    for n in 30..60 {
        world.core.pod(next, super::world::numbered(n));
    }
    world.core.close(next);
    let last = world.restarts(0..90);
    world.sent();
    assert_eq!(world.known(), PODS);
    world.core.listed(last);
    world.pass(secs(10));
    world.sent();
    assert_eq!(world.known(), 90);
    assert!(world.core.feeds.is_settled());
}
