//! What holds however a migration goes back and forth: a cluster's history is seen by legacy
//! watchers and by the native watches, each in its own time, while sources are switched, streams
//! reopen, watches list again, and the reducer is lost. Every message is looked at. In the end both
//! know the same, and the comparison says so.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use k8s_relay::{
    announce::fields_hash,
    feeds::{Handover, Input, Settings, SourceKind},
    matcher::{Generation, OwnerSort, PodStatus, Reannounce},
    migrate::{Command, Migration, Stage, migration},
    model::{ObjectMeta, OwnerRef, PodMeta, Seed, Uid},
};
use kube::runtime::watcher::Event;
use proptest::prelude::*;

use crate::support::core::{Core, Recorder, deployment, job, object, pod, replica_set, secs};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(384))]

    #[test]
    fn no_switch_resyncs_or_deletes_a_pod_that_is_there_and_all_ends_as_the_cluster_is(
        handover in prop_oneof![Just(Handover::Seamless), Just(Handover::Legacy)],
        reannounce in prop_oneof![Just(Reannounce::Never), Just(Reannounce::OnChange)],
        ops in prop::collection::vec(op(), 1..80),
    ) {
        let mut world = World::new(handover, reannounce);
        for op in ops {
            world.does(op);
        }
        world.ends_well();
    }
}

#[test]
fn while_the_process_stood_still_parity_has_not_held_and_no_difference_has_aged() {
    let mut world = World::new(Handover::Legacy, Reannounce::Never);
    world.does(Op::StreamSees(u8::MAX));
    world.does(Op::WatchesSee(u8::MAX));
    world.looks_for(20);
    assert_eq!(world.parity(), (20.0, 0, 0));

    world.does(Op::Pod {
        name: 0,
        owner: 0,
        form: 1,
    });
    world.does(Op::StreamSees(u8::MAX));
    world.core.now += secs(3600);
    assert_eq!(world.parity(), (20.0, 0, 1), "whoever asks first");
    world.compares();
    assert_eq!(world.parity(), (20.0, 0, 1));
    let facts = world
        .migration
        .facts(&mut world.core.feeds, (3, 0), world.core.now);
    let refused = world.migration.ask(Command::Cutover, false, &facts);
    assert!(refused.is_err(), "{refused:?}");

    world.looks_for(10);
    assert_eq!(
        world.parity(),
        (0.0, 1, 0),
        "time that was looked at counts"
    );
}

/// The windows of D3: what is not confirmed when they end may go.
const SETTLE: Duration = secs(10);

#[derive(Clone, Debug)]
enum Op {
    /// Something happens in the cluster.
    Pod {
        name: u8,
        owner: u8,
        form: u8,
    },
    PodGone(u8),
    Owner {
        name: u8,
        controlled: bool,
    },
    OwnerGone(u8),
    /// So much of what has happened is seen.
    StreamSees(u8),
    WatchesSee(u8),
    /// The other source becomes the active one. Something else may happen before the loop goes on.
    Switch {
        goes_on: bool,
    },
    /// A watcher connects and lists; the one before goes, or stays.
    Open {
        closes: bool,
    },
    Close,
    /// The watches were cut and list again.
    Relist,
    Lose,
    Regain,
    Drain(u8),
    Pass(u8),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..5u8, 0..4u8, 0..3u8).prop_map(|(name, owner, form)| Op::Pod { name, owner, form }),
        2 => (0..5u8).prop_map(Op::PodGone),
        2 => (1..4u8, any::<bool>()).prop_map(|(name, controlled)| Op::Owner { name, controlled }),
        1 => (1..4u8).prop_map(Op::OwnerGone),
        5 => (1..6u8).prop_map(Op::StreamSees),
        5 => (1..6u8).prop_map(Op::WatchesSee),
        3 => any::<bool>().prop_map(|goes_on| Op::Switch { goes_on }),
        1 => any::<bool>().prop_map(|closes| Op::Open { closes }),
        1 => Just(Op::Close),
        1 => Just(Op::Relist),
        1 => Just(Op::Lose),
        1 => Just(Op::Regain),
        2 => (1..10u8).prop_map(Op::Drain),
        3 => (0..6u8).prop_map(Op::Pass),
    ]
}

