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
    let mut twins = Twins::new();
    let mut slices = 0;
    while twins.attend().is_some() {
        assert!(slices < 20, "the pass over all pods never ends");
        twins.changes_hands(&format!("d{slices}"));
        slices += 1;
    }
    assert!(slices > 2, "one pass takes several slices");
    twins.changes_hands("another");
    assert_eq!(twins.attend(), None, "what is whole stays so");
}

#[test]
fn what_an_owner_changes_behind_the_pass_is_found_by_the_next_one() {
    let mut twins = Twins::new();
    assert_eq!(twins.attend(), Some(Pause::Looking));
    twins.changes_hands("another");
    while twins.more {
        twins.attend();
    }
    let parity = twins
        .compared
        .comparison(twins.core.now)
        .parity(twins.core.now);
    assert_eq!(parity.by_field.get(&Field::Owner), Some(&1), "{parity:?}");
}

#[test]
fn while_no_watcher_is_connected_the_hold_stands_still_and_starts_not_over() {
    let mut twins = Twins::new();
    twins.catch_up();
    twins.goes_by(4);
    assert_eq!(twins.held(), secs(4));
    twins.core.close(twins.stream);
    assert_eq!(twins.attend(), Some(Pause::NoStream));
    twins.goes_by(100);
    twins.stream_opens();
    twins.catch_up();
    assert_eq!(twins.held(), secs(4));
    twins.goes_by(2);
    assert_eq!(twins.held(), secs(6));
}

#[test]
fn what_the_other_feed_tells_soon_never_differed() {
    let mut twins = Twins::new();
    twins.catch_up();
    twins.tells(twins.stream, "2");
    assert_eq!((twins.differing(), twins.waiting()), (0, 1));
    twins.goes_by(4);
    assert_eq!((twins.differing(), twins.waiting()), (0, 1));
    twins.tells(twins.native, "2");
    assert_eq!((twins.differing(), twins.waiting()), (0, 0));
}

#[test]
fn what_a_stream_repeats_is_nothing_to_look_at() {
    let mut twins = Twins::new();
    twins.catch_up();
    twins.tells(twins.stream, "2");
    twins.tells(twins.native, "2");
    twins.tells(twins.stream, "2");
    assert_eq!((twins.differing(), twins.waiting()), (0, 0));
}

#[test]
fn what_one_feed_alone_tells_is_looked_at_in_time_and_counts_when_it_would_have() {
    let mut twins = Twins::new();
    twins.catch_up();
    let start = twins.core.now;
    twins.tells(twins.native, "2");
    twins.core.now = start + secs(4);
    twins.attend();
    assert_eq!(twins.waiting(), 1);
    let due = twins.compared.poll_timeout().unwrap();
    assert_eq!(due, start + secs(5));
    twins.core.now = due;
    twins.attend();
    assert_eq!((twins.differing(), twins.waiting()), (1, 0));
    twins.core.now = start + secs(9);
    twins.attend();
    assert_eq!((twins.counted(), twins.held()), (0, secs(9)));
    twins.core.now = start + secs(10);
    twins.attend();
    assert_eq!((twins.counted(), twins.held()), (1, Duration::ZERO));
}

#[test]
fn a_pod_that_differs_is_looked_at_whenever_it_changes() {
    let mut twins = Twins::new();
    twins.catch_up();
    twins.tells(twins.stream, "2");
    twins.goes_by(5);
    assert_eq!(twins.differing(), 1);
    twins.goes_by(3);
    twins.tells(twins.stream, "1");
    assert_eq!(twins.differing(), 0, "for a moment they were equal");
    twins.tells(twins.stream, "3");
    twins.goes_by(9);
    assert_eq!((twins.differing(), twins.counted()), (1, 0));
    twins.goes_by(1);
    assert_eq!((twins.differing(), twins.counted()), (0, 1));
}

#[test]
fn a_pod_that_changes_again_while_it_waits_is_looked_at() {
    let mut twins = Twins::new();
    twins.catch_up();
    twins.tells(twins.stream, "2");
    twins.goes_by(3);
    twins.tells(twins.stream, "1");
    assert_eq!(
        (twins.differing(), twins.waiting()),
        (0, 0),
        "they are equal"
    );
    twins.goes_by(1);
    twins.tells(twins.stream, "3");
    twins.goes_by(9);
    assert_eq!((twins.differing(), twins.counted()), (1, 0));
    twins.goes_by(1);
    assert_eq!(twins.counted(), 1);
}

#[test]
fn a_pass_over_all_pods_finds_what_waits_as_old_as_it_is() {
    let mut twins = Twins::new();
    twins.catch_up();
    twins.tells(twins.native, "2");
    twins.goes_by(3);
    twins.changes_hands("another");
    while twins.attend().is_some() || twins.more {}
    assert_eq!(twins.waiting(), 0);
    twins.tells(twins.stream, "2");
    twins.tells(twins.stream, "3");
    assert_eq!(
        twins.waiting(),
        1,
        "another change, which waits in its turn"
    );
    twins.tells(twins.native, "3");
    assert_eq!(twins.waiting(), 0);
}

#[test]
fn a_question_finds_what_has_just_changed() {
    let mut twins = Twins::new();
    twins.catch_up();
    twins.core.pod(twins.stream, pod("p1").version("2"));
    let now = twins.core.now;
    twins.compared.catch_up(&mut twins.core.feeds, now);
    assert_eq!((twins.differing(), twins.waiting()), (1, 0));
}

#[test]
fn a_question_does_not_wait_for_much() {
    let mut twins = Twins::new();
    twins.catch_up();
    for n in 0..PODS {
        twins.core.pod(twins.stream, pod(&format!("new{n}")));
        twins.attend();
    }
    let now = twins.core.now;
    twins.compared.catch_up(&mut twins.core.feeds, now);
    let (differ, wait) = (twins.differing(), twins.waiting());
    assert!(differ > 0 && wait > 0, "{differ} {wait}");
    assert_eq!(differ as usize + wait, PODS);
}

#[test]
fn what_waits_when_the_watcher_goes_is_found_when_it_is_back() {
    let mut twins = Twins::new();
    twins.catch_up();
    twins.tells(twins.native, "2");
    twins.core.close(twins.stream);
    assert_eq!(twins.attend(), Some(Pause::NoStream));
    assert_eq!(twins.waiting(), 0);
    twins.core.now += secs(100);
    twins.stream_opens();
    twins.catch_up();
    assert_eq!(twins.differing(), 1);
    twins.goes_by(9);
    assert_eq!(twins.counted(), 0, "its clock began with the comparison");
}

/// A stream and the native watches, both listed, with the same pods; the first pod has an owner.
struct Twins {
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

impl Twins {
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
    fn tells(&mut self, feed: Generation, version: &str) {
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
