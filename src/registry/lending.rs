//! The matcher's watches, which serve enrichment, too.
//!
//! While the matcher runs, the watches of its kinds are lent to the registry: what they see is
//! written into the stores before the loop has it, and no other watch of these kinds runs. When
//! they end, the registry goes on with watches of its own, in the same stores.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{
    Inner, Registry,
    area::Area,
    record::{Flight, User, UserId},
    writer::{Mode, Writer},
};
use crate::{
    enrich::{plan::Needs, resource::Resource},
    model::Kind,
    source::native::{Sink, Sinks},
};

/// The matcher's watches, for as long as they run. Dropping it takes them back.
#[derive(Debug)]
#[must_use = "the watches are taken back when this is dropped"]
pub struct Lent {
    inner: Arc<Inner>,
    kinds: Vec<(Resource, UserId)>,
}

impl Registry {
    /// The sinks for the matcher's watches of these kinds, which are about to begin in the
    /// namespaces that the relay is limited to, in their order. Kinds that enrichment does not
    /// know have none.
    pub fn lend(&self, kinds: &[Kind]) -> (Lent, Sinks) {
        let table = Resource::kinds();
        let known = Resource::ALL.into_iter().filter_map(|resource| {
            let kind = resource.find(&table)?;
            kinds.contains(&kind).then_some((resource, kind))
        });
        let mut lent = Lent {
            inner: Arc::clone(&self.inner),
            kinds: Vec::new(),
        };
        let mut sinks = Sinks::new();
        for (resource, kind) in known {
            let (user, sink) = self.inner.borrow(resource);
            lent.kinds.push((resource, user));
            sinks.insert(kind, sink);
        }
        self.inner.moved();
        (lent, sinks)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        for (resource, user) in &self.kinds {
            self.inner.give_back(*resource, *user);
        }
        self.inner.wake.notify_one();
        self.inner.moved();
    }
}

impl Inner {
    /// From now on the matcher's watch writes what is read.
    fn borrow(self: &Arc<Self>, resource: Resource) -> (UserId, Arc<dyn Sink>) {
        let (user, number) = (UserId(self.number()), self.number());
        let store = self.store(resource);
        let parts = Area::Cluster.parts(resource, &self.namespaces);
        let writer = Arc::new(Writer::new(self, store, number, parts, Mode::Main));
        let mut state = self.state();
        if let Some(slot) = state.slot(resource) {
            let record = slot.get_or_insert_default();
            record.stop();
            record.retry_at = None;
            record.refill_due = false;
            record.users.insert(
                user,
                User {
                    name: "matcher".to_owned(),
                    area: Area::Cluster,
                    needs: Needs::default(),
                    started: true,
                    is_matcher: true,
                },
            );
            record.active = Some(Flight {
                number,
                area: Area::Cluster,
                stop: CancellationToken::new(),
                lent: true,
            });
            let mut shelf = store.write();
            shelf.writer = number;
            shelf.refill = 0;
        }
        (user, writer)
    }

    /// The matcher's watch ends: what is still used is watched by one of our own.
    fn give_back(self: &Arc<Self>, resource: Resource, user: UserId) {
        let mut state = self.state();
        let stopped = state.stopped;
        let Some(record) = state.record_mut(resource) else {
            return;
        };
        if record.users.remove(&user).is_none() {
            return;
        }
        record.stop();
        self.store(resource).write().writer = 0;
        if record.users.is_empty() {
            self.evict(&mut state, resource);
        } else if !stopped {
            record.refill_due = false;
            self.widen(record, resource);
        }
    }
}
