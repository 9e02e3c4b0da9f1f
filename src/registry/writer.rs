//! What a watch reads, into the store of its kind. Called by the watch's own task; waits for
//! nothing but the lock of the store.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use kube::runtime::watcher::Event;

use super::{Inner, Scope, clock::Clock, store::Store};
use crate::{
    enrich::{index::KindIndex, object::Object, resource::Resource, view::Trouble},
    model::{self, Uid},
    source::{
        WatchFailure, WatchHealth,
        native::{Sink, decode::Keep},
    },
};

/// The sink of the watches that were started together.
pub(super) struct Writer {
    inner: Weak<Inner>,
    store: Arc<Store>,
    clock: Clock,
    number: u64,
    parts: Vec<Scope>,
    writing: Mutex<Writing>,
}

/// What is done with what the watches read.
pub(super) enum Mode {
    /// It is written where it is read.
    Main,
    /// It is written alongside, until all is listed.
    Staging {
        index: Box<KindIndex>,
        /// Something in it was kept less of than is to be.
        poor: bool,
    },
    /// Only the list counts: it says more of objects that are there, and adds those that no watch
    /// has written yet.
    Refill,
    /// Nobody hears it.
    Over,
}

struct Writing {
    mode: Mode,
    parts: Vec<Part>,
}

/// How far the watch of a part is.
#[derive(Default)]
struct Part {
    /// In a list: what was there before and has not come yet.
    unseen: Option<BTreeSet<Uid>>,
    listed: bool,
    health: Option<WatchHealth>,
}

impl Writer {
    pub(super) fn new(
        inner: &Arc<Inner>,
        store: &Arc<Store>,
        number: u64,
        scopes: Vec<Scope>,
        mode: Mode,
    ) -> Self {
        let parts = scopes.iter().map(|_| Part::default()).collect();
        Self {
            inner: Arc::downgrade(inner),
            store: Arc::clone(store),
            clock: inner.clock,
            number,
            parts: scopes,
            writing: Mutex::new(Writing { mode, parts }),
        }
    }

    fn writing(&self) -> MutexGuard<'_, Writing> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is there of a part.
    fn known(&self, part: model::Scope, index: &KindIndex) -> BTreeSet<Uid> {
        let scope = self.parts.get(usize::from(part.0));
        let is_here = |object: &&Object| match scope {
            // If there are several parts they are namespaces.
            Some(Scope::Namespace(namespace)) if self.parts.len() > 1 => {
                match self.store.resource == Resource::Namespace {
                    true => *object.name == **namespace,
                    false => *object.namespace == **namespace,
                }
            }
            Some(Scope::Cluster | Scope::Namespace(_) | Scope::Node(_)) | None => true,
        };
        let here = index.objects().filter(is_here);
        here.map(|object| object.uid.clone()).collect()
    }

    /// Into the store where it is read.
    fn write(&self, part: &mut Part, scope: model::Scope, event: Event<Object>, kept: u64) -> bool {
        let now = self.clock.now();
        let store = &self.store;
        match event {
            // A list of which nothing is kept says nothing.
            Event::Init if kept == 0 => (part.unseen, part.listed) = (None, false),
            Event::Init => {
                let shelf = store.read();
                part.unseen = Some(self.known(scope, &shelf.index));
            }
            Event::InitApply(object) => {
                if let Some(unseen) = &mut part.unseen {
                    unseen.remove(&object.uid);
                }
                let mut shelf = store.write();
                if shelf.writer == self.number {
                    shelf.poor |= kept < shelf.kept;
                    shelf.index.apply(object, now);
                }
            }
            Event::Apply(object) => {
                let mut shelf = store.write();
                let is_late = shelf.refill != 0 && shelf.knows_newer(&object);
                if shelf.writer == self.number && !is_late {
                    shelf.poor |= kept < shelf.kept;
                    shelf.index.apply(object, now);
                }
            }
            Event::Delete(object) => self.remove(&object.uid),
            Event::InitDone => {
                // Whatever was listed before anything was to be kept is not known here.
                let Some(unseen) = part.unseen.take() else {
                    return false;
                };
                unseen.iter().for_each(|uid| self.remove(uid));
                part.listed = true;
                return true;
            }
        }
        false
    }

    fn remove(&self, uid: &Uid) {
        let mut shelf = self.store.write();
        if shelf.writer != self.number {
            return;
        }
        shelf.index.delete(uid, self.clock.now());
        if shelf.refill != 0 {
            shelf.gone.insert(uid.clone());
        }
    }

