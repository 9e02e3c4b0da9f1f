//! Under `--reannounce on-change` an Info is the whole object: what a stream does not clear is no
//! reason for a difference any longer.

use k8s_relay::{
    matcher::Reannounce,
    migrate::compare::{Acquainted, Comparison, Field, Rule},
    model::{OwnerKind, Seed},
};

use super::*;
use crate::support::core::{a, deployment, pod, replica_set, secs};

/// A ReplicaSet that is known, and whose controller is of another API group than its kind's.
#[derive(Debug)]
struct Foreign;

impl Acquainted for Foreign {
    fn acquaintance(&self, _: &PodMeta) -> OwnerStatus {
        Met
    }

    fn has_custom_controller(&self, _: &PodMeta) -> bool {
        true
    }
}

fn judged(reannounce: Reannounce, legacy: &Known, native: Seen<'_>) -> (Vec<Field>, Vec<Rule>) {
    let mut comparison = Comparison::new(secs(0)).of(reannounce, Seed::FIXED);
    comparison.refresh(&Uid::new("p"), legacy.seen(), native, origin());
    let parity = comparison.parity(origin());
    (
        parity.by_field.into_keys().collect(),
        parity.expected.into_keys().collect(),
    )
}

#[test]
fn what_a_stream_should_have_cleared_is_a_difference_where_an_info_is_the_whole_object() {
    use Field::{HostNetwork, Kind, Owner, Presence, Version};
    let of_set = || pod("p").owned_by(replica_set("rs"));
    let mut on_host = pod("p");
    on_host.0.host_network = true;
    for (legacy, native, rule, fields) in [
        (
            live(pod("p").version("1")),
            live(pod("p").version("")),
            Rule::StickyVersion,
            vec![Version],
        ),
        (
            live(on_host),
            live(pod("p")),
            Rule::StickyHostNetwork,
            vec![HostNetwork],
        ),
        (
            live(of_set()),
            live(pod("p")),
            Rule::StickyOwner,
            vec![Owner, Kind],
        ),
        (WAITING, live(pod("p")), Rule::StickyOwner, vec![Presence]),
        (
            under(of_set(), deployment("web"), Met),
            under(of_set(), replica_set("rs"), Met),
            Rule::KeptController,
            vec![Owner, Kind],
        ),
    ] {
        let never = judged(Reannounce::Never, &legacy, native.seen());
        assert_eq!(never, (vec![], vec![rule]));
        let on_change = judged(Reannounce::OnChange, &legacy, native.seen());
        assert_eq!(on_change, (fields, vec![]), "{rule}");
    }
}

#[test]
fn a_controller_of_another_api_group_stays_a_difference_on_purpose() {
    let of_set = || pod("p").owned_by(replica_set("rs"));
    let legacy = under(of_set(), a(OwnerKind::Deployment, "foreign"), Met);
    let native = PodMeta::from(of_set());
    let owner = native.owner.clone();
    for reannounce in [Reannounce::Never, Reannounce::OnChange] {
        let live = Live {
            slot: Slot::FIRST,
            pod: &native,
            owner: owner.as_ref(),
        };
        let judged = judged(reannounce, &legacy, Seen::Live(live, &Foreign));
        assert_eq!(judged, (vec![], vec![Rule::KeptController]));
    }
}
