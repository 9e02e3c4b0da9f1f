//! The native watches: one for each kind and scope, each with lists of its own.

use std::collections::{BTreeMap, VecDeque};

use k8s_relay::{
    feeds::{Input, Settings, SourceKind},
    matcher::{Generation, OwnerSort},
    model::{HasUid, ObjectMeta, PodMeta, Scope, Uid},
};
use kube::runtime::watcher::Event;

use super::{Change, Cluster, Facts, Source, Word};
use crate::support::{
    core::{Core, Recorder},
    lists::Lists,
};

const SCOPES: u16 = 2;

pub struct Watches {
    pods: Watched<PodMeta>,
    replica_sets: Watched<ObjectMeta>,
    jobs: Watched<ObjectMeta>,
}

/// The watches of one kind, and what they have sent.
struct Watched<T> {
    watches: Vec<Watch<T>>,
    sent: Lists<T>,
}

/// A watch of one scope.
enum Watch<T> {
    /// It does not see what happens.
    Away,
    /// It has a list to send, and after that what has happened since.
    Listing(VecDeque<T>, Vec<Event<T>>),
    Following,
}

/// The kind and scope of a watch.
#[derive(Clone, Copy)]
enum Of {
    Pods(Scope),
    Owners(OwnerSort, Scope),
}

impl Source for Watches {
    const PARTS: usize = 6;
    const SENDS_DIFFERENCES: bool = true;

    fn start(settings: Settings) -> (Core, Self, Option<Generation>) {
        let active = SourceKind::Native;
        let mut core = Core::with(Recorder::wired(), Settings { active, ..settings });
        let feed = core.feeds.open_native(SCOPES, core.now);
        let watches = Self {
            pods: Watched::new(),
            replica_sets: Watched::new(),
            jobs: Watched::new(),
        };
        (core, watches, Some(feed))
    }

    fn sees(&mut self, change: Change) -> Vec<Word> {
        match change {
            Change::Pod(event) => self
                .pods
                .sees(event)
                .map(|(scope, one)| self.pod(scope, one)),
            Change::Owner(sort, event) => self
                .owners(sort)
                .sees(event)
                .map(|(scope, one)| self.owner(sort, scope, one)),
        }
        .into_iter()
        .collect()
    }

    fn cut(&mut self, at: usize) -> Vec<Word> {
        match of(at) {
            Of::Pods(scope) => self.pods.cut(scope),
            Of::Owners(sort, scope) => self.owners(sort).cut(scope),
        }
        Vec::new()
    }

    fn list(&mut self, at: usize, cluster: &Cluster) -> Vec<Word> {
        vec![match of(at) {
            Of::Pods(scope) => {
                self.pods.list(scope, &cluster.pods);
                self.pod(scope, Event::Init)
            }
            Of::Owners(sort, scope) => {
                self.owners(sort).list(scope, cluster.owners(sort));
                self.owner(sort, scope, Event::Init)
            }
        }]
    }

    fn step(&mut self, at: usize) -> Vec<Word> {
        match of(at) {
            Of::Pods(scope) => {
                let events = self.pods.step(scope).into_iter();
                events.map(|one| self.pod(scope, one)).collect()
            }
            Of::Owners(sort, scope) => {
                let events = self.owners(sort).step(scope).into_iter();
                events.map(|one| self.owner(sort, scope, one)).collect()
            }
        }
    }

    fn has_news(&self, at: usize, cluster: &Cluster) -> bool {
        match of(at) {
            Of::Pods(scope) => self.pods.has_news(scope, &cluster.pods),
            Of::Owners(OwnerSort::ReplicaSet, scope) => {
                self.replica_sets.has_news(scope, &cluster.replica_sets)
            }
            Of::Owners(OwnerSort::Job, scope) => self.jobs.has_news(scope, &cluster.jobs),
        }
    }

    fn known(&self) -> BTreeMap<Uid, PodMeta> {
        self.pods.sent.known.clone()
    }

    /// Its parts list and are cut each by itself.
    fn is_current(&self) -> bool {
        false
    }

    fn owner_as_sent(owner: &ObjectMeta) -> ObjectMeta {
        owner.clone()
    }

    fn as_sent(pod: &PodMeta) -> PodMeta {
        pod.clone()
    }
}

impl Watches {
    fn owners(&mut self, sort: OwnerSort) -> &mut Watched<ObjectMeta> {
        match sort {
            OwnerSort::ReplicaSet => &mut self.replica_sets,
            OwnerSort::Job => &mut self.jobs,
        }
    }

    fn pod(&mut self, scope: Scope, event: Event<PodMeta>) -> Word {
        let of_list = is_of_list(&event);
        let facts = Facts::Pods(self.pods.sent.take(scope, event.clone()));
        Word::Sends {
            scope,
            of_list,
            input: Input::Pod(event),
            facts,
        }
    }

    fn owner(&mut self, sort: OwnerSort, scope: Scope, event: Event<ObjectMeta>) -> Word {
        let of_list = is_of_list(&event);
        let facts = Facts::Owners(self.owners(sort).sent.take(scope, event.clone()));
        Word::Sends {
            scope,
            of_list,
            input: Input::Owner(sort, event),
            facts,
        }
    }
}

impl<T: HasUid + Clone + PartialEq> Watched<T> {
    fn new() -> Self {
        Self {
            watches: (0..SCOPES).map(|_| Watch::Away).collect(),
            sent: Lists::new(),
        }
    }

    /// Something has happened in the cluster. Returns what a watch reports of it at once.
    fn sees(&mut self, event: Event<T>) -> Option<(Scope, Event<T>)> {
        let (Event::Apply(object) | Event::Delete(object)) = &event else {
            return None;
        };
        let scope = scope_of(object.uid());
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

    /// A watch begins to list, whatever it did before.
    fn list(&mut self, scope: Scope, now: &BTreeMap<Uid, T>) {
        let there = in_scope(now, scope).cloned().collect();
        self.watches[usize::from(scope.0)] = Watch::Listing(there, Vec::new());
    }

    /// A watch that lists sends the next object, or that it is done and what happened meanwhile.
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

    /// Whether a list would send anything that was not sent.
    fn has_news(&self, scope: Scope, now: &BTreeMap<Uid, T>) -> bool {
        !in_scope(now, scope).eq(in_scope(&self.sent.known, scope))
    }
}

fn in_scope<T>(objects: &BTreeMap<Uid, T>, scope: Scope) -> impl Iterator<Item = &T> {
    let objects = objects.iter();
    let inside = objects.filter(move |(uid, _)| scope_of(uid) == scope);
    inside.map(|(_, object)| object)
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
