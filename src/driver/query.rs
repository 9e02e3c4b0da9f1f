//! What the loop can be asked: queries are one of the things that make it act.
//!
//! Invariants: each is answered in O(1), or with a bounded number of rows. Up to [`WAITING`] wait
//! for the loop, and nobody waits for an answer longer than the limit they give.
//!
//! Absent here: who asks over which protocol, and what the answers look like to them.

use std::time::Duration;

use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};

use crate::{
    admin::api::{Explanation, FeedDigest, Status},
    migrate::Command,
    model::Uid,
    net::Caller,
    stores::Stores,
};

/// Queries that wait for the loop, at most.
const WAITING: usize = 8;

/// A query, with the way back for its answer. The asker may be gone by then.
#[derive(Debug)]
pub enum DriverQuery {
    /// How it all stands.
    Status(oneshot::Sender<Box<Status>>),
    /// What is known of a pod; `None`: nothing at all, in no feed.
    Explain(Uid, oneshot::Sender<Option<Box<Explanation>>>),
    /// The stores of the feeds that are compared, the active one first: to find a pod by name.
    Stores(oneshot::Sender<Vec<Stores>>),
    /// What each feed has live, in numbers, the active one first. Takes a few turns.
    Digests(oneshot::Sender<Vec<FeedDigest>>),
    /// A step of the migration.
    Migrate(StepRequest),
}

/// A step that somebody asks for. It is taken only if they still wait for it then: a caller that
/// was answered that it was not taken must not find it taken later.
#[derive(Debug)]
pub struct StepRequest {
    /// Which step.
    pub command: Command,
    /// Whether the gate's conditions are overridden.
    pub force: bool,
    caller: Caller,
    answer: oneshot::Sender<Result<Begun, Refused>>,
}

/// A step that was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why, in words.
    pub why: String,
    /// Because another one has not had its effect yet.
    pub in_progress: bool,
}

/// The answer to a request that is granted: the number of the step, and where its end is said.
type Begun = (u64, oneshot::Receiver<Result<Done, String>>);

/// Where the end of a step is said: what was done, or why it failed.
pub type DoneSender = oneshot::Sender<Result<Done, String>>;

/// A step that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// What was done, in words.
    pub text: String,
    /// Why a restart would not go on with it, although it should (`--state-file`).
    pub not_kept: Option<String>,
    /// What it waits for to have its effect, if it does.
    pub waits_for: Option<String>,
}

/// What comes of asking for a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepAnswer {
    /// It was taken.
    Done(Done),
    /// It was not taken.
    Refused(Refused),
    /// It was begun and could not be brought to its end; nothing has changed.
    Failed(String),
    /// It goes on; the status shows it under this number.
    InProgress(u64),
}

impl StepRequest {
    /// Who asks, in words.
    pub fn by(&self) -> String {
        self.caller.to_string()
    }

    /// Whether the answer would still be read.
    pub fn is_wanted(&self) -> bool {
        !self.answer.is_closed() && !self.caller.has_left()
    }

    /// The step is not taken.
    pub fn refuse(self, refused: Refused) {
        // Who asked may have gone.
        let _ = self.answer.send(Err(refused));
    }

    /// The step is about to be taken, under this number; `None`: nobody waits for it any more, and
    /// it must not be.
    pub fn begin(self, number: u64) -> Option<DoneSender> {
        let (done, end) = oneshot::channel();
        let begun = self.is_wanted() && self.answer.send(Ok((number, end))).is_ok();
        begun.then_some(done)
    }
}

/// A handle of the loop, to ask it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DriverHandle(mpsc::Sender<DriverQuery>);

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// The loop does something else, or many ask.
    #[error("the loop is busy: it has not answered within {}", humantime::format_duration(*.0))]
    Busy(Duration),
    /// Too many ask this already.
    #[error("too many clients ask for this at once: ask again")]
    Crowded,
    /// The client that asked for a step has closed the connection before it could be taken.
    #[error(
        "the client closed the connection before the relay could take the step; the relay did not take it"
    )]
    Left,
    /// The relay is about to end.
    #[error("the relay is ending")]
    Ended,
}

impl DriverHandle {
    /// A handle, and where its queries arrive.
    pub fn new() -> (Self, mpsc::Receiver<DriverQuery>) {
        let (queries, arriving) = mpsc::channel(WAITING);
        (Self(queries), arriving)
    }

    /// Asks, and waits for the answer up to `limit`.
    ///
    /// # Errors
    /// There is none.
    pub async fn ask<T>(
        &self,
        limit: Duration,
        query: impl FnOnce(oneshot::Sender<T>) -> DriverQuery,
    ) -> Result<T, QueryError> {
        let (answer, answered) = oneshot::channel();
        let asked = async {
            let sent = self.0.send(query(answer)).await;
            sent.map_err(|_| QueryError::Ended)?;
            // A loop that runs turns down only what it has too much of.
            answered.await.map_err(|_| match self.0.is_closed() {
                true => QueryError::Ended,
                false => QueryError::Crowded,
            })
        };
        timeout(limit, asked)
            .await
            .unwrap_or(Err(QueryError::Busy(limit)))
    }

