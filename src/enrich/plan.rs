//! Which watches a metricset needs, and what must be kept of the objects that they see.

use smallvec::SmallVec;

use super::{
    filter::Selection,
    resource::{Metricset, Resource},
};

/// Which other objects are joined into what is said of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joins {
    /// Its node's labels.
    pub node: bool,
    /// Its namespace's labels; of every other namespaced kind, too.
    pub namespace: bool,
    /// The Deployment of its ReplicaSet.
    pub deployment: bool,
    /// The CronJob of its Job.
    pub cronjob: bool,
}

/// The watches of one metricset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What its events are about.
    pub main: Resource,
    /// What is joined, in the order in which the watches are started: all of them before
    /// `main`. They cover the whole cluster.
    pub extras: SmallVec<[Resource; 4]>,
    /// The watch of `main` may be limited to the pods of one node.
    pub main_node_scope: bool,
}

impl Plan {
    /// The watches of a metricset with these joins.
    pub fn of(metricset: Metricset, joins: Joins) -> Self {
        Self {
            extras: extras(metricset.resource(), joins),
            main: metricset.resource(),
            main_node_scope: metricset.is_of_a_node(),
        }
    }
}

/// What is joined into documents about a resource.
pub fn extras(main: Resource, joins: Joins) -> SmallVec<[Resource; 4]> {
    let wanted: &[(bool, Resource)] = match main {
        Resource::Pod => &[
            (joins.node, Resource::Node),
            (joins.namespace, Resource::Namespace),
            (joins.deployment, Resource::ReplicaSet),
            (joins.cronjob, Resource::Job),
        ],
        Resource::Service
        | Resource::Deployment
        | Resource::ReplicaSet
        | Resource::StatefulSet
        | Resource::DaemonSet
        | Resource::Job
        | Resource::CronJob
        | Resource::PersistentVolumeClaim => &[(joins.namespace, Resource::Namespace)],
        Resource::PersistentVolume
        | Resource::StorageClass
        | Resource::Node
        | Resource::Namespace => &[],
    };
    let wanted = wanted.iter().filter(|(is_wanted, _)| *is_wanted);
    wanted.map(|(_, resource)| *resource).collect()
}

/// What must be kept of the objects of one resource, besides identity and controllers.
///
/// The needs of several profiles are united; a store that keeps more than a profile needs
/// changes no document of it.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    /// All labels. A label is never left out by a filter here: filters differ between profiles,
    /// and labels are short.
    pub labels: bool,
    /// The annotations that any of these selects.
    pub annotations: Vec<Selection>,
    /// Of pods: node, addresses, phase, containers with their limits; of nodes: host name and
    /// allocatable; of services: the selector.
    pub details: bool,
    /// Of pods: `spec.hostname`, and `imageID` of each container.
    pub otel: bool,
}

impl Needs {
    /// Whether an annotation must be kept.
    pub fn keeps_annotation(&self, key: &str) -> bool {
        self.annotations
            .iter()
            .any(|selection| selection.selects(key))
    }

    /// Makes these the needs of both.
    pub fn unite(&mut self, other: &Self) {
        self.labels |= other.labels;
        self.details |= other.details;
        self.otel |= other.otel;
        for selection in &other.annotations {
            if !self.annotations.contains(selection) {
                self.annotations.push(selection.clone());
            }
        }
    }

    /// Whether what is kept for `self` serves `other`, too. If not, objects must be listed again.
    pub fn cover(&self, other: &Self) -> bool {
        let known = |selection| self.annotations.contains(selection);
        (self.labels || !other.labels)
            && (self.details || !other.details)
            && (self.otel || !other.otel)
            && other.annotations.iter().all(known)
    }
}
