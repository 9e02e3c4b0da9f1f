//! What enrichment reads: objects as they are now, and those deleted a moment ago.
//!
//! A view is asked from any number of tasks and waits for nobody. What two questions find may
//! be of different moments.

use std::net::IpAddr;

use smallvec::SmallVec;

use super::{
    object::{Object, Timestamp},
    resource::Resource,
};
use crate::model::{SharedStr, Uid};

/// Finds objects.
pub trait ObjectView {
    /// Whether the objects of a kind are known.
    fn sync(&self, resource: Resource) -> Sync;

    /// The live object of this name. Of two of one name, one of which is about to be deleted,
    /// the younger one.
    fn live(&self, resource: Resource, namespace: &str, name: &str) -> Option<Object>;

    /// The object of this name that was deleted last, if that was within the grace time.
    fn buried(&self, resource: Resource, namespace: &str, name: &str) -> Option<Found>;

    /// The object of this uid, live or deleted within the grace time.
    fn by_uid(&self, resource: Resource, uid: &Uid) -> Option<Found>;

    /// The containers with this id, with or without its runtime in front; also those that had
    /// it within the grace time. An id is unique in a cluster, so there should be one.
    fn by_container(&self, id: &str) -> SmallVec<[FoundContainer; 1]>;

    /// The pods that have this address, or had it `at` that time.
    fn by_address(&self, address: IpAddr, at: Option<Timestamp>) -> SmallVec<[Found; 1]>;
}

/// An object that was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The object as it is, or was last.
    pub object: Object,
    /// When its deletion was seen; `None` if it lives.
    pub deleted_at: Option<Timestamp>,
}

/// A container that was found.
#[derive(Clone, Debug)]
pub struct FoundContainer {
    /// Its pod.
    pub pod: Found,
    /// Its name within the pod.
    pub container: SharedStr,
}

/// Whether the objects of a kind are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sync {
    /// What is not found does not exist: the kind has been listed whole.
    pub listed: bool,
    /// Why its watch is not healthy at present, or has not listed yet.
    pub trouble: Option<Trouble>,
    /// How long ago the API server was last heard of this kind, in milliseconds.
    pub age_ms: u64,
}

/// What keeps a kind from being known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trouble {
    /// Its watch has not begun.
    Pending,
    /// Its first list is under way.
    Listing,
    /// The API server refuses it.
    Forbidden,
    /// The API server does not answer.
    Unreachable,
}

impl Sync {
    /// Nothing was asked for yet.
    pub const PENDING: Self = Self {
        listed: false,
        trouble: Some(Trouble::Pending),
        age_ms: 0,
    };

    /// All is known.
    pub const LISTED: Self = Self {
        listed: true,
        trouble: None,
        age_ms: 0,
    };
}

impl Trouble {
    /// The word for it in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Listing => "listing",
            Self::Forbidden => "forbidden",
            Self::Unreachable => "unreachable",
        }
    }
}

impl Found {
    /// An object that lives.
    pub fn live(object: Object) -> Self {
        Self {
            object,
            deleted_at: None,
        }
    }
}
