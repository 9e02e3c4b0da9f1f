//! Memory of the stores of enrichment, counted by an allocator that counts: 100k pods with 8 labels
//! and 2 containers, while they are first listed, settled, listed again, and widened.
//!
//! `cargo bench --bench stores -- quick` tries it with a tenth of them.

#![allow(clippy::disallowed_methods, reason = "a bench may do what it likes")]
#![allow(
    clippy::print_stderr,
    clippy::expect_used,
    reason = "a bench speaks to who started it"
)]

mod support;

use std::{
    env,
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use allocation_counter::measure;
use k8s_relay::{
    enrich::{index::Retention, plan::Needs, resource::Resource},
    model::{self, Interner, PodMeta, Seed},
    registry::{Edge, Registry, Scope, Settings, Task},
    source::native::{
        Sink,
        decode::{Decoding, Dropped, ObjectSeed, Paired, Pods, WatchedKind},
    },
};
use kube::runtime::watcher::Event;
use serde::de::DeserializeSeed as _;
use support::report::{Report, Row, Target};

/// Hands out the sinks of the watches that were started.
#[derive(Clone, Default)]
struct Sinks(Arc<Mutex<Vec<Arc<dyn Sink>>>>);

impl Edge for Sinks {
    fn watch(&self, _: Resource, _: &Scope, _: model::Scope, sink: Arc<dyn Sink>) -> Task<'static> {
        self.0.lock().expect("a lock").push(sink);
        Box::pin(pending())
    }
}

impl Sinks {
    fn last(&self) -> Arc<dyn Sink> {
        let sinks = self.0.lock().expect("a lock");
        Arc::clone(sinks.last().expect("a watch"))
    }
}

/// A watch that lists pods.
struct Watch {
    sink: Arc<dyn Sink>,
    texts: Interner,
}

impl Watch {
    fn new(sink: Arc<dyn Sink>) -> Self {
        let texts = Interner::new(Seed::FIXED);
        Self { sink, texts }
    }

    /// Lists all pods. What the matcher keeps of each is handed on.
    fn list(&mut self, pods: u32, mut matcher: impl FnMut(PodMeta)) {
        let keep = self.sink.keep();
        let kept = keep.as_ref().map_or(0, |keep| keep.number);
        let decoding = Decoding {
            keep,
            ..Decoding::default()
        };
        let scope = model::Scope::default();
        self.sink.take(scope, Event::Init, kept);
        for number in 0..pods {
            let json = pod(number);
            let pair = read::<Paired<Pods>>(&json, &decoding, &mut self.texts);
            if let Some(object) = pair.object {
                self.sink.take(scope, Event::InitApply(object), kept);
            }
            matcher(pair.core);
        }
        self.sink.take(scope, Event::InitDone, kept);
    }
}

fn read<K: WatchedKind>(json: &str, decoding: &Decoding, texts: &mut Interner) -> K::Object {
    let mut dropped = Dropped::default();
    let mut reader = serde_json::Deserializer::from_str(json);
    let seed = ObjectSeed::<K>::new(decoding, texts, &mut dropped);
    let read = seed.deserialize(&mut reader).expect("JSON");
    read.object.expect("a pod")
}

/// Eight labels: five that all of a service share, two of its ReplicaSet, one of its own.
fn pod(number: u32) -> String {
    let (service, set) = (number / 20, number / 5);
    let [high, low] = u16::try_from(number & 0xffff)
        .unwrap_or_default()
        .to_be_bytes();
    let image = format!(
        "registry.example/team-{}/service-{service}:v1.4.0",
        service % 50
    );
    let status = |name: &str, nth: u32| {
        let id = format!("{:064x}", u64::from(number) * 2 + u64::from(nth));
        format!(
            r#"{{"name":"{name}","image":"{image}","imageID":"registry.example/x@sha256:{service:064x}","containerID":"containerd://{id}"}}"#
        )
    };
    let container = |name: &str| {
        format!(
            r#"{{"name":"{name}","image":"{image}","resources":{{"limits":{{"cpu":"500m","memory":"512Mi"}}}}}}"#
        )
    };
    format!(
        r#"{{"metadata":{{"name":"service-{service}-{set:010x}-{number:05x}","namespace":"namespace-{}",
        "uid":"00000000-0000-4000-8000-{number:012x}","resourceVersion":"{}",
        "creationTimestamp":"2026-11-30T08:00:00Z",
        "labels":{{"app":"service-{service}","tier":"backend","team":"team-{}","version":"v1.4.0",
        "app.kubernetes.io/managed-by":"Helm","pod-template-hash":"{set:010x}","release":"r-{set}",
        "statefulset.kubernetes.io/pod-name":"service-{service}-{number}"}},
        "ownerReferences":[{{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"service-{service}-{set:010x}",
        "uid":"00000000-0000-4000-9000-{set:012x}","controller":true}}]}},
        "spec":{{"nodeName":"node-{}","containers":[{},{}]}},
        "status":{{"phase":"Running","podIP":"10.{}.{high}.{low}","podIPs":[{{"ip":"10.{}.{high}.{low}"}}],
        "startTime":"2026-11-30T08:00:00Z","containerStatuses":[{},{}]}}}}"#,
        service % 100,
        number + 1_000_000,
        service % 50,
        number % 1_000,
        container("app"),
        container("proxy"),
        number >> 16,
        number >> 16,
        status("app", 0),
        status("proxy", 1),
    )
}

