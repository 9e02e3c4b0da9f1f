//! What is done to the peers: a case, its steps, and the files in `compat/cases/`.
//!
//! A case has an input and no expectation of its own: two peers are compared. A case made of a
//! recording has an output, too, and so the recorded relay takes part in it.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use k8s_relay::{
    proto::{
        Info,
        info::{Event, Type},
    },
    sim::{load, watcher::Message},
};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    info::{ControlledJson, PodJson, unhex},
    outcome::Outcome,
    streams,
};

/// One experiment.
#[derive(Clone, Debug)]
pub struct Case {
    /// A sentence, or a recording's name.
    pub name: String,
    pub description: String,
    /// The `labels:` of the relay's config file, in its order.
    pub labels: Map<String, Value>,
    pub steps: Vec<Step>,
    pub compared: Compared,
    /// What the legacy relay sent, if this is a recording of it.
    pub recorded: Option<Outcome>,
}

/// How much of two live peers is compared.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "snake_case")]
pub enum Compared {
    /// Only what is left in the end: the reducers' states, digests, how the calls ended. For what
    /// depends on the machine on the way there, and for peers with a past.
    #[serde(rename = "states", alias = "pictures")]
    ReducerStates,
    /// Each pod's messages in their order, too.
    #[default]
    Sequences,
}

/// One step of the input.
#[derive(Clone, Debug)]
pub enum Step {
    Send {
        /// The current stream if it names none.
        stream: Option<String>,
        message: Box<Message>,
    },
    Control(Control),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "control", rename_all = "snake_case")]
pub enum Control {
    /// All that was sent to the relay has been applied, and all that it sent has been read.
    Settle,
    Wait {},
    OpenStream {
        stream: String,
    },
    /// The current stream is half-closed and this one opened in its place.
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
    /// The reducer goes on listening, but reads nothing.
    ReducerStopReading,
    ReducerStartReading,
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
    /// The list of a synthetic cluster; the stream stays open.
    List(FastClient),
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Generator {
    WaitingPods,
    WaitingUpdates,
    RsAddDelete,
}

/// A watcher with a synthetic cluster.
#[derive(Clone, Debug, Deserialize)]
pub struct FastClient {
    pub stream: String,
    pub replica_sets: u32,
    pub pods: u32,
    #[serde(default = "two")]
    pub containers: u32,
    #[serde(default)]
    pub pods_first: bool,
}

impl Case {
    /// Whether its bulk comes from a generator which is not ours: only counts can be equal.
    pub fn has_fast_client(&self) -> bool {
        let fast = |step: &Step| matches!(step, Step::Control(Control::FastClient(_)));
        self.steps.iter().any(fast)
    }

    /// Whether playing it to one peer keeps a processor busy for many seconds.
    pub fn is_heavy(&self) -> bool {
        const MANY: u32 = 50_000;
        self.steps.iter().any(|step| match step {
            Step::Control(Control::FastClient(client) | Control::List(client)) => {
                client.pods.saturating_mul(client.containers) >= MANY
            }
            Step::Control(_) | Step::Send { .. } => false,
        })
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

// === What was heard from watchers, as a case ===

/// What a watcher did on one of its streams.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    Opened,
    Message(Bytes),
    HalfClosed,
    Cancelled,
}

/// After a pause like this a watcher had waited for something: the peers settle, too.
const PAUSE: Duration = Duration::from_millis(100);

impl Case {
    /// What was heard, when, and on which stream. Where another stream speaks, and after each
    /// pause, the peers settle: what two streams sent at the same time has no order.
    pub fn of_streams(
        name: String,
        heard: impl IntoIterator<Item = (Duration, u64, Heard)>,
    ) -> Self {
        let mut steps = Vec::new();
        let mut last: Option<(Duration, u64)> = None;
        for (at, stream, what) in heard {
            if last.is_some_and(|(before, other)| other != stream || at >= before + PAUSE) {
                steps.push(Step::Control(Control::Settle));
            }
            last = Some((at, stream));
            let stream = format!("stream {stream}");
            steps.push(match what {
                Heard::Opened => Step::Control(Control::OpenStream { stream }),
                Heard::Message(bytes) => Step::Send {
                    stream: Some(stream),
                    message: Box::new(Message::Raw(bytes)),
                },
                Heard::HalfClosed => Step::Control(Control::HalfClose { stream }),
                Heard::Cancelled => Step::Control(Control::CancelStream { stream }),
            });
        }
        Self {
            name,
            description: String::new(),
            labels: Map::new(),
            steps,
            compared: Compared::default(),
            recorded: None,
        }
    }
}

/// The Infos of a generator.
pub fn generate(
    generator: Generator,
    count: u32,
    same_owner: bool,
) -> Box<dyn Iterator<Item = Info> + Send> {
    match (generator, same_owner) {
        (Generator::WaitingPods, false) => Box::new(load::waiting_pods(count)),
        (Generator::WaitingPods, true) => Box::new(load::waiting_pods_of_one_set(count)),
        (Generator::WaitingUpdates, _) => Box::new(load::waiting_updates(count)),
        (Generator::RsAddDelete, _) => Box::new(load::replica_sets_that_go(count)),
    }
}

fn two() -> u32 {
    2
}

// === compat/cases/*.toml ===

/// Where our own cases are.
pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("compat/cases")
}

/// Reads every `*.toml` of a folder, by name.
pub fn read_all(folder: &Path) -> Result<Vec<Case>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cases in {}", folder.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let file = entry?.path();
        if file.extension().is_some_and(|e| e == "toml") {
            files.push(file);
        }
    }
    files.sort();
    let cases = files
        .iter()
        .map(|file| read(file))
        .collect::<Result<Vec<_>>>()?;
    for (at, case) in cases.iter().enumerate() {
        let same = |other: &Case| other.name == case.name;
        ensure!(
            !cases.iter().take(at).any(same),
            "two cases are named {:?}",
            case.name
        );
    }
    Ok(cases)
}

