//! ReplicaSets and Jobs: who controls them, and for how long a deleted one still counts.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use clap::ValueEnum;

use crate::model::{HasUid, Kind, ObjectMeta, OwnerKind, OwnerRef, Seed, Slot, Uid, UidMap};

/// Which list an owner object belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnerSort {
    /// A ReplicaSet.
    ReplicaSet,
    /// A Job.
    Job,
}

impl OwnerSort {
    /// The kind of its objects.
    pub fn kind(self) -> Kind {
        match self {
            Self::ReplicaSet => Kind::REPLICA_SET,
            Self::Job => Kind::JOB,
        }
    }
}

/// Under which controller of a ReplicaSet or Job its pods are announced (D9).
///
/// One step only, as the legacy takes: what controls the controller is not asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Escalate {
    /// A Deployment for a ReplicaSet, a CronJob for a Job, else the ReplicaSet or Job itself
    #[default]
    Known,
    /// Any controller, an Argo Rollout for instance
    ///
    /// A controller of kind `NoOwner` is none.
    Any,
}

impl Escalate {
    /// The owner a pod with this direct owner is announced under, given that owner's controller.
    pub fn effective<'a>(
        self,
        direct: &'a OwnerRef,
        controller: Option<&'a OwnerRef>,
    ) -> &'a OwnerRef {
        match controller {
            Some(controller) if self.escalates(direct, controller) => controller,
            Some(_) | None => direct,
        }
    }

    fn escalates(self, direct: &OwnerRef, controller: &OwnerRef) -> bool {
        use OwnerKind::{CronJob, Deployment, Job, NoOwner, ReplicaSet};
        match self {
            Self::Known => {
                let pair = matches!(
                    (&direct.kind, &controller.kind),
                    (ReplicaSet, Deployment) | (Job, CronJob)
                );
                pair && !direct.custom && !controller.custom
            }
            Self::Any => waits_for(direct) && controller.kind != NoOwner,
        }
    }
}

/// How well a feed knows the direct owner of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnerStatus {
    /// The pod has none, or none that is waited for.
    Unneeded,
    /// It is there.
    Known,
    /// It is deleted, and still resolves pods.
    Deleted,
    /// It has never been seen, or is forgotten: a pod that is live all the same has waited long
    /// enough (D9), or stays under the owner last resolved.
    Unknown,
}

/// Whether a pod with this direct owner has to wait until that owner is known: whether it is
/// one of the ReplicaSets and Jobs that are watched.
pub(super) fn waits_for(direct: &OwnerRef) -> bool {
    match direct.kind {
        OwnerKind::ReplicaSet | OwnerKind::Job => !direct.custom,
        OwnerKind::Deployment | OwnerKind::CronJob | OwnerKind::NoOwner | OwnerKind::Other(_) => {
            false
        }
    }
}

/// The owners that one feed knows.
#[derive(Debug)]
pub(super) struct Owners {
    table: UidMap<Entry>,
    /// Deleted owners in the order of their deletion.
    deleted: BTreeMap<u64, (Slot, Instant)>,
    deletions: u64,
    limit: usize,
    retention: Option<Duration>,
    escalate: Escalate,
}

/// What [`Owners::apply`] has learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OwnerChange {
    /// The owner was unknown until now.
    Owner,
    /// A known one has another controller.
    Controller,
    /// Nothing that matters to its pods.
    Nothing,
}

#[derive(Debug)]
struct Entry {
    meta: ObjectMeta,
    /// The number of its deletion, if it is deleted.
    deleted: Option<u64>,
}

impl HasUid for Entry {
    fn uid(&self) -> &Uid {
        &self.meta.uid
    }
}

impl Owners {
    pub(super) fn new(
        limit: usize,
        retention: Option<Duration>,
        escalate: Escalate,
        seed: Seed,
    ) -> Self {
        Self {
            table: UidMap::new(seed),
            deleted: BTreeMap::new(),
            deletions: 0,
            limit,
            retention,
            escalate,
        }
    }

    /// Takes note of an owner.
    pub(super) fn apply(&mut self, meta: &ObjectMeta) -> OwnerChange {
        let mut learnt = OwnerChange::Nothing;
        let slot = self.table.find_or_insert_with(&meta.uid, || {
            learnt = OwnerChange::Owner;
            Entry {
                meta: meta.clone(),
                deleted: None,
            }
        });
        if let Some(owner) = self.table.get_mut(slot) {
            if owner.meta.controller != meta.controller {
                learnt = OwnerChange::Controller;
            }
            owner.meta = meta.clone();
            // An owner that was added again is not deleted (D9).
            if let Some(number) = owner.deleted.take() {
                self.deleted.remove(&number);
            }
        }
        learnt
    }

    /// Keeps this handle of a known owner that says the same.
    pub(super) fn refresh(&mut self, meta: ObjectMeta) {
        let slot = self.table.find(&meta.uid);
        let known = slot.and_then(|slot| self.table.get_mut(slot));
        if let Some(entry) = known.filter(|entry| entry.meta == meta) {
            entry.meta = meta;
        }
    }

    /// Keeps the owner as a deleted one; an unknown owner stays unknown.
    pub(super) fn delete(&mut self, uid: &Uid, now: Instant) {
        let Some(slot) = self.table.find(uid) else {
            return;
        };
        let Some(owner) = self.table.get_mut(slot) else {
            return;
        };
        if owner.deleted.is_some() {
            return;
        }
        owner.deleted = Some(self.deletions);
        self.deleted.insert(self.deletions, (slot, now));
        self.deletions += 1;
        while self.deleted.len() > self.limit {
            self.purge_oldest();
        }
    }

    /// Forgets the deleted owners whose time is over.
    pub(super) fn expire(&mut self, now: Instant) {
        while self.poll_timeout().is_some_and(|due| due <= now) {
            self.purge_oldest();
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let (_, (_, at)) = self.deleted.first_key_value()?;
        Some(*at + self.retention?)
    }

    /// The effective owner of a pod with this direct owner; `None` if that is not known yet.
    pub(super) fn resolve<'a>(&'a self, direct: &'a OwnerRef) -> Option<&'a OwnerRef> {
        if !waits_for(direct) {
            return Some(direct);
        }
        let owner = self.table.by_uid(&direct.uid)?;
        let controller = owner.meta.controller.as_ref();
        Some(self.escalate.effective(direct, controller))
    }

    /// How well this direct owner of a pod is known.
    pub(super) fn acquaintance(&self, direct: &OwnerRef) -> OwnerStatus {
        if !waits_for(direct) {
            return OwnerStatus::Unneeded;
        }
        match self.table.by_uid(&direct.uid) {
            None => OwnerStatus::Unknown,
            Some(owner) if owner.deleted.is_some() => OwnerStatus::Deleted,
            Some(_) => OwnerStatus::Known,
        }
    }

    /// The controller of this direct owner of a pod, if both are known.
    pub(super) fn controller(&self, direct: &OwnerRef) -> Option<&OwnerRef> {
        let owner = self.table.by_uid(&direct.uid)?;
        owner.meta.controller.as_ref()
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn capacity(&self) -> usize {
        self.table.capacity()
    }

    fn purge_oldest(&mut self) {
        if let Some((_, (slot, _))) = self.deleted.pop_first() {
            self.table.remove(slot);
        }
    }
}
