//! The gate: where a command leads from each stage, and what must hold for it.
//!
//! | stage | `shadow` | `cutover` | `finish` | `rollback` |
//! |---|---|---|---|---|
//! | `legacy` | → `shadow` | refused | refused | already |
//! | `shadow` | already | the gate → `shadow-native` | refused | → `legacy` |
//! | `shadow-native` | already | already | → `native` | → `shadow` |
//! | `native` | → `shadow-native` | already | already | → `shadow` |
//!
//! Invariants: pure. Only `cutover` has conditions, and `force` waives them all but one: that there
//! is a feed to cut over to. A rollback is never refused. A caller that asks for what is done
//! already is answered so, and nothing happens.
//!
//! Absent here: how an action is done, and who asked.

use std::{collections::BTreeMap, fmt, time::Duration};

use super::{Command, Stage};
use crate::feeds::{SourceKind, Waits};

/// What the core knows that a step depends on, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The newest `Collect` stream that is open, or the ended one whose pods are still announced.
    pub legacy: Option<LegacyFacts>,
    /// The native watches, if they run.
    pub native: Option<NativeFacts>,
    /// How the two compare, in stages that compare.
    pub parity: Option<ParityFacts>,
    /// What a rollback that was taken waits for, if it does.
    pub waits: Option<Waits>,
}

/// The `Collect` feed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LegacyFacts {
    /// Its watcher is connected.
    pub open: bool,
    /// Its first lists are complete (D4).
    pub listed: bool,
}

/// The feed of the native watches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NativeFacts {
    /// Its first lists are complete (D4).
    pub listed: bool,
    /// How many watches run.
    pub watches: u64,
    /// How many of them fail, so that what they have reported grows old. One that is refused with
    /// 403 or 404 is one of them if it has been well before; one that was never allowed is none,
    /// nor is one that lists.
    pub unhealthy: u64,
}

/// The comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParityFacts {
    /// Both feeds are listed, and every pod has been looked at.
    pub comparing: bool,
    /// How long no divergence has counted, pauses left out.
    pub held: Duration,
    /// Divergences that count.
    pub counted: u64,
    /// Those by field, for the sentence that a refusal is.
    pub by_field: BTreeMap<&'static str, u64>,
}

/// What is to be done for a step, in the order given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start the native watches as a shadow feed, of which nothing is announced.
    StartWatches,
    /// End the native watches and forget their feed.
    StopWatches,
    /// Make the feed of this source the active one, by difference (D3). If it has no feed, what is
    /// announced now stays announced until it has.
    Activate(SourceKind),
    /// Begin or end the comparison.
    Compare(bool),
}

/// What comes of a command that is not refused. Its text is the answer for an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The stage before.
    pub from: Stage,
    /// The command.
    pub command: Command,
    /// The stage from now on; [`Self::from`] if that is what was asked for.
    pub to: Stage,
    /// What is to be done; nothing if the stage stays.
    pub actions: &'static [Action],
    /// A cutover in spite of this, because it was forced.
    pub overridden: Option<Blockers>,
    /// The legacy source is to be active from now on, but waits for this.
    pub waits: Option<Waits>,
    /// The legacy source is active from now on, but no watcher is connected.
    pub unwatched: bool,
}

/// Why a step is not taken, and what to do about it. A full sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Cutover without a comparison; not to be forced.
    #[error("the stage is legacy, nothing has been compared: run `k8s-relay migrate shadow` first")]
    NothingCompared,
    /// Finish before the cutover.
    #[error(
        "the stage is {stage}, the legacy source is active: run `k8s-relay migrate {first}` first",
        first = if *stage == Stage::Legacy { Command::Shadow } else { Command::Cutover }
    )]
    NotCutOver {
        /// Where the migration stands.
        stage: Stage,
    },
    /// Finish while the native source is still announced, because the rollback has no effect yet.
    #[error(
        "a rollback is in progress: {waits}; {until}",
        until = match stage {
            Stage::Legacy => "what the native source announced stays until one is synced",
            Stage::Shadow | Stage::ShadowNative | Stage::Native => "the native source stays active until one is synced. \
                  `k8s-relay migrate cutover --force` calls the rollback off",
        }
    )]
    RollingBack {
        /// Where the migration stands.
        stage: Stage,
        /// What the rollback waits for.
        waits: Waits,
    },
    /// There is no feed to cut over to; not to be forced.
    #[error(
        "the native watches do not run, so the relay cannot cut over to them; the log says why"
    )]
    NoWatches,
    /// The conditions of a cutover do not hold.
    #[error("{0}; see `k8s-relay status`")]
    Blocked(Blockers),
}

