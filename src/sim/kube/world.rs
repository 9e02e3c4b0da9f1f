//! What all connections share: the objects, the script of faults, the book of requests.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{Notify, watch};

use super::{faults::Plan, leases::Leases, render::Renderer, requests::Requests, store::Store};
use crate::model::{Kind, KindTable};

/// The simulated cluster behind its lock, and the bells that ring at changes.
pub(super) struct World {
    state: Mutex<State>,
    pub(super) kinds: KindTable,
    pub(super) renderer: Renderer,
    pub(super) bookmarks_every: Duration,
    changed: watch::Sender<()>,
    asked: Notify,
}

/// All that can change.
pub(super) struct State {
    pub(super) store: Store,
    pub(super) plan: Plan,
    pub(super) requests: Requests,
    /// The only objects that clients change.
    pub(super) leases: Leases,
    /// Kinds that RBAC denies.
    pub(super) denied: BTreeSet<Kind>,
    /// Whether lists are streamed on demand.
    pub(super) watch_list: bool,
    /// The only token that is let in; `None` lets everybody in.
    pub(super) token: Option<String>,
    /// Goes up when each watch shall send a bookmark.
    pub(super) bookmark_round: u64,
    /// Goes up when each watch shall end.
    pub(super) end_round: u64,
}

impl World {
    pub(super) fn new(state: State, renderer: Renderer, bookmarks_every: Duration) -> Self {
        Self {
            kinds: state.store.kinds().clone(),
            state: Mutex::new(state),
            renderer,
            bookmarks_every,
            changed: watch::Sender::new(()),
            asked: Notify::new(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // A test that panics while it looks has not broken anything.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what watches look at.
    pub(super) fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let result = change(&mut self.lock());
        self.changed.send_replace(());
        result
    }

    /// Rings at each change.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Writes into the book of requests.
    pub(super) fn book<R>(&self, write: impl FnOnce(&mut Requests) -> R) -> R {
        let result = write(&mut self.lock().requests);
        self.asked.notify_waiters();
        result
    }

    /// Waits until the book of requests says so.
    pub(super) async fn wait_until(&self, mut done: impl FnMut(&Requests) -> bool) {
        loop {
            let asked = self.asked.notified();
            let mut asked = std::pin::pin!(asked);
            // From here on no ring is missed.
            asked.as_mut().enable();
            if done(&self.lock().requests) {
                return;
            }
            asked.await;
        }
    }
}
