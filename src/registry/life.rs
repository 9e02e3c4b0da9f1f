//! How watches begin and end.

use std::sync::Arc;

use super::{
    Inner, Scope, State,
    area::Area,
    clock,
    record::{Flight, Record, User, UserId},
    store::Store,
    writer::{Mode, Writer},
};
use crate::{
    enrich::{index::KindIndex, plan::Needs, resource::Resource, view::Trouble},
    model,
    source::native::{Sink, decode::Keep},
};

impl Inner {
    /// A user comes.
    pub(super) fn register(
        self: &Arc<Self>,
        resource: Resource,
        scope: Scope,
        needs: Needs,
        name: &str,
    ) -> UserId {
        let id = UserId(self.number());
        let mut state = self.state();
        let user = User {
            name: name.to_owned(),
            area: Area::of(resource, scope),
            needs,
            started: false,
            is_matcher: false,
        };
        if let Some(slot) = state.slot(resource) {
            let record = slot.get_or_insert_default();
            record.ends_at = None;
            record.users.insert(id, user);
            self.widen_needs(record, self.store(resource));
            state.ended.remove(&resource);
        }
        drop(state);
        self.moved();
        id
    }

    /// A user wants the objects.
    pub(super) fn start(self: &Arc<Self>, resource: Resource, user: UserId) {
        let mut state = self.state();
        if state.stopped {
            return;
        }
        if let Some(record) = state.record_mut(resource)
            && let Some(user) = record.users.get_mut(&user)
        {
            user.started = true;
            self.widen(record, resource);
        }
        drop(state);
        self.moved();
    }

    /// A user goes.
    pub(super) fn release(&self, resource: Resource, user: UserId) {
        let mut state = self.state();
        let linger = state.linger;
        let Some(record) = state.record_mut(resource) else {
            return;
        };
        if record.users.remove(&user).is_none() {
            return;
        }
        if record.is_idle() {
            record.ends_at = Some(clock::instant() + linger);
            if linger.is_zero() {
                self.evict(&mut state, resource);
            }
        } else if record.wanted().is_none_or(|wanted| record.covers(&wanted)) {
            cancel(&mut record.pending);
        }
        drop(state);
        self.wake.notify_one();
        self.moved();
    }

    /// Whether a user has what it needs; `None`: it may have it soon.
    pub(super) fn is_ready(&self, resource: Resource, user: UserId) -> Option<bool> {
        let state = self.state();
        let record = state.record(resource).filter(|_| !state.stopped);
        let Some((record, user)) =
            record.and_then(|record| Some((record, record.users.get(&user)?)))
        else {
            return Some(false);
        };
        if !user.started {
            return None;
        }
        let store = self.store(resource);
        let fails = match store.trouble() {
            Some(Trouble::Forbidden | Trouble::Unreachable) => true,
            Some(Trouble::Pending | Trouble::Listing) | None => false,
        };
        match (record.covers(&user.area), store.is_listed()) {
            (true, true) => (fails || record.refill.is_none()).then_some(true),
            (true, false) => fails.then_some(false),
            (false, _) => record.pending.is_none().then_some(false),
        }
    }

    /// Watches as much as its users want, and adds what is to be kept of more.
    pub(super) fn widen(self: &Arc<Self>, record: &mut Record, resource: Resource) {
        record.retry_at = None;
        let store = self.store(resource);
        let Some(wanted) = record.wanted() else {
            return;
        };
        match &record.active {
            None => {
                let flight = self.launch(resource, wanted, Mode::Main);
                record.active = Some(flight);
            }
            Some(active) if active.area.covers(&wanted) => cancel(&mut record.pending),
            Some(active) => {
                let pending = record.pending.as_ref();
                if pending.is_none_or(|pending| !pending.area.covers(&wanted)) {
                    cancel(&mut record.pending);
                    let area = wanted.and(&active.area);
                    let retention = store.read().index.retention();
                    let index = Box::new(store.alongside(retention));
                    let staging = Mode::Staging { index, poor: false };
                    record.pending = Some(self.launch(resource, area, staging));
                }
            }
        }
        self.refill(record, store);
    }

    /// Has more kept of objects, if a user needs more.
    fn widen_needs(&self, record: &mut Record, store: &Store) {
        let wanted = record.wanted_needs();
        if record.needs.cover(&wanted) && store.keep().is_some() {
            return;
        }
        record.needs.unite(&wanted);
        record.refill_due = record.active.is_some();
        store.set_keep(Some(Keep {
            resource: store.resource,
            needs: record.needs.clone(),
            number: self.number(),
        }));
    }

