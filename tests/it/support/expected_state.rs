//! The rules of D9 written down a second time, as plainly as possible: what is true of a pod is
//! worked out again from everything known, after every event.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use k8s_relay::{
    announce::fields_hash,
    matcher::{Escalate, Live, Policy, Reannounce},
    model::{
        ContainerId, ContainerMeta, ObjectMeta, OwnerKind, OwnerRef, Pod, PodMeta, Seed, Slot, Uid,
    },
};

/// What one feed has been sent, and what follows from it. Good below the caps.
#[derive(Clone, Debug, Default)]
pub struct ExpectedState {
    pub pods: BTreeMap<Uid, TruePod>,
    owners: BTreeMap<Uid, TrueOwner>,
    owner_wait: Option<Duration>,
    owner_retention: Option<Duration>,
    escalate: Escalate,
    reannounce: Reannounce,
}

#[derive(Clone, Debug)]
pub struct TruePod {
    pub pod: PodMeta,
    pub live: bool,
    /// The owner as resolved when it was announced or by the last event of the pod itself, under
    /// `OnChange` by any event: what is left to announce once the owner is forgotten.
    pub under: Option<OwnerRef>,
    /// It is announced under its direct owner, because it had waited too long.
    pub provisional: bool,
    /// Since when it waits, and for whom: not announced, or announced under the owner it had
    /// before.
    waits: Option<(Instant, Uid)>,
}

#[derive(Clone, Debug)]
struct TrueOwner {
    controller: Option<OwnerRef>,
    deleted: Option<Instant>,
}

impl ExpectedState {
    pub fn new(policy: &Policy) -> Self {
        Self {
            owner_wait: policy.owner_wait,
            owner_retention: policy.owner_retention,
            escalate: policy.escalate,
            reannounce: policy.reannounce,
            ..Self::default()
        }
    }

    pub fn apply_pod(&mut self, mut pod: PodMeta, now: Instant) {
        let before = self.pods.remove(&pod.uid);
        let waits_for = |pod: &PodMeta| {
            let direct = pod.owner.as_ref().filter(|direct| waits_for(direct));
            direct.map(|direct| direct.uid.clone())
        };
        let has_moved = before
            .as_ref()
            .is_some_and(|before| waits_for(&before.pod) != waits_for(&pod));
        if let Some(before) = &before
            && before.live
            && pod.address.is_none()
        {
            let address = before.pod.address;
            pod = PodMeta::new(Pod {
                address,
                ..Pod::clone(&pod)
            });
        }
        let new = TruePod {
            pod: pod.clone(),
            live: false,
            under: None,
            provisional: false,
            waits: None,
        };
        let entry = before.map_or(new, |before| TruePod {
            pod: pod.clone(),
            ..before
        });
        self.pods.insert(pod.uid.clone(), entry);
        self.settle(Some((&pod.uid, has_moved)), now);
    }

    pub fn delete_pod(&mut self, uid: &Uid) {
        self.pods.remove(uid);
    }

    pub fn apply_owner(&mut self, owner: &ObjectMeta, now: Instant) {
        let controller = owner.controller.clone();
        self.owners.insert(
            owner.uid.clone(),
            TrueOwner {
                controller,
                deleted: None,
            },
        );
        self.settle(None, now);
    }

    pub fn delete_owner(&mut self, uid: &Uid, now: Instant) {
        if let Some(owner) = self.owners.get_mut(uid) {
            owner.deleted.get_or_insert(now);
        }
    }

    pub fn time(&mut self, now: Instant) {
        if let Some(retention) = self.owner_retention {
            let over = |owner: &TrueOwner| owner.deleted.is_some_and(|at| at + retention <= now);
            self.owners.retain(|_, owner| !over(owner));
        }
        if let Some(wait) = self.owner_wait {
            for entry in self.pods.values_mut() {
                if entry
                    .waits
                    .as_ref()
                    .is_some_and(|(since, _)| *since + wait <= now)
                {
                    (entry.live, entry.provisional, entry.waits) = (true, true, None);
                    entry.under = entry.pod.owner.clone();
                }
            }
        }
    }

    /// Each live pod as a full resend would send it.
    pub fn live(&self) -> BTreeMap<Uid, Form> {
        let live = self.pods.iter().filter(|(_, entry)| entry.live);
        live.map(|(uid, entry)| {
            let known = resolve(&self.owners, entry.pod.owner.as_ref(), self.escalate);
            let owner = known.unwrap_or_else(|| entry.under.clone());
            (uid.clone(), Form::of(&entry.pod, owner.as_ref()))
        })
        .collect()
    }

    pub fn live_uids(&self) -> BTreeSet<Uid> {
        self.live().into_keys().collect()
    }

    /// `changed`: the pod of the last event, if it was one of a pod, and whether it has another
    /// owner to wait for since.
    fn settle(&mut self, changed: Option<(&Uid, bool)>, now: Instant) {
        let follows = self.reannounce == Reannounce::OnChange;
        for (uid, entry) in &mut self.pods {
            let resolved = resolve(&self.owners, entry.pod.owner.as_ref(), self.escalate);
            let was_announced = entry.live && !entry.provisional;
            entry.live |= entry.pod.address.is_some() && resolved.is_some();
            match (resolved, entry.pod.owner.as_ref()) {
                (Some(owner), _) if entry.live => {
                    if !was_announced || follows || changed.is_some_and(|(one, _)| one == uid) {
                        entry.under = owner;
                    }
                    (entry.provisional, entry.waits) = (false, None);
                }
                (None, direct) if entry.provisional => entry.under = direct.cloned(),
                (None, Some(direct)) if !entry.live && entry.pod.address.is_some() => {
                    let before = entry.waits.take().filter(|(_, whom)| *whom == direct.uid);
                    entry.waits = before.or(Some((now, direct.uid.clone())));
                }
                // It has kept its owner, or has one that may turn up yet; a stream waits
                // indefinitely.
                (None, Some(direct)) if entry.live => {
                    if follows && changed == Some((uid, true)) {
                        entry.waits = Some((now, direct.uid.clone()));
                    }
                }
                (Some(_) | None, _) => entry.waits = None,
            }
        }
    }
}

/// `None`: not known yet. `Some(None)`: no owner.
fn resolve(
    owners: &BTreeMap<Uid, TrueOwner>,
    direct: Option<&OwnerRef>,
    escalate: Escalate,
) -> Option<Option<OwnerRef>> {
    let Some(direct) = direct else {
        return Some(None);
    };
    if !waits_for(direct) {
        return Some(Some(direct.clone()));
    }
    let owner = owners.get(&direct.uid)?;
    let owner = escalate.effective(direct, owner.controller.as_ref());
    Some(Some(owner.clone()))
}

fn waits_for(direct: &OwnerRef) -> bool {
    !direct.custom && matches!(direct.kind, OwnerKind::ReplicaSet | OwnerKind::Job)
}

/// What a pod is announced as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    pub fields: u64,
    /// The first of each id.
    pub containers: BTreeMap<ContainerId, ContainerMeta>,
}

impl Form {
    fn of(pod: &PodMeta, owner: Option<&OwnerRef>) -> Self {
        let slot = Slot::FIRST;
        let last_to_first = pod.containers.iter().rev();
        Self {
            fields: fields_hash(&Live { slot, pod, owner }, Seed::FIXED),
            containers: last_to_first
                .map(|one| (one.id.clone(), one.clone()))
                .collect(),
        }
    }
}
