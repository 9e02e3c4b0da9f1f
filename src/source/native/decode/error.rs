//! What can be wrong with an object, and how often it was.

use thiserror::Error;

use crate::source::ObjectName;

/// Why an object, or a part of one, cannot be used (D12).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum ObjectError {
    /// There is a value of another type where an object belongs.
    #[error("it is not an object")]
    NotAnObject,
    /// `metadata.uid` is missing or empty.
    #[error("it has no uid")]
    NoUid,
    /// `metadata.uid` is longer than [`MAX_ID_LEN`](crate::model::MAX_ID_LEN) (D8).
    #[error("its uid is too long")]
    UidTooLong,
    /// The uid of its controller is longer than that.
    #[error("its controller's uid is too long")]
    OwnerUidTooLong,
    /// An event of a watch with an object that has no `metadata.resourceVersion`, or an
    /// absurd one.
    #[error("it has no version")]
    NoVersion,
    /// A field that is needed has another type than Kubernetes gives it.
    #[error("a field has a wrong type")]
    WrongType,
    /// It is longer than [`MAX_OBJECT_LEN`](super::MAX_OBJECT_LEN).
    #[error("it is too large")]
    TooLarge,
    /// An event of a watch that is of no known type.
    #[error("it is not an event of a known type")]
    UnknownEvent,
    /// Only a container: its id is longer than [`MAX_ID_LEN`](crate::model::MAX_ID_LEN).
    /// The rest of its pod is kept.
    #[error("a container's id is too long")]
    ContainerIdTooLong,
    /// Only a container: a field has a wrong type. The rest of its pod is kept.
    #[error("a container has a field of a wrong type")]
    ContainerWrongType,
    /// Only an entry of `status.podIPs`: it has a wrong type. Its pod is kept.
    #[error("an address has a wrong type")]
    AddressWrongType,
}

impl ObjectError {
    /// Every reason there is, in the order of their declaration.
    pub const ALL: [Self; 11] = [
        Self::NotAnObject,
        Self::NoUid,
        Self::UidTooLong,
        Self::OwnerUidTooLong,
        Self::NoVersion,
        Self::WrongType,
        Self::TooLarge,
        Self::UnknownEvent,
        Self::ContainerIdTooLong,
        Self::ContainerWrongType,
        Self::AddressWrongType,
    ];

    /// The name in logs and metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::NotAnObject => "not_an_object",
            Self::NoUid => "no_uid",
            Self::UidTooLong => "uid_too_long",
            Self::OwnerUidTooLong => "owner_uid_too_long",
            Self::NoVersion => "no_version",
            Self::WrongType => "wrong_type",
            Self::TooLarge => "too_large",
            Self::UnknownEvent => "unknown_event",
            Self::ContainerIdTooLong => "container_id_too_long",
            Self::ContainerWrongType => "container_wrong_type",
            Self::AddressWrongType => "address_wrong_type",
        }
    }
}

/// How often each [`ObjectError`] occurred: objects and parts of objects that were dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    counts: [u64; ObjectError::ALL.len()],
    /// What some of them are called.
    named: Vec<(ObjectName, ObjectError)>,
}

/// So many are named, the first ones.
const MAX_NAMED: usize = 64;

impl Dropped {
    /// Counts one more.
    pub fn count(&mut self, why: ObjectError) {
        if let Some(count) = self.counts.get_mut(why as usize) {
            *count = count.saturating_add(1);
        }
    }

    /// The count of this reason.
    pub fn of(&self, why: ObjectError) -> u64 {
        self.counts.get(why as usize).copied().unwrap_or_default()
    }

    /// Says what one of them is called, which is counted apart.
    pub fn name(&mut self, name: impl FnOnce() -> ObjectName, why: ObjectError) {
        if self.named.len() < MAX_NAMED {
            self.named.push((name(), why));
        }
    }

    /// What is known of what they are called; at most 64 of them.
    pub fn take_named(&mut self) -> Vec<(ObjectName, ObjectError)> {
        std::mem::take(&mut self.named)
    }

    /// Adds what another one has counted and named.
    pub fn add(&mut self, mut more: Self) {
        for (count, more) in self.counts.iter_mut().zip(more.counts) {
            *count = count.saturating_add(more);
        }
        let room = MAX_NAMED.saturating_sub(self.named.len());
        self.named.extend(more.take_named().into_iter().take(room));
    }

    /// Those that occurred, with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (ObjectError, u64)> {
        ObjectError::ALL
            .into_iter()
            .zip(self.counts)
            .filter(|(_, count)| *count > 0)
    }

    /// Whether nothing was dropped.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}
