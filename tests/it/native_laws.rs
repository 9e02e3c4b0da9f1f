//! What holds after every history of a cluster that our own watches tell of: watches that are
//! cut and list again, a reducer that is slow, away and back.

use std::collections::{BTreeMap, VecDeque};

use k8s_relay::{
    feeds::Settings,
    matcher::{OwnerSort, Reannounce},
    model::{Keyed, OwnerMeta, PodMeta, Scope, Slot, Uid},
};
use kube::runtime::watcher::Event;
use proptest::prelude::*;

use crate::support::{
    core::{Recorder, object, pod, secs},
    history::{self, Happening, Object, any_escalate, low_marks},
    holds::{Forms, same_live_set, same_picture, same_pods_with_their_containers},
    lists::{Fact, Lists},
    native::{Native, native},
    truth::Truth,
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(384))]

    #[test]
    fn whatever_happens_to_cluster_watches_and_reducer_the_picture_ends_as_the_live_set(
        marks in low_marks(),
        objects in history::objects(),
        happenings in history::of_native_feed(),
    ) {
        let mut world = World::new(native(marks), objects);
        for happening in happenings {
            world.happens(happening);
        }
        world.ends_well();
    }

    #[test]
    fn under_on_change_it_is_the_live_set_whenever_nothing_is_left_to_tell(
        marks in low_marks(),
        escalate in any_escalate(),
        objects in history::objects(),
        happenings in history::of_native_feed(),
    ) {
        let reannounce = Reannounce::OnChange;
        let settings = Settings { escalate, reannounce, ..native(marks) };
        let mut world = World::new(settings, objects);
        for happening in happenings {
            world.happens(happening);
        }
        world.ends_well();
    }

    #[test]
    fn with_relist_resync_too(
        marks in low_marks(),
        objects in history::objects(),
        happenings in history::of_native_feed(),
    ) {
        let settings = Settings { relist_resync: true, ..native(marks) };
        let mut world = World::new(settings, objects);
        for happening in happenings {
            world.happens(happening);
        }
        world.ends_well();
    }
}

const SCOPES: u16 = 2;

/// A cluster, its watches, the core, and what is true given what the watches told.
struct World {
    core: Native,
    relist_resync: bool,
    reannounce: Reannounce,
    pods: Cluster<PodMeta>,
    replica_sets: Cluster<OwnerMeta>,
    jobs: Cluster<OwnerMeta>,
    truth: Truth,
    forms: Forms,
}

/// The objects of one kind as they are, and as they were told.
struct Cluster<T> {
    now: BTreeMap<Uid, T>,
    watches: Vec<Watch<T>>,
    told: Lists<T>,
}

/// A watch of one scope.
enum Watch<T> {
    /// It does not see what happens.
    Away,
    /// It has a list to tell, and after that what has happened since.
    Listing(VecDeque<T>, Vec<Event<T>>),
    Following,
}

/// The kind and scope of a watch.
#[derive(Clone, Copy)]
enum Of {
    Pods(Scope),
    Owners(OwnerSort, Scope),
}

impl World {
    /// The objects are there before the watches are.
    fn new(settings: Settings, objects: Vec<Object>) -> Self {
        let core = Native::with(Recorder::wired(), settings, SCOPES);
        let mut world = Self {
            truth: Truth::new(core.matcher().policy()),
            core,
            relist_resync: settings.relist_resync,
            reannounce: settings.reannounce,
            pods: Cluster::new(),
            replica_sets: Cluster::new(),
            jobs: Cluster::new(),
            forms: Forms::default(),
        };
        for object in objects {
            world.happens(match object {
                Object::Pod(pod) => Happening::Pod(0, pod),
                Object::Owner(sort, owner) => Happening::Owner(0, sort, owner),
            });
        }
        (0..6).for_each(|at| world.happens(Happening::List(at)));
        world
    }

