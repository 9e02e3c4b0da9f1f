//! What a comparison is told of a pod.

use std::fmt;

use crate::{
    matcher::{Acquaintance, Live, Matcher, Standing},
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
    /// It is live. Beside it, who says how well the feed knows its direct owner.
    Live(Live<'a>, &'a dyn Acquainted),
}

/// Says how well a feed knows the direct owner of a pod. It is asked only where that matters.
pub trait Acquainted: fmt::Debug {
    /// How well it is known.
    fn acquaintance(&self, pod: &PodMeta) -> Acquaintance;

    /// Whether its controller is of another API group than its kind's: no pod is told under that.
    fn has_custom_controller(&self, pod: &PodMeta) -> bool;
}

impl Seen<'_> {
    /// What this matcher makes of a uid.
    pub fn of<'a>(matcher: &'a Matcher, uid: &Uid) -> Seen<'a> {
        if let Some(live) = matcher.live(uid) {
            return Seen::Live(live, matcher);
        }
        match matcher.standing(uid) {
            Standing::NoAddress => Seen::NoAddress,
            Standing::Waiting => Seen::Waiting,
            Standing::Unknown | Standing::Live => Seen::Unknown,
        }
    }

    pub(super) fn standing(&self) -> Standing {
        match self {
            Seen::Unknown => Standing::Unknown,
            Seen::NoAddress => Standing::NoAddress,
            Seen::Waiting => Standing::Waiting,
            Seen::Live(..) => Standing::Live,
        }
    }
}

impl Acquainted for Matcher {
    fn acquaintance(&self, pod: &PodMeta) -> Acquaintance {
        self.acquaintance(pod)
    }

    fn has_custom_controller(&self, pod: &PodMeta) -> bool {
        self.has_custom_controller(pod)
    }
}

/// The same of each pod; no controller is of another API group.
impl Acquainted for Acquaintance {
    fn acquaintance(&self, _: &PodMeta) -> Acquaintance {
        *self
    }

    fn has_custom_controller(&self, _: &PodMeta) -> bool {
        false
    }
}
