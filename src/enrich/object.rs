//! Objects as enrichment reads them: snapshots, immutable and shared.
//!
//! Invariants: an [`Object`] is a cheap handle; two handles of one snapshot are the same
//! ([`Object::ptr_eq`]), and a new version of an object is a new snapshot. Labels and
//! annotations are sorted and bounded.

use std::{fmt, ops::Deref, sync::Arc};

use smallvec::SmallVec;

use super::resource::Resource;
use crate::model::{ContainerId, HasUid, OwnerRef, SharedStr, Stored, Uid};

/// A version of an object. A cheap handle.
#[derive(Clone, Debug)]
pub struct Object(Arc<Snapshot>);

/// The facts behind an [`Object`].
#[derive(Debug)]
pub struct Snapshot {
    /// What it is.
    pub resource: Resource,
    /// `metadata.uid`.
    pub uid: Uid,
    /// `metadata.name`.
    pub name: SharedStr,
    /// `metadata.namespace`; empty where there is none.
    pub namespace: SharedStr,
    /// `metadata.resourceVersion`.
    pub resource_version: SharedStr,
    /// `metadata.creationTimestamp`.
    pub created: Option<Timestamp>,
    /// `metadata.labels`.
    pub labels: Pairs,
    /// `metadata.annotations`, as far as they are kept.
    pub annotations: Pairs,
    /// The owner references with `controller: true`, in their order. The API server lets no
    /// object have two.
    pub controllers: SmallVec<[OwnerRef; 1]>,
    /// What only objects of its kind have.
    pub details: Details,
}

/// What only objects of one kind have.
#[derive(Debug, Default)]
pub enum Details {
    /// Nothing but metadata.
    #[default]
    None,
    /// Of a pod.
    Pod(Box<PodDetails>),
    /// Of a node.
    Node(NodeDetails),
    /// Of a service: `spec.selector`.
    Service(Pairs),
}

/// What is kept of a pod's `spec` and `status`.
#[derive(Debug, Default)]
pub struct PodDetails {
    /// `spec.nodeName`; empty until it is scheduled.
    pub node: SharedStr,
    /// `spec.hostname`.
    pub hostname: SharedStr,
    /// `spec.hostNetwork`: its addresses are its node's.
    pub host_network: bool,
    /// `status.podIP`; empty until it has one.
    pub ip: SharedStr,
    /// `status.podIPs`.
    pub ips: SmallVec<[SharedStr; 1]>,
    /// `status.phase` is `Succeeded` or `Failed`: its addresses may be another pod's by now.
    pub finished: bool,
    /// `status.startTime`.
    pub started: Option<Timestamp>,
    /// Regular, init and ephemeral containers, in this order.
    pub containers: Box<[Container]>,
}

/// A container of a pod: its entry in `spec`, with the status entry of the same name.
#[derive(Clone, Debug, PartialEq)]
pub struct Container {
    /// Its name within the pod.
    pub name: SharedStr,
    /// The image of the spec.
    pub image: SharedStr,
    /// `containerID` of its status, with the runtime in front; empty before it has run.
    pub id: ContainerId,
    /// `imageID` of its status.
    pub image_id: SharedStr,
    /// Which list of the spec it stands in.
    pub role: ContainerRole,
    /// Its limits.
    pub limits: Amounts,
}

/// Which list of a pod's spec a container stands in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ContainerRole {
    /// `spec.containers`
    #[default]
    Regular,
    /// `spec.initContainers`, sidecars among them.
    Init,
    /// `spec.ephemeralContainers`
    Ephemeral,
}

/// CPU and memory, as a limit or as what is there.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Amounts {
    /// In cores.
    pub cores: Option<f64>,
    /// In bytes.
    pub bytes: Option<f64>,
}

/// What is kept of a node's `status`.
#[derive(Debug, Default)]
pub struct NodeDetails {
    /// The first address of type `Hostname`; empty if that one is, or if there is none.
    pub hostname: SharedStr,
    /// `status.allocatable`
    pub allocatable: Amounts,
}

/// Labels, annotations or a selector: sorted by key, bounded in number and size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pairs {
    pairs: Box<[(SharedStr, SharedStr)]>,
    /// The keys whose values were cut.
    cut: Box<[SharedStr]>,
}

