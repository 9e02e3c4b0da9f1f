//! Makes feed events of what one stream tells. Pure.
//!
//! Laws (D10, spec 13.2): a text that is not empty overwrites, nothing clears, `true`
//! sticks, an owner is merged field by field; containers are those of the latest Info.
//! A pod's data exists once: what is kept here is the handle that was emitted. What was
//! deleted is forgotten.
//!
//! Absent here: which pods are live, and whether an owner is still good for resolving.

use crate::{
    model::{
        ContainerId, ContainerMeta, Interner, Keyed, MAX_ID_LEN, OwnerKind, OwnerMeta, OwnerObject,
        OwnerRef, Pod, PodMeta, Table, Text, Uid,
    },
    proto::info::{Event as Verb, Type},
    source::{FeedEvent, inet::inet_addr},
};
use kube::runtime::watcher::Event;

use super::{
    Reason,
    info::{ContainerInfo, Info, OwnedInfo, OwnerInfo, PodInfo},
};

/// The objects of one `Collect` stream, as merged so far.
#[derive(Debug, Default)]
pub struct Merger {
    pods: Table<PodMeta>,
    replica_sets: Table<OwnerMeta>,
    jobs: Table<OwnerMeta>,
    shared: Interner,
    listed: bool,
    /// Deletes since the interner was last swept for their sake.
    deletes: usize,
}

#[derive(Clone, Copy)]
enum Change {
    Apply,
    Delete,
}

impl Merger {
    /// Appends what `info` tells: at most two events, and [`FeedEvent::Listed`] before those of
    /// the stream's first MODIFIED or DELETED Info. What cannot be used goes to `dropped`.
    ///
    /// An Info of type ReplicaSet is a pod event too if it carries a pod (quirk Q1).
    pub fn apply(
        &mut self,
        info: Info<'_>,
        events: &mut Vec<FeedEvent>,
        mut dropped: impl FnMut(Reason),
    ) {
        let dropped = &mut dropped;
        // The raw integers: prost's accessors take unknown values for 0.
        let (change, listing) = match Verb::try_from(info.event) {
            Ok(Verb::Added) => (Change::Apply, true),
            Ok(Verb::Modified) => (Change::Apply, false),
            Ok(Verb::Deleted) => (Change::Delete, false),
            Ok(Verb::Error) => return dropped(Reason::ErrorEvent),
            Err(_) => return dropped(Reason::UnknownEvent),
        };
        if !listing && !self.listed {
            self.listed = true;
            events.push(FeedEvent::Listed);
        }
        match Type::try_from(info.r#type) {
            Ok(Type::K8sReplicaset) => {
                let sets = &mut self.replica_sets;
                if let Some(event) = owner(sets, &mut self.shared, change, info.rs_info, dropped) {
                    events.push(FeedEvent::ReplicaSet(event));
                }
                if info.pod_info.is_some() {
                    events.extend(self.pod(change, info.pod_info, dropped));
                }
            }
            Ok(Type::K8sJob) => {
                let jobs = &mut self.jobs;
                if let Some(event) = owner(jobs, &mut self.shared, change, info.job_info, dropped) {
                    events.push(FeedEvent::Job(event));
                }
            }
            Ok(Type::K8sPod) => events.extend(self.pod(change, info.pod_info, dropped)),
            Err(_) => {
                dropped(Reason::UnknownType);
                events.extend(self.pod(change, info.pod_info, dropped));
            }
        }
        if matches!(change, Change::Delete) {
            self.sweep();
        }
    }

