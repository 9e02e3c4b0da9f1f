//! What a reducer knows of one connection's pods: the fold of the messages (protocol 11.2–11.5, 18.5).
//!
//! Invariants: a pod sent again gets the new details and keeps its containers; the first name and
//! image of a container stay; `pod_resync` forgets everything. What the real reducer drops without
//! a word is counted here. Absent here: that reducers share pods between connections, and that a
//! container sent for two pods ends up with the later one (protocol 11.8).

use std::net::Ipv4Addr;

use foldhash::fast::SeedableRandomState;
use hashbrown::HashMap;

use crate::{
    digest::{Digests, PodHasher},
    model::Seed,
    wire::{Message, messages::PodNewWithName},
};

/// Pods a reducer has room for; more are dropped silently (protocol 11.8).
pub const POD_POOL: usize = 220_000;
/// Containers a reducer has room for.
pub const CONTAINER_POOL: usize = 600_000;
/// Bytes that a reducer keeps of a text (protocol 11.2).
pub const KEPT: usize = 64;

/// The pods of one connection. Two states are equal if their pods are; counts do not matter.
#[derive(Clone, Debug)]
pub struct ReducerState {
    pods: HashMap<Box<[u8]>, Pod, SeedableRandomState>,
    containers: usize,
    counts: Counts,
    pod_pool: usize,
    container_pool: usize,
}

/// What was received, and what of it had no effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Pods received, new ones and re-sent ones.
    pub pods_received: u64,
    /// Of these, pods that were known already.
    pub pods_received_again: u64,
    /// Pods lost because the pool was full.
    pub pods_beyond_pool: u64,
    /// Containers received.
    pub containers_received: u64,
    /// Containers ignored because the pod knew their id.
    pub containers_known: u64,
    /// Containers lost because their pod had not been received.
    pub containers_without_pod: u64,
    /// Containers lost because the pool was full.
    pub containers_beyond_pool: u64,
    /// Pods deleted.
    pub deletes: u64,
    /// Deletes of pods that were not known.
    pub deletes_unknown: u64,
    /// Times that everything was forgotten.
    pub resyncs: u64,
}

/// A pod, as it was received last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// The address; a reducer does not use it.
    pub ip: Ipv4Addr,
    /// The code of the owner's kind (protocol 6.5); a reducer does not use it.
    pub owner_kind: u8,
    /// 0 or 1; a reducer does not use it.
    pub is_host_network: u8,
    texts: Texts<5>,
    containers: Vec<Container>,
}

/// A container, as it was received first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    texts: Texts<3>,
}

impl Default for ReducerState {
    fn default() -> Self {
        Self::with_pools(POD_POOL, CONTAINER_POOL)
    }
}

impl PartialEq for ReducerState {
    fn eq(&self, other: &Self) -> bool {
        self.pods == other.pods
    }
}

impl Eq for ReducerState {}

impl ReducerState {
    /// An empty state.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty state of what others send: with the seed of its table.
    pub fn seeded(seed: Seed) -> Self {
        Self {
            pods: HashMap::with_hasher(seed.state()),
            ..Self::default()
        }
    }

    /// An empty state with room for up to this number of pods and containers.
    pub fn with_pools(pod_pool: usize, container_pool: usize) -> Self {
        Self {
            pods: HashMap::with_hasher(Seed::FIXED.state()),
            containers: 0,
            counts: Counts::default(),
            pod_pool,
            container_pool,
        }
    }

