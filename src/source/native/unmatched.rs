//! The kinds that the matcher does not use: what their watches see goes straight into stores,
//! and how these watches stand is noted here. Nothing of it enters the loop.
//!
//! Invariants: the stores live as long as the process. Watches that are ended and started again
//! list into what is there, so readers never see a gap. A store is written by the watches of its
//! kind alone, under a lock that is held for one event.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use kube::runtime::watcher::Event;

use super::Options;
use crate::{
    model::{Kind, KindTable, ObjectMeta, PerKind, Scope, Seed, Stored, Uid},
    source::{WatchFailure, WatchHealth, WatchState},
    stores::{Store, StoreWriter},
};

/// All kinds that are watched, and of those that the matcher does not use what is known.
#[derive(Debug)]
pub struct Unmatched {
    kinds: KindTable,
    kept: PerKind<Arc<Kept<ObjectMeta>>>,
}

/// What is known of one kind.
#[derive(Debug)]
pub(super) struct Kept<T> {
    /// With the namespace of each, `None` for all.
    scopes: Vec<(Scope, Option<String>)>,
    store: Arc<Store<T>>,
    writer: Mutex<StoreWriter<T>>,
    states: Mutex<BTreeMap<Scope, WatchState>>,
}

impl Unmatched {
    /// Nothing known, of what such watches watch.
    pub fn of(options: &Options) -> Self {
        let kept = PerKind::of(&options.kinds, |_, row| {
            let scopes = options.scopes_of(row);
            (!row.matched).then(|| Arc::new(Kept::new(scopes, options.seed)))
        });
        Self {
            kinds: options.kinds.clone(),
            kept,
        }
    }

    /// All kinds that are watched, those that the matcher uses among them.
    pub fn kinds(&self) -> &KindTable {
        &self.kinds
    }

    /// Where the objects of each kind that the matcher does not use are read.
    pub fn objects(&self) -> PerKind<Arc<Store<ObjectMeta>>> {
        self.kept.map(|kept| Arc::clone(&kept.store))
    }

    /// How each watch of these kinds stands, with the namespace it is of, `None` for all.
    pub fn states(&self) -> Vec<(Kind, Option<&str>, WatchState)> {
        let mut all = Vec::new();
        for (kind, kept) in self.kept.iter() {
            let states = kept.states();
            for (scope, namespace) in &kept.scopes {
                let state = states.get(scope).cloned().unwrap_or_default();
                all.push((kind, namespace.as_deref(), state));
            }
        }
        all
    }

    /// What is known of this kind; `None` if the matcher uses it.
    pub(super) fn kept(&self, kind: Kind) -> Option<&Arc<Kept<ObjectMeta>>> {
        self.kept.get(kind)
    }

    /// Watches start: none of them has said anything yet.
    pub(super) fn begin(&self) {
        for kept in self.kept.values() {
            kept.states().clear();
        }
    }
}

impl Default for Unmatched {
    /// No kind but the fixed ones, in all namespaces.
    fn default() -> Self {
        Self::of(&Options::default())
    }
}

impl<T: Stored> Kept<T> {
    fn new(scopes: Vec<(Scope, Option<String>)>, seed: Seed) -> Self {
        let writer = StoreWriter::new(u16::try_from(scopes.len()).unwrap_or(u16::MAX), seed);
        Self {
            scopes,
            store: Arc::clone(writer.store()),
            writer: Mutex::new(writer),
            states: Mutex::default(),
        }
    }

    pub(super) fn take(&self, scope: Scope, event: Event<T>) {
        // What changed matters to nobody; readers look into the store.
        drop(self.writer().take(scope, event));
    }

    pub(super) fn seen(&self, scope: Scope, uid: &Uid) {
        self.writer().seen(scope, uid);
    }

    /// Notes that something came.
    pub(super) fn heard(&self, scope: Scope, now: Instant) {
        self.states().entry(scope).or_default().last_event = Some(now);
    }

    /// Notes how the watch stands.
    pub(super) fn changed(
        &self,
        scope: Scope,
        health: WatchHealth,
        since: Instant,
        last_failure: Option<WatchFailure>,
    ) {
        if health == WatchHealth::Denied {
            self.writer().denied(scope);
        }
        let mut states = self.states();
        let state = states.entry(scope).or_default();
        state.changed(health, since, last_failure);
    }

    fn writer(&self) -> MutexGuard<'_, StoreWriter<T>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Kept<T> {
    fn states(&self) -> MutexGuard<'_, BTreeMap<Scope, WatchState>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
