//! What a feed knows of one pod, for whoever asks why it is told or is not.

use std::time::Instant;

use super::{Matcher, Standing};
use crate::model::{OwnerRef, PodMeta, Uid};

/// A pod of one feed, live or not.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// As it is known now.
    pub pod: &'a PodMeta,
    /// How it stands; never [`Standing::Unknown`].
    pub standing: Standing,
    /// Its effective owner as far as that is known; `None` if it has none, or waits for it.
    pub owner: Option<&'a OwnerRef>,
    /// Since when its ReplicaSet or Job is missed; of a live pod too, if it was told under that
    /// because it had waited long enough (D9).
    pub missing_since: Option<Instant>,
}

impl Matcher {
    /// The pod of this uid.
    pub fn known(&self, uid: &Uid) -> Option<Known<'_>> {
        let (slot, _) = self.pods.find(uid)?;
        let pod = self.pods.pod_at(slot)?;
        let owner = match self.live_at(slot) {
            Some(live) => live.owner,
            None => pod.owner.as_ref().and_then(|own| self.owners.resolve(own)),
        };
        Some(Known {
            pod,
            standing: self.standing(uid),
            owner,
            missing_since: self.pods.missing_since(slot),
        })
    }
}
