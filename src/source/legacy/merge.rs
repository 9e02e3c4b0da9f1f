//! Makes feed events of what one stream sends. Pure.
//!
//! Invariants (D10, protocol 13.2): under [`Merging::NothingClears`] a text that is not empty
//! overwrites, nothing clears, `true` sticks, an owner is merged field by field. Under
//! [`Merging::WholeObject`] an Info is the whole object: what it lacks is gone. Containers are
//! those of the latest Info. A pod's data exists once: what is kept here is the handle that was
//! emitted; that is the handle of another stream if the pod is the same there when it is sent
//! first. What was deleted is forgotten.
//!
//! Absent here: which pods are live, and whether an owner is still good for resolving.

use std::net::Ipv4Addr;

use crate::{
    model::{
        ContainerId, ContainerMeta, HasUid, Interner, MAX_ID_LEN, ObjectMeta, Owner, OwnerKind,
        OwnerRef, Pod, PodMeta, Seed, SharedStr, Uid, UidMap,
    },
    proto::info::{Event as Verb, Type},
    source::{FeedEvent, inet::inet_addr},
};
use kube::runtime::watcher::Event;

use super::{
    Elsewhere, Reason,
    info::{ContainerInfo, Info, OwnedInfo, OwnerInfo, PodInfo},
};

/// What becomes of something that was known and that the latest Info of its object lacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Merging {
    /// parity: it stays (`--reannounce never`).
    #[default]
    NothingClears,
    /// It is gone (`--reannounce on-change`). The address of a live pod is kept elsewhere: by
    /// the matcher, for every source.
    WholeObject,
}

/// The objects of one `Collect` stream, as merged so far.
#[derive(Debug)]
pub struct Merger {
    merging: Merging,
    pods: UidMap<PodMeta>,
    replica_sets: UidMap<ObjectMeta>,
    jobs: UidMap<ObjectMeta>,
    shared: Interner,
    elsewhere: Elsewhere,
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
    /// Nothing is known yet.
    pub fn new(merging: Merging, seed: Seed) -> Self {
        Self {
            merging,
            pods: UidMap::new(seed),
            replica_sets: UidMap::new(seed),
            jobs: UidMap::new(seed),
            shared: Interner::new(seed),
            elsewhere: Elsewhere::default(),
            listed: false,
            deletes: 0,
        }
    }

    /// The same, but pods that are held elsewhere in the very form in which they are sent first are
    /// not made again.
    #[must_use]
    pub fn sharing(self, elsewhere: Elsewhere) -> Self {
        Self { elsewhere, ..self }
    }