fn main() {
    let quick = env::args().any(|argument| argument == "quick");
    let pods: u32 = if quick { 10_000 } else { 100_000 };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let _entered = runtime.enter();
    let mut report = Report::new("stores");
    let mut row = |figure, target, value: f64, measured| {
        report.row(Row {
            figure,
            target,
            value,
            measured,
            reference: String::new(),
            cost: String::new(),
        });
    };

    let registry = |sinks: &Sinks| {
        let settings = Settings {
            linger: Duration::ZERO,
            retry: Duration::from_secs(30),
            retention: Retention {
                grace: Duration::from_secs(120),
                capacity: 10_000,
            },
            namespaces: Vec::new(),
            seed: Seed::FIXED,
        };
        Registry::new(settings, sinks.clone())
    };
    let needs = Needs {
        labels: true,
        details: true,
        ..Needs::default()
    };
    let each = |bytes: f64| format!("{:.0} bytes/pod", bytes / f64::from(pods));

    // What the matcher keeps alone, for comparison.
    let mut kept = Vec::with_capacity(pods as usize);
    let mut texts = Interner::new(Seed::FIXED);
    let alone = measure(|| {
        let decoding = Decoding::default();
        kept.extend((0..pods).map(|number| read::<Pods>(&pod(number), &decoding, &mut texts)));
    });
    let alone = alone.bytes_current as f64;
    row(
        "the matcher's pods alone, without its tables",
        Target::Any,
        alone,
        each(alone),
    );
    drop((kept, texts));

    let sinks = Sinks::default();
    let stores = registry(&sinks);
    let user = stores.subscribe(Resource::Pod, Scope::Cluster, needs.clone(), "bench");
    user.start();
    let mut watch = Watch::new(sinks.last());
    let first = measure(|| watch.list(pods, drop));
    let settled = first.bytes_current as f64;
    let within = Target::AtMost(2048.0, 0, " bytes/pod");
    row("settled", within, settled / f64::from(pods), each(settled));
    let peak = first.bytes_max as f64 / settled;
    row(
        "peak of the first list",
        Target::Any,
        peak,
        format!("{peak:.2} × settled"),
    );
    let again = measure(|| watch.list(pods, drop));
    let peak = (settled + again.bytes_max as f64) / settled;
    let bound = Target::AtMost(1.3, 2, " × settled");
    row(
        "peak of a repeated list",
        bound,
        peak,
        format!("{peak:.2} × settled"),
    );
    let left = (settled + again.bytes_current as f64) / settled;
    row(
        "after it",
        Target::Any,
        left,
        format!("{left:.2} × settled"),
    );
    drop((user, watch, stores));

    // As in native stages: the matcher's pods alongside, with the same texts.
    let sinks = Sinks::default();
    let stores = registry(&sinks);
    let user = stores.subscribe(Resource::Pod, Scope::Cluster, needs, "bench");
    user.start();
    let mut watch = Watch::new(sinks.last());
    let mut kept = Vec::with_capacity(pods as usize);
    let both = measure(|| watch.list(pods, |pod| kept.push(pod)));
    let both = both.bytes_current as f64;
    let within = Target::AtMost(2048.0, 0, " bytes/pod");
    row(
        "with the matcher's pods",
        within,
        both / f64::from(pods),
        each(both),
    );
    drop(kept);
    report.print();
}
