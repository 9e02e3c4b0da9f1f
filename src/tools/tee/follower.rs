//! The second relay's side of one stream: it follows, is cut when it falls too far behind, and is
//! sent the folded state when it is back, unless it follows a newer stream: then that one counts.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{
    calls::{Times, connect},
    pipe::Pipe,
    session::{Cause, Session},
    turns::Turns,
};
use crate::{
    backoff::{Backoff, Jitter},
    config::HostPort,
    seed,
    sim::watcher::{Outcome, Watcher},
    tee::{
        compare::Side,
        fold::{self, Fold},
    },
};

/// The second relay.
#[derive(Clone, Debug)]
pub(super) struct Secondary {
    pub(super) address: HostPort,
    /// How far it may fall behind on each stream, in bytes.
    pub(super) backlog: usize,
    pub(super) turns: Turns,
}

/// What a stream has sent, and the link to the second relay while that is open.
pub(super) struct SecondaryStream {
    limit: usize,
    state: Mutex<State>,
    /// Nothing more will come.
    closed: CancellationToken,
}

struct State {
    fold: Fold,
    link: Option<SecondaryLink>,
    /// The stream is over: ways that open later are closed at once.
    closed: bool,
}

/// One attempt to follow.
#[derive(Clone)]
struct SecondaryLink {
    pipe: Arc<Pipe>,
    /// It has fallen too far behind.
    cut: CancellationToken,
}

impl SecondaryStream {
    /// Of a stream that has just been opened. A way stands open from its first message on.
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            state: Mutex::new(State {
                fold: Fold::new(seed::of_process()),
                link: Some(SecondaryLink::new(limit)),
                closed: false,
            }),
            closed: CancellationToken::new(),
        })
    }

    /// The stream sends this. Never waits.
    pub(super) fn offer(&self, batch: &VecDeque<Bytes>) {
        let mut state = self.lock();
        for message in batch {
            state.fold.apply(message);
        }
        if let Some(link) = &state.link
            && link.pipe.offer(batch.iter()).is_err()
        {
            link.pipe.clear();
            link.cut.cancel();
            state.link = None;
        }
    }

    /// The stream sends nothing more.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        if let Some(link) = &state.link {
            link.pipe.close();
        }
        drop(state);
        self.closed.cancel();
    }

    /// The way that stands open, or a new one; with what must be sent before what comes there.
    fn link(&self, first: bool) -> (Vec<fold::Message>, SecondaryLink) {
        let mut state = self.lock();
        if first && let Some(link) = &state.link {
            return (Vec::new(), link.clone());
        }
        let link = SecondaryLink::new(self.limit);
        if state.closed {
            link.pipe.close();
        }
        state.link = Some(link.clone());
        (state.fold.replay(), link)
    }

    /// Nothing goes this way any more.
    fn leave(&self) {
        self.lock().link = None;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SecondaryLink {
    fn new(limit: usize) -> Self {
        Self {
            pipe: Pipe::new(limit),
            cut: CancellationToken::new(),
        }
    }
}

/// Follows one stream to its end.
pub(super) struct Follower {
    pub(super) stream: u64,
    pub(super) second: Secondary,
    pub(super) secondary: Arc<SecondaryStream>,
    pub(super) session: Arc<Session>,
    pub(super) times: Times,
}

impl Follower {
    pub(super) async fn run(self) {
        self.to_its_end().await;
        self.second.turns.over(self.stream);
        self.session.over(Side::Second, self.stream);
    }

    async fn to_its_end(&self) {
        let cause = Cause::Stream(self.stream);
        let mut first = true;
        let Times {
            backoff_min,
            backoff_max,
            ..
        } = self.times;
        // Some relays must not be called by all streams at once.
        let mut backoff = Backoff::new(backoff_min, backoff_max, Jitter::Around);
        loop {
            if !self.has_its_turn(cause).await {
                return;
            }
            let connected = tokio::select! {
                connected = connect(&self.second.address, self.times.connect) => connected,
                () = self.expired() => return,
            };
            let why = match connected {
                // A newer one was faster.
                Ok(_) if !self.second.turns.take(self.stream) => continue,
                Ok(watcher) => match self.follow(&watcher, first).await {
                    Ok(()) => return,
                    Err((why, followed)) => {
                        if followed {
                            backoff.reset();
                        }
                        why
                    }
                },
                Err(why) => format!("it cannot be reached: {why}"),
            };
            self.secondary.leave();
            first = false;
            // With a newer stream the second knows what it must.
            if self.second.turns.must_wait(self.stream) {
                continue;
            }
            self.session.out(Side::Second, cause, why);
            // With a stream that is over there is nothing to return to. What the relay has
            // missed of it stays missed until it follows a later one.
            tokio::select! {
                () = sleep(backoff.fail(fastrand::f64())) => {}
                () = self.secondary.closed.cancelled() => return,
            }
        }
    }

    /// Waits while the second relay follows a newer stream. Returns `false` if this one is over.
    async fn has_its_turn(&self, cause: Cause) -> bool {
        if self.second.turns.must_wait(self.stream) {
            self.secondary.leave();
            tokio::select! {
                () = self.second.turns.turn(self.stream) => {}
                () = self.secondary.closed.cancelled() => return false,
            }
            let why = "all newer streams are over, and it has lost this one".to_owned();
            self.session.out(Side::Second, cause, why);
        }
        true
    }

    /// Follows as long as it goes. `Ok` if the stream is over; otherwise why it was left, and
    /// whether it had caught up before.
    async fn follow(&self, watcher: &Watcher, first: bool) -> Result<(), (String, bool)> {
        let (replay, link) = self.secondary.link(first);
        let caught_up = CancellationToken::new();
        let messages = link.pipe.clone().messages(replay, {
            let (caught_up, session, stream) =
                (caught_up.clone(), self.session.clone(), self.stream);
            move || {
                caught_up.cancel();
                session.back(Side::Second, stream);
            }
        });
        let why = tokio::select! {
            biased;
            () = link.cut.cancelled() => format!(
                "it has fallen behind by more than {} MiB and was cut",
                self.second.backlog >> 20
            ),
            outcome = watcher.forward(messages, || ()) => {
                if self.secondary.closed.is_cancelled() {
                    return Ok(());
                }
                ended(&outcome)
            }
            () = self.expired() => return Ok(()),
        };
        Err((why, caught_up.is_cancelled()))
    }

    /// The stream is over, and the relay had time to read the rest of it.
    async fn expired(&self) {
        self.secondary.closed.cancelled().await;
        sleep(self.times.drain).await;
    }
}

fn ended(outcome: &Outcome) -> String {
    let Outcome {
        status, details, ..
    } = outcome;
    format!("its stream has ended: {status:?} {details:?}")
}
