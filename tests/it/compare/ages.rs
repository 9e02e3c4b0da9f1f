//! Settling, hold and pauses, by a hand-moved clock.

use std::time::{Duration, Instant};

use k8s_relay::{
    feeds::SourceKind,
    migrate::{
        Switch,
        compare::{Comparison, Turn},
    },
    model::Slot,
};

use super::*;
use crate::support::core::{pod, secs};

const SETTLE: Duration = Duration::from_secs(10);

/// A comparison at whose times one can look.
struct Watch {
    comparison: Comparison,
    now: Instant,
}

impl Watch {
    fn stopped() -> Self {
        Self {
            comparison: Comparison::new(SETTLE),
            now: origin(),
        }
    }

    fn running() -> Self {
        let mut watch = Self::stopped();
        watch.comparison.start(watch.now);
        watch
    }

    fn pass(&mut self, seconds: u64) {
        self.now += secs(seconds);
    }

    /// The pod of this name is sent in one of two versions by the native feed.
    fn differ(&mut self, name: &str) {
        let (one, other) = (live(pod(name)), live(pod(name).version("2")));
        refresh(&mut self.comparison, name, &one, &other, self.now);
    }

    /// The same of a pod that has been so for some seconds.
    fn differs_since(&mut self, seconds: u64, name: &str) {
        let (one, other) = (live(pod(name)), live(pod(name).version("2")));
        let (uid, long) = (Uid::new(name), secs(seconds));
        self.comparison
            .refresh_late(&uid, one.seen(), other.seen(), long, self.now);
    }

    fn agree(&mut self, name: &str) {
        let one = live(pod(name));
        refresh(&mut self.comparison, name, &one, &one, self.now);
    }

    fn start(&mut self) {
        self.comparison.start(self.now);
    }

    fn pause(&mut self) {
        self.comparison.pause(self.now);
    }

    /// Counted, not yet counted, seconds held.
    fn shows(&mut self) -> (u64, u64, u64) {
        let parity = self.comparison.parity(self.now);
        (parity.counted, parity.unsettled, parity.held.as_secs())
    }

    /// Seconds until the next divergence counts.
    fn due(&self) -> Option<u64> {
        let due = self.comparison.poll_timeout()?;
        Some(due.saturating_duration_since(self.now).as_secs())
    }
}

#[test]
fn a_divergence_counts_once_it_has_stood_for_the_settle_window() {
    let mut watch = Watch::running();
    watch.differ("p");
    watch.pass(9);
    assert_eq!((watch.shows(), watch.due()), ((0, 1, 9), Some(1)));
    watch.pass(1);
    assert_eq!((watch.shows(), watch.due()), ((1, 0, 0), None));
}

#[test]
fn a_divergence_that_ends_in_time_never_counts_and_a_new_one_begins_again() {
    let mut watch = Watch::running();
    for _ in 0..5 {
        watch.differ("p");
        watch.pass(9);
        watch.agree("p");
    }
    assert_eq!(watch.shows(), (0, 0, 45));
    watch.differ("p");
    assert_eq!(watch.due(), Some(10));
}

#[test]
fn a_divergence_that_is_sent_again_goes_on_and_another_field_has_its_own_time() {
    let mut watch = Watch::running();
    watch.differ("p");
    watch.pass(6);
    let legacy = live(pod("p"));
    let native = live(pod("p").version("3").address(9));
    refresh(&mut watch.comparison, "p", &legacy, &native, watch.now);
    watch.pass(4);
    assert_eq!((watch.shows(), watch.due()), ((1, 1, 0), Some(6)));
}

#[test]
fn the_hold_begins_when_the_last_one_that_counted_ends() {
    let mut watch = Watch::running();
    watch.differ("p");
    watch.differ("q");
    watch.pass(20);
    watch.agree("p");
    watch.pass(5);
    assert_eq!(watch.shows(), (1, 0, 0));
    watch.agree("q");
    watch.pass(3);
    assert_eq!(watch.shows(), (0, 0, 3));
}

