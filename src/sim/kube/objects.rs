//! What a simulated cluster holds: pods, and of all other kinds the metadata.
//!
//! Pure. Absent here: JSON (see [`render`](super::render)) and versions, which the
//! [`store`](super::store) gives.

use std::{net::Ipv4Addr, sync::Arc};

use serde_json::Value;

use crate::{
    model::Kind,
    proto::{Info, OwnerInfo, PodInfo, info::Type},
};

/// An object of one of the watched kinds.
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    /// A pod.
    Pod(Pod),
    /// An object of which nobody looks at more than the metadata.
    Plain(Kind, Meta),
    /// An object of any kind, by its manifest.
    Manifest(Raw),
    /// Any JSON at all under the name of an object, for tests of bad input.
    Raw(Raw),
}

/// An object that is served as it was given; only its version is set, if it has a place for it.
/// As metadata only, of a manifest no more than that is served.
#[derive(Clone, Debug, PartialEq)]
pub struct Raw {
    /// Among which objects it is served.
    pub kind: Kind,
    /// The namespace it is filed under.
    pub namespace: Arc<str>,
    /// The name it is filed under.
    pub name: String,
    /// The object.
    pub json: Value,
}

/// What every object has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.namespace`.
    pub namespace: Arc<str>,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.labels`.
    pub labels: Vec<(Arc<str>, Arc<str>)>,
    /// `metadata.ownerReferences`.
    pub owners: Vec<Owner>,
    /// Whether it has a `metadata.deletionTimestamp`.
    pub terminating: bool,
}

/// An entry of `metadata.ownerReferences`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Such as `apps/v1`.
    pub api_version: Arc<str>,
    /// Such as `ReplicaSet`.
    pub kind: Arc<str>,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Whether it is the controller.
    pub controller: bool,
}

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// What every object has.
    pub meta: Meta,
    /// `status.phase`.
    pub phase: Phase,
    /// `spec.nodeName`; nodes are numbered.
    pub node: u16,
    /// `spec.hostNetwork`.
    pub host_network: bool,
    /// `status.podIP`, if there is one, and then the others of `status.podIPs`.
    pub addresses: Vec<String>,
    /// The main containers.
    pub containers: Vec<Container>,
    /// Init containers; those that run are sidecars.
    pub init: Vec<Container>,
    /// Ephemeral containers.
    pub ephemeral: Vec<Container>,
}

/// `status.phase` of a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Not started.
    Pending,
    /// Started.
    #[default]
    Running,
    /// All its containers have ended well.
    Succeeded,
}

/// A container of a pod, and its status if it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Its name within the pod.
    pub name: Arc<str>,
    /// Its image.
    pub image: Arc<str>,
    /// What the node has reported.
    pub report: Report,
    /// How often it was started again.
    pub restarts: u32,
}

/// What a node has reported of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// Nothing: it has no status.
    None,
    /// It waits, and has no id.
    Waiting,
    /// It runs under this id (with the runtime's prefix).
    Running(String),
    /// It ran under this id.
    Ended(String),
}

impl Object {
    /// A ReplicaSet.
    pub fn replica_set(meta: Meta) -> Self {
        Self::Plain(Kind::REPLICA_SET, meta)
    }

    /// A Job.
    pub fn job(meta: Meta) -> Self {
        Self::Plain(Kind::JOB, meta)
    }

    /// An object by its manifest, which has a `metadata` with its name.
    pub fn manifest(kind: Kind, json: Value) -> Self {
        let text = |key: &str| json.pointer(&format!("/metadata/{key}"))?.as_str();
        Self::Manifest(Raw {
            kind,
            namespace: text("namespace").unwrap_or_default().into(),
            name: text("name").unwrap_or_default().to_owned(),
            json,
        })
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Pod(_) => Kind::POD,
            Self::Plain(kind, _) => *kind,
            Self::Manifest(raw) | Self::Raw(raw) => raw.kind,
        }
    }

    /// Its namespace.
    pub fn namespace(&self) -> &str {
        match self {
            Self::Pod(pod) => &pod.meta.namespace,
            Self::Plain(_, meta) => &meta.namespace,
            Self::Manifest(raw) | Self::Raw(raw) => &raw.namespace,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Pod(pod) => &pod.meta.name,
            Self::Plain(_, meta) => &meta.name,
            Self::Manifest(raw) | Self::Raw(raw) => &raw.name,
        }
    }

    /// What every object has, if this one is not given as JSON.
    pub fn meta(&self) -> Option<&Meta> {
        match self {
            Self::Pod(pod) => Some(&pod.meta),
            Self::Plain(_, meta) => Some(meta),
            Self::Manifest(_) | Self::Raw(_) => None,
        }
    }

    /// The pod, if it is one.
    pub fn pod(&self) -> Option<&Pod> {
        match self {
            Self::Pod(pod) => Some(pod),
            Self::Plain(..) | Self::Manifest(_) | Self::Raw(_) => None,
        }
    }

    /// The object that a watcher sent so. A ReplicaSet or Job is sent without namespace and name:
    /// it gets these. `None` if it is no `Info` of an object.
    pub fn from_info(info: &Info, namespace: &str, name: &str) -> Option<Self> {
        let owner_meta = |uid: &str, owner: Option<&OwnerInfo>| {
            let meta = Meta::new(namespace, name, uid);
            Meta {
                owners: owner.map(Owner::from).into_iter().collect(),
                ..meta
            }
        };
        match info.r#type() {
            Type::K8sPod => Some(Self::Pod(info.pod_info.as_ref()?.into())),
            Type::K8sReplicaset => {
                let set = info.rs_info.as_ref()?;
                Some(Self::replica_set(owner_meta(&set.uid, set.owner.as_ref())))
            }
            Type::K8sJob => {
                let job = info.job_info.as_ref()?;
                Some(Self::job(owner_meta(&job.uid, job.owner.as_ref())))
            }
        }
    }
}

impl From<Pod> for Object {
    fn from(pod: Pod) -> Self {
        Self::Pod(pod)
    }
}

impl Meta {
    /// An object without labels and owners.
    pub fn new(namespace: &str, name: &str, uid: &str) -> Self {
        Self {
            uid: uid.to_owned(),
            namespace: namespace.into(),
            name: name.to_owned(),
            ..Self::default()
        }
    }

    /// With one more label.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.push((key.into(), value.into()));
        self
    }

    /// With one more owner reference.
    #[must_use]
    pub fn of(mut self, owner: Owner) -> Self {
        self.owners.push(owner);
        self
    }

    /// The controller, if it has one.
    pub fn controller(&self) -> Option<&Owner> {
        self.owners.iter().find(|owner| owner.controller)
    }
}

impl Owner {
    /// A controller of a kind and the API version that Kubernetes has it in; any other kind
    /// is one of `example.com/v1`.
    pub fn controller(kind: &str, name: &str, uid: &str) -> Self {
        let api_version = match kind {
            "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" => "apps/v1",
            "CronJob" | "Job" => "batch/v1",
            "Node" | "ReplicationController" => "v1",
            _ => "example.com/v1",
        };
        Self::custom(api_version, kind, name, uid)
    }

    /// A controller of any kind and API version.
    pub fn custom(api_version: &str, kind: &str, name: &str, uid: &str) -> Self {
        Self {
            api_version: api_version.into(),
            kind: kind.into(),
            name: name.to_owned(),
            uid: uid.to_owned(),
            controller: true,
        }
    }

    /// An owner that does not control.
    #[must_use]
    pub fn not_controlling(self) -> Self {
        Self {
            controller: false,
            ..self
        }
    }

    /// The API group; empty for the core.
    pub fn group(&self) -> &str {
        self.api_version
            .split_once('/')
            .map_or("", |(group, _)| group)
    }
}

impl From<&OwnerInfo> for Owner {
    fn from(owner: &OwnerInfo) -> Self {
        Self::controller(&owner.kind, &owner.name, &owner.uid)
    }
}

impl Pod {
    /// A running pod without address and containers.
    pub fn new(namespace: &str, name: &str, uid: &str) -> Self {
        Self {
            meta: Meta::new(namespace, name, uid),
            ..Self::default()
        }
    }

    /// With this address, the first or one more.
    #[must_use]
    pub fn address(mut self, address: &str) -> Self {
        self.addresses.push(address.to_owned());
        self
    }

    /// With one more owner reference.
    #[must_use]
    pub fn of(mut self, owner: Owner) -> Self {
        self.meta.owners.push(owner);
        self
    }

    /// With one more label.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.meta = self.meta.label(key, value);
        self
    }

    /// With one more container that runs.
    #[must_use]
    pub fn container(mut self, name: &str, image: &str, id: &str) -> Self {
        self.containers.push(Container::running(name, image, id));
        self
    }

    /// With one more init container.
    #[must_use]
    pub fn init(mut self, container: Container) -> Self {
        self.init.push(container);
        self
    }

    /// With one more ephemeral container.
    #[must_use]
    pub fn ephemeral(mut self, container: Container) -> Self {
        self.ephemeral.push(container);
        self
    }

    /// In the network of its node.
    #[must_use]
    pub fn host_network(mut self) -> Self {
        self.host_network = true;
        self
    }

    /// All containers that have a status: the main ones first.
    pub fn reported(&self) -> impl Iterator<Item = &Container> {
        let all = self.containers.iter().chain(&self.init);
        all.chain(&self.ephemeral)
            .filter(|container| container.report != Report::None)
    }

    /// The address of its node.
    pub fn host_address(&self) -> String {
        let [high, low] = self.node.to_be_bytes();
        format!("172.16.{high}.{low}")
    }

    /// The address that counts: the first IPv4; 255.255.255.255 if there are only others.
    pub fn ipv4(&self) -> Option<Ipv4Addr> {
        let mut addresses = self.addresses.iter();
        let ipv4 = addresses.find_map(|address| address.parse().ok());
        let any = (!self.addresses.is_empty()).then_some(Ipv4Addr::BROADCAST);
        ipv4.or(any)
    }
}

impl From<&PodInfo> for Pod {
    fn from(info: &PodInfo) -> Self {
        let meta = Meta::new(&info.ns, &info.name, &info.uid);
        let address = (!info.ip.is_empty()).then(|| info.ip.clone());
        let containers = info.container_infos.iter();
        Self {
            meta: Meta {
                owners: info.owner.iter().map(Owner::from).collect(),
                ..meta
            },
            host_network: info.is_host_network,
            addresses: address.into_iter().collect(),
            containers: containers
                .map(|c| Container::running(&c.name, &c.image, &c.id))
                .collect(),
            ..Self::default()
        }
    }
}

impl Container {
    /// One that runs.
    pub fn running(name: &str, image: &str, id: &str) -> Self {
        Self {
            report: Report::Running(id.to_owned()),
            ..Self::unreported(name, image)
        }
    }

    /// One that no node has said anything about.
    pub fn unreported(name: &str, image: &str) -> Self {
        Self {
            name: name.into(),
            image: image.into(),
            report: Report::None,
            restarts: 0,
        }
    }

    /// Its id; `None` until it has one.
    pub fn id(&self) -> Option<&str> {
        match &self.report {
            Report::Running(id) | Report::Ended(id) if !id.is_empty() => Some(id),
            Report::Running(_) | Report::Ended(_) | Report::None | Report::Waiting => None,
        }
    }
}