    /// How many objects are known.
    pub fn len(&self) -> usize {
        self.pods.len() + self.replica_sets.len() + self.jobs.len()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn pod(
        &mut self,
        change: Change,
        info: Option<PodInfo<'_>>,
        dropped: &mut impl FnMut(Reason),
    ) -> Option<FeedEvent> {
        let mut info = info.or_else(|| refuse(Reason::NoPayload, dropped))?;
        let uid = valid_uid(info.uid, dropped)?;
        let event = match change {
            Change::Delete => Event::Delete(
                take(&mut self.pods, &uid).unwrap_or_else(|| PodMeta::new(unknown_pod(uid))),
            ),
            Change::Apply => {
                valid_owner(info.owner.as_ref(), dropped)?;
                info.container_infos.retain(|container| {
                    let valid = container.id.len() <= MAX_ID_LEN;
                    if !valid {
                        dropped(Reason::ContainerIdTooLong);
                    }
                    valid
                });
                Event::Apply(self.merged_pod(uid, &info))
            }
        };
        Some(FeedEvent::Pod(event))
    }

    fn merged_pod(&mut self, uid: Uid, info: &PodInfo<'_>) -> PodMeta {
        let shared = &mut self.shared;
        if let Some(slot) = self.pods.find(&uid)
            && let Some(known) = self.pods.get_mut(slot)
        {
            if !pod_says_all(known, info) {
                *known = PodMeta::new(merge_pod(uid, Some(known), info, shared));
            }
            return known.clone();
        }
        let pod = PodMeta::new(merge_pod(uid, None, info, shared));
        self.pods.find_or_insert_with(pod.uid(), || pod.clone());
        pod
    }

    /// Lets go of shared texts once deletes may have left as many unused ones as used ones.
    fn sweep(&mut self) {
        self.deletes += 1;
        if self.is_empty() {
            // Those that are still in use elsewhere live on there, unshared.
            self.shared = Interner::default();
            self.deletes = 0;
        } else if self.deletes > (self.shared.len() / 2).max(1024) {
            self.shared.sweep();
            self.deletes = 0;
        }
    }
}

/// A ReplicaSet or Job, given as its uid and owner.
fn owner(
    known: &mut Table<OwnerMeta>,
    shared: &mut Interner,
    change: Change,
    info: Option<OwnedInfo<'_>>,
    dropped: &mut impl FnMut(Reason),
) -> Option<Event<OwnerMeta>> {
    let info = info.or_else(|| refuse(Reason::NoPayload, dropped))?;
    let uid = valid_uid(info.uid, dropped)?;
    match change {
        Change::Delete => {
            let gone = take(known, &uid).unwrap_or_else(|| {
                OwnerMeta::new(OwnerObject {
                    uid,
                    controller: None,
                })
            });
            Some(Event::Delete(gone))
        }
        Change::Apply => {
            valid_owner(info.owner.as_ref(), dropped)?;
            let controller = info.owner.as_ref();
            Some(Event::Apply(merged_owner(known, shared, uid, controller)))
        }
    }
}

fn merged_owner(
    known: &mut Table<OwnerMeta>,
    shared: &mut Interner,
    uid: Uid,
    info: Option<&OwnerInfo<'_>>,
) -> OwnerMeta {
    if let Some(slot) = known.find(&uid)
        && let Some(owner) = known.get_mut(slot)
    {
        if !owner_says_all(owner.controller.as_ref(), info) {
            let controller = merge_owner(owner.controller.as_ref(), info, shared);
            *owner = OwnerMeta::new(OwnerObject { uid, controller });
        }
        return owner.clone();
    }
    let controller = merge_owner(None, info, shared);
    let owner = OwnerMeta::new(OwnerObject { uid, controller });
    known.find_or_insert_with(owner.uid(), || owner.clone());
    owner
}

fn take<T: Keyed>(known: &mut Table<T>, uid: &Uid) -> Option<T> {
    let slot = known.find(uid)?;
    known.remove(slot)
}

fn unknown_pod(uid: Uid) -> Pod {
    Pod {
        uid,
        name: Text::default(),
        namespace: Text::default(),
        version: Text::default(),
        owner: None,
        address: None,
        host_network: false,
        containers: Box::default(),
        not_main: 0,
    }
}

/// Whether merging `info` would change nothing. Allocates nothing: most updates end here.
fn pod_says_all(known: &Pod, info: &PodInfo<'_>) -> bool {
    text_says_all(&known.name, info.name)
        && text_says_all(&known.namespace, info.ns)
        && text_says_all(&known.version, info.version)
        && (known.host_network || !info.is_host_network)
        && (info.ip.is_empty() || known.address == Some(inet_addr(info.ip)))
        && owner_says_all(known.owner.as_ref(), info.owner.as_ref())
        && known.containers.len() == info.container_infos.len()
        && known
            .containers
            .iter()
            .zip(&info.container_infos)
            .all(|(known, info)| is_container(known, info))
}

fn owner_says_all(known: Option<&OwnerRef>, info: Option<&OwnerInfo<'_>>) -> bool {
    match (known, info) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(known), Some(info)) => {
            (info.uid.is_empty() || known.uid == *info.uid)
                && text_says_all(&known.name, info.name)
                && text_says_all(known.kind.as_str(), info.kind)
        }
    }
}

