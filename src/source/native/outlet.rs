//! Where what a watch sees goes: in batches to the loop, or at once into a store.

use std::{sync::Arc, time::Instant};

use kube::runtime::watcher::Event;

use super::unmatched::Kept;
use crate::{
    model::{Kind, Scope, Stored, Uid},
    source::{FeedEvent, WatchFailure, WatchHealth, WatchMessage},
};

/// A batch never has more events.
const BATCH: usize = 256;

/// What one watch sees goes here.
pub(super) struct Outlet<T> {
    kind: Kind,
    scope: Scope,
    to: To<T>,
    batch: Vec<FeedEvent>,
    /// Events that went into the store since the last flush.
    stored: usize,
}

/// Where it goes.
pub(super) enum To<T> {
    /// To the loop, as these facts.
    Loop(fn(Event<T>) -> FeedEvent),
    /// Into the store of a kind that the matcher does not use.
    Store(Arc<Kept<T>>),
}

impl<T: Stored> Outlet<T> {
    pub(super) fn new(kind: Kind, scope: Scope, to: To<T>) -> Self {
        Self {
            kind,
            scope,
            to,
            batch: Vec::new(),
            stored: 0,
        }
    }

    /// Takes an event.
    pub(super) fn take(&mut self, event: Event<T>) {
        match &self.to {
            To::Loop(fact) => self.batch.push(fact(event)),
            To::Store(kept) => {
                self.stored += 1;
                kept.take(self.scope, event);
            }
        }
    }

    /// A list names this object, but in a form that cannot be used.
    pub(super) fn see(&mut self, uid: Uid) {
        match &self.to {
            To::Loop(_) => self.batch.push(FeedEvent::Seen(self.kind, Box::new(uid))),
            To::Store(kept) => kept.seen(self.scope, &uid),
        }
    }

    /// Whether it is time to flush.
    pub(super) fn is_full(&self) -> bool {
        self.batch.len().max(self.stored) >= BATCH
    }

    /// The next batch for the loop; `None` if there is nothing to send.
    pub(super) fn flush(&mut self, now: impl FnOnce() -> Instant) -> Option<WatchMessage> {
        if let To::Store(kept) = &self.to
            && std::mem::take(&mut self.stored) > 0
        {
            kept.heard(self.scope, now());
        }
        if self.batch.is_empty() {
            return None;
        }
        let events = if self.batch.len() <= BATCH {
            std::mem::take(&mut self.batch)
        } else {
            self.batch.drain(..BATCH).collect()
        };
        let scope = self.scope;
        Some(WatchMessage::Batch { scope, events })
    }

    /// Notes how the watch stands. Gives what the loop is to be sent of it.
    pub(super) fn changed(
        &self,
        health: WatchHealth,
        since: Instant,
        last_failure: Option<WatchFailure>,
    ) -> Option<WatchMessage> {
        let (kind, scope) = (self.kind, self.scope);
        match &self.to {
            To::Loop(_) => Some(WatchMessage::Health {
                kind,
                scope,
                health,
                since,
                last_failure,
            }),
            To::Store(kept) => {
                kept.changed(scope, health, since, last_failure);
                None
            }
        }
    }
}
