//! What the driver knows of our own watches: how they fare, and how much they have told.

use std::collections::BTreeMap;

use crate::{
    matcher::Generation,
    model::{Kind, Scope},
    source::{FeedEvent, WatchHealth},
};

/// Our own watches.
pub(super) struct Watched {
    pub(super) feed: Generation,
    health: BTreeMap<(Kind, Scope), WatchHealth>,
    /// Events taken so far, list marks included.
    events: BTreeMap<Kind, u64>,
}

impl Watched {
    pub(super) fn new(feed: Generation) -> Self {
        Self {
            feed,
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

    /// How many watches there are, and how many of them are not well.
    pub(super) fn health(&self) -> (usize, usize) {
        let unwell = self
            .health
            .values()
            .filter(|health| **health != WatchHealth::Well);
        (self.health.len(), unwell.count())
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
