//! The objects that are asked for, and the profiles by which they are described.

use std::time::Duration;

use k8s_relay::{
    enrich::{
        Enricher,
        cluster::ClusterIdentity,
        index::{Index, Retention},
        object::{
            Container, Details, NodeDetails, Object, PairLimits, Pairs, PodDetails, Snapshot,
            Timestamp,
        },
        profile::{Profile, ProfileSet, Schema},
        resource::{Metricset, Resource, Subject},
        view::Sync,
    },
    model::{ContainerId, Controller, OwnerKind, OwnerRef, Seed, SharedStr, Uid},
};

pub const PODS: usize = 20_000;
pub const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// All objects.
pub fn index() -> Index {
    let retention = Retention {
        grace: Duration::from_secs(120),
        capacity: 10_000,
    };
    let mut index = Index::new(Seed::FIXED, retention);
    for resource in Resource::ALL {
        index.set_sync(resource, Sync::LISTED);
    }
    fill(&mut index);
    index
}

/// `ecs`, and the same as attributes of OpenTelemetry.
pub fn profiles() -> ProfileSet {
    let ecs = Profile {
        deployment: true,
        cronjob: true,
        ..Profile::default()
    };
    let otel = Profile {
        schema: Schema::Otel,
        ..ecs.clone()
    };
    ProfileSet {
        address: None,
        default_profile: "ecs".to_owned(),
        profiles: vec![("ecs".to_owned(), ecs), ("otel".to_owned(), otel)],
    }
}

pub fn enricher(cache_bytes: usize) -> Enricher {
    let cluster = ClusterIdentity::default();
    Enricher::new(profiles().profiles, cluster, Seed::FIXED, cache_bytes)
}

/// An event as a kubelet's is, of about 300 bytes.
pub fn event(pod: usize, metricset: Metricset) -> String {
    let (namespace, name) = (namespace(pod), name(pod));
    let (subject, of_pod) = match metricset.subject() {
        Subject::Container => ("app", format!(r#","pod":{{"name":"{name}"}}"#)),
        Subject::Object => (name.as_str(), String::new()),
    };
    format!(
        r#"{{"name":"{subject}","_module":{{"namespace":"{namespace}"{of_pod}}},"cpu":{{"usage":{{"nanocores":12345,"node":{{"pct":0.0012}},"limit":{{"pct":0.10}}}}}},"memory":{{"usage":{{"bytes":1234567}},"rss":{{"bytes":12345}},"working_set":{{"bytes":1234}}}},"start_time":"2026-11-30T08:00:00Z"}}"#
    )
}

pub fn namespace(pod: usize) -> String {
    format!("namespace-{}", pod % 50)
}

pub fn name(pod: usize) -> String {
    format!("web-{}-{pod:05}", replica_set(pod))
}

fn replica_set(pod: usize) -> usize {
    // Those of one are of one namespace.
    pod % (PODS / 10)
}

fn fill(index: &mut Index) {
    let mut apply = |snapshot| index.apply(Object::new(snapshot), NOW);
    for node in 0..200 {
        let details = NodeDetails {
            hostname: format!("node-{node}.internal").as_str().into(),
            ..NodeDetails::default()
        };
        let node = format!("node-{node}");
        apply(snapshot(
            Resource::Node,
            "",
            &node,
            10,
            Details::Node(details),
        ));
    }
    for pod in 0..50 {
        let namespace = namespace(pod);
        apply(snapshot(
            Resource::Namespace,
            "",
            &namespace,
            3,
            Details::None,
        ));
    }
    for pod in 0..PODS / 10 {
        let set = format!("web-{}", replica_set(pod));
        let mut set = snapshot(
            Resource::ReplicaSet,
            &namespace(pod),
            &set,
            0,
            Details::None,
        );
        set.controllers.push(owner(OwnerKind::Deployment, "web"));
        apply(set);
    }
    for pod in 0..PODS {
        apply(self::pod(pod, 0));
    }
}

/// A version of a pod.
pub fn pod(pod: usize, version: usize) -> Snapshot {
    let details = Details::Pod(Box::new(PodDetails {
        node: format!("node-{}", pod % 200).as_str().into(),
        ip: format!("10.1.{}.{}", pod / 250, pod % 250).as_str().into(),
        containers: ["app", "proxy"].map(|name| container(pod, name)).into(),
        ..PodDetails::default()
    }));
    let set = format!("web-{}", replica_set(pod));
    let mut pod = snapshot(Resource::Pod, &namespace(pod), &name(pod), 8, details);
    pod.resource_version = version.to_string().as_str().into();
    pod.controllers.push(owner(OwnerKind::ReplicaSet, &set));
    pod
}

fn container(pod: usize, name: &str) -> Container {
    Container {
        name: name.into(),
        image: "registry.example/shop/web:1.4.2".into(),
        id: ContainerId::new(&format!("containerd://{name}-{pod}")),
        image_id: SharedStr::default(),
        role: Default::default(),
        limits: Default::default(),
    }
}

fn snapshot(
    resource: Resource,
    namespace: &str,
    name: &str,
    labels: usize,
    details: Details,
) -> Snapshot {
    let label = |n| {
        let key = format!("app.kubernetes.io/label-{n}");
        (
            SharedStr::from(key.as_str()),
            SharedStr::from("a value of some length"),
        )
    };
    Snapshot {
        resource,
        uid: Uid::new(&format!("{resource}-{namespace}-{name}")),
        name: name.into(),
        namespace: namespace.into(),
        resource_version: "12345678".into(),
        created: Some(NOW),
        labels: Pairs::new((0..labels).map(label), PairLimits::LABELS),
        annotations: Pairs::default(),
        controllers: Default::default(),
        details,
    }
}

/// Without a uid, so that it is found by its name.
fn owner(kind: OwnerKind, name: &str) -> OwnerRef {
    OwnerRef::new(Controller {
        uid: Uid::new(""),
        name: name.into(),
        kind,
        custom: false,
    })
}
