//! Documents, against those that Elastic's own generators printed.

use std::collections::BTreeSet;

use k8s_relay::enrich::{
    filter::{Selection, select},
    node_name::{NodeFacts, discover},
    object::{PairLimits, Pairs},
    plan::{Joins, Plan},
    resource::Metricset,
};
use serde_json::{Value, json};

use super::{
    cases,
    world::{World, document, shown},
};

/// All recorded cases of a kind.
pub(super) fn recorded(kind: &str) -> Vec<(String, Value)> {
    let mut all = cases("enrichment");
    all.extend(cases("enrichment-library"));
    all.retain(|(_, case)| case["kind"] == kind);
    all
}

/// What our generators say in a case of kind `generate`.
pub(super) fn generated(case: &Value, beats: bool) -> Value {
    let mut config = case["config"].clone();
    if beats {
        config["metadata"]["parity"] = json!("beats");
    }
    let mut world = World::of_case(&config);
    for manifest in case["objects"].as_array().unwrap() {
        world.apply(manifest);
    }
    let resource = &case["resource"];
    if case["generator_kind"] == "state_namespace" {
        // Only events have this form.
        let event = json!({ "_module": { "namespace": resource["name"] } });
        let (answer, _) = world.enrich("state_namespace", &event.to_string());
        return document(&answer);
    }
    let mut document = document(&world.ask_for(resource, world.wish()));
    if resource["kind"] == "Container" {
        // Lookups also name the container.
        let kubernetes = document["kubernetes"].as_object_mut().unwrap();
        let container = kubernetes.remove("container").unwrap();
        assert_eq!(container, json!({ "name": resource["name"] }));
    }
    document
}

#[test]
fn every_recorded_document_is_ours_too() {
    let cases = recorded("generate");
    assert!(cases.len() >= 121 + 35, "{}", cases.len());
    let wrong: Vec<_> = cases
        .iter()
        .filter_map(|(name, case)| {
            let (ours, theirs) = (generated(case, false), &case["expected"]);
            (ours != *theirs).then(|| format!("{name}:\n  ours   {ours}\n  theirs {theirs}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_could_not_be_joined_is_named() {
    for (name, partial) in [
        (
            "chain-02-deployment-flag-on-replicaset-unknown",
            &["replicaset"][..],
        ),
        // Its uid is not the one that the pod's reference has.
        ("chain-03-standalone-replicaset", &["replicaset"]),
        ("owner-rs-standalone", &[]),
        ("pod-11-node-unknown", &["node", "namespace"]),
        ("node-unknown", &["node"]),
        ("ns-unknown", &["namespace"]),
        ("owner-job-unknown", &["job"]),
        ("owner-rs-unknown", &["replicaset"]),
        ("service-namespace-unknown", &["namespace"]),
        ("pod-10-unscheduled", &[]),
    ] {
        let cases = recorded("generate");
        let (_, case) = cases.iter().find(|(known, _)| known == name).unwrap();
        let mut world = World::of_case(&case["config"]);
        for manifest in case["objects"].as_array().unwrap() {
            world.apply(manifest);
        }
        let answer = shown(&world.ask_for(&case["resource"], world.wish()));
        let expected: Vec<_> = partial
            .iter()
            .map(|part| json!({ "part": part, "reason": "not_found" }))
            .collect();
        let said = answer["partial"].as_array().cloned().unwrap_or_default();
        assert_eq!(said, expected, "{name}");
    }
}

#[test]
fn filters_select_what_beats_selects() {
    let cases = recorded("select");
    assert_eq!(cases.len(), 6);
    for (name, case) in cases {
        let keys: Vec<String> = serde_json::from_value(case["config"]["keys"].clone()).unwrap();
        let regex = case["config"]["regex"] == true;
        let dedot = case["config"]["dedot"] == true;
        let input = case["input"].as_object().unwrap();
        let pairs = input
            .iter()
            .map(|(key, value)| (key.as_str().into(), value.as_str().unwrap().into()));
        let pairs = Pairs::new(pairs, PairLimits::LABELS);
        let selection = Selection::new(&keys, regex, &mut Vec::new()).unwrap();
        let selected = select(&pairs, &selection);
        let shown = |key: &str| {
            if dedot {
                key.replace('.', "_")
            } else {
                key.to_owned()
            }
        };
        let selected = selected
            .iter()
            .map(|(key, value)| (shown(key), json!(value)));
        assert_eq!(
            Value::Object(selected.collect()),
            case["expected"],
            "{name}"
        );
    }
}

#[test]
fn each_metricset_has_the_watches_that_beats_plans() {
    let (_, case) = recorded("watch_plan").pop().unwrap();
    let rows = case["table"].as_array().unwrap();
    let mut seen = BTreeSet::new();
    for row in rows {
        let metricset = Metricset::from_name(row["metricset"].as_str().unwrap()).unwrap();
        seen.insert(metricset);
        let flag = |key: &str| row["flags"][key] == true;
        let joins = Joins {
            node: flag("node"),
            namespace: flag("namespace"),
            deployment: flag("deployment"),
            cronjob: flag("cronjob"),
        };
        let plan = Plan::of(metricset, joins);
        let extra: Vec<_> = plan.extras.iter().map(|extra| extra.key()).collect();
        let planned = json!({
            "metricset": row["metricset"],
            "flags": row["flags"],
            "main": plan.main.key(),
            "extra": extra,
            "main_node_scope": plan.main_node_scope,
        });
        assert_eq!(planned, *row);
    }
    assert_eq!(seen.len(), Metricset::ALL.len());
}

#[test]
fn the_own_node_is_found_in_the_order_of_beats() {
    let (_, case) = recorded("discover_node").pop().unwrap();
    for row in case["table"].as_array().unwrap() {
        let text = |key: &str| row[key].as_str();
        let machine_id = text("machine_id").unwrap();
        let nodes = row["nodes_with_machine_id"].as_array().unwrap();
        let is_known = nodes.contains(&json!(machine_id));
        let readable = row["own_pod_found"] == true && row["own_namespace_readable"] == true;
        let facts = NodeFacts {
            configured: text("config_node").unwrap(),
            in_cluster: row["in_cluster"] == true,
            own_pod: readable.then_some("test-node"),
            variable: text("env_NODE_NAME"),
            by_machine_id: is_known.then_some(machine_id),
        };
        assert_eq!(discover(&facts).ok(), text("expected"), "{}", row["name"]);
    }
    let unnamed = NodeFacts {
        in_cluster: true,
        own_pod: Some(""),
        variable: Some("worker"),
        ..NodeFacts::default()
    };
    assert_eq!(
        discover(&unnamed),
        Ok("worker"),
        "a pod without a node says nothing"
    );
}
