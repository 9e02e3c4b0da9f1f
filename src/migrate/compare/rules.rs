//! What may differ between the feeds, and which differences are on purpose.

use std::fmt;

use super::set::SmallEnum;

/// What of a pod differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// It is live in one feed alone. Nothing else is compared then.
    Presence,
    /// The uid or name of its effective owner.
    Owner,
    /// The code of that owner's kind (protocol 6.5).
    Kind,
    /// Its address.
    Address,
    /// Its name.
    Name,
    /// Its namespace.
    Namespace,
    /// Whether it shares its node's network.
    HostNetwork,
    /// The version text.
    Version,
    /// The set of its containers, each with id, name and image.
    Containers,
}

/// A difference on purpose. Each stands with decision and reason in a `[[migration]]` table of
/// `compat/exceptions.toml`, under the name [`Rule::as_str`].
///
/// What a rule expects is counted, never silent. [`Rule::KeptController`], [`Rule::StickyOwner`]
/// and [`Rule::StickyHostNetwork`] cannot distinguish an expected difference from a decoder of ours
/// that loses these fields: for these a count that is a large share of all pods is a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// The native watches report init and ephemeral containers, a legacy watcher does not: main
    /// ones alone are compared. Hides whatever is wrong about the others.
    NotMainContainer,
    /// A legacy watcher sends a container before it has an id, the relay announces it with its id:
    /// only containers with an id are compared. Hides nothing: one that has an id in one feed only
    /// is a difference.
    ContainerWithoutId,
    /// A `Collect` stream has a version, our watches have none, and the stream's latest Info had
    /// no container, so no version either: it is left from before. Hides a lost version of a
    /// pod that has no containers. Where an Info is the whole object (`--reannounce on-change`) it does
    /// not apply.
    StickyVersion,
    /// A `Collect` stream says `true`, our watches say `false`. Kubernetes never changes it,
    /// so this hides a `true` that we fail to read. A reducer does not use it (protocol 6.5). Where an
    /// Info is the whole object it does not apply.
    StickyHostNetwork,
    /// The pod has no owner of its own (any longer), in a `Collect` stream it has, or waits for
    /// it. Hides an owner reference that we fail to read. Where an Info is the whole object it does
    /// not apply.
    StickyOwner,
    /// Both know the same ReplicaSet or Job as the pod's owner; ours has no controller of a
    /// built-in kind that pods are announced under, a `Collect` stream has them under one that it
    /// has (had), or that is of another API group. Hides a controller that we fail to read; not a
    /// ReplicaSet or Job that we fail to hear of. Where an Info is the whole object it applies to
    /// controllers of another API group alone.
    KeptController,
    /// The pod is live in one feed with an address that its latest state lacks, since it has
    /// no containers either; the other feed has never seen an address. Hides an address lost on
    /// the way for a pod without containers.
    StickyAddress,
    /// A `Collect` stream sends 255.255.255.255 for what is not an IPv4 address; we pick the IPv4
    /// one of the pod's several. Hides which one we pick. A reducer does not use it (protocol 6.4).
    Ipv6Address,
    /// The owner's API group is not that of its kind (a Volcano Job): a `Collect` stream, which
    /// does not know groups, lets the pod wait for an owner that never comes. Hides nothing
    /// else: we know the group.
    CustomOwner,
    /// No feed has ever sent the pod's ReplicaSet or Job: a `Collect` stream goes on waiting, the
    /// native feed has the pod under that owner after a while. Hides an owner that both have lost.
    OwnerWait,
    /// The pod's ReplicaSet or Job is deleted: one feed remembers what it was controlled by, the
    /// other began too late to know it. Hides an owner whose delete one feed has heard by
    /// mistake and that the other has lost.
    OwnerGone,
}

impl Field {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 9] = [
        Self::Presence,
        Self::Owner,
        Self::Kind,
        Self::Address,
        Self::Name,
        Self::Namespace,
        Self::HostNetwork,
        Self::Version,
        Self::Containers,
    ];

    /// In one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Presence => "presence",
            Self::Owner => "owner",
            Self::Kind => "kind",
            Self::Address => "address",
            Self::Name => "name",
            Self::Namespace => "namespace",
            Self::HostNetwork => "host-network",
            Self::Version => "version",
            Self::Containers => "containers",
        }
    }
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::NotMainContainer,
        Self::ContainerWithoutId,
        Self::StickyVersion,
        Self::StickyHostNetwork,
        Self::StickyOwner,
        Self::KeptController,
        Self::StickyAddress,
        Self::Ipv6Address,
        Self::CustomOwner,
        Self::OwnerWait,
        Self::OwnerGone,
    ];

    /// Its name in `compat/exceptions.toml`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotMainContainer => "not-main-container",
            Self::ContainerWithoutId => "container-without-id",
            Self::StickyVersion => "sticky-version",
            Self::StickyHostNetwork => "sticky-host-network",
            Self::StickyOwner => "sticky-owner",
            Self::KeptController => "kept-controller",
            Self::StickyAddress => "sticky-address",
            Self::Ipv6Address => "ipv6-address",
            Self::CustomOwner => "custom-owner",
            Self::OwnerWait => "owner-wait",
            Self::OwnerGone => "owner-gone",
        }
    }
}

impl SmallEnum for Field {
    const ALL: &'static [Self] = &Self::ALL;

    fn index(self) -> u32 {
        self as u32
    }
}

impl SmallEnum for Rule {
    const ALL: &'static [Self] = &Self::ALL;

    fn index(self) -> u32 {
        self as u32
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
