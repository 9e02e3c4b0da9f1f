//! Events, with what is added to them.

use k8s_relay::enrich::{answer::State, cluster::ClusterIdentity, event::store_key};
use serde_json::{Value, json};

use super::{
    generated::recorded,
    world::{World, shown},
};

fn pod() -> Value {
    json!({
        "kind": "Pod",
        "metadata": {
            "name": "web", "namespace": "shop", "uid": "u1", "resourceVersion": "7",
            "labels": { "app": "web" },
        },
        "spec": { "nodeName": "n1", "containers": [{ "name": "app", "image": "web:1" }] },
        "status": {
            "podIP": "10.0.0.1",
            "containerStatuses": [{ "name": "app", "containerID": "containerd://c1" }],
        },
    })
}

fn world(settings: Value) -> World {
    let mut world = World::new(&settings, ClusterIdentity::default());
    world.apply(&pod());
    world
}

/// Without what is joined.
fn plain() -> Value {
    json!({ "add_resource_metadata": {
        "node": { "enabled": false }, "namespace": { "enabled": false },
    } })
}

#[test]
fn every_recorded_event_is_merged_as_recorded() {
    let cases = recorded("enrich");
    assert_eq!(cases.len(), 5);
    for (name, case) in cases {
        let mut world = World::of_case(&case["config"]);
        for manifest in case["objects"].as_array().unwrap() {
            world.apply(manifest);
        }
        let metricset = case["metricset"].as_str().unwrap();
        let (answer, text) = world.enrich(metricset, &case["event"].to_string());
        let ours: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(ours, case["expected"], "{name}");
        let found = answer.state == State::Live;
        assert_eq!(found, case["expected"] != case["event"], "{name}");
    }
}

#[test]
fn the_store_key_of_an_id_is_that_of_beats() {
    let (_, case) = recorded("store_key").pop().unwrap();
    for row in case["table"].as_array().unwrap() {
        let key = store_key(row["metadata_key"].as_str().unwrap());
        assert_eq!(Some(key), row["expected"].as_str());
    }
}

#[test]
fn what_the_document_does_not_say_stays_byte_for_byte() {
    let event = "{ \"name\" : \"web\",\t\"x\": 1.10, \"big\":1e400, \"n\":123456789012345678901234567890, \
                 \"esc\":\"\\u00e9\\/\", \"x\":[ 1 ,2 ], \"_module\":{ \"namespace\" : \"shop\" , \"k\":-0.0} , \
                 \"empty\":{ } }";
    let (answer, text) = world(plain()).enrich("pod", event);
    assert_eq!(answer.state, State::Live);
    assert_eq!(
        text,
        "{ \"name\" : \"web\",\t\"x\": 1.10, \"big\":1e400, \"n\":123456789012345678901234567890, \
         \"esc\":\"\\u00e9\\/\", \"x\":[ 1 ,2 ], \"_module\":{ \"namespace\" : \"shop\" , \"k\":-0.0,\
         \"node\":{\"name\":\"n1\"},\"labels\":{\"app\":\"web\"}} , \"empty\":{ },\
         \"uid\":\"u1\",\"ip\":\"10.0.0.1\",\"meta\":{} }"
    );
}

