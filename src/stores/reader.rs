//! The way in for readers: always to the stores of the active feed.

use std::sync::{Arc, PoisonError, RwLock};

use super::Store;
use crate::model::{Kind, ObjectMeta, PerKind, PodMeta, Uid};

/// What one feed holds. A cheap handle, which keeps that feed's objects alive, also when the feed
/// is gone.
#[derive(Clone, Debug)]
pub struct Stores {
    /// The pods, live or not.
    pub pods: Arc<Store<PodMeta>>,
    /// The objects of each kind of owner.
    pub owners: PerKind<Arc<Store<ObjectMeta>>>,
}

/// The writer's end: says whose objects are read.
#[derive(Debug, Default)]
pub struct Publisher(Arc<RwLock<Stores>>);

/// The readers' end. Cheap to clone, for any thread.
#[derive(Clone, Debug)]
pub struct Reader {
    active: Arc<RwLock<Stores>>,
    alongside: PerKind<Arc<Store<ObjectMeta>>>,
}

impl Publisher {
    /// From now on these are read. Costs a pointer a kind, however many objects there are.
    pub fn show(&self, objects: Stores) {
        let before = {
            let mut shown = self.0.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *shown, objects)
        };
        // Perhaps the last handle, and long in dropping: not under the lock.
        drop(before);
    }

    /// A reader of what is shown, now and later.
    pub fn reader(&self) -> Reader {
        Reader {
            active: Arc::clone(&self.0),
            alongside: PerKind::only(&[], |_| Arc::default()),
        }
    }
}

impl Reader {
    /// The pod of this uid.
    pub fn pod(&self, uid: &Uid) -> Option<PodMeta> {
        self.with(|active| active.pods.get(uid))
    }

    /// The object of this kind and uid, other than a pod.
    pub fn object(&self, kind: Kind, uid: &Uid) -> Option<ObjectMeta> {
        match self.alongside.get(kind) {
            Some(objects) => objects.get(uid),
            None => self.with(|active| active.owners.get(kind)?.get(uid)),
        }
    }

    /// Looks at these, too, whichever feed is active: kinds that are in no feed.
    #[must_use]
    pub fn alongside(self, alongside: PerKind<Arc<Store<ObjectMeta>>>) -> Self {
        Self { alongside, ..self }
    }

    /// The stores of the feed that is active now, for several questions to the same feed or a walk.
    /// Ask each time: a handle that is kept goes on showing the feed of then.
    pub fn objects(&self) -> Stores {
        self.with(Stores::clone)
    }

    fn with<R>(&self, look: impl FnOnce(&Stores) -> R) -> R {
        look(&self.active.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Default for Stores {
    /// Nothing, and it stays so.
    fn default() -> Self {
        Self {
            pods: Arc::default(),
            owners: PerKind::only(&Kind::OWNERS, |_| Arc::default()),
        }
    }
}

impl Stores {
    /// How many objects there are of this kind.
    pub fn count(&self, kind: Kind) -> usize {
        match kind {
            Kind::POD => self.pods.len(),
            kind => self.owners.get(kind).map_or(0, |owners| owners.len()),
        }
    }
}