/// How much of labels or annotations is kept.
#[derive(Clone, Copy, Debug)]
pub struct PairLimits {
    /// How many are kept, the first by key.
    pub count: usize,
    /// The bytes of a value that are kept.
    pub value_bytes: usize,
}

/// A moment in milliseconds since 1970. The moments that a caller passes as `now` come from a
/// clock that never goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Object {
    /// Wraps the facts in a handle.
    pub fn new(snapshot: Snapshot) -> Self {
        Self(Arc::new(snapshot))
    }

    /// Whether both are handles of one snapshot.
    pub fn ptr_eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl HasUid for Object {
    fn uid(&self) -> &Uid {
        &self.uid
    }
}

/// Two are equal if they are handles of one snapshot.
impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        self.ptr_eq(other)
    }
}

impl Eq for Object {}

impl Stored for Object {
    fn same_extra(&self, other: &Self) -> bool {
        self.ptr_eq(other)
    }
}

impl Deref for Object {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.0
    }
}

impl Snapshot {
    /// Nothing but a uid: of an object that is gone.
    pub fn bare(uid: Uid) -> Self {
        Self {
            resource: Resource::Pod,
            uid,
            name: SharedStr::default(),
            namespace: SharedStr::default(),
            resource_version: SharedStr::default(),
            created: None,
            labels: Pairs::default(),
            annotations: Pairs::default(),
            controllers: SmallVec::new(),
            details: Details::None,
        }
    }

    /// What it takes of memory in bytes, about. Texts that repeat are shared, so they count as
    /// the words that name them.
    pub fn bytes(&self) -> usize {
        let pairs = |pairs: &Pairs| pairs.len() * size_of::<(SharedStr, SharedStr)>();
        let details = match &self.details {
            Details::None | Details::Node(_) => 0,
            Details::Service(selector) => pairs(selector),
            Details::Pod(pod) => {
                size_of::<PodDetails>() + pod.containers.len() * size_of::<Container>()
            }
        };
        let texts = self.name.len() + self.resource_version.len();
        size_of::<Self>() + pairs(&self.labels) + pairs(&self.annotations) + details + texts
    }

    /// Of a pod.
    pub fn pod(&self) -> Option<&PodDetails> {
        match &self.details {
            Details::Pod(details) => Some(details),
            Details::None | Details::Node(_) | Details::Service(_) => None,
        }
    }

    /// Of a node.
    pub fn node(&self) -> Option<&NodeDetails> {
        match &self.details {
            Details::Node(details) => Some(details),
            Details::None | Details::Pod(_) | Details::Service(_) => None,
        }
    }

    /// Of a service that has one.
    pub fn selector(&self) -> Option<&Pairs> {
        match &self.details {
            Details::Service(selector) => Some(selector),
            Details::None | Details::Pod(_) | Details::Node(_) => None,
        }
    }
}

impl PodDetails {
    /// The container of this name.
    pub fn container(&self, name: &str) -> Option<&Container> {
        self.containers
            .iter()
            .find(|container| *container.name == *name)
    }

    /// All its addresses, each once.
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        let first = Some(&*self.ip).filter(|ip| !ip.is_empty());
        let others = self.ips.iter().map(|ip| &**ip);
        first
            .into_iter()
            .chain(others.filter(|ip| **ip != *self.ip && !ip.is_empty()))
    }
}

/// Splits a container id, such as `containerd://5d1b1e`, into runtime and bare id; `None` if
/// it names no runtime.
pub fn split_container_id(id: &str) -> Option<(&str, &str)> {
    id.split_once("://")
}

/// The part of a container id behind its runtime, if it names one.
pub fn bare_container_id(id: &str) -> &str {
    split_container_id(id).map_or(id, |(_, bare)| bare)
}

impl PairLimits {
    /// Of labels.
    pub const LABELS: Self = Self {
        count: 128,
        value_bytes: 4096,
    };
    /// Of annotations.
    pub const ANNOTATIONS: Self = Self {
        count: 64,
        value_bytes: 4096,
    };
}

/// No valid key is longer: 253 bytes of a domain, `/`, and 63 of a name.
const MAX_KEY_BYTES: usize = 317;

