//! A watcher of old: one `Collect` stream at a time, on which all kinds are listed and followed.
//! What it says goes through the bytes of Infos and the merging of the legacy source.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use k8s_relay::{
    feeds::{Input, Settings},
    matcher::{Generation, OwnerSort, Reannounce},
    model::{Controller, HasUid, ObjectMeta, Owner, OwnerRef, Pod, PodMeta, Scope, Seed, Uid},
    proto::{
        ContainerInfo, Info, JobInfo, OwnerInfo, PodInfo, ReplicaSetInfo,
        info::{Event as Verb, Type},
    },
    source::{
        FeedEvent,
        legacy::{
            info,
            merge::{Merger, Merging},
        },
    },
};
use kube::runtime::watcher::Event;
use prost::Message as _;

use super::{Change, Cluster, Facts, Source, Word};
use crate::support::{
    core::{Core, Recorder},
    lists::Fact,
};

pub struct Stream {
    merging: Merging,
    is_open: bool,
    pods_first: bool,
    merger: Merger,
    /// What is to be sent yet: the rest of the lists, and what has happened since.
    later: VecDeque<Change>,
    /// Objects that this stream has sent.
    sent: BTreeSet<Uid>,
    /// Pods as merged. They outlive the stream, until the next one is opened.
    known: BTreeMap<Uid, PodMeta>,
}

impl Source for Stream {
    const PARTS: usize = 1;
    const SENDS_DIFFERENCES: bool = false;

    fn start(settings: Settings) -> (Core, Self, Option<Generation>) {
        let core = Core::with(Recorder::wired(), settings);
        let merging = match settings.reannounce {
            Reannounce::Never => Merging::NothingClears,
            Reannounce::OnChange => Merging::WholeObject,
        };
        (core, Self::closed(merging), None)
    }

    fn sees(&mut self, change: Change) -> Vec<Word> {
        if !self.is_open {
            return Vec::new();
        }
        if !self.later.is_empty() {
            self.later.push_back(change);
            return Vec::new();
        }
        self.send(change)
    }

    fn cut(&mut self, _: usize) -> Vec<Word> {
        match std::mem::replace(&mut self.is_open, false) {
            true => vec![Word::Closed],
            false => Vec::new(),
        }
    }

    /// Its stream is opened again, and all is listed: every second time the pods come first.
    fn list(&mut self, at: usize, cluster: &Cluster) -> Vec<Word> {
        let mut words = self.cut(at);
        let pods_first = !self.pods_first;
        let pods = cluster.pods.values().cloned();
        let pods = pods.map(|pod| Change::Pod(Event::Apply(pod)));
        let owners = [OwnerSort::ReplicaSet, OwnerSort::Job].map(|sort| {
            let owners = cluster.owners(sort).values().cloned();
            owners.map(move |owner| Change::Owner(sort, Event::Apply(owner)))
        });
        let owners = owners.into_iter().flatten();
        *self = Self {
            is_open: true,
            pods_first,
            later: match pods_first {
                true => pods.chain(owners).collect(),
                false => owners.chain(pods).collect(),
            },
            ..Self::closed(self.merging)
        };
        words.push(Word::Opened);
        words
    }

    fn step(&mut self, _: usize) -> Vec<Word> {
        match self.later.pop_front() {
            Some(next) if self.is_open => self.send(next),
            _ => Vec::new(),
        }
    }

    fn has_news(&self, _: usize, _: &Cluster) -> bool {
        true
    }

    fn known(&self) -> BTreeMap<Uid, PodMeta> {
        self.known.clone()
    }

    fn is_current(&self) -> bool {
        self.is_open && self.later.is_empty()
    }

    fn owner_as_sent(owner: &ObjectMeta) -> ObjectMeta {
        ObjectMeta::new(Owner {
            controller: without_group(owner.controller.as_ref()),
            ..Owner::clone(owner)
        })
    }

    /// No API group is sent.
    fn as_sent(pod: &PodMeta) -> PodMeta {
        let owner = without_group(pod.owner.as_ref());
        PodMeta::new(Pod {
            owner,
            ..Pod::clone(pod)
        })
    }
}

fn without_group(owner: Option<&OwnerRef>) -> Option<OwnerRef> {
    owner.map(|owner| {
        OwnerRef::new(Controller {
            custom: false,
            ..Controller::clone(owner)
        })
    })
}

impl Stream {
    fn closed(merging: Merging) -> Self {
        Self {
            merging,
            is_open: false,
            pods_first: false,
            merger: Merger::new(merging, Seed::FIXED),
            later: VecDeque::new(),
            sent: BTreeSet::new(),
            known: BTreeMap::new(),
        }
    }

