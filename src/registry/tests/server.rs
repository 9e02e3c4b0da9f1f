//! The registry against an API server over HTTP, on good days and bad ones.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;

use super::{
    super::{NativeEdge, Registry, Scope, Settings, WatchHandle},
    labels, profile_of, profiles, settings,
};
use crate::{
    enrich::{
        filter::{Filters, Selection},
        object::{Amounts, Details},
        profile::{Profile, ScopeSetting},
        resource::Resource,
        service::{Objects, StoreState},
        view::{ObjectView, Trouble},
    },
    model::{Kind, Uid},
    sim::kube::{self, Cut, Fault, Object, SimApi, When},
    source::native::{Access, Limits, Options, Timeouts},
};

pub(super) struct World {
    pub(super) api: SimApi,
    dir: TempDir,
}

impl World {
    pub(super) async fn new() -> Self {
        let options = kube::Options {
            kinds: Resource::kinds(),
            ..kube::Options::small()
        };
        let api = SimApi::start(options).await.unwrap();
        let dir = TempDir::new().unwrap();
        let world = Self { api, dir };
        world.write_kubeconfig();
        world
    }

    pub(super) fn access(&self) -> Access {
        Access {
            kubeconfig: Some(self.dir.path().join("config")),
            context: None,
        }
    }

    fn write_kubeconfig(&self) {
        let config = self.api.kubeconfig().to_string();
        std::fs::write(self.dir.path().join("config"), config).unwrap();
    }

    /// A registry that does not wait long.
    pub(super) fn registry(&self) -> Registry {
        let edge = NativeEdge::new(self.access(), Limits::default(), options());
        let settings = Settings {
            retry: Duration::from_millis(50),
            ..settings()
        };
        Registry::new(settings, edge)
    }

    pub(super) fn put(&self, resource: Resource, name: &str, more: Value) {
        let kind = resource.find(&Resource::kinds()).unwrap();
        let mut manifest = json!({ "metadata": { "uid": uid(resource, name), "name": name } });
        if resource.namespaced() {
            manifest["metadata"]["namespace"] = "default".into();
        }
        for (key, value) in more.as_object().unwrap() {
            match key.as_str() {
                "labels" | "annotations" => manifest["metadata"][key] = value.clone(),
                _ => manifest[key] = value.clone(),
            }
        }
        self.api.apply(Object::manifest(kind, manifest));
    }
}

pub(super) fn options() -> Options {
    Options {
        timeouts: Timeouts {
            first_retry: Duration::from_millis(10),
            slowest_retry: Duration::from_millis(100),
            ..Timeouts::default()
        },
        ..Options::default()
    }
}

fn uid(resource: Resource, name: &str) -> String {
    format!("{resource}-{name}")
}

fn kind(resource: Resource) -> Kind {
    resource.find(&Resource::kinds()).unwrap()
}

/// A profile that needs every kind.
fn of_everything() -> Profile {
    Profile {
        lookups: Resource::ALL.to_vec(),
        watch_linger: Duration::ZERO,
        ..Profile::default()
    }
}

/// Waits for what must come.
pub(super) async fn until(registry: &Registry, what: &str, mut is: impl FnMut(&Registry) -> bool) {
    let mut changes = registry.changes();
    let came = async {
        loop {
            changes.mark_unchanged();
            if is(registry) {
                return;
            }
            changes.changed().await.unwrap();
        }
    };
    let came = timeout(Duration::from_secs(60), came).await;
    came.unwrap_or_else(|_| panic!("{what}: {:#?}", registry.stores()));
}

fn are_ready(registry: &Registry) -> bool {
    let stores = registry.stores();
    stores.iter().all(|row| row.state == StoreState::Ready)
}

