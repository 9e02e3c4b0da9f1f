//! Attributes of OpenTelemetry, against those that the Collector's processor gave.

use k8s_relay::enrich::{
    Reference,
    cluster::ClusterIdentity,
    profile::{Schema, Semconv},
};
use serde_json::{Map, Value, json};

use super::{
    cases, golden,
    world::{World, document},
};

fn world(include: &[&str]) -> World {
    let filters = json!({ "include_annotations": include, "use_regex_include": true });
    let mut settings = filters.clone();
    settings["output_schema"] = json!("otel");
    settings["add_resource_metadata"] = json!({ "node": filters, "namespace": filters });
    let mut world = World::new(&settings, ClusterIdentity::default());
    for manifest in golden("k8sattributes/cluster.json").as_array().unwrap() {
        world.apply(manifest);
    }
    world
}

/// The pod that the processor found for a resource.
fn pod<'a>(resource: &'a Value) -> Option<Map<String, Value>> {
    let out: &'a Map<_, _> = resource["out"].as_object()?;
    let cluster = golden("k8sattributes/cluster.json");
    let pods = cluster
        .as_array()
        .unwrap()
        .iter()
        .filter(|object| object["kind"] == "Pod");
    let is_it = |pod: &&Value| {
        let metadata = &pod["metadata"];
        let same = |key: &str, value: &Value| out.get(key) == Some(value);
        same("k8s.pod.uid", &metadata["uid"])
            || same("k8s.pod.name", &metadata["name"])
                && out
                    .get("k8s.namespace.name")
                    .is_none_or(|of| *of == metadata["namespace"])
    };
    let pod = pods.clone().find(is_it)?;
    pod["metadata"].as_object().cloned()
}

