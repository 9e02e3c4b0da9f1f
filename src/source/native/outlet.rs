//! Where what a watch sees goes: in batches to the loop, or at once into a store, or to both.
//! What goes to both is in the store before the loop has it.

use std::{sync::Arc, time::Instant};

use kube::runtime::watcher::Event;

use super::{
    Sink,
    decode::{Decoding, Pair},
    unmatched::Kept,
};
use crate::{
    enrich::object::Object,
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
    /// When what comes now was read.
    read: Option<Instant>,
    /// When the first event of the batch was.
    oldest: Option<Instant>,
    /// Events that went into the store since the last flush.
    stored: usize,
    /// The number of what was kept of them.
    kept: u64,
    /// The loop takes what it sees.
    is_matched: bool,
}

/// Where it goes.
pub(super) enum To<T> {
    /// To the loop, as these facts.
    Loop(fn(Event<T>) -> FeedEvent),
    /// Into the store of a kind that the matcher does not use.
    Store(Arc<Kept<T>>),
    /// To enrichment, and perhaps to the loop, too.
    Sink(fn(Event<T>) -> Both, Arc<dyn Sink>),
}

/// An event, for the loop and for enrichment.
pub(super) struct Both {
    pub(super) fact: Option<FeedEvent>,
    /// Not there if nothing is kept of the object.
    pub(super) object: Option<Event<Object>>,
}

impl<T: Stored> Outlet<T> {
    pub(super) fn new(kind: Kind, scope: Scope, to: To<T>) -> Self {
        let is_matched = matches!(to, To::Loop(_));
        Self {
            kind,
            scope,
            to,
            batch: Vec::new(),
            read: None,
            oldest: None,
            stored: 0,
            kept: 0,
            is_matched,
        }
    }

    /// The same, and the loop takes what it sees.
    pub(super) fn matched(self) -> Self {
        Self {
            is_matched: true,
            ..self
        }
    }

    /// What is to be kept of objects that are read from now on.
    pub(super) fn keep(&mut self, decoding: &mut Decoding) {
        if let To::Sink(_, sink) = &self.to {
            decoding.keep = sink.keep();
            self.kept = decoding.keep.as_ref().map_or(0, |keep| keep.number);
        }
    }

    /// The server was heard, whatever it said.
    pub(super) fn heard(&self) {
        if let To::Sink(_, sink) = &self.to {
            sink.heard(self.scope, 0);
        }
    }

    /// What is taken from here on was read then.
    pub(super) fn reads(&mut self, at: Instant) {
        self.read = Some(at);
    }

    /// Takes an event.
    pub(super) fn take(&mut self, event: Event<T>) {
        match &self.to {
            To::Loop(fact) => {
                self.oldest = self.oldest.or(self.read);
                self.batch.push(fact(event));
            }
            To::Store(kept) => {
                self.stored += 1;
                kept.take(self.scope, event);
            }
            To::Sink(both, sink) => {
                let Both { fact, object } = both(event);
                if let Some(object) = object {
                    self.stored += 1;
                    sink.take(self.scope, object, self.kept);
                }
                self.batch.extend(fact);
            }
        }
    }

    /// A list names this object, but in a form that cannot be used.
    pub(super) fn see(&mut self, uid: Uid) {
        match &self.to {
            To::Loop(_) => {
                self.oldest = self.oldest.or(self.read);
                self.batch.push(FeedEvent::Seen(self.kind, Box::new(uid)));
            }
            To::Store(kept) => kept.seen(self.scope, &uid),
            To::Sink(_, sink) => {
                sink.seen(self.scope, &uid);
                if self.is_matched {
                    self.batch.push(FeedEvent::Seen(self.kind, Box::new(uid)));
                }
            }
        }
    }

    /// Whether it is time to flush.
    pub(super) fn is_full(&self) -> bool {
        self.batch.len().max(self.stored) >= BATCH
    }

    /// The next batch for the loop; `None` if there is nothing to send.
    pub(super) fn flush(&mut self, now: impl Fn() -> Instant) -> Option<WatchMessage> {
        match (&self.to, std::mem::take(&mut self.stored)) {
            (_, 0) | (To::Loop(_), _) => {}
            (To::Store(kept), _) => kept.heard(self.scope, now()),
            (To::Sink(_, sink), stored) => sink.heard(self.scope, stored),
        }
        if self.batch.is_empty() {
            return None;
        }
        let read = self.oldest.unwrap_or_else(now);
        let events = if self.batch.len() <= BATCH {
            self.oldest = None;
            std::mem::take(&mut self.batch)
        } else {
            self.batch.drain(..BATCH).collect()
        };
        Some(WatchMessage::Batch {
            scope: self.scope,
            events,
            read,
        })
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
            To::Loop(_) => {}
            To::Store(kept) => {
                kept.changed(scope, health, since, last_failure);
                return None;
            }
            To::Sink(_, sink) => {
                sink.changed(scope, health, last_failure.as_ref());
                if !self.is_matched {
                    return None;
                }
            }
        }
        Some(WatchMessage::Health {
            kind,
            scope,
            health,
            since,
            last_failure,
        })
    }
}

impl Both {
    /// Of a watch that serves the loop, as this fact, and enrichment.
    pub(super) fn split<T>(event: Event<Pair<T>>, fact: fn(Event<T>) -> FeedEvent) -> Self {
        let (core, object) = match event {
            Event::Init => (Event::Init, Some(Event::Init)),
            Event::InitDone => (Event::InitDone, Some(Event::InitDone)),
            Event::InitApply(Pair { core, object }) => {
                (Event::InitApply(core), object.map(Event::InitApply))
            }
            Event::Apply(Pair { core, object }) => (Event::Apply(core), object.map(Event::Apply)),
            Event::Delete(Pair { core, object }) => {
                (Event::Delete(core), object.map(Event::Delete))
            }
        };
        Self {
            fact: Some(fact(core)),
            object,
        }
    }
}