impl Pairs {
    /// Sorts them and keeps what the limits allow. Of a key that comes twice the last value
    /// counts.
    pub fn new(
        pairs: impl IntoIterator<Item = (SharedStr, SharedStr)>,
        limits: PairLimits,
    ) -> Self {
        let short = |(key, _): &(SharedStr, SharedStr)| key.len() <= MAX_KEY_BYTES;
        let mut pairs: Vec<_> = pairs.into_iter().filter(short).collect();
        pairs.sort_by(|(one, _), (other, _)| one.cmp(other));
        // `dedup` keeps the first of a run, and the run is in the order of arrival.
        pairs.dedup_by(|later, first| {
            let same = later.0 == first.0;
            if same {
                std::mem::swap(later, first);
            }
            same
        });
        pairs.truncate(limits.count);
        let mut cut = Vec::new();
        for (key, value) in &mut pairs {
            if value.len() > limits.value_bytes {
                let end = value.floor_char_boundary(limits.value_bytes);
                *value = SharedStr::from(value.get(..end).unwrap_or_default());
                cut.push(key.clone());
            }
        }
        Self {
            pairs: pairs.into(),
            cut: cut.into(),
        }
    }

    /// The pair with this key.
    pub fn get(&self, key: &str) -> Option<(&str, &str)> {
        let found = self.pairs.binary_search_by(|(known, _)| (**known).cmp(key));
        let (key, value) = self.pairs.get(found.ok()?)?;
        Some((key, value))
    }

    /// All pairs, by key in ascending byte order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(key, value)| (&**key, &**value))
    }

    /// Whether the value of this key was cut.
    pub fn is_cut(&self, key: &str) -> bool {
        self.cut.iter().any(|cut| **cut == *key)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }
}

impl Timestamp {
    /// This many milliseconds after the beginning of 1970.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the beginning of 1970.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Reads RFC 3339.
    pub fn parse(text: &str) -> Option<Self> {
        let timestamp: jiff::Timestamp = text.parse().ok()?;
        Some(Self(timestamp.as_millisecond()))
    }

    /// This much later.
    pub fn after(self, time: std::time::Duration) -> Self {
        let millis = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(millis))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339, with as many digits of a second as it needs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(timestamp) => write!(f, "{timestamp}"),
            // Outside of the years that can be written.
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)], limits: PairLimits) -> Pairs {
        let texts = |(key, value): &(&str, &str)| (SharedStr::from(*key), SharedStr::from(*value));
        Pairs::new(pairs.iter().map(texts), limits)
    }

    #[test]
    fn pairs_are_sorted_and_the_last_value_of_a_key_counts() {
        let sorted = pairs(
            &[("b", "1"), ("a.b", "2"), ("b", "3"), ("a", "4")],
            PairLimits::LABELS,
        );
        let all: Vec<_> = sorted.iter().collect();
        assert_eq!(all, [("a", "4"), ("a.b", "2"), ("b", "3")]);
        assert_eq!(sorted.get("a.b"), Some(("a.b", "2")));
        assert_eq!(sorted.get("a."), None);
    }

    #[test]
    fn what_is_over_the_limits_is_cut_at_a_character_and_said() {
        let limits = PairLimits {
            count: 2,
            value_bytes: 4,
        };
        let kept = pairs(&[("c", "x"), ("a", "abcé"), ("b", "abcd")], limits);
        let all: Vec<_> = kept.iter().collect();
        assert_eq!(all, [("a", "abc"), ("b", "abcd")]);
        assert!(kept.is_cut("a") && !kept.is_cut("b"));
        let long = "k".repeat(MAX_KEY_BYTES + 1);
        assert!(pairs(&[(&long, "x")], PairLimits::LABELS).is_empty());
    }

    #[test]
    fn a_timestamp_reads_and_shows_rfc_3339() {
        for (text, shown) in [
            ("2026-11-30T08:00:00Z", "2026-11-30T08:00:00Z"),
            ("2026-11-30T09:00:00+01:00", "2026-11-30T08:00:00Z"),
            ("2026-11-30T08:00:00.5Z", "2026-11-30T08:00:00.5Z"),
        ] {
            assert_eq!(Timestamp::parse(text).unwrap().to_string(), shown);
        }
        assert_eq!(Timestamp::parse("yesterday"), None);
        assert!(!Timestamp::from_millis(i64::MAX).to_string().is_empty());
    }
}
