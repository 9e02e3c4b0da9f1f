//! Documents that were written before.
//!
//! Rules: a document is given out only if all of its inputs are the same snapshots as when it
//! was written. The bytes are bounded. What gives way is what was not asked for since the
//! hand came by last, so a walk over all objects does not drive out what is asked for all the
//! time. No task waits for a document to be written.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use hashbrown::HashTable;

use super::{document::Document, join::Joined, object::Object};
use crate::model::{Seed, SharedStr};

/// The shards are independent: each holds its part of the bytes.
const SHARDS: usize = 64;
/// What an entry takes besides its document, about.
const ENTRY_BYTES: usize = size_of::<Slot>() + 64;

/// Documents of all profiles.
#[derive(Debug)]
pub(super) struct Cache {
    seed: Seed,
    shards: [Mutex<Shard>; SHARDS],
    hits: AtomicU64,
    misses: AtomicU64,
}

/// How full a cache is, and how well it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheUsage {
    /// Documents.
    pub entries: usize,
    /// Bytes of memory, about.
    pub bytes: usize,
    /// Documents that were given out again.
    pub hits: u64,
    /// Documents that had to be written.
    pub misses: u64,
}

/// Which document of an object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key<'a> {
    /// Profile, schema and form, as one number.
    pub(super) variant: u32,
    pub(super) object: &'a Object,
    /// The name of the container, of a container's document.
    pub(super) container: Option<&'a SharedStr>,
}

#[derive(Debug)]
struct Shard {
    /// Places in `slots`.
    table: HashTable<usize>,
    slots: Vec<Option<Slot>>,
    free: Vec<usize>,
    hand: usize,
    bytes: usize,
    max_bytes: usize,
}

#[derive(Debug)]
struct Slot {
    hash: u64,
    variant: u32,
    asked_for: bool,
    object: Object,
    container: Option<SharedStr>,
    joined: Joined,
    document: Arc<Document>,
}

impl Cache {
    pub(super) fn new(seed: Seed, max_bytes: usize) -> Self {
        let shard = || {
            Mutex::new(Shard {
                table: HashTable::new(),
                slots: Vec::new(),
                free: Vec::new(),
                hand: 0,
                bytes: 0,
                max_bytes: max_bytes / SHARDS,
            })
        };
        Self {
            seed,
            shards: std::array::from_fn(|_| shard()),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    /// The document, if its inputs are the same; else `write` makes it.
    pub(super) fn get(
        &self,
        key: Key<'_>,
        joined: Joined,
        write: impl FnOnce(&Joined) -> Document,
    ) -> Arc<Document> {
        let name = key.container.map_or("", |name| &**name);
        let hash = self.seed.hash(&(key.variant, &key.object.uid, name));
        if let Some(document) = self.shard(hash).find(hash, key, &joined) {
            self.hits.fetch_add(1, Ordering::Relaxed);
            return document;
        }
        self.misses.fetch_add(1, Ordering::Relaxed);
        // Without the lock: two tasks may write the same document, and neither waits.
        let document = Arc::new(write(&joined));
        let slot = Slot {
            hash,
            variant: key.variant,
            asked_for: false,
            object: key.object.clone(),
            container: key.container.cloned(),
            joined,
            document: document.clone(),
        };
        let replaced = self.shard(hash).insert(slot);
        // Outside of the lock, for it may be the last handle of an object.
        drop(replaced);
        document
    }

    pub(super) fn usage(&self) -> CacheUsage {
        let mut usage = CacheUsage {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            ..CacheUsage::default()
        };
        for shard in &self.shards {
            let shard = lock(shard);
            usage.entries += shard.table.len();
            usage.bytes += shard.bytes;
        }
        usage
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        // The lowest bits choose a place within the table, and the highest distinguish entries.
        let at = (hash >> 32) as usize % SHARDS;
        #[expect(clippy::indexing_slicing, reason = "a remainder is in range")]
        lock(&self.shards[at])
    }
}

/// A shard is whole at every moment at which its lock can be poisoned.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Slot {
    fn is(&self, key: Key<'_>) -> bool {
        let same = self.object.ptr_eq(key.object)
            || (self.object.uid == key.object.uid
                && self.object.resource == key.object.resource
                && self.object.name == key.object.name
                && self.object.namespace == key.object.namespace);
        self.variant == key.variant && same && self.container.as_ref() == key.container
    }

    fn bytes(&self) -> usize {
        ENTRY_BYTES + self.document.bytes()
    }

    fn key(&self) -> Key<'_> {
        Key {
            variant: self.variant,
            object: &self.object,
            container: self.container.as_ref(),
        }
    }
}

impl Shard {
    fn place(&self, hash: u64, key: Key<'_>) -> Option<usize> {
        let is = |at: &usize| self.slot(*at).is_some_and(|slot| slot.is(key));
        self.table.find(hash, is).copied()
    }

    fn slot(&self, at: usize) -> Option<&Slot> {
        self.slots.get(at)?.as_ref()
    }

    fn find(&mut self, hash: u64, key: Key<'_>, joined: &Joined) -> Option<Arc<Document>> {
        let at = self.place(hash, key)?;
        let slot = self.slots.get_mut(at)?.as_mut()?;
        if !(slot.object.ptr_eq(key.object) && slot.joined.same(joined)) {
            return None;
        }
        slot.asked_for = true;
        Some(slot.document.clone())
    }

    /// Returns what gives way.
    fn insert(&mut self, slot: Slot) -> Vec<Slot> {
        let mut gone = Vec::new();
        if let Some(at) = self.place(slot.hash, slot.key()) {
            gone.extend(self.remove(at));
        }
        let bytes = slot.bytes();
        if bytes > self.max_bytes {
            return gone;
        }
        while self.bytes + bytes > self.max_bytes {
            let Some(evicted) = self.evict() else { break };
            gone.push(evicted);
        }
        let hash = slot.hash;
        let at = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        if let Some(place) = self.slots.get_mut(at) {
            *place = Some(slot);
        }
        self.bytes += bytes;
        let slots = &self.slots;
        let hash_of = |at: &usize| match slots.get(*at) {
            Some(Some(slot)) => slot.hash,
            _ => 0,
        };
        self.table.insert_unique(hash, at, hash_of);
        gone
    }

    /// Moves the hand to an entry that was not asked for since it came by last.
    fn evict(&mut self) -> Option<Slot> {
        // After one round nothing counts as asked for.
        for _ in 0..=2 * self.slots.len() {
            let at = self.hand;
            self.hand = (self.hand + 1) % self.slots.len().max(1);
            match self.slots.get_mut(at)? {
                Some(slot) if slot.asked_for => slot.asked_for = false,
                Some(_) => return self.remove(at),
                None => {}
            }
        }
        None
    }

    fn remove(&mut self, at: usize) -> Option<Slot> {
        let slot = self.slots.get_mut(at)?.take()?;
        self.bytes = self.bytes.saturating_sub(slot.bytes());
        self.free.push(at);
        if let Ok(entry) = self.table.find_entry(slot.hash, |known| *known == at) {
            entry.remove();
        }
        Some(slot)
    }
}
