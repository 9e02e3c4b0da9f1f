//! Objects of every other kind: metadata alone.

use std::{ops::Deref, sync::Arc};

use super::{HasUid, Owner, SharedStr, Stored, Uid};

/// An object of a kind other than pods, as it is known now. A cheap handle.
///
/// It reads as the [`Owner`] that the matcher sees, and two are equal if their owners are.
#[derive(Clone, Debug)]
pub struct ObjectMeta(Arc<Data>);

/// What else is known of an object. Only enrichment reads it, and only a source that is asked for
/// it gives it: a legacy feed never does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectExtra {
    /// `metadata.name`.
    pub name: SharedStr,
    /// `metadata.namespace`; empty if the kind is in none.
    pub namespace: SharedStr,
    /// `metadata.labels`, by key.
    pub labels: Box<[(SharedStr, SharedStr)]>,
    /// Those of `metadata.annotations` that are asked for, by key.
    pub annotations: Box<[(SharedStr, SharedStr)]>,
}

#[derive(Debug)]
struct Data {
    owner: Owner,
    extra: Option<Box<ObjectExtra>>,
}

impl ObjectMeta {
    /// Wraps what the matcher sees in a handle, without an extra.
    pub fn new(owner: Owner) -> Self {
        Self::with_extra(owner, None)
    }

    /// Wraps what the matcher sees and an extra in a handle.
    pub fn with_extra(owner: Owner, extra: Option<ObjectExtra>) -> Self {
        let extra = extra.map(Box::new);
        Self(Arc::new(Data { owner, extra }))
    }

    /// What else is known of the object, if somebody has asked for it.
    pub fn extra(&self) -> Option<&ObjectExtra> {
        self.0.extra.as_deref()
    }

    /// Whether both handles share the same data (not merely equal data).
    pub fn ptr_eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Deref for ObjectMeta {
    type Target = Owner;

    fn deref(&self) -> &Owner {
        &self.0.owner
    }
}

impl PartialEq for ObjectMeta {
    fn eq(&self, other: &Self) -> bool {
        self.ptr_eq(other) || self.0.owner == other.0.owner
    }
}

impl Eq for ObjectMeta {}

impl HasUid for ObjectMeta {
    fn uid(&self) -> &Uid {
        &self.uid
    }
}

impl Stored for ObjectMeta {
    fn same_extra(&self, other: &Self) -> bool {
        self.ptr_eq(other) || self.0.extra == other.0.extra
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extra_that_is_not_there_takes_one_pointer_alongside_the_owner() {
        assert_eq!(size_of::<ObjectMeta>(), size_of::<usize>());
        assert_eq!(size_of::<Data>(), size_of::<Owner>() + size_of::<usize>());
    }
}