#[test]
fn a_divergence_that_counted_while_nobody_looked_ends_the_hold_nevertheless() {
    let mut watch = Watch::running();
    watch.differ("p");
    watch.pass(100);
    watch.agree("p");
    assert_eq!(watch.shows(), (0, 0, 0));
    watch.pass(2);
    assert_eq!(watch.shows(), (0, 0, 2));
}

#[test]
fn a_pause_adds_nothing_and_takes_nothing_away() {
    let mut watch = Watch::stopped();
    watch.pass(1_000);
    assert_eq!(watch.shows(), (0, 0, 0));
    watch.start();
    watch.pass(5);
    watch.differ("p");
    watch.pass(4);
    watch.pause();
    watch.pass(1_000);
    assert!(!watch.comparison.parity(watch.now).comparing);
    assert_eq!((watch.shows(), watch.due()), ((0, 1, 9), None));
    watch.start();
    assert!(watch.comparison.parity(watch.now).comparing);
    assert_eq!((watch.shows(), watch.due()), ((0, 1, 9), Some(6)));
    watch.pass(5);
    watch.agree("p");
    watch.pass(1);
    assert_eq!(watch.shows(), (0, 0, 15));
}

#[test]
fn what_begins_or_ends_in_a_pause_does_so_when_the_clock_stood() {
    let mut watch = Watch::running();
    watch.differ("p");
    watch.pass(15);
    watch.pause();
    watch.pass(100);
    watch.agree("p");
    watch.differ("q");
    watch.pass(100);
    watch.start();
    watch.pass(9);
    assert_eq!(watch.shows(), (0, 1, 9));
    watch.pass(1);
    assert_eq!(watch.shows(), (1, 0, 0));
}

#[test]
fn starting_and_pausing_twice_is_starting_and_pausing_once() {
    let mut watch = Watch::running();
    watch.pass(5);
    watch.start();
    watch.pass(5);
    watch.pause();
    watch.pause();
    watch.pass(5);
    watch.pause();
    assert_eq!(watch.shows(), (0, 0, 10));
}

#[test]
fn a_clock_that_stands_or_goes_back_ages_nothing() {
    let mut watch = Watch::running();
    watch.pass(50);
    watch.differ("p");
    for _ in 0..100 {
        watch.agree("q");
    }
    assert_eq!((watch.shows(), watch.due()), ((0, 1, 50), Some(10)));
    watch.now -= secs(30);
    watch.agree("p");
    watch.differ("p");
    assert_eq!(watch.shows(), (0, 1, 50));
    watch.pass(35);
    assert_eq!(watch.shows(), (0, 1, 55));
    watch.pass(5);
    assert_eq!(watch.shows(), (1, 0, 0));
}

#[test]
fn a_divergence_that_is_found_late_is_as_old_as_it_is() {
    let mut watch = Watch::running();
    watch.pass(20);
    watch.differ("young");
    watch.differs_since(4, "old");
    assert_eq!(watch.due(), Some(6));
    let (first, uid) = watch.comparison.differing_at_or_after(Turn::FIRST).unwrap();
    assert_eq!(uid, Uid::new("old"));
    let (_, uid) = watch
        .comparison
        .differing_at_or_after(first.next())
        .unwrap();
    assert_eq!(uid, Uid::new("young"));
    watch.pass(6);
    assert_eq!((watch.shows(), watch.due()), ((1, 1, 0), Some(4)));
    watch.agree("old");
    assert_eq!(watch.shows(), (0, 1, 0));
    watch.pass(4);
    assert_eq!(watch.shows(), (1, 0, 0));
}

#[test]
fn a_divergence_that_is_found_after_the_settle_window_counts_at_once() {
    let mut watch = Watch::running();
    watch.pass(20);
    watch.differs_since(12, "p");
    assert_eq!(watch.shows(), (1, 0, 0));
    watch.differs_since(15, "q");
    assert_eq!(
        watch.shows(),
        (2, 0, 0),
        "although it is older than one that counts"
    );
    watch.agree("p");
    watch.agree("q");
    assert_eq!(watch.shows(), (0, 0, 0));
}