    fn happens(&mut self, happening: Happening) {
        match happening {
            Happening::Pod(_, pod) => {
                if let Some(event) = self.pods.happens(Event::Apply(pod)) {
                    self.tell_pod(event);
                }
            }
            Happening::PodGone(_, uid) => {
                if let Some(event) = self.pods.happens(Event::Delete(pod(uid).into())) {
                    self.tell_pod(event);
                }
            }
            Happening::Owner(_, sort, owner) => {
                if let Some(event) = self.owners(sort).happens(Event::Apply(owner)) {
                    self.tell_owner(sort, event);
                }
            }
            Happening::OwnerGone(_, sort, uid) => {
                let gone = Event::Delete(object(uid, None));
                if let Some(event) = self.owners(sort).happens(gone) {
                    self.tell_owner(sort, event);
                }
            }
            Happening::Cut(at) => match of(at) {
                Of::Pods(scope) => self.pods.cut(scope),
                Of::Owners(sort, scope) => self.owners(sort).cut(scope),
            },
            Happening::List(at) => self.list(of(at)),
            Happening::Step(events) => {
                for at in 0..6 {
                    for _ in 0..events {
                        self.step(of(at));
                    }
                }
            }
            Happening::Connect if !self.core.reducer.connected => {
                self.core.connect();
            }
            Happening::Disconnect if self.core.reducer.connected => self.core.disconnect(),
            Happening::Drain(bytes) => self.core.reducer.drain(bytes),
            Happening::Resume => {
                self.core.resume();
            }
            Happening::Pass(span) => {
                self.core.pass(span);
                self.truth.time(self.core.now);
            }
            Happening::Open => {
                // A shadow: nothing of it is ever told.
                let (epoch, sent) = (self.core.feeds.epoch(), self.core.reducer.queued);
                let shadow = self.core.open();
                self.core.core.pod(shadow, pod("shadow"));
                self.core.close(shadow);
                assert_eq!(self.core.feeds.epoch(), epoch);
                assert_eq!(self.core.reducer.queued, sent);
            }
            Happening::Close(_)
            | Happening::Listed(_)
            | Happening::Connect
            | Happening::Disconnect => {}
        }
        self.holds();
    }

    // --- the watches ---

    /// A watch begins to list, whatever it did before.
    fn list(&mut self, watch: Of) {
        match watch {
            Of::Pods(scope) => {
                self.pods.list(scope);
                self.tell_pod((scope, Event::Init));
            }
            Of::Owners(sort, scope) => {
                self.owners(sort).list(scope);
                self.tell_owner(sort, (scope, Event::Init));
            }
        }
    }

    /// A watch that lists tells the next object, or that it is done and what happened meanwhile.
    fn step(&mut self, watch: Of) {
        match watch {
            Of::Pods(scope) => {
                for event in self.pods.step(scope) {
                    self.tell_pod((scope, event));
                }
            }
            Of::Owners(sort, scope) => {
                for event in self.owners(sort).step(scope) {
                    self.tell_owner(sort, (scope, event));
                }
            }
        }
    }

    fn tell_pod(&mut self, (scope, event): (Scope, Event<PodMeta>)) {
        let now = self.core.now;
        let facts = self.pods.told.take(scope, event.clone());
        self.watch_the_telling(is_of_list(&event), |world| {
            for fact in facts {
                match fact {
                    Fact::Apply(pod) => world.truth.apply_pod(pod, now),
                    Fact::Delete(uid) => world.truth.delete_pod(&uid),
                }
            }
            world.core.pod_event_in(scope, event);
        });
    }

    fn tell_owner(&mut self, sort: OwnerSort, (scope, event): (Scope, Event<OwnerMeta>)) {
        let now = self.core.now;
        let facts = self.owners(sort).told.take(scope, event.clone());
        self.watch_the_telling(is_of_list(&event), |world| {
            for fact in facts {
                match fact {
                    Fact::Apply(owner) => world.truth.apply_owner(&owner, now),
                    Fact::Delete(uid) => world.truth.delete_owner(&uid, now),
                }
            }
            world.core.owner_event_in(scope, sort, event);
        });
    }

