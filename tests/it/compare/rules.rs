//! What differs, and what is set aside: one pod in all ways.

use std::{collections::BTreeSet, net::Ipv4Addr};

use k8s_relay::{
    migrate::{
        Row,
        compare::{Comparison, Field, Rule},
    },
    model::{OwnerKind, Pod},
};

use super::*;
use crate::{
    harness::exceptions,
    support::core::{a, container, custom, deployment, pod, replica_set, secs},
};

/// A pod of a ReplicaSet, with a container.
fn p() -> PodDraft {
    pod("p").owned_by(replica_set("rs")).running(&["c1"])
}

fn with(mut draft: PodDraft, change: impl FnOnce(&mut Pod)) -> PodDraft {
    change(&mut draft.0);
    draft
}

#[test]
fn every_field_that_differs_is_named_and_no_other_one() {
    let own = || live(p());
    let same = |change: fn(&mut Pod)| live(with(p(), change));
    use Field::{
        Address, Containers, HostNetwork, Kind, Name, Namespace, Owner, Presence, Version,
    };
    for (what, legacy, native, expected) in [
        ("equal", own(), own(), &[][..]),
        ("in neither", UNKNOWN, WAITING, &[]),
        ("missing", own(), UNKNOWN, &[Presence]),
        ("extra", UNKNOWN, own(), &[Presence]),
        ("extra, no address", NO_ADDRESS, own(), &[Presence]),
        ("missing, waits", own(), WAITING, &[Presence]),
        ("address", own(), live(p().address(2)), &[Address]),
        ("name", own(), same(|pod| pod.name = "q".into()), &[Name]),
        (
            "namespace",
            own(),
            same(|pod| pod.namespace = "q".into()),
            &[Namespace],
        ),
        ("version", own(), live(p().version("2")), &[Version]),
        (
            "network",
            own(),
            same(|pod| pod.host_network = true),
            &[HostNetwork],
        ),
        (
            "owner",
            own(),
            live(p().owned_by(replica_set("other"))),
            &[Owner],
        ),
        (
            "kind",
            own(),
            live(p().owned_by(a(OwnerKind::Job, "rs"))),
            &[Kind],
        ),
        (
            "two kinds with one code",
            live(p().owned_by(a(OwnerKind::Other("DaemonSet".into()), "x"))),
            live(p().owned_by(a(OwnerKind::Other("StatefulSet".into()), "x"))),
            &[],
        ),
        (
            "more containers",
            own(),
            live(p().running(&["c1", "c2"])),
            &[Containers],
        ),
        (
            "fewer containers",
            own(),
            live(p().running(&[])),
            &[Containers],
        ),
        (
            "another image",
            own(),
            live(p().image("nginx:2")),
            &[Containers],
        ),
        (
            "another order, and one twice",
            live(p().running(&["c1", "c2"])),
            live(p().running(&["c2", "c1", "c2"])),
            &[],
        ),
        (
            "another runtime",
            live(p().running(&["docker://c1"])),
            live(p().running(&["containerd://c1"])),
            &[Containers],
        ),
        (
            "no owner, another name",
            live(pod("p")),
            live(with(pod("p"), |pod| pod.name = "q".into())),
            &[Name],
        ),
        (
            "several",
            own(),
            live(p().owned_by(deployment("web")).version("2").address(2)),
            &[Owner, Kind, Address, Version],
        ),
    ] {
        assert_eq!(
            compared(&legacy, &native),
            (expected.to_vec(), vec![]),
            "{what}"
        );
    }
}

#[test]
fn what_is_cut_before_it_is_sent_is_no_difference() {
    let long = |end: &str| {
        with(p(), |pod| {
            pod.version = (&*("v".repeat(20_000) + end)).into()
        })
    };
    assert_eq!(
        compared(&live(long("1")), &live(long("2"))),
        (vec![], vec![])
    );
    let image = |end: &str| p().image(&("i".repeat(20_000) + end));
    assert_eq!(
        compared(&live(image("1")), &live(image("2"))),
        (vec![], vec![])
    );
}

