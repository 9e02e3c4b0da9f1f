//! Pods as another stream has sent them already: a second stream of the same cluster holds most of
//! them in the same form, and shares them (D4).

use std::{fmt, sync::Arc};

use crate::model::{PodMeta, Uid};

/// Finds the pod of a uid as it is held elsewhere. By default nothing is.
#[derive(Clone, Default)]
pub struct Elsewhere(Option<Arc<Find>>);

type Find = dyn Fn(&Uid) -> Option<PodMeta> + Send + Sync;

impl Elsewhere {
    /// Where to look. `find` is called for each pod that a stream sends for the first time, on its
    /// task: it must not wait for anybody.
    pub fn new(find: impl Fn(&Uid) -> Option<PodMeta> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(find)))
    }

    /// The pod of this uid, in whatever form.
    pub(super) fn find(&self, uid: &Uid) -> Option<PodMeta> {
        self.0.as_ref().and_then(|find| find(uid))
    }
}

impl fmt::Debug for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Elsewhere").field(&self.0.is_some()).finish()
    }
}
