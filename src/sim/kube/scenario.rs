//! A small cluster and a day in its life, in chapters: what `demo --native` plays.
//!
//! Pure. Each chapter changes the objects; what is expected after it is computed by [`ExpectedState`].
//!
//! [`ExpectedState`]: super::expected_state::ExpectedState

use super::{
    objects::{Container, Meta, Object, Owner, Phase, Pod, Report},
    store::{Store, key},
};
use crate::model::Kind;

/// One thing that happens.
#[derive(Clone, Copy, Debug)]
pub struct Chapter {
    /// What happens, in a few words.
    pub title: &'static str,
    /// Why it is worth a look.
    pub remark: &'static str,
    /// What happens to the objects.
    pub change: fn(&mut Store),
    /// What else happens.
    pub scene: Scene,
}

/// What happens apart from the objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scene {
    /// Nothing.
    Plain,
    /// The API server goes away before the objects change, and comes back with its history
    /// lost.
    ServerRestarts,
    /// The reducer goes away, and comes back without memory.
    ReducerRestarts,
}

/// All chapters in order.
pub fn scenario() -> Vec<Chapter> {
    vec![
        Chapter {
            title: "The relay lists the cluster",
            remark: "Pods name ReplicaSets and Jobs as owners. The relay announces the workload behind them.",
            change: begin,
            scene: Scene::Plain,
        },
        Chapter {
            title: "The web Deployment rolls to a new image",
            remark: "New pods of a new ReplicaSet come, the old ones go. The workload stays the same.",
            change: roll,
            scene: Scene::Plain,
        },
        Chapter {
            title: "The nightly CronJob fires, and a container of web crashes",
            remark: "The Job's pod runs to its end. The container runs again under another id, which no line shows.",
            change: fire,
            scene: Scene::Plain,
        },
        Chapter {
            title: "The API server is away, and comes back without its history",
            remark: "Meanwhile one pod has gone and one is new. The watch is answered 410; the relay lists again and sends the difference.",
            change: |store| {
                store.delete(Kind::POD, &key("shop", "debug"));
                store.apply(pod("logging", "agent-z7", "agent=fluent-bit:3.1").of(agent()));
            },
            scene: Scene::ServerRestarts,
        },
        Chapter {
            title: "The reducer restarts and has forgotten everything",
            remark: "The relay sends everything from memory. The API server notices nothing.",
            change: |_| {},
            scene: Scene::ReducerRestarts,
        },
        Chapter {
            title: "The nightly Job is cleaned up",
            remark: "After both restarts, life goes on over the same watches.",
            change: |store| {
                store.delete(Kind::POD, &key("shop", "nightly-2891-x"));
                store.delete(Kind::JOB, &key("shop", "nightly-2891"));
            },
            scene: Scene::Plain,
        },
    ]
}

fn begin(store: &mut Store) {
    store.apply(Object::replica_set(controlled(
        "web-5d4f",
        "Deployment",
        "web",
    )));
    for letter in ["a", "b"] {
        store.apply(web("web-5d4f", letter, "app=nginx:1.25"));
    }
    store.apply(pod("logging", "agent-k2", "agent=fluent-bit:3.1").of(agent()));
    let train = Owner::custom("batch.volcano.sh/v1", "Job", "train", "uid-of-train");
    store.apply(pod("shop", "train-0", "train=pytorch:2.4").of(train));
    store.apply(pod("shop", "debug", "sh=busybox:1.36"));
}

fn roll(store: &mut Store) {
    store.apply(Object::replica_set(controlled(
        "web-9b21",
        "Deployment",
        "web",
    )));
    for (new, old) in [("c", "a"), ("d", "b")] {
        store.apply(web("web-9b21", new, "app=nginx:1.27"));
        store.delete(Kind::POD, &key("shop", &format!("web-5d4f-{old}")));
    }
}

fn fire(store: &mut Store) {
    store.apply(Object::job(controlled(
        "nightly-2891",
        "CronJob",
        "nightly",
    )));
    let nightly = owner("Job", "nightly-2891");
    let mut run = pod("shop", "nightly-2891-x", "report=report:7").of(nightly);
    store.apply(run.clone());
    run.phase = Phase::Succeeded;
    for container in &mut run.containers {
        container.report = Report::Ended(id("nightly-2891-x/report"));
    }
    store.apply(run);
    store.change(Kind::POD, &key("shop", "web-9b21-c"), |object| {
        if let Object::Pod(pod) = object
            && let Some(container) = pod.containers.first_mut()
        {
            container.report = Report::Running(id("web-9b21-c/app again"));
            container.restarts += 1;
        }
    });
}

/// A pod of web with the sidecar of its mesh.
fn web(set: &str, letter: &str, container: &str) -> Pod {
    let name = format!("{set}-{letter}");
    let sidecar = Container::running("mesh", "envoy:1.31", &id(&format!("{name}/mesh")));
    pod("shop", &name, container)
        .of(owner("ReplicaSet", set))
        .init(sidecar)
}

/// A pod with one container, given as `name=image`.
fn pod(namespace: &str, name: &str, container: &str) -> Pod {
    let (container, image) = container.split_once('=').unwrap_or((container, ""));
    Pod::new(namespace, name, &format!("uid-of-{name}"))
        .address("10.0.0.1")
        .container(container, image, &id(&format!("{name}/{container}")))
}

/// A ReplicaSet or Job and who controls it.
fn controlled(name: &str, kind: &str, controller: &str) -> Meta {
    Meta::new("shop", name, &format!("uid-of-{name}")).of(owner(kind, controller))
}

fn agent() -> Owner {
    owner("DaemonSet", "agent")
}

fn owner(kind: &str, name: &str) -> Owner {
    Owner::controller(kind, name, &format!("uid-of-{name}"))
}

/// An id that shows whose it is.
fn id(of: &str) -> String {
    format!("containerd://{of}")
}
