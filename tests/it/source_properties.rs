//! What holds after every history of a cluster, whichever source reports it: the native watches
//! that are cut and list again, or a watcher whose stream breaks and is opened again; and a reducer
//! that is slow, away and back.

mod stream;
mod watches;

use std::collections::BTreeMap;

use k8s_relay::{
    announce::Watermarks,
    feeds::{Handover, Input, Settings},
    matcher::{Generation, OwnerSort, Reannounce},
    model::{HasUid, Kind, ObjectMeta, PodMeta, Scope, Slot, Uid},
};
use kube::runtime::watcher::Event;
use proptest::prelude::*;

use self::{stream::Stream, watches::Watches};
use crate::support::{
    core::{Core, object, pod, secs},
    expected_state::{ExpectedState, Form},
    history::{self, Happening, Object, any_settings, low_marks},
    holds::{Forms, same_live_set, same_pods_with_their_containers, same_reducer_state},
    lists::Fact,
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn whatever_happens_to_cluster_source_and_reducer_the_reducer_state_ends_as_the_live_set(
        settings in settings(Reannounce::Never),
        handover in prop_oneof![Just(Handover::Seamless), Just(Handover::Legacy)],
        objects in history::objects(),
        happenings in history::of_a_cluster(),
    ) {
        sent_by_both(settings, handover, &objects, &happenings);
    }

    #[test]
    fn under_on_change_it_is_the_live_set_whenever_nothing_is_left_to_send(
        settings in settings(Reannounce::OnChange),
        handover in prop_oneof![Just(Handover::Seamless), Just(Handover::Legacy)],
        objects in history::objects(),
        happenings in history::of_a_cluster(),
    ) {
        sent_by_both(settings, handover, &objects, &happenings);
    }

    #[test]
    fn with_relist_resync_too(
        marks in low_marks(),
        objects in history::objects(),
        happenings in history::of_a_cluster(),
    ) {
        let settings = Settings { relist_resync: true, marks, ..Settings::default() };
        // A stream ends no list.
        World::<Watches>::lives(settings, &objects, &happenings);
    }
}

fn settings(reannounce: Reannounce) -> impl Strategy<Value = Settings> {
    let with_marks = |(settings, marks): (Settings, Watermarks)| Settings { marks, ..settings };
    (any_settings(reannounce), low_marks()).prop_map(with_marks)
}

/// One history, once as the events of the native watches and once as Infos. Of streams that follow
/// each other without a gap more is announced than the active one has (`handover/properties.rs`).
fn sent_by_both(
    settings: Settings,
    handover: Handover,
    objects: &[Object],
    happenings: &[Happening],
) {
    let watched = Settings {
        handover,
        ..settings
    };
    World::<Watches>::lives(watched, objects, happenings);
    World::<Stream>::lives(settings, objects, happenings);
}

/// The source from which the core learns of a cluster. It may not see what happens, and list later.
trait Source: Sized {
    /// In how many parts it sees the cluster. Each can be cut, and lists, alone.
    const PARTS: usize;

    /// Whether the end of a list sends what differs from before (D3).
    const SENDS_DIFFERENCES: bool;

    /// Sees nothing yet. The feed, if it has one before it sends anything.
    fn start(settings: Settings) -> (Core, Self, Option<Generation>);

    /// Something has happened in the cluster.
    fn sees(&mut self, change: Change) -> Vec<Word>;

    /// It sees nothing any longer, as far as this part of it goes.
    fn cut(&mut self, at: usize) -> Vec<Word>;

    /// It begins to list, as far as this part of it goes.
    fn list(&mut self, at: usize, cluster: &Cluster) -> Vec<Word>;

    /// Its list goes on.
    fn step(&mut self, at: usize) -> Vec<Word>;

    /// Whether a list would send anything that was not sent.
    fn has_news(&self, at: usize, cluster: &Cluster) -> bool;

    /// The pods that it has sent.
    fn known(&self) -> BTreeMap<Uid, PodMeta>;

    /// Under `on-change`: whether it has sent all that there is, so that what it knows is that to
    /// the letter, whatever it sent before.
    fn is_current(&self) -> bool;

    /// An owner in the form that it has when it is sent.
    fn owner_as_sent(owner: &ObjectMeta) -> ObjectMeta;

    /// A pod in the form that it has when it is sent first.
    fn as_sent(pod: &PodMeta) -> PodMeta;
}

/// Something happens in a cluster: an `Apply` or a `Delete`.
#[derive(Clone, Debug)]
enum Change {
    Pod(Event<PodMeta>),
    Owner(OwnerSort, Event<ObjectMeta>),
}

