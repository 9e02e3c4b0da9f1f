//! The end of a relay, at SIGTERM, SIGINT or SIGHUP, and when a part of it has failed: always the same.
//!
//! One of several replicas first hands its part over, while all of it still runs (D19). Then, in
//! this order: no new calls; every call ends with UNAVAILABLE, every watch ends; what they had
//! said is applied; the reducer gets it all, then FIN, while the state file is written. It takes
//! [`Limits::all`] at most, of which the sources get a part: whatever is late, the flush, the FIN
//! and the state file get what is left. A second signal ends it at once, in the same order and
//! without waiting.
//!
//! Invariant: what was left undone is said, and is the error.

use std::{future::Future, pin::pin, time::Duration};

use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;
use tracing::{error, info, warn};

use super::{AppError, Relay, enrich};

/// How long the end may take. All are arguments so that tests can shorten them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// How long the hand-over to another replica may take, before anything else ends.
    pub(super) handover: Duration,
    /// From the signal to the end of the process.
    pub(super) all: Duration,
    /// From the signal until the sources are waited for no longer.
    pub(super) sources: Duration,
    /// How long the loop may take to apply what the sources had said.
    pub(super) apply: Duration,
    /// From a second signal to the end of the process.
    pub(super) hurried: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handover: Duration::ZERO,
            all: Duration::from_millis(4_500),
            sources: Duration::from_millis(2_000),
            apply: Duration::from_millis(500),
            hurried: Duration::from_millis(250),
        }
    }
}

impl Limits {
    /// For one of several replicas: 15 s from the signal to the end, hand-over included.
    pub(super) fn with_handover() -> Self {
        Self {
            handover: Duration::from_secs(12),
            all: Duration::from_millis(14_500),
            ..Self::default()
        }
    }
}

/// Before the end of the process, so that the FIN is on its way by then.
const FIN_ALLOWANCE: Duration = Duration::from_millis(100);

/// A task of the relay, which should run until it is asked to end.
pub(super) struct Part<T> {
    name: &'static str,
    /// `None`: there is none, or it has ended.
    task: Option<AbortOnDropHandle<T>>,
}

/// What was left undone.
#[derive(Default)]
struct Undone(Vec<String>);

impl<T> Part<T> {
    pub(super) fn new(name: &'static str, task: AbortOnDropHandle<T>) -> Self {
        let task = Some(task);
        Self { name, task }
    }

    pub(super) fn none(name: &'static str) -> Self {
        Self { name, task: None }
    }

    /// Breaks it.
    #[cfg(test)]
    pub(super) fn abort(&self) {
        self.task.iter().for_each(AbortOnDropHandle::abort);
    }

    /// Its result; never, if there is none.
    async fn ended(&mut self) -> Result<T, AppError> {
        let Some(task) = &mut self.task else {
            return std::future::pending().await;
        };
        let ended = task.await;
        self.task = None;
        // Whether it has panicked or was aborted is said elsewhere.
        ended.map_err(|_| AppError::TaskEnded(self.name))
    }

    /// That it has ended although nothing asked it to; never, if there is none.
    pub(super) async fn failed(&mut self) -> AppError {
        match self.ended().await {
            Ok(_) => AppError::TaskEnded(self.name),
            Err(error) => error,
        }
    }

    /// That it has ended; at once, if there is none.
    pub(super) async fn over(&mut self) -> Result<Option<T>, AppError> {
        match self.task {
            Some(_) => self.ended().await.map(Some),
            None => Ok(None),
        }
    }
}

impl<T, E: Into<AppError>> Part<Result<T, E>> {
    /// Why it has ended although nothing asked it to.
    async fn failure(&mut self) -> AppError {
        match self.ended().await {
            Ok(Err(error)) => error.into(),
            Ok(Ok(_)) => AppError::TaskEnded(self.name),
            Err(error) => error,
        }
    }
}

impl Relay {
    /// Runs until `end` is ready, then ends in order.
    ///
    /// # Errors
    ///
    /// When a part ends by itself before, or the end leaves something undone.
    pub async fn run_until(self, end: impl Future<Output = ()>) -> Result<(), AppError> {
        self.run_while(end, std::future::pending()).await
    }

    /// Runs until `end` is ready, then ends in order; at once, when `hurry` is ready as well.
    ///
    /// # Errors
    ///
    /// As [`Self::run_until`].
    pub async fn run_while(
        mut self,
        end: impl Future<Output = ()>,
        hurry: impl Future<Output = ()>,
    ) -> Result<(), AppError> {
        let failed = tokio::select! {
            biased;
            () = end => None,
            failure = self.failure() => Some(failure),
        };
        match &failed {
            None => info!("the relay ends: first the sources, then the connection to the reducer"),
            Some(failure) => {
                let failure: &dyn std::error::Error = failure;
                error!(failure, "a part of the relay has failed: the relay ends");
            }
        }
        let undone = self.end(hurry).await;
        if let Some(failure) = failed {
            return Err(failure);
        }
        match undone.0.as_slice() {
            [] => {
                info!("stopped");
                Ok(())
            }
            some => Err(AppError::Unclean(some.join("; "))),
        }
    }