/// Reads one case file.
pub fn read(file: &Path) -> Result<Case> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let folder = file.parent().unwrap_or(Path::new("."));
    parse(&text, folder).with_context(|| file.display().to_string())
}

/// Reads the text of a case file; a recording that it names is looked for in this folder.
///
/// # Errors
/// An unknown key, a step of another form: with its place. A recording of no use.
pub fn parse(text: &str, folder: &Path) -> Result<Case> {
    let file: File = toml::from_str(text)?;
    ensure!(
        file.name.contains(' '),
        "the name is not a sentence: {:?}",
        file.name
    );
    if let Some(recording) = &file.recording {
        ensure!(
            file.steps.is_empty(),
            "steps next to a recording, which has its own"
        );
        let recorded = streams::read(&folder.join(recording))?;
        return Ok(Case {
            name: file.name,
            description: [file.description, recorded.description].concat(),
            labels: file.labels,
            compared: file.compared,
            ..recorded
        });
    }
    ensure!(!file.steps.is_empty(), "no steps");
    let mut case = Case {
        name: file.name,
        description: file.description,
        labels: file.labels,
        steps: Vec::new(),
        compared: file.compared,
        recorded: None,
    };
    for step in file.steps {
        case.steps.extend(step.steps()?);
    }
    Ok(case)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    labels: Map<String, Value>,
    #[serde(default)]
    compared: Compared,
    /// What a tee has recorded, in place of steps.
    recording: Option<PathBuf>,
    #[serde(default)]
    steps: Vec<Written>,
}

/// A step as it stands in a case file: a word, or a table with one key.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Written {
    Added(Object),
    Modified(Object),
    Deleted(Object),
    /// An event that says that the watch failed.
    Error(Object),
    /// Hex digits that are sent as a message.
    Bytes(String),
    /// Many Infos of a synthetic cluster.
    List(FastList),
    Open(String),
    Reopen(String),
    HalfClose(String),
    Cancel(String),
    Settle,
    /// It closes its connections, and listens no more.
    ReducerGoesAway,
    ReducerComesBack,
    ReducerDisconnects,
    ReducerResets,
    ReducerStopsReading,
    ReducerReadsAgain,
    /// Waits for the reducer's connection with this number, from 1.
    Connection(usize),
}

/// What an event is about.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Object {
    /// The stream that sends it.
    on: Option<String>,
    pod: Option<PodJson>,
    replica_set: Option<ControlledJson>,
    job: Option<ControlledJson>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FastList {
    on: String,
    replica_sets: u32,
    pods: u32,
    #[serde(default = "two")]
    containers: u32,
    #[serde(default)]
    pods_first: bool,
}

impl Written {
    fn steps(self) -> Result<Vec<Step>> {
        let control = match self {
            Self::Added(object) => return Ok(vec![object.sent(Event::Added)?]),
            Self::Modified(object) => return Ok(vec![object.sent(Event::Modified)?]),
            Self::Deleted(object) => return Ok(vec![object.sent(Event::Deleted)?]),
            Self::Error(object) => return Ok(vec![object.sent(Event::Error)?]),
            Self::Bytes(hex) => {
                let message = Box::new(Message::Raw(unhex(&hex)?));
                return Ok(vec![Step::Send {
                    stream: None,
                    message,
                }]);
            }
            Self::ReducerGoesAway => {
                return Ok(vec![
                    Step::Control(Control::ReducerStopListening),
                    Step::Control(Control::ReducerDisconnect),
                ]);
            }
            Self::List(list) => Control::List(FastClient {
                stream: list.on,
                replica_sets: list.replica_sets,
                pods: list.pods,
                containers: list.containers,
                pods_first: list.pods_first,
            }),
            Self::Open(stream) => Control::OpenStream { stream },
            Self::Reopen(stream) => Control::NewStream { stream },
            Self::HalfClose(stream) => Control::HalfClose { stream },
            Self::Cancel(stream) => Control::CancelStream { stream },
            Self::Settle => Control::Settle,
            Self::ReducerComesBack => Control::ReducerStartListening,
            Self::ReducerDisconnects => Control::ReducerDisconnect,
            Self::ReducerResets => Control::ReducerReset,
            Self::ReducerStopsReading => Control::ReducerStopReading,
            Self::ReducerReadsAgain => Control::ReducerStartReading,
            Self::Connection(n) => Control::WaitConnections { n },
        };
        Ok(vec![Step::Control(control)])
    }
}

impl Object {
    fn sent(self, event: Event) -> Result<Step> {
        let kind = match (&self.pod, &self.replica_set, &self.job) {
            (Some(_), None, None) => Type::K8sPod,
            (None, Some(_), None) => Type::K8sReplicaset,
            (None, None, Some(_)) => Type::K8sJob,
            (_, _, _) => anyhow::bail!("an event is about one of pod, replica_set and job"),
        };
        let info = Info {
            r#type: kind.into(),
            event: event.into(),
            pod_info: self.pod.map(Into::into),
            rs_info: self.replica_set.map(Into::into),
            job_info: self.job.map(Into::into),
        };
        Ok(Step::Send {
            stream: self.on,
            message: Box::new(Message::Info(info)),
        })
    }
}