    /// What one message changes. Messages that are not about pods change nothing.
    pub fn apply(&mut self, message: &Message<'_>) {
        match message {
            Message::PodNewWithName(pod) => {
                let texts = [
                    pod.pod_name,
                    pod.ns,
                    pod.version,
                    pod.owner_name,
                    pod.owner_uid,
                ];
                let facts = (pod.ip, pod.owner_kind, pod.is_host_network);
                self.pod_new(pod.uid, facts, texts);
            }
            Message::PodNewLegacy(pod) => {
                let texts = [b"", pod.ns, b"", pod.owner_name, pod.owner_uid];
                let facts = (pod.ip, pod.owner_kind, pod.is_host_network);
                self.pod_new(pod.uid, facts, texts);
            }
            Message::PodNewLegacy2(pod) => {
                let texts = [b"", pod.ns, pod.version, pod.owner_name, pod.owner_uid];
                let facts = (pod.ip, pod.owner_kind, pod.is_host_network);
                self.pod_new(pod.uid, facts, texts);
            }
            Message::PodContainer(container) => {
                let texts = [
                    container.container_id,
                    container.container_name,
                    container.container_image,
                ];
                self.pod_container(container.uid, texts);
            }
            Message::PodDelete(pod) => self.pod_delete(pod.uid),
            Message::PodResync(_) => self.pod_resync(),
            Message::VersionInfo(_)
            | Message::Connect(_)
            | Message::ReportCpuCores(_)
            | Message::SetConfigLabel(_)
            | Message::CloudPlatform(_)
            | Message::CloudPlatformAccountInfo(_)
            | Message::SetNodeInfo(_)
            | Message::PrivateIpv4Addr(_)
            | Message::Ipv6Addr(_)
            | Message::PublicToPrivateIpv4(_)
            | Message::MetadataComplete(_)
            | Message::Heartbeat(_)
            | Message::CollectorHealth(_)
            | Message::AgentResourceUsage(_)
            | Message::LogMessage(_)
            | Message::HealthCheck(_)
            | Message::PodContainerLegacy(_) => {}
        }
    }

    /// How many pods are known.
    pub fn pods(&self) -> usize {
        self.pods.len()
    }

    /// How many containers are known.
    pub fn containers(&self) -> usize {
        self.containers
    }

    /// The pod with this uid.
    pub fn pod(&self, uid: &[u8]) -> Option<&Pod> {
        self.pods.get(uid)
    }

    /// All pods, by uid.
    pub fn sorted(&self) -> Vec<(&[u8], &Pod)> {
        let mut pods: Vec<_> = self.pods.iter().map(|(uid, pod)| (&**uid, pod)).collect();
        pods.sort_unstable_by_key(|(uid, _)| *uid);
        pods
    }

    /// The digests of all pods as they were received, computed at each call.
    pub fn digests(&self) -> Digests {
        let (mut digests, mut hasher) = (Digests::default(), PodHasher::default());
        for (uid, pod) in &self.pods {
            let sent = PodNewWithName {
                ip: pod.ip,
                owner_kind: pod.owner_kind,
                is_host_network: pod.is_host_network,
                uid,
                owner_name: pod.owner_name(),
                pod_name: pod.pod_name(),
                owner_uid: pod.owner_uid(),
                ns: pod.ns(),
                version: pod.version(),
            };
            let containers = pod.containers().iter();
            let parts = containers.map(|known| [known.received_id(), known.name(), known.image()]);
            digests.add(pod.ns(), hasher.hash(&sent, parts));
        }
        digests
    }

    /// What was received so far, and what of it was lost.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Forgets all pods. The counts stay.
    pub fn forget(&mut self) {
        self.pods = HashMap::with_hasher(self.pods.hasher().clone());
        self.containers = 0;
    }

    fn pod_new(&mut self, uid: &[u8], facts: (Ipv4Addr, u8, u8), texts: [&[u8]; 5]) {
        self.counts.pods_received += 1;
        let (ip, owner_kind, is_host_network) = facts;
        let pod = Pod {
            ip,
            owner_kind,
            is_host_network,
            texts: Texts::of(texts),
            containers: Vec::new(),
        };
        if let Some(known) = self.pods.get_mut(uid) {
            self.counts.pods_received_again += 1;
            *known = Pod {
                containers: std::mem::take(&mut known.containers),
                ..pod
            };
        } else if self.pods.len() < self.pod_pool {
            self.pods.insert(uid.into(), pod);
        } else {
            self.counts.pods_beyond_pool += 1;
        }
    }

