//! The recordings of the legacy relay in `compat/golden/relay/`, as cases.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use k8s_relay::sim::watcher::Message;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    case::{Case, Compared, Step},
    info::{InfoJson, unhex},
    outcome::{Outcome, Output, handshake_line, line},
};

/// Where they are.
pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("compat/golden/relay")
}

/// The names of all, in order.
pub fn names() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder()).context("the recordings")? {
        let path = entry?.path();
        let stem = path.file_stem().unwrap_or_default();
        names.push(stem.to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// Reads the recording of this name.
pub fn read(name: &str) -> Result<Case> {
    read_file(&folder().join(format!("{name}.json")))
}

/// Reads a recording.
///
/// # Errors
/// It was cut or altered, so that it is none any more; with the file and the place.
pub fn read_file(path: &Path) -> Result<Case> {
    let case = || {
        let file: File = serde_json::from_str(&fs::read_to_string(path)?)?;
        let name = path.file_stem().unwrap_or_default();
        ensure!(name == &*file.name, "it is named {:?} inside", file.name);
        file.case()
    };
    case().with_context(|| path.display().to_string())
}

#[derive(Deserialize)]
struct File {
    name: String,
    description: String,
    config_labels: Map<String, Value>,
    input: Vec<Value>,
    output: Option<Vec<Map<String, Value>>>,
    output_summary: Option<Summary>,
    handshake: Vec<Map<String, Value>>,
    handshake_same_on_every_connection: bool,
    connections: usize,
    grpc_outcome: Vec<Stream>,
    relay_alive_at_end: bool,
}

impl File {
    fn case(self) -> Result<Case> {
        ensure!(
            self.handshake_same_on_every_connection,
            "its handshakes differ, which is not foreseen"
        );
        let handshake: Vec<String> = self.handshake.into_iter().map(handshake_line).collect();
        let output = match (self.output, self.output_summary) {
            (Some(messages), _) => {
                let messages: Result<Vec<_>> = messages.into_iter().map(expand_all).collect();
                Output::of(messages?)
            }
            (None, Some(summary)) => summary.into(),
            (None, None) => bail!("neither output nor output_summary"),
        };
        let streams: Result<Vec<String>> = self.grpc_outcome.iter().map(Stream::line).collect();
        let steps = self.input.into_iter().enumerate();
        let steps: Result<Vec<Step>> = steps
            .map(|(at, value)| step(value).with_context(|| format!("input {at}")))
            .collect();
        Ok(Case {
            name: self.name,
            description: self.description,
            labels: self.config_labels,
            steps: steps?,
            compared: Compared::default(),
            recorded: Some(Outcome {
                output,
                handshakes: vec![handshake; self.connections],
                streams: streams?,
                alive: self.relay_alive_at_end,
                refused: Vec::new(),
            }),
        })
    }
}

#[derive(Deserialize)]
struct Summary {
    count_per_message: BTreeMap<String, usize>,
    first: Vec<Map<String, Value>>,
    last: Vec<Map<String, Value>>,
}

impl From<Summary> for Output {
    fn from(summary: Summary) -> Self {
        let lines = |messages: Vec<_>| messages.iter().map(line).collect();
        Self::Summary {
            counts: summary.count_per_message,
            first: lines(summary.first),
            last: lines(summary.last),
        }
    }
}

#[derive(Deserialize)]
struct Stream {
    stream: String,
    ended_by: Option<String>,
    final_status: Option<String>,
    #[serde(default)]
    connect_failed: bool,
}

impl Stream {
    fn line(&self) -> Result<String> {
        match (&self.ended_by, &self.final_status) {
            (Some(by), Some(status)) => Ok(format!("{}: {by}, {status}", self.stream)),
            _ if self.connect_failed => Ok(format!("{}: connect failed", self.stream)),
            _ => bail!("stream {} has no end", self.stream),
        }
    }
}

fn step(step: Value) -> Result<Step> {
    if step.get("control").is_some() {
        return Ok(Step::Control(serde_json::from_value(step)?));
    }
    let json: InfoJson = serde_json::from_value(expand(step)?)?;
    let stream = json.stream.clone();
    let message = Box::new(match &json.raw_hex {
        Some(hex) => Message::Raw(unhex(hex)?),
        None => Message::Info(json.info()?),
    });
    Ok(Step::Send { stream, message })
}

/// Writes out `{"$repeat": [text, times]}`.
fn expand(value: Value) -> Result<Value> {
    Ok(match value {
        Value::Object(map) => match map.get("$repeat") {
            Some(repeat) => {
                /// More is no recording of a message, whose longest has 16 KiB.
                const MOST: usize = 1 << 20;
                let (text, times): (String, usize) = serde_json::from_value(repeat.clone())?;
                let whole = text.len().saturating_mul(times);
                ensure!(whole <= MOST, "$repeat of {whole} bytes");
                text.repeat(times).into()
            }
            None => expand_all(map)?.into(),
        },
        Value::Array(values) => {
            let values: Result<Vec<Value>> = values.into_iter().map(expand).collect();
            values?.into()
        }
        plain @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => plain,
    })
}

fn expand_all(map: Map<String, Value>) -> Result<Map<String, Value>> {
    map.into_iter().map(|(k, v)| Ok((k, expand(v)?))).collect()
}
