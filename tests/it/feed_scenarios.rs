//! Which feed is active, and what a change of feed sends the reducer (D3, D4, D5).

use std::time::Duration;

use insta::assert_snapshot;
use k8s_relay::{
    announce::{Announcer, CatchUp, Changeover, Watermarks, WindowConfig},
    feeds::{OnReconnect, Settings},
    matcher::{Generation, Matcher, Policy},
    model::PodMeta,
};

use crate::support::core::{Core, Recorder, deployment, legacy, origin, pod, replica_set, secs};

const MOMENT: Duration = Duration::from_millis(1);

// --- epochs ---

#[test]
fn the_first_stream_is_epoch_1_and_the_second_one_sends_2() {
    let mut core = Core::new(legacy());
    assert_eq!(core.feeds.epoch().0, 0);
    let first = core.open();
    assert_eq!(core.feeds.epoch().0, 1);
    core.pod(first, pod("a"));
    let second = core.open();
    core.pod(second, pod("a"));
    core.open();
    assert_snapshot!(core.sent(), @r"
    pod_new a v1
    pod_resync 2
    pod_new a v1
    pod_resync 3
    ");
}

#[test]
fn a_new_stream_sends_no_resync_unless_pod_data_was_announced_before() {
    let mut core = Core::new(legacy());
    let first = core.open();
    core.replica_set(first, "rs", None);
    core.pod(first, pod("pending").without_address());
    core.pod(first, pod("waiting").owned_by(replica_set("other")));
    core.pod_gone(first, "unknown");
    let second = core.open();
    core.pod(second, pod("a"));
    core.pod_gone(second, "a");
    core.open(); // what was announced is deleted, yet it was announced
    assert_snapshot!(core.sent(), @r"
    pod_new a v1
    pod_delete a
    pod_resync 3
    ");
}

#[test]
fn a_reconnect_and_a_stream_opened_meanwhile_send_no_resync() {
    let mut core = Core::new(legacy());
    let first = core.open();
    core.pod(first, pod("a"));
    core.disconnect();
    core.connect();
    core.disconnect();
    let second = core.open();
    core.pod(second, pod("b"));
    core.connect();
    assert_snapshot!(core.sent(), @r"
    pod_new a v1
    pod_new a v1
    pod_new b v1
    ");
    assert_eq!(core.feeds.epoch().0, 2);
}

#[test]
fn a_stream_opened_while_there_is_no_room_sends_its_own_number_later() {
    let mut core = Core::new(legacy());
    let first = core.open();
    core.pod(first, pod("a"));
    core.reducer.queued = Watermarks::default().limit;
    let second = core.open();
    core.pod(second, pod("b"));
    assert_eq!(core.resume(), CatchUp::Full);
    core.rest();
    assert_snapshot!(core.sent(), @r"
    pod_new a v1
    pod_resync 2
    pod_new b v1
    ");
}

// --- who is active ---

#[test]
fn a_new_stream_is_active_at_once_and_older_ones_are_heard_in_silence() {
    let mut core = Core::new(legacy());
    let (older, newer) = (core.open(), core.open());
    core.pod(older, pod("a"));
    core.pod(newer, pod("b"));
    core.pod_gone(older, "b");
    assert_snapshot!(core.sent(), @"pod_new b v1");
    assert_eq!(
        (core.feeds.active_generation(), core.feeds.len()),
        (Some(newer), 2)
    );
    core.close(older);
    assert_eq!(core.feeds.len(), 1);
}

#[test]
fn the_pods_of_an_ended_stream_stay_sent_until_the_next_one_opens() {
    let mut core = Core::new(legacy());
    let first = core.open();
    core.pod(first, pod("a"));
    core.close(first);
    core.pass(secs(3600));
    core.pod(first, pod("unheard"));
    core.disconnect();
    core.connect();
    core.open();
    assert_snapshot!(core.sent(), @r"
    pod_new a v1
    pod_new a v1
    pod_resync 2
    ");
    assert_eq!(core.feeds.len(), 1);
}

#[test]
fn an_older_listed_stream_takes_over_5_seconds_after_the_end_by_difference() {
    let (mut core, older, newer) = two_streams();
    core.listed(older);
    for name in ["both", "old"] {
        core.pod(older, pod(name).running(&["c1", "c2"]));
    }
    core.pod(newer, pod("both").version("2").running(&["c1"]));
    core.pod(newer, pod("new"));
    core.pass(secs(60));
    core.close(newer);
    core.sent();
    core.pass(secs(5) - MOMENT);
    assert_snapshot!(core.sent(), @"");
    core.pass(MOMENT);
    assert_snapshot!(core.sent(), @r"
    pod_delete new
    pod_container both c2
    pod_new old v1
    pod_container old c1
    pod_container old c2
    ");
    assert_eq!(
        (core.feeds.active_generation(), core.feeds.len()),
        (Some(older), 1)
    );
    core.pod_gone(older, "old");
    assert_snapshot!(core.sent(), @"pod_delete old");
}

#[test]
fn a_stream_that_opens_in_time_leaves_no_take_over() {
    let (mut core, older, newer) = two_streams();
    core.listed(older);
    core.close(newer);
    core.pass(secs(4));
    let newest = core.open();
    core.pass(secs(3600));
    assert_eq!(core.feeds.active_generation(), Some(newest));
}

#[test]
fn the_newest_of_the_older_streams_that_are_alive_and_listed_takes_over() {
    let mut core = Core::new(legacy());
    let streams: Vec<_> = (0..6).map(|_| core.open()).collect();
    let [far, near, unlisted, overflowed, closed, active] = streams[..] else {
        panic!()
    };
    for listed in [far, near, overflowed, closed, active] {
        core.listed(listed);
    }
    for n in 0..10_000 {
        core.pod(
            overflowed,
            pod(&format!("p{n}")).owned_by(replica_set("rs")),
        );
    }
    core.pod(unlisted, pod("p"));
    core.close(closed);
    core.close(active);
    core.pass(secs(5));
    assert_eq!(core.feeds.active_generation(), Some(near));
    core.close(near);
    core.pass(secs(5));
    assert_eq!(core.feeds.active_generation(), Some(far));
}

#[test]
fn an_older_stream_that_is_listed_late_takes_over_then() {
    let (mut core, older, newer) = two_streams();
    core.pod(newer, pod("announced"));
    core.close(newer);
    core.pass(secs(20));
    core.pod(older, pod("a"));
    core.pod(older, pod("announced"));
    assert_eq!(core.feeds.active_generation(), Some(newer));
    core.sent();
    core.listed(older);
    core.pass(Duration::ZERO);
    assert_eq!(core.feeds.active_generation(), Some(older));
    assert_snapshot!(core.sent(), @"pod_new a v1");
}

// --- listed ---

#[test]
fn a_stream_is_listed_when_its_source_says_so() {
    let mut core = Core::new(legacy());
    let feed = core.open();
    core.pod(feed, pod("a"));
    assert!(!core.feeds.is_listed());
    core.listed(feed);
    assert!(core.feeds.is_listed());
}

#[test]
fn a_stream_without_pods_is_synced_5_minutes_after_its_last_info_while_nothing_is_announced() {
    for (infos, synced_at) in [
        (&[][..], Some(300)),
        (&[(0, "pending")], None),
        (&[(0, "pod")], None),
        (&[(20, "owner")], Some(320)),
        (&[(0, "owner"), (299, "owner")], Some(599)),
    ] {
        let mut core = Core::new(legacy());
        let feed = core.open();
        for (at, info) in infos {
            core.pass(core.start + secs(*at) - core.now);
            match *info {
                "pod" => core.pod(feed, pod("a")),
                "pending" => core.pod(feed, pod("a").without_address()),
                _ => core.replica_set(feed, "rs", None),
            }
        }
        let Some(synced_at) = synced_at else {
            core.pass(secs(3600));
            assert!(!core.feeds.is_listed(), "{infos:?}");
            continue;
        };
        core.pass(core.start + secs(synced_at) - core.now - MOMENT);
        assert!(!core.feeds.is_listed(), "{infos:?}");
        core.pass(MOMENT);
        assert!(core.feeds.is_listed(), "{infos:?}");
    }
}

#[test]
fn a_dropped_stream_leaves_nothing_that_is_due() {
    let mut core = Core::new(legacy());
    for _ in 0..1000 {
        let feed = core.open();
        core.close(feed);
    }
    assert_eq!(core.feeds.len(), 1); // the last one is active, though ended
    core.pass(secs(60));
    assert_eq!(core.feeds.poll_timeout(), None);
}

// --- kept and withheld (D3) ---

#[test]
fn a_pod_that_the_new_feed_does_not_know_is_kept_for_10_seconds_since_it_was_touched() {
    let (mut core, older, newer) = two_streams();
    core.listed(older);
    core.pod(newer, pod("still"));
    core.pod(newer, pod("touched"));
    core.pass(secs(6));
    core.pod(newer, pod("touched"));
    core.close(newer);
    core.sent();
    core.pass(secs(5)); // 11 s after the one, 5 s after the other
    assert_snapshot!(core.sent(), @"pod_delete still");
    core.pass(secs(5) - MOMENT);
    assert_snapshot!(core.sent(), @"");
    core.pass(MOMENT);
    assert_snapshot!(core.sent(), @"pod_delete touched");
}

#[test]
fn a_pod_that_waits_in_the_new_feed_is_kept_for_the_owner_wait() {
    for (released_after, sent) in [(59, ""), (60, "pod_delete a\npod_new a v1 Deployment/shop")] {
        let (mut core, older, newer) = two_streams();
        core.listed(older);
        core.replica_set(newer, "rs", Some(deployment("shop")));
        core.pod(older, pod("a").owned_by(replica_set("rs")));
        core.pod(newer, pod("a").owned_by(replica_set("rs")));
        core.close(newer);
        core.sent();
        core.pass(secs(5 + released_after));
        core.replica_set(older, "rs", Some(deployment("shop")));
        assert_eq!(core.sent(), sent);
        core.pass(secs(60));
        assert!(core.feeds.is_settled());
        assert_eq!(core.sent(), "");
    }
}

#[test]
fn a_pod_without_address_in_the_new_feed_is_kept_for_10_seconds() {
    let (mut core, older, newer) = two_streams();
    core.listed(older);
    core.pod(older, pod("a").without_address());
    core.pod(newer, pod("a"));
    core.pass(secs(60));
    core.close(newer);
    core.sent();
    core.pass(secs(15) - MOMENT);
    assert_snapshot!(core.sent(), @"");
    core.pass(MOMENT);
    assert_snapshot!(core.sent(), @"pod_delete a");
}

#[test]
fn a_kept_pod_ends_as_the_new_feed_sends_or_deletes_it() {
    let (mut core, older, newer) = two_streams();
    core.listed(older);
    for name in ["announced", "deleted", "both"] {
        core.pod(newer, pod(name).running(&["c1"]));
    }
    core.close(newer);
    core.pass(secs(5));
    core.sent();
    core.pod(older, pod("announced").version("2").running(&["c1", "c2"]));
    core.pod_gone(older, "deleted");
    core.pod(older, pod("both"));
    core.pod_gone(older, "both");
    core.pod(older, pod("both"));
    assert_snapshot!(core.sent(), @r"
    pod_container announced c2
    pod_delete deleted
    pod_delete both
    pod_new both v1
    ");
    assert!(core.feeds.is_settled());
    core.pass(secs(120));
    assert_snapshot!(core.sent(), @"");
}

#[test]
fn a_kept_pod_that_comes_to_wait_for_its_owner_is_kept_on() {
    let (mut core, older, newer) = two_streams();
    core.listed(older);
    core.pod(newer, pod("a"));
    core.close(newer);
    core.pass(secs(5));
    core.pod(older, pod("a").owned_by(replica_set("rs")));
    core.sent();
    core.pass(secs(50));
    assert_snapshot!(core.sent(), @"");
    core.replica_set(older, "rs", None);
    core.pass(secs(60));
    assert_snapshot!(core.sent(), @"");
    assert!(core.feeds.is_settled());
}

#[test]
fn a_pod_that_the_old_feed_deleted_lately_is_withheld_until_the_new_feed_speaks_or_the_window_ends()
{
    let (mut core, older, newer) = two_streams();
    core.listed(older);
    for name in ["late", "gone", "spoken", "long-ago"] {
        core.pod(older, pod(name));
        core.pod(newer, pod(name));
    }
    core.pod_gone(newer, "long-ago");
    core.pass(secs(6));
    for name in ["late", "gone", "spoken"] {
        core.pod_gone(newer, name);
    }
    core.close(newer);
    core.sent();
    core.pass(secs(5));
    assert_snapshot!(core.sent(), @"pod_new long-ago v1");
    core.pod_gone(older, "gone");
    core.pod(older, pod("spoken"));
    assert_snapshot!(core.sent(), @"pod_new spoken v1");
    core.pass(secs(10) - MOMENT);
    assert_snapshot!(core.sent(), @"");
    core.pass(MOMENT);
    assert_snapshot!(core.sent(), @"pod_new late v1");
    assert!(core.feeds.is_settled());
}

#[test]
fn a_delete_of_a_kept_pod_and_one_before_a_resync_are_remembered_for_the_next_take_over() {
    let mut core = Core::new(legacy());
    let (eldest, older, newer) = (core.open(), core.open(), core.open());
    core.listed(eldest);
    core.listed(older);
    for name in ["carried", "resynced"] {
        core.pod(eldest, pod(name));
        core.pod(newer, pod(name));
    }
    core.pod(older, pod("resynced"));
    core.close(newer);
    core.pass(secs(5));
    core.pod_gone(older, "carried");
    core.pod_gone(older, "resynced");
    core.disconnect();
    core.connect();
    core.close(older);
    core.sent();
    core.pass(secs(5));
    assert_eq!(core.feeds.active_generation(), Some(eldest));
    assert_snapshot!(core.sent(), @"");
}

#[test]
fn towards_a_feed_that_is_not_listed_deletes_wait_until_it_is() {
    let (now, mut reducer) = (origin(), Recorder::default());
    let mut announcer = Announcer::new(Watermarks::default(), WindowConfig::default(), now);
    reducer.link(true);
    announcer.connected();
    let old = holding(&["a", "b"]);
    announcer.resume(Some(&old), now, &mut reducer);
    reducer.take();

    let (new, later) = (holding(&["b", "c"]), now + secs(20));
    let change = Changeover {
        old: Some(&old),
        new: &new,
        holds: true,
        compares: false,
    };
    announcer.change_feed(change, later);
    assert_eq!(
        announcer.resume(Some(&new), later, &mut reducer),
        CatchUp::Done
    );
    assert_snapshot!(reducer.take(), @"pod_new c v1");
    assert!(!announcer.is_settled());
    announcer.hold(false);
    assert_eq!(
        announcer.resume(Some(&new), later, &mut reducer),
        CatchUp::Done
    );
    assert_snapshot!(reducer.take(), @"pod_delete a");
    assert!(announcer.is_settled());
}

#[test]
fn a_take_over_without_connection_or_with_a_resync_owed_needs_no_difference() {
    let (mut core, older, newer) = two_streams();
    core.listed(older);
    core.pod(older, pod("old"));
    core.pod(newer, pod("new"));
    core.close(newer);
    core.disconnect();
    core.pass(secs(5));
    core.sent();
    core.connect();
    assert_snapshot!(core.sent(), @"pod_new old v1");
    assert!(core.feeds.is_settled());
}

// --- reset-watcher (D5) ---

#[test]
fn with_reset_watcher_a_reconnect_ends_all_streams_and_sends_nothing_again() {
    let on_reconnect = OnReconnect::ResetWatcher;
    let mut core = Core::offline(Settings {
        on_reconnect,
        ..legacy()
    });
    let older = core.open();
    let idle = core.open();
    assert!(!core.connect(), "no pod data yet");
    core.pod(idle, pod("a"));
    core.disconnect();
    assert!(core.connect());
    assert!(core.feeds.is_empty());
    core.pod(older, pod("unheard"));
    core.close(older);
    core.close(idle);
    core.pass(secs(3600));
    assert_snapshot!(core.sent(), @"pod_new a v1");
    let next = core.open();
    core.pod(next, pod("a"));
    assert_snapshot!(core.sent(), @"pod_new a v1");
    core.disconnect();
    core.pod(next, pod("b")); // would have been announced
    assert!(core.connect());
    core.disconnect();
    assert!(!core.connect(), "nothing since the last reset");
}

// --- helpers ---

/// An older stream and a newer one that is active; nothing was sent yet.
fn two_streams() -> (Core, Generation, Generation) {
    let mut core = Core::new(legacy());
    let (older, newer) = (core.open(), core.open());
    (core, older, newer)
}

fn holding(pods: &[&str]) -> Matcher {
    let mut matcher = Matcher::new(Policy::LEGACY);
    for name in pods {
        matcher.apply_pod(PodMeta::from(pod(name)), origin(), &mut |_| {});
    }
    matcher
}
