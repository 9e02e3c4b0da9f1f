//! A migration as it goes: the stage, the comparison, the autopilot.
//!
//! Invariants: pure. A step is taken in two halves, so that watches can be started between them:
//! [`Migration::ask`] says whether and where to, [`Migration::enter`] goes there.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{
    Auto, Autopilot, Command, Facts, Parity, Refusal, Report, Stage, State, Step, auto,
    comparator::Comparator,
    compare::Side,
    gate::{self, Action, LegacyFacts, NativeFacts, ParityFacts},
};
use crate::feeds::{Feeds, View};

/// How a migration is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it begins.
    pub stage: Stage,
    /// The last cutover before a restart was forced.
    pub forced: bool,
    /// A divergence counts when it has stood for so long.
    pub settle: Duration,
    /// Parity must have held for so long before a cutover.
    pub hold: Duration,
    /// Steps are taken without an operator, with this patience.
    pub auto: Option<auto::Timeouts>,
    /// What that had done before a restart.
    pub record: Auto,
}

/// Where a migration stands.
#[derive(Debug)]
pub struct Migration {
    stage: Stage,
    since: Instant,
    forced: bool,
    settle: Duration,
    hold: Duration,
    comparator: Comparator,
    autopilot: Option<Autopilot>,
    /// When the autopilot looks again.
    look_at: Option<Instant>,
}

/// Rows in a status.
const ROWS: usize = 20;

impl Default for Settings {
    fn default() -> Self {
        Self {
            stage: Stage::Legacy,
            forced: false,
            settle: Duration::from_secs(10),
            hold: Duration::from_secs(300),
            auto: None,
            record: Auto::default(),
        }
    }
}

impl Migration {
    /// It begins, in a stage that `feeds` are set up for.
    pub fn new(settings: Settings, feeds: &mut Feeds, now: Instant) -> Self {
        let Settings {
            stage,
            forced,
            settle,
            hold,
            auto,
            record,
        } = settings;
        feeds.compare(stage.compares());
        feeds.hear_streams(stage != Stage::Native);
        Self {
            stage,
            since: now,
            forced,
            settle,
            hold,
            comparator: comparator(feeds, settle),
            look_at: auto.map(|_| now),
            autopilot: auto.map(|patience| Autopilot::new(patience, record)),
        }
    }

    /// Where it stands.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// Compares what has changed, and a slice of what is left to compare. Returns whether more
    /// is left.
    pub fn attend(&mut self, feeds: &mut Feeds, now: Instant) -> bool {
        self.stage.compares() && self.comparator.attend(feeds, now)
    }