#[test]
fn a_divergence_is_no_older_than_the_clock_has_run_since_it_was_started() {
    let mut watch = Watch::running();
    watch.pass(100);
    watch.pause();
    watch.pass(100);
    watch.differs_since(50, "in the pause");
    watch.start();
    assert_eq!(watch.due(), Some(10));
    watch.agree("in the pause");
    watch.pass(3);
    watch.differs_since(50, "p");
    assert_eq!(watch.due(), Some(7));
    watch.comparison.skip(watch.now + secs(60));
    watch.pass(62);
    watch.differs_since(50, "q");
    assert_eq!((watch.shows(), watch.due()), ((0, 2, 105), Some(5)));
    watch.pass(5);
    assert_eq!((watch.shows(), watch.due()), ((1, 1, 0), Some(3)));
}

#[test]
fn a_window_without_end_never_ends() {
    let mut comparison = Comparison::new(Duration::MAX);
    comparison.start(origin());
    let (one, other) = (live(pod("p")), live(pod("p").version("2")));
    refresh(&mut comparison, "p", &one, &other, origin() + secs(5));
    assert_eq!(comparison.poll_timeout(), None);
    assert_eq!(comparison.parity(origin() + secs(1_000_000)).counted, 0);
}

#[test]
fn a_window_of_no_length_counts_at_once() {
    let mut comparison = Comparison::new(Duration::ZERO);
    comparison.start(origin());
    let (one, other) = (live(pod("p")), live(pod("p").version("2")));
    refresh(&mut comparison, "p", &one, &other, origin());
    assert_eq!(comparison.poll_timeout(), Some(origin()));
    comparison.handle_timeout(origin());
    assert_eq!(comparison.poll_timeout(), None);
    assert_eq!(comparison.parity(origin()).counted, 1);
}

#[test]
fn a_pod_that_is_gone_from_both_feeds_differs_no_longer() {
    let mut watch = Watch::running();
    watch.differ("p");
    watch.pass(20);
    refresh(&mut watch.comparison, "p", &UNKNOWN, &NO_ADDRESS, watch.now);
    assert_eq!(watch.shows(), (0, 0, 0));
    assert!(watch.comparison.is_empty());
}

#[test]
fn pods_can_be_visited_all_or_those_that_differ() {
    let mut watch = Watch::running();
    for name in ["a", "b", "c", "d"] {
        watch.agree(name);
    }
    watch.differ("d");
    watch.differ("b");
    let comparison = &watch.comparison;
    let (mut all, mut differing) = (Vec::new(), Vec::new());
    let mut from = Slot::FIRST;
    while let Some((slot, uid)) = comparison.at_or_after(from) {
        all.push(uid.to_string());
        from = slot.next();
    }
    let mut from = Turn::FIRST;
    while let Some((turn, uid)) = comparison.differing_at_or_after(from) {
        differing.push(uid.to_string());
        from = turn.next();
    }
    assert_eq!(all, ["a", "b", "c", "d"]);
    assert_eq!(differing, ["d", "b"]);
    assert_eq!(from, comparison.next_divergence());
}

#[test]
fn a_switch_announces_deletes_and_changes_what_differs_expected_or_not() {
    let mut comparison = Comparison::new(SETTLE);
    let own = |name: &str| live(pod(name));
    for (uid, legacy, native) in [
        ("equal", own("equal"), own("equal")),
        ("extra", UNKNOWN, own("extra")),
        ("missing", own("missing"), WAITING),
        ("gone", own("gone"), NO_ADDRESS),
        ("other", own("other"), live(pod("other").version("2"))),
        ("early", live(pod("early").running(&[""])), own("early")),
    ] {
        refresh(&mut comparison, uid, &legacy, &native, origin());
    }
    let there = Switch {
        announce: 1,
        delete: 2,
        change: 2,
    };
    let back = Switch {
        announce: 2,
        delete: 1,
        change: 2,
    };
    assert_eq!(comparison.switch(SourceKind::Native), there);
    assert_eq!(comparison.switch(SourceKind::Collect), back);
}
