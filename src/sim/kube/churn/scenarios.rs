//! What happens, in stories of several acts.

use std::collections::VecDeque;

use super::{Churn, Member, Sort, Workload};
use crate::{
    model::Kind,
    sim::kube::{
        objects::{Container, Object, Owner, Phase, Report},
        store::{Key, Store, key},
    },
};

/// ReplicaSets that a Deployment keeps, the present one among them.
const SETS: usize = 3;

/// Pods that a node loses at once, at most.
const DRAINED: usize = 10;

/// What is still to happen.
pub(super) type Scenario = VecDeque<Act>;

/// One thing that happens. Workloads are numbered.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// A new ReplicaSet or Job, the owner of all pods that come.
    AddOwner(usize),
    /// Another pod; of the same name as one before, if one is given.
    AddPod(usize, Option<String>),
    /// One that runs at once.
    AddRunning(usize, Option<String>),
    /// The oldest pod that has not started starts.
    Start(usize),
    /// A pod is about to be deleted.
    Terminate(Key),
    /// A pod is gone.
    Remove(usize, Key),
    /// The pods of a Job have done their work.
    Finish(usize),
    /// What is left of the oldest Job or ReplicaSet goes.
    RemoveSet(usize),
    /// The first container of a pod runs again.
    Restart(Key),
    /// A pod gets an ephemeral container.
    Visit(Key),
    /// The story of a workload is at its end.
    Rest(usize),
}

impl Churn {
    /// Something that can happen now; `None` if all are busy or nobody lives here.
    pub(super) fn next_story(&mut self, store: &Store) -> Option<Scenario> {
        let mix = self.mix;
        let weights = [
            mix.rolls,
            mix.jobs,
            mix.restarts,
            mix.deaths,
            mix.drains,
            mix.visits,
            mix.swaps,
        ];
        let all: u32 = weights.iter().sum();
        for _ in 0..20 {
            if all == 0 {
                return None;
            }
            let mut left = self.dice.below(all);
            let chosen = weights.iter().position(|&weight| {
                let here = left < weight;
                left = left.saturating_sub(weight);
                here
            });
            let scenario = match chosen {
                Some(0) => self.roll(),
                Some(1) => self.fire(),
                Some(2) => self.on_one_pod(store, Act::Restart),
                Some(3) => self.replace_one(false),
                Some(4) => self.drain(),
                Some(5) => self.on_one_pod(store, Act::Visit),
                _ => self.replace_one(true),
            };
            if scenario.is_some() {
                return scenario;
            }
        }
        None
    }

    /// Does it; `false` if it has become pointless.
    pub(super) fn act(&mut self, act: Act, store: &mut Store) -> bool {
        match act {
            Act::AddOwner(at) => self.add_owner(at, store),
            Act::AddPod(at, name) => self.add_another(at, name, false, store),
            Act::AddRunning(at, name) => self.add_another(at, name, true, store),
            Act::Start(at) => self.start(at, store),
            Act::Terminate(key) => change_pod(store, &key, |pod| pod.meta.terminating = true),
            Act::Remove(at, key) => {
                if let Some(workload) = self.workloads.get_mut(at) {
                    workload.pods.retain(|member| member.key != key);
                }
                store.delete(Kind::POD, &key).is_some()
            }
            Act::Finish(at) => self.finish(at, store),
            Act::RemoveSet(at) => self.remove_set(at, store),
            Act::Restart(key) => {
                let id = self.dice.container_id();
                change_pod(store, &key, |pod| {
                    if let Some(container) = pod.containers.first_mut() {
                        container.report = Report::Running(id);
                        container.restarts += 1;
                    }
                })
            }
            Act::Visit(key) => {
                let id = self.dice.container_id();
                change_pod(store, &key, |pod| {
                    let name = format!("debug-{}", pod.ephemeral.len());
                    let visitor = Container::running(&name, "busybox:1.36", &id);
                    pod.ephemeral.push(visitor);
                })
            }
            Act::Rest(at) => {
                if let Some(workload) = self.workloads.get_mut(at) {
                    workload.busy = false;
                }
                false
            }
        }
    }

