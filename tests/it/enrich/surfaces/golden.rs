//! The recorded cases, through HTTP and gRPC.

use std::collections::BTreeMap;

use k8s_relay::{
    enrich::resource::Resource,
    proto::k8smeta::{self as wire, EnrichRequest, LookupRequest},
};
use serde_json::{Map, Value, json};

use super::{
    super::{cases, generated::recorded, golden},
    world::Relay,
};

const NDJSON: &str = "application/x-ndjson";

/// Objects that have a uid each: an API server gives one to all.
struct Objects {
    manifests: Vec<Value>,
    /// The uids that were made for objects which no reference names.
    made: Vec<String>,
}

impl Objects {
    /// An object without a uid gets the one by which an owner reference names it, else one of its
    /// kind and name.
    fn of(manifests: &Value) -> Self {
        let mut manifests = manifests.as_array().cloned().unwrap_or_default();
        let mut named = BTreeMap::new();
        for manifest in &manifests {
            let owners = manifest["metadata"]["ownerReferences"].as_array();
            for owner in owners.into_iter().flatten() {
                if let (Some(uid), key) = (owner["uid"].as_str(), key(&owner["kind"], owner)) {
                    named.insert(key, uid.to_owned());
                }
            }
        }
        let mut made = Vec::new();
        for manifest in &mut manifests {
            if manifest["metadata"]["uid"]
                .as_str()
                .is_none_or(str::is_empty)
            {
                let key = key(&manifest["kind"], &manifest["metadata"]);
                let uid = named.get(&key).filter(|uid| !uid.is_empty()).cloned();
                let uid = uid.unwrap_or_else(|| {
                    made.push(key.clone());
                    key
                });
                manifest["metadata"]["uid"] = uid.into();
            }
        }
        Self { manifests, made }
    }

    /// Takes the uids that were made out of an answer.
    fn unmade(&self, mut said: Value) -> Value {
        remove(&mut said, &|value| {
            value
                .as_str()
                .is_some_and(|text| self.made.iter().any(|made| made == text))
        });
        said
    }
}

fn key(kind: &Value, named: &Value) -> String {
    format!(
        "made-{}-{}",
        kind.as_str().unwrap(),
        named["name"].as_str().unwrap()
    )
}

fn remove(value: &mut Value, is_gone: &impl Fn(&Value) -> bool) {
    if let Value::Object(members) = value {
        members.retain(|_, member| !is_gone(member));
        members
            .values_mut()
            .for_each(|member| remove(member, is_gone));
    }
}

async fn relay(case: &Value) -> (Relay, Objects) {
    let relay = Relay::of_case(&case["config"]).await;
    let objects = Objects::of(&case["objects"]);
    relay.apply_all(&json!(objects.manifests));
    (relay, objects)
}

/// The path of a lookup of a case's `resource`.
fn path(resource: &Value, query: &str) -> String {
    let text = |key: &str| resource[key].as_str().unwrap();
    let (kind, name, container) = match text("kind") {
        "Container" => (
            Resource::Pod,
            text("pod"),
            format!("container={}", text("name")),
        ),
        kind => (
            Resource::from_kind(kind).unwrap(),
            text("name"),
            String::new(),
        ),
    };
    let namespace = resource["namespace"].as_str().unwrap_or("-");
    let uid = resource["uid"].as_str();
    let uid = uid.map(|uid| format!("uid={uid}")).unwrap_or_default();
    format!(
        "/v1/lookup/{}/{namespace}/{name}?{container}&{uid}&{query}",
        kind.key()
    )
}

/// The same over gRPC.
fn reference(resource: &Value) -> wire::Ref {
    let text = |key: &str| resource[key].as_str().unwrap_or_default().to_owned();
    let (kind, name, container) = match text("kind").as_str() {
        "Container" => (Resource::Pod, text("pod"), text("name")),
        kind => (
            Resource::from_kind(kind).unwrap(),
            text("name"),
            String::new(),
        ),
    };
    wire::Ref {
        kind: kind.key().to_owned(),
        namespace: text("namespace"),
        name,
        container,
        uid: text("uid"),
        ..wire::Ref::default()
    }
}