fn text_says_all(known: &str, told: &str) -> bool {
    told.is_empty() || known == told
}

fn is_container(known: &ContainerMeta, info: &ContainerInfo<'_>) -> bool {
    *known.name == *info.name && *known.image == *info.image && known.id == *info.id
}

/// Allocates what is new; all else is a handle of what is known, or shared.
fn merge_pod(uid: Uid, known: Option<&Pod>, info: &PodInfo<'_>, shared: &mut Interner) -> Pod {
    let known_containers = known.map_or(&[][..], |known| &known.containers);
    let containers = info.container_infos.iter().enumerate();
    Pod {
        uid,
        name: merge_text(known.map(|known| &known.name), info.name, |name| {
            name.into()
        }),
        namespace: merge_text(known.map(|known| &known.namespace), info.ns, |text| {
            shared.text(text)
        }),
        version: merge_text(known.map(|known| &known.version), info.version, |text| {
            shared.text(text)
        }),
        owner: merge_owner(
            known.and_then(|known| known.owner.as_ref()),
            info.owner.as_ref(),
            shared,
        ),
        address: match info.ip {
            "" => known.and_then(|known| known.address),
            text => Some(inet_addr(text)),
        },
        host_network: known.is_some_and(|known| known.host_network) || info.is_host_network,
        containers: containers
            .map(|(n, info)| new_container(known_containers.get(n), info, shared))
            .collect(),
        not_main: 0,
    }
}

fn merge_text(known: Option<&Text>, told: &str, new: impl FnOnce(&str) -> Text) -> Text {
    match known {
        Some(known) if text_says_all(known, told) => known.clone(),
        Some(_) | None => new(told),
    }
}

/// The container of an Info. The `known` one in its place, if there was one, mostly has its texts.
fn new_container(
    known: Option<&ContainerMeta>,
    info: &ContainerInfo<'_>,
    shared: &mut Interner,
) -> ContainerMeta {
    let mut text = |known: Option<&Text>, told: &str| match known {
        Some(known) if **known == *told => known.clone(),
        Some(_) | None => shared.text(told),
    };
    ContainerMeta {
        id: ContainerId::new(info.id),
        name: text(known.map(|known| &known.name), info.name),
        image: text(known.map(|known| &known.image), info.image),
    }
}

/// Mixes the fields of what was known and what is told (quirk Q5).
fn merge_owner(
    known: Option<&OwnerRef>,
    info: Option<&OwnerInfo<'_>>,
    shared: &mut Interner,
) -> Option<OwnerRef> {
    if owner_says_all(known, info) {
        return known.cloned();
    }
    let info = info?;
    let Some(known) = known else {
        let kind = OwnerKind::parse(info.kind, shared);
        return Some(shared.owner(Uid::new(info.uid), info.name, kind));
    };
    let uid = match info.uid {
        "" => known.uid.clone(),
        told => Uid::new(told),
    };
    let name = match info.name {
        "" => &known.name,
        told => told,
    };
    let kind = match info.kind {
        "" => known.kind.clone(),
        told => OwnerKind::parse(told, shared),
    };
    Some(shared.owner(uid, name, kind))
}

fn valid_uid(uid: &str, dropped: &mut impl FnMut(Reason)) -> Option<Uid> {
    match uid.len() {
        0 => refuse(Reason::NoUid, dropped),
        1..=MAX_ID_LEN => Some(Uid::new(uid)),
        _ => refuse(Reason::UidTooLong, dropped),
    }
}

fn valid_owner(owner: Option<&OwnerInfo<'_>>, dropped: &mut impl FnMut(Reason)) -> Option<()> {
    match owner {
        Some(owner) if owner.uid.len() > MAX_ID_LEN => refuse(Reason::OwnerUidTooLong, dropped),
        Some(_) | None => Some(()),
    }
}

fn refuse<T>(reason: Reason, dropped: &mut impl FnMut(Reason)) -> Option<T> {
    dropped(reason);
    None
}

#[cfg(test)]
mod tests;
