//! What came of an experiment, in a form that people read and that compares line by line.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write as _,
};

use k8s_relay::reducer::usage;
use serde_json::{Map, Value};

/// Everything that is compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// What the reducer was told, without handshakes and noise.
    pub output: Output,
    /// The greeting of each connection.
    pub handshakes: Vec<Vec<String>>,
    /// `NAME: who ended it, STATUS` for each stream.
    pub streams: Vec<String>,
    /// Whether the relay survived.
    pub alive: bool,
}

/// The messages in order; of very many only how often each occurs and both ends.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    Lines(Vec<String>),
    Summary {
        counts: BTreeMap<String, usize>,
        first: Vec<String>,
        last: Vec<String>,
    },
}

/// More messages than this are summed up, as in the recordings.
const MOST_LINES: usize = 500;
/// How many messages of either end a summary keeps.
const ENDS: usize = 3;
/// A text of one character that is longer than this is shown as `"n"*LENGTH`.
const LONG: usize = 64;

impl Output {
    pub fn of(messages: impl IntoIterator<Item = Map<String, Value>>) -> Self {
        let mut told = Told::default();
        messages.into_iter().for_each(|message| told.push(message));
        told.output()
    }

    /// The same without the ends, which depend on who made the list.
    pub fn only_counts(self) -> Self {
        match self {
            Self::Summary { counts, .. } => Self::Summary {
                counts,
                first: Vec::new(),
                last: Vec::new(),
            },
            Self::Lines(lines) => Self::Lines(lines),
        }
    }

    fn shown(&self) -> Vec<String> {
        match self {
            Self::Lines(lines) => lines.clone(),
            Self::Summary {
                counts,
                first,
                last,
            } => {
                let counts = counts.iter().map(|(name, n)| format!("{n} × {name}"));
                let first = first.iter().map(|line| format!("first: {line}"));
                let last = last.iter().map(|line| format!("last: {line}"));
                counts.chain(first).chain(last).collect()
            }
        }
    }
}

/// Gathers an [`Output`]; keeps, and turns into lines, only what that will have.
#[derive(Clone, Default)]
pub struct Told {
    total: usize,
    counts: BTreeMap<String, usize>,
    first: Vec<String>,
    last: VecDeque<Map<String, Value>>,
}

impl Told {
    /// Takes a message, or the [`new_connection`] that stands between messages.
    pub fn push(&mut self, message: Map<String, Value>) {
        let name = message.get("msg").or_else(|| message.get("marker"));
        let name = name.and_then(Value::as_str).unwrap();
        match self.counts.get_mut(name) {
            Some(count) => *count += 1,
            None => _ = self.counts.insert(name.to_owned(), 1),
        }
        self.total += 1;
        if self.first.len() < MOST_LINES {
            self.first.push(line(&message));
        }
        if self.last.len() == ENDS {
            self.last.pop_front();
        }
        self.last.push_back(message);
    }

    pub fn output(mut self) -> Output {
        if self.total <= MOST_LINES {
            return Output::Lines(self.first);
        }
        self.first.truncate(ENDS);
        Output::Summary {
            counts: self.counts,
            first: self.first,
            last: self.last.iter().map(line).collect(),
        }
    }
}

impl Outcome {
    /// What differs, for people; `None` if nothing does.
    pub fn difference(&self, expected: &Self) -> Option<String> {
        if self == expected {
            return None;
        }
        let mut report = String::new();
        let pairs = [
            ("output", expected.output.shown(), self.output.shown()),
            (
                "handshakes",
                expected.handshakes.concat(),
                self.handshakes.concat(),
            ),
            ("streams", expected.streams.clone(), self.streams.clone()),
            (
                "alive",
                vec![expected.alive.to_string()],
                vec![self.alive.to_string()],
            ),
        ];
        for (what, expected, got) in pairs {
            if expected != got {
                write!(
                    report,
                    "{what} differs{}",
                    first_difference(&expected, &got)
                )
                .unwrap();
            }
        }
        if report.is_empty() {
            let connections = (expected.handshakes.len(), self.handshakes.len());
            writeln!(report, "(expected, got) connections: {connections:?}").unwrap();
        }
        Some(report)
    }
}

/// Shows both sides from just before the first differing line.
pub fn first_difference(expected: &[String], got: &[String]) -> String {
    let at = expected.iter().zip(got).take_while(|(e, g)| e == g).count();
    let mut report = format!(
        " at line {} (of {}, got {}):\n",
        at + 1,
        expected.len(),
        got.len()
    );
    for (sign, lines) in [
        (' ', &expected[at.saturating_sub(2)..at]),
        ('-', &expected[at..]),
        ('+', &got[at..]),
    ] {
        for line in lines.iter().take(12) {
            writeln!(report, "  {sign} {line}").unwrap();
        }
        if lines.len() > 12 {
            writeln!(report, "  {sign} … {} more", lines.len() - 12).unwrap();
        }
    }
    report
}

/// A message or marker as one line: `NAME key=value …`, texts in JSON's quotes.
///
/// An address occurs twice in a message, as a number and as text; the line has it once.
pub fn line(fields: &Map<String, Value>) -> String {
    if let Some(index) = fields.get("index") {
        return format!("--- connection {index}");
    }
    let mut line = fields["msg"].as_str().unwrap().to_owned();
    for (name, value) in fields {
        if name == "msg" || name == "ip_u32" {
            continue;
        }
        if name == "ip" {
            let octets = (fields["ip_u32"].as_u64().unwrap() as u32).to_le_bytes();
            let ip = std::net::Ipv4Addr::from_octets(octets).to_string();
            assert_eq!(value.as_str(), Some(ip.as_str()), "ip and ip_u32 disagree");
            write!(line, " ip={ip}").unwrap();
            continue;
        }
        write!(line, " {name}={}", text(value)).unwrap();
    }
    line
}

/// Stands between the messages of two connections.
pub fn new_connection(number: usize) -> Map<String, Value> {
    let marker = [
        ("marker", "new_connection".into()),
        ("index", number.into()),
    ];
    marker
        .map(|(name, value)| (name.to_owned(), value))
        .into_iter()
        .collect()
}

fn text(value: &Value) -> String {
    let Value::String(text) = value else {
        return value.to_string();
    };
    let first = text.chars().next().unwrap_or_default();
    let length = text.chars().count();
    if length > LONG && text.chars().all(|c| c == first) {
        return format!("\"{first}\"*{length}");
    }
    value.to_string()
}

/// A message of the greeting, without what is of the machine: the recording's, or this one.
/// Anything else in its place stays, and so differs.
pub fn greeting_line(mut message: Map<String, Value>) -> String {
    let name = String::from_utf8(usage::hostname()).unwrap();
    let names = [Value::from("relay-host"), name.into()];
    let cores = [Value::from(2), usage::cpu_cores().into()];
    for (field, of_a_machine) in [
        ("hostname", &names),
        ("instance_id", &names),
        ("cpu_core_count", &cores),
    ] {
        if let Some(value) = message.get_mut(field)
            && of_a_machine.contains(value)
        {
            *value = format!("<{field}>").into();
        }
    }
    line(&message)
}
