//! Named settings of enrichment: what is watched for it, and what its documents say.
//!
//! A profile is made of the keys that Beats' Kubernetes module has and some of our own; a whole
//! `- module: kubernetes` block can be given. Everything is checked when it is read: a
//! [`Profile`] holds typed values only.

mod keys;
mod read;
mod set;
mod setting;

use std::time::Duration;

pub use read::ProfileError;
pub use set::{ProfileSet, ProfileSetError};
pub use setting::{Environment, Setting};

use super::{
    filter::Filters,
    plan::{self, Joins, Needs, Plan},
    resource::{Metricset, Resource},
};

/// The settings of one profile.
#[derive(Clone, Debug)]
pub struct Profile {
    /// `metricsets`, each once.
    pub metricsets: Vec<Metricset>,
    /// `lookups`: kinds held for lookups besides those of the metricsets.
    pub lookups: Vec<Resource>,
    /// `scope`
    pub scope: ScopeSetting,
    /// `add_metadata`: off, events pass through and lookups are disabled.
    pub add_metadata: bool,
    /// The filters of the main object.
    pub main: Filters,
    /// `add_resource_metadata.node`; `None` is off.
    pub node: Option<Filters>,
    /// `add_resource_metadata.namespace`; `None` is off.
    pub namespace: Option<Filters>,
    /// `add_resource_metadata.deployment`
    pub deployment: bool,
    /// `add_resource_metadata.cronjob`
    pub cronjob: bool,
    /// `extra_owner_kinds`: kinds of controllers that are named like the built-in ones.
    pub extra_owner_kinds: Vec<OwnerKindSetting>,
    /// `container_image`: the image of a container's spec is said.
    pub container_image: bool,
    /// `pod_ips`: all addresses of a pod are said.
    pub pod_ips: bool,
    /// `output_schema`
    pub schema: Schema,
    /// `semconv`
    pub semconv: Semconv,
    /// `parity`
    pub parity: Parity,
    /// `deleted_grace_seconds`: how long a deleted object still answers.
    pub deleted_grace: Duration,
    /// `deleted_capacity`: how many deleted objects of a kind still answer.
    pub deleted_capacity: usize,
    /// `watch_linger_seconds`: how long a watch outlives its last user.
    pub watch_linger: Duration,
    /// `warm_cluster_scope`: a replica that does not lead holds the whole cluster, too.
    pub warm_cluster_scope: bool,
    /// `namespace`: namespaced kinds are watched in this one only; empty is all.
    pub watched_namespace: String,
    /// `use_kubeadm`
    pub use_kubeadm: bool,
    /// `cluster.name`, `cluster.url`, `cluster.config_map`
    pub cluster: ClusterSettings,
    /// `kube_config`: a path; empty is the usual search.
    pub kube_config: String,
    /// Keys that are known and have no effect here, to be named in one line.
    pub without_effect: Vec<String>,
    /// What the settings ask for and do not get, each a sentence.
    pub warnings: Vec<String>,
}

/// Which pods the metricsets `pod` and `container` are about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScopeSetting {
    /// All of the cluster.
    Cluster,
    /// Those of one node: this one, or with an empty name the one that is found out.
    Node(String),
}

/// The names that documents use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Schema {
    /// Elastic's, as Beats writes them.
    Ecs,
    /// Resource attributes of OpenTelemetry.
    Otel,
}

/// Which of OpenTelemetry's conventions a document follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Semconv {
    /// The stable ones.
    V1,
    /// Those before them.
    V0,
    /// The names of both.
    Both,
}

/// Whether documents have the shape that Beats gives them where ours differs on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parity {
    /// Our shape.
    Relay,
    /// That of Beats.
    Beats,
}

/// A kind of controllers that is named like the built-in ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerKindSetting {
    /// The kind text, such as `Rollout`.
    pub kind: String,
    /// Under which key it is said, such as `rollout`.
    pub key: String,
}

/// What the settings say of the cluster's identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterSettings {
    /// `cluster.name`; empty is not set.
    pub name: String,
    /// `cluster.url`; empty is not set.
    pub url: String,
    /// `cluster.config_map`: where else the name may stand.
    pub config_map: Option<ConfigMapKey>,
}

/// `namespace/name/key`
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the three parts of its text")]
pub struct ConfigMapKey {
    pub namespace: String,
    pub name: String,
    pub key: String,
}

/// A watch that a profile holds from its load on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watch {
    /// What is watched.
    pub resource: Resource,
    /// Limited to the pods of the profile's node.
    pub node_scope: bool,
}

impl ScopeSetting {
    /// The word for it in settings and answers.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Node(_) => "node",
        }
    }
}

