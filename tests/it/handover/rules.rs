//! The single rules at their edges.

use insta::assert_snapshot;
use k8s_relay::{
    feeds::{Handover, Notice, Settings, Why},
    matcher::Reannounce,
};

use super::world::{PODS, World, numbered};
use crate::support::core::{Core, deployment, pod, replica_set, secs};

#[test]
fn a_stream_fits_unless_it_takes_away_20_pods_and_more_than_half() {
    for (announced, has, fits) in [
        (19, 0, true),
        (20, 1, true),
        (21, 1, false),
        (30, 10, false),
        (30, 11, true),
        (100, 49, false),
        (100, 50, true),
        (1_000, 499, false),
        (1_000, 500, true),
    ] {
        let mut core = Core::new(Settings::default());
        let first = core.open();
        (0..announced).for_each(|n| core.pod(first, numbered(n)));
        core.listed(first);
        let standby = core.open();
        (0..has).for_each(|n| core.pod(standby, numbered(n)));
        core.pod(standby, pod("its own"));
        core.listed(standby);
        core.close(first);
        let active = core.feeds.active_generation();
        assert_eq!(active == Some(standby), fits, "{has} of {announced}");
    }
}

#[test]
fn what_does_not_fit_is_believed_after_the_silence_only() {
    let mut world = World::new();
    world.ends();
    let shrunk = world.restarts(0..40);
    world.core.listed(shrunk);
    world.pass(secs(299));
    assert_eq!(world.sent(), "");
    assert_eq!(world.pending(), Some((Why::DoesNotFit, 60)));
    assert_eq!(world.warnings().len(), 1);
    world.pass(secs(1));
    assert_eq!(world.counted(), (60, 0));
    assert_eq!((world.pending(), world.known()), (None, 40));
}

#[test]
fn a_stream_that_comes_to_fit_is_believed_then() {
    let mut world = World::new();
    world.ends();
    let next = world.restarts(0..40);
    world.core.listed(next);
    world.pass(secs(20));
    world.sends(next, 40..50);
    world.pass(secs(9));
    assert_eq!(world.sent(), "", "it is still listing");
    assert_eq!(world.pending(), Some((Why::StillListing, 50)));
    world.pass(secs(2));
    assert_eq!(world.counted(), (50, 0));
}

#[test]
fn a_standby_that_does_not_fit_is_active_after_the_silence_with_a_warning() {
    let mut world = World::new();
    let stranger = world.stranger(10);
    world.ends();
    world.warnings();
    world.pass(secs(299));
    assert_eq!((world.sent(), world.known()), (String::new(), PODS));
    assert_eq!(world.pending(), Some((Why::NoStreamFits, PODS)));
    world.pass(secs(2));
    assert_eq!(world.active(), Some(stranger));
    assert_eq!(world.counted(), (PODS, 10));
    let warnings = world.warnings();
    let took_over = |notice: &Notice| matches!(notice, Notice::TookOverUnfit { lacks: PODS, .. });
    assert!(warnings.iter().any(took_over), "{warnings:?}");
}

#[test]
fn a_synced_standby_takes_over_from_an_active_stream_that_does_not_fit() {
    let mut world = World::new();
    world.ends();
    let few = world.restarts(0..5);
    world.core.listed(few);
    assert_eq!(world.active(), Some(few));
    let many = world.restarts(0..PODS);
    assert_eq!(world.active(), Some(few));
    world.core.listed(many);
    assert_eq!(world.active(), Some(many));
    world.pass(secs(600));
    assert_eq!((world.sent(), world.known()), (String::new(), PODS));
}

#[test]
fn of_two_standbys_the_newest_that_fits_is_next() {
    let mut world = World::new();
    let older = world.restarts(0..PODS);
    let newer = world.restarts(0..PODS);
    let unfit = world.stranger(3);
    for synced in [older, newer] {
        world.core.listed(synced);
    }
    world
        .core
        .close(world.core.feeds.active_generation().unwrap());
    assert_eq!(world.active(), Some(newer));
    world.core.close(newer);
    assert_eq!(world.active(), Some(older));
    world.core.close(older);
    assert_eq!(world.active(), Some(older), "though ended");
    world.pass(secs(301));
    assert_eq!(world.active(), Some(unfit));
}

#[test]
fn a_guard_rail_that_is_met_is_like_an_end() {
    let mut world = World::new();
    let standby = world.restarts(0..PODS);
    let full = world.core.feeds.active_generation().unwrap();
    world.core.listed(standby);
    for n in 0..10_000 {
        let waiting = pod(&format!("w{n}")).owned_by(replica_set("rs"));
        world.core.pod(full, waiting);
    }
    assert_eq!(world.active(), Some(standby));
    let sent = world.sent();
    assert_eq!(sent, format!("feed_overflow {}", full.0));
    world.core.close(full);
    world.pass(secs(60));
    assert_eq!((world.sent(), world.known()), (String::new(), PODS));
}

