//! What is joined into a document, gathered before it is written.
//!
//! A document depends on its main object and on what is gathered here, and on nothing else of
//! the cluster. So a document that was written before is still right exactly if all of these are
//! the same snapshots as then.

use smallvec::SmallVec;

use super::{
    object::Object,
    profile::{Profile, Schema},
    resource::Resource,
    view::{Found, ObjectView, Trouble},
};
use crate::model::OwnerRef;

/// The namespace whose uid stands for the cluster.
const CLUSTER_NAMESPACE: &str = "kube-system";

/// Objects that a document mentions besides its main object.
#[derive(Clone, Debug, Default)]
pub(super) struct Joined {
    pub(super) node: Join,
    pub(super) namespace: Join,
    pub(super) replicaset: Join,
    pub(super) job: Join,
    /// The namespace whose uid stands for the cluster.
    pub(super) cluster: Join,
    /// Owners whose labels are said.
    pub(super) owners: SmallVec<[Object; 2]>,
}

/// An object that is joined.
#[derive(Clone, Debug, Default)]
pub(super) enum Join {
    /// Nobody asked for it.
    #[default]
    Unasked,
    Found(Object),
    Missing(Missing),
}

/// Why a joined object is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Missing {
    /// There is none, or it is another one than the reference means.
    NotFound,
    /// Its kind has not been listed yet.
    Syncing,
    /// The API server refuses its kind.
    Forbidden,
    /// The API server does not answer.
    Unreachable,
}

/// The parts that a document may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is the join of the same name")]
pub enum Part {
    Node,
    Namespace,
    ReplicaSet,
    Job,
}

impl Missing {
    /// The word for it in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Syncing => "syncing",
            Self::Forbidden => "forbidden",
            Self::Unreachable => "unreachable",
        }
    }
}

impl Part {
    /// The word for it in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Namespace => "namespace",
            Self::ReplicaSet => "replicaset",
            Self::Job => "job",
        }
    }
}

impl Join {
    pub(super) fn object(&self) -> Option<&Object> {
        match self {
            Self::Found(object) => Some(object),
            Self::Unasked | Self::Missing(_) => None,
        }
    }

    /// Whether documents that say this and `other` say the same.
    fn same(&self, other: &Self) -> bool {
        match (self.object(), other.object()) {
            (Some(one), Some(other)) => one.ptr_eq(other),
            (None, None) => true,
            _ => false,
        }
    }
}

impl Joined {
    /// Finds what a document about `main` says of other objects.
    pub(super) fn gather(
        view: &impl ObjectView,
        profile: &Profile,
        schema: Schema,
        main: &Found,
    ) -> Self {
        let object = &main.object;
        let finder = Finder {
            view,
            with_buried: main.deleted_at.is_some(),
        };
        let mut joined = Self::default();
        if profile.namespace.is_some() && !object.namespace.is_empty() {
            joined.namespace = finder.find(Resource::Namespace, "", &object.namespace);
        }
        if let Some(pod) = object.pod() {
            if profile.node.is_some() && !pod.node.is_empty() {
                joined.node = finder.find(Resource::Node, "", &pod.node);
            }
            if profile.deployment {
                joined.replicaset = finder.controller(object, Resource::ReplicaSet);
            }
            if profile.cronjob {
                joined.job = finder.controller(object, Resource::Job);
            }
        }
        if schema == Schema::Otel {
            joined.gather_otel(&finder, profile, object);
        }
        joined
    }

    fn gather_otel(
        &mut self,
        finder: &Finder<'_, impl ObjectView>,
        profile: &Profile,
        main: &Object,
    ) {
        if profile.namespace.is_some() || profile.holds(Resource::Namespace) {
            self.cluster = finder.find(Resource::Namespace, "", CLUSTER_NAMESPACE);
        }
        if main.pod().is_none() {
            return;
        }
        let parents = [&self.replicaset, &self.job];
        let above = parents.into_iter().filter_map(Join::object);
        let above = above.flat_map(|parent| parent.controllers.iter());
        let owners = main.controllers.iter().chain(above).filter_map(|owner| {
            let resource = Resource::from_kind(owner.kind.as_str())?;
            let is_said = resource.is_owner() && profile.holds(resource) && !owner.custom;
            let found = is_said.then(|| finder.owner(resource, &main.namespace, owner))?;
            found.object().cloned()
        });
        self.owners = owners.collect();
    }

    /// Whether a document that was written from `self` would be written from `other`, too.
    pub(super) fn same(&self, other: &Self) -> bool {
        self.node.same(&other.node)
            && self.namespace.same(&other.namespace)
            && self.replicaset.same(&other.replicaset)
            && self.job.same(&other.job)
            && self.cluster.same(&other.cluster)
            && self.owners.len() == other.owners.len()
            && self
                .owners
                .iter()
                .zip(&other.owners)
                .all(|(one, other)| one.ptr_eq(other))
    }

    /// The parts that could not be had, and why.
    pub(super) fn missing(&self) -> SmallVec<[(Part, Missing); 2]> {
        let parts = [
            (Part::Node, &self.node),
            (Part::Namespace, &self.namespace),
            (Part::ReplicaSet, &self.replicaset),
            (Part::Job, &self.job),
        ];
        let missing = parts.into_iter().filter_map(|(part, join)| match join {
            Join::Missing(why) => Some((part, *why)),
            Join::Unasked | Join::Found(_) => None,
        });
        missing.collect()
    }
}

struct Finder<'a, V> {
    view: &'a V,
    /// What belongs to a deleted object may be deleted, too.
    with_buried: bool,
}

impl<V: ObjectView> Finder<'_, V> {
    fn find(&self, resource: Resource, namespace: &str, name: &str) -> Join {
        let live = self.view.live(resource, namespace, name);
        let found = live.or_else(|| {
            let buried = self
                .with_buried
                .then(|| self.view.buried(resource, namespace, name));
            Some(buried??.object)
        });
        found.map_or_else(|| Join::Missing(self.why_missing(resource)), Join::Found)
    }

    /// The controller of this kind, if there is one. The kind text decides, whatever its group.
    fn controller(&self, object: &Object, resource: Resource) -> Join {
        let is_it = |owner: &&OwnerRef| owner.kind.as_str() == resource.kind();
        match object.controllers.iter().find(is_it) {
            Some(owner) => self.owner(resource, &object.namespace, owner),
            None => Join::Unasked,
        }
    }

    /// The object that a reference means: by name, and by uid where both have one.
    fn owner(&self, resource: Resource, namespace: &str, owner: &OwnerRef) -> Join {
        let by_uid = match owner.uid.is_empty() {
            true => None,
            false => self.view.by_uid(resource, &owner.uid),
        };
        let is_there = |found: &Found| self.with_buried || found.deleted_at.is_none();
        if let Some(found) = by_uid.filter(is_there) {
            return Join::Found(found.object);
        }
        match self.find(resource, namespace, &owner.name) {
            Join::Found(object) if !(owner.uid.is_empty() || object.uid.is_empty()) => {
                Join::Missing(self.why_missing(resource))
            }
            found @ (Join::Unasked | Join::Found(_) | Join::Missing(_)) => found,
        }
    }

    fn why_missing(&self, resource: Resource) -> Missing {
        let sync = self.view.sync(resource);
        match sync.trouble {
            Some(Trouble::Forbidden) => Missing::Forbidden,
            Some(Trouble::Unreachable) => Missing::Unreachable,
            Some(Trouble::Pending | Trouble::Listing) | None if !sync.listed => Missing::Syncing,
            Some(Trouble::Pending | Trouble::Listing) | None => Missing::NotFound,
        }
    }
}