    /// Appends the events of `info`: at most two events, and [`FeedEvent::Listed`] before those of
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
                let mut sets = Owners(&mut self.replica_sets, &mut self.shared, self.merging);
                if let Some(event) = sets.take(change, info.rs_info, dropped) {
                    events.push(FeedEvent::ReplicaSet(event));
                }
                if info.pod_info.is_some() {
                    events.extend(self.pod(change, info.pod_info, dropped));
                }
            }
            Ok(Type::K8sJob) => {
                let mut jobs = Owners(&mut self.jobs, &mut self.shared, self.merging);
                if let Some(event) = jobs.take(change, info.job_info, dropped) {
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

    /// Forgets all objects and their room.
    pub fn clear(&mut self) {
        self.pods.clear();
        self.replica_sets.clear();
        self.jobs.clear();
        self.shared.clear();
        self.deletes = 0;
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
        let (shared, merging) = (&mut self.shared, self.merging);
        if let Some(slot) = self.pods.find(&uid)
            && let Some(known) = self.pods.get_mut(slot)
        {
            if !pod_says_all(known, info, merging) {
                *known = PodMeta::new(merge_pod(uid, known, info, shared, merging));
            }
            return known.clone();
        }
        let same = |pod: &PodMeta| is_pod(pod, info);
        let pod = self.elsewhere.find(&uid).filter(same);
        let pod = pod.unwrap_or_else(|| self.new_pod(uid, info));
        self.pods.find_or_insert_with(pod.uid(), || pod.clone());
        pod
    }

    /// A pod that was not known. Nearly all of its texts are those of a pod with the same owner:
    /// to compare with these costs less than to find each text among all.
    fn new_pod(&mut self, uid: Uid, info: &PodInfo<'_>) -> PodMeta {
        let Self { pods, shared, .. } = self;
        let Some(owner) = &info.owner else {
            return PodMeta::new(new_pod(uid, info.name.into(), None, None, info, shared));
        };
        let kind = OwnerKind::parse(owner.kind, shared);
        let (owner, sibling) = shared.owner_of(Uid::new(owner.uid), owner.name, kind);
        // If it has gone, whatever has its place will do.
        let like = pods.get(*sibling);
        if like.is_none_or(|like| *like.version != *info.version) {
            *sibling = pods.next();
        }
        let like = like.map(|pod| &**pod);
        PodMeta::new(new_pod(
            uid,
            info.name.into(),
            Some(owner),
            like,
            info,
            shared,
        ))
    }

    /// Lets go of shared texts once deletes may have left as many unused ones as used ones.
    fn sweep(&mut self) {
        self.deletes += 1;
        if self.is_empty() {
            self.shared.clear();
            self.deletes = 0;
        } else if self.deletes > (self.shared.len() / 2).max(1024) {
            self.shared.sweep();
            self.deletes = 0;
        }
    }
}

/// The ReplicaSets or the Jobs of a stream. An Info gives one as its uid and owner.
struct Owners<'a>(&'a mut UidMap<ObjectMeta>, &'a mut Interner, Merging);

impl Owners<'_> {
    fn take(
        &mut self,
        change: Change,
        info: Option<OwnedInfo<'_>>,
        dropped: &mut impl FnMut(Reason),
    ) -> Option<Event<ObjectMeta>> {
        let info = info.or_else(|| refuse(Reason::NoPayload, dropped))?;
        let uid = valid_uid(info.uid, dropped)?;
        match change {
            Change::Delete => {
                let gone = take(self.0, &uid).unwrap_or_else(|| {
                    ObjectMeta::new(Owner {
                        uid,
                        controller: None,
                    })
                });
                Some(Event::Delete(gone))
            }
            Change::Apply => {
                valid_owner(info.owner.as_ref(), dropped)?;
                Some(Event::Apply(self.merged(uid, info.owner.as_ref())))
            }
        }
    }

    fn merged(&mut self, uid: Uid, info: Option<&OwnerInfo<'_>>) -> ObjectMeta {
        let Self(known, shared, merging) = self;
        if let Some(slot) = known.find(&uid)
            && let Some(owner) = known.get_mut(slot)
        {
            if !owner_says_all(owner.controller.as_ref(), info, *merging) {
                let controller = merge_owner(owner.controller.as_ref(), info, shared, *merging);
                *owner = ObjectMeta::new(Owner { uid, controller });
            }
            return owner.clone();
        }
        let controller = merge_owner(None, info, shared, *merging);
        let owner = ObjectMeta::new(Owner { uid, controller });
        known.find_or_insert_with(owner.uid(), || owner.clone());
        owner
    }
}

fn take<T: HasUid>(known: &mut UidMap<T>, uid: &Uid) -> Option<T> {
    let slot = known.find(uid)?;
    known.remove(slot)
}

fn unknown_pod(uid: Uid) -> Pod {
    Pod {
        uid,
        name: SharedStr::default(),
        namespace: SharedStr::default(),
        version: SharedStr::default(),
        owner: None,
        address: None,
        host_network: false,
        containers: Box::default(),
        auxiliary: 0,
    }
}

/// Whether `info` alone makes this very pod. Allocates nothing.
fn is_pod(pod: &Pod, info: &PodInfo<'_>) -> bool {
    pod.auxiliary == 0
        && pod.owner.as_ref().is_none_or(|owner| !owner.custom)
        && pod_says_all(pod, info, Merging::WholeObject)
}

/// Whether merging `info` would change nothing. Allocates nothing: most updates end here.
fn pod_says_all(known: &Pod, info: &PodInfo<'_>, merging: Merging) -> bool {
    merging.says_all(&known.name, info.name)
        && merging.says_all(&known.namespace, info.ns)
        && merging.says_all(&known.version, info.version)
        && known.host_network == merging.host_network(known.host_network, info)
        && known.address == merging.address(known.address, info)
        && owner_says_all(known.owner.as_ref(), info.owner.as_ref(), merging)
        && known.containers.len() == info.container_infos.len()
        && known
            .containers
            .iter()
            .zip(&info.container_infos)
            .all(|(known, info)| is_container(known, info))
}