struct World {
    core: Core,
    migration: Migration,
    handover: Handover,
    reannounce: Reannounce,
    pods: BTreeMap<u8, PodMeta>,
    owners: BTreeMap<u8, ObjectMeta>,
    /// Pods so far: a pod that is made again has another uid.
    made: u32,
    stream: Option<Generation>,
    /// Older streams: open still, and sent nothing any longer.
    silent: Vec<Generation>,
    to_stream: VecDeque<Input>,
    native: Generation,
    to_watches: VecDeque<Input>,
    /// When the active feed became another one.
    changed_at: Instant,
    /// When the feed that was active then last reported a pod.
    heard: BTreeMap<Uid, Instant>,
    /// How many of the reducer's lines were looked at.
    seen: usize,
}

impl World {
    fn new(handover: Handover, reannounce: Reannounce) -> Self {
        let settings = Settings {
            handover,
            reannounce,
            ..Settings::default()
        };
        let mut core = Core::with(Recorder::wired(), settings);
        core.connect();
        let settings = migration::Settings {
            stage: Stage::Shadow,
            ..migration::Settings::default()
        };
        let migration = Migration::new(settings, &mut core.feeds, core.now);
        let stream = core.open();
        let native = core.feeds.open_native(1, core.now);
        let mut world = Self {
            changed_at: core.now,
            core,
            migration,
            handover,
            reannounce,
            pods: BTreeMap::new(),
            owners: BTreeMap::new(),
            made: 0,
            stream: Some(stream),
            silent: Vec::new(),
            to_stream: VecDeque::new(),
            native,
            to_watches: VecDeque::new(),
            heard: BTreeMap::new(),
            seen: 0,
        };
        world.to_stream.push_back(Input::Listed);
        world.relist();
        world
    }

    fn does(&mut self, op: Op) {
        let resyncs = self.core.reducer.resyncs;
        // Only the legacy's own promise is kept by one, and only where it was given.
        let may_resync = matches!(op, Op::Open { .. })
            && self.handover == Handover::Legacy
            && self.core.feeds.active_source() == SourceKind::Collect
            && !self.core.feeds.waits_for_stream();
        let active = self.core.feeds.active_generation();
        let goes_on = !matches!(op, Op::Switch { goes_on: false });
        match op {
            Op::Pod { name, owner, form } => self.pod(name, owner, form),
            Op::PodGone(name) => {
                if let Some(pod) = self.pods.remove(&name) {
                    self.happens(|| Input::Pod(Event::Delete(pod.clone())));
                }
            }
            Op::Owner { name, controlled } => {
                let controller = controlled.then(|| deployment("web"));
                let owner = object(&format!("o{name}"), controller);
                self.owners.insert(name, owner.clone());
                self.happens(|| Input::Owner(sort(name), Event::Apply(owner.clone())));
            }
            Op::OwnerGone(name) => {
                if let Some(owner) = self.owners.remove(&name) {
                    self.happens(|| Input::Owner(sort(name), Event::Delete(owner.clone())));
                }
            }
            Op::StreamSees(n) => self.stream_sees(n.into()),
            Op::WatchesSee(n) => self.watches_see(n.into()),
            Op::Switch { .. } => {
                let command = match self.migration.stage() {
                    Stage::ShadowNative => Command::Rollback,
                    Stage::Legacy | Stage::Shadow | Stage::Native => Command::Cutover,
                };
                let feeds = &mut self.core.feeds;
                let facts = self.migration.facts(feeds, (3, 0), self.core.now);
                let step = self.migration.ask(command, true, &facts).unwrap();
                self.migration.enter(&step, feeds, self.core.now);
            }
            Op::Open { closes } => {
                match self.stream.take() {
                    Some(before) if closes => self.core.close(before),
                    before => self.silent.extend(before),
                }
                self.stream = Some(self.core.open());
                self.to_stream = self.list(false).into();
                self.to_stream.push_back(Input::Listed);
            }
            Op::Close => {
                if let Some(stream) = self.stream.take() {
                    self.core.close(stream);
                }
            }
            Op::Relist => self.relist(),
            Op::Lose => {
                if self.core.reducer.connected {
                    self.core.disconnect();
                }
            }
            Op::Regain => {
                if !self.core.reducer.connected {
                    self.core.connect();
                }
            }
            Op::Drain(n) => self.core.reducer.drain(usize::from(n) * 100),
            Op::Pass(n) => self.pass(secs(n.into())),
        }
        if goes_on {
            self.core.resume();
        }
        self.compares();
        if self.core.feeds.active_generation() != active {
            self.changed_at = self.core.now;
        }
        assert!(may_resync || self.core.reducer.resyncs == resyncs);
        self.look();
    }

