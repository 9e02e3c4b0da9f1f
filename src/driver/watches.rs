//! What the driver knows of our own watches: how they fare, and how much they have told.

use std::collections::BTreeMap;

use crate::{
    matcher::Generation,
    model::{Kind, Scope},
    source::{FeedEvent, WatchHealth},
};

/// Pods, ReplicaSets and Jobs.
const KINDS: usize = 3;

/// How one watch fares.
#[derive(Clone, Copy, Debug)]
struct Fares {
    health: WatchHealth,
    /// It has been well, now or before: what it told then is still told.
    was_well: bool,
}

/// How many watches there are, and of those how many are not as they should be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// How many there are.
    pub(super) watches: usize,
    /// Fail, are refused, or have not heard from the server yet.
    pub(super) unwell: usize,
    /// What they have told grows old: they fail, or are refused what they were allowed before.
    pub(super) failing: usize,
    /// Of those, how many are refused.
    pub(super) revoked: usize,
}

/// Our own watches.
pub(super) struct Watched {
    pub(super) feed: Generation,
    /// How many there are.
    watches: usize,
    /// Of those that have said how they fare.
    fares: BTreeMap<(Kind, Scope), Fares>,
    /// Events taken so far, list marks included.
    events: BTreeMap<Kind, u64>,
}

impl Watched {
    /// One for each kind in each scope.
    pub(super) fn new(feed: Generation, scopes: u16) -> Self {
        Self {
            feed,
            watches: KINDS * usize::from(scopes.max(1)),
            fares: BTreeMap::new(),
            events: BTreeMap::new(),
        }
    }

    pub(super) fn count(&mut self, event: &FeedEvent) {
        let kind = match event {
            FeedEvent::Pod(_) => Kind::Pod,
            FeedEvent::ReplicaSet(_) => Kind::ReplicaSet,
            FeedEvent::Job(_) => Kind::Job,
            FeedEvent::Seen(kind, _) => *kind,
            FeedEvent::Listed => return,
        };
        *self.events.entry(kind).or_default() += 1;
    }

    /// Notes how a watch fares. The watch itself logs it, with the reason.
    pub(super) fn fares(&mut self, kind: Kind, scope: Scope, health: WatchHealth) {
        let before = self.fares.get(&(kind, scope));
        let was_well = health == WatchHealth::Well || before.is_some_and(|before| before.was_well);
        let fares = Fares { health, was_well };
        self.fares.insert((kind, scope), fares);
    }

    /// One that was never allowed is not well, but does not fail: nothing is missing from what
    /// it has told (D4).
    pub(super) fn tally(&self) -> Tally {
        let mut tally = Tally {
            watches: self.watches,
            unwell: self.watches,
            ..Tally::default()
        };
        for fares in self.fares.values() {
            match fares.health {
                WatchHealth::Well => tally.unwell = tally.unwell.saturating_sub(1),
                WatchHealth::Failing => tally.failing += 1,
                WatchHealth::Denied => tally.revoked += usize::from(fares.was_well),
            }
        }
        tally.failing += tally.revoked;
        tally
    }

    /// As `Pod:12 ReplicaSet:3`.
    pub(super) fn progress(&self) -> String {
        let kinds = self.events.iter();
        let kinds: Vec<_> = kinds.map(|(kind, n)| format!("{kind:?}:{n}")).collect();
        kinds.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(unwell: usize, failing: usize, revoked: usize) -> Tally {
        Tally {
            watches: 6,
            unwell,
            failing,
            revoked,
        }
    }

    #[test]
    fn a_watch_that_has_said_nothing_yet_is_not_well_and_does_not_fail() {
        let mut watched = Watched::new(Generation(1), 2);
        assert_eq!(watched.tally(), tally(6, 0, 0));
        watched.fares(Kind::Pod, Scope(0), WatchHealth::Well);
        watched.fares(Kind::Pod, Scope(1), WatchHealth::Failing);
        assert_eq!(watched.tally(), tally(5, 1, 0));
    }

    #[test]
    fn a_watch_that_is_refused_fails_only_if_it_has_been_well() {
        let mut watched = Watched::new(Generation(1), 2);
        for (health, unwell, failing, revoked) in [
            (WatchHealth::Denied, 6, 0, 0),
            (WatchHealth::Failing, 6, 1, 0),
            (WatchHealth::Denied, 6, 0, 0),
            (WatchHealth::Well, 5, 0, 0),
            (WatchHealth::Denied, 6, 1, 1),
            (WatchHealth::Failing, 6, 1, 0),
            (WatchHealth::Denied, 6, 1, 1),
            (WatchHealth::Well, 5, 0, 0),
        ] {
            watched.fares(Kind::Pod, Scope(0), health);
            assert_eq!(watched.tally(), tally(unwell, failing, revoked));
        }
        watched.fares(Kind::Pod, Scope(1), WatchHealth::Denied);
        watched.fares(Kind::Job, Scope(0), WatchHealth::Denied);
        assert_eq!(watched.tally(), tally(5, 0, 0), "each watch for itself");
    }
}
