//! The way in for readers: always to the stores of the active feed.

use std::sync::{Arc, PoisonError, RwLock};

use super::Shelf;
use crate::model::{Kind, OwnerMeta, PerKind, PodMeta, Uid};

/// What one feed holds. A cheap handle; whoever keeps it keeps that feed's objects alive,
/// also when the feed is gone.
#[derive(Clone, Debug)]
pub struct Objects {
    /// The pods, live or not.
    pub pods: Arc<Shelf<PodMeta>>,
    /// The objects of each kind of owner.
    pub owners: PerKind<Arc<Shelf<OwnerMeta>>>,
}

/// The writer's end: says whose objects are read.
#[derive(Debug, Default)]
pub struct Active(Arc<RwLock<Objects>>);

/// The readers' end. Cheap to clone, for any thread.
#[derive(Clone, Debug, Default)]
pub struct Reader(Arc<RwLock<Objects>>);

impl Active {
    /// From now on these are read. Costs a pointer a kind, however many objects there are.
    pub fn show(&self, objects: Objects) {
        let before = {
            let mut shown = self.0.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *shown, objects)
        };
        // Perhaps the last handle, and long in dropping: not under the lock.
        drop(before);
    }

    /// A reader of what is shown, now and later.
    pub fn reader(&self) -> Reader {
        Reader(Arc::clone(&self.0))
    }
}

impl Reader {
    /// The pod of this uid.
    pub fn pod(&self, uid: &Uid) -> Option<PodMeta> {
        self.with(|active| active.pods.get(uid))
    }

    /// The object of this kind and uid, other than a pod.
    pub fn owner(&self, kind: Kind, uid: &Uid) -> Option<OwnerMeta> {
        self.with(|active| active.owners.get(kind)?.get(uid))
    }

    /// The stores of the feed that is active now, for several questions to the same feed or a
    /// walk. Ask anew each time: a handle that is kept goes on showing the feed of then.
    pub fn objects(&self) -> Objects {
        self.with(Objects::clone)
    }

    fn with<R>(&self, look: impl FnOnce(&Objects) -> R) -> R {
        look(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Default for Objects {
    /// Nothing, for ever.
    fn default() -> Self {
        Self {
            pods: Arc::default(),
            owners: PerKind::only(&Kind::OWNERS, |_| Arc::default()),
        }
    }
}

impl Objects {
    /// How many objects there are of this kind.
    pub fn count(&self, kind: Kind) -> usize {
        match kind {
            Kind::POD => self.pods.len(),
            kind => self.owners.get(kind).map_or(0, |owners| owners.len()),
        }
    }
}
