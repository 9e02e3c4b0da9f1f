//! Work that may block for as long as it likes: look-ups of names, reads of files.
//!
//! Invariants: it runs on a thread for such work, so it holds up no worker; the process ends
//! without it (its runtime does not wait for such threads). At most one piece of it is under way
//! for each [`Late`]; a caller that stops waiting leaves it running, and the next caller gets its
//! answer.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, task::spawn_blocking, time::Instant};

/// An answer that nobody waited for is of use for this long.
const KEPT: Duration = Duration::from_secs(60);

/// A place for one piece of work at a time. `Q` says what is asked for, `A` is the answer.
#[derive(Debug)]
pub struct Late<Q, A> {
    underway: Mutex<Option<Underway<Q, A>>>,
}

/// The work has panicked.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("it failed unexpectedly")]
pub struct Failed;

#[derive(Debug)]
struct Underway<Q, A> {
    question: Q,
    answer: Answer<A>,
}

type Answer<A> = watch::Receiver<Option<(A, Instant)>>;

impl<Q, A> Default for Late<Q, A> {
    fn default() -> Self {
        Self {
            underway: Mutex::new(None),
        }
    }
}

impl<Q, A> Late<Q, A>
where
    Q: Clone + PartialEq,
    A: Clone + Send + Sync + 'static,
{
    /// Runs `work`, unless work on the same question is under way or has just ended unheard: then
    /// its answer is taken. A question that differs from the one under way begins again. May be
    /// dropped at any time.
    ///
    /// # Errors
    /// The work has panicked.
    pub async fn get(
        &self,
        question: Q,
        work: impl FnOnce() -> A + Send + 'static,
    ) -> Result<A, Failed> {
        let mut answer = self.join_or_start(question, work);
        let heard = answer.wait_for(Option::is_some).await;
        let heard = heard.map(|there| there.as_ref().map(|(answer, _)| answer.clone()));
        let mut underway = self.underway.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(one) = &*underway
            && one.answer.same_channel(&answer)
        {
            *underway = None;
        }
        match heard {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) | Err(_) => Err(Failed),
        }
    }

    fn join_or_start(&self, question: Q, work: impl FnOnce() -> A + Send + 'static) -> Answer<A> {
        let mut underway = self.underway.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(one) = &*underway
            && one.question == question
            && is_of_use(&one.answer)
        {
            return one.answer.clone();
        }
        let (give, answer) = watch::channel(None);
        // It is left to itself: what it gives, or that it gives nothing, is seen above.
        drop(spawn_blocking(move || {
            let answer = work();
            give.send_replace(Some((answer, now())));
        }));
        *underway = Some(Underway {
            question,
            answer: answer.clone(),
        });
        answer
    }
}

/// Whether the answer is to come, or is there and not old.
fn is_of_use<A>(answer: &Answer<A>) -> bool {
    match &*answer.borrow() {
        Some((_, at)) => at.elapsed() < KEPT,
        None => answer.has_changed().is_ok(),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the age of an answer is measured here"
)]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    };

    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn whoever_gives_up_leaves_the_work_running_and_the_next_one_gets_its_answer() {
        let late = Late::default();
        let begun = Arc::new(AtomicUsize::new(0));
        let (release, released) = mpsc::channel::<()>();
        let first = {
            let begun = begun.clone();
            late.get("name", move || {
                begun.fetch_add(1, SeqCst);
                released.recv().ok();
                "late answer"
            })
        };
        assert!(first.now_or_never().is_none());
        release.send(()).unwrap();
        let second = late.get("name", || "asked again").await;
        assert_eq!(second, Ok("late answer"));
        assert_eq!(begun.load(SeqCst), 1);
        assert_eq!(late.get("name", || "asked again").await, Ok("asked again"));
    }

    #[tokio::test]
    async fn another_question_does_not_get_the_answer_of_the_one_before() {
        let late = Late::default();
        let (_release, released) = mpsc::channel::<()>();
        let first = late.get("one", move || {
            released.recv().ok();
            1
        });
        assert!(first.now_or_never().is_none());
        assert_eq!(late.get("two", || 2).await, Ok(2));
    }

    #[tokio::test]
    async fn work_that_panics_is_an_error_and_does_not_stand_in_the_way_of_the_next() {
        let late: Late<(), u8> = Late::default();
        let failed = late.get((), || std::panic::resume_unwind(Box::new("silent")));
        assert!(failed.await.is_err());
        assert_eq!(late.get((), || 3).await, Ok(3));
    }
}
