//! The endless life of a simulated cluster, from a seed: Deployments roll, CronJobs fire,
//! containers restart, pods die, nodes drain; and most events change nothing that matters.
//!
//! Pure. Invariants: one step is one change in the store. The same seed lives the same life. What
//! is replaced is replaced one by one, so the number of pods stays about the same.

mod scenarios;

use std::{collections::VecDeque, sync::Arc};

use self::scenarios::Scenario;
use super::{
    objects::{Container, Meta, Object, Owner, Phase, Pod},
    store::{Key, Store, key},
};
use crate::{
    model::Kind,
    sim::cluster::{self, Cluster, container_id, mix, uuid},
};

/// Nodes of the cluster.
const NODES: u32 = 500;

/// So many stories go on at once.
const SCENARIOS: usize = 8;

/// What happens how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mix {
    /// So many of 100 events are status updates of a pod that change nothing that matters.
    pub idle: u8,
    /// Weight of: a Deployment gets a new ReplicaSet, all its pods are replaced.
    pub rolls: u32,
    /// Weight of: a CronJob starts a Job, whose pod runs to its end.
    pub jobs: u32,
    /// Weight of: a container ends and runs again under another id.
    pub restarts: u32,
    /// Weight of: a pod is deleted, and another one takes its place.
    pub deaths: u32,
    /// Weight of: a node loses some of its pods at once.
    pub drains: u32,
    /// Weight of: somebody attaches a container to a pod.
    pub visits: u32,
    /// Weight of: a pod is gone with one event, and with one event another one runs.
    pub swaps: u32,
}

impl Default for Mix {
    /// What a busy cluster looks like.
    fn default() -> Self {
        Self {
            idle: 80,
            rolls: 4,
            jobs: 6,
            restarts: 6,
            deaths: 8,
            drains: 1,
            visits: 1,
            swaps: 0,
        }
    }
}

impl Mix {
    /// 80 % updates that change nothing, 10 % adds and 10 % deletes.
    pub fn swaps() -> Self {
        Self {
            idle: 80,
            rolls: 0,
            jobs: 0,
            restarts: 0,
            deaths: 0,
            drains: 0,
            visits: 0,
            swaps: 1,
        }
    }
}

/// Who lives in a cluster at the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Population {
    /// Seed, ReplicaSets, pods in all, and containers of each. One pod of twenty belongs to a
    /// StatefulSet, a DaemonSet, a controller of another API group, or nobody.
    pub cluster: Cluster,
    /// All is in so many namespaces; at least one.
    pub namespaces: u32,
    /// CronJobs, without any Jobs yet.
    pub cron_jobs: u32,
}

impl Population {
    /// One of usual proportions.
    pub fn new(cluster: Cluster) -> Self {
        Self {
            cluster,
            namespaces: 200,
            cron_jobs: cluster.pods.div_ceil(500),
        }
    }
}

/// Who lives in a cluster, and what is going on.
#[derive(Debug)]
pub struct Churn {
    dice: Dice,
    mix: Mix,
    shape: Population,
    workloads: Vec<Workload>,
    scenarios: Vec<Scenario>,
    born: u32,
}

/// Something that has pods.
#[derive(Debug)]
struct Workload {
    sort: Sort,
    namespace: Arc<str>,
    name: String,
    uid: String,
    /// Goes up with each roll.
    release: u32,
    /// The pods' direct owner; `None` for bare pods, and for a CronJob without Job.
    owner: Option<Owner>,
    /// Its ReplicaSets or Jobs, oldest first; the last one owns the pods that come.
    sets: VecDeque<Key>,
    pods: Vec<Member>,
    /// Created and not started.
    pending: VecDeque<Key>,
    /// It is in a story.
    busy: bool,
}

#[derive(Clone, Debug)]
struct Member {
    key: Key,
    node: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Deployment,
    CronJob,
    StatefulSet,
    DaemonSet,
    Custom,
    Bare,
}

impl Churn {
    /// Fills a store, and is ready to go on from there.
    pub fn begin(shape: Population, mix: Mix, store: &mut Store) -> Self {
        let mut churn = Self {
            dice: Dice::new(shape.cluster.seed),
            mix,
            shape,
            workloads: Vec::new(),
            scenarios: Vec::new(),
            born: shape.cluster.pods,
        };
        let others = match shape.cluster.replica_sets {
            0 => shape.cluster.pods,
            _ => shape.cluster.pods / 20,
        };
        churn.deployments(shape.cluster.pods - others, store);
        churn.others(others, store);
        for number in 0..shape.cron_jobs {
            let workload = churn.workload(Sort::CronJob, &format!("nightly-{number}"), number);
            churn.workloads.push(workload);
        }
        churn
    }

