//! `--migrate auto`: the steps that are taken without an operator.
//!
//! In `shadow` it cuts over when the gate opens. In `shadow-native` it rolls back when the native
//! watches have not been well for a while and a watcher is there that is listed. It takes no other
//! step: it never starts watches, and never takes the way back away by `finish`.
//!
//! After a rollback of its own, parity must hold again, for twice as long. When that was doubled
//! three times and it has to roll back once more, it is suspended, and an operator decides. So it
//! is after an operator's rollback: an operator who rolls back does not want an automatic cutover.
//! An operator's `shadow` or `cutover` lets it start afresh.
//!
//! Invariants: pure. It never cuts over at a closed gate, and takes no step twice for one reason.
//! While time stands still it rolls nothing back, and time in which nobody looked, because the
//! process or its machine stood still, does not count against the native watches.

use std::time::{Duration, Instant};

use super::{Auto, Command, Facts, Stage, gate, standstill::Standstill};

/// How patient it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// How long parity must hold before the first cutover.
    pub hold: Duration,
    /// How long the native watches may not be well before it rolls back.
    pub rollback_after: Duration,
}

/// How often the hold doubles.
const MAX_DOUBLINGS: u32 = 3;

/// Rollbacks of its own, at most; with the last one it is suspended.
pub const MAX_ROLLBACKS: u32 = MAX_DOUBLINGS + 1;

/// No look is closer than this, whatever the comparison says of its own time.
const NEXT_LOOK: Duration = Duration::from_millis(10);

/// While the native watches are not well it looks so often at least, to see whether time passes.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What goes on without an operator, and what has.
#[derive(Clone, Debug)]
pub struct Autopilot {
    timeouts: Timeouts,
    record: Auto,
    /// How long parity had held when it had to hold again.
    held_before: Duration,
    /// What parity had held at the last look. Less than that now: it has started over.
    held_last: Duration,
    /// Since when the native watches are active and failing; later by all standstills since.
    unhealthy_since: Option<Instant>,
    standstill: Standstill,
    /// When the next one is due, at the latest.
    look_at: Option<Instant>,
}

impl Autopilot {
    /// Goes on from what it had done before a restart; from nothing by default.
    pub fn new(timeouts: Timeouts, record: Auto) -> Self {
        Self {
            timeouts,
            record,
            held_before: Duration::ZERO,
            held_last: Duration::ZERO,
            unhealthy_since: None,
            standstill: Standstill::default(),
            look_at: None,
        }
    }

    /// Looks whether a step is due. To be asked whenever the stage or the facts have changed, and
    /// at [`Self::poll_timeout`]. The step it gives is to be taken: its gate is open.
    pub fn poll(&mut self, stage: Stage, facts: &Facts, now: Instant) -> Option<Command> {
        self.note_held(facts);
        self.note_standstill(now);
        self.note_wellness(stage, facts, now);
        self.look_at = None;
        if self.record.is_suspended() {
            return None;
        }
        match stage {
            Stage::Legacy | Stage::Native => None,
            Stage::Shadow => self.cut_over(facts, now),
            Stage::ShadowNative => self.roll_back(facts, now),
        }
    }

    /// When to look again if nothing changes before; later than the last look.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.look_at
    }

    /// An operator's command was followed.
    pub fn commanded(&mut self, command: Command) {
        match command {
            Command::Shadow | Command::Cutover => {
                self.record = Auto::default();
                self.held_before = self.held_last;
            }
            Command::Rollback => self.record.stopped_by_operator = true,
            Command::Finish => {}
        }
    }

    /// What parity must have held before it cuts over, if it has held so long by now; `None` while
    /// it is suspended. More than [`Self::hold`] if what held before a rollback does not count.
    pub fn cuts_over_at(&self, held: Duration) -> Option<Duration> {
        let before = match held < self.held_last {
            true => Duration::ZERO,
            false => self.held_before,
        };
        let due = before.saturating_add(self.hold());
        (!self.record.is_suspended()).then_some(due)
    }

    /// How long parity must hold again before it cuts over.
    pub fn hold(&self) -> Duration {
        let doublings = self.record.rollbacks.min(MAX_DOUBLINGS);
        self.timeouts.hold.saturating_mul(1 << doublings)
    }

    /// What it has done so far: to be shown, and kept over a restart.
    pub fn record(&self) -> &Auto {
        &self.record
    }

    fn cut_over(&mut self, facts: &Facts, now: Instant) -> Option<Command> {
        let hold = self.cuts_over_at(self.held_last)?;
        match gate::step(Stage::Shadow, Command::Cutover, false, facts, hold) {
            Ok(_) => Some(Command::Cutover),
            Err(_) => {
                let held = facts.parity.as_ref().filter(|parity| {
                    let holds = parity.comparing && parity.counted == 0;
                    holds && parity.held < hold
                });
                let left = held.map(|parity| hold.saturating_sub(parity.held).max(NEXT_LOOK));
                self.look_at = left.and_then(|left| now.checked_add(left));
                None
            }
        }
    }

    fn roll_back(&mut self, facts: &Facts, now: Instant) -> Option<Command> {
        let since = self.unhealthy_since?;
        let due = since.checked_add(self.timeouts.rollback_after)?;
        self.look_at = now.checked_add(LOOK_EVERY);
        if now < due {
            self.look_at = self.look_at.map(|at| at.min(due));
            return None;
        }
        facts.legacy.filter(|legacy| legacy.open && legacy.listed)?;
        self.record.rollbacks = self.record.rollbacks.saturating_add(1);
        self.record.suspended = self.record.rollbacks >= MAX_ROLLBACKS;
        self.held_before = self.held_last;
        (self.unhealthy_since, self.look_at) = (None, None);
        Some(Command::Rollback)
    }

    fn note_held(&mut self, facts: &Facts) {
        let held = facts
            .parity
            .as_ref()
            .map_or(Duration::ZERO, |parity| parity.held);
        if held < self.held_last {
            self.held_before = Duration::ZERO;
        }
        self.held_last = held;
    }

    fn note_standstill(&mut self, now: Instant) {
        if let Some(stood) = self.standstill.look(now) {
            self.unhealthy_since = self.unhealthy_since.and_then(|at| at.checked_add(stood));
        }
    }

    /// Only what happens after the cutover counts: a forced one is not undone at once.
    fn note_wellness(&mut self, stage: Stage, facts: &Facts, now: Instant) {
        let well = facts
            .native
            .is_some_and(|native| native.listed && native.unhealthy == 0);
        self.unhealthy_since = match (stage, well) {
            (Stage::ShadowNative, false) => self.unhealthy_since.or(Some(now)),
            (Stage::ShadowNative, true) | (Stage::Legacy | Stage::Shadow | Stage::Native, _) => {
                None
            }
        };
    }
}

#[cfg(test)]
mod tests;
