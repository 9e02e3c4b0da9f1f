//! `compat/exceptions.toml`: where we differ from the legacy relay on purpose, and how exactly.

use std::{collections::BTreeMap, fs, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::{
    case::Case,
    outcome::{Difference, Outcome, Output},
    peers::{Handover, Peer},
    sequences::Sequences,
};

/// One intended difference from a recording.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exception {
    /// The recording's name.
    pub case: String,
    /// How streams are handed over where it applies; in both ways if it does not say.
    pub handover: Option<Handover>,
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

/// One more, in a case that has no recording.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    /// The case's name.
    pub case: String,
    /// As of an [`Exception`].
    pub handover: Option<Handover>,
    /// Which rule of ours it follows.
    pub decision: String,
    pub reason: String,
    /// What the legacy relay does.
    pub legacy: Sent,
    /// What we do.
    pub ours: Sent,
}

/// What a relay does in a written case, exactly.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sent {
    /// Its messages, one a line. Those of one pod are compared in their order, as they always
    /// are between two live peers.
    pub output: String,
    /// How its streams end.
    pub streams: Vec<String>,
}

/// One more, in what the reducer knows at the end of the same played natively.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Native {
    /// The recording's name.
    pub case: String,
    /// Which rule of ours it follows.
    pub decision: String,
    pub reason: String,
    /// The reducer's state: each pod by uid, its containers after it.
    #[serde(rename = "picture")]
    pub reducer_state: Option<String>,
    /// Instead of it, how many there are.
    pub pods: Option<usize>,
    pub containers: Option<usize>,
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
#[derive(Default)]
pub struct Exceptions {
    /// From what is recorded.
    pub recorded: Vec<Exception>,
    /// In cases without a recording.
    pub written: Vec<Written>,
}

impl Exceptions {
    /// All there are.
    pub fn read() -> Result<Self> {
        Ok(File::read()?.compared())
    }

    /// Reads the text of such a file, of which those of the native source and of migrations are
    /// checked only.
    ///
    /// # Errors
    /// An unknown key, or one that is missing.
    pub fn parse(text: &str) -> Result<Self> {
        Ok(toml::from_str::<File>(text)?.compared())
    }

    /// What is wrong with them.
    pub fn mistakes(&self, cases: &[Case]) -> Vec<String> {
        [
            mistakes(&self.recorded, cases),
            mistakes_of_written(&self.written, cases),
        ]
        .concat()
    }
}

/// Those of the `Collect` streams from what is recorded.
pub fn read() -> Result<Vec<Exception>> {
    Ok(Exceptions::read()?.recorded)
}

/// Those of the native source.
pub fn read_native() -> Result<Vec<Native>> {
    Ok(File::read()?.native)
}

/// Those of a migration.
pub fn read_migration() -> Result<Vec<Migration>> {
    Ok(File::read()?.migration)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    exception: Vec<Exception>,
    written: Vec<Written>,
    native: Vec<Native>,
    migration: Vec<Migration>,
}

impl File {
    fn read() -> Result<Self> {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("compat/exceptions.toml");
        let read = || anyhow::Ok(toml::from_str(&fs::read_to_string(&path)?)?);
        read().with_context(|| path.display().to_string())
    }

    /// Those of peers that are compared.
    fn compared(self) -> Exceptions {
        Exceptions {
            recorded: self.exception,
            written: self.written,
        }
    }
}

/// The one for a recording where streams are handed over so.
pub fn find<'a>(
    exceptions: &'a [Exception],
    case: &str,
    handover: Handover,
) -> Option<&'a Exception> {
    let applies = |e: &&Exception| e.case == case && e.handover.is_none_or(|way| way == handover);
    exceptions.iter().find(applies)
}

/// The one for this peer and a recording; there is none for a peer that has no exceptions.
pub fn of_peer<'a>(exceptions: &'a [Exception], case: &str, peer: &Peer) -> Option<&'a Exception> {
    peer.has_exceptions()
        .then(|| find(exceptions, case, peer.handover()))?
}

/// The one for this peer of ours and a case without a recording.
pub fn written_of_peer<'a>(written: &'a [Written], case: &str, peer: &Peer) -> Option<&'a Written> {
    let applies = |w: &&Written| {
        w.case == case
            && w.handover
                .is_none_or(|handover| handover == peer.handover())
    };
    written
        .iter()
        .find(applies)
        .filter(|_| peer.has_exceptions())
}

