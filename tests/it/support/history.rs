//! Random histories in a small world, so that things collide.

use std::{collections::BTreeSet, time::Duration};

use k8s_relay::{
    announce::Watermarks,
    feeds::{Handover, OnReconnect, Settings},
    matcher::{Escalate, OwnerSort, Reannounce},
    model::{ObjectMeta, OwnerKind, OwnerRef, PodMeta},
};
use proptest::{collection::vec, prelude::*, sample::select};

use super::core::{MESSAGE, a, custom, object, pod};

/// What may happen. The first number, where there is one, chooses among the streams opened so far,
/// where there may be several.
#[derive(Clone, Debug)]
pub enum Happening {
    Open,
    Close(usize),
    Listed(usize),
    Pod(usize, PodMeta),
    PodGone(usize, &'static str),
    Owner(usize, OwnerSort, ObjectMeta),
    OwnerGone(usize, OwnerSort, &'static str),
    /// The source, or this part of it, sees nothing from now on.
    Cut(usize),
    /// The source, or this part of it, begins to list.
    List(usize),
    /// Lists go on by so many events.
    Step(usize),
    Connect,
    Disconnect,
    Drain(usize),
    Resume,
    Pass(Duration),
}

const PODS: &[&str] = &["p0", "p1", "p2", "p3", "p4", "p5"];
const OWNERS: &[&str] = &["r0", "r1", "j0", "j1"];

/// A history of `Collect` streams.
pub fn of_streams() -> impl Strategy<Value = Vec<Happening>> {
    use Happening::{Close, Listed, Open, Owner, OwnerGone, Pass, Pod, PodGone};
    let stream = 0..8_usize;
    let happening = prop_oneof![
        2 => Just(Open),
        2 => stream.clone().prop_map(Close),
        2 => stream.clone().prop_map(Listed),
        30 => (stream.clone(), any_pod()).prop_map(|(at, pod)| Pod(at, pod)),
        8 => (stream.clone(), select(PODS)).prop_map(|(at, uid)| PodGone(at, uid)),
        10 => (stream.clone(), any_owner()).prop_map(|(at, (sort, owner))| Owner(at, sort, owner)),
        4 => (stream, select(OWNERS)).prop_map(|(at, uid)| OwnerGone(at, sort_of(uid), uid)),
        4 => (0..20_000_u64).prop_map(|ms| Pass(Duration::from_millis(ms))),
        16 => the_reducer(),
    ];
    vec(happening, 0..60)
}

/// A history of a cluster, of the source that reports it and of the reducer. Not of either source:
/// both can report it.
pub fn of_a_cluster() -> impl Strategy<Value = Vec<Happening>> {
    use Happening::{Cut, List, Open, Owner, OwnerGone, Pass, Pod, PodGone, Step};
    let watch = 0..6_usize;
    let happening = prop_oneof![
        20 => any_pod().prop_map(|pod| Pod(0, pod)),
        8 => select(PODS).prop_map(|uid| PodGone(0, uid)),
        8 => any_owner().prop_map(|(sort, owner)| Owner(0, sort, owner)),
        6 => select(OWNERS).prop_map(|uid| OwnerGone(0, sort_of(uid), uid)),
        1 => Just(Open),
        4 => watch.clone().prop_map(Cut),
        8 => watch.prop_map(List),
        12 => (1..8_usize).prop_map(Step),
        6 => (0..50_000_u64).prop_map(|ms| Pass(Duration::from_millis(ms))),
        16 => the_reducer(),
    ];
    vec(happening, 0..80)
}

/// What exists, whichever source reports it in whatever order.
#[derive(Clone, Debug)]
pub enum Object {
    Pod(PodMeta),
    Owner(OwnerSort, ObjectMeta),
}

/// Some objects of the small world, each once.
pub fn objects() -> impl Strategy<Value = Vec<Object>> {
    let owner = any_owner().prop_map(|(sort, owner)| Object::Owner(sort, owner));
    let object = prop_oneof![3 => any_pod().prop_map(Object::Pod), 2 => owner];
    vec(object, 0..25).prop_map(|mut objects| {
        let mut seen = BTreeSet::new();
        objects.retain(|object| {
            seen.insert(match object {
                Object::Pod(pod) => pod.uid.clone(),
                Object::Owner(_, owner) => owner.uid.clone(),
            })
        });
        objects
    })
}

fn the_reducer() -> impl Strategy<Value = Happening> {
    use Happening::{Connect, Disconnect, Drain, Resume};
    prop_oneof![
        2 => Just(Connect),
        1 => Just(Disconnect),
        6 => (0..15 * MESSAGE).prop_map(Drain),
        6 => Just(Resume),
    ]
}

/// Watermarks in any order, tiny or ample.
pub fn any_marks() -> impl Strategy<Value = Watermarks> {
    let mark = || 0..20 * MESSAGE;
    prop_oneof![
        3 => (mark(), mark(), mark()).prop_map(|(low, high, limit)| Watermarks { low, high, limit }),
        1 => Just(Watermarks::default()),
    ]
}

/// Watermarks that a few messages reach, more often than not.
pub fn low_marks() -> impl Strategy<Value = Watermarks> {
    let low = (0..4 * MESSAGE, 0..4 * MESSAGE, 0..4 * MESSAGE)
        .prop_map(|(low, high, limit)| Watermarks { low, high, limit });
    prop_oneof![2 => low, 1 => any_marks()]
}

pub fn any_reannounce() -> impl Strategy<Value = Reannounce> {
    select(&[Reannounce::Never, Reannounce::OnChange][..])
}

pub fn any_escalate() -> impl Strategy<Value = Escalate> {
    select(&[Escalate::Known, Escalate::Any][..])
}

/// How a core may be set up that does so when announced pods change.
pub fn any_settings(reannounce: Reannounce) -> impl Strategy<Value = Settings> {
    let on_reconnect =
        prop_oneof![3 => Just(OnReconnect::Replay), 1 => Just(OnReconnect::ResetWatcher)];
    (any_marks(), any_escalate(), on_reconnect).prop_map(move |(marks, escalate, on_reconnect)| {
        Settings {
            marks,
            escalate,
            on_reconnect,
            handover: Handover::Legacy,
            reannounce,
            ..Settings::default()
        }
    })
}

pub fn any_pod() -> impl Strategy<Value = PodMeta> {
    let image = || select(&["nginx:1", "nginx:1", "nginx:2"][..]);
    let container = (select(&["c0", "c1", "c2", "c3", ""][..]), image());
    let containers = vec(container, 0..5);
    let owner = proptest::option::weighted(0.8, any_direct_owner());
    // Most events change nothing, or little: a version above 2 stands for rarer changes.
    let fields = (0..5_u8, 0..6_u8);
    (select(PODS), fields, owner, containers).prop_map(
        |(name, (address, version), owner, containers)| {
            let ids: Vec<_> = containers.iter().map(|(id, _)| *id).collect();
            let mut draft = pod(name).running(&ids);
            for (container, (_, image)) in draft.0.containers.iter_mut().zip(&containers) {
                container.image = (*image).into();
            }
            match version {
                0..3 => draft = draft.version(&version.to_string()),
                3 => draft.0.name = "renamed".into(),
                4 => draft.0.namespace = "elsewhere".into(),
                _ => draft.0.host_network = true,
            }
            draft.0.address = (address > 0).then(|| [10, 0, 0, address].into());
            draft.0.owner = owner;
            draft.into()
        },
    )
}

fn any_direct_owner() -> impl Strategy<Value = OwnerRef> {
    let waiting = (
        select(vec![OwnerKind::ReplicaSet, OwnerKind::Job]),
        select(OWNERS),
    );
    let other = select(vec![
        OwnerKind::Deployment,
        OwnerKind::NoOwner,
        OwnerKind::Other("Set".into()),
    ]);
    prop_oneof![
        8 => waiting.clone().prop_map(|(kind, uid)| a(kind, uid)),
        1 => waiting.prop_map(|(kind, uid)| custom(kind, uid)),
        2 => other.prop_map(|kind| a(kind, "other")),
    ]
}

pub fn any_owner() -> impl Strategy<Value = (OwnerSort, ObjectMeta)> {
    let controller = select(vec![
        OwnerKind::Deployment,
        OwnerKind::CronJob,
        OwnerKind::Other("Rollout".into()),
    ]);
    let controller = prop_oneof![
        8 => (controller.clone(), select(&["above", "beyond"][..])).prop_map(|(kind, uid)| a(kind, uid)),
        1 => controller.prop_map(|kind| custom(kind, "above")),
    ];
    (select(OWNERS), proptest::option::weighted(0.8, controller))
        .prop_map(|(uid, controller)| (sort_of(uid), object(uid, controller)))
}

fn sort_of(uid: &str) -> OwnerSort {
    if uid.starts_with('r') {
        OwnerSort::ReplicaSet
    } else {
        OwnerSort::Job
    }
}
