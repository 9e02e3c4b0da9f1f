//! What stays announced although the active feed does not have it live (D3, D4): the pods of
//! the feeds before it, each as it was known last.
//!
//! Invariant: no pod is kept that the active feed has live. So the pods that the reducer shall
//! know are those live in the active feed and the kept ones, and no pod is among both.

use crate::matcher::{Change, Live};
use crate::model::{HasUid, OwnerRef, PodMeta, Seed, Slot, Uid, UidMap};

/// The kept pods: a handle and an owner each.
#[derive(Debug)]
pub(super) struct Kept {
    pods: UidMap<KeptPod>,
    vouched: usize,
}

#[derive(Debug)]
struct KeptPod {
    pod: PodMeta,
    owner: Option<OwnerRef>,
    /// See [`Announcer::vouched`](super::Announcer::vouched).
    vouched: bool,
}

/// A pod has come to be one of a set, or is no longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// The pod.
    pub uid: Uid,
    /// Whether it is one of them now.
    pub is_in: bool,
}

impl Move {
    /// What a change of one feed means for the pods that this feed has live.
    pub fn of(change: &Change<'_>) -> Option<Self> {
        let (uid, is_in) = match change {
            Change::Announced(live) => (&live.pod.uid, true),
            Change::Gone { uid, was_live, .. } if *was_live => (*uid, false),
            Change::Reannounced(_)
            | Change::Updated(_)
            | Change::Gone { .. }
            | Change::Overflow => return None,
        };
        let uid = uid.clone();
        Some(Self { uid, is_in })
    }
}

impl Kept {
    pub(super) const fn new(seed: Seed) -> Self {
        Self {
            pods: UidMap::new(seed),
            vouched: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.pods.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pods.is_empty()
    }

    /// How many of them are vouched for.
    pub(super) fn vouched(&self) -> usize {
        self.vouched
    }

    pub(super) fn contains(&self, uid: &Uid) -> bool {
        !self.is_empty() && self.pods.find(uid).is_some()
    }

    /// Keeps this pod, in this form.
    pub(super) fn insert(&mut self, live: Live<'_>, vouched: bool) {
        self.remove(&live.pod.uid);
        self.pods.find_or_insert_with(&live.pod.uid, || KeptPod {
            pod: live.pod.clone(),
            owner: live.owner.cloned(),
            vouched,
        });
        self.vouched += usize::from(vouched);
    }

    /// Returns whether the pod was kept.
    pub(super) fn remove(&mut self, uid: &Uid) -> bool {
        if self.is_empty() {
            return false;
        }
        let slot = self.pods.find(uid);
        let Some(known) = slot.and_then(|slot| self.pods.remove(slot)) else {
            return false;
        };
        self.vouched -= usize::from(known.vouched);
        true
    }

    /// The first kept pod in this slot or behind it.
    pub(super) fn at_or_after(&self, slot: Slot) -> Option<Live<'_>> {
        let slot = self.pods.at_or_after(slot)?;
        let KeptPod { pod, owner, .. } = self.pods.get(slot)?;
        let owner = owner.as_ref();
        Some(Live { slot, pod, owner })
    }

    /// Those that shall not stay.
    pub(super) fn without(&self, stays: impl Fn(&Uid) -> bool) -> Vec<Uid> {
        let uids = self.pods.iter().map(|(_, known)| &known.pod.uid);
        uids.filter(|uid| !stays(uid)).cloned().collect()
    }
}

impl HasUid for KeptPod {
    fn uid(&self) -> &Uid {
        &self.pod.uid
    }
}
