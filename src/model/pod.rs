//! Pods: the core that decides what is announced, and the extra that only enrichment reads.

use std::{net::Ipv4Addr, ops::Deref, sync::Arc};

use super::{ContainerId, HasUid, OwnerRef, SharedStr, Stored, Uid};

/// A pod as it is known now. A cheap handle: cloning it copies a pointer.
///
/// It reads as its core, and two are equal if their cores are: the matcher, the comparison, the
/// digests and the wire see nothing else.
#[derive(Clone, Debug)]
pub struct PodMeta(Arc<Data>);

/// The core of a [`PodMeta`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// `metadata.uid`; never empty.
    pub uid: Uid,
    /// `metadata.name`.
    pub name: SharedStr,
    /// `metadata.namespace`.
    pub namespace: SharedStr,
    /// The image versions text of protocol 13.0, opaque to us.
    pub version: SharedStr,
    /// The controller; `None` if it has none.
    pub owner: Option<OwnerRef>,
    /// The pod's address; `None` until it has one. Text that is no IPv4 address
    /// (IPv6 among it) is 255.255.255.255, as the legacy sends it (protocol 6.4).
    pub address: Option<Ipv4Addr>,
    /// Whether the pod shares its node's network.
    pub host_network: bool,
    /// In the order of the source.
    pub containers: Box<[ContainerMeta]>,
    /// How many of these, at their end, are init or ephemeral ones. A legacy feed does not
    /// say: 0 there.
    pub auxiliary: u16,
}

/// What else is known of a pod. Only enrichment reads it, and only a source that is asked for
/// it gives it: a legacy feed never does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodExtra {
    /// `metadata.labels`, by key.
    pub labels: Box<[(SharedStr, SharedStr)]>,
    /// Those of `metadata.annotations` that are asked for, by key.
    pub annotations: Box<[(SharedStr, SharedStr)]>,
    /// `spec.nodeName`; empty until it is scheduled.
    pub node: SharedStr,
    /// `status.phase`.
    pub phase: SharedStr,
}

/// A container of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerMeta {
    /// With its runtime prefix; may be empty in a legacy feed.
    pub id: ContainerId,
    /// The container's name within its pod.
    pub name: SharedStr,
    /// The image reference as the source gives it.
    pub image: SharedStr,
}

#[derive(Debug)]
struct Data {
    core: Pod,
    extra: Option<Box<PodExtra>>,
}

impl Pod {
    /// The containers that are neither init nor ephemeral ones.
    pub fn main_containers(&self) -> &[ContainerMeta] {
        let main = self
            .containers
            .len()
            .saturating_sub(usize::from(self.auxiliary));
        self.containers.get(..main).unwrap_or_default()
    }
}

impl PodMeta {
    /// Wraps a core in a handle, without an extra.
    pub fn new(core: Pod) -> Self {
        Self::with_extra(core, None)
    }

    /// Wraps a core and an extra in a handle.
    pub fn with_extra(core: Pod, extra: Option<PodExtra>) -> Self {
        let extra = extra.map(Box::new);
        Self(Arc::new(Data { core, extra }))
    }

    /// What else is known of the pod, if somebody has asked for it.
    pub fn extra(&self) -> Option<&PodExtra> {
        self.0.extra.as_deref()
    }

    /// The same extra around another core.
    #[must_use]
    pub fn with_core(&self, core: Pod) -> Self {
        let extra = self.0.extra.clone();
        Self(Arc::new(Data { core, extra }))
    }

    /// Whether both handles share the same data (not merely equal data).
    pub fn ptr_eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Deref for PodMeta {
    type Target = Pod;

    fn deref(&self) -> &Pod {
        &self.0.core
    }
}

impl PartialEq for PodMeta {
    fn eq(&self, other: &Self) -> bool {
        // Handles of the same data need no look at it.
        self.ptr_eq(other) || self.0.core == other.0.core
    }
}

impl Eq for PodMeta {}

impl HasUid for PodMeta {
    fn uid(&self) -> &Uid {
        &self.uid
    }
}

impl Stored for PodMeta {
    fn same_extra(&self, other: &Self) -> bool {
        self.ptr_eq(other) || self.0.extra == other.0.extra
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extra_that_is_not_there_takes_one_pointer_alongside_the_core() {
        assert_eq!(size_of::<PodMeta>(), size_of::<usize>());
        assert_eq!(size_of::<Data>(), size_of::<Pod>() + size_of::<usize>());
    }
}
