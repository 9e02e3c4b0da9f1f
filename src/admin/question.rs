//! What the loop can be asked: one of the things that make it act.

use std::time::Duration;

use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::{
    migrate::{
        Command, Status,
        status::{Explanation, FeedDigest},
    },
    model::Uid,
    stores::Objects,
};

/// So many questions wait for the loop at most.
const WAITING: usize = 8;

/// A question, with the way back for its answer. Who asked may be gone by then.
#[derive(Debug)]
pub enum Question {
    /// How it all stands.
    Status(oneshot::Sender<Box<Status>>),
    /// What is known of a pod; `None`: nothing at all, in no feed.
    Explain(Uid, oneshot::Sender<Option<Box<Explanation>>>),
    /// The stores of the feeds that are compared, the active one first: to find a pod by name.
    Stores(oneshot::Sender<Vec<Objects>>),
    /// What each feed has live, in numbers, the active one first. Takes a few turns.
    Digests(oneshot::Sender<Vec<FeedDigest>>),
    /// A step of the migration. The answer says what has come of it, in words.
    Migrate {
        /// Which step.
        command: Command,
        /// Whether the gate's conditions are waived.
        force: bool,
        /// What has come of it; or why the step was not taken, in numbers.
        answer: oneshot::Sender<Result<String, String>>,
    },
}

/// The way to the loop. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Asker(mpsc::Sender<Question>);

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Silence {
    /// The loop does something else, or many ask.
    #[error("the loop is busy: it has not answered within {}", humantime::format_duration(*.0))]
    Busy(Duration),
    /// The relay is about to end.
    #[error("the relay is ending")]
    Ended,
}

impl Asker {
    /// An asker, and where its questions arrive.
    pub fn new() -> (Self, mpsc::Receiver<Question>) {
        let (questions, arriving) = mpsc::channel(WAITING);
        (Self(questions), arriving)
    }

    /// Asks, and waits for the answer so long.
    ///
    /// # Errors
    /// There is none.
    pub async fn ask<T>(
        &self,
        limit: Duration,
        question: impl FnOnce(oneshot::Sender<T>) -> Question,
    ) -> Result<T, Silence> {
        let (answer, answered) = oneshot::channel();
        let asked = async {
            let sent = self.0.send(question(answer)).await;
            sent.map_err(|_| Silence::Ended)?;
            answered.await.map_err(|_| Silence::Ended)
        };
        timeout(limit, asked)
            .await
            .unwrap_or(Err(Silence::Busy(limit)))
    }
}