/// What a source says.
enum Word {
    /// A feed with nothing known begins.
    Opened,
    /// It has ended.
    Closed,
    Sends {
        scope: Scope,
        of_list: bool,
        input: Input,
        facts: Facts,
    },
}

/// What follows from it for who does not care about lists.
enum Facts {
    Pods(Vec<Fact<PodMeta>>),
    Owners(Vec<Fact<ObjectMeta>>),
}

/// The objects as they are.
#[derive(Default)]
struct Cluster {
    pods: BTreeMap<Uid, PodMeta>,
    replica_sets: BTreeMap<Uid, ObjectMeta>,
    jobs: BTreeMap<Uid, ObjectMeta>,
}

/// A cluster, its source, the core, and what is true given what the source sent.
struct World<S> {
    settings: Settings,
    core: Core,
    source: S,
    feed: Option<Generation>,
    cluster: Cluster,
    expected_state: Option<ExpectedState>,
    forms: Forms,
}

impl<S: Source> World<S> {
    fn lives(settings: Settings, objects: &[Object], happenings: &[Happening]) {
        let mut world = Self::new(settings, objects);
        for happening in happenings {
            world.happens(happening);
        }
        world.ends_well();
    }

    /// The objects are there before anybody looks.
    fn new(settings: Settings, objects: &[Object]) -> Self {
        let (core, source, feed) = S::start(settings);
        let mut world = Self {
            settings,
            core,
            source,
            feed,
            cluster: Cluster::default(),
            expected_state: None,
            forms: Forms::default(),
        };
        world.begin_expected_state();
        world.happens(&Happening::Connect);
        for object in objects {
            world.happens(&match object.clone() {
                Object::Pod(pod) => Happening::Pod(0, pod),
                Object::Owner(sort, owner) => Happening::Owner(0, sort, owner),
            });
        }
        (0..S::PARTS).for_each(|at| world.happens(&Happening::List(at)));
        world
    }

    fn happens(&mut self, happening: &Happening) {
        match happening.clone() {
            Happening::Pod(_, pod) => self.changes(Change::Pod(Event::Apply(pod))),
            Happening::PodGone(_, uid) => self.changes(Change::Pod(Event::Delete(pod(uid).into()))),
            Happening::Owner(_, sort, owner) => {
                self.changes(Change::Owner(sort, Event::Apply(owner)));
            }
            Happening::OwnerGone(_, sort, uid) => {
                self.changes(Change::Owner(sort, Event::Delete(object(uid, None))));
            }
            Happening::Cut(at) => {
                let words = self.source.cut(at % S::PARTS);
                self.hear(words);
            }
            Happening::List(at) => self.list(at % S::PARTS),
            Happening::Step(events) => {
                for at in 0..S::PARTS {
                    (0..events).for_each(|_| self.step(at));
                }
            }
            Happening::Connect if !self.core.reducer.connected => self.connect(),
            Happening::Disconnect if self.core.reducer.connected => self.core.disconnect(),
            Happening::Drain(bytes) => self.core.reducer.drain(bytes),
            Happening::Resume => drop(self.core.resume()),
            Happening::Pass(span) => {
                self.core.pass(span);
                if let Some(expected_state) = &mut self.expected_state {
                    expected_state.time(self.core.now);
                }
            }
            Happening::Open if S::SENDS_DIFFERENCES => self.a_shadow_comes_and_goes(),
            Happening::Open
            | Happening::Close(_)
            | Happening::Listed(_)
            | Happening::Connect
            | Happening::Disconnect => {}
        }
        self.holds();
    }

    fn changes(&mut self, change: Change) {
        if self.cluster.changes(&change) {
            let words = self.source.sees(change);
            self.hear(words);
        }
    }

    fn list(&mut self, at: usize) {
        let words = self.source.list(at, &self.cluster);
        self.hear(words);
    }

    fn step(&mut self, at: usize) {
        let words = self.source.step(at);
        self.hear(words);
    }

    /// It may end all streams, if that was asked for (D5).
    fn connect(&mut self) {
        if self.core.connect() {
            self.feed = None;
            // The source hears that its stream has ended; the core knows.
            drop(self.source.cut(0));
        }
    }

    /// A stream alongside the native watches: nothing of it is ever announced.
    fn a_shadow_comes_and_goes(&mut self) {
        let (epoch, sent) = (self.core.feeds.epoch(), self.core.reducer.queued);
        let shadow = self.core.open();
        self.core.pod(shadow, pod("shadow"));
        self.core.feeds.close(shadow, self.core.now);
        assert_eq!(self.core.feeds.epoch(), epoch);
        assert_eq!(self.core.reducer.queued, sent);
    }

