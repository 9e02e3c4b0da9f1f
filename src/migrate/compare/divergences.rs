//! What differs, since when, and whether it has stood long enough to count.
//!
//! Invariants: all times are of a clock of its own that runs between `start` and `pause`, forwards
//! only; what began while it stood begins to age when it runs. A divergence counts from the moment
//! on at which it has stood for the settle window, also if nobody looked then.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use smallvec::SmallVec;

use super::{Field, set::Set};
use crate::model::Slot;

/// Time that passes only while it is let.
#[derive(Debug, Default)]
struct Clock {
    ran: Duration,
    /// If it runs: the latest moment it has seen.
    seen: Option<Instant>,
    /// What it showed when it was started, or set to go on, last.
    started: Duration,
}

/// The divergences of all pods.
#[derive(Debug)]
pub(super) struct Divergences {
    settle: Duration,
    clock: Clock,
    /// In the order of their beginnings.
    open: BTreeMap<Turn, Divergence>,
    /// Never used again.
    next_number: u64,
    /// Those before this one count, as many as `counted`.
    unsettled_from: Turn,
    counted: usize,
    by_field: BTreeMap<Field, u64>,
    /// When the last one that counted ended.
    clear_since: Duration,
}

/// The place of a divergence in the order of their beginnings; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Turn {
    since: Duration,
    number: u64,
}

/// Of a field of one pod.
#[derive(Clone, Copy, Debug)]
pub(super) struct Divergence {
    pub(super) slot: Slot,
    pub(super) field: Field,
}

/// The divergences of one pod.
#[derive(Debug, Default)]
pub(super) struct Turns(SmallVec<[(Field, Turn); 2]>);

impl Clock {
    /// What it shows now.
    fn advance(&mut self, now: Instant) -> Duration {
        if let Some(seen) = &mut self.seen {
            let passed = now.saturating_duration_since(*seen);
            self.ran = self.ran.saturating_add(passed);
            *seen = now.max(*seen);
        }
        self.ran
    }

    fn start(&mut self, now: Instant) {
        if self.seen.is_none() {
            self.seen = Some(now);
            self.started = self.ran;
        }
    }

    /// Until now it stood still.
    fn skip(&mut self, now: Instant) {
        if let Some(seen) = &mut self.seen {
            *seen = now.max(*seen);
            self.started = self.ran;
        }
    }

    /// What it showed so long ago, if it has run since then.
    fn ago(&self, long: Duration) -> Duration {
        match self.seen {
            Some(_) => self.ran.saturating_sub(long).max(self.started),
            None => self.ran,
        }
    }

    /// When it will show this, if it runs on.
    fn moment(&self, shown: Duration) -> Option<Instant> {
        self.seen?.checked_add(shown.saturating_sub(self.ran))
    }
}

impl Divergences {
    pub(super) fn new(settle: Duration) -> Self {
        Self {
            settle,
            clock: Clock::default(),
            open: BTreeMap::new(),
            next_number: 0,
            unsettled_from: Turn::FIRST,
            counted: 0,
            by_field: BTreeMap::new(),
            clear_since: Duration::ZERO,
        }
    }

    pub(super) fn start(&mut self, now: Instant) {
        self.clock.start(now);
    }

    pub(super) fn pause(&mut self, now: Instant) {
        self.settle(now);
        self.clock.seen = None;
    }

    pub(super) fn skip(&mut self, now: Instant) {
        self.clock.skip(now);
    }

    pub(super) fn runs(&self) -> bool {
        self.clock.seen.is_some()
    }

    /// Those that have stood long enough count from now on.
    pub(super) fn settle(&mut self, now: Instant) {
        let ran = self.clock.advance(now);
        while let Some(turn) = self.oldest_unsettled() {
            if turn.since.saturating_add(self.settle) > ran {
                return;
            }
            self.unsettled_from = turn.next();
            self.counted += 1;
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let oldest = self.oldest_unsettled()?;
        self.clock.moment(oldest.since.checked_add(self.settle)?)
    }

    /// The pod in this slot differs in the fields `now`, and differed in those of `turns`. New
    /// ones have done so for so `long`.
    pub(super) fn change(
        &mut self,
        slot: Slot,
        turns: &mut Turns,
        now: Set<Field>,
        long: Duration,
    ) {
        turns.0.retain(|(field, turn)| {
            let stays = now.has(*field);
            if !stays {
                self.end(*turn);
            }
            stays
        });
        for field in now.without(turns.fields()).iter() {
            turns.0.push((field, self.begin(slot, field, long)));
        }
    }

    fn begin(&mut self, slot: Slot, field: Field, long: Duration) -> Turn {
        let number = self.next_number;
        self.next_number += 1;
        // None that is new counts yet.
        let since = self.clock.ago(long).max(self.unsettled_from.since);
        let turn = Turn { since, number };
        self.open.insert(turn, Divergence { slot, field });
        *self.by_field.entry(field).or_default() += 1;
        turn
    }

    fn end(&mut self, turn: Turn) {
        let Some(Divergence { field, .. }) = self.open.remove(&turn) else {
            return;
        };
        if turn < self.unsettled_from {
            self.counted -= 1;
            if self.counted == 0 {
                self.clear_since = self.clock.ran;
            }
        }
        if let Some(count) = self.by_field.get_mut(&field) {
            *count -= 1;
            if *count == 0 {
                self.by_field.remove(&field);
            }
        }
    }

    /// The first at or after this one, and its pod's slot.
    pub(super) fn at_or_after(&self, turn: Turn) -> Option<(Turn, Slot)> {
        let (turn, divergence) = self.open.range(turn..).next()?;
        Some((*turn, divergence.slot))
    }

    /// Where one that begins now would be.
    pub(super) fn next(&self) -> Turn {
        Turn {
            since: self.clock.ran,
            number: self.next_number,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    fn oldest_unsettled(&self) -> Option<Turn> {
        let (turn, _) = self.open.range(self.unsettled_from..).next()?;
        Some(*turn)
    }

    /// How long none has counted.
    pub(super) fn held(&self) -> Duration {
        match self.counted {
            0 => self.clock.ran.saturating_sub(self.clear_since),
            _ => Duration::ZERO,
        }
    }

    pub(super) fn counted(&self) -> usize {
        self.counted
    }

    pub(super) fn unsettled(&self) -> usize {
        self.open.len() - self.counted
    }

    /// How many there are of each field that has any.
    pub(super) fn by_field(&self) -> &BTreeMap<Field, u64> {
        &self.by_field
    }

    /// The oldest first, each with how long it has stood and whether it counts.
    pub(super) fn oldest(&self) -> impl Iterator<Item = (&Divergence, Duration, bool)> {
        self.open.iter().map(|(turn, divergence)| {
            let stood = self.clock.ran.saturating_sub(turn.since);
            (divergence, stood, *turn < self.unsettled_from)
        })
    }
}

impl Turn {
    /// The first divergence of all.
    pub const FIRST: Self = Self {
        since: Duration::ZERO,
        number: 0,
    };

    /// The first place after this one.
    pub fn next(self) -> Self {
        Self {
            number: self.number.saturating_add(1),
            ..self
        }
    }
}

impl Turns {
    /// What the pod differs in.
    pub(super) fn fields(&self) -> Set<Field> {
        let mut fields = Set::EMPTY;
        for (field, _) in &self.0 {
            fields.add(*field);
        }
        fields
    }
}