    /// A list sends no resync, and nobody's delete is told who stays.
    fn watch_the_telling(&mut self, of_list: bool, tell: impl FnOnce(&mut Self)) {
        let (epoch, live) = (self.core.feeds.epoch(), self.truth.live());
        self.core.reducer.take();
        tell(self);
        if of_list && !self.relist_resync {
            assert_eq!(self.core.feeds.epoch(), epoch, "no list is a reason");
        }
        let still = self.truth.live();
        let told = self.core.reducer.take();
        for gone in self.deletes(&told) {
            assert!(
                !(live.contains_key(&gone) && still.contains_key(&gone)),
                "{gone} stays"
            );
        }
        self.holds();
    }

    /// The pods that the reducer was told are gone. Under `on-change` a delete may be the first
    /// half of telling a pod anew; there the picture is compared to the letter instead.
    fn deletes(&self, told: &str) -> Vec<Uid> {
        let gone = |line: &str| line.strip_prefix("pod_delete ").map(Uid::new);
        match self.reannounce {
            Reannounce::Never => told.lines().filter_map(gone).collect(),
            Reannounce::OnChange => Vec::new(),
        }
    }

    fn owners(&mut self, sort: OwnerSort) -> &mut Cluster<OwnerMeta> {
        match sort {
            OwnerSort::ReplicaSet => &mut self.replica_sets,
            OwnerSort::Job => &mut self.jobs,
        }
    }

    // --- the laws ---

    fn holds(&mut self) {
        let live = self.truth.live();
        same_live_set(self.core.matcher(), &live);
        let told = self.core.reducer.take();
        for gone in self.deletes(&told) {
            assert!(!live.contains_key(&gone), "{gone} stays");
        }
        let Native { core, .. } = &mut self.core;
        self.forms
            .hold(&mut core.reducer, core.feeds.ledger(), &live);
        let (again, given_up) = (core.reducer.announced_again, core.feeds.counts().given_up);
        let is_settled = core.feeds.is_settled();
        match self.reannounce {
            Reannounce::Never => {
                assert!(again <= given_up, "only those that were given up");
                assert!(!is_settled || core.reducer.picture.uids().iter().eq(live.keys()));
            }
            Reannounce::OnChange if is_settled => same_picture(&core.reducer.picture, &live),
            Reannounce::OnChange => {}
        }
        let objects = core.feeds.reader().objects();
        let held = objects.pods.slice(Slot::FIRST).objects.into_iter();
        let held: BTreeMap<_, _> = held.map(|pod| (pod.uid.clone(), pod)).collect();
        assert_eq!(held, self.pods.told.known);
    }

    fn ends_well(mut self) {
        self.happens(Happening::Connect);
        self.list_all();
        assert!(self.core.feeds.is_listed());
        self.core.rest();
        self.holds();
        assert!(self.core.feeds.is_settled());
        // What is told is what is there.
        assert_eq!(self.pods.told.known, self.pods.now);
        same_pods_with_their_containers(&self.core.reducer.picture, &self.truth);
        // Nothing has changed: that is not worth a message.
        let (epoch, resyncs) = (self.core.feeds.epoch().0, self.core.reducer.resyncs);
        self.list_all();
        self.core.rest();
        let resynced = self.core.reducer.resyncs - resyncs;
        if self.relist_resync {
            assert!(resynced > 0);
        } else {
            assert_eq!((self.core.feeds.epoch().0, resynced), (epoch, 0));
        }
        self.core.reconnect();
        same_picture(&self.core.reducer.picture, &self.truth.live());
        // Everything goes while nobody looks.
        (0..6).for_each(|at| self.happens(Happening::Cut(at)));
        self.pods.now.clear();
        self.replica_sets.now.clear();
        self.jobs.now.clear();
        self.list_all();
        self.core.rest();
        assert!(self.core.reducer.picture.pods.is_empty());
        self.happens(Happening::Pass(secs(60)));
        assert_eq!(self.core.feeds.ledger().capacity(), 0);
        assert_eq!(self.core.matcher().capacity(), 0);
        let objects = self.core.feeds.reader().objects();
        let owners = [objects.replica_sets.capacity(), objects.jobs.capacity()];
        assert_eq!((objects.pods.capacity(), owners), (0, [0; 2]));
    }

