//! Who owns a pod: objects as far as they own, and references to them.

use std::{ops::Deref, sync::Arc};

use super::{Interner, SharedStr, Uid};

/// An object as far as it matters to the pods that it owns: who controls it. What the matcher sees
/// of an [`ObjectMeta`](super::ObjectMeta).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// `metadata.uid`; never empty.
    pub uid: Uid,
    /// Its own controller; `None` if it has none.
    pub controller: Option<OwnerRef>,
}

/// A reference to a controller. A cheap handle, shared by all who name it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OwnerRef(pub(super) Arc<Controller>);

/// The facts behind an [`OwnerRef`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Controller {
    /// `ownerReferences[].uid`; may be empty in a legacy feed.
    pub uid: Uid,
    /// `ownerReferences[].name`.
    pub name: SharedStr,
    /// What kind of object it is.
    pub kind: OwnerKind,
    /// It shares no more than the kind text with the built-in kind: its API group is another
    /// one, as of a Volcano `Job`. Nothing waits for it and it never escalates. A legacy feed
    /// does not know API groups: `false` there.
    pub custom: bool,
}

/// The kind of a controller. No controller at all is `None`, not a kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OwnerKind {
    /// `ReplicaSet`: usually controlled by a Deployment.
    ReplicaSet,
    /// `Deployment`.
    Deployment,
    /// `Job`: possibly controlled by a CronJob.
    Job,
    /// `CronJob`.
    CronJob,
    /// The literal text `NoOwner`, which a legacy watcher may send (D10).
    NoOwner,
    /// Any other text, the empty one included.
    Other(SharedStr),
}

impl OwnerKind {
    /// Reads a kind text (exact and case-sensitive, protocol 6.5).
    pub fn parse(kind: &str, texts: &mut Interner) -> Self {
        match kind {
            "ReplicaSet" => Self::ReplicaSet,
            "Deployment" => Self::Deployment,
            "Job" => Self::Job,
            "CronJob" => Self::CronJob,
            "NoOwner" => Self::NoOwner,
            other => Self::Other(texts.text(other)),
        }
    }

    /// The kind text.
    pub fn as_str(&self) -> &str {
        match self {
            Self::ReplicaSet => "ReplicaSet",
            Self::Deployment => "Deployment",
            Self::Job => "Job",
            Self::CronJob => "CronJob",
            Self::NoOwner => "NoOwner",
            Self::Other(text) => text,
        }
    }
}

impl OwnerRef {
    /// Wraps the facts in a handle. Sources use [`Interner::owner`] instead, which shares.
    pub fn new(controller: Controller) -> Self {
        Self(Arc::new(controller))
    }
}

impl Deref for OwnerRef {
    type Target = Controller;

    fn deref(&self) -> &Controller {
        &self.0
    }
}