fn owner_says_all(
    known: Option<&OwnerRef>,
    info: Option<&OwnerInfo<'_>>,
    merging: Merging,
) -> bool {
    match (known, info) {
        (None, None) => true,
        (Some(_), None) => merging == Merging::NothingClears,
        (None, Some(_)) => false,
        (Some(known), Some(info)) => {
            (known.uid == *info.uid || merging.keeps(info.uid))
                && merging.says_all(&known.name, info.name)
                && merging.says_all(known.kind.as_str(), info.kind)
        }
    }
}

impl Merging {
    /// Whether this text of an Info leaves what is known as it is, whatever that is.
    fn keeps(self, sent: &str) -> bool {
        sent.is_empty() && self == Self::NothingClears
    }

    fn says_all(self, known: &str, sent: &str) -> bool {
        known == sent || self.keeps(sent)
    }

    fn host_network(self, known: bool, info: &PodInfo<'_>) -> bool {
        info.is_host_network || known && self == Self::NothingClears
    }

    fn address(self, known: Option<Ipv4Addr>, info: &PodInfo<'_>) -> Option<Ipv4Addr> {
        match info.ip {
            "" => known.filter(|_| self == Self::NothingClears),
            text => Some(inet_addr(text)),
        }
    }
}

fn is_container(known: &ContainerMeta, info: &ContainerInfo<'_>) -> bool {
    *known.name == *info.name && *known.image == *info.image && known.id == *info.id
}

/// Allocates what is new; all else is a handle of what is known, or shared.
fn merge_pod(
    uid: Uid,
    known: &Pod,
    info: &PodInfo<'_>,
    shared: &mut Interner,
    merging: Merging,
) -> Pod {
    let owner = merge_owner(known.owner.as_ref(), info.owner.as_ref(), shared, merging);
    let name = match merging.says_all(&known.name, info.name) {
        true => known.name.clone(),
        false => info.name.into(),
    };
    let new = new_pod(uid, name, owner, Some(known), info, shared);
    let merged = |known: &SharedStr, new: SharedStr| match merging.keeps(&new) {
        true => known.clone(),
        false => new,
    };
    Pod {
        namespace: merged(&known.namespace, new.namespace),
        version: merged(&known.version, new.version),
        address: merging.address(known.address, info),
        host_network: merging.host_network(known.host_network, info),
        ..new
    }
}

/// The pod of an Info alone. Texts that it shares with `like` are the handles of that one.
fn new_pod(
    uid: Uid,
    name: SharedStr,
    owner: Option<OwnerRef>,
    like: Option<&Pod>,
    info: &PodInfo<'_>,
    shared: &mut Interner,
) -> Pod {
    let containers = like.map_or(&[][..], |like| &like.containers);
    let mut text = |like: Option<&SharedStr>, sent: &str| match like {
        Some(like) if **like == *sent => like.clone(),
        Some(_) | None => shared.text(sent),
    };
    Pod {
        uid,
        name,
        namespace: text(like.map(|like| &like.namespace), info.ns),
        version: text(like.map(|like| &like.version), info.version),
        owner,
        address: Merging::WholeObject.address(None, info),
        host_network: info.is_host_network,
        containers: info
            .container_infos
            .iter()
            .enumerate()
            .map(|(n, info)| {
                let like = containers.get(n);
                ContainerMeta {
                    id: ContainerId::new(info.id),
                    name: text(like.map(|like| &like.name), info.name),
                    image: text(like.map(|like| &like.image), info.image),
                }
            })
            .collect(),
        auxiliary: 0,
    }
}

/// Mixes the fields of what was known and what is sent (quirk Q5), where nothing clears.
fn merge_owner(
    known: Option<&OwnerRef>,
    info: Option<&OwnerInfo<'_>>,
    shared: &mut Interner,
    merging: Merging,
) -> Option<OwnerRef> {
    if owner_says_all(known, info, merging) {
        return known.cloned();
    }
    let info = info?;
    let known = known.filter(|_| merging == Merging::NothingClears);
    let Some(known) = known else {
        let kind = OwnerKind::parse(info.kind, shared);
        return Some(shared.owner(Uid::new(info.uid), info.name, kind));
    };
    let uid = match info.uid {
        "" => known.uid.clone(),
        sent => Uid::new(sent),
    };
    let name = match info.name {
        "" => &known.name,
        sent => sent,
    };
    let kind = match info.kind {
        "" => known.kind.clone(),
        sent => OwnerKind::parse(sent, shared),
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