#[test]
fn every_attribute_that_the_collector_adds_is_ours_too() {
    let (mut compared, mut attributes) = (0, 0);
    let mut wrong = Vec::new();
    let world = world(&["."]);
    for (name, case) in cases("k8sattributes") {
        if case["kind"] != "k8sattributes" || case.get("config_error").is_some() {
            continue;
        }
        let semconv = match case["conventions"].as_str() {
            Some("v0") => Semconv::V0,
            Some("both") => Semconv::Both,
            _ => Semconv::V1,
        };
        for resource in case["resources"].as_array().unwrap() {
            if resource.get("differs_on_purpose").is_some() {
                continue;
            }
            let Some(metadata) = pod(resource) else {
                continue;
            };
            let given = &resource["in"];
            let container = given["k8s.container.name"].as_str().or_else(|| {
                let id = given["container.id"].as_str();
                id.map(|id| if id == "c1" { "app" } else { "proxy" })
            });
            let mut wish = world.wish();
            (wish.schema, wish.semconv) = (Some(Schema::Otel), Some(semconv));
            let about = json!({
                "kind": if container.is_some() { "Container" } else { "Pod" },
                "namespace": metadata["namespace"],
                "pod": metadata["name"],
                "name": container.map_or(metadata["name"].clone(), Value::from),
                "uid": metadata["uid"],
            });
            let answer = world.ask_for(&about, wish);
            let ours = match &answer.document {
                Some(_) => document(&answer),
                // The pod has no such container: ask for the pod.
                None => {
                    let about = json!({
                        "kind": "Pod", "namespace": metadata["namespace"], "name": metadata["name"],
                    });
                    document(&world.ask_for(&about, wish))
                }
            };
            compared += 1;
            for (key, value) in resource["out"].as_object().unwrap() {
                let is_kubernetes = key.starts_with("k8s.") || key.starts_with("container.");
                if !is_kubernetes || given.get(key).is_some() {
                    continue;
                }
                attributes += 1;
                // An empty attribute of theirs may be absent.
                let is_absent = *value == json!("") && ours.get(key).is_none();
                if ours[key] != *value && !is_absent {
                    wrong.push(format!(
                        "{name}: {given}: {key}: {} instead of {value}",
                        ours[key]
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(
        compared >= 60 && attributes >= 300,
        "{compared} {attributes}"
    );
}

#[test]
fn each_set_of_conventions_has_its_names_and_its_address() {
    let world = world(&["^prometheus"]);
    let uid = "9d0e6f00-3333-4b4b-8888-000000000001";
    let both = [
        (
            "k8s.pod.label.app",
            "k8s.pod.labels.app",
            json!("web"),
            json!("web"),
        ),
        (
            "k8s.pod.annotation.prometheus.io/scrape",
            "k8s.pod.annotations.prometheus.io/scrape",
            json!("true"),
            json!("true"),
        ),
        (
            "k8s.namespace.label.team",
            "k8s.namespace.labels.team",
            json!("checkout"),
            json!("checkout"),
        ),
        (
            "k8s.node.label.kubernetes.io/arch",
            "k8s.node.labels.kubernetes.io/arch",
            json!("amd64"),
            json!("amd64"),
        ),
        (
            "k8s.deployment.label.tier",
            "k8s.deployment.labels.tier",
            json!("front"),
            json!("front"),
        ),
        (
            "container.image.tags",
            "container.image.tag",
            json!(["1.4.2"]),
            json!("1.4.2"),
        ),
        (
            "container.runtime.name",
            "container.runtime",
            json!("containerd"),
            json!("containerd"),
        ),
    ];
    for (semconv, has_v1, has_v0, url) in [
        (
            Semconv::V1,
            true,
            false,
            "https://opentelemetry.io/schemas/1.42.0",
        ),
        (
            Semconv::V0,
            false,
            true,
            "https://opentelemetry.io/schemas/1.21.0",
        ),
        (
            Semconv::Both,
            true,
            true,
            "https://opentelemetry.io/schemas/1.42.0",
        ),
    ] {
        let mut wish = world.wish();
        wish.semconv = Some(semconv);
        let view = world.index.at(world.now);
        let answer = world.enricher.lookup(&view, Reference::PodUid(uid), wish);
        assert_eq!(answer.schema_url, Some(url));
        let said = document(&answer);
        for (v1, v0, value_v1, value_v0) in &both {
            assert_eq!(said.get(v1), has_v1.then_some(value_v1), "{semconv:?} {v1}");
            assert_eq!(said.get(v0), has_v0.then_some(value_v0), "{semconv:?} {v0}");
        }
    }
}

#[test]
fn no_owner_is_guessed_and_the_cluster_has_the_uid_of_kube_system() {
    let world = world(&[]);
    let said = document(&world.ask(Reference::PodUid("9d0e6f00-3333-4b4b-8888-000000000003")));
    assert_eq!(said["k8s.replicaset.name"], "solo-v1");
    assert_eq!(said.get("k8s.deployment.name"), None);
    assert_eq!(
        said["k8s.cluster.uid"],
        "9d0e6f00-3333-4b4b-8888-000000000900"
    );
}

#[test]
fn objects_of_other_kinds_have_their_own_names() {
    let world = world(&[]);
    for (resource, expected) in [
        (
            json!({ "kind": "Deployment", "namespace": "shop", "name": "web" }),
            json!({
                "k8s.deployment.name": "web",
                "k8s.deployment.uid": "9d0e6f00-3333-4b4b-8888-000000000100",
                "k8s.deployment.label.app.kubernetes.io/name": "web",
                "k8s.deployment.label.tier": "front",
                "k8s.namespace.name": "shop",
                "k8s.namespace.label.kubernetes.io/metadata.name": "shop",
                "k8s.namespace.label.team": "checkout",
                "k8s.cluster.uid": "9d0e6f00-3333-4b4b-8888-000000000900",
            }),
        ),
        (
            json!({ "kind": "Node", "name": "node-a" }),
            json!({
                "k8s.node.name": "node-a",
                "k8s.node.uid": "9d0e6f00-3333-4b4b-8888-000000000910",
                "k8s.node.label.kubernetes.io/arch": "amd64",
                "k8s.node.label.topology.kubernetes.io/zone": "eu-1a",
                "k8s.cluster.uid": "9d0e6f00-3333-4b4b-8888-000000000900",
            }),
        ),
        (
            json!({ "kind": "Namespace", "name": "kube-system" }),
            json!({
                "k8s.namespace.name": "kube-system",
                "k8s.namespace.uid": "9d0e6f00-3333-4b4b-8888-000000000900",
                "k8s.cluster.uid": "9d0e6f00-3333-4b4b-8888-000000000900",
            }),
        ),
    ] {
        assert_eq!(document(&world.ask_for(&resource, world.wish())), expected);
    }
}
