//! The facts that travel through the relay, in their compact and shared forms.
//!
//! Laws: a [`PodMeta`] or [`OwnerMeta`] is a cheap handle, so an object's data
//! exists once, whoever holds it. Everything is keyed by [`Uid`], never by name.
//! Texts that repeat (namespaces, images, container and owner names) are one
//! allocation for all who share an [`Interner`].
//!
//! Absent here: Kubernetes types, protobuf types, wire codes.

mod ids;
mod intern;
mod kind;
mod seed;
mod slots;
mod table;

use std::{net::Ipv4Addr, ops::Deref, sync::Arc};

pub use ids::{ContainerId, IdBuf, MAX_ID_LEN, Runtime, Uid};
pub use intern::{Interner, Text};
pub use kind::{Form, Kind, KindError, KindRow, KindTable, PerKind, Scope};
pub use seed::Seed;
pub use table::{Keyed, Slot, Table};

/// A pod as it is known now. A cheap handle: cloning it copies a pointer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodMeta(Arc<Pod>);

/// The facts behind a [`PodMeta`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// `metadata.uid`; never empty.
    pub uid: Uid,
    /// `metadata.name`.
    pub name: Text,
    /// `metadata.namespace`.
    pub namespace: Text,
    /// The image versions text of protocol 13.0, opaque to us.
    pub version: Text,
    /// The controller; `None` if it has none.
    pub owner: Option<OwnerRef>,
    /// The pod's address; `None` until it has one. Text that is no IPv4 address
    /// (IPv6 among it) is 255.255.255.255, as the legacy tells it (protocol 6.4).
    pub address: Option<Ipv4Addr>,
    /// Whether the pod shares its node's network.
    pub host_network: bool,
    /// In the order of the source.
    pub containers: Box<[ContainerMeta]>,
    /// How many of these, at their end, are init or ephemeral ones. A legacy feed does not
    /// say: 0 there.
    pub not_main: u16,
}

/// A container of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerMeta {
    /// With its runtime prefix; may be empty in a legacy feed.
    pub id: ContainerId,
    /// The container's name within its pod.
    pub name: Text,
    /// The image reference as the source gives it.
    pub image: Text,
}

/// A ReplicaSet or Job, as far as it matters: who controls it. A cheap handle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerMeta(Arc<OwnerObject>);

/// The facts behind an [`OwnerMeta`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerObject {
    /// `metadata.uid` of the ReplicaSet or Job; never empty.
    pub uid: Uid,
    /// Its own controller; `None` if it has none.
    pub controller: Option<OwnerRef>,
}

/// A reference to a controller. A cheap handle, shared by all who name it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OwnerRef(Arc<Controller>);

/// The facts behind an [`OwnerRef`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Controller {
    /// `ownerReferences[].uid`; may be empty in a legacy feed.
    pub uid: Uid,
    /// `ownerReferences[].name`.
    pub name: Text,
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
    Other(Text),
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

impl Pod {
    /// The containers that are neither init nor ephemeral ones.
    pub fn main_containers(&self) -> &[ContainerMeta] {
        let main = self
            .containers
            .len()
            .saturating_sub(usize::from(self.not_main));
        self.containers.get(..main).unwrap_or_default()
    }
}

impl PodMeta {
    /// Wraps the facts in a handle.
    pub fn new(pod: Pod) -> Self {
        Self(Arc::new(pod))
    }

    /// Whether both handles share the same data (not merely equal data).
    pub fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl OwnerMeta {
    /// Wraps the facts in a handle.
    pub fn new(owner: OwnerObject) -> Self {
        Self(Arc::new(owner))
    }
}

impl OwnerRef {
    /// Wraps the facts in a handle. Sources use [`Interner::owner`] instead, which shares.
    pub fn new(controller: Controller) -> Self {
        Self(Arc::new(controller))
    }
}

impl Deref for PodMeta {
    type Target = Pod;

    fn deref(&self) -> &Pod {
        &self.0
    }
}

impl Deref for OwnerMeta {
    type Target = OwnerObject;

    fn deref(&self) -> &OwnerObject {
        &self.0
    }
}

impl Deref for OwnerRef {
    type Target = Controller;

    fn deref(&self) -> &Controller {
        &self.0
    }
}

impl Keyed for PodMeta {
    fn uid(&self) -> &Uid {
        &self.0.uid
    }
}

impl Keyed for OwnerMeta {
    fn uid(&self) -> &Uid {
        &self.0.uid
    }
}
