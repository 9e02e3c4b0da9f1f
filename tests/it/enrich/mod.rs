//! Enrichment through the public interface of its module, against recorded documents.

mod caching;
mod differences;
mod events;
mod exposed;
mod generated;
mod go_regexp;
mod lookups;
mod manifest;
mod otel;
mod owners;
mod profiles;
mod properties;
mod surfaces;
mod world;

use std::{fs, path::PathBuf};

use serde_json::Value;

/// A file below `compat/golden`.
fn golden(file: &str) -> Value {
    let path = folder(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The cases of a folder below `compat/golden`, by their file names.
fn cases(folder_name: &str) -> Vec<(String, Value)> {
    let entries = fs::read_dir(folder(folder_name)).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let case = |name: String| {
        let case = golden(&format!("{folder_name}/{name}"));
        (name.trim_end_matches(".json").to_owned(), case)
    };
    names.into_iter().map(case).collect()
}

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("compat/golden")
        .join(name)
}
