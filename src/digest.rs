//! One number for a set of live pods, the same in whatever order it is computed.
//!
//! Invariants: pure. The digest of a set is the sum, modulo 2^128, of one XXH3-128 hash for each
//! pod, together with their number; so it is kept incrementally, adding and removing in any order,
//! and a pod that is added and removed leaves nothing. A pod's hash covers its record as it is sent
//! on the wire, its containers as a set; every part is preceded by its length, so no byte can move
//! from one part to the next unnoticed.
//!
//! Absent here: where pods come from, and what is worth comparing.

use std::{
    collections::BTreeMap,
    fmt,
    ops::{AddAssign, SubAssign},
};

use twox_hash::XxHash3_128;

use crate::wire::messages::PodNewWithName;

/// The digest of a set of pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest {
    /// The sum of the pods' hashes, modulo 2^128.
    sum: u128,
    /// How many pods there are.
    pods: u64,
}

/// The digests of each namespace, and of all together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Digests {
    total: Digest,
    namespaces: BTreeMap<Box<[u8]>, Digest>,
}

/// The hash of one pod with its containers. Its halves are apart so that what keeps one
/// needs no room for the alignment of 16 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodHash([u64; 2]);

/// Computes [`PodHash`]es. Keeps its buffers, so that hashing allocates nothing.
#[derive(Debug, Default)]
pub struct PodHasher {
    record: Vec<u8>,
    containers: Vec<PodHash>,
}

impl PodHasher {
    /// The hash of a pod as it is sent, with the id, name and image of each container, in any
    /// order; a container that occurs twice counts once.
    pub fn hash<'a>(
        &mut self,
        pod: &PodNewWithName<'_>,
        containers: impl Iterator<Item = [&'a [u8]; 3]>,
    ) -> PodHash {
        for container in containers {
            self.container(container);
        }
        self.pod(pod)
    }

    /// Takes note of the id, name and image of a container of the next pod.
    pub fn container(&mut self, parts: [&[u8]; 3]) {
        let hash = self.parts(&parts);
        self.containers.push(hash);
    }

    /// The hash of a pod as it is sent, with the containers of which note was taken.
    pub fn pod(&mut self, pod: &PodNewWithName<'_>) -> PodHash {
        self.make_set();
        self.record.clear();
        let (address, kind) = (pod.ip.octets(), [pod.owner_kind, pod.is_host_network]);
        for part in [
            pod.uid,
            &address,
            &kind,
            pod.owner_name,
            pod.owner_uid,
            pod.pod_name,
            pod.ns,
            pod.version,
        ] {
            push(&mut self.record, part);
        }
        for container in self.containers.drain(..) {
            push(&mut self.record, &container.value().to_le_bytes());
        }
        PodHash::of(&self.record)
    }

    /// A hash of the containers of which note was taken, as a set.
    pub fn containers(&mut self) -> PodHash {
        self.make_set();
        self.record.clear();
        for container in self.containers.drain(..) {
            push(&mut self.record, &container.value().to_le_bytes());
        }
        PodHash::of(&self.record)
    }

    fn make_set(&mut self) {
        self.containers.sort_unstable();
        self.containers.dedup();
    }

    fn parts(&mut self, parts: &[&[u8]]) -> PodHash {
        self.record.clear();
        for part in parts {
            push(&mut self.record, part);
        }
        PodHash::of(&self.record)
    }
}

impl PodHash {
    fn of(record: &[u8]) -> Self {
        let value = XxHash3_128::oneshot(record);
        Self([(value >> 64) as u64, value as u64])
    }

    fn value(self) -> u128 {
        let [high, low] = self.0;
        u128::from(high) << 64 | u128::from(low)
    }
}

fn push(record: &mut Vec<u8>, part: &[u8]) {
    record.extend_from_slice(&(part.len() as u64).to_le_bytes());
    record.extend_from_slice(part);
}

impl Digest {
    /// How many pods there are.
    pub fn pods(&self) -> u64 {
        self.pods
    }
}

impl AddAssign<PodHash> for Digest {
    fn add_assign(&mut self, pod: PodHash) {
        self.sum = self.sum.wrapping_add(pod.value());
        self.pods = self.pods.wrapping_add(1);
    }
}

impl SubAssign<PodHash> for Digest {
    fn sub_assign(&mut self, pod: PodHash) {
        self.sum = self.sum.wrapping_sub(pod.value());
        self.pods = self.pods.wrapping_sub(1);
    }
}

/// 32 hexadecimal digits, a slash, and the number of pods.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}/{}", self.sum, self.pods)
    }
}

impl Digests {
    /// A pod of this namespace is there.
    pub fn add(&mut self, namespace: &[u8], pod: PodHash) {
        self.total += pod;
        match self.namespaces.get_mut(namespace) {
            Some(digest) => *digest += pod,
            None => {
                let digest = self.namespaces.entry(namespace.into()).or_default();
                *digest += pod;
            }
        }
    }

    /// A pod of this namespace, added before in this form, is there no longer.
    pub fn remove(&mut self, namespace: &[u8], pod: PodHash) {
        self.total -= pod;
        let Some(digest) = self.namespaces.get_mut(namespace) else {
            return;
        };
        *digest -= pod;
        if *digest == Digest::default() {
            self.namespaces.remove(namespace);
        }
    }

    /// A pod of this namespace has changed from one form into another.
    pub fn replace(&mut self, namespace: &[u8], before: PodHash, now: PodHash) {
        self.total -= before;
        self.total += now;
        if let Some(digest) = self.namespaces.get_mut(namespace) {
            *digest -= before;
            *digest += now;
        }
    }

