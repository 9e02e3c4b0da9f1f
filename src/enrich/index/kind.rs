//! Objects of one kind, found by all that is known of them.

use std::net::IpAddr;

use hashbrown::HashTable;
use smallvec::SmallVec;

use super::{Retention, addresses::Addresses, containers::Containers, graveyard::Graveyard};
use crate::{
    enrich::{
        object::{Object, Timestamp},
        view::{Found, FoundContainer, Sync},
    },
    model::{Seed, Uid},
};

/// Objects of one kind. Kinds share nothing, so each can have a lock of its own.
#[derive(Debug)]
pub struct KindIndex {
    seed: Seed,
    sync: Sync,
    by_uid: HashTable<Object>,
    by_name: HashTable<Object>,
    graveyard: Graveyard,
    /// What the live objects take of memory, about.
    bytes: usize,
    /// Of pods.
    containers: Containers,
    /// Of pods.
    addresses: Addresses,
}

impl KindIndex {
    /// Nothing is known, and the kind is not listed.
    pub fn new(seed: Seed, retention: Retention) -> Self {
        Self {
            seed,
            sync: Sync::PENDING,
            by_uid: HashTable::new(),
            by_name: HashTable::new(),
            graveyard: Graveyard::new(retention),
            bytes: 0,
            containers: Containers::new(seed, retention),
            addresses: Addresses::new(seed),
        }
    }

    /// What is known of the kind's watch.
    pub fn sync(&self) -> Sync {
        self.sync
    }

    /// What is known of the kind's watch has changed.
    pub fn set_sync(&mut self, sync: Sync) {
        self.sync = sync;
    }

    /// A new object, or a new version of one.
    pub fn apply(&mut self, object: Object, now: Timestamp) {
        let seed = self.seed;
        // An object that comes back after its delete was never gone.
        let buried = self.graveyard.exhume(seed, &object.uid);
        let before = self.take(&object.uid).or(buried);
        self.containers.apply(before.as_ref(), &object, now);
        let finished_before = before.and_then(|before| self.addresses.remove(&before));
        let is_finished = object.pod().is_some_and(|details| details.finished);
        let finished_at = is_finished.then(|| finished_before.unwrap_or(now));
        self.addresses.apply(&object, finished_at);
        self.bytes += object.bytes();
        let uid_hash = seed.hash(&object.uid);
        self.by_uid
            .insert_unique(uid_hash, object.clone(), |known| seed.hash(&known.uid));
        self.by_name
            .insert_unique(name_hash(seed, &object), object, |known| {
                name_hash(seed, known)
            });
    }

    /// An object is gone.
    pub fn delete(&mut self, uid: &Uid, now: Timestamp) {
        if let Some(object) = self.take(uid) {
            let evicted = self.graveyard.bury(self.seed, object, now);
            self.forget(evicted);
        }
    }

    /// Lets go of what was deleted longer ago than the grace time.
    pub fn expire(&mut self, now: Timestamp) {
        while self.expire_some(now, usize::MAX) {}
    }

    /// The same for so many deleted objects at most. Whether there may be more.
    pub fn expire_some(&mut self, now: Timestamp, most: usize) -> bool {
        let evicted = self.graveyard.expire(self.seed, now, most);
        let is_all = evicted.len() < most;
        self.forget(evicted);
        if is_all {
            self.containers.expire(now);
        }
        !is_all
    }

    /// How long, and how many, deleted objects are kept.
    pub fn retention(&self) -> Retention {
        self.graveyard.retention()
    }

    /// Keeps what is deleted from now on for as long as this says.
    pub fn set_retention(&mut self, retention: Retention) {
        self.graveyard.set_retention(retention);
        self.containers.set_retention(retention);
    }

    /// Takes the place of `before`. What is buried there stays so, and what lived there and does
    /// not live here is buried.
    pub fn succeed(&mut self, before: &Self, now: Timestamp) {
        for (object, deleted_at) in before.graveyard.in_order() {
            if self.get(&object.uid).is_none() {
                self.apply(object.clone(), deleted_at);
                self.delete(&object.uid, deleted_at);
            }
        }
        for object in &before.by_uid {
            if self.get(&object.uid).is_none() {
                self.apply(object.clone(), now);
                self.delete(&object.uid, now);
            }
        }
    }

