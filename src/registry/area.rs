//! What is watched of a kind. Pure.

use std::{collections::BTreeSet, fmt};

use crate::enrich::resource::Resource;

/// What a user wants to know of a kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// All objects.
    Cluster,
    /// Those of one namespace; of namespaces this one. A kind that is in no namespace is wanted
    /// whole.
    Namespace(String),
    /// Of pods those of one node, of nodes this one. Any other kind is wanted whole.
    Node(String),
}

/// What the watches of a kind cover together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Area {
    Cluster,
    Namespaces(BTreeSet<String>),
    Node(String),
}

impl Area {
    /// What is covered for one user.
    pub(super) fn of(resource: Resource, scope: Scope) -> Self {
        match scope {
            Scope::Node(node) if matches!(resource, Resource::Pod | Resource::Node) => {
                Self::Node(node)
            }
            Scope::Namespace(namespace)
                if resource.namespaced() || resource == Resource::Namespace =>
            {
                Self::Namespaces([namespace].into())
            }
            Scope::Cluster | Scope::Namespace(_) | Scope::Node(_) => Self::Cluster,
        }
    }

    /// The smallest that covers both and can be watched.
    pub(super) fn and(self, other: &Self) -> Self {
        match (self, other) {
            (Self::Node(one), Self::Node(other)) if one == *other => Self::Node(one),
            (Self::Namespaces(mut one), Self::Namespaces(other)) => {
                one.extend(other.iter().cloned());
                Self::Namespaces(one)
            }
            _ => Self::Cluster,
        }
    }

    pub(super) fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Cluster, _) => true,
            (Self::Node(one), Self::Node(other)) => one == other,
            (Self::Namespaces(one), Self::Namespaces(other)) => other.is_subset(one),
            (Self::Node(_) | Self::Namespaces(_), _) => false,
        }
    }

    /// The watches that it takes, where the relay is limited to these namespaces.
    pub(super) fn parts(&self, resource: Resource, namespaces: &[String]) -> Vec<Scope> {
        match self {
            Self::Cluster if resource.namespaced() && !namespaces.is_empty() => {
                namespaces.iter().cloned().map(Scope::Namespace).collect()
            }
            Self::Cluster => vec![Scope::Cluster],
            Self::Namespaces(some) => some.iter().cloned().map(Scope::Namespace).collect(),
            Self::Node(node) => vec![Scope::Node(node.clone())],
        }
    }
}

impl fmt::Display for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster => f.write_str("cluster"),
            Self::Node(node) => write!(f, "node/{node}"),
            Self::Namespaces(some) => {
                let all: Vec<_> = some.iter().map(String::as_str).collect();
                write!(f, "namespace/{}", all.join(","))
            }
        }
    }
}