#[test]
fn objects_merge_key_by_key_and_the_document_wins() {
    let container = |members: &str| {
        format!(
            r#"{{"name":"app",{members}"_module":{{"namespace":"shop","pod":{{"name":"web"}}}}}}"#
        )
    };
    for (event, expected) in [
        (
            container(""),
            json!({ "meta": { "container": {
                "id": "c1", "runtime": "containerd", "image": { "name": "web:1" },
            } } }),
        ),
        (
            container(
                r#""meta":{"container":{"id":"old","image":{"name":"old","tag":"t"}},"k":1},"#,
            ),
            json!({ "meta": { "k": 1, "container": {
                "id": "c1", "runtime": "containerd", "image": { "name": "web:1", "tag": "t" },
            } } }),
        ),
        (
            container(r#""meta":{"container":{"id":{"deep":1},"image":"flat"}},"#),
            json!({ "meta": { "container": {
                "id": "c1", "runtime": "containerd", "image": { "name": "web:1" },
            } } }),
        ),
        (
            container(r#""meta":[1],"kubernetes":"wrong type","#),
            json!({ "kubernetes": "wrong type", "meta": { "container": {
                "id": "c1", "runtime": "containerd", "image": { "name": "web:1" },
            } } }),
        ),
    ] {
        let (_, text) = world(plain()).enrich("container", &event);
        let mut ours: Value = serde_json::from_str(&text).unwrap();
        let ours = ours.as_object_mut().unwrap();
        assert_eq!(ours.remove("name"), Some(json!("app")));
        let module = json!({
            "namespace": "shop", "node": { "name": "n1" }, "labels": { "app": "web" },
            "pod": { "name": "web", "uid": "u1", "ip": "10.0.0.1" },
        });
        assert_eq!(ours.remove("_module"), Some(module));
        assert_eq!(json!(ours), expected, "{event}");
    }
}

#[test]
fn a_module_that_is_no_object_names_nothing() {
    let mut world = world(plain());
    world.apply(&json!({ "kind": "Node", "metadata": { "name": "n1", "uid": "n" } }));
    for (event, expected) in [
        (
            r#"{"name":"n1","_module":7}"#,
            r#"{"name":"n1","_module":{"node":{"name":"n1","uid":"n"}},"meta":{}}"#,
        ),
        (
            r#"{"name":"n1","_module":null,"meta":null}"#,
            r#"{"name":"n1","_module":{"node":{"name":"n1","uid":"n"}},"meta":{}}"#,
        ),
        (
            r#"{"name":"n1","_module":{},"_module":{"a":1}}"#,
            r#"{"name":"n1","_module":{"node":{"name":"n1","uid":"n"}},"_module":{"a":1,"node":{"name":"n1","uid":"n"}},"meta":{}}"#,
        ),
    ] {
        assert_eq!(world.enrich("node", event).1, expected);
    }
}

#[test]
fn an_event_that_finds_nothing_stays_and_the_answer_says_why() {
    let unlisted = || {
        use k8s_relay::enrich::{resource::Resource, view::Sync};
        let mut world = world(plain());
        world.index.set_sync(Resource::Service, Sync::PENDING);
        world
    };
    let limited =
        || world(json!({ "metricsets": ["pod"], "add_resource_metadata.node.enabled": "no" }));
    let off = || world(json!({ "add_metadata": false }));
    for (world, metricset, event, expected) in [
        (
            unlisted(),
            "pod",
            r#" {"name":"none"} "#,
            json!({ "state": "MISSING", "age_ms": 0 }),
        ),
        (
            unlisted(),
            "container",
            r#"{"name":"none","_module":{"namespace":"shop","pod":{"name":"web"}}}"#,
            json!({ "state": "MISSING", "age_ms": 0 }),
        ),
        (
            unlisted(),
            "state_service",
            r#"{"name":"none"}"#,
            json!({ "state": "SYNCING", "reason": "pending" }),
        ),
        (
            limited(),
            "state_service",
            r#"{"name":"x"}"#,
            json!({ "state": "DISABLED" }),
        ),
        (
            off(),
            "pod",
            r#"{"name":"x"}"#,
            json!({ "state": "DISABLED" }),
        ),
        (
            unlisted(),
            "pod",
            "[1]",
            json!({
                "state": "INVALID",
                "error": "not a JSON object: invalid type: sequence, expected an object at line 1 column 0",
            }),
        ),
    ] {
        let (answer, text) = world.enrich(metricset, event);
        assert_eq!(shown(&answer), expected, "{event}");
        let unchanged = if answer.state == State::Invalid {
            ""
        } else {
            event.trim()
        };
        assert_eq!(text, unchanged);
    }
}

#[test]
fn an_event_of_opentelemetry_has_the_attributes_at_the_root() {
    let mut settings = plain();
    settings["output_schema"] = json!("otel");
    let event = r#"{"name":"web","_module":{"namespace":"shop"},"meta":{"k8s.pod.uid":1}}"#;
    let (answer, text) = world(settings).enrich("pod", event);
    assert_eq!(
        answer.schema_url,
        Some("https://opentelemetry.io/schemas/1.42.0")
    );
    let ours: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(ours["_module"], json!({ "namespace": "shop" }));
    assert_eq!(ours["meta"]["k8s.pod.uid"], "u1");
    assert_eq!(ours["meta"]["k8s.pod.label.app"], "web");
}
