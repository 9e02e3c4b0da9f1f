//! What the core announces: five verbs, pushed into a [`Sink`] as they happen.

use crate::model::{ContainerMeta, OwnerRef, PodMeta, Uid};

/// Counts full snapshots sent to the reducer (D3): 0 at the start, one more for each
/// `Collect` stream and for each resync that has another reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

/// Takes what shall be sent to the reducer, in order.
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

    /// A container of a pod that was announced before.
    fn pod_container(&mut self, pod: &Uid, container: &ContainerMeta);

    /// An announced pod is gone.
    fn pod_delete(&mut self, pod: &Uid);

    /// Everything announced on this connection is void; everything is sent again.
    fn pod_resync(&mut self, epoch: Epoch);
}