    /// Every watch tells a whole list; if that changes nothing, nothing is sent.
    fn list_all(&mut self) {
        for at in 0..6 {
            let news = match of(at) {
                Of::Pods(scope) => self.pods.has_news(scope),
                Of::Owners(sort, scope) => self.owners(sort).has_news(scope),
            };
            let quiet = !news && self.core.feeds.is_settled() && !self.relist_resync;
            let sent = self.core.reducer.queued;
            self.list(of(at));
            self.step_to_the_end(of(at));
            self.core.resume();
            if quiet {
                assert_eq!(self.core.reducer.queued, sent, "nothing has changed");
            }
        }
    }

    fn step_to_the_end(&mut self, watch: Of) {
        for _ in 0..100 {
            self.step(watch);
        }
    }
}

impl<T: Keyed + Clone + PartialEq> Cluster<T> {
    fn new() -> Self {
        Self {
            now: BTreeMap::new(),
            watches: (0..SCOPES).map(|_| Watch::Away).collect(),
            told: Lists::new(),
        }
    }

    /// Something happens in the cluster. Returns what a watch tells of it at once.
    fn happens(&mut self, event: Event<T>) -> Option<(Scope, Event<T>)> {
        let uid = match &event {
            Event::Apply(object) => {
                self.now.insert(object.uid().clone(), object.clone());
                object.uid()
            }
            Event::Delete(object) => {
                self.now.remove(object.uid())?;
                object.uid()
            }
            Event::Init | Event::InitApply(_) | Event::InitDone => return None,
        };
        let scope = scope_of(uid);
        match &mut self.watches[usize::from(scope.0)] {
            Watch::Away => None,
            Watch::Listing(_, later) => {
                later.push(event);
                None
            }
            Watch::Following => Some((scope, event)),
        }
    }

    fn cut(&mut self, scope: Scope) {
        self.watches[usize::from(scope.0)] = Watch::Away;
    }

    fn list(&mut self, scope: Scope) {
        let there = self.in_scope(&self.now, scope).cloned().collect();
        self.watches[usize::from(scope.0)] = Watch::Listing(there, Vec::new());
    }

    fn step(&mut self, scope: Scope) -> Vec<Event<T>> {
        let watch = &mut self.watches[usize::from(scope.0)];
        let Watch::Listing(list, later) = watch else {
            return Vec::new();
        };
        if let Some(next) = list.pop_front() {
            return vec![Event::InitApply(next)];
        }
        let later = std::mem::take(later);
        *watch = Watch::Following;
        [Event::InitDone].into_iter().chain(later).collect()
    }

    /// Whether a list would tell anything that was not told.
    fn has_news(&self, scope: Scope) -> bool {
        !self
            .in_scope(&self.now, scope)
            .eq(self.in_scope(&self.told.known, scope))
    }

    fn in_scope<'a>(
        &self,
        objects: &'a BTreeMap<Uid, T>,
        scope: Scope,
    ) -> impl Iterator<Item = &'a T> {
        objects
            .iter()
            .filter(move |(uid, _)| scope_of(uid) == scope)
            .map(|(_, object)| object)
    }
}

/// Every second object of the small world is in the second scope.
fn scope_of(uid: &Uid) -> Scope {
    let name = uid.to_string();
    Scope(u16::from(name.ends_with(['1', '3', '5'])))
}

fn of(at: usize) -> Of {
    let scope = Scope((at % 2) as u16);
    match at / 2 {
        0 => Of::Pods(scope),
        1 => Of::Owners(OwnerSort::ReplicaSet, scope),
        _ => Of::Owners(OwnerSort::Job, scope),
    }
}

fn is_of_list<T>(event: &Event<T>) -> bool {
    matches!(event, Event::Init | Event::InitApply(_) | Event::InitDone)
}