    fn roll(&mut self) -> Option<Scenario> {
        let at = self.free(|workload| match workload.sort {
            Sort::Deployment | Sort::StatefulSet | Sort::DaemonSet | Sort::Custom => {
                !workload.pods.is_empty()
            }
            Sort::CronJob | Sort::Bare => false,
        })?;
        let workload = self.workloads.get_mut(at)?;
        workload.release += 1;
        let mut scenario = Scenario::new();
        if workload.sort == Sort::Deployment {
            scenario.push_back(Act::AddOwner(at));
        }
        for member in &workload.pods {
            scenario.extend(replacement(at, workload, member));
        }
        scenario.extend([Act::RemoveSet(at), Act::Rest(at)]);
        Some(scenario)
    }

    fn fire(&mut self) -> Option<Scenario> {
        let at = self.free(|workload| workload.sort == Sort::CronJob)?;
        let workload = self.workloads.get(at)?;
        let mut scenario = Scenario::from([
            Act::AddOwner(at),
            Act::AddPod(at, None),
            Act::Start(at),
            Act::Finish(at),
        ]);
        // The last Job's pods stay to be looked at; those of the one before go with it.
        if !workload.sets.is_empty() {
            scenario.extend(
                workload
                    .pods
                    .first()
                    .map(|old| Act::Remove(at, Key::clone(&old.key))),
            );
        }
        scenario.extend([Act::RemoveSet(at), Act::Rest(at)]);
        Some(scenario)
    }

    fn replace_one(&mut self, at_once: bool) -> Option<Scenario> {
        let at =
            self.free(|workload| workload.sort != Sort::CronJob && !workload.pods.is_empty())?;
        let workload = self.workloads.get(at)?;
        let member = workload.pods.get(self.dice.pick(workload.pods.len())?)?;
        let mut scenario: Scenario = if at_once {
            let key = Key::clone(&member.key);
            let name = kept_name(workload, member);
            [Act::Remove(at, key), Act::AddRunning(at, name)].into()
        } else {
            replacement(at, workload, member).into()
        };
        scenario.push_back(Act::Rest(at));
        Some(scenario)
    }

    /// Some pods of a node, of several workloads, go at once and come elsewhere.
    fn drain(&mut self) -> Option<Scenario> {
        let node = self.node();
        let (mut gone, mut back) = (Scenario::new(), Scenario::new());
        for (at, workload) in self.workloads.iter_mut().enumerate() {
            let here = |member: &&Member| member.node == node;
            let Some(member) = workload.pods.iter().find(here) else {
                continue;
            };
            if workload.busy || workload.sort == Sort::CronJob || gone.len() >= 2 * DRAINED {
                continue;
            }
            let acts = replacement(at, workload, member);
            let (before, after): (Vec<_>, Vec<_>) = acts
                .into_iter()
                .partition(|act| matches!(act, Act::Terminate(_) | Act::Remove(..)));
            gone.extend(before);
            back.extend(after);
            back.push_back(Act::Rest(at));
            workload.busy = true;
        }
        gone.extend(back);
        (!gone.is_empty()).then_some(gone)
    }

    /// Something that happens to a pod which runs.
    fn on_one_pod(&mut self, store: &Store, act: fn(Key) -> Act) -> Option<Scenario> {
        let at = self.dice.pick(self.workloads.len())?;
        let workload = self.workloads.get(at)?;
        let member = workload.pods.get(self.dice.pick(workload.pods.len())?)?;
        let pod = store.get(Kind::POD, &member.key)?.object.pod()?;
        let runs = pod.phase == Phase::Running && pod.ephemeral.len() < 3;
        runs.then(|| Scenario::from([act(Key::clone(&member.key))]))
    }

    /// A workload that is in no story, and is in one from now on.
    fn free(&mut self, fits: impl Fn(&Workload) -> bool) -> Option<usize> {
        for _ in 0..50 {
            let at = self.dice.pick(self.workloads.len())?;
            let workload = self.workloads.get_mut(at)?;
            if !workload.busy && fits(workload) {
                workload.busy = true;
                return Some(at);
            }
        }
        None
    }

