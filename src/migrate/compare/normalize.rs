//! Sets intended differences aside, and says what else differs.
//!
//! Invariants: nothing is set aside that no [`Rule`] names. The native side is changed in no way
//! that depends on the legacy side; the legacy side is brought to the native one where a rule says
//! so. No field differs if and only if both would be sent as the same bytes, that is, if their
//! hashes are equal. Where an Info is the whole object (`--reannounce on-change`) no rule applies
//! that expects what a stream does not clear.

use std::{borrow::Cow, net::Ipv4Addr};

use smallvec::SmallVec;

use super::{Acquainted, Field, Rule, Seen, set::Set};
use crate::{
    digest::{PodHash, PodHasher},
    matcher::{Live, OwnerStatus, PodStatus, Reannounce},
    model::{ContainerId, ContainerMeta, IdBuf, OwnerRef, Pod, PodMeta, Seed, SharedStr},
    reducer::project,
};

/// What both feeds make of one pod.
#[derive(Debug)]
pub(super) struct Normalized<'a> {
    /// As the legacy feed has it, if it is live there.
    pub(super) legacy: Option<Normal<'a>>,
    /// As the native watches have it, if it is live there.
    pub(super) native: Option<Normal<'a>>,
    /// The rules that had something to set aside.
    pub(super) expected: Set<Rule>,
    /// What differs nevertheless.
    pub(super) fields: Set<Field>,
}

/// A live pod without what is not compared. Of its containers [`announced`] are.
#[derive(Debug)]
pub(super) struct Normal<'a> {
    pub(super) pod: Cow<'a, PodMeta>,
    pub(super) owner: Option<&'a OwnerRef>,
}

/// How pods are compared.
#[derive(Debug, Default)]
pub(super) struct Judging {
    reannounce: Reannounce,
    seed: Seed,
    hasher: PodHasher,
}

impl Judging {
    /// Pods of feeds that reannounce like this.
    pub(super) fn new(reannounce: Reannounce, seed: Seed) -> Self {
        Self {
            reannounce,
            seed,
            hasher: PodHasher::default(),
        }
    }

    pub(super) fn seed(&self) -> Seed {
        self.seed
    }

    /// Compares.
    pub(super) fn judge<'a>(&mut self, legacy: Seen<'a>, native: Seen<'a>) -> Normalized<'a> {
        match (legacy, native) {
            (Seen::Live(legacy, legacy_owners), Seen::Live(native, native_owners)) => {
                self.both(legacy, legacy_owners, native, native_owners)
            }
            (Seen::Live(legacy, legacy_owners), absent) => {
                let rule = absent_in_native(&legacy, legacy_owners, absent.standing());
                Normalized::one_sided(Some(legacy), None, rule)
            }
            (absent, Seen::Live(native, native_owners)) => {
                let rule = self.absent_in_legacy(&native, native_owners, absent.standing());
                Normalized::one_sided(None, Some(native), rule)
            }
            (_, _) => Normalized {
                legacy: None,
                native: None,
                expected: Set::EMPTY,
                fields: Set::EMPTY,
            },
        }
    }

    /// The hash of a pod with the containers that are compared.
    pub(super) fn hash(&mut self, pod: &PodMeta, owner: Option<&OwnerRef>) -> PodHash {
        self.note_containers(pod);
        let mut ids = [IdBuf::new(), IdBuf::new()];
        self.hasher
            .pod(&project::pod_new(pod, owner, &mut ids).message)
    }

    /// Whether what an Info lacks stays as it was (D10).
    fn nothing_clears(&self) -> bool {
        self.reannounce == Reannounce::Never
    }

    /// Why a pod that is live in the native feed need not be live in the legacy one.
    fn absent_in_legacy(
        &self,
        native: &Live<'_>,
        native_owners: &dyn Acquainted,
        legacy: PodStatus,
    ) -> Option<Rule> {
        match (legacy, &native.pod.owner) {
            (PodStatus::NoAddress, _) => native
                .pod
                .containers
                .is_empty()
                .then_some(Rule::StickyAddress),
            (PodStatus::Waiting, None) => self.nothing_clears().then_some(Rule::StickyOwner),
            (PodStatus::Waiting, Some(direct)) if direct.custom => Some(Rule::CustomOwner),
            (PodStatus::Waiting, direct) => match native_owners.acquaintance(native.pod) {
                OwnerStatus::Unknown if native.owner == direct.as_ref() => Some(Rule::OwnerWait),
                OwnerStatus::Unknown | OwnerStatus::Deleted => Some(Rule::OwnerGone),
                OwnerStatus::Unneeded | OwnerStatus::Known => None,
            },
            (PodStatus::Unknown | PodStatus::Live, _) => None,
        }
    }

