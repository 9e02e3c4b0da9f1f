//! What a server says about itself, so that `kubectl` finds its way.
//!
//! Pure.

use serde_json::{Value, json};

use super::objects::{Names, names};
use crate::model::Kind;

/// The version that is simulated.
const VERSION: &str = "v1.35.4";

/// Whether a path is one of an API group that exists: what is not found there is said as a
/// `Status`.
pub(super) fn knows_group(path: &str) -> bool {
    let groups = ["/api/v1/", "/apis/apps/", "/apis/batch/"];
    groups.iter().any(|group| path.starts_with(group))
}

/// The document at a path.
pub(super) fn document(path: &str) -> Option<Value> {
    Some(match path {
        "/version" | "/version/" => json!({
            "major": "1",
            "minor": "35",
            "emulationMajor": "1",
            "emulationMinor": "35",
            "minCompatibilityMajor": "1",
            "minCompatibilityMinor": "34",
            "gitVersion": VERSION,
            "gitCommit": "simulated",
            "gitTreeState": "clean",
            "buildDate": "2026-01-15T08:00:00Z",
            "goVersion": "none",
            "compiler": "none",
            "platform": "linux/amd64",
        }),
        "/api" => json!({
            "kind": "APIVersions",
            "versions": ["v1"],
            "serverAddressByClientCIDRs": [],
        }),
        "/apis" => json!({
            "kind": "APIGroupList",
            "apiVersion": "v1",
            "groups": [group("apps"), group("batch")],
        }),
        "/api/v1" => resources(Kind::Pod, "po"),
        "/apis/apps/v1" => resources(Kind::ReplicaSet, "rs"),
        "/apis/batch/v1" => resources(Kind::Job, "job"),
        _ => return None,
    })
}

fn group(name: &str) -> Value {
    let version = json!({"groupVersion": format!("{name}/v1"), "version": "v1"});
    json!({"name": name, "versions": [version], "preferredVersion": version})
}

fn resources(kind: Kind, short: &str) -> Value {
    let Names {
        api_version,
        kind,
        plural,
        ..
    } = names(kind);
    json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": api_version,
        "resources": [{
            "name": plural,
            "singularName": kind.to_lowercase(),
            "namespaced": true,
            "kind": kind,
            "verbs": ["get", "list", "watch"],
            "shortNames": [short],
        }],
    })
}
