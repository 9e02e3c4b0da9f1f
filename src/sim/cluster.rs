//! A synthetic cluster, sent as the `Info`s of a watcher.
//!
//! Invariants: pure; every object is a function of the shape and its own number, so a list of any
//! length costs no memory, and an object can be re-sent, changed or deleted later. Uids (36 bytes),
//! container ids (77 bytes) and pod names are unique; there are [`IMAGES`] images.
//!
//! Absent here: clocks and random numbers.

use std::net::Ipv4Addr;

use crate::proto::{
    ContainerInfo, Info, OwnerInfo, PodInfo, ReplicaSetInfo,
    info::{Event, Type},
};

/// How many images the pods of a large cluster run: one of each service and the sidecar's.
pub const IMAGES: u32 = SERVICES + 1;

const SERVICES: u32 = 1_999;
const NAMESPACES: u32 = 200;
const SIDECAR_IMAGE: &str = "registry.example/mesh/proxy:1.20.3";

/// The shape of a cluster: ReplicaSets, each controlled by a Deployment of its own, and
/// pods, dealt out to the ReplicaSets in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Clusters of different seeds share no uid.
    pub seed: u64,
    /// With none, pods have no controller.
    pub replica_sets: u32,
    /// How many pods there are in all.
    pub pods: u32,
    /// Containers of each pod.
    pub containers: u32,
}

impl Cluster {
    /// A cluster of seed 1 whose pods have two containers each.
    pub fn new(replica_sets: u32, pods: u32) -> Self {
        Self {
            seed: 1,
            replica_sets,
            pods,
            containers: 2,
        }
    }

    /// Everything ADDED in the order of a watcher's first lists: ReplicaSets, then pods.
    pub fn list(self) -> impl Iterator<Item = Info> + Send + 'static {
        self.all_replica_sets().chain(self.all_pods())
    }

    /// Everything ADDED in the order that makes every pod wait: pods, then ReplicaSets.
    pub fn list_pods_first(self) -> impl Iterator<Item = Info> + Send + 'static {
        self.all_pods().chain(self.all_replica_sets())
    }

    /// All ReplicaSets, ADDED.
    pub fn all_replica_sets(self) -> impl Iterator<Item = Info> + Send + 'static {
        (0..self.replica_sets).map(move |i| self.replica_set(i))
    }

    /// All pods, ADDED.
    pub fn all_pods(self) -> impl Iterator<Item = Info> + Send + 'static {
        (0..self.pods).map(move |i| self.pod(i))
    }

    /// The ReplicaSet of this number, ADDED.
    pub fn replica_set(&self, number: u32) -> Info {
        let deployment = OwnerInfo {
            uid: self.uid(Object::Deployment, number),
            name: format!("service-{number}"),
            kind: "Deployment".into(),
        };
        Info {
            r#type: Type::K8sReplicaset.into(),
            event: Event::Added.into(),
            rs_info: Some(ReplicaSetInfo {
                uid: self.uid(Object::ReplicaSet, number),
                owner: Some(deployment),
            }),
            ..Info::default()
        }
    }

    /// The pod of this number, ADDED.
    pub fn pod(&self, number: u32) -> Info {
        let set = number.checked_rem(self.replica_sets);
        let owner = set.map(|set| OwnerInfo {
            uid: self.uid(Object::ReplicaSet, set),
            name: replica_set_name(set),
            kind: "ReplicaSet".into(),
        });
        let name = match set {
            Some(set) => format!("{}-{number:05x}", replica_set_name(set)),
            None => format!("pod-{number}"),
        };
        let service = set.unwrap_or(number) % SERVICES;
        let image = format!(
            "registry.example/team-{}/service-{service}:v1.4.0",
            service % 50
        );
        let pod = PodInfo {
            uid: self.uid(Object::Pod, number),
            ip: Ipv4Addr::from_bits(0x0a00_0000 | (number & 0x00ff_ffff)).to_string(),
            owner,
            ns: namespace(set.unwrap_or(number)),
            name,
            version: format!("'{image}'"),
            container_infos: (0..self.containers)
                .map(|nth| self.container(number, nth, &image))
                .collect(),
            ..PodInfo::default()
        };
        Info {
            r#type: Type::K8sPod.into(),
            event: Event::Added.into(),
            pod_info: Some(pod),
            ..Info::default()
        }
    }

    fn container(&self, pod: u32, nth: u32, image: &str) -> ContainerInfo {
        let (name, image) = match nth {
            0 => ("app".into(), image),
            1 => ("proxy".into(), SIDECAR_IMAGE),
            _ => (format!("proxy-{nth}"), SIDECAR_IMAGE),
        };
        let id = [0, 1, 2, 3].map(|lane| self.bits(Object::Container(nth), pod, lane));
        ContainerInfo {
            id: container_id(id),
            name,
            image: image.into(),
        }
    }

    fn uid(&self, object: Object, number: u32) -> String {
        uuid(self.bits(object, number, 0), self.bits(object, number, 1))
    }

    /// 64 well mixed bits that depend on every argument.
    fn bits(&self, object: Object, number: u32, lane: u64) -> u64 {
        let object = match object {
            Object::Deployment => 0,
            Object::ReplicaSet => 1,
            Object::Pod => 2,
            Object::Container(nth) => 3 + u64::from(nth),
        };
        let bits = mix(self.seed ^ mix(object << 2 | lane));
        mix(bits ^ u64::from(number))
    }
}

