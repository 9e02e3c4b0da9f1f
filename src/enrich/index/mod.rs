//! Objects in memory, found by all that is known of them.
//!
//! Rules: an object is its uid, so a late delete never touches its successor of the same name;
//! a deleted object is buried and still found for the grace time, but hidden by a live one of its
//! name. What is found depends on the objects and on the time, not on the order in which
//! they came.
//!
//! Absent here: locks and lists. Who shares a [`KindIndex`] puts it behind one.

mod addresses;
mod containers;
mod graveyard;
mod kind;

use std::{net::IpAddr, time::Duration};

use smallvec::SmallVec;

pub use self::kind::KindIndex;
use self::kind::name_hash;
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
pub struct Index([KindIndex; Resource::ALL.len()]);

/// An index as it is at a moment.
#[derive(Clone, Copy, Debug)]
pub struct IndexView<'a> {
    index: &'a Index,
    now: Timestamp,
}

impl Index {
    /// Nothing is known, and no kind is listed.
    pub fn new(seed: Seed, retention: Retention) -> Self {
        Self(Resource::ALL.map(|_| KindIndex::new(seed, retention)))
    }

    /// The objects of a kind.
    pub fn kind(&self, resource: Resource) -> &KindIndex {
        #[expect(clippy::indexing_slicing, reason = "one for each resource")]
        &self.0[resource.index()]
    }

    /// The objects of a kind, to change them.
    pub fn kind_mut(&mut self, resource: Resource) -> &mut KindIndex {
        #[expect(clippy::indexing_slicing, reason = "one for each resource")]
        &mut self.0[resource.index()]
    }

    /// What is known of a kind's watch.
    pub fn set_sync(&mut self, resource: Resource, sync: Sync) {
        self.kind_mut(resource).set_sync(sync);
    }

    /// A new object, or a new version of one.
    pub fn apply(&mut self, object: Object, now: Timestamp) {
        self.kind_mut(object.resource).apply(object, now);
    }

    /// An object is gone.
    pub fn delete(&mut self, resource: Resource, uid: &Uid, now: Timestamp) {
        self.kind_mut(resource).delete(uid, now);
    }

    /// Lets go of what was deleted longer ago than the grace time.
    pub fn expire(&mut self, now: Timestamp) {
        for kind in &mut self.0 {
            kind.expire(now);
        }
    }

    /// When [`Self::expire`] has something to do.
    pub fn next_expiry(&self) -> Option<Timestamp> {
        self.0.iter().filter_map(KindIndex::next_expiry).min()
    }

    /// What is found at this moment.
    pub fn at(&self, now: Timestamp) -> IndexView<'_> {
        IndexView { index: self, now }
    }
}

impl ObjectView for IndexView<'_> {
    fn sync(&self, resource: Resource) -> Sync {
        self.index.kind(resource).sync()
    }

    fn live(&self, resource: Resource, namespace: &str, name: &str) -> Option<Object> {
        self.index.kind(resource).live(namespace, name)
    }

    fn buried(&self, resource: Resource, namespace: &str, name: &str) -> Option<Found> {
        self.index.kind(resource).buried(namespace, name, self.now)
    }

    fn by_uid(&self, resource: Resource, uid: &Uid) -> Option<Found> {
        self.index.kind(resource).by_uid(uid, self.now)
    }

    fn by_container(&self, id: &str) -> SmallVec<[FoundContainer; 1]> {
        self.index.kind(Resource::Pod).by_container(id, self.now)
    }

    fn by_address(&self, address: IpAddr, at: Option<Timestamp>) -> SmallVec<[Found; 1]> {
        let pods = self.index.kind(Resource::Pod);
        pods.by_address(address, at, self.now)
    }
}
