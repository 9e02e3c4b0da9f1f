//! The kinds that enrichment knows, and the metricsets that it adds metadata to.

use std::fmt;

use crate::model::{Kind, KindRow, KindTable};

/// A kind of objects that events are about, or that is joined into what is said of another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is the Kubernetes kind of the same name")]
pub enum Resource {
    Pod,
    Node,
    Namespace,
    Service,
    ReplicaSet,
    Deployment,
    StatefulSet,
    DaemonSet,
    Job,
    CronJob,
    PersistentVolumeClaim,
    PersistentVolume,
    StorageClass,
}

/// What is to be said of a [`Resource`].
struct Row {
    resource: Resource,
    key: &'static str,
    kind: &'static str,
    group: &'static str,
    plural: &'static str,
    namespaced: bool,
}

const fn row(
    resource: Resource,
    (key, kind): (&'static str, &'static str),
    (group, plural): (&'static str, &'static str),
    namespaced: bool,
) -> Row {
    Row {
        resource,
        key,
        kind,
        group,
        plural,
        namespaced,
    }
}

/// In the order of the enum.
const ROWS: [Row; 13] = {
    use Resource::*;
    [
        row(Pod, ("pod", "Pod"), ("", "pods"), true),
        row(Node, ("node", "Node"), ("", "nodes"), false),
        row(
            Namespace,
            ("namespace", "Namespace"),
            ("", "namespaces"),
            false,
        ),
        row(Service, ("service", "Service"), ("", "services"), true),
        row(
            ReplicaSet,
            ("replicaset", "ReplicaSet"),
            ("apps", "replicasets"),
            true,
        ),
        row(
            Deployment,
            ("deployment", "Deployment"),
            ("apps", "deployments"),
            true,
        ),
        row(
            StatefulSet,
            ("statefulset", "StatefulSet"),
            ("apps", "statefulsets"),
            true,
        ),
        row(
            DaemonSet,
            ("daemonset", "DaemonSet"),
            ("apps", "daemonsets"),
            true,
        ),
        row(Job, ("job", "Job"), ("batch", "jobs"), true),
        row(CronJob, ("cronjob", "CronJob"), ("batch", "cronjobs"), true),
        row(
            PersistentVolumeClaim,
            ("persistentvolumeclaim", "PersistentVolumeClaim"),
            ("", "persistentvolumeclaims"),
            true,
        ),
        row(
            PersistentVolume,
            ("persistentvolume", "PersistentVolume"),
            ("", "persistentvolumes"),
            false,
        ),
        row(
            StorageClass,
            ("storageclass", "StorageClass"),
            ("storage.k8s.io", "storageclasses"),
            false,
        ),
    ]
};

impl Resource {
    /// All of them.
    pub const ALL: [Self; 13] = {
        let mut all = [Self::Pod; 13];
        let mut at = 0;
        while at < all.len() {
            #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
            {
                all[at] = ROWS[at].resource;
            }
            at += 1;
        }
        all
    };

    fn row(self) -> &'static Row {
        #[expect(clippy::indexing_slicing, reason = "a row for each, in their order")]
        &ROWS[self.index()]
    }

    /// Its place in [`Self::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// The name in requests and in documents, such as `replicaset`.
    pub fn key(self) -> &'static str {
        self.row().key
    }

    /// The kind text, such as `ReplicaSet`.
    pub fn kind(self) -> &'static str {
        self.row().kind
    }

    /// The API group; empty for the core.
    pub fn group(self) -> &'static str {
        self.row().group
    }

    /// The plural name, as in paths and roles.
    pub fn plural(self) -> &'static str {
        self.row().plural
    }

    /// Its objects are in namespaces.
    pub fn namespaced(self) -> bool {
        self.row().namespaced
    }

    /// The resource of this [`key`](Self::key).
    pub fn from_key(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|resource| resource.key() == key)
    }

    /// The resource of this kind text, whatever its API group.
    pub fn from_kind(kind: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|resource| resource.kind() == kind)
    }

    /// Which of the watched kinds it is, if it is one.
    pub fn find(self, kinds: &KindTable) -> Option<Kind> {
        kinds.find(self.group(), self.plural())
    }

    /// How it is watched.
    pub fn kind_row(self) -> KindRow {
        if let Some(kind) = self.find(&KindTable::default()) {
            return KindTable::default().row(kind).clone();
        }
        let api_version = match self.group() {
            "" => "v1".to_owned(),
            group => format!("{group}/v1"),
        };
        let row = match self {
            Self::Node | Self::Service => KindRow::full,
            Self::Pod | Self::Namespace | Self::ReplicaSet | Self::Deployment => {
                KindRow::metadata_only
            }
            Self::StatefulSet | Self::DaemonSet | Self::Job | Self::CronJob => {
                KindRow::metadata_only
            }
            Self::PersistentVolumeClaim | Self::PersistentVolume | Self::StorageClass => {
                KindRow::metadata_only
            }
        };
        KindRow {
            namespaced: self.namespaced(),
            ..row(&api_version, self.kind(), self.plural())
        }
    }

    /// All of them, as kinds that are watched.
    pub fn kinds() -> KindTable {
        let fixed = KindTable::default();
        let later = Self::ALL
            .into_iter()
            .filter(|one| one.find(&fixed).is_none());
        // They are not two of one name.
        KindTable::with(later.map(Self::kind_row)).unwrap_or(fixed)
    }

    /// Whether a controller of this kind is named in a document.
    pub fn is_owner(self) -> bool {
        use Resource::*;
        match self {
            Deployment | ReplicaSet | StatefulSet | DaemonSet | Job | CronJob => true,
            Pod | Node | Namespace | Service => false,
            PersistentVolumeClaim | PersistentVolume | StorageClass => false,
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.key())
    }
}