    /// Lists what is to be kept of more, if that is due.
    fn refill(self: &Arc<Self>, record: &mut Record, store: &Store) {
        let Some(active) = record.active.as_ref().filter(|_| record.refill_due) else {
            return;
        };
        record.refill_due = false;
        let area = active.area.clone();
        cancel(&mut record.refill);
        record.refill = Some(self.launch(store.resource, area, Mode::Refill));
    }

    fn launch(self: &Arc<Self>, resource: Resource, area: Area, mode: Mode) -> Flight {
        let store = self.store(resource);
        let number = self.number();
        {
            let mut shelf = store.write();
            match mode {
                Mode::Main => shelf.writer = number,
                Mode::Refill => {
                    shelf.refill = number;
                    shelf.poor = false;
                    shelf.gone.clear();
                }
                Mode::Staging { .. } | Mode::Over => {}
            }
        }
        let parts = area.parts(resource, &self.namespaces);
        let writer = Arc::new(Writer::new(self, store, number, parts.clone(), mode));
        let stop = self.stop.child_token();
        for (part, scope) in (0..=u16::MAX).map(model::Scope).zip(&parts) {
            let sink: Arc<dyn Sink> = writer.clone();
            let watch = self.edge.watch(resource, scope, part, sink);
            let watch = stop.clone().run_until_cancelled_owned(watch);
            self.tasks.spawn_on(watch, &self.runtime);
        }
        Flight {
            number,
            area,
            stop,
            lent: false,
        }
    }

    /// The record of a kind goes, and what it knows.
    pub(super) fn evict(&self, state: &mut State, resource: Resource) {
        let retention = state.retention;
        let Some(slot) = state.slot(resource) else {
            return;
        };
        let Some(mut record) = slot.take() else {
            return;
        };
        let store = self.store(resource);
        let was_watched = record.active.is_some();
        match record.active.take_if(|active| active.lent) {
            // The matcher goes on with it, and nothing is kept of what it sees.
            Some(lent) => {
                let number = lent.number;
                record.stop();
                *slot = Some(Record {
                    users: record.users,
                    active: Some(lent),
                    ..Record::default()
                });
                store.empty(retention);
                store.write().writer = number;
            }
            None => {
                record.stop();
                store.empty(retention);
            }
        }
        if was_watched {
            state.ended.insert(resource);
        }
    }

    // === what writers say ===

    /// A wider watch has listed, with these objects: it takes the place of the active one. Not if
    /// it was given up meanwhile: then `false`.
    pub(super) fn publish(
        self: &Arc<Self>,
        store: &Arc<Store>,
        number: u64,
        mut index: KindIndex,
        poor: bool,
    ) -> bool {
        let mut state = self.state();
        let Some(record) = state.record_mut(store.resource) else {
            return false;
        };
        let Some(pending) = record.pending.take_if(|pending| pending.number == number) else {
            return false;
        };
        let before = {
            let mut shelf = store.write();
            index.succeed(&shelf.index, self.clock.now());
            shelf.writer = number;
            std::mem::replace(&mut shelf.index, index)
        };
        store.set_sync(true, None);
        let narrow = record.active.replace(pending);
        if let Some(narrow) = narrow {
            narrow.stop.cancel();
        }
        record.refill_due = poor;
        cancel(&mut record.refill);
        self.refill(record, store);
        drop(state);
        self.moved();
        // Long in dropping: under no lock.
        drop(before);
        true
    }

    /// A wider watch has failed: it is given up, and another one is tried later.
    pub(super) fn give_up(&self, resource: Resource, number: u64) {
        let mut state = self.state();
        let Some(record) = state.record_mut(resource) else {
            return;
        };
        let Some(pending) = record.pending.take_if(|pending| pending.number == number) else {
            return;
        };
        pending.stop.cancel();
        record.retry_at = Some(clock::instant() + self.retry);
        drop(state);
        self.wake.notify_one();
        self.moved();
    }

    /// A list that adds what is to be kept of more has ended.
    pub(super) fn refilled(self: &Arc<Self>, store: &Arc<Store>, number: u64) {
        let mut state = self.state();
        let Some(record) = state.record_mut(store.resource) else {
            return;
        };
        let Some(refill) = record.refill.take_if(|refill| refill.number == number) else {
            return;
        };
        refill.stop.cancel();
        record.refill_due = {
            let mut shelf = store.write();
            shelf.refill = 0;
            shelf.gone.clear();
            shelf.poor
        };
        // A watch that was there before anything was to be kept does not list again for it.
        store.set_listed();
        self.refill(record, store);
        drop(state);
        self.moved();
    }
}

fn cancel(flight: &mut Option<Flight>) {
    if let Some(flight) = flight.take() {
        flight.stop.cancel();
    }
}