    fn both<'a>(
        &mut self,
        legacy: Live<'a>,
        legacy_owners: &dyn Acquainted,
        native: Live<'a>,
        native_owners: &dyn Acquainted,
    ) -> Normalized<'a> {
        let (expected, legacy) = self.normalise(legacy, legacy_owners, &native, native_owners);
        let native = Normal::of(native);
        let mut fields = Set::EMPTY;
        if !legacy.is_sent_like(&native) {
            fields = legacy.different_fields(&native);
        }
        fields.add_if(
            Field::Containers,
            !self.same_containers(&legacy.pod, &native.pod),
        );
        Normalized {
            legacy: Some(legacy),
            native: Some(native),
            expected,
            fields,
        }
    }

    /// Brings the legacy side to the native one, and says by which rules.
    fn normalise<'a>(
        &self,
        legacy: Live<'a>,
        legacy_owners: &dyn Acquainted,
        native: &Live<'a>,
        native_owners: &dyn Acquainted,
    ) -> (Set<Rule>, Normal<'a>) {
        let mut expected = Set::EMPTY;
        let mut normal = Normal::of(legacy);
        let (l, n) = (legacy.pod, native.pod);

        let without_id = |pod: &Pod| pod.main_containers().iter().any(|c| c.id.is_empty());
        expected.add_if(Rule::NotMainContainer, l.auxiliary > 0 || n.auxiliary > 0);
        expected.add_if(Rule::ContainerWithoutId, without_id(l) || without_id(n));

        if !same_owner(normal.owner, native.owner)
            && let Some(rule) = self.other_owner(&legacy, legacy_owners, native, native_owners)
        {
            expected.add(rule);
            normal.owner = native.owner;
        }

        let sticky = self.nothing_clears();
        let no_version =
            sticky && n.version.is_empty() && !l.version.is_empty() && l.containers.is_empty();
        let no_host_network = sticky && l.host_network && !n.host_network;
        let other_address = l.address == Some(Ipv4Addr::BROADCAST) && n.address != l.address;
        expected.add_if(Rule::StickyVersion, no_version);
        expected.add_if(Rule::StickyHostNetwork, no_host_network);
        expected.add_if(Rule::Ipv6Address, other_address);
        if no_version || no_host_network || other_address {
            let mut pod = Pod::clone(l);
            if no_version {
                pod.version = SharedStr::default();
            }
            if other_address {
                pod.address = n.address;
            }
            if no_host_network {
                pod.host_network = false;
            }
            normal.pod = Cow::Owned(PodMeta::new(pod));
        }
        (expected, normal)
    }

    /// Why the legacy feed may have the pod under another owner.
    fn other_owner(
        &self,
        legacy: &Live<'_>,
        legacy_owners: &dyn Acquainted,
        native: &Live<'_>,
        native_owners: &dyn Acquainted,
    ) -> Option<Rule> {
        let kept = legacy.pod.owner.as_ref()?;
        let Some(direct) = &native.pod.owner else {
            return self.nothing_clears().then_some(Rule::StickyOwner);
        };
        let escalated = legacy.owner.is_some_and(|owner| owner.uid != kept.uid);
        if kept.uid != direct.uid || native.owner != Some(direct) || !escalated {
            return None;
        }
        match native_owners.acquaintance(native.pod) {
            // Where a lost controller is gone in a stream, too, that of another API group is left.
            OwnerStatus::Known | OwnerStatus::Deleted => {
                let expected =
                    self.nothing_clears() || native_owners.has_custom_controller(native.pod);
                expected.then_some(Rule::KeptController)
            }
            OwnerStatus::Unknown if is_gone(legacy_owners.acquaintance(legacy.pod)) => {
                Some(Rule::OwnerGone)
            }
            OwnerStatus::Unknown | OwnerStatus::Unneeded => None,
        }
    }

    fn same_containers(&mut self, a: &PodMeta, b: &PodMeta) -> bool {
        let with_id = |pod| {
            Pod::main_containers(pod)
                .iter()
                .filter(|c| !c.id.is_empty())
        };
        if a.ptr_eq(b) || with_id(a).eq(with_id(b)) {
            return true;
        }
        self.note_containers(a);
        let one = self.hasher.containers();
        self.note_containers(b);
        one == self.hasher.containers()
    }

    fn note_containers(&mut self, pod: &PodMeta) {
        for container in announced(pod, self.seed) {
            note_container(pod, container, &mut self.hasher);
        }
    }
}

/// Why a pod that is live in the legacy feed need not be live in the native one.
fn absent_in_native(
    legacy: &Live<'_>,
    legacy_owners: &dyn Acquainted,
    native: PodStatus,
) -> Option<Rule> {
    match native {
        PodStatus::NoAddress if legacy.pod.containers.is_empty() => Some(Rule::StickyAddress),
        PodStatus::Waiting if is_gone(legacy_owners.acquaintance(legacy.pod)) => {
            Some(Rule::OwnerGone)
        }
        PodStatus::Unknown | PodStatus::NoAddress | PodStatus::Waiting | PodStatus::Live => None,
    }
}