/// Cases of each rule.
fn expected() -> Vec<(Rule, Known, Known)> {
    let auxiliary = |draft: PodDraft, auxiliary| with(draft, |pod| pod.auxiliary = auxiliary);
    let bare = || p().running(&[]);
    let without = |change: fn(&mut Pod)| with(p(), change);
    let broadcast = with(p(), |pod| pod.address = Some(Ipv4Addr::BROADCAST));
    let volcano = || custom(OwnerKind::Job, "vj");
    let in_rs = |known| under(p(), replica_set("rs"), known);
    let in_web = |known| under(p(), deployment("web"), known);
    vec![
        (
            Rule::NotMainContainer,
            live(p()),
            live(auxiliary(p().running(&["c1", "init", "debug"]), 2)),
        ),
        (
            Rule::ContainerWithoutId,
            live(with(p(), |pod| {
                let mut early = container("");
                early.name = "slow".into();
                pod.containers = [container("c1"), early].into();
            })),
            live(p()),
        ),
        (Rule::StickyVersion, live(bare()), live(bare().version(""))),
        (
            Rule::StickyHostNetwork,
            live(without(|pod| pod.host_network = true)),
            live(p()),
        ),
        (
            Rule::StickyOwner,
            in_web(Met),
            live(without(|pod| pod.owner = None)),
        ),
        (
            Rule::StickyOwner,
            WAITING,
            live(without(|pod| pod.owner = None)),
        ),
        (Rule::KeptController, in_web(Met), in_rs(Met)),
        (Rule::KeptController, in_web(Deleted), in_rs(Deleted)),
        (Rule::StickyAddress, live(bare()), NO_ADDRESS),
        (Rule::StickyAddress, NO_ADDRESS, live(bare())),
        (Rule::Ipv6Address, live(broadcast), live(p())),
        (Rule::CustomOwner, WAITING, live(p().owned_by(volcano()))),
        (Rule::OwnerWait, WAITING, in_rs(Unmet)),
        (Rule::OwnerGone, WAITING, in_web(Unmet)),
        (Rule::OwnerGone, WAITING, in_web(Deleted)),
        (Rule::OwnerGone, in_web(Deleted), WAITING),
        (Rule::OwnerGone, in_web(Unmet), WAITING),
        (Rule::OwnerGone, in_web(Deleted), in_rs(Unmet)),
    ]
}

#[test]
fn a_difference_on_purpose_is_expected_by_its_rule_alone() {
    for (rule, legacy, native) in expected() {
        let got = compared(&legacy, &native);
        assert_eq!(got, (vec![], vec![rule]), "{legacy:?} {native:?}");
    }
    let tested: BTreeSet<_> = expected().into_iter().map(|(rule, ..)| rule).collect();
    assert_eq!(tested, Rule::ALL.into());
}

#[test]
fn what_a_rule_excuses_in_one_direction_is_a_difference_in_the_other() {
    let symmetric = [
        Rule::NotMainContainer,
        Rule::ContainerWithoutId,
        Rule::StickyAddress,
        Rule::OwnerGone,
    ];
    for (rule, legacy, native) in expected() {
        // A stream never gives up waiting: a pod that is live there was announced under its owner.
        let mirrored = match rule {
            Rule::OwnerWait => Rule::OwnerGone,
            rule => rule,
        };
        let (fields, rules) = compared(&native, &legacy);
        assert_eq!(
            fields.is_empty(),
            symmetric.contains(&mirrored) && rules == [mirrored],
            "{rule}: {legacy:?} {native:?}"
        );
    }
}

