//! What a second stream of the same pods costs, counted by an allocator that counts.

use std::time::Instant;

use allocation_counter::measure;
use k8s_relay::{
    announce::{CatchUp, Epoch, Sink},
    feeds::{Feeds, Input, Settings},
    matcher::{Generation, OwnerSort},
    model::{ContainerMeta, OwnerRef, PodMeta, Scope, Seed, Uid},
    proto::{
        ContainerInfo, Info, OwnerInfo, PodInfo, ReplicaSetInfo,
        info::{Event as Verb, Type},
    },
    source::{
        FeedEvent,
        legacy::{
            Elsewhere, info,
            merge::{Merger, Merging},
        },
    },
};
use kube::runtime::watcher::Event;
use prost::Message as _;

use crate::support::core::origin;

const PODS: usize = 14_000;
/// Of each ReplicaSet.
const REPLICAS: usize = 5;

#[test]
fn a_second_stream_of_the_same_pods_costs_at_most_40_percent_more() {
    let [first, second] = costs(true);
    assert!(second * 100 <= first * 40, "{first} and {second} bytes");
    let [_, unshared] = costs(false);
    assert!(
        unshared > second,
        "{unshared} bytes where nothing is shared"
    );
}

#[test]
fn only_a_pod_in_the_very_form_in_which_it_is_announced_is_shared() {
    let sent = |held: Option<PodMeta>| {
        let mut merger = Merger::new(Merging::NothingClears, Seed::FIXED)
            .sharing(Elsewhere::new(move |_| held.clone()));
        first_pod(&mut merger, &pod(7))
    };
    let held = sent(None);
    let again = sent(Some(held.clone()));
    assert!(again.ptr_eq(&held));
    let changes: [fn(&mut PodInfo); 6] = [
        |pod| pod.name.clear(),
        |pod| pod.ip.clear(),
        |pod| pod.version = "2".to_owned(),
        |pod| pod.is_host_network = true,
        |pod| pod.owner = None,
        |pod| drop(pod.container_infos.pop()),
    ];
    for change in changes {
        let mut merger = Merger::new(Merging::NothingClears, Seed::FIXED);
        let mut said = pod(7);
        change(said.pod_info.as_mut().unwrap());
        let alone = first_pod(&mut merger, &said);
        let other = held.clone();
        let mut sharing = Merger::new(Merging::NothingClears, Seed::FIXED)
            .sharing(Elsewhere::new(move |_| Some(other.clone())));
        let alongside = first_pod(&mut sharing, &said);
        assert_eq!(alongside, alone);
        assert!(!alongside.ptr_eq(&held), "{alone:?}");
    }
}

fn first_pod(merger: &mut Merger, said: &Info) -> PodMeta {
    let bytes = said.encode_to_vec();
    let mut events = Vec::new();
    let info = info::Info::read(&bytes).unwrap();
    merger.apply(info, &mut events, |reason| panic!("{reason:?}"));
    match events.pop() {
        Some(FeedEvent::Pod(Event::Apply(pod))) => pod,
        other => panic!("{other:?}"),
    }
}

/// Bytes that the first stream takes, and those of a second one that sends the same.
fn costs(shares: bool) -> [i64; 2] {
    let now = origin();
    let mut feeds = Feeds::new(Settings::default(), now);
    feeds.connected(now, &mut Nobody);
    let mut mergers = Vec::new();
    [(); 2].map(|()| {
        let taken = measure(|| {
            let feed = feeds.open(now, &mut Nobody);
            let mut merger = Merger::new(Merging::NothingClears, Seed::FIXED);
            if shares {
                let reader = feeds.reader();
                merger = merger.sharing(Elsewhere::new(move |uid| reader.pod(uid)));
            }
            list(&mut merger, &mut feeds, feed, now);
            mergers.push(merger);
        });
        taken.bytes_current
    })
}

fn list(merger: &mut Merger, feeds: &mut Feeds, feed: Generation, now: Instant) {
    let sets = (0..PODS / REPLICAS).map(replica_set);
    let mut events = Vec::new();
    for info in sets.chain((0..PODS).map(pod)) {
        let bytes = info.encode_to_vec();
        let info = info::Info::read(&bytes).unwrap();
        merger.apply(info, &mut events, |reason| panic!("{reason:?}"));
        for event in events.drain(..) {
            let input = match event {
                FeedEvent::Pod(event) => Input::Pod(event),
                FeedEvent::ReplicaSet(event) => Input::Owner(OwnerSort::ReplicaSet, event),
                FeedEvent::Job(event) => Input::Owner(OwnerSort::Job, event),
                FeedEvent::Seen(..) | FeedEvent::Listed => unreachable!("it lists"),
            };
            let _ = feeds.handle(feed, Scope::default(), input, now, &mut Nobody);
        }
        while feeds.resume(now, &mut Nobody) != CatchUp::Done {}
    }
    let _ = feeds.handle(feed, Scope::default(), Input::Listed, now, &mut Nobody);
    while feeds.resume(now, &mut Nobody) != CatchUp::Done {}
}

fn replica_set(n: usize) -> Info {
    let mut info = Info {
        event: Verb::Added.into(),
        rs_info: Some(ReplicaSetInfo {
            uid: uid("a", n),
            owner: Some(OwnerInfo {
                uid: uid("b", n),
                name: format!("checkout-{n}"),
                kind: "Deployment".to_owned(),
            }),
        }),
        ..Info::default()
    };
    info.set_type(Type::K8sReplicaset);
    info
}

fn pod(n: usize) -> Info {
    let set = n / REPLICAS;
    let container = |name: &str| ContainerInfo {
        id: format!("containerd://{n:064x}{name}"),
        name: name.to_owned(),
        image: format!("registry.example/shop/{name}-{}:1.2.3", set % 50),
    };
    let mut info = Info {
        event: Verb::Added.into(),
        pod_info: Some(PodInfo {
            uid: uid("c", n),
            ip: format!("10.{}.{}.7", n / 250, n % 250),
            owner: Some(OwnerInfo {
                uid: uid("a", set),
                name: format!("checkout-{set}-5d4f"),
                kind: "ReplicaSet".to_owned(),
            }),
            ns: format!("shop-{}", set % 20),
            name: format!("checkout-{set}-5d4f-{n:05}"),
            version: format!("registry.example/shop/app-{}:1.2.3", set % 50),
            container_infos: vec![container("app"), container("proxy")],
            ..PodInfo::default()
        }),
        ..Info::default()
    };
    info.set_type(Type::K8sPod);
    info
}

fn uid(sort: &str, n: usize) -> String {
    format!("{n:08x}-000{sort}-4000-8000-{n:012x}")
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
