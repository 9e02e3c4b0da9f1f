//! Enrichment through the public interface of its module, against recorded documents.

mod go_regexp;

use serde_json::Value;

/// A file below `compat/golden`.
fn golden(file: &str) -> Value {
    let path = format!("{}/compat/golden/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}
