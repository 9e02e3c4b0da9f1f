//! The reducer's state that a recording ends in, in the lines of its messages.

use std::collections::{BTreeMap, BTreeSet};

use k8s_relay::{
    sim::reducer_state::{Pod, ReducerState},
    wire::{
        Message,
        messages::{PodContainer, PodDelete, PodNewWithName, PodResync},
    },
};

use crate::harness::{
    exceptions::{self, Native},
    outcome::Output,
    reducer_state::lines,
};

/// The namespace of what is no part of a recording.
pub const ASIDE: &str = "aside";

/// What a reducer should know.
#[derive(Clone, Debug, PartialEq)]
pub enum Expected {
    /// Exactly this: each pod by uid, and its containers after it.
    Lines(Vec<String>),
    /// So many, where nobody kept more than counts.
    Counts { pods: usize, containers: usize },
}

impl Expected {
    /// What a native exception says.
    pub fn of(native: &Native) -> Self {
        match (&native.reducer_state, native.pods, native.containers) {
            (Some(reducer_state), None, None) => Self::Lines(exceptions::lines(reducer_state)),
            (None, Some(pods), Some(containers)) => Self::Counts { pods, containers },
            _ => panic!("{}: give picture, or pods and containers", native.case),
        }
    }

    /// What these messages leave of the last connection; `None` if they are only counted and
    /// counts do not say it.
    pub fn at_the_end_of(output: &Output) -> Option<Self> {
        match output {
            Output::Lines(lines) => Some(Self::Lines(shown(&fold(lines)))),
            Output::Summary { counts, .. } => {
                let count = |name: &str| counts.get(name).copied().unwrap_or_default();
                let only_sent = count("pod_new_with_name") + count("pod_container")
                    == counts.values().sum::<usize>();
                only_sent.then(|| Self::Counts {
                    pods: count("pod_new_with_name"),
                    containers: count("pod_container"),
                })
            }
        }
    }

    /// The reducer's state, as far as is expected of it.
    pub fn seen_in(&self, reducer_state: &ReducerState) -> Self {
        match self {
            Self::Lines(_) => Self::Lines(shown(reducer_state)),
            Self::Counts { .. } => Self::Counts {
                pods: of_the_recording(reducer_state).count(),
                containers: of_the_recording(reducer_state)
                    .map(|(_, pod)| pod.containers().len())
                    .sum(),
            },
        }
    }

    pub fn shown(&self) -> Vec<String> {
        match self {
            Self::Lines(lines) => lines.clone(),
            Self::Counts { pods, containers } => {
                vec![format!("{pods} pods"), format!("{containers} containers")]
            }
        }
    }
}

/// Reads messages that were written as lines.
///
/// A version in a recording is any text that its author liked; a cluster has none but that of the
/// images (protocol 13.0). So in its place stands what follows from the containers that were sent
/// with the pod.
fn fold(lines: &[String]) -> ReducerState {
    let lines: Vec<Line> = lines.iter().map(|line| Line::read(line)).collect();
    let mut reducer_state = ReducerState::new();
    for (at, line) in lines.iter().enumerate() {
        let text = |name: &str| line.fields[name].as_bytes();
        match &*line.name {
            "---" => reducer_state = ReducerState::new(),
            "pod_resync" => reducer_state.apply(&Message::PodResync(PodResync { resync_count: 0 })),
            "pod_delete" => reducer_state.apply(&PodDelete { uid: text("uid") }.into()),
            "pod_new_with_name" => {
                let version = version(&lines[at + 1..]);
                let pod = PodNewWithName {
                    ip: line.fields["ip"].parse().unwrap(),
                    owner_kind: line.fields["owner_kind"].parse().unwrap(),
                    is_host_network: line.fields["is_host_network"].parse().unwrap(),
                    uid: text("uid"),
                    owner_name: text("owner_name"),
                    pod_name: text("pod_name"),
                    owner_uid: text("owner_uid"),
                    ns: text("ns"),
                    version: version.as_bytes(),
                };
                reducer_state.apply(&pod.into());
            }
            "pod_container" => {
                let container = PodContainer {
                    uid: text("uid"),
                    container_id: text("container_id"),
                    container_name: text("container_name"),
                    container_image: text("container_image"),
                };
                reducer_state.apply(&container.into());
            }
            other => panic!("{other}: not foreseen"),
        }
    }
    reducer_state
}

/// Of the containers that are sent next. Where an id comes again an update begins.
fn version(next: &[Line]) -> String {
    let mut ids = BTreeSet::new();
    let mut images: Vec<String> = next
        .iter()
        .take_while(|line| line.name == "pod_container")
        .take_while(|line| ids.insert(&line.fields["container_id"]))
        .map(|line| format!("'{}'", line.fields["container_image"]))
        .collect();
    images.sort_unstable();
    images.join(",")
}

fn of_the_recording(reducer_state: &ReducerState) -> impl Iterator<Item = (&[u8], &Pod)> {
    let pods = reducer_state.sorted().into_iter();
    pods.filter(|(_, pod)| pod.ns() != ASIDE.as_bytes())
}

fn shown(reducer_state: &ReducerState) -> Vec<String> {
    lines(reducer_state, |namespace| namespace != ASIDE.as_bytes())
}

/// A line, taken apart.
struct Line {
    name: String,
    fields: BTreeMap<String, String>,
}

impl Line {
    fn read(line: &str) -> Self {
        let (name, mut rest) = line.split_once(' ').unwrap();
        let mut fields = BTreeMap::new();
        while let Some((key, value)) = rest.split_once('=') {
            let (value, next) = Self::value(value);
            fields.insert(key.trim_start().to_owned(), value);
            rest = next;
        }
        Self {
            name: name.to_owned(),
            fields,
        }
    }

    /// The value at the beginning, and what follows it.
    fn value(text: &str) -> (String, &str) {
        if !text.starts_with('"') {
            let end = text.find(' ').unwrap_or(text.len());
            return (text[..end].to_owned(), &text[end..]);
        }
        let mut json = serde_json::Deserializer::from_str(text).into_iter::<String>();
        let value = json.next().unwrap().unwrap();
        let rest = &text[json.byte_offset()..];
        let Some(rest) = rest.strip_prefix('*') else {
            return (value, rest);
        };
        let end = rest.find(' ').unwrap_or(rest.len());
        (value.repeat(rest[..end].parse().unwrap()), &rest[end..])
    }
}