#[tokio::test]
async fn what_is_kept_of_each_kind_is_what_its_objects_say() {
    let world = World::new().await;
    for resource in Resource::ALL {
        let labels = json!({ "labels": { "kind": resource.key() } });
        world.put(resource, "one", labels);
    }
    let node = json!({ "status": {
        "addresses": [{ "type": "InternalIP", "address": "10.0.0.1" },
                      { "type": "Hostname", "address": "one.example" }],
        "allocatable": { "cpu": "3500m", "memory": "8Gi" },
    }});
    world.put(Resource::Node, "full", node);
    let service = json!({ "spec": { "selector": { "app": "web" } } });
    world.put(Resource::Service, "full", service);
    let pod = json!({
        "annotations": { "kept": "yes", "dropped": "no" },
        "spec": {
            "nodeName": "n1", "hostNetwork": true,
            "containers": [{ "name": "app", "image": "web:1",
                             "resources": { "limits": { "cpu": "100m", "memory": "64Mi" } } }],
            "initContainers": [{ "name": "first", "image": "init:1" }],
            "ephemeralContainers": [{ "name": "shell", "image": "busybox" }],
        },
        "status": {
            "phase": "Failed", "podIP": "10.1.0.1", "startTime": "2026-11-30T08:00:00Z",
            "podIPs": [{ "ip": "10.1.0.1" }, { "ip": "fd00::1" }],
            "containerStatuses": [{ "name": "app", "containerID": "containerd://aa",
                                    "imageID": "web@sha256:0", "image": "web:1" }],
            "ephemeralContainerStatuses": [{ "name": "shell", "containerID": "containerd://bb" }],
        },
    });
    world.put(Resource::Pod, "full", pod);
    let registry = world.registry();
    let kept = Selection::Literal(["kept".into()].into());
    let main = Filters {
        include_annotations: Some(kept),
        ..Filters::default()
    };
    let profile = Profile {
        main,
        ..of_everything()
    };
    registry.apply(&profiles(&[("default", profile)]));
    until(&registry, "all kinds are listed", are_ready).await;
    assert_eq!(registry.stores().len(), Resource::ALL.len());
    let view = registry.view();
    for resource in Resource::ALL {
        let uid = Uid::new(&uid(resource, "one"));
        let found = view.by_uid(resource, &uid).expect("each kind has one");
        let label = found.object.labels.get("kind");
        assert_eq!(label, Some(("kind", resource.key())));
    }
    let node = view.live(Resource::Node, "", "full").unwrap();
    let node = node.node().unwrap();
    assert_eq!(&*node.hostname, "one.example");
    assert_eq!(
        node.allocatable,
        amounts(3.5, 8.0 * 1024.0 * 1024.0 * 1024.0)
    );
    let service = view.live(Resource::Service, "default", "full").unwrap();
    assert_eq!(service.selector().unwrap().get("app"), Some(("app", "web")));
    let deployment = view.live(Resource::Deployment, "default", "one").unwrap();
    assert!(matches!(deployment.details, Details::None));
    let pod = view.live(Resource::Pod, "default", "full").unwrap();
    let annotations: Vec<_> = pod.annotations.iter().collect();
    assert_eq!(annotations, [("kept", "yes")]);
    let details = pod.pod().unwrap();
    assert!(details.host_network && details.finished && details.started.is_some());
    let addresses: Vec<_> = details.addresses().collect();
    assert_eq!(addresses, ["10.1.0.1", "fd00::1"]);
    let names: Vec<_> = details.containers.iter().map(|one| &*one.name).collect();
    assert_eq!(names, ["app", "first", "shell"]);
    assert_eq!(
        details.containers[0].limits,
        amounts(0.1, 64.0 * 1024.0 * 1024.0)
    );
    // Only documents of OpenTelemetry say it.
    assert_eq!(&*details.containers[0].image_id, "");
    assert!(details.containers[1].id.is_empty());
    let shells = view.by_container("bb");
    assert_eq!(&*shells[0].container, "shell");
    registry.stop().await;
}

fn amounts(cores: f64, bytes: f64) -> Amounts {
    Amounts {
        cores: Some(cores),
        bytes: Some(bytes),
    }
}

