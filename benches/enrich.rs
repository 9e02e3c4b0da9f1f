//! Enrichment within the process: documents from the cache and new ones, and events with a
//! document merged in, on one core. Nothing else is there to compare with: the targets are rates.

#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]
#![allow(
    clippy::print_stderr,
    clippy::expect_used,
    reason = "a bench speaks to who started it"
)]

mod support;

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use allocation_counter::measure;
use k8s_relay::{
    enrich::{
        Enricher, Reference, Wish,
        cluster::ClusterIdentity,
        index::{Index, IndexView, Retention},
        object::{
            Container, Details, NodeDetails, Object, PairLimits, Pairs, PodDetails, Snapshot,
            Timestamp,
        },
        profile::{Profile, Schema},
        resource::{Metricset, Resource, Subject},
        view::Sync,
    },
    model::{ContainerId, Controller, OwnerKind, OwnerRef, Seed, SharedStr, Uid},
};
use support::{
    ROUNDS,
    report::{Report, Row, Sample, Target},
};

const PODS: usize = 20_000;
const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn main() {
    let mut index = Index::new(
        Seed::FIXED,
        Retention {
            grace: Duration::from_secs(120),
            capacity: 10_000,
        },
    );
    for resource in Resource::ALL {
        index.set_sync(resource, Sync::LISTED);
    }
    fill(&mut index);
    let view = index.at(NOW);
    let cached = enricher(256 << 20);
    let cold = enricher(0);
    let mut report = Report::new("enrich");
    for (figure, per_second, enricher, profile, metricset) in [
        ("a lookup, from the cache", 1e6, &cached, "ecs", None),
        ("a lookup, a new document", 15e4, &cold, "ecs", None),
        (
            "the same as attributes of OpenTelemetry",
            15e4,
            &cold,
            "otel",
            None,
        ),
        ("a pod's event", 2e5, &cached, "ecs", Some(Metricset::Pod)),
        (
            "a container's event",
            2e5,
            &cached,
            "ecs",
            Some(Metricset::Container),
        ),
    ] {
        let wish = Wish::of(enricher.find_profile(profile).expect("a profile"));
        let ask = || match metricset {
            None => lookups(enricher, &view, wish),
            Some(metricset) => events(enricher, &view, wish, metricset),
        };
        ask();
        let allocations = measure(ask).count_total;
        let times = (0..ROUNDS).map(|_| {
            let start = Instant::now();
            ask();
            start.elapsed()
        });
        let took = Sample::of_times(times).map(|seconds| seconds * 1e9 / PODS as f64);
        report.row(Row {
            figure,
            target: Target::AtLeast(per_second / 1e3, 0, "k/s"),
            // Whatever disturbs it only adds.
            value: 1e6 / took.min(),
            measured: took.show(0, "ns"),
            yardstick: String::new(),
            cost: format!("{:.2} allocations", allocations as f64 / PODS as f64),
        });
    }
    report.print();
}

fn enricher(cache_bytes: usize) -> Enricher {
    let ecs = Profile {
        deployment: true,
        cronjob: true,
        ..Profile::default()
    };
    let otel = Profile {
        schema: Schema::Otel,
        ..ecs.clone()
    };
    let profiles = [("ecs".to_owned(), ecs), ("otel".to_owned(), otel)];
    Enricher::new(
        profiles,
        ClusterIdentity::default(),
        Seed::FIXED,
        cache_bytes,
    )
}

fn lookups(enricher: &Enricher, view: &IndexView<'_>, wish: Wish) {
    for pod in 0..PODS {
        let about = Reference::Named {
            resource: Resource::Pod,
            namespace: &namespace(pod),
            name: &name(pod),
            container: None,
            uid: None,
        };
        black_box(enricher.lookup(view, about, wish));
    }
}

fn events(enricher: &Enricher, view: &IndexView<'_>, wish: Wish, metricset: Metricset) {
    let mut text = String::new();
    for pod in 0..PODS {
        let (namespace, name) = (namespace(pod), name(pod));
        let (subject, of_pod) = match metricset.subject() {
            Subject::Container => ("app", format!(r#","pod":{{"name":"{name}"}}"#)),
            Subject::Object => (name.as_str(), String::new()),
        };
        let event = format!(
            r#"{{"name":"{subject}","_module":{{"namespace":"{namespace}"{of_pod}}},"cpu":{{"usage":{{"nanocores":12345,"node":{{"pct":0.0012}},"limit":{{"pct":0.10}}}}}},"memory":{{"usage":{{"bytes":1234567}},"rss":{{"bytes":12345}},"working_set":{{"bytes":1234}}}},"start_time":"2026-11-30T08:00:00Z"}}"#
        );
        text.clear();
        black_box(enricher.enrich(view, metricset, event.as_bytes(), wish.profile, &mut text));
    }
}

fn namespace(pod: usize) -> String {
    format!("namespace-{}", pod % 50)
}

fn name(pod: usize) -> String {
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
        let details = Details::Pod(Box::new(PodDetails {
            node: format!("node-{}", pod % 200).as_str().into(),
            ip: format!("10.1.{}.{}", pod / 250, pod % 250).as_str().into(),
            containers: ["app", "proxy"].map(|name| container(pod, name)).into(),
            ..PodDetails::default()
        }));
        let set = format!("web-{}", replica_set(pod));
        let mut pod = snapshot(Resource::Pod, &namespace(pod), &name(pod), 8, details);
        pod.controllers.push(owner(OwnerKind::ReplicaSet, &set));
        apply(pod);
    }
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
