//! What is kept of an equal pod and what a look at it allocates, by an allocator that counts.

use std::time::{Duration, Instant};

use allocation_counter::measure;

use super::{Comparison, Entry, Seen};
use crate::{
    matcher::{Live, OwnerStatus},
    model::{ContainerId, ContainerMeta, Controller, OwnerKind, OwnerRef, Pod, PodMeta, Slot, Uid},
};

#[test]
fn an_equal_pod_takes_an_entry_of_48_bytes_and_its_place_in_the_index() {
    assert_eq!(size_of::<Entry>(), 48);
    // The vector of entries doubles, so that up to half of it may be idle.
    for (count, most) in [(1_000, 80), (10_000, 115), (16_400, 115), (30_000, 80)] {
        let (pods, owner, now) = (pods(count), owner(), Instant::now());
        let mut comparison = Comparison::new(Duration::ZERO);
        let taken = measure(|| {
            for pod in &pods {
                comparison.refresh(&pod.uid, seen(pod, &owner), seen(pod, &owner), now);
            }
        });
        let each = taken.bytes_current / i64::from(count);
        assert!((48..=most).contains(&each), "{each} bytes, {count} pods");
    }
}

#[test]
fn a_pod_that_is_as_it_was_costs_no_allocation() {
    let (owner, now) = (owner(), Instant::now());
    let (pods, copies, others) = (pods(100), pods(100), pods(100));
    let mut comparison = Comparison::new(Duration::ZERO);
    let mut look = |legacy: &[PodMeta], native: &[PodMeta]| {
        for (legacy, native) in legacy.iter().zip(native) {
            let (theirs, ours) = (seen(legacy, &owner), seen(native, &owner));
            comparison.refresh(&native.uid, theirs, ours, now);
        }
    };
    look(&pods, &pods);
    assert_eq!(measure(|| look(&pods, &pods)).count_total, 0);
    // Equal data in each feed, and equal data that has come again.
    look(&copies, &pods);
    assert_eq!(measure(|| look(&copies, &pods)).count_total, 0);
    assert_eq!(measure(|| look(&copies, &others)).count_total, 0);
}

#[test]
fn nothing_is_kept_of_pods_that_are_gone() {
    let (pods, owner, now) = (pods(5_000), owner(), Instant::now());
    let mut comparison = Comparison::new(Duration::ZERO);
    let info = measure(|| {
        for pod in &pods {
            comparison.refresh(&pod.uid, seen(pod, &owner), Seen::Unknown, now);
            comparison.handle_timeout(now);
        }
        for pod in &pods {
            comparison.refresh(&pod.uid, Seen::Unknown, Seen::Unknown, now);
        }
    });
    assert!(info.bytes_max > 200_000, "nothing is counted: {info:?}");
    assert!(info.bytes_current < 2_048, "{info:?}");
}

fn seen<'a>(pod: &'a PodMeta, owner: &'a OwnerRef) -> Seen<'a> {
    let live = Live {
        slot: Slot::FIRST,
        pod,
        owner: Some(owner),
    };
    Seen::Live(live, &OwnerStatus::Known)
}

fn owner() -> OwnerRef {
    OwnerRef::new(Controller {
        uid: Uid::new("d1"),
        name: "web".into(),
        kind: OwnerKind::Deployment,
        custom: false,
    })
}

fn pods(count: u32) -> Vec<PodMeta> {
    let pod = |n| {
        let container = |name: &str| ContainerMeta {
            id: ContainerId::new(&format!("containerd://{name}{n:063x}")),
            name: name.into(),
            image: "nginx:1".into(),
        };
        PodMeta::new(Pod {
            uid: Uid::new(&format!("{n:08x}-0000-4000-8000-000000000000")),
            name: format!("web-{n}").as_str().into(),
            namespace: "shop".into(),
            version: "'nginx:1'".into(),
            owner: None,
            address: Some([10, 0, 0, 1].into()),
            host_network: false,
            containers: [container("a"), container("b")].into(),
            auxiliary: 0,
        })
    };
    (0..count).map(pod).collect()
}
