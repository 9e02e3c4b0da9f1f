//! The folded state of one stream: what must be sent to a relay that comes late.
//!
//! Invariant: a relay that is sent [`Fold::replay`] on a fresh stream knows of the stream what a
//! relay knows that has read all of it. A relay merges the Infos of a stream (protocol 13.2, D10):
//! a text that is not empty overwrites, nothing clears, `true` sticks, an owner is merged field by
//! field, containers are those of the latest Info. So the latest message of an object is kept as it
//! came, fields that are not known here among them; only if it says less than was said before, a
//! message is made that says both. Deleted owners still resolve pods (D9), so they are sent, and
//! then deleted.
//!
//! Absent here: what a relay sends of pods that were deleted. That is nothing.

use std::{collections::VecDeque, sync::Arc};

use prost::Message as _;

use crate::{
    model::{HasUid, Seed, Uid, UidMap},
    proto::{self, info::Event, info::Type},
    source::legacy::info::{ContainerInfo, Info, OwnedInfo, OwnerInfo, PodInfo},
};

/// The event's field once more: of a field that comes again the last one counts.
const ADDED: [u8; 2] = [0x10, 0];
const DELETED: [u8; 2] = [0x10, 2];

/// How many deleted owners are kept, oldest first out (D9).
const GONE: usize = 10_000;

/// The objects of one stream, each as a message that holds it.
#[derive(Debug)]
pub struct Fold {
    replica_sets: UidMap<FoldEntry>,
    jobs: UidMap<FoldEntry>,
    pods: UidMap<FoldEntry>,
    /// Deleted owners in the order of their deletion, with the number of that.
    gone: VecDeque<(Uid, Type, u64)>,
    deletes: u64,
    unreadable: u64,
}

/// A message as it can be sent, any number of times.
pub type Message = Arc<[u8]>;

#[derive(Debug)]
struct FoldEntry {
    uid: Uid,
    /// ADDED.
    message: Message,
    /// The number of its deletion.
    gone: Option<u64>,
}

impl HasUid for FoldEntry {
    fn uid(&self) -> &Uid {
        &self.uid
    }
}

impl Fold {
    /// Nothing was sent yet.
    pub fn new(seed: Seed) -> Self {
        Self {
            replica_sets: UidMap::new(seed),
            jobs: UidMap::new(seed),
            pods: UidMap::new(seed),
            gone: VecDeque::new(),
            deletes: 0,
            unreadable: 0,
        }
    }

    /// Takes the next message of the stream. Whatever is no `Info` changes nothing: a relay ends
    /// the stream there.
    pub fn apply(&mut self, message: &[u8]) {
        let Ok(info) = Info::read(message) else {
            self.unreadable += 1;
            return;
        };
        let deleted = match Event::try_from(info.event) {
            Ok(Event::Added | Event::Modified) => false,
            Ok(Event::Deleted) => true,
            Ok(Event::Error) | Err(_) => return,
        };
        let kind = match Type::try_from(info.r#type) {
            Ok(Type::K8sReplicaset) => Type::K8sReplicaset,
            Ok(Type::K8sJob) => Type::K8sJob,
            // What is of no known type is taken for a pod.
            Ok(Type::K8sPod) | Err(_) => Type::K8sPod,
        };
        // A ReplicaSet's Info may carry a pod as well (quirk Q1).
        let also_pod = kind == Type::K8sReplicaset && info.pod_info.is_some();
        let raw = (!also_pod).then_some(message);
        if let Some(owner) = owner_of(&info, kind) {
            if deleted {
                self.delete_owner(kind, owner.uid);
            } else {
                self.owner(kind, &owner, raw);
            }
        }
        if let Some(pod) = &info.pod_info
            && (kind == Type::K8sPod || also_pod)
        {
            if deleted {
                remove(&mut self.pods, &Uid::new(pod.uid));
            } else {
                self.pod(pod, raw);
            }
        }
    }

