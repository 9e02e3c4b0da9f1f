//! The comparison of two feeds.

mod ages;
mod digests;
mod properties;
mod rules;
mod whole;

use std::{sync::LazyLock, time::Instant};

use k8s_relay::{
    matcher::{Live, OwnerStatus, PodStatus},
    migrate::compare::{Comparison, Field, Rule, Seen},
    model::{OwnerRef, PodMeta, Slot, Uid},
};

use crate::support::core::{self, PodDraft};

/// The same moment whenever it is asked for.
fn origin() -> Instant {
    static ORIGIN: LazyLock<Instant> = LazyLock::new(core::origin);
    *ORIGIN
}

/// What a feed knows of a pod.
#[derive(Clone, Debug)]
enum Known {
    No(PodStatus),
    Live(PodMeta, Option<OwnerRef>, OwnerStatus),
}

use OwnerStatus::{Deleted, Known as Met, Unknown as Unmet, Unneeded};

const UNKNOWN: Known = Known::No(PodStatus::Unknown);
const NO_ADDRESS: Known = Known::No(PodStatus::NoAddress);
const WAITING: Known = Known::No(PodStatus::Waiting);

/// Live under its direct owner.
fn live(pod: PodDraft) -> Known {
    let pod = PodMeta::from(pod);
    let owner = pod.owner.clone();
    Known::Live(pod, owner, Unneeded)
}

/// Live under this owner; its own one is known so well.
fn under(pod: PodDraft, owner: OwnerRef, acquaintance: OwnerStatus) -> Known {
    Known::Live(pod.into(), Some(owner), acquaintance)
}

impl Known {
    fn seen(&self) -> Seen<'_> {
        match self {
            Self::No(PodStatus::NoAddress) => Seen::NoAddress,
            Self::No(PodStatus::Waiting) => Seen::Waiting,
            Self::No(PodStatus::Unknown | PodStatus::Live) => Seen::Unknown,
            Self::Live(pod, owner, acquaintance) => Seen::Live(
                Live {
                    slot: Slot::FIRST,
                    pod,
                    owner: owner.as_ref(),
                },
                acquaintance,
            ),
        }
    }
}

/// What differs in the pod `p`, and what is expected to.
fn compared(legacy: &Known, native: &Known) -> (Vec<Field>, Vec<Rule>) {
    let mut comparison = Comparison::new(std::time::Duration::ZERO);
    refresh(&mut comparison, "p", legacy, native, origin());
    let parity = comparison.parity(origin());
    (
        parity.by_field.into_keys().collect(),
        parity.expected.into_keys().collect(),
    )
}

fn refresh(comparison: &mut Comparison, uid: &str, legacy: &Known, native: &Known, now: Instant) {
    comparison.refresh(&Uid::new(uid), legacy.seen(), native.seen(), now);
}