#[tokio::test]
async fn each_kind_that_is_refused_is_degraded_alone_and_comes_back() {
    let world = World::new().await;
    for resource in Resource::ALL {
        world.put(resource, "one", json!({}));
    }
    for refused in Resource::ALL {
        world.api.deny(kind(refused));
        let registry = world.registry();
        registry.apply(&profiles(&[("default", of_everything())]));
        let expected = |registry: &Registry| {
            registry.stores().iter().all(|row| {
                let state = match row.kind == refused.key() {
                    true => StoreState::Degraded(Trouble::Forbidden),
                    false => StoreState::Ready,
                };
                row.state == state
            })
        };
        until(&registry, refused.key(), expected).await;
        assert!(!registry.view().sync(refused).listed);
        world.api.allow(kind(refused));
        until(&registry, refused.key(), are_ready).await;
        registry.stop().await;
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_and_settings_that_are_not_there_are_a_state() {
    let world = World::new().await;
    world.put(Resource::Pod, "a", json!({}));
    let path = world.access().kubeconfig.unwrap();
    std::fs::remove_file(&path).unwrap();
    world.api.stop_listening().await;
    let registry = world.registry();
    registry.apply(&profiles(&[("default", profile_of(&["state_pod"]))]));
    let unreachable = |registry: &Registry| {
        let away = StoreState::Degraded(Trouble::Unreachable);
        registry.stores().iter().all(|row| row.state == away)
    };
    until(&registry, "there is no kubeconfig", unreachable).await;
    world.write_kubeconfig();
    world.api.start_listening().await.unwrap();
    until(&registry, "both are there", are_ready).await;
    assert!(
        registry
            .view()
            .live(Resource::Pod, "default", "a")
            .is_some()
    );
    // It goes away later: what is known stays.
    world.api.stop_listening().await;
    world.api.reset_connections();
    until(&registry, "it is away again", unreachable).await;
    let sync = registry.view().sync(Resource::Pod);
    assert!(
        sync.listed
            && registry
                .view()
                .live(Resource::Pod, "default", "a")
                .is_some()
    );
    registry.stop().await;
}

#[tokio::test]
async fn to_stop_takes_less_than_a_second_whatever_goes_wrong() {
    let slow = Duration::from_secs(30);
    for fault in [
        Fault::DelayHead(slow),
        Fault::Cut(40, Cut::Stall),
        Fault::EndlessLine,
        Fault::code(403),
        Fault::code(503),
        Fault::NoEvents,
    ] {
        let world = World::new().await;
        world.put(Resource::Pod, "a", json!({}));
        let name = format!("{fault:?}");
        world.api.fault(When::any(), fault);
        let registry = world.registry();
        registry.apply(&profiles(&[("default", of_everything())]));
        let is_asked = |requests: &kube::Requests| {
            Resource::ALL
                .into_iter()
                .any(|one| requests.lists(kind(one)) > 0)
        };
        world.api.wait_until(is_asked).await;
        let begun = Instant::now();
        registry.stop().await;
        assert!(begun.elapsed() < Duration::from_secs(1), "{name}");
    }
}

/// Pods that exist throughout, and how often they were not found.
struct Lookups {
    done: AtomicBool,
    asked: AtomicU64,
    failed: AtomicU64,
}

fn look(registry: &Registry, lookups: &Lookups) {
    let names = (0..50).map(|number| format!("stays-{number}"));
    let pods: Vec<_> = names
        .map(|name| (Uid::new(&uid(Resource::Pod, &name)), name))
        .collect();
    while !lookups.done.load(Relaxed) {
        for (uid, name) in &pods {
            let view = registry.view();
            let by_name = view.live(Resource::Pod, "default", name);
            let by_uid = view.by_uid(Resource::Pod, uid);
            let lives = by_uid.is_some_and(|found| found.deleted_at.is_none());
            let failed = u64::from(by_name.is_none()) + u64::from(!lives);
            lookups.failed.fetch_add(failed, Relaxed);
        }
        lookups.asked.fetch_add(100, Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_lookup_fails_for_what_exists_throughout_whatever_happens_to_the_watches() {
    let world = World::new().await;
    let pod = |node: &str| json!({ "spec": { "nodeName": node }, "labels": { "app": "web" } });
    for number in 0..50 {
        world.put(Resource::Pod, &format!("stays-{number}"), pod("n1"));
    }
    for number in 0..500 {
        world.put(Resource::Pod, &format!("other-{number}"), pod("n2"));
    }
    let registry = world.registry();
    let with = |profile: Profile| profiles(&[("default", profile)]);
    let narrow = Profile {
        scope: ScopeSetting::Node("n1".to_owned()),
        ..profile_of(&["pod"])
    };
    registry.apply(&with(narrow.clone()));
    let all_stay = |registry: &Registry| {
        let view = registry.view();
        (0..50).all(|number| {
            let name = format!("stays-{number}");
            view.live(Resource::Pod, "default", &name).is_some()
        })
    };
    until(&registry, "the pods of the node are known", all_stay).await;
    let lookups = Arc::new(Lookups {
        done: AtomicBool::new(false),
        asked: AtomicU64::new(0),
        failed: AtomicU64::new(0),
    });
    let asking: Vec<_> = (0..2)
        .map(|_| {
            let (registry, lookups) = (registry.clone(), Arc::clone(&lookups));
            std::thread::spawn(move || look(&registry, &lookups))
        })
        .collect();
    let is_there = |name: &'static str| {
        move |registry: &Registry| {
            registry
                .view()
                .live(Resource::Pod, "default", name)
                .is_some()
        }
    };
    let churn = |round: u64| {
        for number in 0..20 {
            world.put(Resource::Pod, &format!("stays-{number}"), pod("n1"));
            let name = format!("short-{round}-{number}");
            world.put(Resource::Pod, &name, pod("n2"));
            world.api.delete(Kind::POD, "default", &name);
        }
    };
    let mut round = 0;
    while lookups.asked.load(Relaxed) < 1_000_000 || round < 2 {
        round += 1;
        // Widening.
        registry.apply(&with(profile_of(&["pod", "state_pod"])));
        churn(round);
        until(&registry, "the other pods are known", is_there("other-0")).await;
        // More is kept: a list alongside the watch.
        let annotations = Selection::Literal(["a".into()].into());
        let richer = Profile {
            main: Filters {
                include_annotations: Some(annotations),
                ..Filters::default()
            },
            ..profile_of(&["pod", "state_pod"])
        };
        registry.apply(&with(richer));
        churn(round);
        // Expired versions, so lists again.
        world.api.compact();
        world.api.end_watches();
        world.api.reset_connections();
        churn(round);
        // An outage, and what happens in it.
        world.api.stop_listening().await;
        world.api.reset_connections();
        churn(round);
        let late = format!("late-{round}");
        world.put(Resource::Pod, &late, pod("n2"));
        world.api.start_listening().await.unwrap();
        let came = |registry: &Registry| {
            registry
                .view()
                .live(Resource::Pod, "default", &late)
                .is_some()
        };
        until(&registry, "what came in the outage is known", came).await;
        until(&registry, "all is well", are_ready).await;
        registry.apply(&with(narrow.clone()));
    }
    lookups.done.store(true, Relaxed);
    asking.into_iter().for_each(|thread| thread.join().unwrap());
    let failed = lookups.failed.load(Relaxed);
    assert_eq!(failed, 0, "of {}", lookups.asked.load(Relaxed));
    registry.stop().await;
}

#[tokio::test]
async fn a_namespace_and_a_node_limit_what_is_asked_for() {
    let world = World::new().await;
    let manifest = |namespace: &str, name: &str| {
        let uid = format!("{namespace}-{name}");
        let metadata = json!({ "uid": uid, "name": name, "namespace": namespace });
        Object::manifest(Kind::POD, json!({ "metadata": metadata, "spec": {} }))
    };
    world.api.apply(manifest("a", "one"));
    world.api.apply(manifest("b", "two"));
    world.api.apply(manifest("c", "three"));
    let registry = world.registry();
    let scope = |namespace: &str| Scope::Namespace(namespace.to_owned());
    let user = |scope| registry.subscribe(Resource::Pod, scope, labels(), "user");
    let a: WatchHandle = user(scope("a"));
    a.start();
    assert!(a.ready().await);
    let known = |registry: &Registry| {
        let view = registry.view();
        [("a", "one"), ("b", "two"), ("c", "three")]
            .map(|(namespace, name)| view.live(Resource::Pod, namespace, name).is_some())
    };
    assert_eq!(known(&registry), [true, false, false]);
    let b = user(scope("b"));
    b.start();
    assert!(b.ready().await);
    assert_eq!(known(&registry), [true, true, false]);
    assert_eq!(registry.stores()[0].scope, "namespace/a,b");
    let all = user(Scope::Cluster);
    all.start();
    assert!(all.ready().await);
    assert_eq!(known(&registry), [true, true, true]);
    registry.stop().await;
}
