//! The pods of one feed: one entry each, in exactly one state, and the index of those that wait.

use std::{collections::BTreeMap, time::Instant};

use super::{Change, Reannounce, by_owner::ByOwner, deadlines::Deadlines};
use crate::model::{HasUid, OwnerRef, Pod, PodMeta, Seed, Slot, Stored, Uid, UidMap};

/// Where a pod is on its way to the reducer.
#[derive(Clone, Debug)]
pub(super) enum PodState {
    /// Not announced: it has no address.
    NoAddress,
    /// Not announced: its ReplicaSet or Job is not known.
    Waiting {
        /// Its number in the order of waiting.
        turn: u64,
    },
    /// Announced under its direct owner because it had waited long enough (D9), or moved to one
    /// that has not turned up for as long (D14).
    Provisional {
        /// Its number in the order of waiting.
        turn: u64,
    },
    /// Announced, and it stays so until it is deleted.
    Live {
        /// The effective owner as last resolved; `None` for a pod without owner. It counts
        /// when the direct owner is not known (any longer). Under [`Reannounce::Never`] it is
        /// resolved by events of the pod only, so that a later change of the ReplicaSet's or
        /// Job's controller is lost when that is forgotten; under [`Reannounce::OnChange`]
        /// it follows such changes, and a pod that moves to an owner that does not turn up
        /// in time becomes provisional.
        under: Option<OwnerRef>,
    },
}

/// A live pod and the owner it is announced under.
#[derive(Clone, Copy, Debug)]
pub struct Live<'a> {
    /// Its place in the order of a full resend.
    pub slot: Slot,
    /// The pod as known now.
    pub pod: &'a PodMeta,
    /// Its effective owner; `None` if it has none.
    pub owner: Option<&'a OwnerRef>,
}

#[derive(Debug)]
pub(super) struct Pods {
    table: UidMap<Entry>,
    /// Waiting and provisional pods by the owner they miss, in the order of waiting.
    missing: BTreeMap<(Uid, u64), Missing>,
    /// When pods that wait have waited long enough.
    deadlines: Deadlines,
    /// Live pods by the owner they are announced through; `None` if changes of it are not
    /// announced.
    by_owner: Option<ByOwner>,
    waiting: usize,
    live: usize,
    given_up: u64,
}

/// A pod that misses its owner, and since when.
#[derive(Clone, Copy, Debug)]
struct Missing {
    slot: Slot,
    since: Instant,
}

#[derive(Debug)]
struct Entry {
    pod: PodMeta,
    state: PodState,
}

impl HasUid for Entry {
    fn uid(&self) -> &Uid {
        &self.pod.uid
    }
}

impl Entry {
    fn is_announced(&self) -> bool {
        match self.state {
            PodState::NoAddress | PodState::Waiting { .. } => false,
            PodState::Provisional { .. } | PodState::Live { .. } => true,
        }
    }
}

impl Pods {
    pub(super) fn new(reannounce: Reannounce, seed: Seed) -> Self {
        Self {
            table: UidMap::new(seed),
            missing: BTreeMap::new(),
            deadlines: Deadlines::default(),
            by_owner: match reannounce {
                Reannounce::Never => None,
                Reannounce::OnChange => Some(ByOwner::default()),
            },
            waiting: 0,
            live: 0,
            given_up: 0,
        }
    }

