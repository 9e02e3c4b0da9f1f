//! What differs, since when, and whether it has stood long enough to count.
//!
//! Laws: all times are of a clock of its own that runs between `start` and `pause`, forwards
//! only; what began while it stood begins to age when it runs. A divergence counts from the
//! moment on at which it has stood for the settle window, also if nobody looked then.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use super::{Field, set::Set};
use crate::model::Slot;

/// Time that passes only while it is let.
#[derive(Debug, Default)]
struct Clock {
    ran: Duration,
    /// If it runs: the latest moment it has seen.
    seen: Option<Instant>,
}

/// The divergences of all pods.
#[derive(Debug)]
pub(super) struct Divergences {
    settle: Duration,
    clock: Clock,
    since: BTreeMap<(Slot, Field), Duration>,
    /// In the order of their beginnings. Those that count are older than those that do not.
    counted: BTreeSet<Divergence>,
    unsettled: BTreeSet<Divergence>,
    by_field: BTreeMap<Field, u64>,
    /// When the last one that counted ended.
    clear_since: Duration,
}

/// Of a field of one pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Divergence {
    pub(super) since: Duration,
    pub(super) slot: Slot,
    pub(super) field: Field,
}

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
            since: BTreeMap::new(),
            counted: BTreeSet::new(),
            unsettled: BTreeSet::new(),
            by_field: BTreeMap::new(),
            clear_since: Duration::ZERO,
        }
    }

    pub(super) fn start(&mut self, now: Instant) {
        self.clock.seen.get_or_insert(now);
    }

    pub(super) fn pause(&mut self, now: Instant) {
        self.settle(now);
        self.clock.seen = None;
    }

    pub(super) fn skip(&mut self, now: Instant) {
        if let Some(seen) = &mut self.clock.seen {
            *seen = now.max(*seen);
        }
    }

    pub(super) fn runs(&self) -> bool {
        self.clock.seen.is_some()
    }

    /// Those that have stood long enough count from now on.
    pub(super) fn settle(&mut self, now: Instant) {
        let ran = self.clock.advance(now);
        while let Some(oldest) = self.unsettled.first() {
            if oldest.since.saturating_add(self.settle) > ran {
                return;
            }
            self.counted.extend(self.unsettled.pop_first());
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let due = self.unsettled.first()?.since.checked_add(self.settle)?;
        self.clock.moment(due)
    }

    /// The pod in this slot differed in the fields `before` and does in the fields `now`.
    pub(super) fn change(&mut self, slot: Slot, before: Set<Field>, now: Set<Field>) {
        for field in before.without(now).iter() {
            self.end(slot, field);
        }
        for field in now.without(before).iter() {
            self.begin(slot, field);
        }
    }

    fn begin(&mut self, slot: Slot, field: Field) {
        let since = self.clock.ran;
        self.since.insert((slot, field), since);
        self.unsettled.insert(Divergence { since, slot, field });
        *self.by_field.entry(field).or_default() += 1;
    }

    fn end(&mut self, slot: Slot, field: Field) {
        let Some(since) = self.since.remove(&(slot, field)) else {
            return;
        };
        let ended = Divergence { since, slot, field };
        if self.counted.remove(&ended) {
            if self.counted.is_empty() {
                self.clear_since = self.clock.ran;
            }
        } else {
            self.unsettled.remove(&ended);
        }
        if let Some(count) = self.by_field.get_mut(&field) {
            *count -= 1;
            if *count == 0 {
                self.by_field.remove(&field);
            }
        }
    }

    /// The first slot at or after this one whose pod differs.
    pub(super) fn at_or_after(&self, slot: Slot) -> Option<Slot> {
        let mut from = self.since.range((slot, Field::Presence)..);
        from.next().map(|((slot, _), _)| *slot)
    }

    /// How long none has counted.
    pub(super) fn held(&self) -> Duration {
        if self.counted.is_empty() {
            self.clock.ran.saturating_sub(self.clear_since)
        } else {
            Duration::ZERO
        }
    }

    pub(super) fn counted(&self) -> usize {
        self.counted.len()
    }

    pub(super) fn unsettled(&self) -> usize {
        self.unsettled.len()
    }

    /// How many there are of each field that has any.
    pub(super) fn by_field(&self) -> &BTreeMap<Field, u64> {
        &self.by_field
    }

    /// The oldest first, each with how long it has stood and whether it counts.
    pub(super) fn oldest(&self) -> impl Iterator<Item = (&Divergence, Duration, bool)> {
        let counted = self.counted.iter().map(|divergence| (divergence, true));
        let unsettled = self.unsettled.iter().map(|divergence| (divergence, false));
        counted.chain(unsettled).map(|(divergence, counts)| {
            let stood = self.clock.ran.saturating_sub(divergence.since);
            (divergence, stood, counts)
        })
    }
}
