//! From one source to the other and back: what the reducer hears of it (D3, D4).

use insta::assert_snapshot;
use k8s_relay::{
    announce::CatchUp,
    feeds::{Input, Settings, SourceKind::*},
    matcher::{Generation, OwnerSort, Reannounce},
    model::{HasUid, PodMeta, Uid},
};
use kube::runtime::watcher::Event;

use crate::support::{
    core::{Core, deployment, legacy, object, pod, replica_set, secs},
    native::list_of,
};

// --- cutover ---

#[test]
fn a_cutover_between_equal_feeds_sends_nothing_and_later_events_come_from_the_watches() {
    let mut both = Both::with(&["a", "b"]);
    both.switch(Native);
    assert_eq!(both.sent(), "");
    both.core.pod(both.native, pod("c"));
    assert_eq!(both.sent(), "pod_new c v1");
    both.core.pod(both.stream, pod("d"));
    both.core.pod_gone(both.stream, "a");
    assert_eq!(both.sent(), "", "the stream is a shadow now");
}

#[test]
fn what_happens_next_is_sent_before_all_pods_were_looked_at() {
    let names: Vec<String> = (0..3_000).map(|n| format!("p{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut both = Both::with(&names);
    both.core.feeds.switch(Native, both.core.now);
    assert_eq!(both.core.resume(), CatchUp::More);
    both.core.pod(both.native, pod("new"));
    assert_eq!(both.sent(), "pod_new new v1");
    both.core.rest();
    assert_eq!(both.sent(), "", "it is announced once");
}

#[test]
fn a_cutover_sends_the_difference_and_keeps_what_is_on_its_way() {
    let mut both = Both::with(&["a"]);
    both.core.pod(both.stream, pod("seen-by-the-watcher"));
    both.core.pod(both.native, pod("seen-by-us"));
    both.core.pod(both.native, pod("gone-for-the-watcher"));
    both.core.pod(both.stream, pod("gone-for-the-watcher"));
    both.core.pod_gone(both.stream, "gone-for-the-watcher");
    both.sent();
    both.switch(Native);
    assert_snapshot!(both.sent(), @"pod_new seen-by-us v1");
    both.core.pod(both.native, pod("seen-by-the-watcher"));
    both.core.pod_gone(both.native, "gone-for-the-watcher");
    both.core.pass(secs(11));
    both.core.rest();
    assert_eq!(
        both.sent(),
        "",
        "both were settled by the watches themselves"
    );
}

#[test]
fn what_the_watches_never_confirm_is_sent_when_the_window_ends() {
    let mut both = Both::with(&["a"]);
    both.core.pod(both.stream, pod("only-there"));
    both.sent();
    both.switch(Native);
    assert_eq!(both.sent(), "");
    both.core.pass(secs(11));
    both.core.rest();
    assert_eq!(both.sent(), "pod_delete only-there");
}

#[test]
fn a_kept_pod_that_the_watches_hear_of_before_it_has_an_address_is_kept_on() {
    let mut both = Both::with(&["a"]);
    both.core.pod(both.stream, pod("late"));
    both.core.pass(secs(5));
    both.sent();
    both.switch(Native);
    both.core.pass(secs(3));
    both.core.pod(both.native, pod("late").without_address());
    both.core.pass(secs(4));
    both.core.rest();
    assert_eq!(
        both.sent(),
        "",
        "12 s after it was announced, 7 after the switch"
    );
    both.core.pass(secs(3));
    both.core.rest();
    assert_eq!(both.sent(), "pod_delete late");
}

#[test]
fn a_cutover_to_watches_that_are_not_listed_only_adds_until_they_are() {
    let mut core = Core::new(legacy());
    let stream = core.open();
    core.pod(stream, pod("a"));
    core.pod(stream, pod("gone"));
    core.listed(stream);
    core.pass(secs(60));
    core.sent();
    let native = core.feeds.open_native(1, core.now);
    core.handle(native, Input::Pod(Event::Init));
    core.handle(native, Input::Pod(Event::InitApply(pod("new").into())));
    core.feeds.switch(Native, core.now);
    core.rest();
    assert_eq!(core.sent(), "pod_new new v1");
    core.handle(native, Input::Pod(Event::InitApply(pod("a").into())));
    for sort in [OwnerSort::ReplicaSet, OwnerSort::Job] {
        for event in list_of([]) {
            core.handle(native, Input::Owner(sort, event));
        }
    }
    core.rest();
    assert_eq!(core.sent(), "");
    core.handle(native, Input::Pod(Event::InitDone));
    core.rest();
    assert_eq!(core.sent(), "pod_delete gone");
}

#[test]
fn a_cutover_while_the_reducer_is_away_costs_nothing_but_the_replay() {
    let mut both = Both::with(&["a", "b"]);
    both.core.disconnect();
    both.switch(Native);
    both.core.pod_gone(both.native, "b");
    both.core.connect();
    both.core.rest();
    assert_eq!(both.sent(), "pod_new a v1");
}

// --- rollback ---

#[test]
fn a_rollback_between_equal_feeds_sends_nothing() {
    let mut both = Both::with(&["a", "b"]);
    both.switch(Native);
    both.switch(Collect);
    both.core.pod_gone(both.native, "a");
    assert_eq!(both.sent(), "");
    both.core.pod_gone(both.stream, "b");
    assert_eq!(both.sent(), "pod_delete b");
}

#[test]
fn a_rollback_goes_to_the_newest_open_stream() {
    let mut both = Both::with(&["a"]);
    both.switch(Native);
    let newer = both.core.open();
    both.core.pod(newer, pod("a"));
    both.core.pod(newer, pod("b"));
    both.core.close(both.stream);
    both.switch(Collect);
    assert_eq!(both.sent(), "pod_new b v1");
}

#[test]
fn a_rollback_without_a_watcher_keeps_the_reducer_state_up_until_one_is_there() {
    let mut both = Both::with(&["a", "b", "c"]);
    both.switch(Native);
    both.core.close(both.stream);
    both.switch(Collect);
    assert!(both.core.feeds.waits_for_stream());
    both.core.pass(secs(600));
    both.core.pod_gone(both.native, "c");
    assert_eq!(
        both.sent(),
        "pod_delete c",
        "the native watches stay active"
    );
    both.core.disconnect();
    both.core.connect();
    both.core.rest();
    assert_snapshot!(both.sent(), @r"
    pod_new a v1
    pod_new b v1
    ");
    let stream = both.core.open();
    assert!(!both.core.feeds.waits_for_stream());
    both.core.pod(stream, pod("a"));
    both.core.pod(stream, pod("d"));
    assert_eq!(both.sent(), "pod_new d v1", "no resync, nothing again");
    both.core.pass(secs(20));
    both.core.listed(stream);
    both.core.rest();
    assert_eq!(both.sent(), "pod_delete b");
}

#[test]
fn when_native_watches_end_with_nobody_there_to_take_over_what_they_sent_stays() {
    let mut both = Both::with(&["a", "b"]);
    both.switch(Native);
    both.core.close(both.stream);
    both.switch(Collect);
    both.core.feeds.close_native(both.core.now);
    both.core.pass(secs(600));
    both.core.rest();
    assert_eq!(both.sent(), "");
    both.core.disconnect();
    both.core.connect();
    both.core.rest();
    assert_eq!(both.sent(), "pod_new a v1\npod_new b v1");
    let stream = both.core.open();
    for name in ["a", "b"] {
        both.core.pod(stream, pod(name));
    }
    both.core.listed(stream);
    both.core.rest();
    assert_eq!(both.sent(), "");
}

#[test]
fn what_a_stream_that_broke_could_not_confirm_stays_sent() {
    let mut both = Both::with(&["a"]);
    both.switch(Native);
    both.core.pod(both.native, pod("b"));
    assert_eq!(both.sent(), "pod_new b v1");
    both.switch(Collect);
    both.core.close(both.stream);
    both.core.pass(secs(600));
    both.core.rest();
    assert_eq!(both.sent(), "");
    let stream = both.core.open();
    both.core.pod(stream, pod("b"));
    both.core.listed(stream);
    both.core.rest();
    assert_snapshot!(both.sent(), @r"
    pod_resync 2
    pod_new b v1
    ");
}

#[test]
fn a_pod_that_waits_in_the_other_feed_is_kept_either_way() {
    for (from, to) in [(Collect, Native), (Native, Collect)] {
        let mut both = Both::with(&[]);
        both.switch(from);
        let owned = || pod("p").owned_by(replica_set("web-1"));
        both.core.pod(both.stream, owned());
        both.core.pod(both.native, owned());
        let reported_by = both.feed(from);
        let owner = || object("web-1", Some(deployment("web")));
        both.core.owner(reported_by, OwnerSort::ReplicaSet, owner());
        assert_eq!(both.sent(), "pod_new p v1 Deployment/web");
        both.switch(to);
        both.core.pass(secs(50));
        both.core.rest();
        assert_eq!(both.sent(), "", "{to:?}");
        let other = both.feed(to);
        both.core.owner(other, OwnerSort::ReplicaSet, owner());
        both.core.pass(secs(60));
        both.core.rest();
        assert_eq!(both.sent(), "", "{to:?}");
    }
}

#[test]
fn containers_that_only_native_watches_know_of_are_no_reason_to_delete_their_pod() {
    for stream_is_there in [true, false] {
        let mut both = Both::sent_again();
        let watched = || {
            let mut pod = pod("p").running(&["app", "init"]);
            pod.0.auxiliary = 1;
            pod
        };
        both.core.pod(both.native, watched());
        both.core.pod(both.stream, pod("p").running(&["app"]));
        assert_eq!(both.sent(), "pod_new p v1\npod_container p app");
        both.switch(Native);
        assert_eq!(both.sent(), "pod_container p init");
        if !stream_is_there {
            both.core.close(both.stream);
        }
        both.switch(Collect);
        if !stream_is_there {
            both.stream = both.core.open();
            both.core.pod(both.stream, pod("p").running(&["app"]));
            both.core.listed(both.stream);
            both.core.rest();
        }
        assert_eq!(both.sent(), "", "stream there: {stream_is_there}");
        both.core
            .pod(both.stream, pod("p").running(&["app"]).version("2"));
        assert_eq!(both.sent(), "pod_new p v2\npod_container p app");
        both.core
            .pod(both.stream, pod("p").running(&["app-2"]).version("2"));
        assert_eq!(
            both.sent(),
            "pod_delete p\npod_new p v2\npod_container p app-2"
        );
    }
}

// --- one pod, two feeds ---

#[test]
fn a_pod_that_is_equal_in_both_feeds_is_held_once_whoever_sends_it_first() {
    for native_first in [true, false] {
        let mut both = Both::with(&[]);
        both.core.feeds.compare(true);
        let mut feeds = [both.stream, both.native];
        if native_first {
            feeds.reverse();
        }
        for feed in feeds {
            both.core.pod(
                feed,
                pod("p").owned_by(replica_set("web-1")).running(&["c"]),
            );
        }
        assert!(both.stream_pod("p").ptr_eq(&both.native_pod("p")));
        both.core.pod(both.native, pod("p").version("2"));
        assert_eq!(*both.native_pod("p").version, *"2");
        assert_eq!(*both.stream_pod("p").version, *"1");
    }
}

/// A stream and the native watches, both listed.
struct Both {
    core: Core,
    stream: Generation,
    native: Generation,
}

impl Both {
    /// Both know these pods, and they were announced to the reducer a minute ago.
    fn with(pods: &[&str]) -> Self {
        Self::set_up(legacy(), pods)
    }

    /// Without pods; announced ones are announced again when they change.
    fn sent_again() -> Self {
        let settings = Settings {
            reannounce: Reannounce::OnChange,
            ..legacy()
        };
        Self::set_up(settings, &[])
    }

    fn set_up(settings: Settings, pods: &[&str]) -> Self {
        let mut core = Core::new(settings);
        let stream = core.open();
        let native = core.feeds.open_native(1, core.now);
        for name in pods {
            core.pod(stream, pod(name));
        }
        core.listed(stream);
        for event in list_of(pods.iter().map(|name| pod(name).into())) {
            core.handle(native, Input::Pod(event));
        }
        for sort in [OwnerSort::ReplicaSet, OwnerSort::Job] {
            for event in list_of([]) {
                core.handle(native, Input::Owner(sort, event));
            }
        }
        core.pass(secs(60));
        let mut both = Self {
            core,
            stream,
            native,
        };
        both.sent();
        both
    }

    fn feed(&self, source: k8s_relay::feeds::SourceKind) -> Generation {
        match source {
            Collect => self.stream,
            Native => self.native,
        }
    }

    fn switch(&mut self, to: k8s_relay::feeds::SourceKind) {
        self.core.feeds.switch(to, self.core.now);
        self.core.rest();
    }

    fn sent(&mut self) -> String {
        self.core.sent()
    }

    fn stream_pod(&self, name: &str) -> PodMeta {
        held(
            self.core.feeds.compared_stream_view().unwrap().matcher(),
            name,
        )
    }

    fn native_pod(&self, name: &str) -> PodMeta {
        held(self.core.feeds.native_view().unwrap().matcher(), name)
    }
}

/// What a matcher holds of this pod, live or not.
fn held(matcher: &k8s_relay::matcher::Matcher, name: &str) -> PodMeta {
    let mut slot = k8s_relay::model::Slot::FIRST;
    loop {
        slot = matcher.pod_at_or_after(slot).expect("the pod is known");
        let pod = matcher.pod_at(slot).unwrap();
        if *pod.uid() == Uid::new(name) {
            return pod.clone();
        }
        slot = slot.next();
    }
}
