//! A look of the comparison at one of 100,000 pods that both feeds have: time and allocations. The
//! pods are visited in the order of a stride, so that none is near the one before. The lower bound
//! is a lookup of the same pods in a map by uid.

#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]
#![allow(
    clippy::print_stderr,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a bench speaks to who started it"
)]

mod support;

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use allocation_counter::measure;
use k8s_relay::{
    matcher::{Live, OwnerStatus},
    migrate::compare::{Comparison, Seen},
    model::{
        ContainerId, ContainerMeta, Controller, OwnerKind, OwnerRef, Pod, PodMeta, Seed, Slot, Uid,
        UidMap,
    },
};
use support::{
    ROUNDS,
    report::{Report, Row, Sample, Target},
};

const PODS: usize = 100_000;

/// Shares no divisor with [`PODS`].
const STRIDE: usize = 7_919;

/// What both feeds know of a pod.
type Pair<'a> = (&'a PodMeta, &'a PodMeta);

fn main() {
    let mut report = Report::new("compare");
    let owner = OwnerRef::new(Controller {
        uid: Uid::new("0e92b020-ea31-7360-3b98-38219cdc16d6"),
        name: "service-0".into(),
        kind: OwnerKind::Deployment,
        custom: false,
    });
    let [shared, apart, again, changed] = [1, 1, 1, 2].map(|version| pods(version, 0));
    let sidecars = pods(1, 1);

    let mut table: UidMap<PodMeta> = UidMap::new(Seed::FIXED);
    for pod in &shared {
        table.find_or_insert_with(&pod.uid, || pod.clone());
    }
    let lookup = time(|| {
        for at in order() {
            black_box(table.by_uid(&shared[at].uid));
        }
    });

    for (figure, looks) in [
        ("an equal pod that is as it was", vec![(&shared, &shared)]),
        (
            "the same, sent again by one feed, then by the other",
            vec![(&shared, &apart), (&again, &apart), (&shared, &shared)],
        ),
        (
            "a pod that changes in one feed, then in the other, and back",
            vec![
                (&shared, &changed),
                (&changed, &changed),
                (&changed, &shared),
                (&shared, &shared),
            ],
        ),
        (
            "a pod with an init container that one feed sends",
            vec![(&shared, &sidecars)],
        ),
    ] {
        let mut comparison = Comparison::new(Duration::from_secs(10));
        let now = Instant::now();
        comparison.start(now);
        let mut look = |at: usize, legacy: &[PodMeta], native: &[PodMeta]| {
            let pair: Pair<'_> = (&legacy[at], &native[at]);
            let [sent, ours] = [pair.0, pair.1].map(|pod| {
                let live = Live {
                    slot: Slot::FIRST,
                    pod,
                    owner: Some(&owner),
                };
                Seen::Live(live, &OwnerStatus::Known)
            });
            comparison.refresh(&pair.0.uid, sent, ours, now);
        };
        let mut all = || {
            for at in order() {
                for (legacy, native) in &looks {
                    look(at, legacy, native);
                }
            }
        };
        let each = 1.0 / looks.len() as f64;
        let took = time(&mut all).map(|time| time * each);
        let allocations = measure(&mut all).count_total as f64 * each / PODS as f64;
        report.row(Row {
            figure,
            target: Target::Any,
            value: took.min() / lookup.min(),
            measured: took.show(0, "ns"),
            reference: lookup.show(0, "ns"),
            cost: format!("{allocations:.2} allocations"),
        });
    }
    report.print();
}

fn order() -> impl Iterator<Item = usize> {
    (0..PODS).map(|n| n * STRIDE % PODS)
}

/// Nanoseconds a pod.
fn time(mut look: impl FnMut()) -> Sample {
    look();
    let once = |_| {
        let start = Instant::now();
        look();
        start.elapsed()
    };
    let times: Vec<Duration> = (0..ROUNDS).map(once).collect();
    Sample::of_times(times).map(|seconds| seconds * 1e9 / PODS as f64)
}

/// Pods of realistic size with two main containers and some others.
fn pods(version: u32, others: u16) -> Vec<PodMeta> {
    let image = format!("registry.example/team-0/service-0:v1.{version}.0");
    let pod = |n: usize| {
        let container = |name: u16| ContainerMeta {
            id: ContainerId::new(&format!("containerd://{name:04x}{n:060x}")),
            name: "app".into(),
            image: image.as_str().into(),
        };
        PodMeta::new(Pod {
            uid: Uid::new(&format!("{n:08x}-b635-4401-9494-b3b98c202f90")),
            name: format!("service-0-eee488a187-{n:05}").as_str().into(),
            namespace: "namespace-0".into(),
            version: format!("'{image}','{image}'").as_str().into(),
            owner: None,
            address: Some([10, 0, 0, 1].into()),
            host_network: false,
            containers: (0..2 + others).map(container).collect(),
            auxiliary: others,
        })
    };
    (0..PODS).map(pod).collect()
}