/// The same object, sent with another event.
pub fn sent_as(event: Event, mut info: Info) -> Info {
    info.event = event.into();
    info
}

#[derive(Clone, Copy)]
enum Object {
    Deployment,
    ReplicaSet,
    Pod,
    /// The container of this number in its pod.
    Container(u32),
}

/// The name of the ReplicaSet of this number.
pub fn replica_set_name(number: u32) -> String {
    format!("service-{number}-{:010x}", mix(number.into()) >> 24)
}

/// The namespace of the ReplicaSet of this number and its pods.
pub fn namespace(replica_set: u32) -> String {
    format!("namespace-{}", replica_set % SERVICES % NAMESPACES)
}

/// A uid of these bits.
pub(super) fn uuid(high: u64, low: u64) -> String {
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}

/// A container id of these bits.
pub(super) fn container_id([a, b, c, d]: [u64; 4]) -> String {
    format!("containerd://{a:016x}{b:016x}{c:016x}{d:016x}")
}

/// A bijection under which neighbours have nothing in common.
pub(super) fn mix(mut bits: u64) -> u64 {
    for odd in [0x9e37_79b9_7f4a_7c15, 0xd6e8_feb8_6659_fd93] {
        bits = (bits ^ bits >> 32).wrapping_add(1).wrapping_mul(odd);
    }
    bits ^ bits >> 29
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashSet;

    use prost::Message;

    use super::*;

    const CLUSTER: Cluster = Cluster {
        seed: 7,
        replica_sets: 3_000,
        pods: 16_000,
        containers: 2,
    };

    fn pods() -> Vec<PodInfo> {
        CLUSTER.all_pods().map(|i| i.pod_info.unwrap()).collect()
    }

    #[test]
    fn a_cluster_is_the_same_each_time_it_is_sent() {
        assert!(CLUSTER.list().eq(CLUSTER.list()));
        assert_eq!(CLUSTER.list().count(), 19_000);
        assert!(CLUSTER.list_pods_first().next() == Some(CLUSTER.pod(0)));
    }

    #[test]
    fn clusters_of_different_seeds_share_no_uid() {
        let uids = |seed| -> HashSet<String> {
            Cluster { seed, ..CLUSTER }
                .all_pods()
                .map(|info| info.pod_info.unwrap().uid)
                .collect()
        };
        assert!(uids(1).is_disjoint(&uids(2)));
    }

    #[test]
    fn uids_container_ids_and_pod_names_are_unique_and_of_real_length() {
        let pods = pods();
        let uids: HashSet<_> = pods.iter().map(|p| &p.uid).collect();
        let names: HashSet<_> = pods.iter().map(|p| &p.name).collect();
        let ids: HashSet<_> = pods
            .iter()
            .flat_map(|p| &p.container_infos)
            .map(|c| &c.id)
            .collect();
        assert_eq!(
            (uids.len(), names.len(), ids.len()),
            (16_000, 16_000, 32_000)
        );
        assert!(uids.iter().all(|uid| uid.len() == 36));
        assert!(ids.iter().all(|id| id.len() == 77));
    }

    #[test]
    fn a_large_cluster_runs_two_thousand_images() {
        let pods = pods();
        let images: HashSet<_> = pods
            .iter()
            .flat_map(|p| &p.container_infos)
            .map(|c| &c.image)
            .collect();
        assert_eq!(images.len(), IMAGES as usize);
    }

    #[test]
    fn every_pod_is_controlled_by_a_replica_set_of_the_list() {
        let sets: HashSet<_> = CLUSTER
            .all_replica_sets()
            .map(|info| info.rs_info.unwrap().uid)
            .collect();
        assert_eq!(sets.len(), 3_000);
        assert!(
            pods()
                .iter()
                .all(|p| sets.contains(&p.owner.as_ref().unwrap().uid))
        );
    }

    #[test]
    fn without_replica_sets_pods_have_no_controller() {
        let cluster = Cluster::new(0, 3);
        assert!(cluster.list().all(|i| i.pod_info.unwrap().owner.is_none()));
    }

    #[test]
    fn a_pod_of_two_containers_takes_about_450_bytes() {
        let bytes: usize = CLUSTER.all_pods().map(|info| info.encoded_len()).sum();
        let each = bytes / 16_000;
        assert!((430..530).contains(&each), "{each} bytes");
    }
}
