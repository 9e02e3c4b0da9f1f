//! `compat/native.toml`: which recordings are played natively too, and why the others are not.

use std::{fs, path::PathBuf};

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lists {
    #[serde(rename = "told")]
    played: Vec<String>,
    not_expressible: Vec<Group>,
}

/// Recordings that are left out for the same reason.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    reason: String,
    cases: Vec<String>,
}

impl Lists {
    pub fn read() -> Self {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("compat/native.toml");
        toml::from_str(&fs::read_to_string(path).unwrap()).unwrap()
    }

    pub fn played(&self) -> impl Iterator<Item = &str> {
        self.played.iter().map(String::as_str)
    }

    pub fn not_expressible(&self) -> impl Iterator<Item = &str> {
        let groups = self.not_expressible.iter();
        groups.flat_map(|group| &group.cases).map(String::as_str)
    }

    pub fn every_reason_is_given(&self) -> bool {
        let mut groups = self.not_expressible.iter();
        groups.all(|group| !group.reason.trim().is_empty() && !group.cases.is_empty())
    }
}