    // --- what the source says ---

    fn hear(&mut self, words: Vec<Word>) {
        for word in words {
            match word {
                Word::Opened => {
                    self.feed = Some(self.core.open());
                    self.begin_expected_state();
                }
                Word::Closed => {
                    if let Some(feed) = self.feed.take() {
                        self.core.close(feed);
                    }
                }
                Word::Sends {
                    scope,
                    of_list,
                    input,
                    facts,
                } => self.is_announced(scope, of_list, input, facts),
            }
            self.holds();
        }
        self.holds_what_was_sent();
    }

    /// A list sends no resync, and no delete is sent of a pod that stays.
    fn is_announced(&mut self, scope: Scope, of_list: bool, input: Input, facts: Facts) {
        let (epoch, live) = (self.core.feeds.epoch(), self.live());
        self.core.reducer.take();
        if let Some(expected_state) = &mut self.expected_state {
            learn(expected_state, facts, self.core.now);
        }
        self.core.handle_in(scope, self.feed.unwrap(), input);
        if of_list && !self.settings.relist_resync {
            assert_eq!(self.core.feeds.epoch(), epoch, "no list is a reason");
        }
        let still = self.live();
        let announced = self.core.reducer.take();
        for gone in self.deletes(&announced) {
            assert!(
                !(live.contains_key(&gone) && still.contains_key(&gone)),
                "{gone} stays"
            );
        }
    }

    fn begin_expected_state(&mut self) {
        let matcher = self.core.feeds.active();
        self.expected_state = matcher.map(|matcher| ExpectedState::new(matcher.policy()));
    }

    fn live(&self) -> BTreeMap<Uid, Form> {
        let expected_state = self.expected_state.as_ref();
        let expected_state =
            expected_state.filter(|_| self.core.feeds.active_generation().is_some());
        expected_state.map(ExpectedState::live).unwrap_or_default()
    }

    /// The pods that the reducer was sent are gone. Under `on-change` a delete may be the first
    /// half of announcing a pod again; there the reducer's state is compared to the letter instead.
    fn deletes(&self, announced: &str) -> Vec<Uid> {
        let gone = |line: &str| line.strip_prefix("pod_delete ").map(Uid::new);
        match self.settings.reannounce {
            Reannounce::Never => announced.lines().filter_map(gone).collect(),
            Reannounce::OnChange => Vec::new(),
        }
    }

    // --- the properties ---

    fn holds(&mut self) {
        let live = self.live();
        if let Some(matcher) = self.core.feeds.active() {
            same_live_set(matcher, &live);
        }
        let announced = self.core.reducer.take();
        for gone in self.deletes(&announced) {
            assert!(!live.contains_key(&gone), "{gone} stays");
        }
        let core = &mut self.core;
        self.forms
            .hold(&mut core.reducer, core.feeds.ledger(), &live);
        let (again, given_up) = (core.reducer.announced_again, core.feeds.counts().given_up);
        let is_settled = core.feeds.is_settled();
        match self.settings.reannounce {
            Reannounce::Never => {
                assert!(again <= given_up, "once, but for those that were given up");
                let announced = core.reducer.reducer_state.uids();
                assert!(!is_settled || announced.iter().eq(live.keys()));
            }
            Reannounce::OnChange if is_settled => {
                same_reducer_state(&core.reducer.reducer_state, &live)
            }
            Reannounce::OnChange => {}
        }
    }

    /// Nothing is left of what an object has been (D10).
    fn holds_what_is_there(&self) {
        let there = self.cluster.pods.iter();
        let there = there.map(|(uid, pod)| (uid.clone(), S::as_sent(pod)));
        assert_eq!(self.source.known(), there.collect::<BTreeMap<_, _>>());
        let objects = self.core.feeds.reader().objects();
        for (held, there) in [
            (
                &objects.owners[Kind::REPLICA_SET],
                &self.cluster.replica_sets,
            ),
            (&objects.owners[Kind::JOB], &self.cluster.jobs),
        ] {
            let held = held.slice(Slot::FIRST).objects.into_iter();
            let held: BTreeMap<_, _> = held.map(|one| (one.uid.clone(), one)).collect();
            let there = there.iter();
            let there = there.map(|(uid, one)| (uid.clone(), S::owner_as_sent(one)));
            assert_eq!(held, there.collect::<BTreeMap<_, _>>());
        }
    }