/// Whether two entries are for the same case in the same way.
fn overlap(one: Option<Handover>, other: Option<Handover>) -> bool {
    one.is_none() || other.is_none() || one == other
}

impl Exception {
    /// Says that this relay sends exactly this.
    pub fn set_output(&mut self, outcome: &Outcome) {
        self.output = Some(outcome.output.shown().join("\n"));
        (self.counts, self.first, self.last) = (None, None, None);
    }

    /// What this relay sends where the legacy relay sent `recorded`.
    pub fn outcome(&self, recorded: &Outcome) -> Result<Outcome> {
        let output = match (&self.output, &self.counts, &self.first, &self.last) {
            (Some(output), None, None, None) => Output::Lines(lines(output)),
            (None, Some(counts), Some(first), Some(last)) => Output::Summary {
                counts: counts.clone(),
                first: lines(first),
                last: lines(last),
            },
            _ => bail!("{}: give output, or counts, first and last", self.case),
        };
        Ok(Outcome {
            output,
            handshakes: recorded.handshakes.clone(),
            streams: self.streams.clone().unwrap_or(recorded.streams.clone()),
            alive: self.alive.unwrap_or(recorded.alive),
            refused: recorded.refused.clone(),
        })
    }
}

/// The lines of a text.
pub fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

/// Whether this names rules, such as `D6` or `D6/D7`.
pub fn is_a_decision(decisions: &str) -> bool {
    decisions.split('/').all(|decision| {
        let number = decision.strip_prefix('D').map(str::parse::<u8>);
        matches!(number, Some(Ok(1..)))
    })
}

/// What is wrong with the exceptions themselves: each needs a recording, a reason, a rule, and
/// a real difference.
pub fn mistakes(exceptions: &[Exception], cases: &[Case]) -> Vec<String> {
    let mut mistakes = Vec::new();
    for (at, exception) in exceptions.iter().enumerate() {
        let case = &exception.case;
        let recorded = cases.iter().find(|known| known.name == *case);
        let Some(recorded) = recorded.and_then(|known| known.recorded.as_ref()) else {
            mistakes.push(format!("{case}: no such recording"));
            continue;
        };
        let same =
            |other: &Exception| other.case == *case && overlap(other.handover, exception.handover);
        if exceptions.iter().take(at).any(same) {
            mistakes.push(format!("{case}: twice"));
        }
        if exception.reason.trim().is_empty() {
            mistakes.push(format!("{case}: no reason"));
        }
        if !is_a_decision(&exception.decision) {
            mistakes.push(format!("{case}: {}?", exception.decision));
        }
        match exception.outcome(recorded) {
            Err(error) => mistakes.push(error.to_string()),
            Ok(ours) => {
                let recorded = recorded.clone().only_counts();
                if ours.only_counts().difference(&recorded).is_none() {
                    mistakes.push(format!("{case}: that is what the legacy relay sends"));
                }
            }
        }
    }
    mistakes
}

/// What is wrong with the exceptions of written cases: each needs a case without a recording, a
/// reason, a rule, and a real difference.
pub fn mistakes_of_written(written: &[Written], cases: &[Case]) -> Vec<String> {
    let mut mistakes = Vec::new();
    for (at, exception) in written.iter().enumerate() {
        let case = &exception.case;
        let known = cases.iter().find(|known| known.name == *case);
        if known.is_none_or(|known| known.recorded.is_some()) {
            mistakes.push(format!("{case}: no such written case"));
        }
        let same =
            |other: &Written| other.case == *case && overlap(other.handover, exception.handover);
        if written.iter().take(at).any(same) {
            mistakes.push(format!("{case}: twice"));
        }
        if exception.reason.trim().is_empty() {
            mistakes.push(format!("{case}: no reason"));
        }
        if !is_a_decision(&exception.decision) {
            mistakes.push(format!("{case}: {}?", exception.decision));
        }
        let Written { legacy, ours, .. } = exception;
        if legacy
            .difference(&ours.sequences(), &ours.streams)
            .is_none()
        {
            mistakes.push(format!("{case}: that is what the legacy relay does"));
        }
    }
    mistakes
}

impl Sent {
    fn sequences(&self) -> Sequences {
        Sequences::of_lines(&lines(&self.output))
    }

    /// What of this a relay did otherwise.
    pub fn difference(&self, sent: &Sequences, streams: &[String]) -> Option<Difference> {
        Difference::between("streams", &self.streams, streams)
            .or_else(|| sent.difference(&self.sequences()))
    }
}