#[test]
fn a_guard_rail_without_a_standby_leaves_what_was_announced() {
    let mut world = World::new();
    let full = world.stream;
    for n in 0..10_000 {
        let waiting = pod(&format!("w{n}")).owned_by(replica_set("rs"));
        world.core.pod(full, waiting);
    }
    world.sent();
    assert_eq!(world.pending(), Some((Why::NoStream, PODS)));
    let next = world.restarts(0..PODS);
    assert_eq!(world.active(), Some(next));
    world.core.close(full);
    world.core.listed(next);
    world.pass(secs(600));
    assert_eq!((world.sent(), world.known()), (String::new(), PODS));
}

#[test]
fn a_guard_rail_that_is_met_ends_no_window_by_a_delete() {
    let mut core = Core::new(Settings::default());
    let first = core.open();
    core.replica_set(first, "rs", Some(deployment("shop")));
    core.pod(first, pod("a").owned_by(replica_set("rs")));
    core.listed(first);
    core.pass(secs(60));
    core.close(first);
    core.sent();
    let next = core.open();
    core.pod(next, pod("a").owned_by(replica_set("rs")));
    core.listed(next);
    core.rest();
    for n in 0..10_000 {
        core.pod(next, pod(&format!("w{n}")).owned_by(replica_set("rs")));
    }
    assert_eq!(core.sent(), format!("feed_overflow {}", next.0));
    core.pass(secs(600));
    core.rest();
    assert_eq!(core.sent(), "");
}

#[test]
fn what_a_standby_sent_before_it_was_synced_says_nothing_of_the_active_streams_silence() {
    let mut world = World::new();
    let (active, standby) = (world.stream, world.core.open());
    world.sends(standby, 0..PODS);
    world.pass(secs(60));
    world.sends(standby, 0..PODS);
    world.core.listed(standby);
    world.pass(secs(600));
    assert_eq!(world.active(), Some(active));
    world.sends(standby, [0]);
    world.pass(secs(302));
    assert_eq!(world.active(), Some(standby));
}

#[test]
fn pods_that_wait_for_their_owner_in_the_new_stream_stay_announced() {
    let mut core = Core::new(Settings::default());
    let first = core.open();
    core.replica_set(first, "rs", Some(deployment("shop")));
    core.pod(first, pod("a").owned_by(replica_set("rs")));
    core.listed(first);
    core.pass(secs(60));
    core.close(first);
    core.sent();
    let next = core.open();
    core.pod(next, pod("a").owned_by(replica_set("rs")));
    core.rest();
    core.pass(secs(25));
    core.replica_set(next, "rs", Some(deployment("shop")));
    core.listed(next);
    core.rest();
    core.pass(secs(120));
    assert_eq!(core.sent(), "");
    assert!(core.feeds.is_settled());
}

#[test]
fn under_on_change_a_hand_over_sends_no_more_than_under_never() {
    let settings = Settings {
        reannounce: Reannounce::OnChange,
        ..Settings::default()
    };
    let mut world = World::with(settings);
    world.ends();
    let next = world.restarts(0..98);
    world.core.pod(next, numbered(98).version("2"));
    world.core.listed(next);
    assert_snapshot!(world.sent(), @r"
    pod_new p98 v2
    pod_container p98 c
    pod_delete p99
    ");
}

#[test]
fn readers_follow_when_the_new_stream_is_synced() {
    let mut world = World::new();
    let reader = world.core.feeds.reader();
    let knows = |name: &str| reader.pod(&k8s_relay::model::Uid::new(name)).is_some();
    assert!(knows("p99"));
    world.ends();
    assert!(knows("p99"));
    let next = world.restarts(0..90);
    world.core.pod(next, pod("new"));
    assert!(knows("p99") && !knows("new"));
    world.core.listed(next);
    assert!(!knows("p99") && knows("new"));
}

#[test]
fn readers_see_the_very_first_stream_from_its_beginning() {
    let mut core = Core::new(Settings::default());
    let first = core.open();
    core.pod(first, pod("a"));
    assert!(
        core.feeds
            .reader()
            .pod(&k8s_relay::model::Uid::new("a"))
            .is_some()
    );
}

#[test]
fn in_legacy_mode_a_new_stream_is_active_at_once() {
    let mut world = World::with(Settings {
        handover: Handover::Legacy,
        ..Settings::default()
    });
    let silent = world.silent();
    assert_eq!(world.active(), Some(silent));
    assert_snapshot!(world.sent(), @"pod_resync 2");
    let resends = world.core.feeds.resends();
    assert_eq!(resends.of(k8s_relay::announce::ResendReason::Stream), 1);
}