    /// Why a part has ended by itself.
    async fn failure(&mut self) -> AppError {
        tokio::select! {
            // What ends because another part has is behind that one.
            biased;
            failure = self.server.failure() => failure,
            failure = self.watches.failure() => failure,
            failure = self.admin.failed() => failure,
            failure = self.driver.failed() => failure,
            failure = self.keeper.failure() => failure,
            failure = self.election.failed() => failure,
            failure = enrich::failed(&mut self.enrichment) => failure,
            _ = self.certificates.ended() => AppError::TaskEnded(self.certificates.name),
        }
    }

    async fn end(mut self, hurry: impl Future<Output = ()>) -> Undone {
        let mut undone = Undone::default();
        let limits = self.limits;
        let mut deadline = now() + limits.all;
        let mut hurry = pin!(hurry);
        let mut hurried = false;
        self.hand_over.cancel();
        tokio::select! {
            // What is late is left to the end of the connection.
            _ = timeout_at(now() + limits.handover, self.election.over()) => {}
            () = &mut hurry => hurried = true,
        }
        self.election.task = None;
        self.stop.cancel();

        let sources_until = now() + limits.sources;
        let (mut watches, mut server, mut is_quiet) = (Ok(None), Ok(None), false);
        let sources = async {
            tokio::join!(
                async { watches = self.watches.over().await },
                async { server = self.server.over().await },
                async {
                    if let Some(enrichment) = &mut self.enrichment {
                        enrichment.end().await;
                    }
                    is_quiet = true;
                }
            )
        };
        if hurried {
            drop(sources);
        } else {
            tokio::select! {
                _ = timeout_at(sources_until, sources) => {}
                () = &mut hurry => hurried = true,
            }
        }
        undone.failed(watches);
        undone.failed(server);
        if !is_quiet && !hurried {
            undone
                .0
                .push("the metadata service did not end in time".to_owned());
        }
        // What is late goes, and with it what it had not said yet.
        undone.late(&mut self.watches);
        undone.late(&mut self.server);

        self.leave.cancel();
        if hurried {
            deadline = now() + limits.hurried;
        }
        let apply_until = deadline.min(now() + limits.apply);
        let applied = timeout_at(apply_until, self.driver.over()).await;
        let (reducer, unannounced) = match applied {
            Ok(Ok(Some(ended))) => (Some(ended.reducer), ended.unsent),
            Ok(Ok(None) | Err(_)) | Err(_) => (None, None),
        };
        undone.late(&mut self.driver);
        undone.0.extend(unannounced);

        // The driver is gone: nobody changes the stage any more.
        let keeper = async {
            match timeout_at(deadline, self.keeper.over()).await {
                Ok(Ok(None | Some(Ok(())))) => None,
                Ok(Ok(Some(Err(error)))) => {
                    Some(format!("the stage is not kept: {}", in_full(&error)))
                }
                Ok(Err(_)) | Err(_) => Some("the stage may not be kept".to_owned()),
            }
        };
        let closing = async {
            let mut reducer = reducer?;
            let left = deadline.duration_since(now());
            let unsent = match hurried {
                true => reducer.close_at_once().await,
                false => {
                    let flushed = tokio::select! {
                        unsent = timeout_at(deadline, reducer.close(left.saturating_sub(FIN_ALLOWANCE))) => unsent.ok(),
                        () = &mut hurry => None,
                    };
                    match flushed {
                        Some(unsent) => unsent,
                        // It has sent its FIN, or does now.
                        None => reducer.close_at_once().await,
                    }
                }
            };
            (unsent > 0).then(|| format!("{unsent} bytes were not sent to the reducer"))
        };
        let (unkept, unsent) = tokio::join!(keeper, closing);
        undone.0.extend(unsent);
        undone.0.extend(unkept);
        // Joined, so that its socket files are gone when the process is.
        if let Some(admin) = self.admin.task.take() {
            admin.abort();
            let _ = timeout_at(deadline.max(now() + limits.hurried), admin).await;
        }
        undone
    }
}

impl Undone {
    /// A part that was asked to end has failed instead.
    fn failed<T, E: Into<AppError>>(&mut self, ended: Result<Option<Result<T, E>>, AppError>) {
        let error = match ended {
            Ok(None | Some(Ok(_))) => return,
            Ok(Some(Err(error))) => error.into(),
            Err(error) => error,
        };
        self.0.push(in_full(&error));
    }

    /// A part that has not ended in time is waited for no longer.
    fn late<T>(&mut self, part: &mut Part<T>) {
        if let Some(task) = part.task.take() {
            let name = part.name;
            warn!("the {name} did not end in time");
            self.0.push(format!("the {name} did not end in time"));
            task.abort();
        }
    }
}

/// An error with its causes, in one line.
fn in_full(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    let mut text = error.to_string();
    for cause in causes.map(ToString::to_string) {
        // Some say their cause themselves.
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

#[expect(
    clippy::disallowed_methods,
    reason = "the end of the process is timed here"
)]
fn now() -> Instant {
    Instant::now()
}