    /// Lets one thing happen: one change in the store. `false` if nobody lives there.
    pub fn step(&mut self, store: &mut Store) -> bool {
        if self.dice.below(100) < u32::from(self.mix.idle) && self.idle(store) {
            return true;
        }
        // Acts that have become pointless change nothing.
        for _ in 0..1_000 {
            while self.scenarios.len() < SCENARIOS
                && let Some(scenario) = self.next_story(store)
            {
                self.scenarios.push(scenario);
            }
            let Some(at) = self.dice.pick(self.scenarios.len()) else {
                break;
            };
            let act = self.scenarios.get_mut(at).and_then(Scenario::pop_front);
            match act {
                None => drop(self.scenarios.swap_remove(at)),
                Some(act) => {
                    if self.act(act, store) {
                        return true;
                    }
                }
            }
        }
        self.idle(store)
    }

    /// A status update that changes nothing that matters.
    fn idle(&mut self, store: &mut Store) -> bool {
        for _ in 0..100 {
            let workload = self.dice.pick(self.workloads.len());
            let Some(workload) = workload.and_then(|at| self.workloads.get(at)) else {
                return false;
            };
            let member = self.dice.pick(workload.pods.len());
            if let Some(member) = member.and_then(|at| workload.pods.get(at)) {
                return store.touch(Kind::POD, &member.key).is_some();
            }
        }
        false
    }

    /// Deployments with a ReplicaSet each, and so many pods.
    fn deployments(&mut self, pods: u32, store: &mut Store) {
        let Population { cluster, .. } = self.shape;
        for number in 0..cluster.replica_sets {
            let namespace = self.namespace(number);
            let name = cluster::replica_set_name(number);
            let set = Object::from_info(&cluster.replica_set(number), &namespace, &name);
            let Some(Object::Plain(_, meta)) = set else {
                continue;
            };
            let deployment = meta.controller().cloned();
            let mut workload = self.workload(
                Sort::Deployment,
                deployment.as_ref().map_or("", |owner| &*owner.name),
                number,
            );
            workload.uid = deployment.map(|owner| owner.uid).unwrap_or_default();
            workload.owner = Some(Owner::controller("ReplicaSet", &name, &meta.uid));
            workload.sets.push_back(key(&namespace, &name));
            self.workloads.push(workload);
            let app = format!("service-{number}");
            store.apply(Object::replica_set(meta.label("app", &app)));
        }
        for number in 0..pods {
            let set = number.checked_rem(cluster.replica_sets).unwrap_or(0);
            let namespace = self.namespace(set);
            let node = self.node();
            let Some(Object::Pod(mut pod)) = Object::from_info(&cluster.pod(number), "", "") else {
                continue;
            };
            pod.meta.namespace = namespace;
            pod.node = node;
            let pod = pod.label("app", &format!("service-{set}"));
            let key = key(&pod.meta.namespace, &pod.meta.name);
            store.apply(pod);
            if let Some(workload) = self.workloads.get_mut(set as usize) {
                workload.pods.push(Member { key, node });
            }
        }
    }

    /// So many pods of other workloads, about five in each.
    fn others(&mut self, pods: u32, store: &mut Store) {
        let sorts = [Sort::StatefulSet, Sort::DaemonSet, Sort::Custom, Sort::Bare];
        for (number, sort) in (0..pods.div_ceil(5)).zip(sorts.into_iter().cycle()) {
            let name = match sort {
                Sort::StatefulSet => format!("db-{number}"),
                Sort::DaemonSet => format!("agent-{number}"),
                Sort::Custom => format!("clones-{number}"),
                Sort::Bare | Sort::Deployment | Sort::CronJob => format!("bare-{number}"),
            };
            let workload = self.workload(sort, &name, number);
            self.workloads.push(workload);
            let at = self.workloads.len() - 1;
            for ordinal in 0..5.min(pods - number * 5) {
                let name = self.pod_name(at, Some(ordinal));
                self.add_pod(at, name, true, store);
            }
        }
    }

    fn workload(&mut self, sort: Sort, name: &str, number: u32) -> Workload {
        let uid = self.dice.uid();
        let owner = match sort {
            Sort::StatefulSet => Some(Owner::controller("StatefulSet", name, &uid)),
            Sort::DaemonSet => Some(Owner::controller("DaemonSet", name, &uid)),
            Sort::Custom => Some(Owner::custom(
                "apps.kruise.io/v1alpha1",
                "CloneSet",
                name,
                &uid,
            )),
            Sort::Deployment | Sort::CronJob | Sort::Bare => None,
        };
        Workload {
            sort,
            namespace: self.namespace(number),
            name: name.to_owned(),
            uid,
            release: 0,
            owner,
            sets: VecDeque::new(),
            pods: Vec::new(),
            pending: VecDeque::new(),
            busy: false,
        }
    }

    fn namespace(&self, number: u32) -> Arc<str> {
        format!("namespace-{}", number % self.shape.namespaces.max(1)).into()
    }

