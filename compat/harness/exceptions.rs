//! `compat/exceptions.toml`: where we differ from the legacy relay on purpose, and how exactly.

use std::{collections::BTreeMap, fs, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::{
    case::Case,
    outcome::{Outcome, Output},
};

/// One intended difference.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exception {
    /// The recording's name.
    pub case: String,
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

/// One more, in what the reducer knows at the end of the same told natively.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Native {
    /// The recording's name.
    pub case: String,
    /// Which rule of ours it follows.
    pub decision: String,
    pub reason: String,
    /// The picture: each pod by uid, its containers after it.
    pub picture: Option<String>,
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
pub fn read() -> Result<Vec<Exception>> {
    Ok(File::read()?.exception)
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
    native: Vec<Native>,
    migration: Vec<Migration>,
}

impl File {
    fn read() -> Result<Self> {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("compat/exceptions.toml");
        let read = || anyhow::Ok(toml::from_str(&fs::read_to_string(&path)?)?);
        read().with_context(|| path.display().to_string())
    }
}

impl Exception {
    /// Says that we tell exactly this.
    pub fn set_output(&mut self, outcome: &Outcome) {
        self.output = Some(outcome.output.shown().join("\n"));
        (self.counts, self.first, self.last) = (None, None, None);
    }

    /// What we tell where the legacy relay told `recorded`.
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
        if exceptions.iter().take(at).any(|other| other.case == *case) {
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
                if ours.only_counts().output == recorded.clone().only_counts().output {
                    mistakes.push(format!("{case}: that is what the legacy relay tells"));
                }
            }
        }
    }
    mistakes
}
