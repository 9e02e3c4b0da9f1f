//! A small cluster and a day in its life, in chapters: what the demo plays.
//!
//! Pure. Each chapter says what a watcher sends in it and what a reducer must know after it. That
//! expected state is written by hand, under the owners a person would name; nothing of it comes
//! from the relay.

use std::{collections::BTreeMap, fmt};

use crate::{
    proto::{
        ContainerInfo, Info, OwnerInfo, PodInfo, ReplicaSetInfo,
        info::{Event, Type},
    },
    sim::{
        cluster::sent_as,
        reducer_state::{self, ReducerState},
    },
};

/// What should be known of each pod, by uid.
pub type ExpectedState = BTreeMap<String, Known>;

/// What a reader wants to know of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// `namespace/name`.
    pub pod: String,
    /// Kind and name of the workload, or `no owner`.
    pub owner: String,
    /// `name=image` of each container.
    pub containers: Vec<String>,
}

/// One thing that happens.
#[derive(Clone, Debug)]
pub struct Chapter {
    /// What happens, in a few words.
    pub title: &'static str,
    /// Why it is worth a look.
    pub remark: &'static str,
    /// What happens, exactly.
    pub event: Happening,
    /// What the reducer knows afterwards.
    pub expected_state: ExpectedState,
}

/// What a chapter is about.
#[derive(Clone, Debug)]
pub enum Happening {
    /// The watcher sends this.
    Sent(Vec<Info>),
    /// The reducer restarts and has forgotten everything.
    ReducerRestarts,
}

/// All chapters in order.
pub fn scenario() -> Vec<Chapter> {
    let mut cluster = Cluster::default();
    vec![
        cluster.chapter(
            "A watcher lists its cluster",
            "Pods name ReplicaSets and Jobs as owners. The relay announces the workload behind them.",
            |c| {
                c.controlled(Type::K8sReplicaset, "web-5d4f", "Deployment", "web");
                c.controlled(Type::K8sJob, "nightly-2891", "CronJob", "nightly");
                c.add(pod("shop", "web-5d4f-a", &["app=nginx:1.25", "mesh=envoy:1.31"]).of("ReplicaSet", "web-5d4f"), "Deployment web");
                c.add(pod("shop", "web-5d4f-b", &["app=nginx:1.25", "mesh=envoy:1.31"]).of("ReplicaSet", "web-5d4f"), "Deployment web");
                c.add(pod("shop", "nightly-2891-x", &["report=report:7"]).of("Job", "nightly-2891"), "CronJob nightly");
                c.add(pod("logging", "agent-k2", &["agent=fluent-bit:3.1"]).of("DaemonSet", "agent"), "Other agent");
                c.add(pod("shop", "debug", &["sh=busybox:1.36"]), "no owner");
            },
        ),
        cluster.chapter(
            "A pod comes before its ReplicaSet",
            "The relay cannot name its workload yet, so it holds the pod back.",
            |c| c.add_waiting(pod("shop", "api-77aa-q", &["api=api:2.0"]).of("ReplicaSet", "api-77aa")),
        ),
        cluster.chapter(
            "Its ReplicaSet arrives",
            "Now the relay announces the pod, under its Deployment.",
            |c| {
                c.controlled(Type::K8sReplicaset, "api-77aa", "Deployment", "api");
                c.arrived("api-77aa-q", "Deployment api");
            },
        ),
        cluster.chapter(
            "The web Deployment rolls to a new image",
            "New pods of a new ReplicaSet come, the old ones go. The workload stays the same.",
            |c| {
                c.controlled(Type::K8sReplicaset, "web-9b21", "Deployment", "web");
                for letter in ["c", "d"] {
                    let name = format!("web-9b21-{letter}");
                    c.add(pod("shop", &name, &["app=nginx:1.27", "mesh=envoy:1.31"]).of("ReplicaSet", "web-9b21"), "Deployment web");
                }
                c.remove("web-5d4f-a");
                c.remove("web-5d4f-b");
            },
        ),
        Chapter {
            title: "The reducer restarts and has forgotten everything",
            remark: "The relay connects again and sends everything from memory. The watcher notices nothing.",
            event: Happening::ReducerRestarts,
            expected_state: cluster.expected_state.clone(),
        },
        cluster.chapter(
            "The nightly Job is done, and debug is deleted",
            "After the restart, life goes on over the same watcher stream.",
            |c| {
                c.remove("nightly-2891-x");
                c.remove("debug");
            },
        ),
    ]
}

/// What a mock reducer knows, in the form of the expected state.
pub fn known(reducer_state: &ReducerState) -> ExpectedState {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let pods = reducer_state.sorted().into_iter();
    pods.map(|(uid, pod)| (text(uid), Known::of(pod))).collect()
}

