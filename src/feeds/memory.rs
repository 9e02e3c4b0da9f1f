//! What is kept over many lists, counted by an allocator that counts.

#![allow(clippy::expect_used)]

use std::time::{Duration, Instant};

use allocation_counter::measure;
use kube::runtime::watcher::Event;

use super::{Feeds, Input, Settings, SourceKind};
use crate::{
    announce::{CatchUp, Epoch, Sink},
    matcher::{Generation, OwnerSort},
    model::{
        ContainerId, ContainerMeta, Interner, Kind, ObjectMeta, Owner, OwnerKind, OwnerRef, Pod,
        PodMeta, Scope, Seed, Uid,
    },
    stores::StoreWriter,
};

const PODS: u32 = 400;

#[test]
fn a_thousand_re_lists_with_a_tenth_changed_in_each_keep_no_more_than_a_hundred() {
    let mut cluster = Cluster::new();
    let mut kept = 0;
    for list in 0..100 {
        kept += measure(|| cluster.list(list)).bytes_current;
    }
    assert!(kept > 0, "nothing is counted");
    let mut grown = 0;
    for list in 100..1_000 {
        grown += measure(|| cluster.list(list)).bytes_current;
    }
    assert!(grown * 50 <= kept, "{kept} bytes have grown by {grown}");
    assert_eq!(cluster.feeds.counts().live, PODS as usize);
}

#[test]
fn nothing_is_kept_of_a_cluster_that_was_emptied_by_lists() {
    let info = measure(|| {
        let mut cluster = Cluster::new();
        let kept = measure(|| {
            for list in 0..3 {
                cluster.list(list);
            }
            cluster.pods = 0;
            cluster.list(3);
            // Deleted owners resolve for a minute.
            cluster.now += Duration::from_secs(60);
            cluster.feeds.handle_timeout(cluster.now, &mut Nobody);
            cluster.texts.sweep();
        });
        // What remains is of no size that depends on the cluster.
        assert!(kept.bytes_current < 4_096, "{kept:?}");
    });
    assert_eq!(info.count_current, 0, "{info:?}");
}

#[test]
fn an_object_takes_at_most_72_bytes_of_a_store() {
    for pods in [1_000, 10_000, 14_000, 15_000, 16_400] {
        let mut texts = Interner::new(Seed::FIXED);
        let objects: Vec<_> = (0..pods).map(|n| pod(n, 0, &mut texts)).collect();
        let mut store = StoreWriter::new(1, Seed::FIXED);
        let taken = measure(|| {
            for object in objects {
                store.take(Scope(0), Event::Apply(object));
            }
        });
        // The vector was given back meanwhile, with eight bytes for each.
        let each = taken.bytes_current / i64::from(pods) + 8;
        assert!((20..=72).contains(&each), "{each} bytes, {pods} pods");
    }
}

/// Pods and ReplicaSets that are listed again and again, each time from fresh objects.
struct Cluster {
    pods: u32,
    texts: Interner,
    feeds: Feeds,
    feed: Generation,
    now: Instant,
}

impl Cluster {
    fn new() -> Self {
        let now = Instant::now();
        let settings = Settings {
            active: SourceKind::Native,
            ..Settings::default()
        };
        let mut feeds = Feeds::new(settings, now);
        let feed = feeds.open_native(1, now);
        feeds.connected(now, &mut Nobody);
        feeds.denied(Kind::JOB, Scope(0), now);
        Self {
            pods: PODS,
            texts: Interner::new(Seed::FIXED),
            feeds,
            feed,
            now,
        }
    }

    /// Every tenth object differs from the list before.
    fn list(&mut self, list: u32) {
        let form = |n: u32| (list + n % 10) / 10;
        self.take(Input::Owner(OwnerSort::ReplicaSet, Event::Init));
        for n in 0..self.pods / 5 {
            let owner = replica_set(n, form(n), &mut self.texts);
            self.take(Input::Owner(OwnerSort::ReplicaSet, Event::InitApply(owner)));
        }
        self.take(Input::Owner(OwnerSort::ReplicaSet, Event::InitDone));
        self.take(Input::Pod(Event::Init));
        for n in 0..self.pods {
            let pod = pod(n, form(n), &mut self.texts);
            self.take(Input::Pod(Event::InitApply(pod)));
        }
        self.take(Input::Pod(Event::InitDone));
        self.now += Duration::from_secs(1);
        self.feeds.handle_timeout(self.now, &mut Nobody);
        while self.feeds.resume(self.now, &mut Nobody) != CatchUp::Done {}
    }

    fn take(&mut self, input: Input) {
        let _ = self
            .feeds
            .handle(self.feed, Scope(0), input, self.now, &mut Nobody);
    }
}

fn replica_set(n: u32, form: u32, texts: &mut Interner) -> ObjectMeta {
    let controller = texts.owner(uid(3, n, form), "web", OwnerKind::Deployment);
    ObjectMeta::new(Owner {
        uid: uid(2, n, 0),
        controller: Some(controller),
    })
}

fn pod(n: u32, form: u32, texts: &mut Interner) -> PodMeta {
    let image = texts.text(&format!("web:{form}"));
    PodMeta::new(Pod {
        uid: uid(1, n, 0),
        name: format!("web-{n}").as_str().into(),
        namespace: texts.text("shop"),
        version: image.clone(),
        owner: Some(texts.owner(uid(2, n / 5, 0), "web", OwnerKind::ReplicaSet)),
        address: Some([10, 0, 0, 1].into()),
        host_network: false,
        containers: [ContainerMeta {
            id: ContainerId::new("the-same-one"),
            name: texts.text("main"),
            image,
        }]
        .into(),
        auxiliary: 0,
    })
}

fn uid(sort: u32, n: u32, form: u32) -> Uid {
    Uid::new(&format!("{n:08x}-{sort:04x}-4000-8000-{form:012x}"))
}

/// Takes everything at once.
struct Nobody;

impl Sink for Nobody {
    fn queued(&self) -> usize {
        0
    }

    fn pod_new(&mut self, _: &PodMeta, _: &OwnerRef) {}

    fn pod_new_no_owner(&mut self, _: &PodMeta) {}

    fn pod_container(&mut self, _: &Uid, _: &ContainerMeta) {}

    fn pod_delete(&mut self, _: &Uid) {}

    fn pod_resync(&mut self, _: Epoch) {}
}
