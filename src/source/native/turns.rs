//! First lists take turns: so many are under way at once, and who came first goes first. One on
//! which nothing happens is not under way: the next one begins, and nobody waits for the server to
//! come back to it.

use std::{
    convert::Infallible,
    future::{Future, pending},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::sleep,
};

/// The turn of one watch.
pub(super) struct Turn {
    turns: Arc<Semaphore>,
    /// After so long without a word of the server the turn goes to the next one.
    patience: Duration,
    state: Arc<Mutex<State>>,
    /// Moves with each word of the server.
    words: Arc<AtomicU64>,
}

enum State {
    /// Its first list has not begun, or has failed: others come first.
    Due,
    /// Its first list is under way.
    Taken { _permit: OwnedSemaphorePermit },
    /// Its first list is waited for, and others need not wait for it.
    Passed,
    /// Its first list has ended.
    Over,
}

impl Turn {
    pub(super) fn new(turns: Arc<Semaphore>, patience: Duration) -> Self {
        Self {
            turns,
            patience,
            state: Arc::new(Mutex::new(State::Due)),
            words: Arc::default(),
        }
    }

    /// Waits until a request may be made.
    pub(super) async fn come(&mut self) {
        let is_due = matches!(*lock(&self.state), State::Due);
        if is_due
            // It is never closed.
            && let Ok(permit) = Arc::clone(&self.turns).acquire_owned().await
        {
            *lock(&self.state) = State::Taken { _permit: permit };
        }
    }

    /// The server has said something.
    pub(super) fn heard(&self) {
        self.words.fetch_add(1, Relaxed);
    }

    /// Gives the turn to the next one when nothing is heard for too long. Is never ready.
    pub(super) fn pass_if_silent(&self) -> impl Future<Output = Infallible> + Send + use<> {
        let (state, words) = (Arc::clone(&self.state), Arc::clone(&self.words));
        let patience = self.patience;
        async move {
            let mut heard = words.load(Relaxed);
            while matches!(*lock(&state), State::Taken { .. }) {
                sleep(patience).await;
                let before = std::mem::replace(&mut heard, words.load(Relaxed));
                let mut state = lock(&state);
                if before == heard && matches!(*state, State::Taken { .. }) {
                    *state = State::Passed;
                }
            }
            pending().await
        }
    }

    /// A request has ended without the end of a list.
    pub(super) fn ended(&mut self) {
        let mut state = lock(&self.state);
        match *state {
            State::Taken { .. } | State::Passed => *state = State::Due,
            State::Due | State::Over => {}
        }
    }

    /// A list has ended.
    pub(super) fn listed(&mut self) {
        *lock(&self.state) = State::Over;
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