    /// The messages that lead a fresh stream to the same state, in the order of a watcher: the
    /// ReplicaSets, the Jobs, the Pods; and the deletion of owners that are gone.
    pub fn replay(&self) -> Vec<Message> {
        let objects = [&self.replica_sets, &self.jobs, &self.pods];
        let entry = objects.into_iter().flat_map(UidMap::iter);
        let added = entry.map(|(_, entry)| entry.message.clone());
        let gone = self.gone.iter().filter_map(|(uid, kind, number)| {
            let entry = self.owners(*kind).by_uid(uid)?;
            let is_gone = entry.gone == Some(*number);
            is_gone.then(|| [&entry.message[..], &DELETED].concat().into())
        });
        added.chain(gone).collect()
    }

    /// How many objects are held.
    pub fn len(&self) -> usize {
        self.replica_sets.len() + self.jobs.len() + self.pods.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many messages were no `Info`.
    pub fn unreadable(&self) -> u64 {
        self.unreadable
    }

    /// `raw` is the message if it holds nothing else.
    fn owner(&mut self, kind: Type, info: &OwnedInfo<'_>, raw: Option<&[u8]>) {
        let table = self.owners_mut(kind);
        keep(table, info.uid, |known| {
            let known = known.and_then(|known| owner_of(&known, kind));
            let says_all = known.is_none_or(|known| owner_says_all(known.owner, info.owner));
            match raw {
                Some(raw) if says_all => as_added(raw),
                Some(_) | None => owner_message(kind, known.as_ref(), info),
            }
        });
    }

    fn pod(&mut self, info: &PodInfo<'_>, raw: Option<&[u8]>) {
        keep(&mut self.pods, info.uid, |known| {
            let known = known.and_then(|known| known.pod_info);
            let says_all = known.as_ref().is_none_or(|known| pod_says_all(known, info));
            match raw {
                Some(raw) if says_all => as_added(raw),
                Some(_) | None => pod_message(known.as_ref(), info),
            }
        });
    }

    fn delete_owner(&mut self, kind: Type, uid: &str) {
        let uid = Uid::new(uid);
        let number = self.deletes;
        let table = self.owners_mut(kind);
        let Some(entry) = table.find(&uid).and_then(|slot| table.get_mut(slot)) else {
            return;
        };
        entry.gone = Some(number);
        self.deletes += 1;
        self.gone.push_back((uid, kind, number));
        if self.gone.len() > GONE
            && let Some((uid, kind, number)) = self.gone.pop_front()
        {
            let table = self.owners_mut(kind);
            if table
                .by_uid(&uid)
                .is_some_and(|entry| entry.gone == Some(number))
            {
                remove(table, &uid);
            }
        }
    }

    fn owners(&self, kind: Type) -> &UidMap<FoldEntry> {
        match kind {
            Type::K8sReplicaset => &self.replica_sets,
            Type::K8sJob => &self.jobs,
            Type::K8sPod => &self.pods,
        }
    }

    fn owners_mut(&mut self, kind: Type) -> &mut UidMap<FoldEntry> {
        match kind {
            Type::K8sReplicaset => &mut self.replica_sets,
            Type::K8sJob => &mut self.jobs,
            Type::K8sPod => &mut self.pods,
        }
    }
}

/// Keeps the message that `make` makes from what is known of the object.
fn keep(table: &mut UidMap<FoldEntry>, uid: &str, make: impl FnOnce(Option<Info<'_>>) -> Message) {
    if uid.is_empty() {
        return;
    }
    let uid = Uid::new(uid);
    if let Some(slot) = table.find(&uid)
        && let Some(entry) = table.get_mut(slot)
    {
        // A deleted owner that is sent again begins again.
        let known = entry
            .gone
            .is_none()
            .then(|| Info::read(&entry.message).ok());
        entry.message = make(known.flatten());
        entry.gone = None;
    } else {
        let message = make(None);
        table.find_or_insert_with(&uid, || FoldEntry {
            uid: uid.clone(),
            message,
            gone: None,
        });
    }
}

fn remove(table: &mut UidMap<FoldEntry>, uid: &Uid) {
    if let Some(slot) = table.find(uid) {
        table.remove(slot);
    }
}

/// The message with ADDED for its event.
fn as_added(raw: &[u8]) -> Message {
    [raw, &ADDED].concat().into()
}

fn owner_of<'a>(info: &Info<'a>, kind: Type) -> Option<OwnedInfo<'a>> {
    match kind {
        Type::K8sReplicaset => info.rs_info,
        Type::K8sJob => info.job_info,
        Type::K8sPod => None,
    }
}

