//! Replays, owed resyncs and re-lists (D1, D3, D6).

use insta::assert_snapshot;
use k8s_relay::{
    announce::{CatchUp, ResendReason, Watermarks},
    feeds::Settings,
    matcher::Generation,
    model::{PodMeta, Uid},
};
use kube::runtime::watcher::Event;

use crate::support::{
    core::{Core, MESSAGE, legacy, pod, replica_set, secs},
    native::Native,
};

/// Room for four messages in a replay, for eight altogether; a replay goes on at two.
const SMALL: Watermarks = Watermarks {
    low: 2 * MESSAGE,
    high: 4 * MESSAGE,
    limit: 8 * MESSAGE,
};

// --- replay ---

#[test]
fn a_replay_pauses_at_the_high_mark_and_goes_on_at_the_low_mark() {
    let mut core = holding(&["p1", "p2", "p3", "p4", "p5", "p6"]);
    core.connect();
    assert_snapshot!(core.sent(), @r"
    pod_new p1 v1
    pod_new p2 v1
    pod_new p3 v1
    pod_new p4 v1
    ");
    core.reducer.drain(2 * MESSAGE - 1);
    assert_eq!(core.resume(), CatchUp::Full);
    core.reducer.drain(1);
    assert_eq!(core.resume(), CatchUp::Done);
    assert_snapshot!(core.sent(), @r"
    pod_new p5 v1
    pod_new p6 v1
    ");
    assert!(core.feeds.is_settled());
}

#[test]
fn while_a_replay_waits_for_room_a_change_behind_the_cursor_is_sent_and_one_ahead_is_not() {
    let mut core = holding(&["p1", "p2", "p3", "p4", "p5", "p6", "p7"]);
    let feed = Generation(1);
    core.connect();
    core.sent();
    core.pod(feed, pod("p1").version("2").running(&["c1"]));
    core.pod_gone(feed, "p2");
    core.pod(feed, pod("p8")); // in the place of p2
    core.pod(feed, pod("p6").version("2").running(&["c1"]));
    core.pod_gone(feed, "p7");
    core.pod(feed, pod("p9")); // in the place of p7
    assert_snapshot!(core.sent(), @r"
    pod_container p1 c1
    pod_delete p2
    pod_new p8 v1
    ");
    core.rest();
    assert_snapshot!(core.sent(), @r"
    pod_new p5 v1
    pod_new p6 v2
    pod_container p6 c1
    pod_new p9 v1
    ");
}

#[test]
fn a_pod_whose_announcement_was_interrupted_is_announced_to_the_end_even_if_it_changes() {
    for (change, rest) in [
        (None, "pod_container p c4\npod_container p c5"),
        (
            Some(&["c0", "c1", "c5"][..]),
            "pod_container p c0\npod_container p c5",
        ),
        (Some(&[]), ""),
    ] {
        let mut core = holding(&[]);
        let feed = Generation(1);
        core.pod(feed, pod("p").running(&["c1", "c2", "c3", "c4", "c5"]));
        core.connect();
        assert_eq!(core.sent().lines().last(), Some("pod_container p c3"));
        if let Some(containers) = change {
            core.pod(feed, pod("p").running(containers));
        }
        assert_eq!(core.sent(), "");
        core.rest();
        assert_eq!(core.sent(), rest);
    }
}

#[test]
fn an_interrupted_pod_that_is_deleted_leaves_its_place_to_the_next() {
    let mut core = holding(&[]);
    let feed = Generation(1);
    core.pod(feed, pod("p").running(&["c1", "c2", "c3", "c4", "c5"]));
    core.connect();
    core.sent();
    core.pod_gone(feed, "p");
    core.pod(feed, pod("q").running(&["d1", "d2"]));
    core.rest();
    assert_snapshot!(core.sent(), @r"
    pod_delete p
    pod_new q v1
    pod_container q d1
    pod_container q d2
    ");
}

#[test]
fn a_change_that_finds_no_room_during_a_replay_is_sent_by_another_pass() {
    let mut core = holding(&["p1", "p2", "p3", "p4", "p5"]);
    let feed = Generation(1);
    core.connect();
    core.sent();
    core.reducer.queued = SMALL.limit;
    core.pod(feed, pod("p1").running(&["c1"]));
    core.pod_gone(feed, "p2");
    core.pod(feed, pod("p6")); // in the place of p2
    assert_snapshot!(core.sent(), @"");
    core.rest();
    assert_snapshot!(core.sent(), @r"
    pod_new p5 v1
    pod_delete p2
    pod_container p1 c1
    pod_new p6 v1
    ");
}

#[test]
fn a_connection_that_is_lost_during_a_replay_leaves_nothing_for_the_next() {
    let mut core = holding(&["p1", "p2", "p3", "p4", "p5"]);
    core.connect();
    core.disconnect();
    core.sent();
    core.connect();
    core.rest();
    assert_eq!(core.sent().lines().count(), 5);
    assert_eq!(core.feeds.epoch().0, 1);
}

#[test]
fn a_stream_that_opens_during_a_replay_ends_it() {
    let mut core = holding(&["p1", "p2", "p3", "p4", "p5"]);
    core.connect();
    core.sent();
    let next = core.open();
    core.pod(next, pod("p5"));
    core.rest();
    assert_snapshot!(core.sent(), @r"
    pod_resync 2
    pod_new p5 v1
    ");
}

#[test]
fn containers_of_one_id_are_sent_as_often_as_the_event_names_them_and_known_once() {
    let mut core = Core::new(legacy());
    let feed = core.open();
    core.pod(feed, pod("p").running(&["c1", "c1", ""]));
    assert_snapshot!(core.sent(), @r"
    pod_new p v1
    pod_container p c1
    pod_container p c1
    pod_container p 
    ");
    let sent = core.feeds.ledger().get(&Uid::new("p")).unwrap();
    assert_eq!(sent.containers(), 2);
}

#[test]
fn a_pod_of_a_hundred_containers_is_announced_each_of_them_once() {
    let ids: Vec<_> = (0..100).map(|n| format!("c{n}")).collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    let mut native = Native::new(Watermarks::default());
    for n in [1, 32, 33, 100, 100] {
        native.pod(pod("p").running(&ids[..n]));
    }
    assert_eq!(native.sent().lines().count(), 101);
}

// --- a full sink (D6) ---

#[test]
fn when_the_sink_is_full_state_goes_on_and_a_resync_is_sent_once_it_has_drained() {
    let mut core = holding(&["p1", "p2"]);
    let feed = Generation(1);
    core.connect();
    core.sent();
    core.reducer.queued = SMALL.limit - 1;
    core.pod(feed, pod("p1").running(&["c1", "c2"])); // the second finds no room
    core.pod(feed, pod("p3"));
    core.pod_gone(feed, "p2");
    assert_snapshot!(core.sent(), @"pod_container p1 c1");
    assert_eq!(core.resume(), CatchUp::Full);
    core.reducer.queued = SMALL.low + 1;
    assert_eq!(core.resume(), CatchUp::Full);
    core.reducer.queued = SMALL.low;
    core.rest();
    assert_snapshot!(core.sent(), @r"
    pod_resync 2
    pod_new p1 v1
    pod_container p1 c1
    pod_container p1 c2
    pod_new p3 v1
    ");
    assert_eq!(core.feeds.epoch().0, 2);
    let resends = core.feeds.resends();
    assert_eq!(resends.of(ResendReason::BufferFull), 1);
    assert_eq!(resends.of(ResendReason::Connection), 1);
}

#[test]
fn a_full_sink_owes_nothing_for_a_change_that_sends_nothing() {
    let mut native = Native::new(SMALL);
    native.pod(pod("p").running(&["c1"]));
    native.reducer.queued = SMALL.limit;
    native.pod(pod("p").running(&["c1"]));
    native.pod(pod("pending").without_address());
    native.pod_gone("unknown");
    assert_eq!(native.resume(), CatchUp::Done);
    assert_eq!(native.reducer.resyncs, 0);
}

#[test]
fn a_lost_connection_settles_an_owed_resync() {
    let mut core = holding(&["p1"]);
    core.connect();
    core.reducer.queued = SMALL.limit;
    core.pod(Generation(1), pod("p2"));
    core.disconnect();
    core.sent();
    core.connect();
    assert_snapshot!(core.sent(), @r"
    pod_new p1 v1
    pod_new p2 v1
    ");
}

#[test]
fn marks_in_any_order_let_a_replay_end() {
    for (low, high, limit) in [(0, 0, 0), (500, 0, 0), (0, 300, 1), (usize::MAX, 0, 0)] {
        let mut core = Core::offline(Settings {
            marks: Watermarks { low, high, limit },
            ..legacy()
        });
        let feed = core.open();
        for n in 0..20 {
            core.pod(feed, pod(&format!("p{n}")).running(&["c1", "c2"]));
        }
        core.connect();
        core.rest();
        assert_eq!(core.sent().lines().count(), 60);
    }
}

// --- lists (D1) ---

#[test]
fn the_first_list_streams_and_a_later_one_takes_effect_at_its_end() {
    let mut native = Native::new(Watermarks::default());
    native.pod_event(Event::Init);
    native.pod_event(Event::InitApply(pod("a").running(&["c1"]).into()));
    assert_snapshot!(native.sent(), @r"
    pod_new a v1
    pod_container a c1
    ");
    native.pod_event(Event::InitApply(pod("b").into()));
    native.pod_event(Event::InitDone);
    native.sent();

    native.pod_event(Event::Init);
    native.pod_event(Event::InitApply(pod("c").into()));
    native.pod_event(Event::InitApply(
        pod("a").version("2").running(&["c1", "c2"]).into(),
    ));
    assert_snapshot!(native.sent(), @"");
    native.pod_event(Event::InitDone);
    assert_snapshot!(native.sent(), @r"
    pod_delete b
    pod_new c v1
    pod_container a c2
    ");
}

#[test]
fn a_list_that_changes_nothing_sends_nothing() {
    let mut native = Native::new(Watermarks::default());
    let pods = || ["a", "b"].map(|name| PodMeta::from(pod(name).running(&["c"])));
    native.list_pods(pods());
    native.sent();
    native.list_pods(pods());
    assert_snapshot!(native.sent(), @"");
}

#[test]
fn a_list_that_starts_again_forgets_what_it_had_staged() {
    let mut native = Native::new(Watermarks::default());
    native.list_pods([pod("a").into()]);
    native.sent();
    native.pod_event(Event::Init);
    native.pod_event(Event::InitApply(pod("never").into()));
    native.list_pods([pod("a").into(), pod("b").into()]);
    assert_snapshot!(native.sent(), @"pod_new b v1");
}

#[test]
fn what_an_aborted_first_list_had_sent_is_gone_unless_the_next_attempt_sends_it_too() {
    let mut native = Native::new(Watermarks::default());
    native.pod_event(Event::Init);
    for name in ["a", "b", "waiting"] {
        let owner = (name == "waiting").then(|| replica_set("rs"));
        let mut draft = pod(name);
        draft.0.owner = owner;
        native.pod_event(Event::InitApply(draft.into()));
    }
    native.list_pods([pod("b").into(), pod("c").into()]);
    assert_snapshot!(native.sent(), @r"
    pod_new a v1
    pod_new b v1
    pod_new c v1
    pod_delete a
    ");
    native.pass(secs(3600));
    assert_snapshot!(native.sent(), @"");
}

// --- what is kept for a while ---

#[test]
fn deletes_are_remembered_for_the_settle_window_and_then_forgotten_by_a_timer() {
    let mut native = Native::new(Watermarks::default());
    for name in ["a", "b"] {
        native.pod(pod(name));
    }
    assert_eq!(native.feeds.poll_timeout(), None);
    for name in ["a", "b"] {
        native.pod_gone(name);
        native.pass(secs(2));
    }
    assert!(native.feeds.poll_timeout().is_some());
    native.pass(secs(11));
    assert_eq!(native.feeds.poll_timeout(), None);
}

// --- helpers ---

/// A stream that has sent these pods before the reducer is there.
fn holding(pods: &[&str]) -> Core {
    let mut core = Core::offline(Settings {
        marks: SMALL,
        ..legacy()
    });
    let feed = core.open();
    for name in pods {
        core.pod(feed, pod(name));
    }
    core
}