    /// Nothing happens for so long but that the loop looks when it is due.
    fn looks_for(&mut self, seconds: u64) {
        let end = self.core.now + secs(seconds);
        while self.core.now < end {
            let due = self.migration.poll_timeout().unwrap();
            self.core.now = due.min(end);
            self.compares();
        }
    }

    /// Seconds held, divergences that count, others.
    fn parity(&mut self) -> (f64, u64, u64) {
        let report = self.migration.report(&mut self.core.feeds, self.core.now);
        let parity = report.parity.unwrap();
        (parity.held_seconds, parity.divergences, parity.unsettled)
    }

    /// Until nothing is left to compare.
    fn compares(&mut self) {
        while self.migration.attend(&mut self.core.feeds, self.core.now) {}
        let due = self.migration.poll_timeout();
        assert!(due.is_none_or(|due| due > self.core.now), "due without end");
    }

    /// No pod that both feeds have live is deleted, unless it is announced again in the next
    /// message; and before the window has ended that began when the active feed became another one,
    /// none that is there, if the active feed knows it or the one before had reported it lately.
    fn look(&mut self) {
        let feeds = &self.core.feeds;
        assert_eq!(self.core.reducer.complaint(feeds.ledger()), None);
        let lines = self.core.reducer.lines.get(self.seen..).unwrap();
        self.seen = self.core.reducer.lines.len();
        for (at, line) in lines.iter().enumerate() {
            let Some(uid) = line.strip_prefix("pod_delete ") else {
                continue;
            };
            let again = lines
                .get(at + 1)
                .is_some_and(|next| next.starts_with(&format!("pod_new {uid} ")));
            let may_resend = self.reannounce == Reannounce::OnChange // D14: a container is gone
                || self.handover == Handover::Seamless; // D4: the next stream has other ones
            if again && may_resend {
                continue;
            }
            let uid = Uid::new(uid);
            let live = |standing| standing == PodStatus::Live;
            // Of several streams an older one may be the active feed.
            let in_stream = match feeds.active_source() {
                SourceKind::Collect => feeds.active().map(|active| active.standing(&uid)),
                SourceKind::Native => feeds
                    .compared_stream_view()
                    .map(|twin| twin.matcher().standing(&uid)),
            };
            let in_watches = feeds
                .native_view()
                .map(|twin| twin.matcher().standing(&uid));
            assert!(
                !(in_stream.is_some_and(live) && in_watches.is_some_and(live)),
                "{line}: both feeds have it"
            );
            let there = self.pods.values().any(|pod| pod.uid == uid);
            let settled = self.core.now >= self.changed_at + SETTLE;
            let heard = self
                .heard
                .get(&uid)
                .is_some_and(|at| *at + SETTLE > self.core.now);
            let known = feeds
                .active()
                .is_some_and(|active| active.standing(&uid) != PodStatus::Unknown);
            assert!(
                !there || settled || !(heard || known),
                "{line}: it is there"
            );
        }
    }

    fn ends_well(&mut self) {
        if self.stream.is_none() {
            self.does(Op::Open { closes: true });
        }
        if self.handover == Handover::Seamless {
            // The newest one takes over, whatever the clock says.
            for silent in std::mem::take(&mut self.silent) {
                self.core.close(silent);
            }
        }
        // A feed that saw an owner before it went knows more of its pods than one that did not.
        for name in 1..4 {
            self.does(Op::Owner {
                name,
                controlled: true,
            });
        }
        self.stream_sees(usize::MAX);
        self.watches_see(usize::MAX);
        self.does(Op::Regain);
        self.pass(secs(200));
        self.core.rest();
        self.compares();
        self.look();
        let feeds = &self.core.feeds;
        assert!(feeds.is_settled());
        let active = feeds.active().unwrap();
        let live: BTreeMap<_, _> = active
            .all_live()
            .map(|live| (live.pod.uid.clone(), fields_hash(&live, Seed::FIXED)))
            .collect();
        let sent = &self.core.reducer.reducer_state.pods;
        assert!(sent.keys().eq(live.keys()), "{sent:?}, live {live:?}");
        if self.reannounce == Reannounce::OnChange {
            for (uid, fields) in live {
                assert_eq!(sent[&uid].fields(), fields, "{uid}");
            }
        }
        let (feeds, now) = (&mut self.core.feeds, self.core.now);
        let parity = self.migration.report(feeds, now).parity.unwrap();
        assert!(parity.comparing, "{:?}", parity.paused);
        assert_eq!(parity.rows, [], "they know the same");
        assert_eq!((parity.divergences, parity.unsettled), (0, 0));
        assert_eq!(parity.legacy_digest, parity.native_digest);
        let (Some(stream), Some(watches)) = (feeds.compared_stream_view(), feeds.native_view())
        else {
            panic!("both are there");
        };
        for live in stream.matcher().all_live() {
            let Some(twin) = watches.matcher().live(&live.pod.uid) else {
                continue;
            };
            assert!(
                live.pod != twin.pod || live.pod.ptr_eq(twin.pod),
                "{twin:?}"
            );
        }
    }

