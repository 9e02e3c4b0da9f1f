//! What the core tells: six verbs, pushed into a [`Sink`] as they happen.

use crate::model::{ContainerMeta, OwnerRef, PodMeta, Uid};

/// Counts whole pictures told to the reducer (D3): 0 at the start, one more for each
/// `Collect` stream and for each resync that has another reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

/// Numbers the feeds in the order in which they were opened, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u64);

/// Takes what the reducer shall be told, in order.
///
/// Every call is taken: a sink never fails. It says by [`Sink::queued`] how much waits
/// to be sent, and the core holds back accordingly (D6).
pub trait Sink {
    /// Bytes that were taken and not yet handed to the network.
    fn queued(&self) -> usize;

    /// A pod under its effective owner, before any of its containers.
    fn pod_new(&mut self, pod: &PodMeta, owner: &OwnerRef);

    /// A pod that has no controller.
    fn pod_new_no_owner(&mut self, pod: &PodMeta);

    /// A container of a pod that was told before.
    fn pod_container(&mut self, pod: &Uid, container: &ContainerMeta);

    /// A told pod is gone.
    fn pod_delete(&mut self, pod: &Uid);

    /// Everything told on this connection is void; the picture is told anew.
    fn pod_resync(&mut self, epoch: Epoch);

    /// Too many pods wait in this legacy feed: its call must end (D9). Not for the reducer.
    fn feed_overflow(&mut self, feed: Generation);
}
