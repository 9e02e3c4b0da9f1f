//! The objects of a kind, behind a lock that is held for one event or one question.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicI64, AtomicU8, Ordering::Relaxed},
    },
};

use crate::{
    enrich::{
        index::{KindIndex, Retention},
        object::{Object, Timestamp},
        resource::Resource,
        view::{Sync, Trouble},
    },
    model::{Seed, Uid},
    source::native::decode::Keep,
};

/// The objects of a kind, as long as the process lives. Who watches them changes.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) resource: Resource,
    seed: Seed,
    shelf: RwLock<Shelf>,
    keep: Mutex<Option<Arc<Keep>>>,
    standing: Standing,
}

/// What the lock holds.
#[derive(Debug)]
pub(super) struct Shelf {
    pub(super) index: KindIndex,
    /// The number of the watches whose word counts.
    pub(super) writer: u64,
    /// The number of the list that adds what is kept of more; 0 if there is none.
    pub(super) refill: u64,
    /// What was deleted since that list began.
    pub(super) gone: BTreeSet<Uid>,
    /// Something was written of which less was kept than is to be, since that list began.
    pub(super) poor: bool,
    /// What is to be kept has this number.
    pub(super) kept: u64,
}

/// How the watch of a kind stands, to be read without a lock.
#[derive(Debug)]
struct Standing {
    /// A [`Trouble`] by its number, and whether the kind was listed.
    sync: AtomicU8,
    /// Milliseconds since 1970; [`NEVER`] before the first.
    last_event: AtomicI64,
    last_contact: AtomicI64,
}

const NEVER: i64 = i64::MIN;
const LISTED: u8 = 1 << 7;

impl Store {
    pub(super) fn new(resource: Resource, seed: Seed, retention: Retention) -> Self {
        Self {
            resource,
            seed,
            shelf: RwLock::new(Shelf::new(seed, retention)),
            keep: Mutex::default(),
            standing: Standing {
                sync: AtomicU8::new(number(Some(Trouble::Pending))),
                last_event: AtomicI64::new(NEVER),
                last_contact: AtomicI64::new(NEVER),
            },
        }
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, Shelf> {
        self.shelf.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, Shelf> {
        self.shelf.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// An index alongside it, for watches that are to take the place of others.
    pub(super) fn alongside(&self, retention: Retention) -> KindIndex {
        KindIndex::new(self.seed, retention)
    }

    /// What is to be kept of objects; `None`: nothing.
    pub(super) fn keep(&self) -> Option<Arc<Keep>> {
        self.keep
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// From now on this is to be kept.
    pub(super) fn set_keep(&self, keep: Option<Keep>) {
        // Written before it is read: what is written under the old one is known as poor.
        self.write().kept = keep.as_ref().map_or(0, |keep| keep.number);
        *self.keep.lock().unwrap_or_else(PoisonError::into_inner) = keep.map(Arc::new);
    }

    /// Nobody uses it any more.
    pub(super) fn empty(&self, retention: Retention) {
        self.set_keep(None);
        let shelf = std::mem::replace(&mut *self.write(), Shelf::new(self.seed, retention));
        self.set_sync(false, Some(Trouble::Pending));
        self.standing.last_event.store(NEVER, Relaxed);
        self.standing.last_contact.store(NEVER, Relaxed);
        // Long in dropping: not under the lock.
        drop(shelf);
    }

    // === how the watch stands ===

    pub(super) fn sync(&self, now: Timestamp) -> Sync {
        let sync = self.standing.sync.load(Relaxed);
        Sync {
            listed: sync & LISTED != 0,
            trouble: trouble(sync & !LISTED),
            age_ms: self.last_contact_ms(now).unwrap_or_default(),
        }
    }

    pub(super) fn is_listed(&self) -> bool {
        self.standing.sync.load(Relaxed) & LISTED != 0
    }

    /// Returns whether anything has changed.
    pub(super) fn set_sync(&self, listed: bool, trouble: Option<Trouble>) -> bool {
        let sync = number(trouble) | if listed { LISTED } else { 0 };
        self.standing.sync.swap(sync, Relaxed) != sync
    }

    pub(super) fn set_trouble(&self, trouble: Option<Trouble>) -> bool {
        let listed = self.is_listed();
        let unlisted = Some(Trouble::Listing).filter(|_| !listed);
        self.set_sync(listed, trouble.or(unlisted))
    }

    pub(super) fn set_listed(&self) {
        self.standing.sync.fetch_or(LISTED, Relaxed);
        if self.trouble() == Some(Trouble::Listing) || self.trouble() == Some(Trouble::Pending) {
            self.set_sync(true, None);
        }
    }

    pub(super) fn trouble(&self) -> Option<Trouble> {
        trouble(self.standing.sync.load(Relaxed) & !LISTED)
    }

    /// The server was heard; `events`: it said something of objects.
    pub(super) fn heard(&self, now: Timestamp, events: bool) {
        self.standing.last_contact.store(now.millis(), Relaxed);
        if events {
            self.standing.last_event.store(now.millis(), Relaxed);
        }
    }

    pub(super) fn last_event_ms(&self, now: Timestamp) -> Option<u64> {
        ago(&self.standing.last_event, now)
    }

    pub(super) fn last_contact_ms(&self, now: Timestamp) -> Option<u64> {
        ago(&self.standing.last_contact, now)
    }
}

impl Shelf {
    fn new(seed: Seed, retention: Retention) -> Self {
        Self {
            index: KindIndex::new(seed, retention),
            writer: 0,
            refill: 0,
            gone: BTreeSet::new(),
            poor: false,
            kept: 0,
        }
    }

    /// Whether this is an older version of an object than the one that is known.
    pub(super) fn knows_newer(&self, object: &Object) -> bool {
        let version = |object: &Object| object.resource_version.parse::<u64>().ok();
        let known = self.index.get(&object.uid).and_then(version);
        known
            .zip(version(object))
            .is_some_and(|(known, new)| new < known)
    }
}

fn ago(at: &AtomicI64, now: Timestamp) -> Option<u64> {
    let at = Some(at.load(Relaxed)).filter(|at| *at != NEVER)?;
    u64::try_from(now.millis().saturating_sub(at)).ok()
}

fn number(trouble: Option<Trouble>) -> u8 {
    match trouble {
        None => 0,
        Some(Trouble::Pending) => 1,
        Some(Trouble::Listing) => 2,
        Some(Trouble::Forbidden) => 3,
        Some(Trouble::Unreachable) => 4,
    }
}

fn trouble(number: u8) -> Option<Trouble> {
    match number {
        1 => Some(Trouble::Pending),
        2 => Some(Trouble::Listing),
        3 => Some(Trouble::Forbidden),
        4 => Some(Trouble::Unreachable),
        _ => None,
    }
}