/// Whether nothing that is `known` gets lost if `info` alone is sent.
fn pod_says_all(known: &PodInfo<'_>, info: &PodInfo<'_>) -> bool {
    let texts = |pod: &PodInfo<'_>| [pod.ip, pod.ns, pod.name, pod.version].map(str::is_empty);
    let says = |(known, says_it): (bool, bool)| known || !says_it;
    texts(known).into_iter().zip(texts(info)).all(says)
        && (info.is_host_network || !known.is_host_network)
        && owner_says_all(known.owner, info.owner)
}

fn owner_says_all(known: Option<OwnerInfo<'_>>, info: Option<OwnerInfo<'_>>) -> bool {
    match (known, info) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(known), Some(info)) => {
            let texts =
                |owner: OwnerInfo<'_>| [owner.uid, owner.name, owner.kind].map(str::is_empty);
            let says = |(known, says_it): (bool, bool)| known || !says_it;
            texts(known).into_iter().zip(texts(info)).all(says)
        }
    }
}

fn owner_message(kind: Type, known: Option<&OwnedInfo<'_>>, info: &OwnedInfo<'_>) -> Message {
    let (uid, owner) = (info.uid.to_owned(), known.and_then(|known| known.owner));
    let owner = merged_owner(owner, info.owner);
    let mut message = proto::Info {
        r#type: kind as i32,
        ..proto::Info::default()
    };
    if kind == Type::K8sJob {
        message.job_info = Some(proto::JobInfo { uid, owner });
    } else {
        message.rs_info = Some(proto::ReplicaSetInfo { uid, owner });
    }
    message.encode_to_vec().into()
}

fn pod_message(known: Option<&PodInfo<'_>>, info: &PodInfo<'_>) -> Message {
    let nothing = PodInfo::default();
    let known = known.unwrap_or(&nothing);
    let container = |container: &ContainerInfo<'_>| proto::ContainerInfo {
        id: container.id.to_owned(),
        name: container.name.to_owned(),
        image: container.image.to_owned(),
    };
    let pod = proto::PodInfo {
        uid: info.uid.to_owned(),
        ip: merged(known.ip, info.ip),
        owner: merged_owner(known.owner, info.owner),
        ns: merged(known.ns, info.ns),
        is_host_network: known.is_host_network || info.is_host_network,
        name: merged(known.name, info.name),
        version: merged(known.version, info.version),
        container_infos: info.container_infos.iter().map(container).collect(),
        ..proto::PodInfo::default()
    };
    let message = proto::Info {
        r#type: Type::K8sPod as i32,
        pod_info: Some(pod),
        ..proto::Info::default()
    };
    message.encode_to_vec().into()
}

fn merged_owner(
    known: Option<OwnerInfo<'_>>,
    info: Option<OwnerInfo<'_>>,
) -> Option<proto::OwnerInfo> {
    if known.is_none() && info.is_none() {
        return None;
    }
    let (known, info) = (known.unwrap_or_default(), info.unwrap_or_default());
    Some(proto::OwnerInfo {
        uid: merged(known.uid, info.uid),
        name: merged(known.name, info.name),
        kind: merged(known.kind, info.kind),
    })
}

fn merged(known: &str, sent: &str) -> String {
    if sent.is_empty() { known } else { sent }.to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests;
