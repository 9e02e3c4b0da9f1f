//! What a reducer should know of the simulated cluster: worked out from its objects alone.
//!
//! Pure. Invariants: nothing here comes from the relay, neither its decoder nor its matcher. Rules:
//! a pod counts once it has an address; `apps` ReplicaSets of a Deployment and `batch` Jobs of a
//! CronJob stand back behind it, and behind nothing else; deleted owners keep resolving. Absent
//! here: the cutting of long texts (D8), [`Object::Raw`], and time: a pod that waits for an owner
//! that never comes is announced under it at last.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    net::Ipv4Addr,
};

use super::{
    objects::{Container, Meta, Object, Owner, Pod},
    store::Store,
};
use crate::{
    digest::{Digests, PodHasher},
    model::Kind,
    sim::reducer_state::ReducerState,
    wire::messages::PodNewWithName,
};

/// All pods that count, by uid.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExpectedState {
    /// The pods.
    pub pods: BTreeMap<String, Known>,
}

/// What is to be known of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its address.
    pub address: Ipv4Addr,
    /// Whether it is in its node's network.
    pub host_network: bool,
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// The image versions text of protocol 13.0.
    pub version: String,
    /// The kind of its effective owner; `None` without one.
    pub owner_kind: Option<String>,
    /// The effective owner's name; the pod's own without one.
    pub owner_name: String,
    /// The effective owner's uid; empty without one.
    pub owner_uid: String,
    /// Id, name and image of each container that has an id.
    pub containers: BTreeSet<[String; 3]>,
    /// Its ReplicaSet or Job is not there: whether it is known depends on how long it waits.
    pub waits: bool,
}

/// The settings that the expected state depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// `--containers main`: no init and no ephemeral containers.
    pub main_containers_only: bool,
    /// `--escalate any`: the controller of a ReplicaSet or Job is the owner.
    pub escalate_any: bool,
}

/// How much has to agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strictness {
    /// Everything (`--reannounce on-change`).
    Everything,
    /// Only what cannot change in a pod's life, and that no container is missing
    /// (`--reannounce never`). Owners count: they hardly ever change.
    ToldOnce,
}

impl ExpectedState {
    /// What is to be known of all that is in the store.
    pub fn of(store: &Store, view: View) -> Self {
        let owners = [Kind::REPLICA_SET, Kind::JOB].map(|kind| store.all(kind));
        let owners = owners
            .into_iter()
            .flatten()
            .map(|(_, stored)| &*stored.object);
        // Those that live come last and win.
        let owners: HashMap<&str, &Meta> = store
            .departed()
            .chain(owners)
            .filter_map(Object::meta)
            .map(|meta| (&*meta.uid, meta))
            .collect();
        let pods = store.all(Kind::POD);
        let known = pods.filter_map(|(_, stored)| {
            let pod = stored.object.pod()?;
            let known = Known::of(pod, &owners, view)?;
            Some((pod.meta.uid.clone(), known))
        });
        Self {
            pods: known.collect(),
        }
    }

    /// One number for all of it, and for each namespace: those of a reducer state that is equal
    /// ([`crate::digest`]). Texts count whole: what a wire message has no room for differs (D8).
    /// Pods that wait count as announced under their direct owner.
    pub fn digests(&self) -> Digests {
        let (mut digests, mut hasher) = (Digests::default(), PodHasher::default());
        for (uid, known) in &self.pods {
            let containers = known
                .containers
                .iter()
                .map(|container| container.each_ref().map(|part| part.as_bytes()));
            let hash = hasher.hash(&known.wire_form(uid), containers);
            digests.add(known.namespace.as_bytes(), hash);
        }
        digests
    }

    /// What a reducer knows otherwise, first of all; `None` if it is the expected state. Pods that
    /// wait may be known or not.
    pub fn difference(
        &self,
        reducer_state: &ReducerState,
        strictness: Strictness,
    ) -> Option<String> {
        for (uid, known) in &self.pods {
            match reducer_state.pod(uid.as_bytes()) {
                Some(pod) => {
                    let found = Known::found(pod);
                    if !known.agrees(&found, strictness) {
                        return Some(format!("{uid} is {known}, and known as {found}"));
                    }
                }
                None if known.waits => {}
                None => return Some(format!("{uid}, {known}, is not known")),
            }
        }
        let known =
            |uid: &[u8]| std::str::from_utf8(uid).is_ok_and(|uid| self.pods.contains_key(uid));
        if reducer_state.pods() <= self.pods.len() && !self.pods.values().any(|pod| pod.waits) {
            return None;
        }
        let (uid, pod) = reducer_state
            .sorted()
            .into_iter()
            .find(|(uid, _)| !known(uid))?;
        let uid = String::from_utf8_lossy(uid);
        Some(format!("{uid} is gone, and known as {}", Known::found(pod)))
    }
}

