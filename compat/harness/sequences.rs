//! What each pod's messages were, in their order: the form in which two live peers are compared.
//!
//! Two relays may send different pods in different order for honest reasons. What a reducer knows
//! depends on the order within a pod, and on what comes before and after a new connection or a
//! `pod_resync`; that is kept apart here.

use std::{collections::BTreeMap, hash::BuildHasher as _};

use serde_json::{Map, Value};

use super::outcome::{Difference, line, name};

/// Up to so many messages are kept as lines, all others as their hashes alone.
const LINES: usize = 20_000;

/// Everything that was sent, by section and pod.
#[derive(Clone, Debug, Default)]
pub struct Sequences {
    sections: Vec<Section>,
    messages: usize,
}

/// What was sent between two new connections or resyncs.
#[derive(Clone, Debug, Default)]
struct Section {
    /// What began it; nothing did the first one.
    mark: String,
    /// By uid.
    pods: BTreeMap<String, Vec<Sent>>,
}

#[derive(Clone, Debug)]
struct Sent {
    hash: u64,
    line: Option<Box<str>>,
}

impl PartialEq for Sent {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

impl Sequences {
    /// Takes a message, or the mark of a new connection.
    pub fn push(&mut self, message: &Map<String, Value>) {
        let Some(uid) = message.get("uid") else {
            self.begin(line(message));
            return;
        };
        let uid = uid.as_str().map_or_else(|| uid.to_string(), str::to_owned);
        self.record(uid, line(message).into_boxed_str());
        debug_assert_ne!(name(message), "?");
    }

    /// What was sent, from lines as [`line`] makes them.
    pub fn of_lines(lines: &[String]) -> Self {
        let mut sequences = Self::default();
        for line in lines {
            match uid(line) {
                Some(uid) => sequences.record(uid, line.as_str().into()),
                None => sequences.begin(line.clone()),
            }
        }
        sequences
    }

    fn begin(&mut self, mark: String) {
        self.sections.push(Section {
            mark,
            pods: BTreeMap::new(),
        });
    }

    fn record(&mut self, uid: String, line: Box<str>) {
        if self.sections.is_empty() {
            self.sections.push(Section::default());
        }
        let Some(section) = self.sections.last_mut() else {
            return;
        };
        self.messages += 1;
        let sent = Sent {
            hash: foldhash::fast::FixedState::default().hash_one(&*line),
            line: (self.messages <= LINES).then_some(line),
        };
        section.pods.entry(uid).or_default().push(sent);
    }

    /// The first message that differs.
    pub fn difference(&self, expected: &Self) -> Option<Difference> {
        let marks = |all: &Self| -> Vec<String> {
            all.sections
                .iter()
                .map(|section| section.mark.clone())
                .collect()
        };
        for (ours, theirs) in self.sections.iter().zip(&expected.sections) {
            if ours.mark != theirs.mark {
                break;
            }
            let uids = ours.pods.keys().chain(theirs.pods.keys());
            let uid = uids
                .filter(|uid| ours.pods.get(*uid) != theirs.pods.get(*uid))
                .min();
            if let Some(uid) = uid {
                let of = |section: &Section| section.shown(uid);
                let place = match &*ours.mark {
                    "" => String::new(),
                    mark => format!(" after {mark}"),
                };
                return Difference::between(
                    &format!("messages of pod {uid:?}{place}"),
                    &of(theirs),
                    &of(ours),
                );
            }
        }
        Difference::between(
            "the order of connections and resyncs",
            &marks(expected),
            &marks(self),
        )
    }
}

/// The uid in a line: its text, or as JSON if it is none.
fn uid(line: &str) -> Option<String> {
    let (_, rest) = line.split_once(" uid=")?;
    let uid = serde_json::Deserializer::from_str(rest)
        .into_iter()
        .next()?;
    let uid: Value = uid.ok()?;
    Some(uid.as_str().map_or_else(|| uid.to_string(), str::to_owned))
}

impl Section {
    fn shown(&self, uid: &str) -> Vec<String> {
        let sent = self.pods.get(uid).map(Vec::as_slice).unwrap_or_default();
        let shown = |sent: &Sent| match &sent.line {
            Some(line) => line.to_string(),
            None => format!("a message with the hash {:016x}", sent.hash),
        };
        sent.iter().map(shown).collect()
    }
}