impl Known {
    fn of(pod: &reducer_state::Pod) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let kind = match pod.owner_kind {
            0 => "ReplicaSet",
            1 => "Deployment",
            2 => "Job",
            3 => "CronJob",
            254 => "no owner",
            _ => "Other",
        };
        let owner = match kind {
            "no owner" => kind.to_owned(),
            _ => format!("{kind} {}", text(pod.owner_name())),
        };
        let containers = pod.containers().iter();
        Self {
            pod: format!("{}/{}", text(pod.ns()), text(pod.pod_name())),
            owner,
            containers: containers
                .map(|c| format!("{}={}", text(c.name()), text(c.image())))
                .collect(),
        }
    }
}

impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<20} {:<16} {}",
            self.pod,
            self.owner,
            self.containers.join(", ")
        )
    }
}

/// The cluster while the story is being written.
#[derive(Default)]
struct Cluster {
    pods: BTreeMap<String, PodInfo>,
    expected_state: ExpectedState,
    sent: Vec<Info>,
}

impl Cluster {
    fn chapter(
        &mut self,
        title: &'static str,
        remark: &'static str,
        write: impl FnOnce(&mut Self),
    ) -> Chapter {
        write(self);
        let event = Happening::Sent(std::mem::take(&mut self.sent));
        Chapter {
            title,
            remark,
            event,
            expected_state: self.expected_state.clone(),
        }
    }

    /// A ReplicaSet or Job and the workload that controls it.
    fn controlled(&mut self, r#type: Type, name: &str, kind: &str, controller: &str) {
        let owner = Some(owner(kind, controller));
        let object = ReplicaSetInfo {
            uid: uid(name),
            owner,
        };
        let info = Info {
            r#type: r#type.into(),
            ..Info::default()
        };
        self.sent.push(match r#type {
            Type::K8sJob => Info {
                job_info: Some(job(object)),
                ..info
            },
            Type::K8sReplicaset | Type::K8sPod => Info {
                rs_info: Some(object),
                ..info
            },
        });
    }

    /// A pod that is announced at once, under `workload`.
    fn add(&mut self, pod: PodInfo, workload: &str) {
        let name = pod.name.clone();
        self.add_waiting(pod);
        self.arrived(&name, workload);
    }

    /// A pod that cannot be announced yet.
    fn add_waiting(&mut self, pod: PodInfo) {
        self.pods.insert(pod.name.clone(), pod.clone());
        self.sent.push(pod_info(pod));
    }

    fn arrived(&mut self, name: &str, workload: &str) {
        let Some(pod) = self.pods.get(name) else {
            return;
        };
        let containers = pod.container_infos.iter();
        let known = Known {
            pod: format!("{}/{}", pod.ns, pod.name),
            owner: workload.to_owned(),
            containers: containers
                .map(|c| format!("{}={}", c.name, c.image))
                .collect(),
        };
        self.expected_state.insert(pod.uid.clone(), known);
    }

    fn remove(&mut self, name: &str) {
        if let Some(pod) = self.pods.remove(name) {
            self.expected_state.remove(&pod.uid);
            self.sent.push(sent_as(Event::Deleted, pod_info(pod)));
        }
    }
}

impl PodInfo {
    fn of(self, kind: &str, name: &str) -> Self {
        Self {
            owner: Some(owner(kind, name)),
            ..self
        }
    }
}

/// A pod with containers given as `name=image`.
fn pod(ns: &str, name: &str, containers: &[&str]) -> PodInfo {
    let containers = containers.iter().filter_map(|text| text.split_once('='));
    PodInfo {
        uid: uid(name),
        ip: "10.0.0.1".to_owned(),
        ns: ns.to_owned(),
        name: name.to_owned(),
        container_infos: containers
            .map(|(container, image)| ContainerInfo {
                id: format!("containerd://{}", uid(&format!("{name}/{container}"))),
                name: container.to_owned(),
                image: image.to_owned(),
            })
            .collect(),
        ..PodInfo::default()
    }
}

fn pod_info(pod: PodInfo) -> Info {
    Info {
        r#type: Type::K8sPod.into(),
        pod_info: Some(pod),
        ..Info::default()
    }
}

fn job(object: ReplicaSetInfo) -> crate::proto::JobInfo {
    crate::proto::JobInfo {
        uid: object.uid,
        owner: object.owner,
    }
}

fn owner(kind: &str, name: &str) -> OwnerInfo {
    OwnerInfo {
        uid: uid(name),
        name: name.to_owned(),
        kind: kind.to_owned(),
    }
}

/// A uid that shows whose it is.
fn uid(name: &str) -> String {
    format!("uid-of-{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_story_shows_every_kind_of_workload_and_ends_with_fewer_pods_than_it_had() {
        let scenario = scenario();
        let owners: Vec<_> = scenario
            .iter()
            .flat_map(|c| c.expected_state.values())
            .map(|k| &*k.owner)
            .collect();
        for owner in [
            "Deployment web",
            "CronJob nightly",
            "Other agent",
            "no owner",
        ] {
            assert!(owners.contains(&owner), "nobody has {owner}");
        }
        let pods: Vec<_> = scenario
            .iter()
            .map(|chapter| chapter.expected_state.len())
            .collect();
        assert_eq!(pods, [5, 5, 6, 6, 6, 4]);
    }
}
