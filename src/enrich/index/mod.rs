//! Objects in memory, found by all that is known of them.
//!
//! Rules: an object is its uid, so a late delete never touches its successor of the same name;
//! a deleted object is buried and still found for the grace time, but hidden by a live one of its
//! name. What is found depends on the objects and on the time, not on the order in which
//! they came.
//!
//! Absent here: locks and lists. Who shares an index puts it behind one.

mod addresses;
mod containers;
mod graveyard;

use std::{net::IpAddr, time::Duration};

use hashbrown::HashTable;
use smallvec::SmallVec;

use self::{addresses::Addresses, containers::Containers, graveyard::Graveyard};
use super::{
    object::{Object, Timestamp},
    resource::Resource,
    view::{Found, FoundContainer, ObjectView, Sync},
};
use crate::model::{Seed, Uid};

/// How long, and how many of, what is gone still answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// For how long.
    pub grace: Duration,
    /// How many of each kind; the oldest goes first.
    pub capacity: usize,
}

/// Objects of all kinds.
#[derive(Debug)]
pub struct Index {
    seed: Seed,
    kinds: [KindIndex; Resource::ALL.len()],
    containers: Containers,
    addresses: Addresses,
}

/// Objects of one kind.
#[derive(Debug)]
struct KindIndex {
    sync: Sync,
    by_uid: HashTable<Object>,
    by_name: HashTable<Object>,
    graveyard: Graveyard,
}

/// An index as it is at a moment.
#[derive(Clone, Copy, Debug)]
pub struct IndexView<'a> {
    index: &'a Index,
    now: Timestamp,
}

impl Index {
    /// Nothing is known, and no kind is listed.
    pub fn new(seed: Seed, retention: Retention) -> Self {
        Self {
            seed,
            kinds: Resource::ALL.map(|_| KindIndex::new(retention)),
            containers: Containers::new(seed, retention),
            addresses: Addresses::new(seed),
        }
    }

    /// What is known of a kind's watch.
    pub fn set_sync(&mut self, resource: Resource, sync: Sync) {
        self.kind_mut(resource).sync = sync;
    }

    /// A new object, or a new version of one.
    pub fn apply(&mut self, object: Object, now: Timestamp) {
        let seed = self.seed;
        let before = self.kind_mut(object.resource).apply(seed, object.clone());
        self.containers.apply(before.as_ref(), &object, now);
        let finished_before = before.and_then(|before| self.addresses.remove(&before));
        let is_finished = object.pod().is_some_and(|details| details.finished);
        let finished_at = is_finished.then(|| finished_before.unwrap_or(now));
        self.addresses.apply(&object, finished_at);
    }

    /// An object is gone.
    pub fn delete(&mut self, resource: Resource, uid: &Uid, now: Timestamp) {
        let seed = self.seed;
        let kind = self.kind_mut(resource);
        let Some(object) = kind.delete(seed, uid) else {
            return;
        };
        let evicted = kind.graveyard.bury(seed, object, now);
        self.forget(evicted);
    }

    /// Lets go of what was deleted longer ago than the grace time.
    pub fn expire(&mut self, now: Timestamp) {
        for resource in Resource::ALL {
            let seed = self.seed;
            let evicted = self.kind_mut(resource).graveyard.expire(seed, now);
            self.forget(evicted);
        }
        self.containers.expire(now);
    }

    /// When [`Self::expire`] has something to do.
    pub fn next_expiry(&self) -> Option<Timestamp> {
        let graves = self
            .kinds
            .iter()
            .filter_map(|kind| kind.graveyard.next_expiry());
        graves.chain(self.containers.next_expiry()).min()
    }

    /// How many objects of a kind live, and how many are buried.
    pub fn len(&self, resource: Resource) -> (usize, usize) {
        let kind = self.kind(resource);
        (kind.by_uid.len(), kind.graveyard.len())
    }

