//! Live pods by the ReplicaSet or Job they are announced through, for the sake of D14: when that
//! changes its controller, they come under another effective owner.

use std::collections::BTreeSet;

use super::owners::waits_for;
use crate::model::{PodMeta, Slot, Uid};

/// Pairs of an owner and a live pod.
#[derive(Debug, Default)]
pub(super) struct ByOwner(BTreeSet<(Uid, Slot)>);

impl ByOwner {
    /// The pod in this slot is live.
    pub(super) fn insert(&mut self, slot: Slot, pod: &PodMeta) {
        if let Some(owner) = followed_by(pod) {
            self.0.insert((owner.clone(), slot));
        }
    }

    /// The pod in this slot is live no longer, if it was.
    pub(super) fn remove(&mut self, slot: Slot, pod: &PodMeta) {
        if let Some(owner) = followed_by(pod) {
            self.0.remove(&(owner.clone(), slot));
        }
    }

    /// The live pod in this slot has changed. Returns whether it is announced through another
    /// owner.
    pub(super) fn moved(&mut self, slot: Slot, before: &PodMeta, now: &PodMeta) -> bool {
        let has_moved = followed_by(before) != followed_by(now);
        if has_moved {
            self.remove(slot, before);
            self.insert(slot, now);
        }
        has_moved
    }

    /// The live pods that are announced through this owner.
    pub(super) fn of(&self, owner: &Uid) -> impl Iterator<Item = Slot> {
        let first = (owner.clone(), Slot::FIRST);
        let all = self.0.range(first..);
        let of = owner.clone();
        all.take_while(move |(owner, _)| *owner == of)
            .map(|(_, slot)| *slot)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// The ReplicaSet or Job through which this pod is announced.
fn followed_by(pod: &PodMeta) -> Option<&Uid> {
    let direct = pod.owner.as_ref().filter(|direct| waits_for(direct))?;
    Some(&direct.uid)
}