    /// The live objects, in no order that means anything.
    pub fn objects(&self) -> impl Iterator<Item = &Object> {
        self.by_uid.iter()
    }

    /// The live object of this uid.
    pub fn get(&self, uid: &Uid) -> Option<&Object> {
        let hash = self.seed.hash(uid);
        self.by_uid.find(hash, |known| known.uid == *uid)
    }

    /// What the live objects take of memory in bytes, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// When [`Self::expire`] has something to do.
    pub fn next_expiry(&self) -> Option<Timestamp> {
        let expiries = [self.graveyard.next_expiry(), self.containers.next_expiry()];
        expiries.into_iter().flatten().min()
    }

    /// How many objects live, and how many are buried.
    pub fn counts(&self) -> (usize, usize) {
        (self.by_uid.len(), self.graveyard.len())
    }

    /// [`ObjectView::live`](crate::enrich::view::ObjectView::live)
    pub fn live(&self, namespace: &str, name: &str) -> Option<Object> {
        let named = self.by_name.iter_hash(self.seed.hash(&(namespace, name)));
        let same = |object: &&Object| *object.name == *name && *object.namespace == *namespace;
        let youngest = named
            .filter(same)
            .max_by_key(|object| (object.created, &object.uid));
        youngest.cloned()
    }

    /// [`ObjectView::buried`](crate::enrich::view::ObjectView::buried)
    pub fn buried(&self, namespace: &str, name: &str, now: Timestamp) -> Option<Found> {
        self.graveyard.by_name(self.seed, namespace, name, now)
    }

    /// [`ObjectView::by_uid`](crate::enrich::view::ObjectView::by_uid)
    pub fn by_uid(&self, uid: &Uid, now: Timestamp) -> Option<Found> {
        let hash = self.seed.hash(uid);
        match self.by_uid.find(hash, |known| known.uid == *uid) {
            Some(object) => Some(Found::live(object.clone())),
            None => self.graveyard.by_uid(self.seed, uid, now),
        }
    }

    /// [`ObjectView::by_container`](crate::enrich::view::ObjectView::by_container)
    pub fn by_container(&self, id: &str, now: Timestamp) -> SmallVec<[FoundContainer; 1]> {
        let found = self
            .containers
            .find(id, now)
            .filter_map(|(pod, container)| {
                Some(FoundContainer {
                    pod: self.by_uid(pod, now)?,
                    container: container.clone(),
                })
            });
        let mut found: SmallVec<[FoundContainer; 1]> = found.collect();
        // A live pod hides the deleted ones.
        if found.iter().any(|found| found.pod.deleted_at.is_none()) {
            found.retain(|found| found.pod.deleted_at.is_none());
        }
        found.sort_by(|one, other| one.pod.object.uid.cmp(&other.pod.object.uid));
        found
    }

    /// [`ObjectView::by_address`](crate::enrich::view::ObjectView::by_address)
    pub fn by_address(
        &self,
        address: IpAddr,
        at: Option<Timestamp>,
        now: Timestamp,
    ) -> SmallVec<[Found; 1]> {
        self.addresses
            .find(address, at, |uid| self.by_uid(uid, now))
    }

    /// Takes a live object out.
    fn take(&mut self, uid: &Uid) -> Option<Object> {
        let found = self
            .by_uid
            .find_entry(self.seed.hash(uid), |known| known.uid == *uid);
        let (object, _) = found.ok()?.remove();
        self.bytes -= object.bytes();
        let named = self
            .by_name
            .find_entry(name_hash(self.seed, &object), |known| known.ptr_eq(&object));
        if let Ok(entry) = named {
            entry.remove();
        }
        Some(object)
    }

    fn forget(&mut self, evicted: Vec<Object>) {
        for object in evicted {
            self.containers.remove(&object);
            self.addresses.remove(&object);
        }
    }
}

/// Where an object of this name is in a table.
pub(super) fn name_hash(seed: Seed, object: &Object) -> u64 {
    seed.hash(&(&*object.namespace, &*object.name))
}