    /// Takes note of a pod. `due`: when it stops waiting, should it have to wait.
    pub(super) fn apply(
        &mut self,
        mut pod: PodMeta,
        now: Instant,
        due: Option<Instant>,
        resolve: impl Fn(&OwnerRef) -> Option<OwnerRef>,
        report: &mut impl FnMut(Change<'_>),
    ) {
        let slot = self.table.find_or_insert_with(&pod.uid, || Entry {
            pod: pod.clone(),
            state: PodState::NoAddress,
        });
        let Some(entry) = self.table.get_mut(slot) else {
            return;
        };
        let announced = entry.is_announced();
        if let (PodState::Live { under }, Some(_)) = (&entry.state, &self.by_owner)
            && entry.pod.ptr_eq(&pod)
        {
            // Nothing new, and its owner is followed: no need to resolve it again.
            return report(Change::Updated(Live {
                slot,
                pod: &entry.pod,
                owner: under.as_ref(),
            }));
        }
        if announced && pod.address.is_none() && entry.pod.address.is_some() {
            // An announced pod keeps its last address, as in a legacy feed, where nothing clears it
            // (D10): nothing is announced without one, a full resend least of all.
            pod = pod.with_core(Pod {
                address: entry.pod.address,
                ..Pod::clone(&pod)
            });
        }
        let resolution = Resolution::of(&pod, resolve);
        let before = std::mem::replace(&mut entry.pod, pod);
        match (&mut entry.state, resolution) {
            // parity: protocol 13.3.2, a live pod stays live whatever it loses; under an owner that
            // is not known it stays under the one last resolved until that one turns up, or its
            // time is over.
            (PodState::Live { under }, resolution) => {
                let by_owner = self.by_owner.as_mut();
                let has_moved = by_owner.is_some_and(|all| all.moved(slot, &before, &entry.pod));
                match resolution {
                    Resolution::Resolved(owner) => {
                        *under = owner;
                        self.deadlines.settle(slot);
                    }
                    Resolution::Unresolved if has_moved => self.deadlines.move_away(slot, due),
                    Resolution::NoAddress | Resolution::Unresolved => {}
                }
                report(Change::Updated(Live {
                    slot,
                    pod: &entry.pod,
                    owner: under.as_ref(),
                }));
            }
            (PodState::Provisional { turn }, Resolution::NoAddress | Resolution::Unresolved) => {
                let turn = *turn;
                let pod = entry.pod.clone();
                let missing = self.missing.remove(&missing_key(&before, turn));
                let missing = missing.unwrap_or(Missing { slot, since: now });
                self.missing.insert(missing_key(&pod, turn), missing);
                report(Change::Updated(Live {
                    slot,
                    pod: &pod,
                    owner: pod.owner.as_ref(),
                }));
            }
            (PodState::Waiting { .. }, Resolution::Unresolved)
                if misses_the_same(&before, &entry.pod) => {}
            (PodState::NoAddress | PodState::Waiting { .. }, Resolution::NoAddress) => {
                self.leave_queue(slot, &before);
            }
            (PodState::NoAddress | PodState::Waiting { .. }, Resolution::Unresolved) => {
                self.leave_queue(slot, &before);
                self.join_queue(slot, now, due);
            }
            (
                PodState::NoAddress | PodState::Waiting { .. } | PodState::Provisional { .. },
                Resolution::Resolved(owner),
            ) => {
                self.leave_queue(slot, &before);
                self.announce(slot, owner, announced, report);
            }
        }
    }

    /// Forgets a pod.
    pub(super) fn delete(&mut self, uid: &Uid, report: &mut impl FnMut(Change<'_>)) {
        let Some(slot) = self.table.find(uid) else {
            return report(Change::Gone {
                uid,
                slot: None,
                was_live: false,
            });
        };
        let Some(entry) = self.table.get(slot) else {
            return;
        };
        let was_live = entry.is_announced();
        let pod = entry.pod.clone();
        self.leave_queue(slot, &pod);
        self.deadlines.settle(slot);
        if let Some(by_owner) = &mut self.by_owner {
            by_owner.remove(slot, &pod);
        }
        self.table.remove(slot);
        self.live -= usize::from(was_live);
        report(Change::Gone {
            uid,
            slot: Some(slot),
            was_live,
        });
    }

    /// An owner has become known: the pods that missed it are announced, first come first
    /// served. `resolve`: the effective owner of a pod with this direct one.
    pub(super) fn release(
        &mut self,
        uid: &Uid,
        resolve: impl Fn(&OwnerRef) -> OwnerRef,
        report: &mut impl FnMut(Change<'_>),
    ) {
        while let Some(slot) = self.first_missing(uid) {
            let Some(entry) = self.table.get(slot) else {
                return;
            };
            let announced = entry.is_announced();
            let pod = entry.pod.clone();
            self.leave_queue(slot, &pod);
            let owner = pod.owner.as_ref().map(&resolve);
            self.announce(slot, owner, announced, report);
        }
    }

    /// The controller of an owner has become known or another one: the live pods that are announced
    /// through it and come under another effective owner are announced again (D14).
    pub(super) fn follow(
        &mut self,
        uid: &Uid,
        resolve: impl Fn(&OwnerRef) -> OwnerRef,
        report: &mut impl FnMut(Change<'_>),
    ) {
        let Self {
            table,
            by_owner,
            deadlines,
            ..
        } = self;
        for slot in by_owner.iter().flat_map(|by_owner| by_owner.of(uid)) {
            let Some(Entry {
                pod,
                state: PodState::Live { under },
            }) = table.get_mut(slot)
            else {
                continue;
            };
            deadlines.settle(slot);
            let owner = pod.owner.as_ref().map(&resolve);
            if *under == owner {
                continue;
            }
            *under = owner;
            report(Change::Reannounced(Live {
                slot,
                pod,
                owner: under.as_ref(),
            }));
        }
    }

    /// Announces under their direct owner the pods that have waited long enough (D9): waiting
    /// ones, and live ones that have moved to it (D14).
    pub(super) fn give_up_waiting(&mut self, now: Instant, report: &mut impl FnMut(Change<'_>)) {
        while let Some((turn, slot)) = self.deadlines.expire(now) {
            let Some(entry) = self.table.get_mut(slot) else {
                continue;
            };
            let announced = entry.is_announced();
            entry.state = PodState::Provisional { turn };
            self.given_up += 1;
            if announced {
                let missing = Missing { slot, since: now };
                self.missing.insert(missing_key(&entry.pod, turn), missing);
                if let Some(by_owner) = &mut self.by_owner {
                    by_owner.remove(slot, &entry.pod);
                }
            } else {
                self.waiting -= 1;
                self.live += 1;
            }
            let live = Live {
                slot,
                pod: &entry.pod,
                owner: entry.pod.owner.as_ref(),
            };
            report(announcement(live, announced));
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.first()
    }

    pub(super) fn find(&self, uid: &Uid) -> Option<(Slot, &PodState)> {
        let slot = self.table.find(uid)?;
        Some((slot, &self.table.get(slot)?.state))
    }

    /// The pod in this slot, live or not.
    pub(super) fn pod_at(&self, slot: Slot) -> Option<&PodMeta> {
        Some(&self.table.get(slot)?.pod)
    }

    /// The live pod in this slot.
    pub(super) fn live_pod_at(&self, slot: Slot) -> Option<&PodMeta> {
        let entry = self.table.get(slot)?;
        entry.is_announced().then_some(&entry.pod)
    }

    /// Since when the pod in this slot misses its owner, if it does.
    pub(super) fn missing_since(&self, slot: Slot) -> Option<Instant> {
        let entry = self.table.get(slot)?;
        let turn = match entry.state {
            PodState::NoAddress | PodState::Live { .. } => return None,
            PodState::Waiting { turn } | PodState::Provisional { turn } => turn,
        };
        let missing = self.missing.get(&missing_key(&entry.pod, turn))?;
        Some(missing.since)
    }

    /// The live pod in this slot. `resolve` may know its owner better than when it was announced.
    pub(super) fn live_at<'a>(
        &'a self,
        slot: Slot,
        resolve: impl Fn(&'a OwnerRef) -> Option<&'a OwnerRef>,
    ) -> Option<Live<'a>> {
        let Entry { pod, state } = self.table.get(slot)?;
        let owner = match state {
            PodState::NoAddress | PodState::Waiting { .. } => return None,
            PodState::Provisional { .. } => pod.owner.as_ref(),
            PodState::Live { under } => {
                let direct = pod.owner.as_ref();
                direct.and_then(resolve).or(under.as_ref())
            }
        };
        Some(Live { slot, pod, owner })
    }

    /// Keeps this handle, if the pod is known in this very form. Returns whether it is.
    pub(super) fn hold(&mut self, pod: &PodMeta) -> bool {
        let slot = self.table.find(&pod.uid);
        let known = slot.and_then(|slot| self.table.get_mut(slot));
        let known = known.filter(|entry| entry.pod.is_interchangeable(pod));
        let is_known = known.is_some();
        if let Some(entry) = known {
            entry.pod = pod.clone();
        }
        is_known
    }

    pub(super) fn refresh(&mut self, pod: PodMeta) {
        let slot = self.table.find(&pod.uid);
        let known = slot.and_then(|slot| self.table.get_mut(slot));
        if let Some(entry) = known.filter(|entry| entry.pod == pod) {
            entry.pod = pod;
        }
    }

    pub(super) fn at_or_after(&self, slot: Slot) -> Option<Slot> {
        self.table.at_or_after(slot)
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = Slot> {
        self.table.iter().map(|(slot, _)| slot)
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn live(&self) -> usize {
        self.live
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    pub(super) fn given_up(&self) -> u64 {
        self.given_up
    }

    pub(super) fn capacity(&self) -> usize {
        let by_owner = self.by_owner.as_ref().map_or(0, ByOwner::len);
        self.table.capacity() + self.missing.len() + self.deadlines.len() + by_owner
    }

    /// The pod in this slot is live under `owner`. `announced`: it was already, under another one.
    fn announce(
        &mut self,
        slot: Slot,
        owner: Option<OwnerRef>,
        announced: bool,
        report: &mut impl FnMut(Change<'_>),
    ) {
        let Some(entry) = self.table.get_mut(slot) else {
            return;
        };
        self.live += usize::from(!announced);
        entry.state = PodState::Live {
            under: owner.clone(),
        };
        if let Some(by_owner) = &mut self.by_owner {
            by_owner.insert(slot, &entry.pod);
        }
        let live = Live {
            slot,
            pod: &entry.pod,
            owner: owner.as_ref(),
        };
        report(announcement(live, announced));
    }

    /// Lets the pod in this slot wait for its direct owner, behind all others.
    fn join_queue(&mut self, slot: Slot, since: Instant, due: Option<Instant>) {
        let Some(entry) = self.table.get_mut(slot) else {
            return;
        };
        let turn = self.deadlines.wait(slot, due);
        self.waiting += 1;
        entry.state = PodState::Waiting { turn };
        let missing = Missing { slot, since };
        self.missing.insert(missing_key(&entry.pod, turn), missing);
    }

    /// Takes the pod in this slot out of the queue that it joined as `pod`.
    fn leave_queue(&mut self, slot: Slot, pod: &PodMeta) {
        let Some(entry) = self.table.get_mut(slot) else {
            return;
        };
        let turn = match entry.state {
            PodState::NoAddress | PodState::Live { .. } => return,
            PodState::Waiting { turn } => {
                self.waiting -= 1;
                turn
            }
            PodState::Provisional { turn } => turn,
        };
        entry.state = PodState::NoAddress;
        self.missing.remove(&missing_key(pod, turn));
        self.deadlines.lift(turn);
    }

    fn first_missing(&self, uid: &Uid) -> Option<Slot> {
        let (_, missing) = self
            .missing
            .range((uid.clone(), 0)..=(uid.clone(), u64::MAX))
            .next()?;
        Some(missing.slot)
    }
}

/// `announced`: the pod was, under another owner.
fn announcement(live: Live<'_>, announced: bool) -> Change<'_> {
    if announced {
        Change::Reannounced(live)
    } else {
        Change::Announced(live)
    }
}

/// Whether a pod can be announced, as far as the pod itself and the owners go.
enum Resolution {
    NoAddress,
    Unresolved,
    Resolved(Option<OwnerRef>),
}

impl Resolution {
    fn of(pod: &PodMeta, resolve: impl Fn(&OwnerRef) -> Option<OwnerRef>) -> Self {
        match (pod.address, &pod.owner) {
            (None, _) => Self::NoAddress,
            (Some(_), None) => Self::Resolved(None),
            (Some(_), Some(direct)) => match resolve(direct) {
                Some(owner) => Self::Resolved(Some(owner)),
                None => Self::Unresolved,
            },
        }
    }
}

fn misses_the_same(a: &PodMeta, b: &PodMeta) -> bool {
    a.owner.as_ref().map(|owner| &owner.uid) == b.owner.as_ref().map(|owner| &owner.uid)
}

/// The key in [`Pods::missing`] of a pod that waits for its direct owner.
fn missing_key(pod: &PodMeta, turn: u64) -> (Uid, u64) {
    let uid = pod
        .owner
        .as_ref()
        .map_or_else(|| Uid::new(""), |owner| owner.uid.clone());
    (uid, turn)
}