    /// Asks for a step, and waits for its end up to `limit`. When there is no answer, the step was not
    /// taken and will not be.
    ///
    /// # Errors
    /// There is none.
    pub async fn step(
        &self,
        limit: Duration,
        command: Command,
        force: bool,
        caller: Caller,
    ) -> Result<StepAnswer, QueryError> {
        let (answer, mut answered) = oneshot::channel();
        let request = DriverQuery::Migrate(StepRequest {
            command,
            force,
            caller,
            answer,
        });
        let mut late = std::pin::pin!(sleep(limit));
        tokio::select! {
            sent = self.0.send(request) => sent.map_err(|_| QueryError::Ended)?,
            () = &mut late => return Err(QueryError::Busy(limit)),
        }
        let answer = tokio::select! {
            answer = &mut answered => answer.ok(),
            () = &mut late => {
                // From here on it cannot be begun; unless it was at the last moment.
                answered.close();
                let begun = answered.try_recv().ok();
                if begun.is_none() {
                    return Err(QueryError::Busy(limit));
                }
                begun
            }
        };
        let (number, end) = match answer {
            Some(Ok(begun)) => begun,
            Some(Err(refused)) => return Ok(StepAnswer::Refused(refused)),
            None if self.0.is_closed() => return Err(QueryError::Ended),
            None => return Err(QueryError::Left),
        };
        tokio::select! {
            biased;
            end = end => match end {
                Ok(Ok(done)) => Ok(StepAnswer::Done(done)),
                Ok(Err(why)) => Ok(StepAnswer::Failed(why)),
                Err(_) => Err(QueryError::Ended),
            },
            () = &mut late => Ok(StepAnswer::InProgress(number)),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_query_too_many_is_not_the_end() {
        let (driver, mut queries) = DriverHandle::new();
        let turned_down = async {
            drop(queries.recv().await.unwrap());
            queries
        };
        let asked = driver.ask(Duration::from_secs(60), DriverQuery::Digests);
        let (error, queries) = tokio::join!(asked, turned_down);
        assert_eq!(error.unwrap_err(), QueryError::Crowded);
        let ended = async { drop(queries) };
        let asked = driver.ask(Duration::from_secs(60), DriverQuery::Digests);
        assert_eq!(tokio::join!(asked, ended).0.unwrap_err(), QueryError::Ended);
    }

    const LIMIT: Duration = Duration::from_secs(5);

    fn request(query: Option<DriverQuery>) -> StepRequest {
        match query {
            Some(DriverQuery::Migrate(request)) => request,
            other => panic!("{other:?}"),
        }
    }

    async fn asked(driver: &DriverHandle) -> Result<StepAnswer, QueryError> {
        let caller = Caller::detached(crate::net::Peer::UNIX);
        driver.step(LIMIT, Command::Shadow, false, caller).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_whose_asker_was_answered_that_the_loop_is_busy_cannot_be_begun() {
        let (driver, mut queries) = DriverHandle::new();
        assert_eq!(asked(&driver).await, Err(QueryError::Busy(LIMIT)));
        let late = request(queries.recv().await);
        assert!(!late.is_wanted());
        assert!(late.begin(1).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_that_was_begun_is_never_said_not_to_be_taken() {
        let (driver, mut queries) = DriverHandle::new();
        // Begun at the last moment, and at the first: both go on.
        for wait in [LIMIT, Duration::ZERO] {
            let begins = async {
                let request = request(queries.recv().await);
                tokio::time::sleep(wait.saturating_sub(Duration::from_millis(1))).await;
                request.begin(7).unwrap()
            };
            let (answer, done) = tokio::join!(asked(&driver), begins);
            assert_eq!(answer, Ok(StepAnswer::InProgress(7)));
            drop(done);
        }
    }

    #[tokio::test]
    async fn the_end_of_a_step_is_its_answer() {
        let (driver, mut queries) = DriverHandle::new();
        let done = Done {
            text: "it is done".to_owned(),
            not_kept: None,
            waits_for: None,
        };
        for (said, answer) in [
            (Ok(done.clone()), StepAnswer::Done(done)),
            (Err("no".to_owned()), StepAnswer::Failed("no".to_owned())),
        ] {
            let takes = async {
                let begun = request(queries.recv().await).begin(1).unwrap();
                begun.send(said).unwrap();
            };
            assert_eq!(tokio::join!(asked(&driver), takes).0, Ok(answer));
        }
        let no = Refused {
            why: "because".to_owned(),
            in_progress: false,
        };
        let refuses = async { request(queries.recv().await).refuse(no.clone()) };
        let refused = Ok(StepAnswer::Refused(no.clone()));
        assert_eq!(tokio::join!(asked(&driver), refuses).0, refused);
    }
}