    fn pod_container(&mut self, uid: &[u8], texts: [&[u8]; 3]) {
        self.counts.containers_received += 1;
        let [id, ..] = texts;
        let Some(pod) = self.pods.get_mut(uid) else {
            self.counts.containers_without_pod += 1;
            return;
        };
        let id = without_runtime(id);
        // The cheap half first: a pod may have hundreds of containers.
        let same = |known: &Container| known.received_id().ends_with(id) && known.id() == id;
        if pod.containers.iter().any(same) {
            self.counts.containers_known += 1;
        } else if self.containers < self.container_pool {
            pod.containers.push(Container {
                texts: Texts::of(texts),
            });
            self.containers += 1;
        } else {
            self.counts.containers_beyond_pool += 1;
        }
    }

    fn pod_delete(&mut self, uid: &[u8]) {
        self.counts.deletes += 1;
        match self.pods.remove(uid) {
            Some(pod) => self.containers -= pod.containers.len(),
            None => self.counts.deletes_unknown += 1,
        }
    }

    fn pod_resync(&mut self) {
        self.counts.resyncs += 1;
        self.forget();
    }
}

impl Pod {
    /// The pod's name. Like all texts it is returned as received; a reducer keeps [`kept`] of it.
    pub fn pod_name(&self) -> &[u8] {
        self.texts.get(0)
    }

    /// The namespace.
    pub fn ns(&self) -> &[u8] {
        self.texts.get(1)
    }

    /// The version.
    pub fn version(&self) -> &[u8] {
        self.texts.get(2)
    }

    /// The owner's name; with an empty one a reducer has no use for the pod.
    pub fn owner_name(&self) -> &[u8] {
        self.texts.get(3)
    }

    /// The owner's uid.
    pub fn owner_uid(&self) -> &[u8] {
        self.texts.get(4)
    }

    /// The containers in the order in which they were received.
    pub fn containers(&self) -> &[Container] {
        &self.containers
    }
}

impl Container {
    /// The id as it was received, with the runtime's prefix.
    pub fn received_id(&self) -> &[u8] {
        self.texts.get(0)
    }

    /// The id by which a reducer knows the container: without the runtime's prefix.
    pub fn id(&self) -> &[u8] {
        without_runtime(self.received_id())
    }

    /// The name.
    pub fn name(&self) -> &[u8] {
        self.texts.get(1)
    }

    /// The image as it was received.
    pub fn image(&self) -> &[u8] {
        self.texts.get(2)
    }

    /// All that a reducer keeps of the image: its digest, its tag, or nothing (protocol 11.3).
    pub fn version(&self) -> &[u8] {
        let image = self.image();
        let name = after_last(image, b'/').unwrap_or(image);
        kept(if name.starts_with(b"sha256:") {
            name
        } else {
            after_first(name, b'@')
                .or_else(|| after_first(name, b':'))
                .unwrap_or_default()
        })
    }
}

/// What a reducer keeps of a text: its first [`KEPT`] bytes.
pub fn kept(text: &[u8]) -> &[u8] {
    text.get(..KEPT).unwrap_or(text)
}

/// Without everything up to the first `://`.
fn without_runtime(id: &[u8]) -> &[u8] {
    let runtime = id.windows(3).position(|window| window == b"://");
    runtime.and_then(|at| id.get(at + 3..)).unwrap_or(id)
}

fn after_first(text: &[u8], mark: u8) -> Option<&[u8]> {
    let at = text.iter().position(|&byte| byte == mark)?;
    text.get(at + 1..)
}

fn after_last(text: &[u8], mark: u8) -> Option<&[u8]> {
    let at = text.iter().rposition(|&byte| byte == mark)?;
    text.get(at + 1..)
}

/// Some texts in one piece of memory: states may have hundreds of thousands of them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Texts<const N: usize> {
    bytes: Box<[u8]>,
    /// Where each text ends.
    ends: [usize; N],
}

impl<const N: usize> Texts<N> {
    fn of(texts: [&[u8]; N]) -> Self {
        let mut end = 0;
        let ends = texts.map(|text| {
            end += text.len();
            end
        });
        Self {
            bytes: texts.concat().into(),
            ends,
        }
    }

    fn get(&self, n: usize) -> &[u8] {
        let end = |n: usize| self.ends.get(n).copied().unwrap_or_default();
        let start = n.checked_sub(1).map_or(0, end);
        self.bytes.get(start..end(n)).unwrap_or_default()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
