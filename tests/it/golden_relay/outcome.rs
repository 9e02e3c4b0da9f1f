//! What came of an experiment, in a form that people read and that compares line by line.

use std::{collections::BTreeMap, fmt::Write as _};

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
    pub fn of(lines: impl IntoIterator<Item = String>) -> Self {
        let lines: Vec<String> = lines.into_iter().collect();
        if lines.len() <= MOST_LINES {
            return Self::Lines(lines);
        }
        let mut counts = BTreeMap::new();
        for line in &lines {
            let name = line.split(' ').next().unwrap();
            *counts.entry(name.to_owned()).or_default() += 1;
        }
        Self::Summary {
            counts,
            first: lines[..ENDS].to_vec(),
            last: lines[lines.len() - ENDS..].to_vec(),
        }
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

impl Outcome {
    /// What differs, for people; `None` if nothing does.
    pub fn difference(&self, expected: &Self) -> Option<String> {
        if self == expected {
            return None;
        }
        let mut report = String::new();
        let pairs = [
            ("output", expected.output.shown(), self.output.shown()),
            ("handshakes", expected.handshakes.concat(), self.handshakes.concat()),
            ("streams", expected.streams.clone(), self.streams.clone()),
            ("alive", vec![expected.alive.to_string()], vec![self.alive.to_string()]),
        ];
        for (what, expected, got) in pairs {
            if expected != got {
                write!(report, "{what} differs{}", first_difference(&expected, &got)).unwrap();
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
fn first_difference(expected: &[String], got: &[String]) -> String {
    let at = expected.iter().zip(got).take_while(|(e, g)| e == g).count();
    let mut report = format!(" at line {} (of {}, got {}):\n", at + 1, expected.len(), got.len());
    for (sign, lines) in [(' ', &expected[at.saturating_sub(2)..at]), ('-', &expected[at..]), ('+', &got[at..])] {
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
pub fn line(message: &Value) -> String {
    let fields: &Map<String, Value> = message.as_object().unwrap();
    if let Some(index) = fields.get("index") {
        return new_connection(index.as_u64().unwrap());
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
pub fn new_connection(number: u64) -> String {
    format!("--- connection {number}")
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

/// A greeting, without what is of the machine.
pub fn handshake_lines(messages: &[Value]) -> Vec<String> {
    let line = |message: &Value| {
        let mut message = message.clone();
        for own in ["hostname", "instance_id", "cpu_core_count"] {
            if let Some(value) = message.get_mut(own) {
                *value = format!("<{own}>").into();
            }
        }
        line(&message)
    };
    messages.iter().map(line).collect()
}
