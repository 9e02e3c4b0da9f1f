//! Events about objects that kube-state-metrics exposed: every id of its text is found.

use k8s_relay::enrich::{answer::State, cluster::ClusterIdentity};
use serde_json::{Value, json};

use super::{
    golden,
    world::{World, shown},
};

/// An event of a metricset with this id.
fn event(metricset: &str, id: &str) -> Value {
    let parts: Vec<&str> = id.split('/').collect();
    match (metricset, parts.as_slice()) {
        ("state_namespace", [namespace]) => json!({ "_module": { "namespace": namespace } }),
        (_, [name]) => json!({ "name": name }),
        (_, [namespace, name]) => json!({ "name": name, "_module": { "namespace": namespace } }),
        (_, [namespace, pod, container]) => json!({
            "name": container,
            "_module": { "namespace": namespace, "pod": { "name": pod } },
        }),
        _ => panic!("{id}"),
    }
}

#[test]
fn every_id_that_kube_state_metrics_exposes_is_enriched_completely() {
    let joined = json!({ "deployment": true, "cronjob": true });
    let settings = json!({ "add_resource_metadata": joined });
    let mut world = World::new(&settings, ClusterIdentity::default());
    for manifest in golden("ksm/objects.json").as_array().unwrap() {
        world.apply(manifest);
    }
    // It was not among the objects, but some of them are in it.
    world.apply(&json!({ "kind": "Namespace", "metadata": { "name": "kube-system", "uid": "s" } }));
    let mut found = 0;
    for (metricset, ids) in golden("ksm/ids.json").as_object().unwrap() {
        for id in ids.as_array().unwrap() {
            let event = event(metricset, id.as_str().unwrap());
            let (answer, text) = world.enrich(metricset, &event.to_string());
            assert_eq!(answer.state, State::Live, "{metricset} {id}");
            assert_eq!(shown(&answer)["partial"], Value::Null, "{metricset} {id}");
            assert_ne!(text, event.to_string());
            found += 1;
        }
    }
    assert_eq!(found, 34);
}
