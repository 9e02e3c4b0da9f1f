//! Until when pods wait for an owner that is not known (D9).

use std::{collections::BTreeMap, time::Instant};

use crate::model::Slot;

/// The deadlines of waiting pods, and of live ones that have moved to an unknown owner (D14).
/// Each has a number, its turn; what came later is due later.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    turns: u64,
    due: BTreeMap<u64, (Instant, Slot)>,
    /// The turns of the live ones. Few pods ever move, so that their entries have no room for it.
    movers: BTreeMap<Slot, u64>,
}

impl Deadlines {
    /// The pod in this slot waits from now on; `None`: indefinitely. Returns its turn.
    pub(super) fn wait(&mut self, slot: Slot, due: Option<Instant>) -> u64 {
        let turn = self.turns;
        self.turns += 1;
        if let Some(at) = due {
            self.due.insert(turn, (at, slot));
        }
        turn
    }

    /// The pod that has this turn waits no longer.
    pub(super) fn lift(&mut self, turn: u64) {
        self.due.remove(&turn);
    }

    /// The live pod in this slot waits from now on; `None`: it stays as it is announced.
    pub(super) fn move_away(&mut self, slot: Slot, due: Option<Instant>) {
        self.settle(slot);
        if due.is_some() {
            let turn = self.wait(slot, due);
            self.movers.insert(slot, turn);
        }
    }

    /// The live pod in this slot has an owner that is known, or is gone.
    pub(super) fn settle(&mut self, slot: Slot) {
        if let Some(turn) = self.movers.remove(&slot) {
            self.lift(turn);
        }
    }

    /// The next one whose time is over: its turn and its slot.
    pub(super) fn expire(&mut self, now: Instant) -> Option<(u64, Slot)> {
        let first = self.due.first_entry()?;
        let (turn, (at, slot)) = (*first.key(), *first.get());
        if at > now {
            return None;
        }
        first.remove();
        self.movers.remove(&slot);
        Some((turn, slot))
    }

    pub(super) fn first(&self) -> Option<Instant> {
        self.due.first_key_value().map(|(_, (at, _))| *at)
    }

    pub(super) fn len(&self) -> usize {
        self.due.len() + self.movers.len()
    }
}