    /// The stores of the active feed hold what its source has sent.
    fn holds_what_was_sent(&self) {
        let follows = self.settings.reannounce == Reannounce::OnChange;
        if follows && self.feed.is_some() && self.source.is_current() {
            self.holds_what_is_there();
        }
        let core = &self.core;
        if core.feeds.active_generation().is_some() {
            let objects = core.feeds.reader().objects();
            let held = objects.pods.slice(Slot::FIRST).objects.into_iter();
            let held: BTreeMap<_, _> = held.map(|pod| (pod.uid.clone(), pod)).collect();
            assert_eq!(held, self.source.known());
        }
    }

    fn ends_well(mut self) {
        self.happens(&Happening::Connect);
        self.list_all();
        self.core.rest();
        self.holds();
        assert!(self.core.feeds.is_settled());
        // What is announced is what is there.
        let there = self.cluster.pods.iter();
        let there = there.map(|(uid, pod)| (uid.clone(), S::as_sent(pod)));
        assert_eq!(self.source.known(), there.collect::<BTreeMap<_, _>>());
        same_pods_with_their_containers(
            &self.core.reducer.reducer_state,
            self.expected_state.as_ref().unwrap(),
        );
        if S::SENDS_DIFFERENCES {
            self.lists_for_nothing();
        }
        self.core.disconnect();
        self.connect();
        self.core.rest();
        same_reducer_state(&self.core.reducer.reducer_state, &self.live());
        // Everything goes while nobody looks.
        (0..S::PARTS).for_each(|at| self.happens(&Happening::Cut(at)));
        self.cluster = Cluster::default();
        self.list_all();
        self.core.rest();
        assert!(self.core.reducer.reducer_state.pods.is_empty());
        self.happens(&Happening::Pass(secs(60)));
        assert_eq!(self.core.feeds.ledger().capacity(), 0);
        assert_eq!(self.core.feeds.active().unwrap().capacity(), 0);
        let objects = self.core.feeds.reader().objects();
        let owners = Kind::OWNERS.map(|kind| objects.owners[kind].capacity());
        assert_eq!((objects.pods.capacity(), owners), (0, [0; 2]));
    }

    /// Nothing has changed: that is not worth a message.
    fn lists_for_nothing(&mut self) {
        assert!(self.core.feeds.is_listed());
        let (epoch, resyncs) = (self.core.feeds.epoch().0, self.core.reducer.resyncs);
        self.list_all();
        self.core.rest();
        let resynced = self.core.reducer.resyncs - resyncs;
        if self.settings.relist_resync {
            assert!(resynced > 0);
        } else {
            assert_eq!((self.core.feeds.epoch().0, resynced), (epoch, 0));
        }
    }

    /// Every part sends a whole list; if that changes nothing, nothing is sent.
    fn list_all(&mut self) {
        for at in 0..S::PARTS {
            let quiet = !self.source.has_news(at, &self.cluster)
                && self.core.feeds.is_settled()
                && !self.settings.relist_resync;
            let sent = self.core.reducer.queued;
            self.list(at);
            (0..100).for_each(|_| self.step(at));
            self.core.resume();
            if quiet {
                assert_eq!(self.core.reducer.queued, sent, "nothing has changed");
            }
        }
    }
}

impl Cluster {
    /// Returns whether there is anything to change.
    fn changes(&mut self, change: &Change) -> bool {
        match change {
            Change::Pod(event) => put(&mut self.pods, event),
            Change::Owner(OwnerSort::ReplicaSet, event) => put(&mut self.replica_sets, event),
            Change::Owner(OwnerSort::Job, event) => put(&mut self.jobs, event),
        }
    }

    fn owners(&self, sort: OwnerSort) -> &BTreeMap<Uid, ObjectMeta> {
        match sort {
            OwnerSort::ReplicaSet => &self.replica_sets,
            OwnerSort::Job => &self.jobs,
        }
    }
}

fn put<T: HasUid + Clone>(objects: &mut BTreeMap<Uid, T>, event: &Event<T>) -> bool {
    match event {
        Event::Apply(object) => {
            objects.insert(object.uid().clone(), object.clone());
            true
        }
        Event::Delete(object) => objects.remove(object.uid()).is_some(),
        Event::Init | Event::InitApply(_) | Event::InitDone => false,
    }
}

fn learn(expected_state: &mut ExpectedState, facts: Facts, now: std::time::Instant) {
    match facts {
        Facts::Pods(facts) => {
            for fact in facts {
                match fact {
                    Fact::Apply(pod) => expected_state.apply_pod(pod, now),
                    Fact::Delete(uid) => expected_state.delete_pod(&uid),
                }
            }
        }
        Facts::Owners(facts) => {
            for fact in facts {
                match fact {
                    Fact::Apply(owner) => expected_state.apply_owner(&owner, now),
                    Fact::Delete(uid) => expected_state.delete_owner(&uid, now),
                }
            }
        }
    }
}
