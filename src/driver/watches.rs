//! What the driver knows of our own watches: how they fare, and how much they have told.

use std::collections::BTreeMap;

use tracing::{info, warn};

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
            FeedEvent::Listed => return,
        };
        *self.events.entry(kind).or_default() += 1;
    }

    /// Notes how a watch fares, and logs it if that is news.
    pub(super) fn fares(&mut self, kind: Kind, scope: Scope, health: WatchHealth) {
        if self.health.insert((kind, scope), health) == Some(health) {
            return;
        }
        let scope = scope.0;
        match health {
            WatchHealth::Well => info!(?kind, scope, "watch is well"),
            WatchHealth::Denied => warn!(
                ?kind,
                scope,
                "watch is denied: what it has told stays, what it has not is taken for empty"
            ),
            WatchHealth::Failing => warn!(?kind, scope, "watch is failing, it is tried again"),
        }
    }

    /// As `Pod:12 ReplicaSet:3`.
    pub(super) fn progress(&self) -> String {
        let kinds = self.events.iter();
        let kinds: Vec<_> = kinds.map(|(kind, n)| format!("{kind:?}:{n}")).collect();
        kinds.join(" ")
    }
}
