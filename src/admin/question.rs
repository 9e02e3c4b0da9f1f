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
    /// Too many ask this already.
    #[error("too many ask for this at once: ask again")]
    Crowded,
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
            // A loop that runs turns down only what it has too much of.
            answered.await.map_err(|_| match self.0.is_closed() {
                true => Silence::Ended,
                false => Silence::Crowded,
            })
        };
        timeout(limit, asked)
            .await
            .unwrap_or(Err(Silence::Busy(limit)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_question_too_many_is_no_end() {
        let (asker, mut questions) = Asker::new();
        let turned_down = async {
            drop(questions.recv().await.unwrap());
            questions
        };
        let asked = asker.ask(Duration::from_secs(60), Question::Digests);
        let (silence, questions) = tokio::join!(asked, turned_down);
        assert_eq!(silence.unwrap_err(), Silence::Crowded);
        let ended = async { drop(questions) };
        let asked = asker.ask(Duration::from_secs(60), Question::Digests);
        assert_eq!(tokio::join!(asked, ended).0.unwrap_err(), Silence::Ended);
    }
}