/// A named producer of events. Events of two metricsets differ in their shape, not only in
/// their subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is the metricset of the same name")]
pub enum Metricset {
    Pod,
    Container,
    Node,
    StatePod,
    StateContainer,
    StateNode,
    StateNamespace,
    StateDeployment,
    StateDaemonSet,
    StateReplicaSet,
    StateStatefulSet,
    StateJob,
    StateCronJob,
    StateService,
    StatePersistentVolume,
    StatePersistentVolumeClaim,
    StateStorageClass,
}

/// What the id of an event is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// `namespace/name` or `name`.
    Object,
    /// `namespace/pod/container`.
    Container,
}

impl Metricset {
    /// All of them.
    pub const ALL: [Self; 17] = {
        use Metricset::*;
        [
            Pod,
            Container,
            Node,
            StatePod,
            StateContainer,
            StateNode,
            StateNamespace,
            StateDeployment,
            StateDaemonSet,
            StateReplicaSet,
            StateStatefulSet,
            StateJob,
            StateCronJob,
            StateService,
            StatePersistentVolume,
            StatePersistentVolumeClaim,
            StateStorageClass,
        ]
    };

    /// The name, as in requests and settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pod => "pod",
            Self::Container => "container",
            Self::Node => "node",
            Self::StatePod => "state_pod",
            Self::StateContainer => "state_container",
            Self::StateNode => "state_node",
            Self::StateNamespace => "state_namespace",
            Self::StateDeployment => "state_deployment",
            Self::StateDaemonSet => "state_daemonset",
            Self::StateReplicaSet => "state_replicaset",
            Self::StateStatefulSet => "state_statefulset",
            Self::StateJob => "state_job",
            Self::StateCronJob => "state_cronjob",
            Self::StateService => "state_service",
            Self::StatePersistentVolume => "state_persistentvolume",
            Self::StatePersistentVolumeClaim => "state_persistentvolumeclaim",
            Self::StateStorageClass => "state_storageclass",
        }
    }

    /// The metricset of this [`name`](Self::name).
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|metricset| metricset.name() == name)
    }

    /// What its events are about.
    pub fn resource(self) -> Resource {
        match self {
            Self::Pod | Self::Container | Self::StatePod | Self::StateContainer => Resource::Pod,
            Self::Node | Self::StateNode => Resource::Node,
            Self::StateNamespace => Resource::Namespace,
            Self::StateDeployment => Resource::Deployment,
            Self::StateDaemonSet => Resource::DaemonSet,
            Self::StateReplicaSet => Resource::ReplicaSet,
            Self::StateStatefulSet => Resource::StatefulSet,
            Self::StateJob => Resource::Job,
            Self::StateCronJob => Resource::CronJob,
            Self::StateService => Resource::Service,
            Self::StatePersistentVolume => Resource::PersistentVolume,
            Self::StatePersistentVolumeClaim => Resource::PersistentVolumeClaim,
            Self::StateStorageClass => Resource::StorageClass,
        }
    }

    /// What the id of its events is made of.
    pub fn subject(self) -> Subject {
        match matches!(self, Self::Container | Self::StateContainer) {
            true => Subject::Container,
            false => Subject::Object,
        }
    }

    /// Its events come from one node's kubelet, and are about that node's pods.
    pub fn is_of_a_node(self) -> bool {
        matches!(self, Self::Pod | Self::Container)
    }
}

impl fmt::Display for Metricset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_resource_has_a_row_in_its_own_place() {
        for (at, resource) in Resource::ALL.into_iter().enumerate() {
            assert_eq!(resource.index(), at);
            assert_eq!(Resource::from_key(resource.key()), Some(resource));
            assert_eq!(Resource::from_kind(resource.kind()), Some(resource));
            assert_eq!(resource.key(), resource.kind().to_lowercase());
        }
    }

    #[test]
    fn the_kinds_that_are_watched_anyway_are_found_by_group_and_plural() {
        let kinds = KindTable::default();
        for (resource, kind) in [
            (Resource::Pod, Some(Kind::POD)),
            (Resource::ReplicaSet, Some(Kind::REPLICA_SET)),
            (Resource::Job, Some(Kind::JOB)),
            (Resource::Node, None),
        ] {
            assert_eq!(resource.find(&kinds), kind, "{resource}");
        }
    }

    #[test]
    fn a_metricset_is_named_after_its_resource_but_for_containers() {
        for metricset in Metricset::ALL {
            let name = metricset.name();
            assert_eq!(Metricset::from_name(name), Some(metricset));
            let plain = name.strip_prefix("state_").unwrap_or(name);
            let expected = match metricset.subject() {
                Subject::Object => plain,
                Subject::Container => "pod",
            };
            assert_eq!(metricset.resource().key(), expected, "{name}");
        }
    }
}
