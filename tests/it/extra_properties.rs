//! What only enrichment reads changes nothing that is announced or compared. The same history is
//! played twice, once with extras, which also change alone; all that can be seen is the same.

use std::collections::BTreeMap;

use k8s_relay::{
    announce::fields_hash,
    feeds::{Handover, Input, Settings, SourceKind, View},
    matcher::{Generation, OwnerSort},
    migrate::comparator::Comparator,
    model::{ObjectExtra, ObjectMeta, PodExtra, PodMeta, Seed, Uid},
};
use kube::runtime::watcher::Event;
use proptest::{collection::vec, prelude::*, sample::select};

use crate::support::{
    core::{Core, secs},
    history::{any_owner, any_pod, any_reannounce},
    native::list_of,
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(768))]

    #[test]
    fn a_change_of_an_extra_alone_is_seen_by_who_reads_stores_and_by_nobody_else(
        handover in select(&[Handover::Seamless, Handover::Legacy][..]),
        active in select(&[SourceKind::Collect, SourceKind::Native][..]),
        reannounce in any_reannounce(),
        ops in vec(op(), 1..60),
    ) {
        let settings = Settings { handover, active, reannounce, ..Settings::default() };
        let (mut plain, mut dressed) = (World::new(settings), World::new(settings));
        for op in ops {
            plain.does(op.clone(), false);
            dressed.does(op, true);
            prop_assert_eq!(plain.seen(), dressed.seen());
            dressed.stores_have_the_extras();
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    /// One of the feeds sends a pod. Only the native source knows extras.
    Pod(Feed, PodMeta, u8),
    PodGone(Feed, usize),
    Owner(Feed, OwnerSort, ObjectMeta, u8),
    OwnerGone(Feed, OwnerSort, usize),
    /// The native source lists its pods again: this one is another, all have this extra.
    Lists(PodMeta, u8),
    /// It sends a pod, or an owner, in which nothing but the extra is another.
    PodExtra(usize, u8),
    OwnerExtra(usize, u8),
    Passes(u64),
    Connects,
    Disconnects,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Feed {
    Stream,
    Native,
}

fn op() -> impl Strategy<Value = Op> {
    use Op::{
        Connects, Disconnects, Lists, Owner, OwnerExtra, OwnerGone, Passes, Pod, PodExtra, PodGone,
    };
    let feed = || select(&[Feed::Stream, Feed::Native][..]);
    let (extra, at) = (|| 0..3_u8, || 0..8_usize);
    prop_oneof![
        16 => (feed(), any_pod(), extra()).prop_map(|(feed, pod, extra)| Pod(feed, pod, extra)),
        3 => (feed(), at()).prop_map(|(feed, at)| PodGone(feed, at)),
        8 => (feed(), any_owner(), extra())
            .prop_map(|(feed, (sort, owner), extra)| Owner(feed, sort, owner, extra)),
        2 => (feed(), any_owner(), at())
            .prop_map(|(feed, (sort, _), at)| OwnerGone(feed, sort, at)),
        4 => (any_pod(), extra()).prop_map(|(pod, extra)| Lists(pod, extra)),
        8 => (at(), extra()).prop_map(|(at, extra)| PodExtra(at, extra)),
        4 => (at(), extra()).prop_map(|(at, extra)| OwnerExtra(at, extra)),
        4 => (0..40_u64).prop_map(Passes),
        2 => Just(Connects),
        1 => Just(Disconnects),
    ]
}

/// Two feeds that are compared, and what the native source knows.
struct World {
    core: Core,
    stream: Generation,
    native: Generation,
    compared: Comparator,
    pods: BTreeMap<Uid, PodMeta>,
    owners: BTreeMap<Uid, (OwnerSort, ObjectMeta)>,
}

impl World {
    fn new(settings: Settings) -> Self {
        let mut core = Core::new(settings);
        core.feeds.compare(true);
        let native = core.feeds.open_native(1, core.now);
        let stream = core.open();
        for sort in [OwnerSort::ReplicaSet, OwnerSort::Job] {
            for event in list_of([]) {
                core.handle(native, Input::Owner(sort, event));
            }
        }
        for event in list_of([]) {
            core.handle(native, Input::Pod(event));
        }
        core.listed(stream);
        Self {
            core,
            stream,
            native,
            compared: Comparator::new(secs(10), settings.reannounce, Seed::FIXED),
            pods: BTreeMap::new(),
            owners: BTreeMap::new(),
        }
    }

    /// Does it, with extras or as if there were none.
    fn does(&mut self, op: Op, dressed: bool) {
        let extra_of = |extra: u8| if dressed { extra } else { 0 };
        match op {
            Op::Pod(Feed::Stream, pod, _) => self.core.pod(self.stream, pod),
            Op::Pod(Feed::Native, pod, extra) => self.pod(&pod, extra_of(extra)),
            Op::PodGone(feed, at) => {
                if let Some(uid) = nth(&self.pods, at) {
                    let gone = match feed {
                        Feed::Stream => self.pods[&uid].clone(),
                        Feed::Native => self.pods.remove(&uid).unwrap(),
                    };
                    self.core
                        .handle(self.of(feed), Input::Pod(Event::Delete(gone)));
                }
            }
            Op::Owner(Feed::Stream, sort, owner, _) => self.core.owner(self.stream, sort, owner),
            Op::Owner(Feed::Native, sort, owner, extra) => {
                self.owner(sort, &owner, extra_of(extra));
            }
            Op::OwnerGone(feed, sort, at) => {
                if let Some(uid) = nth(&self.owners, at)
                    && self.owners[&uid].0 == sort
                {
                    let (_, gone) = match feed {
                        Feed::Stream => self.owners[&uid].clone(),
                        Feed::Native => self.owners.remove(&uid).unwrap(),
                    };
                    self.core
                        .handle(self.of(feed), Input::Owner(sort, Event::Delete(gone)));
                }
            }
            Op::Lists(other, extra) => {
                self.pods.insert(other.uid.clone(), other);
                for pod in self.pods.values_mut() {
                    *pod = with_extra(pod, extra_of(extra));
                }
                let pods: Vec<_> = self.pods.values().cloned().collect();
                for event in list_of(pods) {
                    self.core.handle(self.native, Input::Pod(event));
                }
            }
            // Without extras there is nothing to send.
            Op::PodExtra(at, extra) if dressed => {
                if let Some(uid) = nth(&self.pods, at) {
                    let pod = self.pods[&uid].clone();
                    self.pod(&pod, extra);
                }
            }
            Op::OwnerExtra(at, extra) if dressed => {
                if let Some(uid) = nth(&self.owners, at) {
                    let (sort, owner) = self.owners[&uid].clone();
                    self.owner(sort, &owner, extra);
                }
            }
            Op::PodExtra(..) | Op::OwnerExtra(..) => {}
            Op::Passes(seconds) => self.core.pass(secs(seconds)),
            Op::Connects => {
                self.core.connect();
            }
            Op::Disconnects => self.core.disconnect(),
        }
        self.core.rest();
        while self.compared.attend(&mut self.core.feeds, self.core.now) {}
    }

    fn of(&self, feed: Feed) -> Generation {
        match feed {
            Feed::Stream => self.stream,
            Feed::Native => self.native,
        }
    }

    fn pod(&mut self, pod: &PodMeta, extra: u8) {
        let pod = with_extra(pod, extra);
        self.pods.insert(pod.uid.clone(), pod.clone());
        self.core.pod(self.native, pod);
    }

    fn owner(&mut self, sort: OwnerSort, owner: &ObjectMeta, extra: u8) {
        let extra = (extra > 0).then(|| ObjectExtra {
            name: extra.to_string().as_str().into(),
            ..ObjectExtra::default()
        });
        let owner = ObjectMeta::with_extra((**owner).clone(), extra);
        self.owners.insert(owner.uid.clone(), (sort, owner.clone()));
        self.core.owner(self.native, sort, owner);
    }

    /// All that can be seen of it from outside, but for the stores.
    fn seen(&mut self) -> Vec<String> {
        let now = self.core.now;
        let mut seen = vec![
            self.core.reducer.take(),
            format!("{:?}", self.compared.pause(&self.core.feeds)),
            format!("{:?}", self.compared.comparison(now).parity(now)),
            format!("{:?}", self.core.feeds.ledger().len()),
        ];
        let live = |view: View<'_>| {
            let live = view.matcher().all_live();
            let live = live.map(|one| (one.pod.uid.clone(), fields_hash(&one, Seed::FIXED)));
            format!(
                "{:?} {:?}",
                view.matcher().counts(),
                live.collect::<Vec<_>>()
            )
        };
        seen.extend(self.core.feeds.views().map(live));
        seen
    }

    /// Who reads stores finds the latest extra, and the matcher holds no older one.
    fn stores_have_the_extras(&self) {
        let view = self.core.feeds.native_view().unwrap();
        let objects = view.objects();
        for (uid, pod) in &self.pods {
            let stored = objects.pods.get(uid).unwrap();
            assert_eq!(stored.extra(), pod.extra(), "{uid}");
            // Unless it keeps an address that the pod has lost, it is the same data.
            let matched = view.matcher().pod(uid).unwrap();
            assert!(matched != pod || matched.extra() == pod.extra(), "{uid}");
        }
        for (uid, (sort, owner)) in &self.owners {
            let stored = objects.owners[sort.kind()].get(uid).unwrap();
            assert_eq!(stored.extra(), owner.extra(), "{uid}");
        }
    }
}

fn with_extra(pod: &PodMeta, extra: u8) -> PodMeta {
    let text = extra.to_string();
    let extra = (extra > 0).then(|| PodExtra {
        node: text.as_str().into(),
        labels: [("app".into(), text.as_str().into())].into(),
        ..PodExtra::default()
    });
    PodMeta::with_extra((**pod).clone(), extra)
}

fn nth<T>(of: &BTreeMap<Uid, T>, at: usize) -> Option<Uid> {
    let uids: Vec<_> = of.keys().collect();
    let at = at.checked_rem(uids.len())?;
    Some(uids[at].clone())
}