    /// The digest of all pods.
    pub fn total(&self) -> Digest {
        self.total
    }

    /// The digest of each namespace that has pods, by name.
    pub fn namespaces(&self) -> impl Iterator<Item = (&[u8], Digest)> {
        self.namespaces
            .iter()
            .map(|(name, digest)| (&**name, *digest))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    type Containers<'a> = &'a [[&'a str; 3]];

    /// A pod, and what differs about it.
    fn pod<'a>(uid: &'a str, name: &'a str, namespace: &'a str) -> PodNewWithName<'a> {
        PodNewWithName {
            ip: Ipv4Addr::new(10, 0, 0, 1),
            owner_kind: 1,
            is_host_network: 0,
            uid: uid.as_bytes(),
            owner_name: b"web",
            pod_name: name.as_bytes(),
            owner_uid: b"d1",
            ns: namespace.as_bytes(),
            version: b"'nginx:1'",
        }
    }

    fn hash(pod: &PodNewWithName<'_>, containers: Containers<'_>) -> PodHash {
        let containers = containers.iter().map(|parts| parts.map(str::as_bytes));
        PodHasher::default().hash(pod, containers)
    }

    fn digest(pods: &[(PodNewWithName<'_>, Containers<'_>)]) -> Digest {
        let mut digest = Digest::default();
        for (pod, containers) in pods {
            digest += hash(pod, containers);
        }
        digest
    }

    const A: [&str; 3] = ["containerd://a", "app", "nginx:1"];
    const B: [&str; 3] = ["containerd://b", "proxy", "envoy:1"];

    #[test]
    fn what_is_not_the_same_set_has_another_digest() {
        let (p, q) = (pod("p", "web-1", "shop"), pod("q", "web-2", "shop"));
        let at = |pod: &PodNewWithName<'static>, last| PodNewWithName {
            ip: Ipv4Addr::new(10, 0, 0, last),
            ..*pod
        };
        let one = digest(&[(at(&p, 1), &[A]), (at(&q, 2), &[B])]);
        for (what, other) in [
            (
                "two pods swap their address",
                digest(&[(at(&p, 2), &[A]), (at(&q, 1), &[B])]),
            ),
            (
                "a container moves to another pod",
                digest(&[(at(&p, 1), &[]), (at(&q, 2), &[A, B])]),
            ),
            (
                "a pod occurs twice",
                digest(&[(at(&p, 1), &[A]), (at(&q, 2), &[B]), (at(&q, 2), &[B])]),
            ),
            ("a pod is missing", digest(&[(at(&p, 1), &[A])])),
        ] {
            assert_ne!(one, other, "{what}");
        }
    }

    #[test]
    fn a_byte_that_moves_over_a_boundary_changes_the_hash() {
        let whole = hash(&pod("p", "web-1", "shop"), &[]);
        assert_ne!(whole, hash(&pod("p", "web-1s", "hop"), &[]));
        assert_ne!(whole, hash(&pod("pw", "eb-1", "shop"), &[]));
        let base = pod("p", "web-1", "shop");
        let split = |parts: Containers<'_>| hash(&base, parts);
        assert_ne!(split(&[["ab", "c", "d"]]), split(&[["a", "bc", "d"]]));
        assert_ne!(split(&[["a", "b", "cd"]]), split(&[["a", "bc", "d"]]));
    }

    #[test]
    fn the_order_of_pods_and_containers_and_repeated_containers_do_not_matter() {
        let (p, q) = (pod("p", "web-1", "shop"), pod("q", "web-2", "shop"));
        let one = digest(&[(p, &[A, B]), (q, &[])]);
        assert_eq!(one, digest(&[(q, &[]), (p, &[B, A, B])]));
        assert_eq!(one.pods(), 2);
    }

    #[test]
    fn what_was_added_and_removed_leaves_nothing() {
        let mut digests = Digests::default();
        let pods: Vec<String> = (0..100).map(|n| format!("p{n}")).collect();
        let each = || {
            pods.iter()
                .map(|uid| (uid.as_str(), ["a", "b"][uid.len() % 2]))
        };
        for (uid, namespace) in each() {
            digests.add(namespace.as_bytes(), hash(&pod(uid, uid, namespace), &[A]));
        }
        let names: Vec<_> = digests
            .namespaces()
            .map(|(name, _)| name.to_vec())
            .collect();
        assert_eq!(names, [b"a", b"b"]);
        assert_eq!(digests.total().pods(), 100);
        for (uid, namespace) in each() {
            digests.remove(namespace.as_bytes(), hash(&pod(uid, uid, namespace), &[A]));
        }
        assert_eq!(digests, Digests::default());
    }

    #[test]
    fn a_replaced_pod_is_one_that_was_removed_and_one_that_was_added() {
        let of = |name: &str| hash(&pod("p", name, "a"), &[A]);
        let (mut one, mut other) = (Digests::default(), Digests::default());
        for digests in [&mut one, &mut other] {
            digests.add(b"a", of("web-1"));
            digests.add(b"b", of("web-3"));
        }
        one.replace(b"a", of("web-1"), of("web-2"));
        other.remove(b"a", of("web-1"));
        other.add(b"a", of("web-2"));
        assert_eq!(one, other);
    }

    #[test]
    fn a_digest_is_shown_as_one_word() {
        assert_eq!(
            Digest::default().to_string(),
            "00000000000000000000000000000000/0"
        );
    }
}
