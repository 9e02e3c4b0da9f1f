//! What one feed knows: its pods, its ReplicaSets and Jobs, and which pods are *live*.
//!
//! Invariants: a pod is live exactly while it has an address and a resolved owner, or none; every
//! change of that is one [`Change`]. A pod that waits too long becomes live under its direct owner
//! (D9).
//!
//! Absent here: what the reducer was sent (`announce`), other feeds, sockets, clocks, async. Time
//! comes in as `now`.

mod alongside;
mod by_owner;
mod deadlines;
mod owners;
mod pods;
mod view;

use std::time::{Duration, Instant};

pub use alongside::Finder;
use clap::ValueEnum;
pub use owners::{Escalate, OwnerSort, OwnerStatus};
pub use pods::Live;
use pods::PodState;
pub use view::PodView;

use crate::model::{ObjectMeta, OwnerRef, PodMeta, Seed, Slot, Uid};
use owners::{OwnerChange, Owners};
use pods::Pods;

/// What a feed is held to (D9, D10, D14).
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Deleted ReplicaSets and Jobs that still resolve pods; beyond it the oldest goes first.
    pub deleted_owners: usize,
    /// How long they do at most; `None`: no limit in time.
    pub owner_retention: Option<Duration>,
    /// With this many waiting pods the feed overflows; `None`: never.
    pub waiting_cap: Option<usize>,
    /// A pod that has waited this long is announced under its direct owner, under
    /// [`Reannounce::OnChange`] also one that was announced under another; `None`: never.
    pub owner_wait: Option<Duration>,
    /// Whether an event of a live pod sends all its containers again (recorded legacy
    /// behaviour) or only those that the reducer lacks.
    pub repeat_containers: bool,
    /// Which controllers of a ReplicaSet or Job its pods are announced under.
    pub escalate: Escalate,
    /// Whether live pods follow their owner's owner. The announcer has the same setting.
    pub reannounce: Reannounce,
    /// What the places of its tables depend on; nothing that is announced does.
    pub seed: Seed,
}

/// What one feed knows, and which of its pods are live.
#[derive(Debug)]
pub struct Matcher {
    policy: Policy,
    pods: Pods,
    owners: Owners,
    overflowed: bool,
}

/// What happens when an announced pod changes (D14). One setting for all feeds, so that they stay
/// comparable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Reannounce {
    /// As the legacy relay: owner, name, namespace and version are sent once
    ///
    /// parity: nothing but new containers is announced. Everything else stays as it was announced
    /// until a full resend announces the pod's latest state.
    #[default]
    Never,
    /// Announce it again, so that the reducer's state equals the cluster's
    ///
    /// It is announced again with its containers when its effective owner, name, namespace,
    /// version, address or network is another, and deleted before that when an announced container
    /// is gone or has another name or image: the reducer lets go of a container only so.
    OnChange,
}

/// Numbers the feeds in the order in which they were opened, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u64);

