//! The native watches as the active feed: opening, listing, re-lists, and streams alongside them
//! (D1, D3, D4, D9).

use std::time::Duration;

use insta::assert_snapshot;
use k8s_relay::{
    announce::{CatchUp, ResendReason, Watermarks},
    feeds::{Input, OnReconnect, Settings},
    matcher::OwnerSort,
    model::{Kind, PodMeta, Scope, Uid},
};
use kube::runtime::watcher::Event;

use crate::support::{
    core::{MESSAGE, Recorder, deployment, job, object, pod, replica_set, secs},
    native::{Native, list_of, native},
};

// --- alongside streams ---

#[test]
fn opening_the_watches_sends_nothing_and_is_no_epoch() {
    let mut native = new();
    assert_eq!(native.feeds.epoch().0, 0);
    native.pod(pod("a"));
    native.reconnect();
    assert_eq!(native.feeds.epoch().0, 0);
    assert_snapshot!(native.sent(), @r"
    pod_new a v1
    pod_new a v1
    ");
}

#[test]
fn streams_alongside_active_watches_are_heard_in_silence() {
    let mut native = new();
    native.pod(pod("a"));
    native.sent();
    let stream = native.open();
    native.core.pod(stream, pod("b"));
    native.core.pod_gone(stream, "a");
    native.listed(stream);
    native.close(stream);
    let stream = native.open();
    native.pass(secs(3600));
    assert_snapshot!(native.sent(), @"");
    assert_eq!(native.feeds.epoch().0, 0);
    assert_eq!(native.feeds.active_generation(), Some(native.feed));
    for n in 0..10_000 {
        let waiting = pod(&format!("p{n}")).owned_by(replica_set("rs"));
        native.core.pod(stream, waiting);
    }
    assert_snapshot!(native.sent(), @"feed_overflow 3");
}

#[test]
fn watches_alongside_an_active_stream_are_heard_in_silence_and_never_take_over() {
    let mut core = crate::support::core::Core::new(Settings::default());
    let watches = core.feeds.open_native(1, core.now);
    let stream = core.open();
    core.pod(stream, pod("announced"));
    core.handle(watches, Input::Pod(Event::Apply(pod("shadow").into())));
    for kind in [Kind::POD, Kind::REPLICA_SET, Kind::JOB] {
        core.feeds.denied(kind, Scope(0), core.now);
    }
    core.close(stream);
    core.pass(secs(3600));
    assert_snapshot!(core.sent(), @"pod_new announced v1");
    assert_eq!(core.feeds.active_generation(), Some(stream));
}

#[test]
fn with_reset_watcher_a_reconnect_ends_no_watch_and_sends_from_memory() {
    let settings = Settings {
        on_reconnect: OnReconnect::ResetWatcher,
        ..native(Watermarks::default())
    };
    let mut native = Native::with(Recorder::default(), settings, 1);
    native.pod(pod("a"));
    native.disconnect();
    assert!(!native.connect(), "no call is ended");
    assert_snapshot!(native.sent(), @r"
    pod_new a v1
    pod_new a v1
    ");
}

#[test]
fn two_thousand_quiet_streams_leave_nothing_due_but_what_the_watches_wait_for() {
    let mut native = new();
    for _ in 0..2_000 {
        let stream = native.open();
        native.listed(stream);
    }
    native.pass(secs(120));
    assert_eq!(native.feeds.poll_timeout(), None);
    native.pod(pod("a").owned_by(replica_set("rs")));
    assert_eq!(native.feeds.poll_timeout(), Some(native.now + secs(60)));
}

// --- listed ---

#[test]
fn watches_are_listed_when_each_kind_has_listed_or_was_denied_in_each_scope() {
    let every = [
        (Kind::POD, 0),
        (Kind::POD, 1),
        (Kind::REPLICA_SET, 0),
        (Kind::REPLICA_SET, 1),
        (Kind::JOB, 0),
        (Kind::JOB, 1),
    ];
    for denied in 0..1_u32 << every.len() {
        let mut native = Native::with(Recorder::default(), self::native(Watermarks::default()), 2);
        for (n, (kind, scope)) in every.into_iter().enumerate() {
            assert!(!native.feeds.is_listed(), "{kind:?} {scope} is missing");
            if denied >> n & 1 == 1 {
                let now = native.now;
                native.feeds.denied(kind, Scope(scope), now);
                native.feeds.denied(kind, Scope(scope), now); // said twice, counts once
            } else {
                list_nothing(&mut native, kind, Scope(scope));
            }
        }
        assert!(native.feeds.is_listed(), "{denied:b}");
    }
}

#[test]
fn a_kind_that_is_denied_after_it_had_listed_keeps_what_is_known() {
    let mut native = new();
    native.list_pods([pod("a").into(), pod("b").into()]);
    native.sent();
    let now = native.now;
    native.feeds.denied(Kind::POD, Scope(0), now);
    native.rest();
    assert_snapshot!(native.sent(), @"");
    // Allowed again: what was missed is sent.
    native.list_pods([pod("b").into()]);
    assert_snapshot!(native.sent(), @"pod_delete a");
}

#[test]
fn pods_of_jobs_that_are_denied_are_announced_under_their_job_after_the_owner_wait() {
    let mut native = new();
    let now = native.now;
    native.feeds.denied(Kind::JOB, Scope(0), now);
    native.list_pods([pod("a").owned_by(job("backup")).into()]);
    native.pass(secs(59));
    assert_snapshot!(native.sent(), @"");
    native.pass(secs(1));
    assert_snapshot!(native.sent(), @"pod_new a v1 Job/backup");
}

// --- re-lists ---

#[test]
fn a_re_list_sends_the_difference_deletes_that_were_missed_included() {
    let mut native = new();
    native.list_pods(["a", "b", "c"].map(|name| pod(name).running(&["c1"]).into()));
    native.list_owners(OwnerSort::ReplicaSet, [object("rs", None)]);
    native.sent();
    let now = [
        pod("a").running(&["c1"]),
        pod("c").running(&["c1", "c2"]),
        pod("d").owned_by(replica_set("rs")),
    ];
    native.list_pods(now.map(PodMeta::from));
    assert_snapshot!(native.sent(), @r"
    pod_delete b
    pod_container c c2
    pod_new d v1 ReplicaSet/rs
    ");
}

#[test]
fn a_list_of_one_scope_says_nothing_about_the_others() {
    let settings = self::native(Watermarks::default());
    let mut native = Native::with(Recorder::default(), settings, 2);
    native.list_pods_in(Scope(0), [pod("a").into()]);
    native.list_pods_in(Scope(1), [pod("b").into()]);
    native.list_pods_in(Scope(1), [pod("c").into()]);
    assert_snapshot!(native.sent(), @r"
    pod_new a v1
    pod_new b v1
    pod_delete b
    pod_new c v1
    ");
}

#[test]
fn pods_that_wait_or_have_no_address_go_with_the_list_that_lacks_them() {
    let mut native = new();
    let waiting = pod("waiting").owned_by(replica_set("rs"));
    native.list_pods([waiting.into(), pod("pending").without_address().into()]);
    assert_eq!((native.counts().pods, native.counts().waiting), (2, 1));
    native.list_pods([]);
    assert_eq!((native.counts().pods, native.counts().waiting), (0, 0));
    native.replica_set("rs", None);
    native.pass(secs(3600));
    assert_snapshot!(native.sent(), @"");
}

#[test]
fn owners_that_a_list_lacks_resolve_for_a_minute_more() {
    let mut native = new();
    let sets = ["gone", "stays"].map(|name| object(name, Some(deployment(name))));
    native.list_owners(OwnerSort::ReplicaSet, sets.clone());
    native.list_owners(OwnerSort::ReplicaSet, sets.into_iter().skip(1));
    native.list_owners(OwnerSort::Job, []); // says nothing of ReplicaSets
    native.pass(secs(59));
    native.pod(pod("early").owned_by(replica_set("gone")));
    native.pass(secs(1));
    native.pod(pod("late").owned_by(replica_set("gone")));
    native.pod(pod("a").owned_by(replica_set("stays")));
    assert_snapshot!(native.sent(), @r"
    pod_new early v1 Deployment/gone
    pod_new a v1 Deployment/stays
    ");
    assert_eq!(native.counts().waiting, 1);
}

#[test]
fn a_re_list_does_not_move_the_time_when_a_pod_is_given_up_or_an_owner_forgotten() {
    let mut native = new();
    let waiting = || PodMeta::from(pod("a").owned_by(replica_set("rs")));
    let owner = object("old", Some(deployment("shop")));
    native.list_pods([waiting()]);
    native.list_owners(OwnerSort::ReplicaSet, [owner]);
    native.list_owners(OwnerSort::ReplicaSet, []);
    native.pass(secs(40));
    native.list_pods([waiting()]);
    native.list_owners(OwnerSort::ReplicaSet, []);
    native.pass(secs(20) - Duration::from_millis(1));
    assert_eq!((native.counts().waiting, native.counts().owners), (1, 1));
    native.pass(Duration::from_millis(1));
    assert_eq!((native.counts().waiting, native.counts().owners), (0, 0));
    assert_snapshot!(native.sent(), @"pod_new a v1 ReplicaSet/rs");
}

#[test]
fn an_event_in_the_middle_of_a_list_is_neither_lost_nor_undone_by_it() {
    let mut native = new();
    native.list_pods(["a", "b", "c"].map(|name| pod(name).into()));
    native.sent();
    let mut list = list_of(["a", "b", "c"].map(|name| {
        let changed = pod(name).version("listed").running(&["listed"]);
        PodMeta::from(changed)
    }));
    native.pod_event(list.next().unwrap());
    native.pod_event(list.next().unwrap());
    native.pod(pod("a").running(&["later"]));
    native.pod_gone("b");
    native.pod_gone("c");
    native.pod(pod("new"));
    assert_snapshot!(native.sent(), @r"
    pod_container a later
    pod_delete b
    pod_delete c
    pod_new new v1
    ");
    list.for_each(|event| native.pod_event(event));
    assert_snapshot!(native.sent(), @"");
    assert_eq!(native.counts().pods, 2);
}

#[test]
fn an_event_that_changes_nothing_keeps_the_handle_and_sends_nothing() {
    let mut native = new();
    let first = PodMeta::from(pod("a").running(&["c1"]));
    native.pod(first.clone());
    native.pod(pod("a").running(&["c1"]));
    native.list_pods([pod("a").running(&["c1"]).into()]);
    native.list_pods([pod("a").running(&["c1"]).into()]);
    let kept = native.feeds.reader().pod(&Uid::new("a")).unwrap();
    assert!(kept.ptr_eq(&first));
    assert!(
        native
            .matcher()
            .live(&Uid::new("a"))
            .unwrap()
            .pod
            .ptr_eq(&first)
    );
    native.sent();
}

#[test]
fn a_difference_larger_than_the_buffer_is_sent_in_passes_without_a_resync() {
    let marks = Watermarks {
        low: MESSAGE,
        high: 5 * MESSAGE,
        limit: 8 * MESSAGE,
    };
    let mut native = Native::new(marks);
    let pods = |from: usize, to: usize| {
        (from..to).map(|n| PodMeta::from(pod(&format!("p{n}")).running(&["c1", "c2"])))
    };
    native.list_pods(pods(0, 100));
    assert_eq!(
        native.resume(),
        CatchUp::Full,
        "also the first list waits for room"
    );
    native.rest();
    assert_eq!(native.reducer.reducer_state.pods.len(), 100);
    native.list_pods(pods(50, 150));
    assert_eq!(native.resume(), CatchUp::Full);
    native.pod_gone("p149"); // while it is being announced
    native.rest();
    assert!(native.feeds.is_settled());
    let reducer_state = &native.reducer.reducer_state.pods;
    assert_eq!(reducer_state.len(), 99);
    assert!(reducer_state.values().all(|pod| pod.containers.len() == 2));
    assert_eq!((native.reducer.resyncs, native.feeds.epoch().0), (0, 0));
    // A list that releases many pods: the same.
    let waiting = (0..100).map(|n| pod(&format!("w{n}")).owned_by(replica_set("rs")).into());
    native.list_pods(waiting);
    native.rest();
    native.list_owners(OwnerSort::ReplicaSet, [object("rs", None)]);
    native.rest();
    assert_eq!(native.reducer.reducer_state.pods.len(), 100);
    // Many that wait in vain, too.
    let waiting = (0..100).map(|n| pod(&format!("j{n}")).owned_by(job("job")).into());
    native.list_pods(waiting);
    native.pass(secs(60));
    assert_eq!(native.resume(), CatchUp::Full);
    native.rest();
    assert_eq!(native.reducer.reducer_state.pods.len(), 100);
    assert_eq!((native.reducer.resyncs, native.feeds.epoch().0), (0, 0));
    native.sent();
}

#[test]
fn an_event_outside_of_lists_that_finds_no_room_owes_a_resync_as_ever() {
    let mut native = new();
    native.list_pods([pod("a").into()]);
    native.rest();
    native.sent();
    native.reducer.queued = Watermarks::default().limit;
    native.pod(pod("b"));
    native.rest();
    assert_snapshot!(native.sent(), @r"
    pod_resync 1
    pod_new a v1
    pod_new b v1
    ");
}

#[test]
fn with_relist_resync_the_end_of_a_re_list_of_pods_sends_everything_again() {
    let settings = Settings {
        relist_resync: true,
        ..self::native(Watermarks::default())
    };
    let mut native = Native::with(Recorder::default(), settings, 1);
    native.list_pods(["a", "b"].map(|name| pod(name).into()));
    native.list_owners(OwnerSort::ReplicaSet, []);
    native.list_owners(OwnerSort::ReplicaSet, []);
    native.list_pods(["b", "c"].map(|name| pod(name).into()));
    native.rest();
    native.disconnect();
    native.list_pods(["b", "c"].map(|name| pod(name).into()));
    native.connect();
    native.rest();
    assert_snapshot!(native.sent(), @r"
    pod_new a v1
    pod_new b v1
    pod_resync 1
    pod_new c v1
    pod_new b v1
    pod_new c v1
    pod_new b v1
    ");
    assert_eq!(
        native.feeds.epoch().0,
        1,
        "without a connection there is none to send"
    );
    let resends = native.feeds.resends();
    let counts = ResendReason::ALL.map(|reason| resends.of(reason));
    assert_eq!(counts, [2, 0, 1, 0], "two connections, one list");
}

// --- helpers ---

fn new() -> Native {
    Native::new(Watermarks::default())
}

fn list_nothing(native: &mut Native, kind: Kind, scope: Scope) {
    match kind {
        Kind::POD => native.list_pods_in(scope, []),
        Kind::JOB => list_of([]).for_each(|e| native.owner_event_in(scope, OwnerSort::Job, e)),
        _ => list_of([]).for_each(|e| native.owner_event_in(scope, OwnerSort::ReplicaSet, e)),
    }
}