fn is_gone(owner: OwnerStatus) -> bool {
    match owner {
        OwnerStatus::Deleted | OwnerStatus::Unknown => true,
        OwnerStatus::Unneeded | OwnerStatus::Known => false,
    }
}

impl<'a> Normalized<'a> {
    fn one_sided(legacy: Option<Live<'a>>, native: Option<Live<'a>>, rule: Option<Rule>) -> Self {
        Self {
            legacy: legacy.map(Normal::of),
            native: native.map(Normal::of),
            expected: rule.map_or(Set::EMPTY, Set::of),
            fields: if rule.is_some() {
                Set::EMPTY
            } else {
                Set::of(Field::Presence)
            },
        }
    }

    /// The pod, if it is live in any feed.
    pub(super) fn pod(&self) -> Option<&PodMeta> {
        let live = self.native.as_ref().or(self.legacy.as_ref());
        live.map(|live| &*live.pod)
    }
}

impl<'a> Normal<'a> {
    fn of(live: Live<'a>) -> Self {
        Self {
            pod: Cow::Borrowed(live.pod),
            owner: live.owner,
        }
    }

    /// Whether nothing but containers can differ. Projects nothing: most pods end here.
    fn is_sent_like(&self, other: &Self) -> bool {
        let (a, b) = (&self.pod, &other.pod);
        a.ptr_eq(b) && self.owner == other.owner
            || a.address == b.address
                && a.host_network == b.host_network
                && a.name == b.name
                && a.namespace == b.namespace
                && a.version == b.version
                && same_owner(self.owner, other.owner)
    }

    /// Which fields of the announcements differ, truncated as they are sent.
    fn different_fields(&self, other: &Self) -> Set<Field> {
        let (mut a, mut b) = Default::default();
        let a = project::pod_new(&self.pod, self.owner, &mut a).message;
        let b = project::pod_new(&other.pod, other.owner, &mut b).message;
        // Without owner the pod's own name stands for the owner's.
        let owned = self.owner.is_some() || other.owner.is_some();
        let owner = (a.owner_uid, a.owner_name) != (b.owner_uid, b.owner_name);
        let mut fields = Set::EMPTY;
        for (field, differs) in [
            (Field::Owner, owned && owner),
            (Field::Kind, a.owner_kind != b.owner_kind),
            (Field::Address, a.ip != b.ip),
            (Field::Name, a.pod_name != b.pod_name),
            (Field::Namespace, a.ns != b.ns),
            (Field::HostNetwork, a.is_host_network != b.is_host_network),
            (Field::Version, a.version != b.version),
        ] {
            fields.add_if(field, differs);
        }
        fields
    }
}

/// The containers that are compared: the main ones that are [`kept`].
pub(super) fn announced(pod: &Pod, seed: Seed) -> impl Iterator<Item = &ContainerMeta> {
    kept(pod.main_containers(), seed)
}

/// Of these containers those with an id, of each id the first, as a reducer keeps them
/// (protocol 11.3), in no particular order.
pub fn kept(containers: &[ContainerMeta], seed: Seed) -> impl Iterator<Item = &ContainerMeta> {
    let mut places: SmallVec<[(u64, usize); 4]> = containers
        .iter()
        .enumerate()
        .filter(|(_, container)| !container.id.is_empty())
        .map(|(place, container)| (id_hash(&container.id, seed), place))
        .collect();
    if places.len() > 1 {
        places.sort_unstable();
        places.dedup_by_key(|(hash, _)| *hash);
    }
    places
        .into_iter()
        .filter_map(|(_, place)| containers.get(place))
}

/// Of an id as a reducer knows it: without its runtime.
fn id_hash(id: &ContainerId, seed: Seed) -> u64 {
    let mut buf = IdBuf::new();
    let id = id.text(&mut buf);
    let id = id.split_once("://").map_or(id, |(_, id)| id);
    seed.fingerprint(id)
}

/// Takes note of a container of the next pod, as it is sent.
pub fn note_container(pod: &PodMeta, container: &ContainerMeta, hasher: &mut PodHasher) {
    let mut ids = [IdBuf::new(), IdBuf::new()];
    let message = project::pod_container(&pod.uid, container, &mut ids).message;
    hasher.container([
        message.container_id,
        message.container_name,
        message.container_image,
    ]);
}

/// Whether both would be sent as the same bytes.
fn same_owner(a: Option<&OwnerRef>, b: Option<&OwnerRef>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => {
            a == b
                || a.uid == b.uid
                    && a.name == b.name
                    && project::kind_code(&a.kind) == project::kind_code(&b.kind)
        }
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}
