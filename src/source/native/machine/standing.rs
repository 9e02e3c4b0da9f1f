//! How a watch fares, said once at each change.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

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
    /// It is refused with 403 or 404, and is tried again now and then. It may be that the server
    /// has just started: until it has read its rules, it refuses everybody.
    Denied(End),
    /// The refusal stands.
    StaysDenied(End),
    /// What it knew leads nowhere; it lists again at once.
    ListsAgain(End),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    New,
    Well,
    Failing,
    Denied {
        since: Instant,
        said: bool,
    },
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

    /// Refused. It stands if that was already so this long ago.
    pub(super) fn denied(&mut self, end: End, now: Instant, stands_after: Duration) {
        self.failures += 1;
        match &mut self.state {
            State::Denied { since, said } => {
                if now.saturating_duration_since(*since) >= stands_after
                    && !std::mem::replace(said, true)
                {
                    self.notes.push_back(Note::StaysDenied(end));
                }
            }
            State::New | State::Well | State::Failing => {
                self.state = State::Denied {
                    since: now,
                    said: false,
                };
                self.notes.push_back(Note::Denied(end));
            }
        }
    }

    /// Whether it was refused before, and has not been well since.
    pub(super) fn is_denied(&self) -> bool {
        matches!(self.state, State::Denied { .. })
    }

    pub(super) fn listing_again(&mut self, end: End) {
        self.notes.push_back(Note::ListsAgain(end));
    }

    pub(super) fn take(&mut self) -> Option<Note> {
        self.notes.pop_front()
    }
}
