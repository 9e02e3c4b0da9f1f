//! The way in for readers: always to the stores of the active feed.

use std::sync::{Arc, PoisonError, RwLock};

use super::Shelf;
use crate::model::{OwnerMeta, PodMeta, Uid};

/// What one feed holds. A cheap handle; whoever keeps it keeps that feed's objects alive,
/// also when the feed is gone.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    /// The pods, live or not.
    pub pods: Arc<Shelf<PodMeta>>,
    /// The ReplicaSets.
    pub replica_sets: Arc<Shelf<OwnerMeta>>,
    /// The Jobs.
    pub jobs: Arc<Shelf<OwnerMeta>>,
}

/// The writer's end: says whose objects are read.
#[derive(Debug, Default)]
pub struct Active(Arc<RwLock<Objects>>);

/// The readers' end. Cheap to clone, for any thread.
#[derive(Clone, Debug, Default)]
pub struct Reader(Arc<RwLock<Objects>>);

impl Active {
    /// From now on these are read. Costs three pointers, however many objects there are.
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

    /// The ReplicaSet of this uid.
    pub fn replica_set(&self, uid: &Uid) -> Option<OwnerMeta> {
        self.with(|active| active.replica_sets.get(uid))
    }

    /// The Job of this uid.
    pub fn job(&self, uid: &Uid) -> Option<OwnerMeta> {
        self.with(|active| active.jobs.get(uid))
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