    fn node(&mut self) -> u16 {
        u16::try_from(self.dice.below(NODES)).unwrap_or_default()
    }

    /// The name of a workload's next pod; only some have ordinals.
    fn pod_name(&mut self, workload: usize, ordinal: Option<u32>) -> String {
        let Some(workload) = self.workloads.get(workload) else {
            return String::new();
        };
        match (workload.sort, ordinal) {
            (Sort::StatefulSet | Sort::Bare, Some(ordinal)) => {
                format!("{}-{ordinal}", workload.name)
            }
            (_, _) => {
                let stem = match &workload.owner {
                    Some(owner) => &owner.name,
                    None => &workload.name,
                };
                format!("{stem}-{}", self.dice.suffix())
            }
        }
    }

    /// Creates a pod of a workload, under its present owner. It runs, or is yet to be started.
    fn add_pod(&mut self, at: usize, name: String, runs: bool, store: &mut Store) -> bool {
        let (node, uid) = (self.node(), self.dice.uid());
        let Some(workload) = self.workloads.get_mut(at) else {
            return false;
        };
        let mut pod = Pod::new(&workload.namespace, &name, &uid).label("app", &workload.name);
        pod.meta.owners.extend(workload.owner.clone());
        pod.phase = Phase::Pending;
        pod.node = node;
        pod.host_network = workload.sort == Sort::DaemonSet;
        let image = format!(
            "registry.example/{}:v1.{}.0",
            workload.name, workload.release
        );
        for nth in 0..self.shape.cluster.containers {
            let container = match nth {
                0 => Container::unreported("app", &image),
                1 => Container::unreported("proxy", "registry.example/mesh/proxy:1.20.3"),
                _ => Container::unreported(&format!("proxy-{nth}"), "registry.example/proxy:1"),
            };
            pod.containers.push(container);
        }
        if at % 8 == 3 {
            let sidecar = Container::unreported("mesh-init", "registry.example/mesh/init:1.20.3");
            pod = pod.init(sidecar);
        }
        let key = key(&workload.namespace, &name);
        let member = Member {
            key: Key::clone(&key),
            node,
        };
        workload.pods.push(member);
        if runs {
            self.started(&mut pod);
        } else {
            workload.pending.push_back(key);
        }
        store.apply(pod);
        true
    }

    /// What a node makes of a pod.
    fn started(&mut self, pod: &mut Pod) {
        self.born = self.born.wrapping_add(1);
        let [_, a, b, c] = self.born.to_be_bytes();
        pod.addresses = vec![match pod.host_network {
            true => pod.host_address(),
            false => format!("10.{a}.{b}.{c}"),
        }];
        pod.phase = Phase::Running;
        for container in pod.init.iter_mut().chain(&mut pod.containers) {
            container.report = super::objects::Report::Running(self.dice.container_id());
        }
    }

    fn set_meta(&self, workload: &Workload, name: &str, uid: &str) -> Meta {
        let kind = match workload.sort {
            Sort::CronJob => "CronJob",
            Sort::Deployment | Sort::StatefulSet | Sort::DaemonSet | Sort::Custom | Sort::Bare => {
                "Deployment"
            }
        };
        Meta::new(&workload.namespace, name, uid)
            .label("app", &workload.name)
            .of(Owner::controller(kind, &workload.name, &workload.uid))
    }
}

/// Numbers that nobody foresees who does not know the seed.
#[derive(Debug)]
struct Dice {
    seed: u64,
    thrown: u64,
}

impl Dice {
    fn new(seed: u64) -> Self {
        Self {
            seed: mix(seed ^ 0x6c69_6665),
            thrown: 0,
        }
    }

    fn bits(&mut self) -> u64 {
        self.thrown += 1;
        mix(self.seed ^ mix(self.thrown))
    }

    /// Below a bound, which is above 0.
    fn below(&mut self, bound: u32) -> u32 {
        let high = ((self.bits() >> 32) * u64::from(bound)) >> 32;
        u32::try_from(high).unwrap_or_default()
    }

    /// One of so many; `None` of none.
    fn pick(&mut self, len: usize) -> Option<usize> {
        let bound = u32::try_from(len).unwrap_or(u32::MAX);
        (bound > 0).then(|| self.below(bound) as usize)
    }

    fn uid(&mut self) -> String {
        uuid(self.bits(), self.bits())
    }

    fn container_id(&mut self) -> String {
        container_id([self.bits(), self.bits(), self.bits(), self.bits()])
    }

    /// Eight letters, as at the end of pods' names.
    fn suffix(&mut self) -> String {
        const LETTERS: &[u8; 16] = b"bcdfghjklmnpqrst";
        let bits = self.bits();
        let letters = (0..8).map(|nth| (bits >> (4 * nth) & 15) as usize);
        letters
            .filter_map(|letter| LETTERS.get(letter).copied().map(char::from))
            .collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