/// How an event has changed what should be announced.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// The pod is live from now on.
    Announced(Live<'a>),
    /// The owner of a live pod is known at last (D9), has come under another controller, or is one
    /// that has not turned up in time (D14).
    Reannounced(Live<'a>),
    /// An event of a pod that was live already.
    Updated(Live<'a>),
    /// The pod is gone; it may never have been live, or known.
    Gone {
        /// Which pod.
        uid: &'a Uid,
        /// Where it was, if the feed knew it.
        slot: Option<Slot>,
        /// Whether it was live.
        was_live: bool,
    },
    /// The waiting cap is reached; reported once.
    Overflow,
}

/// What a feed makes of a uid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodStatus {
    /// The feed has no such pod.
    Unknown,
    /// It has no address yet.
    NoAddress,
    /// Its ReplicaSet or Job is not known yet.
    Waiting,
    /// It is, or should be, announced.
    Live,
}

impl Policy {
    /// A `Collect` stream (D9): tombstones bounded by number, the guard rail, repeated containers.
    pub const LEGACY: Self = Self {
        deleted_owners: 10_000,
        owner_retention: None,
        waiting_cap: Some(10_000),
        owner_wait: None,
        repeat_containers: true,
        escalate: Escalate::Known,
        reannounce: Reannounce::Never,
        seed: Seed::FIXED,
    };

    /// The native watches (D9): tombstones for `owner_retention`, no guard rail, pods wait
    /// `owner_wait` at most.
    pub const fn native(owner_wait: Duration, owner_retention: Duration) -> Self {
        Self {
            deleted_owners: 10_000,
            owner_retention: Some(owner_retention),
            waiting_cap: None,
            owner_wait: Some(owner_wait),
            repeat_containers: false,
            escalate: Escalate::Known,
            reannounce: Reannounce::Never,
            seed: Seed::FIXED,
        }
    }
}

impl Matcher {
    /// A feed that knows nothing yet.
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            pods: Pods::new(policy.reannounce, policy.seed),
            owners: Owners::new(
                policy.deleted_owners,
                policy.owner_retention,
                policy.escalate,
                policy.seed,
            ),
            overflowed: false,
        }
    }

    /// The policy it was made with.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// A pod was added or has changed.
    pub fn apply_pod(&mut self, pod: PodMeta, now: Instant, report: &mut impl FnMut(Change<'_>)) {
        let Self {
            policy,
            pods,
            owners,
            overflowed,
        } = self;
        let due = policy.owner_wait.map(|wait| now + wait);
        pods.apply(
            pod,
            now,
            due,
            |owner| owners.resolve(owner).cloned(),
            report,
        );
        let full = policy.waiting_cap.is_some_and(|cap| pods.waiting() >= cap);
        if full && !*overflowed {
            // parity: protocol 13.6, the guard rail; the feed does not come back from it.
            *overflowed = true;
            report(Change::Overflow);
        }
    }

    /// A pod is gone.
    pub fn delete_pod(&mut self, uid: &Uid, report: &mut impl FnMut(Change<'_>)) {
        self.pods.delete(uid, report);
    }

    /// A ReplicaSet or Job was added or has changed: its live pods follow it, its waiting pods
    /// are released. Returns whether live pods may have another effective owner of which no
    /// change reports: so it is under [`Reannounce::Never`] when a known owner changes hands.
    pub fn apply_owner(&mut self, owner: &ObjectMeta, report: &mut impl FnMut(Change<'_>)) -> bool {
        let Self {
            policy,
            pods,
            owners,
            ..
        } = self;
        let controller = owner.controller.as_ref();
        let resolve = |direct: &OwnerRef| policy.escalate.effective(direct, controller).clone();
        match owners.apply(owner) {
            OwnerChange::Owner => {
                pods.follow(&owner.uid, resolve, report);
                pods.release(&owner.uid, resolve, report);
                false
            }
            OwnerChange::Controller => {
                pods.follow(&owner.uid, resolve, report);
                policy.reannounce == Reannounce::Never
            }
            OwnerChange::Nothing => false,
        }
    }

    /// A ReplicaSet or Job is gone; it goes on resolving pods for a while (D9).
    pub fn delete_owner(&mut self, uid: &Uid, now: Instant) {
        self.owners.delete(uid, now);
    }

    /// Does what is due: forgets deleted owners, announces pods that have waited long enough.
    pub fn handle_timeout(&mut self, now: Instant, report: &mut impl FnMut(Change<'_>)) {
        self.owners.expire(now);
        self.pods.give_up_waiting(now, report);
    }

    /// When [`Self::handle_timeout`] is due next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.owners.poll_timeout(), self.pods.poll_timeout()]
            .into_iter()
            .flatten()
            .min()
    }

    /// What is known about this uid.
    pub fn standing(&self, uid: &Uid) -> PodStatus {
        match self.pods.find(uid).map(|(_, state)| state) {
            None => PodStatus::Unknown,
            Some(PodState::NoAddress) => PodStatus::NoAddress,
            Some(PodState::Waiting { .. }) => PodStatus::Waiting,
            Some(PodState::Provisional { .. } | PodState::Live { .. }) => PodStatus::Live,
        }
    }

    /// How well the direct owner of this pod is known.
    pub fn acquaintance(&self, pod: &PodMeta) -> OwnerStatus {
        let direct = pod.owner.as_ref();
        direct.map_or(OwnerStatus::Unneeded, |direct| {
            self.owners.acquaintance(direct)
        })
    }

    /// Whether the ReplicaSet or Job that owns this pod has a controller of another API group
    /// than its kind's: a custom one.
    pub fn has_custom_controller(&self, pod: &PodMeta) -> bool {
        let controller = pod
            .owner
            .as_ref()
            .and_then(|direct| self.owners.controller(direct));
        controller.is_some_and(|controller| controller.custom)
    }

    /// The live pod of this uid.
    pub fn live(&self, uid: &Uid) -> Option<Live<'_>> {
        let (slot, _) = self.pods.find(uid)?;
        self.live_at(slot)
    }

    /// The live pod in this slot, under its owner as known now.
    pub fn live_at(&self, slot: Slot) -> Option<Live<'_>> {
        self.pods.live_at(slot, |owner| self.owners.resolve(owner))
    }

    /// If this pod is known in this very form, its extra among it, its handle is kept from now on.
    /// Returns whether that is so.
    pub fn hold(&mut self, pod: &PodMeta) -> bool {
        self.pods.hold(pod)
    }

    /// A pod has another extra, which says nothing to a matcher: if it is known in this form, this
    /// handle is kept from now on, so that its data exists once.
    pub fn refresh(&mut self, pod: PodMeta) {
        self.pods.refresh(pod);
    }

    /// The same for a ReplicaSet or Job.
    pub fn refresh_owner(&mut self, owner: ObjectMeta) {
        self.owners.refresh(owner);
    }

    /// The pod of this uid, live or not.
    pub fn pod(&self, uid: &Uid) -> Option<&PodMeta> {
        let (slot, _) = self.pods.find(uid)?;
        self.pods.pod_at(slot)
    }

    /// The pod in this slot, live or not.
    pub fn pod_at(&self, slot: Slot) -> Option<&PodMeta> {
        self.pods.pod_at(slot)
    }

    /// The first slot at or after this one that holds a pod, live or not.
    pub fn pod_at_or_after(&self, slot: Slot) -> Option<Slot> {
        self.pods.at_or_after(slot)
    }

    /// All live pods in the order in which a full resend announces them.
    pub fn all_live(&self) -> impl Iterator<Item = Live<'_>> {
        self.pods.slots().filter_map(|slot| self.live_at(slot))
    }

    /// How many pods, waiting pods and owners (deleted ones included) are known.
    pub fn counts(&self) -> Counts {
        Counts {
            pods: self.pods.len(),
            live: self.pods.live(),
            waiting: self.pods.waiting(),
            owners: self.owners.len(),
            given_up: self.pods.given_up(),
        }
    }

    /// For how many entries there is room in all maps together.
    pub fn capacity(&self) -> usize {
        self.pods.capacity() + self.owners.capacity()
    }
}

/// The sizes of a feed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Pods known, live or not.
    pub pods: usize,
    /// Live pods.
    pub live: usize,
    /// Pods that wait for their ReplicaSet or Job.
    pub waiting: usize,
    /// ReplicaSets and Jobs, deleted ones that still resolve included.
    pub owners: usize,
    /// Pods announced under their direct owner because they had waited long enough, so far.
    pub given_up: u64,
}
