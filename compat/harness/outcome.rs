//! What came of an experiment, in a form that people read and that compares line by line.

use std::collections::{BTreeMap, VecDeque};

use k8s_relay::reducer::host;
use serde_json::{Map, Value};

/// Everything that is compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// What was sent to the reducer, without handshakes and noise.
    pub output: Output,
    /// The handshake of each connection.
    pub handshakes: Vec<Vec<String>>,
    /// `NAME: who ended it, STATUS` for each stream.
    pub streams: Vec<String>,
    /// Whether the relay survived.
    pub alive: bool,
    /// What a reducer would have closed the connection for.
    pub refused: Vec<String>,
}

/// What differs first.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// In what: `alive`, `output`, `streams`, …
    pub what: String,
    /// The first line of each side that differs, if it has one more.
    pub expected: Option<String>,
    pub got: Option<String>,
    /// Both sides from just before it, for people.
    pub report: String,
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
        let mut sent = Sent::default();
        messages.into_iter().for_each(|message| sent.push(message));
        sent.output()
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

    /// As lines.
    pub fn shown(&self) -> Vec<String> {
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
pub struct Sent {
    total: usize,
    counts: BTreeMap<String, usize>,
    first: Vec<String>,
    last: VecDeque<Map<String, Value>>,
}

impl Sent {
    /// Takes a message, or the [`new_connection`] that stands between messages.
    pub fn push(&mut self, message: Map<String, Value>) {
        let name = name(&message);
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

    /// How many there were.
    pub fn total(&self) -> usize {
        self.total
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
    /// What differs first, the weightiest before the others; `None` if nothing does.
    pub fn difference(&self, expected: &Self) -> Option<Difference> {
        self.difference_but(expected, &[])
            .into_iter()
            .chain(Difference::between(
                "output",
                &expected.output.shown(),
                &self.output.shown(),
            ))
            .min_by_key(|difference| WEIGHT.iter().position(|what| *what == difference.what))
    }

    /// The same without what a summary has besides counts.
    pub fn only_counts(self) -> Self {
        Self {
            output: self.output.only_counts(),
            ..self
        }
    }

    /// What differs first, without some of it and the output.
    pub fn difference_but(&self, expected: &Self, without: &[&str]) -> Option<Difference> {
        let connections =
            |outcome: &Self| vec![format!("{} connections", outcome.handshakes.len())];
        let alive = |outcome: &Self| {
            vec![
                if outcome.alive {
                    "it runs"
                } else {
                    "it has ended"
                }
                .to_owned(),
            ]
        };
        let pairs = [
            ("alive", alive(expected), alive(self)),
            ("refused", expected.refused.clone(), self.refused.clone()),
            ("streams", expected.streams.clone(), self.streams.clone()),
            ("connections", connections(expected), connections(self)),
            (
                "handshakes",
                expected.handshakes.concat(),
                self.handshakes.concat(),
            ),
        ];
        pairs
            .iter()
            .filter(|(what, ..)| !without.contains(what))
            .find_map(|(what, expected, got)| Difference::between(what, expected, got))
    }
}

/// In which order differences are looked for: what explains others comes before them.
const WEIGHT: [&str; 6] = [
    "alive",
    "refused",
    "output",
    "streams",
    "connections",
    "handshakes",
];

impl Difference {
    /// Compares line by line.
    pub fn between(what: &str, expected: &[String], got: &[String]) -> Option<Self> {
        if expected == got {
            return None;
        }
        let at = expected.iter().zip(got).take_while(|(e, g)| e == g).count();
        Some(Self {
            what: what.to_owned(),
            expected: expected.get(at).cloned(),
            got: got.get(at).cloned(),
            report: format!("{what} differs{}", first_difference(expected, got)),
        })
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
    let before = at.saturating_sub(2);
    let from = |lines: &[String], at: usize| lines.get(at..).unwrap_or_default().to_vec();
    for (sign, lines) in [
        (' ', from(expected.get(..at).unwrap_or_default(), before)),
        ('-', from(expected, at)),
        ('+', from(got, at)),
    ] {
        for line in lines.iter().take(12) {
            report += &format!("  {sign} {line}\n");
        }
        if lines.len() > 12 {
            report += &format!("  {sign} … {} more\n", lines.len() - 12);
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
    let mut line = name(fields).to_owned();
    let number = fields.get("ip_u32").and_then(Value::as_u64);
    let number = number.and_then(|n| u32::try_from(n).ok());
    let address = number.map(|n| std::net::Ipv4Addr::from_octets(n.to_le_bytes()).to_string());
    let text_of_address = fields.get("ip").and_then(Value::as_str);
    let agree = address.is_some() && address.as_deref() == text_of_address;
    for (name, value) in fields {
        if name == "msg" || (name == "ip_u32" && agree) {
            continue;
        }
        match (&address, name.as_str()) {
            (Some(address), "ip") if agree => line += &format!(" ip={address}"),
            _ => line += &format!(" {name}={}", text(value)),
        }
    }
    line
}

/// What kind of message or marker it is.
pub fn name(fields: &Map<String, Value>) -> &str {
    let name = fields.get("msg").or_else(|| fields.get("marker"));
    name.and_then(Value::as_str).unwrap_or("?")
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

/// A message of the handshake, without what is of the machine: the recording's, or this one.
/// Anything else in its place stays, and so differs.
pub fn handshake_line(mut message: Map<String, Value>) -> String {
    let hostname = host::hostname();
    let names = [
        Value::from("relay-host"),
        String::from_utf8_lossy(&hostname).into(),
    ];
    let cores = [Value::from(2), host::cpu_cores().into()];
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
