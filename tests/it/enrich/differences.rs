//! Where documents differ from those of Beats on purpose, and the table that says so.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    cases,
    generated::{generated, recorded},
    world::World,
};

/// Which difference is the reason that a recorded document of Beats is not ours. Each is a row
/// of docs/enrichment.md.
const DIFFERENCES: &[(&str, &str)] = &[
    ("chain-02-deployment-flag-on-replicaset-unknown", "D-1"),
    ("chain-03-standalone-replicaset", "D-1"),
    ("owner-job-bare", "D-1"),
    ("owner-job-unknown", "D-1"),
    ("owner-rs-rollout", "D-1"),
    ("owner-rs-standalone", "D-1"),
    ("owner-rs-unknown", "D-1"),
    ("enrich-01-pod", "D-2"),
    ("node-unscheduled-off", "D-2"),
    ("pod-10-unscheduled", "D-2"),
    ("filter-exclude-dedot-off", "D-3"),
    ("labels-02-exclude-nested-dedot-off", "D-3"),
    ("enrich-05-node", "D-4"),
    ("main-node-generic", "D-4"),
    ("filter-dedot-off-value-clash", "D-13"),
    ("replicaset-03-prune", "D-14"),
];

/// The differences that `parity: beats` takes away.
const SHAPES: [&str; 4] = ["D-1", "D-2", "D-4", "D-15"];

#[test]
fn each_recorded_difference_is_one_that_is_named() {
    let mut all = cases("enrichment");
    all.extend(cases("enrichment-library"));
    let mut named: BTreeMap<_, _> = DIFFERENCES.iter().copied().collect();
    for (name, case) in &all {
        let theirs = case
            .get("expected_beats")
            .or(case.get("expected_beats_any"));
        let difference = named.remove(name.as_str());
        assert_eq!(theirs.is_some(), difference.is_some(), "{name}");
    }
    assert!(named.is_empty(), "no such cases: {named:?}");
}

#[test]
fn each_difference_has_its_row_in_the_documents() {
    let text =
        std::fs::read_to_string(format!("{}/docs/enrichment.md", env!("CARGO_MANIFEST_DIR")));
    let text = text.unwrap();
    for number in 1..=15 {
        assert!(
            text.contains(&format!("| D-{number} |")),
            "D-{number} has no row"
        );
    }
    for (_, difference) in DIFFERENCES {
        assert!(text.contains(&format!("| {difference} |")));
    }
}

#[test]
fn with_parity_the_documents_are_those_of_beats() {
    let mut compared = 0;
    for (name, case) in recorded("generate") {
        let Some(theirs) = case.get("expected_beats") else {
            continue;
        };
        let (_, difference) = DIFFERENCES.iter().find(|(of, _)| *of == name).unwrap();
        if SHAPES.contains(difference) {
            assert_eq!(generated(&case, true), *theirs, "{name}");
            compared += 1;
        }
    }
    assert_eq!(compared, 10);
}

#[test]
fn with_parity_events_are_those_of_beats() {
    let mut compared = 0;
    for (name, case) in recorded("enrich") {
        let mut config = case["config"].clone();
        config["metadata"]["parity"] = json!("beats");
        let mut world = World::of_case(&config);
        for manifest in case["objects"].as_array().unwrap() {
            world.apply(manifest);
        }
        let metricset = case["metricset"].as_str().unwrap();
        let (_, text) = world.enrich(metricset, &case["event"].to_string());
        let ours: Value = serde_json::from_str(&text).unwrap();
        if let Some(theirs) = case.get("expected_beats") {
            assert_eq!(ours, *theirs, "{name}");
            compared += 1;
        }
    }
    assert_eq!(compared, 2);
}
