//! First lists take turns: so many are under way at once, and who came first goes first.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The turn of one watch.
pub(super) struct Turn {
    turns: Arc<Semaphore>,
    state: State,
}

enum State {
    /// Its first list has not begun, or has failed: others come first.
    Due,
    /// Its first list is under way.
    Taken { _permit: OwnedSemaphorePermit },
    /// Its first list has ended.
    Over,
}

impl Turn {
    pub(super) fn new(turns: Arc<Semaphore>) -> Self {
        Self {
            turns,
            state: State::Due,
        }
    }

    /// Waits until a request may be made.
    pub(super) async fn come(&mut self) {
        if let State::Due = self.state
            // It is never closed.
            && let Ok(permit) = Arc::clone(&self.turns).acquire_owned().await
        {
            self.state = State::Taken { _permit: permit };
        }
    }

    /// A request has ended without the end of a list.
    pub(super) fn ended(&mut self) {
        match self.state {
            State::Taken { .. } => self.state = State::Due,
            State::Due | State::Over => {}
        }
    }

    /// A list has ended.
    pub(super) fn listed(&mut self) {
        self.state = State::Over;
    }
}
