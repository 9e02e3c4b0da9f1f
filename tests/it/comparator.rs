//! The comparison is kept in step with two feeds (D14).

use std::time::Duration;

use k8s_relay::{
    feeds::{Input, Settings},
    matcher::{Generation, OwnerSort, Reannounce},
    migrate::{
        comparator::{Comparator, Pause},
        compare::Field,
    },
    model::Seed,
};

use crate::support::{
    core::{Core, PodDraft, deployment, pod, replica_set, secs},
    native::list_of,
};

/// More than are looked at in two slices.
const PODS: usize = 1_200;

#[test]
fn a_comparison_becomes_whole_although_owners_never_stop_changing_hands() {
    let mut pair = Pair::new();
    let mut slices = 0;
    while pair.attend().is_some() {
        assert!(slices < 20, "the pass over all pods never ends");
        pair.changes_hands(&format!("d{slices}"));
        slices += 1;
    }
    assert!(slices > 2, "one pass takes several slices");
    pair.changes_hands("another");
    assert_eq!(pair.attend(), None, "what is whole stays so");
}

#[test]
fn what_an_owner_changes_behind_the_pass_is_found_by_the_next_one() {
    let mut pair = Pair::new();
    assert_eq!(pair.attend(), Some(Pause::Looking));
    pair.changes_hands("another");
    while pair.more {
        pair.attend();
    }
    let parity = pair
        .compared
        .comparison(pair.core.now)
        .parity(pair.core.now);
    assert_eq!(parity.by_field.get(&Field::Owner), Some(&1), "{parity:?}");
}

#[test]
fn while_no_watcher_is_connected_the_hold_stands_still_and_starts_not_over() {
    let mut pair = Pair::new();
    pair.catch_up();
    pair.goes_by(4);
    assert_eq!(pair.held(), secs(4));
    pair.core.close(pair.stream);
    assert_eq!(pair.attend(), Some(Pause::NoStream));
    pair.goes_by(100);
    pair.stream_opens();
    pair.catch_up();
    assert_eq!(pair.held(), secs(4));
    pair.goes_by(2);
    assert_eq!(pair.held(), secs(6));
}

#[test]
fn what_the_other_feed_sends_soon_never_differed() {
    let mut pair = Pair::new();
    pair.catch_up();
    pair.sends(pair.stream, "2");
    assert_eq!((pair.differing(), pair.waiting()), (0, 1));
    pair.goes_by(4);
    assert_eq!((pair.differing(), pair.waiting()), (0, 1));
    pair.sends(pair.native, "2");
    assert_eq!((pair.differing(), pair.waiting()), (0, 0));
}

#[test]
fn what_a_stream_repeats_is_nothing_to_look_at() {
    let mut pair = Pair::new();
    pair.catch_up();
    pair.sends(pair.stream, "2");
    pair.sends(pair.native, "2");
    pair.sends(pair.stream, "2");
    assert_eq!((pair.differing(), pair.waiting()), (0, 0));
}

#[test]
fn what_one_feed_alone_sends_is_looked_at_in_time_and_counts_when_it_would_have() {
    let mut pair = Pair::new();
    pair.catch_up();
    let start = pair.core.now;
    pair.sends(pair.native, "2");
    pair.core.now = start + secs(4);
    pair.attend();
    assert_eq!(pair.waiting(), 1);
    let due = pair.compared.poll_timeout().unwrap();
    assert_eq!(due, start + secs(5));
    pair.core.now = due;
    pair.attend();
    assert_eq!((pair.differing(), pair.waiting()), (1, 0));
    pair.core.now = start + secs(9);
    pair.attend();
    assert_eq!((pair.counted(), pair.held()), (0, secs(9)));
    pair.core.now = start + secs(10);
    pair.attend();
    assert_eq!((pair.counted(), pair.held()), (1, Duration::ZERO));
}

#[test]
fn a_pod_that_differs_is_looked_at_whenever_it_changes() {
    let mut pair = Pair::new();
    pair.catch_up();
    pair.sends(pair.stream, "2");
    pair.goes_by(5);
    assert_eq!(pair.differing(), 1);
    pair.goes_by(3);
    pair.sends(pair.stream, "1");
    assert_eq!(pair.differing(), 0, "for a moment they were equal");
    pair.sends(pair.stream, "3");
    pair.goes_by(9);
    assert_eq!((pair.differing(), pair.counted()), (1, 0));
    pair.goes_by(1);
    assert_eq!((pair.differing(), pair.counted()), (0, 1));
}

#[test]
fn a_pod_that_changes_again_while_it_waits_is_looked_at() {
    let mut pair = Pair::new();
    pair.catch_up();
    pair.sends(pair.stream, "2");
    pair.goes_by(3);
    pair.sends(pair.stream, "1");
    assert_eq!((pair.differing(), pair.waiting()), (0, 0), "they are equal");
    pair.goes_by(1);
    pair.sends(pair.stream, "3");
    pair.goes_by(9);
    assert_eq!((pair.differing(), pair.counted()), (1, 0));
    pair.goes_by(1);
    assert_eq!(pair.counted(), 1);
}

