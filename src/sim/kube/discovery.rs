//! What a server says about itself, so that `kubectl` finds its way.
//!
//! Pure.

use serde_json::{Value, json};

use crate::model::{KindRow, KindTable};

/// The version that is simulated.
const VERSION: &str = "v1.35.4";

/// Whether a path is one of an API group that exists: what is not found there is said as a
/// `Status`.
pub(super) fn knows_group(kinds: &KindTable, path: &str) -> bool {
    kinds.iter().any(|(_, row)| {
        let root = match &*row.group {
            "" => row.root(),
            group => format!("/apis/{group}"),
        };
        path.strip_prefix(&root)
            .is_some_and(|rest| rest.starts_with('/'))
    })
}

/// The document at a path.
pub(super) fn document(kinds: &KindTable, path: &str) -> Option<Value> {
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
            "groups": groups(kinds),
        }),
        root => {
            let of_root = kinds.iter().filter(|(_, row)| row.root() == root);
            let rows: Vec<_> = of_root.map(|(_, row)| row).collect();
            let version = rows.first()?.api_version();
            json!({
                "kind": "APIResourceList",
                "apiVersion": "v1",
                "groupVersion": version,
                "resources": rows.into_iter().map(resource).collect::<Vec<_>>(),
            })
        }
    })
}

/// Each group but the core, in the order of the table, with its versions.
fn groups(kinds: &KindTable) -> Vec<Value> {
    let mut groups: Vec<(&str, Vec<Value>)> = Vec::new();
    for (_, row) in kinds.iter().filter(|(_, row)| !row.group.is_empty()) {
        let version = json!({"groupVersion": row.api_version(), "version": row.version});
        match groups.iter_mut().find(|(group, _)| *group == row.group) {
            Some((_, versions)) if versions.contains(&version) => {}
            Some((_, versions)) => versions.push(version),
            None => groups.push((&row.group, vec![version])),
        }
    }
    let groups = groups.into_iter();
    groups
        .map(|(name, versions)| {
            json!({"name": name, "preferredVersion": versions.first(), "versions": versions})
        })
        .collect()
}

fn resource(row: &KindRow) -> Value {
    let capitals = row.kind.chars().filter(char::is_ascii_uppercase);
    let short: String = match &*row.kind {
        "Pod" => "po".to_owned(),
        "Job" => "job".to_owned(),
        _ => capitals.collect::<String>().to_ascii_lowercase(),
    };
    json!({
        "name": row.resource,
        "singularName": row.kind.to_lowercase(),
        "namespaced": row.namespaced,
        "kind": row.kind,
        "verbs": ["get", "list", "watch"],
        "shortNames": [short],
    })
}
