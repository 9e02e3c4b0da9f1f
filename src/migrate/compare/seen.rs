//! What a comparison is given of a pod.

use std::fmt;

use crate::{
    matcher::{Live, Matcher, OwnerStatus, PodStatus},
    model::{PodMeta, Uid},
};

/// What one feed knows of a pod at this moment.
#[derive(Clone, Copy, Debug)]
pub enum Seen<'a> {
    /// Nothing.
    Unknown,
    /// It has no address yet.
    NoAddress,
    /// Its ReplicaSet or Job is not known yet.
    Waiting,
    /// It is live. With it, what says how well the feed knows its direct owner.
    Live(Live<'a>, &'a dyn Acquainted),
}

/// Says how well a feed knows the direct owner of a pod. It is asked only where that matters.
pub trait Acquainted: fmt::Debug {
    /// How well it is known.
    fn acquaintance(&self, pod: &PodMeta) -> OwnerStatus;

    /// Whether its controller is of another API group than its kind's: no pod is announced under
    /// that.
    fn has_custom_controller(&self, pod: &PodMeta) -> bool;
}

impl Seen<'_> {
    /// What this matcher makes of a uid.
    pub fn of<'a>(matcher: &'a Matcher, uid: &Uid) -> Seen<'a> {
        if let Some(live) = matcher.live(uid) {
            return Seen::Live(live, matcher);
        }
        match matcher.standing(uid) {
            PodStatus::NoAddress => Seen::NoAddress,
            PodStatus::Waiting => Seen::Waiting,
            PodStatus::Unknown | PodStatus::Live => Seen::Unknown,
        }
    }

    pub(super) fn standing(&self) -> PodStatus {
        match self {
            Seen::Unknown => PodStatus::Unknown,
            Seen::NoAddress => PodStatus::NoAddress,
            Seen::Waiting => PodStatus::Waiting,
            Seen::Live(..) => PodStatus::Live,
        }
    }
}

impl Acquainted for Matcher {
    fn acquaintance(&self, pod: &PodMeta) -> OwnerStatus {
        self.acquaintance(pod)
    }

    fn has_custom_controller(&self, pod: &PodMeta) -> bool {
        self.has_custom_controller(pod)
    }
}

/// The same of each pod; no controller is of another API group.
impl Acquainted for OwnerStatus {
    fn acquaintance(&self, _: &PodMeta) -> OwnerStatus {
        *self
    }

    fn has_custom_controller(&self, _: &PodMeta) -> bool {
        false
    }
}