#[test]
fn a_rule_does_not_excuse_what_looks_alike() {
    let version = |version: &str| live(p().version(version));
    let other_owner = || under(p().owned_by(replica_set("rs2")), replica_set("rs2"), Met);
    let in_rs = |known| under(p(), replica_set("rs"), known);
    let in_web = |known| under(p(), deployment("web"), known);
    use Field::{Address, Containers, Kind, Owner, Presence, Version};
    for (what, legacy, native, expected) in [
        (
            "a version lost while its containers are sent",
            version("1"),
            version(""),
            &[Version][..],
        ),
        (
            "ReplicaSets that only we do not hear of",
            in_web(Met),
            in_rs(Unmet),
            &[Owner, Kind],
        ),
        (
            "the same while the pod waits",
            in_web(Met),
            WAITING,
            &[Presence],
        ),
        (
            "ReplicaSets that only the stream does not send",
            WAITING,
            in_rs(Met),
            &[Presence],
        ),
        (
            "another owner altogether",
            in_web(Met),
            other_owner(),
            &[Owner, Kind],
        ),
        (
            "an address that we fail to read",
            live(p()),
            NO_ADDRESS,
            &[Presence],
        ),
        (
            "an address of which a stream has another",
            live(p().address(7)),
            live(with(p(), |pod| pod.address = Some(Ipv4Addr::BROADCAST))),
            &[Address],
        ),
        (
            "a main container sent for an init one",
            live(p().running(&["c1", "init"])),
            live(with(p().running(&["c1", "init"]), |pod| pod.auxiliary = 1)),
            &[Containers],
        ),
        (
            "a container with its id in one feed only",
            live(p().running(&[""])),
            live(p()),
            &[Containers],
        ),
    ] {
        assert_eq!(compared(&legacy, &native).0, expected, "{what}");
    }
}

#[test]
fn alongside_an_expected_difference_everything_else_is_still_compared() {
    let native = with(p().running(&["c1", "init"]).version("2"), |pod| {
        pod.auxiliary = 1
    });
    let expected = (vec![Field::Version], vec![Rule::NotMainContainer]);
    assert_eq!(compared(&live(p()), &live(native)), expected);
}

#[test]
fn the_code_and_the_list_of_exceptions_have_the_same_rules() {
    let listed: Vec<_> = exceptions::read_migration().unwrap();
    let names: Vec<&str> = listed.iter().map(|listed| &*listed.rule).collect();
    assert_eq!(names, Rule::ALL.map(Rule::as_str));
    for listed in &listed {
        assert!(listed.reason.len() > 40, "{}: why?", listed.rule);
        assert!(
            listed.decision.starts_with('D'),
            "{}: by what?",
            listed.rule
        );
    }
}

#[test]
fn a_divergence_is_shown_with_both_values() {
    let web = p().version("1").running(&["c1", "c2"]);
    let legacy = under(web.clone(), deployment("web"), Met);
    let native = live(
        web.running(&["c1", "c3"])
            .owned_by(replica_set("rs2"))
            .address(9),
    );
    let mut comparison = Comparison::new(secs(10));
    comparison.start(origin());
    refresh(&mut comparison, "p", &legacy, &native, origin());
    refresh(
        &mut comparison,
        "q",
        &live(pod("q")),
        &WAITING,
        origin() + secs(4),
    );
    let rows = comparison.rows(20, origin() + secs(11));
    let line = |row: &Row| {
        let Row {
            uid,
            namespace,
            name,
            field,
            legacy,
            native,
            seconds,
            counts,
        } = row;
        format!("{namespace}/{name} {uid} {field}: {legacy} | {native} | {seconds} {counts}")
    };
    assert_eq!(
        rows.iter().map(line).collect::<Vec<_>>(),
        [
            "shop/p p owner: web (web) | rs2 (rs2) | 11 true",
            "shop/p p kind: Deployment | ReplicaSet | 11 true",
            "shop/p p address: 10.0.0.1 | 10.0.0.9 | 11 true",
            "shop/p p containers: c2 nginx:1 c2 | c3 nginx:1 c3 | 11 true",
            "shop/q q presence: live | waits for its owner | 7 false",
        ]
    );
    assert_eq!(comparison.rows(2, origin() + secs(11)), rows[..2]);
    let long = live(pod("p").version(&"ü".repeat(1_000)));
    refresh(&mut comparison, "p", &live(pod("p")), &long, origin());
    let shown = comparison.rows(20, origin() + secs(11));
    let version = shown.iter().find(|row| row.field == "version").unwrap();
    assert_eq!(version.native, "ü".repeat(100) + "…");
}