impl Schema {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Ecs, Self::Otel];

    /// The word for it in settings and requests.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ecs => "ecs",
            Self::Otel => "otel",
        }
    }

    /// The schema of this [`name`](Self::name).
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|schema| schema.name() == name)
    }
}

impl Semconv {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::V1, Self::V0, Self::Both];

    /// The word for them in settings and requests.
    pub fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V0 => "v0",
            Self::Both => "both",
        }
    }

    /// The conventions of this [`name`](Self::name).
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|semconv| semconv.name() == name)
    }
}

impl Default for Profile {
    /// The settings of an empty block.
    fn default() -> Self {
        Self {
            metricsets: Metricset::ALL.to_vec(),
            lookups: Vec::new(),
            scope: ScopeSetting::Cluster,
            add_metadata: true,
            main: Filters::default(),
            node: Some(Filters::default()),
            namespace: Some(Filters::default()),
            deployment: false,
            cronjob: false,
            extra_owner_kinds: Vec::new(),
            container_image: true,
            pod_ips: false,
            schema: Schema::Ecs,
            semconv: Semconv::V1,
            parity: Parity::Relay,
            deleted_grace: Duration::from_secs(120),
            deleted_capacity: 10_000,
            watch_linger: Duration::from_secs(30),
            warm_cluster_scope: false,
            watched_namespace: String::new(),
            use_kubeadm: true,
            cluster: ClusterSettings::default(),
            kube_config: String::new(),
            without_effect: Vec::new(),
            warnings: Vec::new(),
        }
    }
}

impl Profile {
    /// Reads the settings of one profile: a map, or a list of one map. `node_name` is the node
    /// that `--node-name` names.
    ///
    /// # Errors
    /// A key is not known, a key does not take its value, or a variable is not set.
    pub fn read(
        block: &Setting,
        node_name: Option<&str>,
        environment: Environment<'_>,
    ) -> Result<Self, ProfileError> {
        read::profile(block, node_name, environment)
    }

    /// What is joined into documents about pods.
    pub fn joins(&self) -> Joins {
        Joins {
            node: self.node.is_some(),
            namespace: self.namespace.is_some(),
            deployment: self.deployment,
            cronjob: self.cronjob,
        }
    }

    /// Whether objects of this kind can be looked up.
    pub fn holds(&self, resource: Resource) -> bool {
        let of_metricset = |metricset: &Metricset| metricset.resource() == resource;
        self.add_metadata
            && (self.lookups.contains(&resource) || self.metricsets.iter().any(of_metricset))
    }

    /// Whether events of this metricset are enriched.
    pub fn enriches(&self, metricset: Metricset) -> bool {
        self.add_metadata && self.metricsets.contains(&metricset)
    }

    /// The watches, in the order in which they are started: what is joined before what it is
    /// joined into.
    pub fn watches(&self) -> Vec<Watch> {
        if !self.add_metadata {
            return Vec::new();
        }
        let is_node = matches!(self.scope, ScopeSetting::Node(_));
        let mut watches: Vec<Watch> = Vec::new();
        let mut add = |resource, node_scope| {
            let known = watches.iter_mut().find(|watch| watch.resource == resource);
            match known {
                Some(watch) => watch.node_scope &= node_scope,
                None => watches.push(Watch {
                    resource,
                    node_scope,
                }),
            }
        };
        for metricset in &self.metricsets {
            let plan = Plan::of(*metricset, self.joins());
            for extra in plan.extras {
                add(extra, false);
            }
            add(plan.main, plan.main_node_scope && is_node);
        }
        for resource in &self.lookups {
            for extra in plan::extras(*resource, self.joins()) {
                add(extra, false);
            }
            add(*resource, is_node && *resource == Resource::Pod);
        }
        watches
    }

    /// What must be kept of the objects of a kind for this profile.
    pub fn needs(&self, resource: Resource) -> Needs {
        let watches = self.watches();
        let watched = |resource| watches.iter().any(|watch| watch.resource == resource);
        let mut needs = Needs::default();
        let mut keep = |filters: &Filters| {
            needs.labels = true;
            needs.details = true;
            needs
                .annotations
                .extend(filters.include_annotations.clone());
        };
        if self.holds(resource) {
            keep(&self.main);
        }
        let joins_node = resource == Resource::Node && watched(Resource::Pod);
        let joins_namespace = resource == Resource::Namespace && watched(resource);
        let joined = [
            self.node.as_ref().filter(|_| joins_node),
            self.namespace.as_ref().filter(|_| joins_namespace),
        ];
        joined.into_iter().flatten().for_each(keep);
        needs.otel = self.schema == Schema::Otel && resource == Resource::Pod;
        needs
    }
}