    /// When [`Self::attend`] or [`Self::steer`] is due next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let compared = self.stage.compares().then_some(&self.comparator);
        [
            compared.and_then(Comparator::poll_timeout),
            self.look_at.filter(|_| self.stage.compares()),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Whether the autopilot is to be asked now.
    pub fn is_steering(&self, now: Instant) -> bool {
        self.stage.compares() && self.look_at.is_some_and(|at| at <= now)
    }

    /// The autopilot's next step, if one is due; none while another is being taken (`busy`).
    pub fn steer(&mut self, facts: &Facts, busy: bool, now: Instant) -> Option<Command> {
        let autopilot = self.autopilot.as_mut()?;
        let soon = now.checked_add(auto::LOOK_EVERY);
        self.look_at = soon;
        if busy {
            return None;
        }
        let command = autopilot.poll(self.stage, facts, now);
        self.look_at = autopilot.poll_timeout().into_iter().chain(soon).min();
        command
    }

    /// What a step depends on. `watches`: how many of our own run, and fail.
    pub fn facts(&mut self, feeds: &mut Feeds, watches: (u64, u64), now: Instant) -> Facts {
        self.catch_up(feeds, now);
        let legacy = feeds.collect_view();
        let native = feeds.native_view().filter(View::is_open);
        let compares = self.stage.compares();
        let parity = compares.then(|| {
            let comparing = self.comparator.pause(feeds).is_none();
            let parity = self.comparator.comparison(now).parity(now);
            ParityFacts {
                comparing: comparing && parity.comparing,
                held: parity.held,
                counted: parity.counted,
                by_field: parity
                    .by_field
                    .iter()
                    .map(|(field, count)| (field.as_str(), *count))
                    .collect(),
            }
        });
        Facts {
            legacy: legacy.map(|feed| LegacyFacts {
                open: feed.is_open(),
                listed: feed.is_listed(),
            }),
            native: native.map(|feed| NativeFacts {
                listed: feed.is_listed(),
                watches: watches.0,
                unhealthy: watches.1,
            }),
            parity,
            waits: feeds.waits(),
        }
    }

    /// The steps that lead elsewhere from here, and what blocks each, if something does.
    pub fn offers(&self, facts: &Facts) -> Vec<(Command, Option<String>)> {
        let offer = |command: Command| match self.ask(command, false, facts) {
            Ok(step) => step.is_new().then_some((command, None)),
            Err(refusal) => Some((command, Some(refusal.reason()))),
        };
        Command::ALL.into_iter().filter_map(offer).collect()
    }

    /// Where a command leads. Nothing is done yet.
    ///
    /// # Errors
    ///
    /// When the step cannot be taken.
    pub fn ask(&self, command: Command, force: bool, facts: &Facts) -> Result<Step, Refusal> {
        gate::step(self.stage, command, force, facts, self.hold)
    }

    /// An operator's command was followed, not one of the autopilot's.
    pub fn commanded(&mut self, command: Command) {
        if let Some(autopilot) = &mut self.autopilot {
            autopilot.commanded(command);
        }
    }

    /// Takes a step. Its watches have been started; if it ends them, that is done afterwards.
    pub fn enter(&mut self, step: &Step, feeds: &mut Feeds, now: Instant) {
        for action in step.actions {
            match action {
                Action::Compare(compare) => {
                    feeds.compare(*compare);
                    self.comparator = comparator(feeds, self.settle);
                }
                Action::Activate(source) => feeds.switch(*source, now),
                Action::StartWatches | Action::StopWatches => {}
            }
        }
        if step.is_new() {
            if self.stage == Stage::Native || step.to == Stage::Native {
                feeds.hear_streams(step.to != Stage::Native);
            }
            self.stage = step.to;
            self.since = now;
            self.forced = match step.command {
                Command::Cutover => step.overridden.is_some(),
                Command::Finish => self.forced,
                Command::Shadow | Command::Rollback => false,
            };
            self.look_at = self.autopilot.as_ref().map(|_| now);
        }
    }

    /// What is to be kept over a restart with this `--source`.
    pub fn state(&self, source: Stage) -> State {
        let auto = self.autopilot.as_ref();
        State {
            source,
            stage: self.stage,
            forced: self.forced,
            auto: auto.map(|auto| auto.record().clone()).unwrap_or_default(),
        }
    }

    /// How it stands. O(1), [`ROWS`] rows, and a slice of what waits to be compared.
    pub fn report(&mut self, feeds: &mut Feeds, now: Instant) -> Report {
        self.catch_up(feeds, now);
        let waits = feeds.waits();
        Report {
            stage: self.stage,
            stage_seconds: seconds(now.saturating_duration_since(self.since)),
            forced: self.forced,
            waiting_for_watcher: waits.is_some(),
            waits_for: waits.map(|waits| waits.to_string()),
            auto: self.autopilot.as_ref().map(|auto| auto.record().clone()),
            parity: self.stage.compares().then(|| self.parity(feeds, now)),
        }
    }

    fn catch_up(&mut self, feeds: &mut Feeds, now: Instant) {
        if self.stage.compares() {
            self.comparator.catch_up(feeds, now);
        }
    }

    fn parity(&mut self, feeds: &Feeds, now: Instant) -> Parity {
        let paused = self.comparator.pause(feeds);
        let waiting = self.comparator.waiting() as u64;
        let comparison = self.comparator.comparison(now);
        let parity = comparison.parity(now);
        let autopilot = self.autopilot.as_ref();
        let auto_hold = autopilot.and_then(|auto| auto.cuts_over_at(parity.held));
        let auto_hold_seconds = auto_hold.map(seconds);
        let names = |counts: Vec<(&'static str, u64)>| -> BTreeMap<String, u64> {
            let counts = counts.into_iter();
            counts.map(|(name, n)| (name.to_owned(), n)).collect()
        };
        let by_field = parity.by_field.iter().map(|(f, n)| (f.as_str(), *n));
        let expected = parity.expected.iter().map(|(r, n)| (r.as_str(), *n));
        Parity {
            comparing: parity.comparing && paused.is_none(),
            paused: paused.map(|pause| pause.to_string()),
            held_seconds: seconds(parity.held),
            hold_seconds: seconds(self.hold),
            auto_hold_seconds,
            settle_seconds: seconds(self.settle),
            divergences: parity.counted,
            unsettled: parity.unsettled,
            waiting,
            by_field: names(by_field.collect()),
            expected: names(expected.collect()),
            legacy_digest: comparison.digests(Side::Legacy).total().to_string(),
            native_digest: comparison.digests(Side::Native).total().to_string(),
            rows: comparison.rows(ROWS, now),
            switch: comparison.switch(feeds.active_source().other()),
        }
    }
}

/// With milliseconds: more is noise.
fn seconds(span: Duration) -> f64 {
    (span.as_secs_f64() * 1000.0).round() / 1000.0
}

fn comparator(feeds: &Feeds, settle: Duration) -> Comparator {
    let ledger = feeds.ledger();
    Comparator::new(settle, ledger.reannounce(), ledger.seed())
}
