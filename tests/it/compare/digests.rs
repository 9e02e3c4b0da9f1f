//! The digests of both feeds.

use k8s_relay::{
    announce::Sink as _,
    digest::{Digest, Digests},
    migrate::compare::{Comparison, Side},
    model::Pod,
};
use proptest::{collection::vec, prelude::*};

use super::*;
use crate::support::{
    core::{deployment, pod, replica_set, secs},
    history::any_pod,
    wired::Wired,
};

/// A comparison of these pods of each feed.
fn of(legacy: &[Known], native: &[Known]) -> Comparison {
    let mut comparison = Comparison::new(secs(10));
    let uid = |known: &Known| match known {
        Known::Live(pod, ..) => pod.uid.clone(),
        Known::No(_) => unreachable!("live pods only"),
    };
    for known in legacy.iter().chain(native) {
        let uid = uid(known);
        let find = |feed: &[Known]| feed.iter().find(|known| self::uid(known) == uid).cloned();
        let (legacy, native) = (find(legacy), find(native));
        let (legacy, native) = (legacy.unwrap_or(UNKNOWN), native.unwrap_or(UNKNOWN));
        comparison.refresh(&uid, legacy.seen(), native.seen(), origin());
    }
    comparison
}

fn uid(known: &Known) -> Uid {
    match known {
        Known::Live(pod, ..) => pod.uid.clone(),
        Known::No(_) => Uid::new(""),
    }
}

fn total(comparison: &Comparison, side: Side) -> Digest {
    comparison.digests(side).total()
}

#[test]
fn sets_that_are_not_the_same_have_different_digests() {
    let (p, q) = (
        pod("p").running(&["a"]),
        pod("q").running(&["b"]).address(2),
    );
    let set = [live(p.clone()), live(q.clone())];
    let named = |name: &str, namespace: &str| {
        let Pod { uid, .. } = pod("p").0;
        let (name, namespace) = (name.into(), namespace.into());
        live(PodDraft(Pod {
            uid,
            name,
            namespace,
            ..p.clone().0
        }))
    };
    for (what, legacy, native) in [
        (
            "two pods swap their address",
            set.to_vec(),
            vec![live(p.clone().address(2)), live(q.clone().address(1))],
        ),
        (
            "a container moves to another pod",
            set.to_vec(),
            vec![
                live(p.clone().running(&[])),
                live(q.clone().running(&["b", "a"])),
            ],
        ),
        ("a pod is missing", set.to_vec(), vec![live(p.clone())]),
        (
            "a byte moves over a boundary",
            vec![named("web-1", "shop")],
            vec![named("web-1s", "hop")],
        ),
    ] {
        let comparison = of(&legacy, &native);
        let (one, other) = (
            total(&comparison, Side::Legacy),
            total(&comparison, Side::Native),
        );
        assert_ne!(one, other, "{what}");
    }
}

#[test]
fn a_pod_that_is_announced_twice_counts_once() {
    let (p, q) = (live(pod("p")), live(pod("q")));
    let mut comparison = of(&[p.clone(), q.clone()], &[p.clone(), q]);
    let before = comparison.digests(Side::Native).clone();
    for again in [p, live(pod("p"))] {
        refresh(&mut comparison, "p", &again, &again, origin());
    }
    assert_eq!(comparison.digests(Side::Native), &before);
    assert_eq!(before.total().pods(), 2);
}

#[test]
fn what_comes_and_goes_leaves_nothing() {
    let mut comparison = Comparison::new(secs(10));
    for round in 0..3 {
        for n in 0..50 {
            let name = format!("p{n}");
            let (legacy, native) = match (round + n) % 4 {
                0 => (live(pod(&name)), live(pod(&name))),
                1 => (live(pod(&name)), live(pod(&name).version("2"))),
                2 => (UNKNOWN, live(pod(&name))),
                _ => (live(pod(&name)), NO_ADDRESS),
            };
            refresh(&mut comparison, &name, &legacy, &native, origin());
        }
    }
    assert_ne!(
        total(&comparison, Side::Legacy),
        total(&comparison, Side::Native)
    );
    for n in 0..50 {
        refresh(
            &mut comparison,
            &format!("p{n}"),
            &UNKNOWN,
            &UNKNOWN,
            origin(),
        );
    }
    for side in [Side::Legacy, Side::Native] {
        assert_eq!(comparison.digests(side), &Digests::default());
    }
    assert_eq!(comparison.parity(origin()).by_field.len(), 0);
}

#[test]
fn equal_pods_have_the_same_digests_for_each_namespace() {
    let elsewhere = PodDraft(Pod {
        namespace: "b".into(),
        ..pod("q").0
    });
    let pods = [live(pod("p")), live(elsewhere)];
    let comparison = of(&pods, &pods);
    let digests = comparison.digests(Side::Native);
    assert_eq!(digests, comparison.digests(Side::Legacy));
    let names: Vec<_> = digests
        .namespaces()
        .map(|(name, _)| name.to_vec())
        .collect();
    assert_eq!(names, [b"b".to_vec(), b"shop".to_vec()]);
}

/// Pods as both feeds send them, with texts that are truncated, and containers of one id.
fn sent() -> impl Strategy<Value = Vec<Known>> {
    let owner = prop_oneof![
        Just(None),
        Just(Some(deployment("web"))),
        Just(Some(replica_set("rs"))),
    ];
    let long = prop_oneof![9 => Just(0_usize), 1 => 8_000..20_000_usize];
    let live = (any_pod(), owner, long).prop_map(|(pod, owner, long)| {
        let mut pod = Pod::clone(&pod);
        pod.address = pod.address.or(Some([10, 9, 9, 9].into()));
        pod.containers = pod
            .containers
            .into_iter()
            .filter(|c| !c.id.is_empty())
            .collect();
        if long > 0 {
            pod.namespace = "n".repeat(long).as_str().into();
            pod.version = "v".repeat(10_000).as_str().into();
        }
        Known::Live(PodMeta::new(pod), owner, Met)
    });
    vec(live, 0..12).prop_map(|mut sent: Vec<Known>| {
        sent.sort_by_key(uid);
        sent.dedup_by_key(|known| uid(known));
        sent
    })
}

proptest! {
    #[test]
    fn without_expected_differences_a_digest_is_that_of_the_reducer_state_of_what_is_sent(
        legacy in sent(), native in sent(),
    ) {
        for (legacy, native) in [(&legacy, &native), (&legacy, &vec![]), (&native, &native)] {
            let mut comparison = of(legacy, native);
            if !comparison.parity(origin()).expected.is_empty() {
                continue;
            }
            for (side, feed) in [(Side::Legacy, legacy), (Side::Native, native)] {
                prop_assert_eq!(comparison.digests(side), &pictured(feed));
            }
        }
    }
}

/// The digests of what a reducer knows that was sent these pods.
fn pictured(feed: &[Known]) -> Digests {
    let mut wired = Wired::new();
    wired.link(true);
    for known in feed {
        let Known::Live(pod, owner, _) = known else {
            continue;
        };
        match owner {
            Some(owner) => wired.outbox.pod_new(pod, owner),
            None => wired.outbox.pod_new_no_owner(pod),
        }
        for container in &pod.containers {
            wired.outbox.pod_container(&pod.uid, container);
        }
    }
    wired.reducer_state().digests()
}
