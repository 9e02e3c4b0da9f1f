//! The objects of one kind, behind the lock that the writer shares with readers.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::model::{HasUid, Scope, Seed, Slot, Uid, UidMap};

/// So many places are looked at in one [`Store::slice`].
pub const SLICE: usize = 512;

/// The objects of one kind in one feed. Read by anyone, written by its [`StoreWriter`](super::Store).
#[derive(Debug)]
pub struct Store<T>(RwLock<UidMap<Entry<T>>>);

/// An object and the scope that reported it last: 16 bytes for a handle.
#[derive(Debug)]
pub(super) struct Entry<T> {
    pub(super) object: T,
    pub(super) list_id: ListId,
    pub(super) scope: Scope,
}

/// The number of a list of one scope: what carries another one was not in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ListId(u32);

/// Some of the objects of a [`Store`].
#[derive(Debug)]
pub struct Slice<T> {
    /// In no order that means anything.
    pub objects: Vec<T>,
    /// Where the next slice begins; `None` if this was the last.
    pub next: Option<Slot>,
}

impl<T: HasUid + Clone> Store<T> {
    /// The object of this uid.
    pub fn get(&self, uid: &Uid) -> Option<T> {
        let table = self.read();
        Some(table.by_uid(uid)?.object.clone())
    }

    /// The objects in the next [`SLICE`] places from this one on. A walk from [`Slot::FIRST`]
    /// on meets each object that stays meanwhile once, whatever comes and goes.
    pub fn slice(&self, from: Slot) -> Slice<T> {
        let mut objects = Vec::with_capacity(SLICE);
        let table = self.read();
        let (mut at, end) = (from, table.end());
        for _ in 0..SLICE {
            if at >= end {
                break;
            }
            objects.extend(table.get(at).map(|entry| entry.object.clone()));
            at = at.next();
        }
        let next = (at < end).then_some(at);
        Slice { objects, next }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.read().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// For how many there is room.
    pub fn capacity(&self) -> usize {
        self.read().capacity()
    }
}

impl<T> Store<T> {
    pub(super) fn new(seed: Seed) -> Self {
        Self(RwLock::new(UidMap::new(seed)))
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, UidMap<Entry<T>>> {
        // A reader that panics leaves nothing half done.
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, UidMap<Entry<T>>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Default for Store<T> {
    /// One that stays empty: a [`StoreWriter`](super::Store) makes its own.
    fn default() -> Self {
        Self::new(Seed::FIXED)
    }
}

impl ListId {
    pub(super) fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

impl<T: HasUid> HasUid for Entry<T> {
    fn uid(&self) -> &Uid {
        self.object.uid()
    }
}
