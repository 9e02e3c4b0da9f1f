//! Streams alongside the native watches.

use k8s_relay::{
    feeds::{Input, Settings, SourceKind},
    matcher::{Generation, OwnerSort},
    model::PodMeta,
};

use super::world::{PODS, World, numbered};
use crate::support::{
    core::{pod, secs},
    native::list_of,
};

/// The native watches know the same, and are announced.
fn native() -> (World, Generation) {
    let mut world = World::with(Settings::default());
    let native = world.core.feeds.open_native(1, world.core.now);
    for event in list_of((0..PODS).map(|n| PodMeta::from(numbered(n)))) {
        world.core.handle(native, Input::Pod(event));
    }
    for sort in [OwnerSort::ReplicaSet, OwnerSort::Job] {
        for event in list_of([]) {
            world.core.handle(native, Input::Owner(sort, event));
        }
    }
    world.core.feeds.switch(SourceKind::Native, world.core.now);
    assert_eq!(world.sent(), "");
    assert_eq!(world.active(), Some(native));
    (world, native)
}

fn rolls_back(world: &mut World) {
    world.core.feeds.switch(SourceKind::Collect, world.core.now);
}

#[test]
fn a_rollback_onto_a_silent_stream_keeps_our_own_watches_announced_and_kept_up() {
    let (mut world, native) = native();
    world.ends();
    let silent = world.silent();
    rolls_back(&mut world);
    world.pass(secs(600));
    assert_eq!(world.active(), Some(native));
    assert!(world.core.feeds.waits_for_stream());
    world.core.pod(native, pod("new"));
    assert_eq!(world.sent(), "pod_new new v1");
    world.core.close(silent);
    // One that lists is not enough, one that has listed is.
    let next = world.restarts(0..PODS);
    assert_eq!(world.active(), Some(native));
    world.core.pod(next, pod("new"));
    world.core.listed(next);
    assert_eq!(world.active(), Some(next));
    world.pass(secs(600));
    assert_eq!(world.sent(), "");
}

#[test]
fn a_rollback_onto_a_stream_that_does_not_fit_waits_for_one_that_does() {
    let (mut world, native) = native();
    world.ends();
    let few = world.restarts(0..20);
    world.core.listed(few);
    rolls_back(&mut world);
    world.pass(secs(600));
    assert_eq!(world.active(), Some(native));
    assert_eq!((world.sent(), world.known()), (String::new(), PODS));
    world.sends(few, 20..PODS);
    assert_eq!(world.active(), Some(few));
    world.pass(secs(600));
    assert_eq!(world.sent(), "");
}

#[test]
fn a_rollback_onto_a_synced_stream_is_done_at_once() {
    let (mut world, _) = native();
    let stream = world.stream;
    rolls_back(&mut world);
    assert_eq!(world.active(), Some(stream));
    assert_eq!(world.sent(), "");
}

#[test]
fn a_stream_that_opens_after_a_rollback_is_announced_when_it_is_synced_and_fits() {
    let (mut world, native) = native();
    world.ends();
    rolls_back(&mut world);
    // Synced by its first Info, which is MODIFIED, but it does not fit.
    let stream = world.core.open();
    world.core.listed(stream);
    world.sends(stream, [0]);
    assert_eq!(world.active(), Some(native));
    world.core.close(stream);
    // Of so few that each stream fits.
    for n in 5..PODS {
        world.core.pod_gone(native, &format!("p{n}"));
    }
    world.sent();
    let next = world.restarts(0..5);
    assert_eq!(world.active(), Some(native));
    world.core.listed(next);
    assert_eq!(world.active(), Some(next));
    assert_eq!(world.sent(), "");
}

#[test]
fn between_sources_nothing_is_sent_again_that_reannounce_does_not_ask_for() {
    let (mut world, _) = native();
    let stream = world.stream;
    world.core.pod(stream, numbered(3).version("2"));
    rolls_back(&mut world);
    assert_eq!(world.active(), Some(stream));
    assert_eq!(world.sent(), "");
}

#[test]
fn after_a_rollback_to_legacy_without_a_stream_everything_stays() {
    let (mut world, _) = native();
    world.ends();
    rolls_back(&mut world);
    world.core.feeds.close_native(world.core.now);
    world.pass(secs(600));
    assert_eq!((world.sent(), world.known()), (String::new(), PODS));
    let next = world.restarts(0..99);
    assert_eq!(world.active(), Some(next));
    world.core.disconnect();
    world.core.connect();
    assert_eq!(world.counted(), (0, PODS));
    world.core.listed(next);
    world.pass(secs(10));
    assert_eq!(world.sent(), "pod_delete p99");
}

#[test]
fn in_native_what_streams_send_is_dropped_and_only_later_ones_count() {
    let (mut world, native) = native();
    let before = world.stream;
    world.core.feeds.hear_streams(false);
    assert_eq!(world.core.feeds.len(), 1, "what they sent is forgotten");
    let meanwhile = world.restarts(0..PODS);
    world.core.listed(meanwhile);
    assert!(world.core.feeds.collect_view().is_none());
    world.core.feeds.hear_streams(true);
    for old in [before, meanwhile] {
        world.sends(old, 0..PODS);
        world.core.listed(old);
    }
    assert!(world.core.feeds.collect_view().is_none());
    let later = world.restarts(0..PODS);
    world.core.listed(later);
    let compared = world.core.feeds.compared_stream_view();
    assert_eq!(compared.unwrap().generation, later);
    rolls_back(&mut world);
    assert_eq!(world.active(), Some(later));
    assert_ne!(world.active(), Some(native));
    assert_eq!(world.sent(), "");
}

#[test]
fn the_compared_stream_is_the_one_that_the_rules_would_choose() {
    let (mut world, _) = native();
    let compared = |world: &World| {
        world
            .core
            .feeds
            .compared_stream_view()
            .map(|v| v.generation)
    };
    let first = world.stream;
    assert_eq!(compared(&world), Some(first));
    let silent = world.silent();
    assert_eq!(compared(&world), Some(first));
    let next = world.restarts(0..PODS);
    world.core.listed(next);
    assert_eq!(compared(&world), Some(first), "it is open");
    world.core.close(first);
    assert_eq!(compared(&world), Some(next));
    world.core.close(next);
    assert_eq!(compared(&world), None);
    world.core.close(silent);
    let few = world.restarts(0..3);
    assert_eq!(compared(&world), Some(few), "it has not sent all it has");
    assert_eq!(world.sent(), "");
}
