//! What is watched: kinds, and the part of the cluster that one list covers.

/// The kinds that are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Pods.
    Pod,
    /// ReplicaSets of the group `apps`.
    ReplicaSet,
    /// Jobs of the group `batch`.
    Job,
}

/// What one watch of a kind covers: every namespace, or one of those that `--namespace`
/// names. Numbered from 0; a list of one scope says nothing about the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(pub u16);