async fn enriched(
    relay: &Relay,
    metricset: &str,
    event: &str,
    metadata_only: bool,
) -> wire::Result {
    let batch = EnrichRequest {
        seq: 7,
        metricset: metricset.to_owned(),
        events: vec![event.to_owned().into()],
        metadata_only,
        ..EnrichRequest::default()
    };
    let mut client = relay.grpc().await;
    let mut answers = client
        .enrich(tokio_stream::iter([batch]))
        .await
        .unwrap()
        .into_inner();
    let mut answer = answers.message().await.unwrap().expect("an answer");
    assert_eq!((answer.seq, answer.error.as_str()), (7, ""));
    assert!(answers.message().await.unwrap().is_none());
    answer.items.pop().expect("a result")
}

fn parse(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

#[tokio::test]
async fn every_recorded_event_is_merged_as_recorded_over_http_and_grpc() {
    let cases = recorded("enrich");
    assert_eq!(cases.len(), 5);
    for (name, case) in cases {
        let (relay, objects) = relay(&case).await;
        let metricset = case["metricset"].as_str().unwrap();
        let (event, expected) = (case["event"].to_string(), &case["expected"]);
        let path = |output: &str| format!("/v1/enrich/{metricset}?output={output}");

        let bare = relay.post(&path("event"), NDJSON, event.clone()).await;
        assert_eq!(objects.unmade(bare.lines()[0].clone()), *expected, "{name}");
        let result = relay.post(&path("result"), NDJSON, event.clone()).await;
        let result = objects.unmade(result.lines()[0].clone());
        assert_eq!(result["event"], *expected, "{name}");
        let array = format!("[{event}]");
        let array = relay.post(&path("result"), "application/json", array).await;
        assert_eq!(objects.unmade(array.json()), json!([result]), "{name}");
        let over_grpc = enriched(&relay, metricset, &event, false).await;
        assert_eq!(objects.unmade(parse(&over_grpc.event)), *expected, "{name}");
        let state = wire::State::try_from(over_grpc.state).unwrap();
        assert_eq!(state.as_str_name(), result["state"], "{name}");
        relay.stop().await;
    }
}

#[tokio::test]
async fn every_recorded_document_is_said_over_http_and_grpc() {
    let mut wrong = Vec::new();
    let mut played = 0;
    for (name, case) in recorded("generate") {
        // No API server has a pod without a uid.
        if name == "pod-empty-uid" {
            continue;
        }
        played += 1;
        let (relay, objects) = relay(&case).await;
        let (resource, expected) = (&case["resource"], &case["expected"]);
        let (over_http, over_grpc) = if case["generator_kind"] == "state_namespace" {
            // Only events have this form.
            let event = json!({ "_module": { "namespace": resource["name"] } }).to_string();
            let path = "/v1/enrich/state_namespace?output=metadata";
            let answer = relay.post(path, NDJSON, event.clone()).await;
            let over_grpc = enriched(&relay, "state_namespace", &event, true).await;
            (answer.lines()[0]["metadata"].clone(), over_grpc)
        } else {
            let answer = relay.get(&path(resource, "")).await;
            assert_eq!(answer.code, 200, "{name}: {}", answer.text());
            let mut client = relay.grpc().await;
            let request = LookupRequest {
                refs: vec![reference(resource)],
                ..LookupRequest::default()
            };
            let mut found = client.lookup(request).await.unwrap().into_inner();
            (
                answer.json()["metadata"].clone(),
                found.items.pop().unwrap(),
            )
        };
        for (surface, said) in [("HTTP", over_http), ("gRPC", parse(&over_grpc.metadata))] {
            let mut said = objects.unmade(said);
            if resource["kind"] == "Container" {
                // Lookups also name the container.
                let kubernetes = said["kubernetes"].as_object_mut().unwrap();
                let container = kubernetes.remove("container").unwrap();
                assert_eq!(container, json!({ "name": resource["name"] }));
            }
            if said != *expected {
                wrong.push(format!("{name} over {surface}:\n  {said}\n  {expected}"));
            }
        }
        relay.stop().await;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(played >= 155, "{played}");
}

#[tokio::test]
async fn every_recorded_sequence_goes_as_recorded_over_http_and_grpc() {
    let cases = recorded("sequence");
    assert_eq!(cases.len(), 3);
    for (name, case) in cases {
        let relay = Relay::of_case(&case["config"]).await;
        let mut client = relay.grpc().await;
        for step in case["steps"].as_array().unwrap() {
            match step["op"].as_str().unwrap() {
                "apply" => relay.objects().apply(&step["object"]),
                "delete" => relay.objects().delete(&step["object"]),
                "advance_seconds" => relay.objects().advance(step["value"].as_f64().unwrap()),
                "lookup" => {
                    let answer = relay.get(&path(&step["resource"], "")).await;
                    let said = answer.json();
                    let is_found = said.get("metadata").is_some();
                    assert_eq!(is_found, step["expect"] != "not_found", "{name}: {step}");
                    assert_eq!(answer.code == 200, is_found, "{name}: {step}");
                    assert_eq!(said.get("deleted_at").is_some(), said["state"] == "DELETED");
                    if let Some(state) = step.get("state") {
                        assert_eq!(said["state"], *state, "{name}: {step}");
                    }
                    for (path, expected) in step["expect_fields"].as_object().into_iter().flatten()
                    {
                        let field = path.split('.').fold(&said["metadata"], |at, key| &at[key]);
                        assert_eq!(field, expected, "{name}: {path}");
                    }
                    let request = LookupRequest {
                        refs: vec![reference(&step["resource"])],
                        ..LookupRequest::default()
                    };
                    let found = client.lookup(request).await.unwrap().into_inner();
                    let state = wire::State::try_from(found.items[0].state).unwrap();
                    assert_eq!(state.as_str_name(), said["state"], "{name}: {step}");
                    assert_eq!(
                        !found.items[0].metadata.is_empty(),
                        is_found,
                        "{name}: {step}"
                    );
                }
                other => panic!("{name}: {other}"),
            }
        }
        relay.stop().await;
    }
}

/// The pod that the Collector's processor found for a resource.
fn pod(resource: &Value) -> Option<Map<String, Value>> {
    let out = resource["out"].as_object()?;
    let cluster = golden("k8sattributes/cluster.json");
    let same = |key: &str, value: &Value| out.get(key) == Some(value);
    let is_it = |metadata: &Value| {
        same("k8s.pod.uid", &metadata["uid"])
            || same("k8s.pod.name", &metadata["name"])
                && out
                    .get("k8s.namespace.name")
                    .is_none_or(|of| *of == metadata["namespace"])
    };
    let mut pods = cluster.as_array().unwrap().iter();
    let pod = pods.find(|object| object["kind"] == "Pod" && is_it(&object["metadata"]))?;
    pod["metadata"].as_object().cloned()
}

#[tokio::test]
async fn every_attribute_of_the_collector_is_said_of_a_pods_uid() {
    let every = json!({ "include_annotations": ["."], "use_regex_include": true });
    let mut profile = every.clone();
    profile["add_resource_metadata"] = json!({ "node": every, "namespace": every });
    // Hostname and image ids are kept for profiles of this schema.
    profile["output_schema"] = json!("otel");
    let relay = Relay::new(profile).await;
    relay.apply_all(&golden("k8sattributes/cluster.json"));
    let (mut compared, mut wrong) = (0, Vec::new());
    for (name, case) in cases("k8sattributes") {
        if case["kind"] != "k8sattributes" || case.get("config_error").is_some() {
            continue;
        }
        let semconv = case["conventions"].as_str().unwrap_or("v1");
        for resource in case["resources"].as_array().unwrap() {
            let is_ours = resource.get("differs_on_purpose").is_none();
            let Some(metadata) = pod(resource).filter(|_| is_ours) else {
                continue;
            };
            let given = &resource["in"];
            let container = given["k8s.container.name"].as_str().or_else(|| {
                let id = given["container.id"].as_str();
                id.map(|id| if id == "c1" { "app" } else { "proxy" })
            });
            let uid = metadata["uid"].as_str().unwrap();
            let text = |key: &str| metadata[key].as_str().unwrap();
            let path = format!("/v1/lookup/pod/{}/{}", text("namespace"), text("name"));
            let query = format!("uid={uid}&schema=otel&semconv={semconv}");
            let with = container.map(|name| format!("{path}?{query}&container={name}"));
            let mut said = relay.get(&with.unwrap_or(format!("{path}?{query}"))).await;
            if said.code == 404 {
                // The pod has no such container: ask for the pod.
                said = relay.get(&format!("/v1/lookup?{query}")).await;
            }
            let said = &said.json()["metadata"];
            for (key, value) in resource["out"].as_object().unwrap() {
                let is_kubernetes = key.starts_with("k8s.") || key.starts_with("container.");
                // An empty attribute of theirs may be absent.
                let is_absent = *value == json!("") && said.get(key).is_none();
                if is_kubernetes && given.get(key).is_none() && !is_absent {
                    compared += 1;
                    if said[key] != *value {
                        wrong.push(format!("{name}: {key}: {} instead of {value}", said[key]));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(compared >= 300, "{compared}");
}
