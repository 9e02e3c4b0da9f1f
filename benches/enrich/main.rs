//! Enrichment: documents from the cache and new ones, and events with a document merged in, on
//! one core within the process; and the surfaces, with client and server on two cores. Nothing
//! else is there to compare with: the targets are rates.

#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]
#![allow(
    clippy::print_stderr,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a bench speaks to who started it, and dies of what it does not expect"
)]

#[path = "../support/mod.rs"]
mod support;
mod surfaces;
mod world;

use std::{hint::black_box, time::Instant};

use allocation_counter::measure;
use k8s_relay::enrich::{
    Enricher, Reference, Wish,
    index::IndexView,
    resource::{Metricset, Resource},
};
use support::{
    ROUNDS,
    report::{Report, Row, Sample, Target},
};
use world::{NOW, PODS, enricher};

fn main() {
    let mut report = Report::new("enrich");
    within(&mut report);
    surfaces::measure(&mut report);
    report.print();
}

/// What is asked within the process.
fn within(report: &mut Report) {
    let index = world::index();
    let view = index.at(NOW);
    let cached = enricher(256 << 20);
    let cold = enricher(0);
    for (figure, per_second, enricher, profile, among, metricset) in [
        (
            "a lookup of one of 1,000 pods, from the cache",
            1e6,
            &cached,
            "ecs",
            1000,
            None,
        ),
        (
            "a lookup of one of 20,000 pods, its inputs checked",
            5e5,
            &cached,
            "ecs",
            PODS,
            None,
        ),
        ("a lookup, a new document", 15e4, &cold, "ecs", PODS, None),
        (
            "the same as attributes of OpenTelemetry",
            15e4,
            &cold,
            "otel",
            PODS,
            None,
        ),
        (
            "a pod's event",
            2e5,
            &cached,
            "ecs",
            PODS,
            Some(Metricset::Pod),
        ),
        (
            "a container's event",
            2e5,
            &cached,
            "ecs",
            PODS,
            Some(Metricset::Container),
        ),
    ] {
        let wish = Wish::of(enricher.find_profile(profile).expect("a profile"));
        let names: Vec<_> = (0..PODS)
            .map(|pod| pod % among)
            .map(|pod| (world::namespace(pod), world::name(pod)))
            .collect();
        let events: Vec<_> = match metricset {
            Some(metricset) => (0..PODS).map(|pod| world::event(pod, metricset)).collect(),
            None => Vec::new(),
        };
        let ask = || match metricset {
            None => lookups(enricher, &view, wish, &names),
            Some(metricset) => enrich(enricher, &view, wish, metricset, &events),
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
            reference: String::new(),
            cost: format!("{:.2} allocations", allocations as f64 / PODS as f64),
        });
    }
}

fn lookups(enricher: &Enricher, view: &IndexView<'_>, wish: Wish, names: &[(String, String)]) {
    for (namespace, name) in names {
        let about = Reference::Named {
            resource: Resource::Pod,
            namespace,
            name,
            container: None,
            uid: None,
        };
        black_box(enricher.lookup(view, about, wish));
    }
}

fn enrich(
    enricher: &Enricher,
    view: &IndexView<'_>,
    wish: Wish,
    metricset: Metricset,
    events: &[String],
) {
    let mut text = String::new();
    for event in events {
        text.clear();
        black_box(enricher.enrich(view, metricset, event.as_bytes(), wish.profile, &mut text));
    }
}
