//! The way of messages to one relay: a bounded backlog between two tasks.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use tokio::sync::Notify;

use crate::tee::{
    backlog::{Backlog, Full},
    fold,
};

/// What is moved to the transport at once, in bytes; so much more may be held.
const PART: usize = 64 << 10;

/// One end puts batches in, the other takes a stream of messages out.
#[derive(Debug)]
pub(super) struct Pipe {
    state: Mutex<State>,
    /// Rings for the taker.
    filled: Notify,
    /// Rings for the putter.
    taken: Notify,
}

#[derive(Debug)]
struct State {
    backlog: Backlog,
    /// Nothing more will come.
    closed: bool,
}

impl Pipe {
    /// A pipe that holds so many bytes, and a batch.
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                backlog: Backlog::new(limit),
                closed: false,
            }),
            filled: Notify::new(),
            taken: Notify::new(),
        })
    }

    /// Puts all in at once, then waits for room, as long as it takes. Who does not wait for
    /// that has lost nothing.
    pub(super) async fn put(&self, batch: VecDeque<Bytes>) {
        self.lock().backlog.append(batch);
        self.filled.notify_one();
        while !self.lock().backlog.has_room() {
            self.taken.notified().await;
        }
    }

    /// Puts all in at once.
    ///
    /// # Errors
    /// There was no room for all of it.
    pub(super) fn offer<'a>(&self, batch: impl Iterator<Item = &'a Bytes>) -> Result<(), Full> {
        let mut state = self.lock();
        let mut batch = batch.cloned();
        let offered = batch.try_for_each(|message| state.backlog.push(message));
        drop(state);
        self.filled.notify_one();
        offered
    }

    /// Nothing more will come: what is in still goes out.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_one();
    }

    /// Throws away what is in.
    pub(super) fn clear(&self) {
        self.lock().backlog.clear();
    }

    /// What comes out: `before`, then what was put in, until it is closed. `caught_up` is called
    /// as soon as nothing waits for the first time.
    pub(super) fn messages(
        self: Arc<Self>,
        before: Vec<fold::Message>,
        caught_up: impl FnOnce() + Send,
    ) -> impl Stream<Item = Bytes> + Send {
        let before = stream::iter(before).map(Bytes::from_owner);
        let parts = stream::unfold((self, Some(caught_up)), |(pipe, mut caught_up)| async {
            let part = pipe.part(&mut caught_up).await?;
            Some((stream::iter(part), (pipe, caught_up)))
        });
        before.chain(parts.flatten())
    }

    /// The next messages; `None` at the end.
    async fn part(&self, caught_up: &mut Option<impl FnOnce()>) -> Option<VecDeque<Bytes>> {
        let mut part = VecDeque::new();
        loop {
            let closed = {
                let mut state = self.lock();
                state.backlog.take(PART, &mut part);
                state.closed
            };
            if !part.is_empty() {
                self.taken.notify_one();
                return Some(part);
            }
            if let Some(caught_up) = caught_up.take() {
                caught_up();
            }
            if closed {
                return None;
            }
            self.filled.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn what_was_put_in_comes_out_though_nobody_waits_for_room_any_more() {
        let pipe = Pipe::new(100);
        let batch: VecDeque<_> = (0..10).map(|n| Bytes::from(vec![n; 50])).collect();
        assert_eq!(pipe.put(batch.clone()).now_or_never(), None);
        pipe.close();
        let out: VecDeque<_> = pipe.messages(Vec::new(), || ()).collect().await;
        assert_eq!(out, batch);
    }
}