impl Known {
    fn of(pod: &Pod, owners: &HashMap<&str, &Meta>, view: View) -> Option<Self> {
        let Meta {
            uid,
            name,
            namespace,
            ..
        } = &pod.meta;
        let address = pod.ipv4().filter(|_| !uid.is_empty())?;
        let direct = pod.meta.controller();
        let stands_back = direct.filter(|owner| {
            matches!(
                (owner.group(), &*owner.kind),
                ("apps", "ReplicaSet") | ("batch", "Job")
            )
        });
        let behind = stands_back.map(|owner| owners.get(&*owner.uid));
        let effective = behind
            .flatten()
            .and_then(|meta| meta.controller())
            .filter(|workload| view.escalate_any || is_workload(direct, workload))
            .or(direct);
        let counts = |container: &&Container| {
            !view.main_containers_only || pod.containers.iter().any(|main| main == *container)
        };
        let containers = pod.reported().filter(counts).filter_map(|container| {
            let id = container.id()?;
            Some([id, &container.name, &container.image].map(str::to_owned))
        });
        let reported = pod.containers.iter();
        let mut images: Vec<_> = reported
            .filter(|one| one.report != super::objects::Report::None)
            .map(|one| format!("'{}'", one.image))
            .collect();
        images.sort_unstable();
        Some(Self {
            address,
            host_network: pod.host_network,
            name: name.clone(),
            namespace: namespace.to_string(),
            version: images.join(","),
            owner_kind: effective.map(|owner| owner.kind.to_string()),
            owner_name: effective.map_or(name, |owner| &owner.name).clone(),
            owner_uid: effective.map(|owner| owner.uid.clone()).unwrap_or_default(),
            containers: containers.collect(),
            waits: matches!(behind, Some(None)),
        })
    }

    /// As it is sent.
    fn wire_form<'a>(&'a self, uid: &'a str) -> PodNewWithName<'a> {
        PodNewWithName {
            ip: self.address,
            owner_kind: match self.owner_kind.as_deref() {
                Some("ReplicaSet") => 0,
                Some("Deployment") => 1,
                Some("Job") => 2,
                Some("CronJob") => 3,
                Some("NoOwner") | None => 254,
                Some(_) => 255,
            },
            is_host_network: self.host_network.into(),
            uid: uid.as_bytes(),
            owner_name: self.owner_name.as_bytes(),
            pod_name: self.name.as_bytes(),
            owner_uid: self.owner_uid.as_bytes(),
            ns: self.namespace.as_bytes(),
            version: self.version.as_bytes(),
        }
    }

    /// What a reducer knows of a pod, in the same words.
    fn found(pod: &crate::sim::reducer_state::Pod) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let kind = match pod.owner_kind {
            0 => Some("ReplicaSet"),
            1 => Some("Deployment"),
            2 => Some("Job"),
            3 => Some("CronJob"),
            254 => None,
            _ => Some("Other"),
        };
        let containers = pod.containers().iter();
        Self {
            address: pod.ip,
            host_network: pod.is_host_network == 1,
            name: text(pod.pod_name()),
            namespace: text(pod.ns()),
            version: text(pod.version()),
            owner_kind: kind.map(str::to_owned),
            owner_name: text(pod.owner_name()),
            owner_uid: text(pod.owner_uid()),
            containers: containers
                .map(|c| [c.received_id(), c.name(), c.image()].map(text))
                .collect(),
            waits: false,
        }
    }

    fn agrees(&self, found: &Self, strictness: Strictness) -> bool {
        let kind = self.owner_kind.as_deref().map(|kind| match kind {
            "ReplicaSet" | "Deployment" | "Job" | "CronJob" => kind,
            _ => "Other",
        });
        let once = found.name == self.name
            && found.namespace == self.namespace
            && found.owner_name == self.owner_name
            && found.owner_uid == self.owner_uid
            && (found.owner_kind.as_deref() == kind || kind == Some("NoOwner"));
        let containers = match strictness {
            Strictness::Everything => found.containers == self.containers,
            Strictness::ToldOnce => found.containers.is_superset(&self.containers),
        };
        let now = found.address == self.address
            && found.host_network == self.host_network
            && found.version == self.version;
        once && containers && (now || strictness == Strictness::ToldOnce)
    }
}

impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name, namespace, ..
        } = self;
        let kind = self.owner_kind.as_deref().unwrap_or("no owner");
        write!(
            f,
            "{namespace}/{name} of {kind} {} ({}) at {} in version {} with {:?}",
            self.owner_name, self.owner_uid, self.address, self.version, self.containers
        )
    }
}

fn is_workload(direct: Option<&Owner>, workload: &Owner) -> bool {
    let kinds = (
        direct.map(|owner| &*owner.kind),
        workload.group(),
        &*workload.kind,
    );
    matches!(
        kinds,
        (Some("ReplicaSet"), "apps", "Deployment") | (Some("Job"), "batch", "CronJob")
    )
}
