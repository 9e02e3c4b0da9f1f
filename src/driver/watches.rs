//! What the driver knows of our own watches: how they fare, and how much they have told.

use std::collections::BTreeMap;

use crate::{
    matcher::Generation,
    model::{Kind, Scope},
    source::{FeedEvent, WatchHealth},
};

/// Pods, ReplicaSets and Jobs.
const KINDS: usize = 3;

/// Our own watches.
pub(super) struct Watched {
    pub(super) feed: Generation,
    /// How many there are.
    watches: usize,
    /// Of those that have said how they fare.
    health: BTreeMap<(Kind, Scope), WatchHealth>,
    /// Events taken so far, list marks included.
    events: BTreeMap<Kind, u64>,
}

impl Watched {
    /// One for each kind in each scope.
    pub(super) fn new(feed: Generation, scopes: u16) -> Self {
        Self {
            feed,
            watches: KINDS * usize::from(scopes.max(1)),
            health: BTreeMap::new(),
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
        self.health.insert((kind, scope), health);
    }

    /// How many watches there are, and how many of them are not well: fail, are refused, or
    /// have not heard from the server yet.
    pub(super) fn health(&self) -> (usize, usize) {
        let all = self.health.values();
        let well = all.filter(|health| **health == WatchHealth::Well).count();
        (self.watches, self.watches.saturating_sub(well))
    }

    /// How many watches fail. One that is refused is none of them (D4).
    pub(super) fn failing(&self) -> usize {
        let all = self.health.values();
        all.filter(|health| **health == WatchHealth::Failing)
            .count()
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

    #[test]
    fn a_watch_that_has_said_nothing_yet_is_not_well_and_does_not_fail() {
        let mut watched = Watched::new(Generation(1), 2);
        assert_eq!((watched.health(), watched.failing()), ((6, 6), 0));
        for (kind, scope, health) in [
            (Kind::Pod, 0, WatchHealth::Well),
            (Kind::Pod, 1, WatchHealth::Failing),
            (Kind::Job, 0, WatchHealth::Denied),
        ] {
            watched.fares(kind, Scope(scope), health);
        }
        assert_eq!((watched.health(), watched.failing()), ((6, 5), 1));
    }
}
