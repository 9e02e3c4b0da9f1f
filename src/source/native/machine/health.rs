//! The health of a watch, reported once at each change.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::super::error::RequestError;

/// A change in the health of a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthChange {
    /// It is healthy, after this number of failures, or for the first time.
    Healthy {
        /// Failures in a row; 0 at the start.
        failures: u64,
    },
    /// It fails, and is tried again.
    Failing(RequestError),
    /// It is refused with 403 or 404, and is tried again now and then. It may be that the server
    /// has just started: until it has read its rules, it refuses everybody.
    Denied(RequestError),
    /// The refusal stands.
    StaysDenied(RequestError),
    /// What it knew leads nowhere; it lists again at once.
    ListsAgain(RequestError),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    New,
    Healthy,
    Failing,
    Denied {
        since: Instant,
        said: bool,
    },
}

/// The health of a watch.
#[derive(Debug, Default)]
pub(super) struct Health {
    state: State,
    /// In a row.
    failures: u64,
    /// Changes that nobody has asked for yet.
    notes: VecDeque<HealthChange>,
}

impl Health {
    pub(super) fn is_healthy(&self) -> bool {
        self.state == State::Healthy
    }

    pub(super) fn healthy(&mut self) {
        if self.state != State::Healthy {
            self.state = State::Healthy;
            let failures = std::mem::take(&mut self.failures);
            self.notes.push_back(HealthChange::Healthy { failures });
        }
    }

    pub(super) fn failing(&mut self, end: RequestError) {
        self.failures += 1;
        if self.state != State::Failing {
            self.state = State::Failing;
            self.notes.push_back(HealthChange::Failing(end));
        }
    }

    /// Refused. It stands if that was already so this long ago.
    pub(super) fn denied(&mut self, end: RequestError, now: Instant, stands_after: Duration) {
        self.failures += 1;
        match &mut self.state {
            State::Denied { since, said } => {
                if now.saturating_duration_since(*since) >= stands_after
                    && !std::mem::replace(said, true)
                {
                    self.notes.push_back(HealthChange::StaysDenied(end));
                }
            }
            State::New | State::Healthy | State::Failing => {
                self.state = State::Denied {
                    since: now,
                    said: false,
                };
                self.notes.push_back(HealthChange::Denied(end));
            }
        }
    }

    /// Whether it was refused before, and has not been well since.
    pub(super) fn is_denied(&self) -> bool {
        matches!(self.state, State::Denied { .. })
    }

    pub(super) fn listing_again(&mut self, end: RequestError) {
        self.notes.push_back(HealthChange::ListsAgain(end));
    }

    pub(super) fn take(&mut self) -> Option<HealthChange> {
        self.notes.pop_front()
    }
}