    /// What is found at this moment.
    pub fn at(&self, now: Timestamp) -> IndexView<'_> {
        IndexView { index: self, now }
    }

    fn forget(&mut self, evicted: Vec<Object>) {
        for object in evicted {
            self.containers.remove(&object);
            self.addresses.remove(&object);
        }
    }

    fn kind(&self, resource: Resource) -> &KindIndex {
        #[expect(clippy::indexing_slicing, reason = "one for each resource")]
        &self.kinds[resource.index()]
    }

    fn kind_mut(&mut self, resource: Resource) -> &mut KindIndex {
        #[expect(clippy::indexing_slicing, reason = "one for each resource")]
        &mut self.kinds[resource.index()]
    }
}

impl KindIndex {
    fn new(retention: Retention) -> Self {
        Self {
            sync: Sync::PENDING,
            by_uid: HashTable::new(),
            by_name: HashTable::new(),
            graveyard: Graveyard::new(retention),
        }
    }

    /// Returns the version before.
    fn apply(&mut self, seed: Seed, object: Object) -> Option<Object> {
        // An object that comes back after its delete was never gone.
        let buried = self.graveyard.exhume(seed, &object.uid);
        let before = self.delete(seed, &object.uid);
        let uid_hash = seed.hash(&object.uid);
        self.by_uid
            .insert_unique(uid_hash, object.clone(), |known| seed.hash(&known.uid));
        self.by_name
            .insert_unique(name_hash(seed, &object), object, |known| {
                name_hash(seed, known)
            });
        before.or(buried)
    }

    fn delete(&mut self, seed: Seed, uid: &Uid) -> Option<Object> {
        let entry = self
            .by_uid
            .find_entry(seed.hash(uid), |known| known.uid == *uid)
            .ok()?;
        let (object, _) = entry.remove();
        let named = self
            .by_name
            .find_entry(name_hash(seed, &object), |known| known.ptr_eq(&object));
        if let Ok(entry) = named {
            entry.remove();
        }
        Some(object)
    }
}

impl ObjectView for IndexView<'_> {
    fn sync(&self, resource: Resource) -> Sync {
        self.index.kind(resource).sync
    }

    fn live(&self, resource: Resource, namespace: &str, name: &str) -> Option<Object> {
        let hash = self.index.seed.hash(&(namespace, name));
        let named = self.index.kind(resource).by_name.iter_hash(hash);
        let same = |object: &&Object| *object.name == *name && *object.namespace == *namespace;
        let youngest = named
            .filter(same)
            .max_by_key(|object| (object.created, &object.uid));
        youngest.cloned()
    }

    fn buried(&self, resource: Resource, namespace: &str, name: &str) -> Option<Found> {
        let graveyard = &self.index.kind(resource).graveyard;
        graveyard.by_name(self.index.seed, namespace, name, self.now)
    }

    fn by_uid(&self, resource: Resource, uid: &Uid) -> Option<Found> {
        let (seed, kind) = (self.index.seed, self.index.kind(resource));
        let live = kind.by_uid.find(seed.hash(uid), |known| known.uid == *uid);
        match live {
            Some(object) => Some(Found::live(object.clone())),
            None => kind.graveyard.by_uid(seed, uid, self.now),
        }
    }

    fn by_container(&self, id: &str) -> SmallVec<[FoundContainer; 1]> {
        let named = self.index.containers.find(id, self.now);
        let found = named.filter_map(|(pod, container)| {
            Some(FoundContainer {
                pod: self.by_uid(Resource::Pod, pod)?,
                container: container.clone(),
            })
        });
        found.collect()
    }

    fn by_address(&self, address: IpAddr, at: Option<Timestamp>) -> SmallVec<[Found; 1]> {
        let pod = |uid: &Uid| self.by_uid(Resource::Pod, uid);
        self.index.addresses.find(address, at, pod)
    }
}

fn name_hash(seed: Seed, object: &Object) -> u64 {
    seed.hash(&(&*object.namespace, &*object.name))
}

impl Sync {
    /// Nothing was asked for yet.
    pub const PENDING: Self = Self {
        listed: false,
        trouble: Some(super::view::Trouble::Pending),
        age_ms: 0,
    };

    /// All is known.
    pub const LISTED: Self = Self {
        listed: true,
        trouble: None,
        age_ms: 0,
    };
}