    /// Written alongside the store, until all is listed.
    fn stage(
        &self,
        part: &mut Part,
        scope: model::Scope,
        event: Event<Object>,
        index: &mut KindIndex,
    ) {
        let now = self.clock.now();
        match event {
            Event::Init => part.unseen = Some(self.known(scope, index)),
            Event::InitApply(object) => {
                if let Some(unseen) = &mut part.unseen {
                    unseen.remove(&object.uid);
                }
                index.apply(object, now);
            }
            Event::Apply(object) => index.apply(object, now),
            Event::Delete(object) => index.delete(&object.uid, now),
            Event::InitDone => {
                for uid in part.unseen.take().unwrap_or_default() {
                    index.delete(&uid, now);
                }
                part.listed = true;
            }
        }
    }

    /// Adds what the store does not know, or knows less of.
    fn add(&self, part: &mut Part, event: Event<Object>) {
        match event {
            Event::InitApply(object) => {
                let mut shelf = self.store.write();
                let is_gone = shelf.gone.contains(&object.uid);
                if shelf.refill == self.number && !is_gone && !shelf.knows_newer(&object) {
                    shelf.index.apply(object, self.clock.now());
                }
            }
            Event::InitDone => part.listed = true,
            Event::Init | Event::Apply(_) | Event::Delete(_) => {}
        }
    }
}

impl Sink for Writer {
    fn keep(&self) -> Option<Arc<Keep>> {
        self.store.keep()
    }

    fn take(&self, scope: model::Scope, event: Event<Object>, kept: u64) {
        let mut guard = self.writing();
        let Writing { mode, parts } = &mut *guard;
        let Some(part) = parts.get_mut(usize::from(scope.0)) else {
            return;
        };
        let mut is_end = matches!(event, Event::InitDone);
        match mode {
            Mode::Over => return,
            Mode::Main => is_end &= self.write(part, scope, event, kept),
            Mode::Refill => self.add(part, event),
            Mode::Staging { index, poor } => {
                let is_object = matches!(event, Event::Apply(_) | Event::InitApply(_));
                *poor |= is_object && self.store.keep().is_some_and(|keep| kept < keep.number);
                self.stage(part, scope, event, index);
            }
        }
        if !is_end || !parts.iter().all(|part| part.listed) {
            return;
        }
        let Some(inner) = self.inner.upgrade() else {
            return;
        };
        match std::mem::replace(mode, Mode::Over) {
            Mode::Over => {}
            Mode::Main => {
                *mode = Mode::Main;
                let is_ours = self.store.read().writer == self.number;
                if is_ours {
                    self.store.set_listed();
                    inner.moved();
                }
            }
            Mode::Refill => inner.refilled(&self.store, self.number),
            Mode::Staging { index, poor } => {
                if inner.publish(&self.store, self.number, *index, poor) {
                    *mode = Mode::Main;
                }
            }
        }
    }

    fn seen(&self, scope: model::Scope, uid: &Uid) {
        let mut writing = self.writing();
        let part = writing.parts.get_mut(usize::from(scope.0));
        if let Some(unseen) = part.and_then(|part| part.unseen.as_mut()) {
            unseen.remove(uid);
        }
    }

    fn heard(&self, _: model::Scope, events: usize) {
        self.store.heard(self.clock.now(), events > 0);
        let begins = self.store.trouble() == Some(Trouble::Pending)
            && matches!(self.writing().mode, Mode::Main)
            && self.store.set_trouble(None);
        if let Some(inner) = self.inner.upgrade().filter(|_| events > 0 || begins) {
            inner.changed();
        }
    }

    fn changed(&self, scope: model::Scope, health: WatchHealth, _: Option<&WatchFailure>) {
        let mut writing = self.writing();
        if let Some(part) = writing.parts.get_mut(usize::from(scope.0)) {
            part.health = Some(health);
        }
        let any = |health| writing.parts.iter().any(|part| part.health == Some(health));
        let trouble = match (any(WatchHealth::Denied), any(WatchHealth::Failing)) {
            (true, _) => Some(Trouble::Forbidden),
            (false, true) => Some(Trouble::Unreachable),
            (false, false) => None,
        };
        let (is_main, is_staging) = match writing.mode {
            Mode::Main => (true, false),
            Mode::Staging { .. } => (false, true),
            Mode::Refill | Mode::Over => (false, false),
        };
        drop(writing);
        let Some(inner) = self.inner.upgrade() else {
            return;
        };
        if is_staging && trouble.is_some() {
            inner.give_up(self.store.resource, self.number);
        }
        if is_main && self.store.read().writer == self.number && self.store.set_trouble(trouble) {
            inner.moved();
        }
    }
}
