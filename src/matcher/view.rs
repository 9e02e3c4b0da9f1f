//! What a feed knows of one pod, for a client that asks why it is announced or not.

use std::time::Instant;

use super::{Matcher, PodStatus};
use crate::model::{OwnerRef, PodMeta, Uid};

/// A pod of one feed, live or not.
#[derive(Clone, Copy, Debug)]
pub struct PodView<'a> {
    /// As it is known now.
    pub pod: &'a PodMeta,
    /// Its status; never [`PodStatus::Unknown`].
    pub standing: PodStatus,
    /// Its effective owner as far as that is known; `None` if it has none, or waits for it.
    pub owner: Option<&'a OwnerRef>,
    /// Since when its ReplicaSet or Job is missing; of a live pod too, if it was announced under
    /// that because it had waited long enough (D9).
    pub missing_since: Option<Instant>,
}

impl Matcher {
    /// The pod of this uid.
    pub fn known(&self, uid: &Uid) -> Option<PodView<'_>> {
        let (slot, _) = self.pods.find(uid)?;
        let pod = self.pods.pod_at(slot)?;
        let owner = match self.live_at(slot) {
            Some(live) => live.owner,
            None => pod.owner.as_ref().and_then(|own| self.owners.resolve(own)),
        };
        Some(PodView {
            pod,
            standing: self.standing(uid),
            owner,
            missing_since: self.pods.missing_since(slot),
        })
    }
}
