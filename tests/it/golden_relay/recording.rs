//! A recording of the legacy relay, read from `compat/golden/relay/`.

use std::{fs, path::PathBuf};

use bytes::Bytes;
use k8s_relay::{
    proto::{self, info::Event, info::Type},
    sim::watcher::Message,
};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::outcome::{Outcome, Output, greeting_line, line};

/// One experiment: what was done, and what the legacy relay told.
pub struct Recording {
    pub description: String,
    /// The `labels:` of the config file, in its order.
    pub labels: Map<String, Value>,
    pub steps: Vec<Step>,
    pub outcome: Outcome,
}

/// One step of the input.
pub enum Step {
    Send {
        /// The current stream if it names none.
        stream: Option<String>,
        message: Box<Message>,
    },
    Control(Control),
}

#[derive(Clone, Deserialize)]
#[serde(tag = "control", rename_all = "snake_case")]
pub enum Control {
    Settle,
    Wait {},
    OpenStream {
        stream: String,
    },
    NewStream {
        stream: String,
    },
    HalfClose {
        stream: String,
    },
    CancelStream {
        stream: String,
    },
    ReducerDisconnect,
    ReducerReset,
    ReducerStopListening,
    ReducerStartListening,
    WaitConnections {
        n: usize,
    },
    Generate {
        stream: Option<String>,
        generator: Generator,
        count: u32,
        #[serde(default)]
        same_owner: bool,
    },
    FastClient(FastClient),
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Generator {
    WaitingPods,
    WaitingUpdates,
    RsAddDelete,
}

#[derive(Clone, Deserialize)]
pub struct FastClient {
    pub stream: String,
    pub replica_sets: u32,
    pub pods: u32,
    #[serde(default = "two")]
    pub containers: u32,
    #[serde(default)]
    pub pods_first: bool,
}

pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("compat/golden/relay")
}

impl Recording {
    pub fn read(name: &str) -> Self {
        let text = fs::read_to_string(folder().join(format!("{name}.json"))).unwrap();
        let file: File = serde_json::from_str(&text).unwrap();
        assert_eq!(file.name, name);
        let handshake: Vec<String> = file.handshake.into_iter().map(greeting_line).collect();
        assert!(file.handshake_same_on_every_connection, "not foreseen");
        let steps: Vec<Step> = file.input.into_iter().map(Step::read).collect();
        let output = match (file.output, file.output_summary) {
            (Some(messages), _) => Output::of(messages.into_iter().map(expand_all)),
            (None, Some(summary)) => summary.into(),
            (None, None) => panic!("neither output nor output_summary"),
        };
        Self {
            description: file.description,
            labels: file.config_labels,
            steps,
            outcome: Outcome {
                output,
                handshakes: vec![handshake; file.connections],
                streams: file.grpc_outcome.iter().map(Stream::line).collect(),
                alive: file.relay_alive_at_end,
            },
        }
    }

    /// Whether its bulk comes from a generator which is not ours: only counts can be equal.
    pub fn has_fast_client(&self) -> bool {
        self.steps
            .iter()
            .any(|step| matches!(step, Step::Control(Control::FastClient(_))))
    }