    fn add_owner(&mut self, at: usize, store: &mut Store) -> bool {
        let (uid, suffix) = (self.dice.uid(), self.dice.suffix());
        let Some(workload) = self.workloads.get(at) else {
            return false;
        };
        let name = format!("{}-{suffix}", workload.name);
        let meta = self.set_meta(workload, &name, &uid);
        let key = key(&workload.namespace, &name);
        let (kind, object) = match workload.sort {
            Sort::CronJob => ("Job", Object::job(meta)),
            Sort::Deployment | Sort::StatefulSet | Sort::DaemonSet | Sort::Custom | Sort::Bare => {
                ("ReplicaSet", Object::replica_set(meta))
            }
        };
        store.apply(object);
        if let Some(workload) = self.workloads.get_mut(at) {
            workload.owner = Some(Owner::controller(kind, &name, &uid));
            workload.sets.push_back(key);
        }
        true
    }

    fn add_another(
        &mut self,
        at: usize,
        name: Option<String>,
        runs: bool,
        store: &mut Store,
    ) -> bool {
        let name = name.unwrap_or_else(|| self.pod_name(at, None));
        self.add_pod(at, name, runs, store)
    }

    fn start(&mut self, at: usize, store: &mut Store) -> bool {
        let workload = self.workloads.get_mut(at);
        let Some(key) = workload.and_then(|workload| workload.pending.pop_front()) else {
            return false;
        };
        let pod = store.get(Kind::POD, &key).and_then(|s| s.object.pod());
        let Some(mut pod) = pod.cloned() else {
            return false;
        };
        self.started(&mut pod);
        store.apply(pod);
        true
    }

    fn finish(&mut self, at: usize, store: &mut Store) -> bool {
        let member = self.workloads.get(at).and_then(|w| w.pods.last());
        let Some(member) = member else {
            return false;
        };
        change_pod(store, &member.key, |pod| {
            pod.phase = Phase::Succeeded;
            for container in &mut pod.containers {
                if let Report::Running(id) = &mut container.report {
                    container.report = Report::Ended(std::mem::take(id));
                }
            }
        })
    }

    fn remove_set(&mut self, at: usize, store: &mut Store) -> bool {
        let Some(workload) = self.workloads.get_mut(at) else {
            return false;
        };
        let (kind, keep) = match workload.sort {
            Sort::CronJob => (Kind::JOB, 1),
            Sort::Deployment | Sort::StatefulSet | Sort::DaemonSet | Sort::Custom | Sort::Bare => {
                (Kind::REPLICA_SET, SETS)
            }
        };
        if workload.sets.len() <= keep {
            return false;
        }
        let oldest = workload.sets.pop_front();
        oldest.is_some_and(|key| store.delete(kind, &key).is_some())
    }
}

/// How one pod takes the place of another: a pod with a name of its own comes first, one that
/// keeps the name comes after.
fn replacement(at: usize, workload: &Workload, member: &Member) -> [Act; 4] {
    let key = || Key::clone(&member.key);
    let name = kept_name(workload, member);
    let (add, start) = (Act::AddPod(at, name.clone()), Act::Start(at));
    match name {
        Some(_) => [Act::Terminate(key()), Act::Remove(at, key()), add, start],
        None => [add, start, Act::Terminate(key()), Act::Remove(at, key())],
    }
}

/// The name that the next pod must have again.
fn kept_name(workload: &Workload, member: &Member) -> Option<String> {
    let kept = matches!(workload.sort, Sort::StatefulSet | Sort::Bare);
    let name = member.key.split('/').next_back()?;
    kept.then(|| name.to_owned())
}

fn change_pod(
    store: &mut Store,
    key: &Key,
    change: impl FnOnce(&mut crate::sim::kube::objects::Pod),
) -> bool {
    let changed = store.change(Kind::POD, key, |object| {
        if let Object::Pod(pod) = object {
            change(pod);
        }
    });
    changed.is_some()
}
