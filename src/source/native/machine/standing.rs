//! How a watch fares, said once at each change.

use std::collections::VecDeque;

use super::super::ending::End;

/// A change in how a watch fares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// It works; after so many failures, or for the first time.
    Well {
        /// Failures in a row; 0 at the start.
        failures: u64,
    },
    /// It fails, and is tried again.
    Failing(End),
    /// It is refused with 403 or 404, and is tried again now and then.
    Denied(End),
    /// What it knew leads nowhere; it lists again at once.
    ListsAgain(End),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    New,
    Well,
    Failing,
    Denied,
}

/// How a watch fares.
#[derive(Debug, Default)]
pub(super) struct Standing {
    state: State,
    /// In a row.
    failures: u64,
    /// Changes that nobody has asked for yet.
    notes: VecDeque<Note>,
}

impl Standing {
    pub(super) fn is_well(&self) -> bool {
        self.state == State::Well
    }

    pub(super) fn well(&mut self) {
        if self.state != State::Well {
            self.state = State::Well;
            let failures = std::mem::take(&mut self.failures);
            self.notes.push_back(Note::Well { failures });
        }
    }

    pub(super) fn failing(&mut self, end: End) {
        self.failures += 1;
        if self.state != State::Failing {
            self.state = State::Failing;
            self.notes.push_back(Note::Failing(end));
        }
    }

    pub(super) fn denied(&mut self, end: End) {
        self.failures += 1;
        if self.state != State::Denied {
            self.state = State::Denied;
            self.notes.push_back(Note::Denied(end));
        }
    }

    pub(super) fn listing_again(&mut self, end: End) {
        self.notes.push_back(Note::ListsAgain(end));
    }

    pub(super) fn take(&mut self) -> Option<Note> {
        self.notes.pop_front()
    }
}