    /// Whether the reducer listens before the relay starts.
    pub fn reducer_listens_at_first(&self) -> bool {
        let first = self.steps.iter().find_map(|step| match step {
            Step::Control(Control::ReducerStopListening) => Some(true),
            Step::Control(Control::ReducerStartListening) => Some(false),
            Step::Control(_) | Step::Send { .. } => None,
        });
        first.unwrap_or(true)
    }
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

#[derive(Deserialize)]
struct Summary {
    count_per_message: std::collections::BTreeMap<String, usize>,
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
    fn line(&self) -> String {
        match (&self.ended_by, &self.final_status) {
            (Some(by), Some(status)) => format!("{}: {by}, {status}", self.stream),
            _ if self.connect_failed => format!("{}: connect failed", self.stream),
            _ => panic!("stream {} has no end", self.stream),
        }
    }
}

impl Step {
    fn read(step: Value) -> Self {
        if step.get("control").is_some() {
            return Self::Control(serde_json::from_value(step).unwrap());
        }
        let json: InfoJson = serde_json::from_value(expand(step)).unwrap();
        let stream = json.stream.clone();
        let message = Box::new(match &json.raw_hex {
            Some(hex) => Message::Raw(unhex(hex)),
            None => Message::Info(json.into()),
        });
        Self::Send { stream, message }
    }
}

/// Writes out `{"$repeat": [text, times]}`.
fn expand(value: Value) -> Value {
    match value {
        Value::Object(map) => match map.get("$repeat").and_then(Value::as_array) {
            Some(repeat) => {
                let times = repeat[1].as_u64().unwrap();
                repeat[0].as_str().unwrap().repeat(times as usize).into()
            }
            None => expand_all(map).into(),
        },
        Value::Array(values) => values.into_iter().map(expand).collect(),
        plain @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => plain,
    }
}

fn expand_all(map: Map<String, Value>) -> Map<String, Value> {
    map.into_iter().map(|(k, v)| (k, expand(v))).collect()
}

fn unhex(digits: &str) -> Bytes {
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.as_bytes().chunks(2).map(byte).collect()
}

fn two() -> u32 {
    2
}

// === protobuf's JSON form, as far as the recordings use it ===

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct InfoJson {
    stream: Option<String>,
    raw_hex: Option<String>,
    r#type: Code,
    event: Code,
    pod_info: Option<PodJson>,
    rs_info: Option<ControlledJson>,
    job_info: Option<ControlledJson>,
}

/// An enum value: its name or its number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Code {
    Name(String),
    Number(i32),
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct PodJson {
    uid: String,
    ip: String,
    owner: Option<OwnerJson>,
    ns: String,
    is_host_network: bool,
    name: String,
    containers_ids: Vec<String>,
    version: String,
    container_infos: Vec<ContainerJson>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ControlledJson {
    uid: String,
    owner: Option<OwnerJson>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct OwnerJson {
    uid: String,
    name: String,
    kind: String,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ContainerJson {
    id: String,
    name: String,
    image: String,
}

impl Default for Code {
    fn default() -> Self {
        Self::Number(0)
    }
}

impl Code {
    fn number(&self, of: impl Fn(&str) -> Option<i32>) -> i32 {
        match self {
            Self::Name(name) => of(name).unwrap(),
            Self::Number(number) => *number,
        }
    }
}

impl From<InfoJson> for proto::Info {
    fn from(info: InfoJson) -> Self {
        Self {
            r#type: info
                .r#type
                .number(|n| Type::from_str_name(n).map(Into::into)),
            event: info
                .event
                .number(|n| Event::from_str_name(n).map(Into::into)),
            pod_info: info.pod_info.map(Into::into),
            rs_info: info.rs_info.map(|rs| proto::ReplicaSetInfo {
                uid: rs.uid,
                owner: rs.owner.map(Into::into),
            }),
            job_info: info.job_info.map(|job| proto::JobInfo {
                uid: job.uid,
                owner: job.owner.map(Into::into),
            }),
        }
    }
}

impl From<PodJson> for proto::PodInfo {
    fn from(pod: PodJson) -> Self {
        Self {
            uid: pod.uid,
            ip: pod.ip,
            owner: pod.owner.map(Into::into),
            ns: pod.ns,
            is_host_network: pod.is_host_network,
            name: pod.name,
            containers_ids: pod.containers_ids,
            version: pod.version,
            container_infos: pod.container_infos.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<OwnerJson> for proto::OwnerInfo {
    fn from(owner: OwnerJson) -> Self {
        Self {
            uid: owner.uid,
            name: owner.name,
            kind: owner.kind,
        }
    }
}

impl From<ContainerJson> for proto::ContainerInfo {
    fn from(container: ContainerJson) -> Self {
        Self {
            id: container.id,
            name: container.name,
            image: container.image,
        }
    }
}