/// Why the gate is closed: at least one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blockers(Vec<Reason>);

/// One reason why the gate is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// No stream of a legacy watcher is open.
    NoWatcher,
    /// The first lists of the legacy watcher are not complete.
    LegacyUnlisted,
    /// The first lists of the native watches are not complete.
    NativeUnlisted {
        /// How many fail.
        unhealthy: u64,
        /// Of how many.
        watches: u64,
    },
    /// The native watches were listed, and fail now.
    NativeFailing {
        /// How many.
        unhealthy: u64,
        /// Of how many.
        watches: u64,
    },
    /// Not every pod has been looked at.
    NotCompared,
    /// Parity has not held for long enough.
    Parity {
        /// How long it has.
        held: Duration,
        /// How long it must.
        hold: Duration,
        /// Divergences that count.
        counted: u64,
        /// Those by field.
        by_field: BTreeMap<&'static str, u64>,
    },
}

/// Where `command` leads from `stage`. `force` waives the conditions of a cutover, of which one is
/// that parity has held for `hold`.
///
/// # Errors
///
/// When there is no way from here, or the gate is closed.
pub fn step(
    stage: Stage,
    command: Command,
    force: bool,
    facts: &Facts,
    hold: Duration,
) -> Result<Step, Refusal> {
    use Action::{Activate, Compare, StartWatches, StopWatches};
    let mut overridden = None;
    let (to, actions): (Stage, &'static [Action]) = match (stage, command) {
        (Stage::Legacy, Command::Rollback)
        | (Stage::Shadow, Command::Shadow)
        | (Stage::ShadowNative, Command::Shadow | Command::Cutover)
        | (Stage::Native, Command::Cutover | Command::Finish) => (stage, &[]),
        (Stage::Legacy, Command::Shadow) => (Stage::Shadow, &[StartWatches, Compare(true)]),
        (Stage::Legacy, Command::Cutover) => return Err(Refusal::NothingCompared),
        (Stage::Shadow, Command::Cutover) => {
            let native = facts.native.as_ref().ok_or(Refusal::NoWatches)?;
            overridden = blockers(facts, native, hold);
            match overridden {
                Some(blockers) if !force => return Err(Refusal::Blocked(blockers)),
                Some(_) | None => (Stage::ShadowNative, &[Activate(SourceKind::Native)]),
            }
        }
        (Stage::Legacy | Stage::Shadow, Command::Finish) => {
            if let Some(waits) = facts.waits {
                return Err(Refusal::RollingBack { stage, waits });
            }
            return Err(Refusal::NotCutOver { stage });
        }
        (Stage::ShadowNative, Command::Finish) => (Stage::Native, &[Compare(false)]),
        (Stage::Native, Command::Shadow) => (Stage::ShadowNative, &[Compare(true)]),
        (Stage::Shadow, Command::Rollback) => (Stage::Legacy, &[Compare(false), StopWatches]),
        (Stage::ShadowNative, Command::Rollback) => {
            (Stage::Shadow, &[Activate(SourceKind::Collect)])
        }
        (Stage::Native, Command::Rollback) => (
            Stage::Shadow,
            &[Activate(SourceKind::Collect), Compare(true)],
        ),
    };
    let waits = match facts.legacy {
        _ if to.active() == SourceKind::Native => None,
        // What is announced is the watcher's already.
        _ if stage.active() == to.active() && facts.waits.is_none() => None,
        None | Some(LegacyFacts { open: false, .. }) => Some(Waits::NoWatcher),
        Some(LegacyFacts { listed: false, .. }) => Some(Waits::NotSynced),
        Some(_) => facts.waits,
    };
    let watched = facts.legacy.is_some_and(|legacy| legacy.open);
    let unwatched = to.active() == SourceKind::Collect && !watched;
    Ok(Step {
        from: stage,
        command,
        to,
        actions,
        overridden,
        waits,
        unwatched,
    })
}

/// Why the gate is closed, if it is. What is said of parity while a feed is not well means nothing.
fn blockers(facts: &Facts, native: &NativeFacts, hold: Duration) -> Option<Blockers> {
    let NativeFacts {
        listed,
        watches,
        unhealthy,
    } = *native;
    let native = match (listed, unhealthy) {
        (false, _) => Some(Reason::NativeUnlisted { unhealthy, watches }),
        (true, 0) => None,
        (true, _) => Some(Reason::NativeFailing { unhealthy, watches }),
    };
    let legacy = match facts.legacy {
        None | Some(LegacyFacts { open: false, .. }) => Some(Reason::NoWatcher),
        Some(LegacyFacts { listed: false, .. }) => Some(Reason::LegacyUnlisted),
        Some(_) => None,
    };
    let feeds: Vec<Reason> = native.into_iter().chain(legacy).collect();
    if !feeds.is_empty() {
        return Some(Blockers(feeds));
    }
    match facts.parity.as_ref().filter(|parity| parity.comparing) {
        None => Some(Blockers(vec![Reason::NotCompared])),
        Some(parity) if parity.counted == 0 && parity.held >= hold => None,
        Some(parity) => Some(Blockers(vec![Reason::Parity {
            held: parity.held,
            hold,
            counted: parity.counted,
            by_field: parity.by_field.clone(),
        }])),
    }
}

