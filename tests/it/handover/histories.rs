//! What happens to watchers, each with what the reducer receives.

use std::time::Duration;

use insta::assert_snapshot;
use k8s_relay::feeds::{Notice, Settings, Why};

use super::world::{PODS, World, numbered};
use crate::support::core::{Core, pod, secs};

// --- the watcher is away ---

#[test]
fn an_api_server_that_goes_away_costs_no_message_and_one_warning() {
    let mut world = World::new();
    world.ends();
    // The watcher opens a stream every 200 ms, and has nothing to send.
    for _ in 0..1_500 {
        let silent = world.silent();
        world.pass(Duration::from_millis(200));
        world.core.close(silent);
    }
    assert_eq!(world.sent(), "");
    assert_eq!(world.known(), PODS);
    assert_eq!(world.pending(), Some((Why::NoStream, PODS)));
    let warnings = world.warnings();
    assert!(
        matches!(&warnings[..], [Notice::DeletesPending(pending)]
            if pending.why == Why::NoStream && pending.pods == PODS),
        "{warnings:?}"
    );
    // It is back.
    let back = world.restarts(0..PODS);
    world.core.listed(back);
    assert_eq!(world.sent(), "");
    assert_eq!(world.pending(), None);
    assert_eq!(world.active(), Some(back));
    assert_eq!(world.warnings(), []);
    assert_eq!(world.core.feeds.epoch().0, 0);
}

#[test]
fn a_silent_stream_leaves_nothing_to_do() {
    let mut world = World::new();
    world.ends();
    world.pass(secs(10)); // the warning
    let (silent, len) = (world.silent(), world.core.feeds.len());
    assert_eq!(world.core.feeds.poll_timeout(), None);
    world.core.close(silent);
    assert_eq!(world.core.feeds.len(), len - 1);
    assert_eq!(world.core.feeds.poll_timeout(), None);
}

#[test]
fn a_silent_stream_that_stays_for_10_minutes_changes_nothing() {
    for healthy in [false, true] {
        let mut world = World::new();
        world.ends();
        let silent = world.silent();
        if healthy {
            let next = world.restarts(0..PODS);
            world.core.listed(next);
        }
        let active = world.active();
        world.pass(secs(600));
        assert_eq!((world.sent(), world.known()), (String::new(), PODS));
        assert_eq!(world.active(), active);
        assert_ne!(world.active(), Some(silent));
        assert_eq!(world.pending().is_none(), healthy);
    }
}

// --- the watcher restarts ---

#[test]
fn a_restart_in_an_unchanged_cluster_costs_no_message() {
    let mut world = World::new();
    world.ends();
    world.pass(secs(2));
    let next = world.restarts(0..PODS);
    world.pass(secs(60));
    world.core.listed(next);
    world.pass(secs(60));
    assert_eq!(world.sent(), "");
    assert_eq!(world.warnings(), []);
    assert!(world.core.feeds.is_settled());
}

