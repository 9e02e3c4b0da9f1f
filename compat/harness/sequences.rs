//! What each pod's messages were, in their order: the form in which two live peers are compared.
//!
//! Two relays may tell different pods in different order for honest reasons. What a reducer
//! knows depends on the order within a pod, and on what comes before and after a new
//! connection or a `pod_resync`; that is kept apart here.

use std::{collections::BTreeMap, hash::BuildHasher as _};

use serde_json::{Map, Value};

use super::outcome::{Difference, line, name};

/// Up to so many messages are kept as lines, all others as their hashes alone.
const LINES: usize = 20_000;

/// Everything that was told, by section and pod.
#[derive(Clone, Debug, Default)]
pub struct Sequences {
    sections: Vec<Section>,
    messages: usize,
}

/// What was told between two new connections or resyncs.
#[derive(Clone, Debug, Default)]
struct Section {
    /// What began it; nothing did the first one.
    mark: String,
    /// By uid.
    pods: BTreeMap<String, Vec<Told>>,
}

#[derive(Clone, Debug)]
struct Told {
    hash: u64,
    line: Option<Box<str>>,
}

impl PartialEq for Told {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

impl Sequences {
    /// Takes a message, or the mark of a new connection.
    pub fn push(&mut self, message: &Map<String, Value>) {
        let Some(uid) = message.get("uid") else {
            self.sections.push(Section {
                mark: line(message),
                pods: BTreeMap::new(),
            });
            return;
        };
        if self.sections.is_empty() {
            self.sections.push(Section::default());
        }
        let Some(section) = self.sections.last_mut() else {
            return;
        };
        self.messages += 1;
        let line = line(message).into_boxed_str();
        let told = Told {
            hash: foldhash::fast::FixedState::default().hash_one(&*line),
            line: (self.messages <= LINES).then_some(line),
        };
        let uid = uid.as_str().map_or_else(|| uid.to_string(), str::to_owned);
        section.pods.entry(uid).or_default().push(told);
        debug_assert_ne!(name(message), "?");
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
                    &format!("what was told of pod {uid:?}{place}"),
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

impl Section {
    fn shown(&self, uid: &str) -> Vec<String> {
        let told = self.pods.get(uid).map(Vec::as_slice).unwrap_or_default();
        let shown = |told: &Told| match &told.line {
            Some(line) => line.to_string(),
            None => format!("a message with the hash {:016x}", told.hash),
        };
        told.iter().map(shown).collect()
    }
}
