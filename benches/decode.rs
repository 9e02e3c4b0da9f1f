//! Thin decoding of a pod of realistic size and of a ReplicaSet's metadata: time and allocations an
//! object. The lower bound is serde_json reading the same bytes and keeping nothing at all.

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
    model::{Interner, Seed},
    source::native::decode::{
        Decoding, Dropped, Line, MetadataOnly, ObjectSeed, Pods, WatchedKind, decode_line,
        decode_page,
    },
};
use serde::de::{DeserializeSeed, IgnoredAny};
use support::{
    ROUNDS,
    report::{Report, Row, Sample, Target},
};

/// As an API server sends them, `managedFields` and all.
const POD: &str = include_str!("support/pod.json");
const REPLICA_SET: &str = include_str!("support/owner.json");

/// Objects in one measurement: few enough to stay near the processor, as what has just been
/// received does. They differ in their uids and names.
const OBJECTS: usize = 200;

fn main() {
    let mut report = Report::new("decode");
    kind::<Pods>(&mut report, "a pod", POD);
    kind::<MetadataOnly>(&mut report, "a ReplicaSet", REPLICA_SET);
    report.print();
}

fn kind<T: WatchedKind>(report: &mut Report, what: &str, object: &str) {
    let objects: Vec<String> = (0..OBJECTS).map(|n| numbered(object, n)).collect();
    let event = |object| format!(r#"{{"type":"MODIFIED","object":{object}}}"#);
    let lines: Vec<String> = objects.iter().map(event).collect();
    let pages: Vec<String> = objects.chunks(100).map(page).collect();
    let (decoding, mut texts, mut dropped) = (
        Decoding::default(),
        Interner::new(Seed::FIXED),
        Dropped::default(),
    );

    let ignored = || {
        for line in &lines {
            black_box(serde_json::from_str::<IgnoredAny>(line).expect("it is JSON"));
        }
    };
    let mut keep = Vec::with_capacity(OBJECTS);
    let mut lines_read = || {
        keep.clear();
        for line in &lines {
            let read = decode_line::<T>(line.as_bytes(), &decoding, &mut texts, &mut dropped);
            let Line::Modified { object, .. } = read else {
                panic!("it is an event: {line}");
            };
            keep.push(object);
        }
    };
    let bare_server = time(ignored);
    let lines_took = time(&mut lines_read);
    let line_allocations = measure(&mut lines_read).count_total;
    let mut pages_read = || {
        keep.clear();
        for page in &pages {
            let each = |object| keep.push(object);
            decode_page::<T>(page.as_bytes(), &decoding, &mut texts, each).expect("it is a page");
        }
    };
    let pages_took = time(&mut pages_read);
    let page_allocations = measure(&mut pages_read).count_total;
    let mut through_serde_json = || {
        keep.clear();
        for object in &objects {
            let mut deserializer = serde_json::Deserializer::from_str(object);
            let seed = ObjectSeed::<T>::new(&decoding, &mut texts, &mut dropped);
            let decoded = seed.deserialize(&mut deserializer).expect("it is JSON");
            keep.push(decoded.object.expect("it is sound"));
        }
    };
    let serde_took = time(&mut through_serde_json);
    let serde_allocations = measure(&mut through_serde_json).count_total;
    assert!(dropped.is_empty(), "{dropped:?}");

    let at_most = Target::AtMost(1.3, 2, "× skipping all");
    for (way, target, took, allocations) in [
        (
            "in a line of a watch",
            at_most,
            lines_took,
            line_allocations,
        ),
        ("in a page of 100", at_most, pages_took, page_allocations),
        (
            "through serde_json",
            Target::Any,
            serde_took,
            serde_allocations,
        ),
    ] {
        report.row(Row {
            figure: &format!("{what} of {} bytes, {way}", object.len()),
            target,
            // Whatever disturbs it only adds.
            value: took.min() / bare_server.min(),
            measured: took.show(0, "ns"),
            reference: bare_server.show(0, "ns"),
            cost: format!("{:.2} allocations", allocations as f64 / OBJECTS as f64),
        });
    }
}

/// Nanoseconds an object.
fn time(mut read: impl FnMut()) -> Sample {
    read();
    let once = |_| {
        let start = Instant::now();
        read();
        start.elapsed()
    };
    let times: Vec<Duration> = (0..100 * ROUNDS).map(once).collect();
    Sample::of_times(times).map(|seconds| seconds * 1e9 / OBJECTS as f64)
}

/// The object under a name and uid of its own.
fn numbered(object: &str, n: usize) -> String {
    let own = format!("{n:012x}");
    object
        .replace("4d7a97d33d36", &own)
        .replace("2f6e1d8d7a10", &own)
        .replace("x2k4j", &own)
}

fn page(objects: &[String]) -> String {
    let items = objects.join(",");
    format!(
        r#"{{"kind":"List","apiVersion":"v1","metadata":{{"resourceVersion":"1"}},"items":[{items}]}}"#
    )
}