    fn send(&mut self, change: Change) -> Vec<Word> {
        let info = self.info(change).encode_to_vec();
        let info = info::Info::read(&info).unwrap();
        let mut events = Vec::new();
        self.merger.apply(info, &mut events, |reason| {
            panic!("{reason:?}");
        });
        events.into_iter().map(|event| self.word(event)).collect()
    }

    fn word(&mut self, event: FeedEvent) -> Word {
        let (input, facts) = match event {
            FeedEvent::Pod(event) => {
                let fact = fact(&event);
                match &fact {
                    Fact::Apply(pod) => drop(self.known.insert(pod.uid.clone(), pod.clone())),
                    Fact::Delete(uid) => drop(self.known.remove(uid)),
                }
                (Input::Pod(event), Facts::Pods(vec![fact]))
            }
            FeedEvent::ReplicaSet(event) => owner(OwnerSort::ReplicaSet, event),
            FeedEvent::Job(event) => owner(OwnerSort::Job, event),
            FeedEvent::Listed => (Input::Listed, Facts::Pods(Vec::new())),
            FeedEvent::Seen(..) => unreachable!("a stream knows no lists"),
        };
        Word::Sends {
            scope: Scope::default(),
            of_list: false,
            input,
            facts,
        }
    }

    /// What a watcher sends: ADDED of what it has not sent, as in its lists.
    fn info(&mut self, change: Change) -> Info {
        let (gone, uid) = match &change {
            Change::Pod(event) => gone(event),
            Change::Owner(_, event) => gone(event),
        };
        let known = match gone {
            true => self.sent.remove(&uid),
            false => !self.sent.insert(uid),
        };
        let verb = match (gone, known) {
            (true, _) => Verb::Deleted,
            (false, false) => Verb::Added,
            (false, true) => Verb::Modified,
        };
        let mut info = Info {
            event: verb.into(),
            ..Info::default()
        };
        match change {
            Change::Pod(Event::Apply(pod) | Event::Delete(pod)) => {
                info.set_type(Type::K8sPod);
                info.pod_info = Some(pod_info(&pod));
            }
            Change::Owner(sort, Event::Apply(object) | Event::Delete(object)) => {
                let (uid, owner) = (object.uid.to_string(), owner_info(&object.controller));
                match sort {
                    OwnerSort::ReplicaSet => {
                        info.set_type(Type::K8sReplicaset);
                        info.rs_info = Some(ReplicaSetInfo { uid, owner });
                    }
                    OwnerSort::Job => {
                        info.set_type(Type::K8sJob);
                        info.job_info = Some(JobInfo { uid, owner });
                    }
                }
            }
            Change::Pod(_) | Change::Owner(..) => unreachable!("a stream knows no lists"),
        }
        info
    }
}

fn owner(sort: OwnerSort, event: Event<ObjectMeta>) -> (Input, Facts) {
    let facts = Facts::Owners(vec![fact(&event)]);
    (Input::Owner(sort, event), facts)
}

fn fact<T: HasUid + Clone>(event: &Event<T>) -> Fact<T> {
    match event {
        Event::Apply(object) => Fact::Apply(object.clone()),
        Event::Delete(object) => Fact::Delete(object.uid().clone()),
        Event::Init | Event::InitApply(_) | Event::InitDone => {
            unreachable!("a stream knows no lists")
        }
    }
}

/// Whether this is a delete, and of what.
fn gone<T: HasUid + Clone>(event: &Event<T>) -> (bool, Uid) {
    match fact(event) {
        Fact::Apply(object) => (false, object.uid().clone()),
        Fact::Delete(uid) => (true, uid),
    }
}

fn pod_info(pod: &PodMeta) -> PodInfo {
    let containers = pod.containers.iter();
    PodInfo {
        uid: pod.uid.to_string(),
        ip: pod
            .address
            .map_or(String::new(), |address| address.to_string()),
        owner: owner_info(&pod.owner),
        ns: pod.namespace.to_string(),
        is_host_network: pod.host_network,
        name: pod.name.to_string(),
        version: pod.version.to_string(),
        container_infos: containers
            .map(|one| ContainerInfo {
                id: one.id.to_string(),
                name: one.name.to_string(),
                image: one.image.to_string(),
            })
            .collect(),
        ..PodInfo::default()
    }
}

fn owner_info(owner: &Option<OwnerRef>) -> Option<OwnerInfo> {
    owner.as_ref().map(|owner| OwnerInfo {
        uid: owner.uid.to_string(),
        name: owner.name.to_string(),
        kind: owner.kind.as_str().to_owned(),
    })
}