#[test]
fn a_pass_over_all_pods_finds_what_waits_as_old_as_it_is() {
    let mut pair = Pair::new();
    pair.catch_up();
    pair.sends(pair.native, "2");
    pair.goes_by(3);
    pair.changes_hands("another");
    while pair.attend().is_some() || pair.more {}
    assert_eq!(pair.waiting(), 0);
    pair.sends(pair.stream, "2");
    pair.sends(pair.stream, "3");
    assert_eq!(pair.waiting(), 1, "another change, which waits in its turn");
    pair.sends(pair.native, "3");
    assert_eq!(pair.waiting(), 0);
}

#[test]
fn a_question_finds_what_has_just_changed() {
    let mut pair = Pair::new();
    pair.catch_up();
    pair.core.pod(pair.stream, pod("p1").version("2"));
    let now = pair.core.now;
    pair.compared.catch_up(&mut pair.core.feeds, now);
    assert_eq!((pair.differing(), pair.waiting()), (1, 0));
}

#[test]
fn a_question_does_not_wait_for_much() {
    let mut pair = Pair::new();
    pair.catch_up();
    for n in 0..PODS {
        pair.core.pod(pair.stream, pod(&format!("new{n}")));
        pair.attend();
    }
    let now = pair.core.now;
    pair.compared.catch_up(&mut pair.core.feeds, now);
    let (differ, wait) = (pair.differing(), pair.waiting());
    assert!(differ > 0 && wait > 0, "{differ} {wait}");
    assert_eq!(differ as usize + wait, PODS);
}

#[test]
fn what_waits_when_the_watcher_goes_is_found_when_it_is_back() {
    let mut pair = Pair::new();
    pair.catch_up();
    pair.sends(pair.native, "2");
    pair.core.close(pair.stream);
    assert_eq!(pair.attend(), Some(Pause::NoStream));
    assert_eq!(pair.waiting(), 0);
    pair.core.now += secs(100);
    pair.stream_opens();
    pair.catch_up();
    assert_eq!(pair.differing(), 1);
    pair.goes_by(9);
    assert_eq!(pair.counted(), 0, "its clock began with the comparison");
}

/// A stream and the native watches, both listed, with the same pods; the first pod has an owner.
struct Pair {
    core: Core,
    stream: Generation,
    native: Generation,
    compared: Comparator,
    /// More is left to look at.
    more: bool,
}

/// The first one has an owner.
fn pods() -> impl Iterator<Item = PodDraft> {
    let others = (1..PODS).map(|n| pod(&format!("p{n}")));
    [pod("p0").owned_by(replica_set("web-1"))]
        .into_iter()
        .chain(others)
}

impl Pair {
    fn new() -> Self {
        let mut core = Core::new(Settings::default());
        core.feeds.compare(true);
        let stream = core.open();
        let native = core.feeds.open_native(1, core.now);
        for sort in [OwnerSort::ReplicaSet, OwnerSort::Job] {
            for event in list_of([]) {
                core.handle(native, Input::Owner(sort, event));
            }
        }
        for feed in [stream, native] {
            core.replica_set(feed, "web-1", Some(deployment("web")));
        }
        let all: Vec<_> = pods().collect();
        for one in &all {
            core.pod(stream, one.clone());
        }
        core.listed(stream);
        for event in list_of(all.into_iter().map(Into::into)) {
            core.handle(native, Input::Pod(event));
        }
        Self {
            core,
            stream,
            native,
            compared: Comparator::new(secs(10), Reannounce::Never, Seed::FIXED),
            more: true,
        }
    }

    /// Looks at a slice. Gives why nothing is compared after it, if so.
    fn attend(&mut self) -> Option<Pause> {
        self.more = self.compared.attend(&mut self.core.feeds, self.core.now);
        self.compared.pause(&self.core.feeds)
    }

    /// Until every pod has been looked at.
    fn catch_up(&mut self) {
        while self.attend().is_some() {}
    }

    /// One of the feeds sends the version of a pod, and what is due is checked.
    fn sends(&mut self, feed: Generation, version: &str) {
        self.core.pod(feed, pod("p1").version(version));
        self.attend();
    }

    /// How many pods wait to be looked at.
    fn waiting(&self) -> usize {
        self.compared.waiting()
    }

    /// How many pods differ in something for less than the settle window, as far as they were
    /// looked at.
    fn differing(&mut self) -> u64 {
        let now = self.core.now;
        self.compared.comparison(now).parity(now).unsettled
    }

    /// How many do for longer.
    fn counted(&mut self) -> u64 {
        let now = self.core.now;
        self.compared.comparison(now).parity(now).counted
    }

    /// So many seconds, each with a look.
    fn goes_by(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.core.now += secs(1);
            self.attend();
        }
    }

    fn held(&mut self) -> Duration {
        let now = self.core.now;
        self.compared.comparison(now).parity(now).held
    }

    /// A watcher connects again and sends the same.
    fn stream_opens(&mut self) {
        self.stream = self.core.open();
        let owner = Some(deployment("web"));
        self.core.replica_set(self.stream, "web-1", owner);
        for one in pods() {
            self.core.pod(self.stream, one);
        }
        self.core.listed(self.stream);
    }

    /// The native watches report another controller, and no pod.
    fn changes_hands(&mut self, controller: &str) {
        let controller = Some(deployment(controller));
        self.core.replica_set(self.native, "web-1", controller);
    }
}