#[test]
fn a_restart_in_a_cluster_that_changed_sends_the_difference_at_the_right_moments() {
    let mut world = World::new();
    world.ends();
    let next = world.core.open();
    world.sends(next, 0..90);
    assert_eq!(world.sent(), "");
    world.core.pod(next, numbered(90).version("2"));
    world.core.pod(next, numbered(91).running(&["c", "d"]));
    world.core.pod(next, numbered(92).running(&["e"]));
    world.core.pod(next, numbered(93).image("nginx:2"));
    world.core.pod(next, numbered(94).address(9));
    world.core.pod(next, pod("new"));
    assert_snapshot!(world.sent(), @r"
    pod_new p90 v2
    pod_container p90 c
    pod_container p91 d
    pod_delete p92
    pod_new p92 v1
    pod_container p92 e
    pod_delete p93
    pod_new p93 v1
    pod_container p93 c nginx:2
    pod_new p94 v1
    pod_container p94 c
    pod_new new v1
    ");
    assert_eq!(world.pending(), Some((Why::NotSynced, 5)));
    world.core.listed(next);
    assert_snapshot!(world.sent(), @r"
    pod_delete p95
    pod_delete p96
    pod_delete p97
    pod_delete p98
    pod_delete p99
    ");
    assert_eq!(world.pending(), None);
}

#[test]
fn what_changed_before_the_restart_and_was_not_sent_is_healed_by_it() {
    let mut world = World::new();
    // Announced once, under `never`.
    world.core.pod(world.stream, numbered(0).version("2"));
    assert_snapshot!(world.sent(), @"pod_container p0 c");
    world.ends();
    let next = world.core.open();
    world.core.pod(next, numbered(0).version("2"));
    assert_snapshot!(world.sent(), @r"
    pod_new p0 v2
    pod_container p0 c
    ");
    world.core.pod(next, numbered(0).version("3"));
    assert_snapshot!(world.sent(), @"pod_container p0 c");
}

#[test]
fn a_list_that_is_cut_three_times_costs_no_message_and_no_pod() {
    let mut world = World::new();
    world.ends();
    for range in [0..60, 40..70, 0..10] {
        let cut = world.restarts(range);
        world.pass(secs(3));
        world.core.close(cut);
        world.pass(secs(3));
    }
    assert_eq!((world.sent(), world.known()), (String::new(), PODS));
    let whole = world.restarts(0..99);
    world.core.listed(whole);
    assert_snapshot!(world.sent(), @"pod_delete p99");
}

#[test]
fn a_delete_in_a_list_that_is_cut_is_followed() {
    let mut world = World::new();
    world.ends();
    let cut = world.restarts(0..60);
    world.core.pod_gone(cut, "p5");
    world.core.pod_gone(cut, "p70");
    assert_snapshot!(world.sent(), @r"
    pod_delete p5
    pod_delete p70
    ");
    world.core.close(cut);
    world.core.disconnect();
    world.core.connect();
    world.sent();
    assert_eq!(world.known(), PODS - 2);
}

#[test]
fn an_ingress_that_cuts_every_minute_costs_nothing_while_nothing_changes() {
    let mut world = World::new();
    for _ in 0..30 {
        world.pass(secs(60));
        world.ends();
        world.pass(Duration::from_millis(300));
        let next = world.restarts(0..PODS);
        world.core.listed(next);
    }
    assert_eq!((world.sent(), world.known()), (String::new(), PODS));
    assert_eq!(world.warnings(), []);
    assert_eq!(world.core.feeds.len(), 1);
}

#[test]
fn a_first_info_that_is_modified_deletes_nobody_who_is_listed_next() {
    for pods in [5, PODS] {
        let mut core = Core::new(Settings::default());
        let first = core.open();
        (0..pods).for_each(|n| core.pod(first, numbered(n)));
        core.listed(first);
        core.rest();
        core.pass(secs(60));
        core.close(first);
        core.sent();
        let next = core.open();
        core.listed(next);
        core.pod(next, numbered(0));
        core.rest();
        for n in 1..pods - 1 {
            core.pass(secs(1));
            core.pod(next, numbered(n));
            core.rest();
        }
        assert_eq!(core.sent(), "", "of {pods}");
        core.pass(secs(10));
        core.rest();
        assert_eq!(core.sent(), format!("pod_delete p{}", pods - 1));
    }
}

#[test]
fn two_watchers_that_overlap_hand_over_for_nothing() {
    for synced in [true, false] {
        let mut world = World::new();
        let old = world.stream;
        let new = world.restarts(0..PODS);
        if synced {
            world.core.listed(new);
        }
        assert_eq!(world.active(), Some(old));
        world.pass(secs(5));
        world.core.close(old);
        assert_eq!(world.active(), Some(new));
        assert_eq!(world.sent(), "");
        world.core.pod_gone(new, "p0");
        world.core.pod(new, pod("new"));
        assert_eq!(world.sent(), "pod_delete p0\npod_new new v1");
        world.core.listed(new);
        assert_eq!(world.sent(), "");
    }
}

// --- others ---

#[test]
fn a_stranger_next_to_a_healthy_watcher_changes_nothing_and_is_one_warning() {
    let mut world = World::new();
    let stranger = world.stranger(40);
    world.pass(secs(60));
    assert_eq!((world.sent(), world.known()), (String::new(), PODS));
    let warnings = world.warnings();
    assert!(
        matches!(&warnings[..], [Notice::Disagree { active, other, shared: 0, of: PODS }]
            if (*active, *other) == (world.stream, stranger)),
        "{warnings:?}"
    );
    assert_eq!(world.core.feeds.streams_disagreeing(), 1);
    world.core.close(stranger);
    assert_eq!(world.core.feeds.streams_disagreeing(), 0);
}

#[test]
fn a_stranger_on_standby_while_the_watcher_restarts_changes_nothing() {
    for synced in [true, false] {
        let mut world = World::new();
        let stranger = match synced {
            true => world.stranger(40),
            false => {
                let stream = world.core.open();
                world.core.pod(stream, numbered(0));
                stream
            }
        };
        world.ends();
        world.pass(secs(20));
        assert_eq!((world.sent(), world.known()), (String::new(), PODS));
        assert_eq!(world.active() == Some(stranger), !synced);
        let next = world.restarts(0..PODS);
        world.pass(secs(20));
        world.core.listed(next);
        assert_eq!(world.active(), Some(next));
        world.pass(secs(600));
        assert_eq!((world.sent(), world.known()), (String::new(), PODS));
    }
}

#[test]
fn a_stranger_that_opens_while_the_watcher_lists_does_not_disturb_it() {
    let mut world = World::new();
    world.ends();
    let next = world.restarts(0..30);
    let stranger = world.stranger(40);
    assert_ne!(world.active(), Some(stranger));
    world.sends(next, 30..PODS);
    world.core.listed(next);
    world.pass(secs(600));
    assert_eq!((world.sent(), world.known()), (String::new(), PODS));
}

#[test]
fn two_scopes_of_which_one_is_quiet_for_10_minutes_stay_apart() {
    let mut world = World::new();
    let other = world.stranger(90);
    for n in 0..60 {
        world.pass(secs(10));
        world.core.pod(other, pod(&format!("busy-{n}")));
    }
    assert_eq!((world.sent(), world.known()), (String::new(), PODS));
}

#[test]
fn a_hung_watcher_is_left_after_the_silence_once_a_newer_one_is_ahead() {
    let mut world = World::new();
    let hung = world.stream;
    world.core.pod(hung, numbered(0));
    world.sent();
    let newer = world.restarts(0..PODS);
    world.core.listed(newer);
    world.core.pod(newer, pod("new"));
    world.pass(secs(9));
    assert_eq!(world.sent(), "");
    world.pass(secs(2));
    world.core.pod(newer, numbered(0));
    world.pass(secs(299));
    assert_eq!(world.active(), Some(hung));
    assert_eq!(world.sent(), "");
    world.pass(secs(1));
    assert_eq!(world.active(), Some(newer));
    assert_snapshot!(world.sent(), @"pod_new new v1");
}

#[test]
fn a_quiet_watcher_that_speaks_again_stays() {
    let mut world = World::new();
    let quiet = world.stream;
    let newer = world.restarts(0..PODS);
    world.core.listed(newer);
    world.pass(secs(20));
    world.core.pod(newer, numbered(0));
    world.pass(secs(200));
    world.core.pod(quiet, numbered(1));
    world.sent();
    world.pass(secs(3600));
    assert_eq!(world.active(), Some(quiet), "nobody was ahead of it since");
    assert_eq!(world.sent(), "");
}

#[test]
fn a_hung_watcher_that_has_not_listed_is_left_at_once() {
    let mut world = World::new();
    world.ends();
    let hung = world.restarts(0..10);
    let newer = world.restarts(0..99);
    assert_eq!(world.active(), Some(hung));
    world.core.listed(newer);
    assert_eq!(world.active(), Some(newer));
    assert_snapshot!(world.sent(), @"pod_delete p99");
}

#[test]
fn a_process_that_was_stopped_has_heard_no_silence() {
    let mut world = World::new();
    let (hung, newer) = (world.stream, world.restarts(0..PODS));
    world.core.listed(newer);
    world.pass(secs(20));
    world.core.pod(newer, numbered(0));
    // An hour in which nothing ran: whatever was due is late.
    for _ in 0..5 {
        world.core.now += secs(3600);
        world.core.timeout();
    }
    assert_eq!(world.active(), Some(hung));
    world.pass(secs(600));
    assert_eq!(world.active(), Some(newer));
}

#[test]
fn a_first_info_that_is_modified_deletes_nobody_of_a_few_pods_either() {
    let mut core = Core::new(Settings::default());
    let first = core.open();
    for n in 0..5 {
        core.pod(first, numbered(n));
    }
    core.listed(first);
    core.pass(secs(60));
    core.close(first);
    core.sent();
    // So few pods let a stream fit that lacks them.
    let next = core.open();
    core.listed(next);
    core.pod(next, numbered(3));
    core.rest();
    for n in 0..3 {
        core.pass(secs(2));
        core.pod(next, numbered(n));
        core.rest();
    }
    assert_eq!(core.sent(), "");
    core.pass(secs(60));
    core.rest();
    assert_eq!(core.sent(), "pod_delete p4");
}

#[test]
fn a_stream_of_owners_alone_is_not_synced_by_time_while_pods_are_announced() {
    let mut core = Core::new(Settings::default());
    let first = core.open();
    for n in 0..5 {
        core.pod(first, numbered(n));
    }
    core.listed(first);
    core.pass(secs(60));
    core.sent();
    let owners = core.open();
    core.replica_set(owners, "rs", None);
    core.pass(secs(600));
    core.close(first);
    core.pass(secs(600));
    core.rest();
    assert_eq!(core.sent(), "");
    assert_eq!(core.reducer.reducer_state.pods.len(), 5);
}
