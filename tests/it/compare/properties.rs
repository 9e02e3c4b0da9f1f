//! What holds after every history.

use std::collections::BTreeMap;

use k8s_relay::{
    feeds::SourceKind,
    matcher::{Matcher, OwnerSort, Policy},
    migrate::{
        Switch,
        compare::{Comparison, Parity, Side},
    },
    model::{Controller, Pod},
};
use proptest::{collection::vec, prelude::*, sample::select};

use super::*;
use crate::support::{
    core::{deployment, replica_set, secs},
    history::{self, Object, any_pod},
};

/// What a feed may know of the pod of this uid. Few things, so that feeds often agree.
fn any_known() -> impl Strategy<Value = Known> {
    let acquaintance = select(vec![Met, Met, Met, Deleted, Unmet, Unneeded]);
    let owner = prop_oneof![
        2 => Just(None),
        4 => Just(Some(deployment("web"))),
        2 => Just(Some(replica_set("direct"))),
    ];
    let live = (any_pod(), owner, acquaintance, 0..3_u16).prop_map(
        |(pod, owner, acquaintance, auxiliary)| {
            let mut pod = Pod::clone(&pod);
            pod.address = pod.address.or(Some(std::net::Ipv4Addr::BROADCAST));
            pod.auxiliary = auxiliary / 2;
            let owner = match &owner {
                Some(owner) if *owner.name == *"direct" => pod.owner.clone(),
                owner => owner.clone(),
            };
            Known::Live(PodMeta::new(pod), owner, acquaintance)
        },
    );
    prop_oneof![
        1 => Just(UNKNOWN),
        1 => Just(NO_ADDRESS),
        1 => Just(WAITING),
        9 => live,
    ]
}

/// Both feeds' knowledge of one pod; often the same.
fn any_pair() -> impl Strategy<Value = (Uid, Known, Known)> {
    (any_pod(), any_known(), any_known(), any::<bool>()).prop_map(|(pod, one, other, same)| {
        let of = |known: Known| match known {
            Known::Live(known, owner, acquaintance) => {
                let uid = pod.uid.clone();
                let pod = PodMeta::new(Pod {
                    uid,
                    ..Pod::clone(&known)
                });
                Known::Live(pod, owner, acquaintance)
            }
            Known::No(standing) => Known::No(standing),
        };
        let one = of(one);
        let other = if same { one.clone() } else { of(other) };
        (pod.uid.clone(), one, other)
    })
}

/// Everything that does not depend on time.
fn facts(comparison: &mut Comparison) -> (Parity, Switch, [String; 2], usize) {
    let parity = Parity {
        comparing: false,
        held: secs(0),
        unsettled: 0,
        counted: 0,
        ..comparison.parity(origin())
    };
    let digests =
        [Side::Legacy, Side::Native].map(|side| format!("{:?}", comparison.digests(side)));
    let switch = comparison.switch(SourceKind::Native);
    (parity, switch, digests, comparison.len())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_is_kept_up_with_each_change_is_what_one_look_finds(
        history in vec((any_pair(), 0..4_u64), 0..40),
    ) {
        let mut kept = Comparison::new(secs(5));
        let mut now = origin();
        let mut latest = BTreeMap::new();
        for (n, ((uid, legacy, native), seconds)) in history.into_iter().enumerate() {
            now += secs(seconds);
            match n % 7 {
                0 => kept.start(now),
                5 => kept.pause(now),
                _ => kept.handle_timeout(now),
            }
            kept.refresh(&uid, legacy.seen(), native.seen(), now);
            latest.insert(uid, (legacy, native));

            let parity = kept.parity(now);
            let alike = kept.digests(Side::Legacy) == kept.digests(Side::Native);
            prop_assert_eq!(alike, parity.by_field.is_empty());
            let fields: u64 = parity.by_field.values().sum();
            prop_assert_eq!(fields, parity.counted + parity.unsettled);
            prop_assert!(parity.counted == 0 || parity.held == secs(0));
            prop_assert_eq!(kept.rows(usize::MAX, now).len() as u64, fields);
        }
        let mut once = Comparison::new(secs(5));
        for (uid, (legacy, native)) in &latest {
            once.refresh(uid, legacy.seen(), native.seen(), now);
        }
        prop_assert_eq!(facts(&mut kept), facts(&mut once));
    }

    #[test]
    fn a_feed_never_differs_from_itself((uid, known, _) in any_pair()) {
        let mut comparison = Comparison::new(secs(5));
        comparison.refresh(&uid, known.seen(), known.seen(), origin());
        prop_assert!(comparison.parity(origin()).by_field.is_empty());
    }

    #[test]
    fn matchers_of_both_kinds_that_were_sent_the_same_in_any_order_do_not_differ(
        (one, other) in history::objects().prop_flat_map(|objects| {
            (Just(objects.clone()).prop_shuffle(), Just(objects).prop_shuffle())
        }),
    ) {
        let mut legacy = Matcher::new(Policy::LEGACY);
        let mut native = Matcher::new(Policy::native(secs(60), secs(60)));
        for object in &one {
            send(&mut legacy, without_groups(object));
        }
        for object in &other {
            send(&mut native, with_ids(object));
        }
        native.handle_timeout(origin() + secs(61), &mut |_| {});
        let mut comparison = Comparison::new(secs(5));
        for object in &one {
            if let Object::Pod(pod) = object {
                let (sent, ours) = (Seen::of(&legacy, &pod.uid), Seen::of(&native, &pod.uid));
                comparison.refresh(&pod.uid, sent, ours, origin());
            }
        }
        let rows = comparison.rows(20, origin());
        prop_assert!(rows.is_empty(), "{rows:#?}");
    }
}

fn send(matcher: &mut Matcher, object: Object) {
    match object {
        Object::Pod(pod) => matcher.apply_pod(pod, origin(), &mut |_| {}),
        Object::Owner(OwnerSort::ReplicaSet | OwnerSort::Job, owner) => {
            matcher.apply_owner(&owner, &mut |_| {});
        }
    }
}

/// As a `Collect` stream sends it: no API groups. An owner of another group is no object that is
/// watched.
fn without_groups(object: &Object) -> Object {
    let Object::Pod(pod) = object else {
        return object.clone();
    };
    let owner = pod.owner.as_ref().map(|owner| {
        let uid = match owner.custom {
            true => Uid::new("in-another-group"),
            false => owner.uid.clone(),
        };
        OwnerRef::new(Controller {
            uid,
            custom: false,
            ..Controller::clone(owner)
        })
    });
    Object::Pod(PodMeta::new(Pod {
        owner,
        ..Pod::clone(pod)
    }))
}

/// As the native watches send it: no container without an id.
fn with_ids(object: &Object) -> Object {
    let Object::Pod(pod) = object else {
        return object.clone();
    };
    let containers = pod
        .containers
        .iter()
        .filter(|container| !container.id.is_empty());
    let containers = containers.cloned().collect();
    Object::Pod(PodMeta::new(Pod {
        containers,
        ..Pod::clone(pod)
    }))
}