impl Refusal {
    /// The same without where to look, for those who look there.
    pub fn reason(&self) -> String {
        if let Self::Blocked(blockers) = self {
            return blockers.to_string();
        }
        self.to_string()
    }
}

impl Blockers {
    /// The reasons, at least one.
    pub fn reasons(&self) -> &[Reason] {
        &self.0
    }
}

impl Step {
    /// Whether the stage changes.
    pub fn is_new(&self) -> bool {
        self.from != self.to
    }

    /// What holds in the stage that is reached, or was there already.
    fn meaning(&self) -> &'static str {
        match (self.to, self.waits.is_some(), self.unwatched) {
            (Stage::Legacy, true, _) => {
                "what the native source announced stays until one is synced"
            }
            (Stage::Legacy, false, true) => "the reducer's state stays as it is until one connects",
            (Stage::Legacy, false, false) => {
                "the legacy source is active, the native source does not run"
            }
            (Stage::Shadow, true, _) if self.from == Stage::Legacy => {
                "what the native source announced stays until one is synced"
            }
            (Stage::Shadow, true, _) => "the native source stays active until one is synced",
            (Stage::Shadow, false, true) => "the native source is compared with the next one",
            (Stage::Shadow, false, false) => {
                "the legacy source is active, the native source is compared"
            }
            (Stage::ShadowNative, _, _) => {
                "the native source is active, the legacy source is compared"
            }
            (Stage::Native, _, _) => "the native source is active, nothing is compared",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (to, meaning) = (self.to, self.meaning());
        match self.is_new() {
            false => write!(f, "already {to}: ")?,
            true => write!(f, "from {} to {to}: ", self.from)?,
        }
        let unwatched = self.unwatched.then_some(Waits::NoWatcher);
        if let Some(waits) = self.waits.or(unwatched) {
            write!(f, "{waits}; ")?;
        }
        f.write_str(meaning)?;
        match &self.overridden {
            Some(overridden) => write!(f, "; forced, although {overridden}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Blockers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, reason) in self.0.iter().enumerate() {
            let between = if place == 0 { "" } else { "; " };
            write!(f, "{between}{reason}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoWatcher => f.write_str("no watcher is connected"),
            Self::LegacyUnlisted => {
                f.write_str("the legacy source is not synced yet: its first lists are not complete")
            }
            Self::NativeUnlisted { unhealthy, watches } => write!(
                f,
                "the native source is not synced yet: its first lists are not complete, {unhealthy} of {watches} watches are failing"
            ),
            Self::NativeFailing { unhealthy, watches } => write!(
                f,
                "the native source is failing: {unhealthy} of {watches} watches are failing, or are refused what they were allowed"
            ),
            Self::NotCompared => {
                f.write_str("the sources are not compared yet: not every pod has been checked")
            }
            Self::Parity {
                held,
                hold,
                counted,
                by_field,
            } => {
                let (held, hold) = (shown(*held), shown(*hold));
                write!(f, "parity has held for {held} of {hold}")?;
                match counted {
                    0 => Ok(()),
                    1 => f.write_str("; 1 divergence is confirmed"),
                    _ => write!(f, "; {counted} divergences are confirmed"),
                }?;
                let mut fields: Vec<_> = by_field.iter().filter(|(_, count)| **count > 0).collect();
                fields.sort_by_key(|(field, count)| (std::cmp::Reverse(**count), **field));
                for (place, (field, count)) in fields.into_iter().enumerate() {
                    let between = if place == 0 { ": " } else { ", " };
                    write!(f, "{between}{count} {field}")?;
                }
                Ok(())
            }
        }
    }
}

/// As a person would say it: no milliseconds next to seconds.
fn shown(time: Duration) -> humantime::FormattedDuration {
    let short = time < Duration::from_secs(1);
    humantime::format_duration(match short {
        true => Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        false => Duration::from_secs(time.as_secs()),
    })
}

#[cfg(test)]
mod tests;
