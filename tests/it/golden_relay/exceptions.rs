//! `compat/exceptions.toml`: where we differ from the legacy relay on purpose, and how exactly.

use std::{collections::BTreeMap, fs, path::PathBuf};

use serde::Deserialize;

use super::{
    native::Expected,
    outcome::{Outcome, Output},
};

/// One intended difference.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exception {
    /// The recording's name.
    pub case: String,
    /// Which rule of ours it follows.
    pub decision: String,
    pub reason: String,
    /// Our messages, one a line.
    output: Option<String>,
    /// Instead of `output`, of very many messages: how often each occurs …
    counts: Option<BTreeMap<String, usize>>,
    /// … and both ends.
    first: Option<String>,
    last: Option<String>,
    /// How our streams end, if not as recorded.
    streams: Option<Vec<String>>,
    /// Whether our relay survives, if not as recorded.
    alive: Option<bool>,
}

/// One more, in what the reducer knows at the end of the same told natively.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Native {
    /// The recording's name.
    pub case: String,
    /// Which rule of ours it follows.
    pub decision: String,
    pub reason: String,
    /// The picture: each pod by uid, its containers after it.
    picture: Option<String>,
    /// Instead of it, how many there are.
    pods: Option<usize>,
    containers: Option<usize>,
}

/// One more, between both feeds of a migration: `k8s_relay::migrate::compare::Rule`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Migration {
    /// The rule's name.
    pub rule: String,
    /// Which rules of ours it follows.
    pub decision: String,
    pub reason: String,
}

/// Those of the `Collect` streams.
pub fn read() -> Vec<Exception> {
    File::read().exception
}

/// Those of the native source.
pub fn read_native() -> Vec<Native> {
    File::read().native
}

/// Those of a migration.
pub fn read_migration() -> Vec<Migration> {
    File::read().migration
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    exception: Vec<Exception>,
    native: Vec<Native>,
    migration: Vec<Migration>,
}

impl File {
    fn read() -> Self {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("compat/exceptions.toml");
        toml::from_str(&fs::read_to_string(path).unwrap()).unwrap()
    }
}

impl Native {
    /// What the reducer knows.
    pub fn expected(&self) -> Expected {
        match (&self.picture, self.pods, self.containers) {
            (Some(picture), None, None) => Expected::Lines(lines(picture)),
            (None, Some(pods), Some(containers)) => Expected::Counts { pods, containers },
            _ => panic!("{}: give picture, or pods and containers", self.case),
        }
    }
}

impl Exception {
    /// What we tell where the legacy relay told `recorded`.
    pub fn outcome(&self, recorded: &Outcome) -> Outcome {
        let output = match (&self.output, &self.counts, &self.first, &self.last) {
            (Some(output), None, None, None) => Output::Lines(lines(output)),
            (None, Some(counts), Some(first), Some(last)) => Output::Summary {
                counts: counts.clone(),
                first: lines(first),
                last: lines(last),
            },
            _ => panic!("{}: give output, or counts, first and last", self.case),
        };
        Outcome {
            output,
            handshakes: recorded.handshakes.clone(),
            streams: self.streams.clone().unwrap_or(recorded.streams.clone()),
            alive: self.alive.unwrap_or(recorded.alive),
        }
    }
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}