    fn pod(&mut self, name: u8, owner: u8, form: u8) {
        let made = &mut self.made;
        let uid = self.pods.get(&name).map_or_else(
            || {
                *made += 1;
                format!("p{name}-{made}")
            },
            |pod| pod.uid.to_string(),
        );
        let container = format!("{uid}-c{form}");
        let mut draft = pod(&uid)
            .version(&form.to_string())
            .running(&[container.as_str()]);
        if form == 0 && !self.pods.contains_key(&name) {
            draft = draft.without_address();
        }
        if let Some(owner) = owner_ref(owner) {
            draft = draft.owned_by(owner);
        }
        let pod = PodMeta::from(draft);
        self.pods.insert(name, pod.clone());
        // What a source decodes is its own.
        self.happens(|| Input::Pod(Event::Apply(PodMeta::new((*pod).clone()))));
    }

    /// Everybody who looks will see it.
    fn happens(&mut self, what: impl Fn() -> Input) {
        if self.stream.is_some() {
            self.to_stream.push_back(what());
        }
        self.to_watches.push_back(what());
    }

    fn stream_sees(&mut self, n: usize) {
        let n = n.min(self.to_stream.len());
        let Some(stream) = self.stream else {
            return;
        };
        for input in self.to_stream.drain(..n).collect::<Vec<_>>() {
            self.hear(stream, &input);
            self.core.handle(stream, input);
        }
    }

    fn watches_see(&mut self, n: usize) {
        let n = n.min(self.to_watches.len());
        for input in self.to_watches.drain(..n).collect::<Vec<_>>() {
            self.hear(self.native, &input);
            self.core.handle(self.native, input);
        }
    }

    fn hear(&mut self, feed: Generation, input: &Input) {
        let active = self.core.feeds.active_generation() == Some(feed);
        if let (Input::Pod(Event::Apply(pod)), true) = (input, active) {
            self.heard.insert(pod.uid.clone(), self.core.now);
        }
    }

    fn relist(&mut self) {
        let sorts = [OwnerSort::ReplicaSet, OwnerSort::Job];
        let inits = sorts.map(|sort| Input::Owner(sort, Event::Init));
        let dones = sorts.map(|sort| Input::Owner(sort, Event::InitDone));
        let list = self.list(true);
        self.to_watches = inits
            .into_iter()
            .chain([Input::Pod(Event::Init)])
            .chain(list)
            .chain(dones)
            .chain([Input::Pod(Event::InitDone)])
            .collect();
    }

    /// All that is there, owners first.
    fn list(&self, list: bool) -> Vec<Input> {
        let owners = self.owners.iter().map(|(name, owner)| {
            let owner = owner.clone();
            Input::Owner(
                sort(*name),
                if list {
                    Event::InitApply(owner)
                } else {
                    Event::Apply(owner)
                },
            )
        });
        let pods = self.pods.values().map(|pod| {
            let pod = PodMeta::new((**pod).clone());
            Input::Pod(if list {
                Event::InitApply(pod)
            } else {
                Event::Apply(pod)
            })
        });
        owners.chain(pods).collect()
    }

    fn pass(&mut self, span: Duration) {
        let end = self.core.now + span;
        let due = |world: &Self| {
            let due = world.core.feeds.poll_timeout();
            due.into_iter().chain(world.migration.poll_timeout()).min()
        };
        while let Some(due) = due(self).filter(|due| *due <= end) {
            self.core.now = self.core.now.max(due);
            self.compares();
            let active = self.core.feeds.active_generation();
            self.core.timeout();
            if self.core.feeds.active_generation() != active {
                self.changed_at = self.core.now;
            }
            self.look();
        }
        self.core.now = end;
    }
}

/// Owner 0 is none; 3 is a Job.
fn owner_ref(name: u8) -> Option<OwnerRef> {
    let text = format!("o{name}");
    match name {
        0 => None,
        3 => Some(job(&text)),
        _ => Some(replica_set(&text)),
    }
}

fn sort(name: u8) -> OwnerSort {
    match name {
        3 => OwnerSort::Job,
        _ => OwnerSort::ReplicaSet,
    }
}
