//! Questions in batches: waiting for what is not known yet, and the answers.
//!
//! Invariants: a batch is answered by the profiles that were in effect when it began. It is
//! answered in slices with other tasks between, so no batch keeps a thread for long, and no view
//! is held while something is awaited.

use std::{ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{sync::OwnedSemaphorePermit, task::yield_now, time::sleep};

use super::{
    Api,
    counters::{LimitHit, Question},
    reference::Ref,
};
use crate::enrich::{
    Missing, ProfileId, Wish,
    answer::{Answer, State},
    event::{Event, EventError},
    resource::Metricset,
    service::{InEffect, Objects},
    view::{ObjectView, Trouble},
};

/// How many questions are answered in a row.
const SLICE: usize = 64;

/// How long nobody looks again after a change: at the least, and for each question that waits.
/// So all who wait together look so often that it stays a small part of a core.
const PAUSE: Duration = Duration::from_millis(5);
const PAUSE_EACH: Duration = Duration::from_micros(50);

/// Questions that are answered together.
#[derive(Debug)]
pub(super) enum Questions {
    /// What is said of the subjects of events.
    Events {
        metricset: Metricset,
        profile: ProfileId,
        /// Each is a JSON object, or should be one. Without a text: one that is too long.
        events: Vec<Option<Bytes>>,
    },
    /// What is said of objects.
    Lookups {
        wish: Wish,
        /// Without a reference: what is wrong with it.
        refs: Vec<Result<Ref, String>>,
    },
}

/// Too many events and lookups wait already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many events and lookups wait already")]
pub(super) struct TooManyWait;

impl Questions {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Events { events, .. } => events.len(),
            Self::Lookups { refs, .. } => refs.len(),
        }
    }

    /// The event at a place, as it came.
    pub(super) fn event(&self, at: usize) -> Option<&Bytes> {
        match self {
            Self::Events { events, .. } => events.get(at)?.as_ref(),
            Self::Lookups { .. } => None,
        }
    }

    fn kind(&self) -> Question {
        match self {
            Self::Events { metricset, .. } => Some(*metricset),
            Self::Lookups { .. } => None,
        }
    }

    /// The answer to the question at a place. An event is appended with what is added to it.
    fn answer(
        &self,
        at: usize,
        profiles: &InEffect,
        view: &impl ObjectView,
        into: &mut String,
    ) -> Answer {
        match self {
            Self::Events {
                metricset,
                profile,
                events,
            } => match events.get(at) {
                Some(Some(event)) => profiles
                    .enricher
                    .enrich(view, *metricset, event, *profile, into),
                Some(None) | None => Answer::invalid("the event is too long"),
            },
            Self::Lookups { wish, refs } => match refs.get(at) {
                Some(Ok(about)) => profiles.enricher.lookup(view, about.as_reference(), *wish),
                Some(Err(error)) => Answer::invalid(error),
                None => Answer::invalid("there is no such question"),
            },
        }
    }
}

impl<O: Objects> Api<O> {
    /// Waits until everything that the answers need is known, at most for `wait`.
    ///
    /// # Errors
    /// At once, if there are no places for those that would have to wait.
    pub(super) async fn wait(
        &self,
        profiles: &InEffect,
        questions: &Questions,
        wait: Duration,
    ) -> Result<(), TooManyWait> {
        if wait.is_zero() {
            return Ok(());
        }
        let mut changes = self.service.objects().changes();
        changes.mark_unchanged();
        let mut open: Vec<usize> = (0..questions.len()).collect();
        self.retain_open(profiles, questions, &mut open).await;
        if open.is_empty() {
            return Ok(());
        }
        let places = self.places(open.len())?;
        let limit = sleep(wait);
        tokio::pin!(limit);
        let mut is_over = false;
        while !is_over && !open.is_empty() {
            tokio::select! {
                () = &mut limit => break,
                () = self.shutdown.cancelled() => break,
                changed = changes.changed() => if changed.is_err() {
                    // Nobody changes objects any more: there is nothing but the time.
                    (&mut limit).await;
                    break;
                }
            }
            let waiting = self.limits.waiting - self.waiting.available_permits();
            let pause = PAUSE_EACH.saturating_mul(u32::try_from(waiting).unwrap_or(u32::MAX));
            tokio::select! {
                () = &mut limit => is_over = true,
                () = sleep(PAUSE + pause) => {}
            }
            changes.mark_unchanged();
            self.retain_open(profiles, questions, &mut open).await;
        }
        drop(places);
        Ok(())
    }

    fn places(&self, number: usize) -> Result<OwnedSemaphorePermit, TooManyWait> {
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        let places = self.waiting.clone().try_acquire_many_owned(number);
        places.map_err(|_| {
            self.counters.hit(LimitHit::Waiting);
            TooManyWait
        })
    }

    /// Keeps those whose answers lack something that may come.
    async fn retain_open(&self, profiles: &InEffect, questions: &Questions, open: &mut Vec<usize>) {
        let (mut still_open, mut text) = (Vec::new(), String::new());
        for slice in open.chunks(SLICE) {
            {
                let view = self.service.objects().view();
                still_open.extend(slice.iter().copied().filter(|at| {
                    text.clear();
                    is_open(&questions.answer(*at, profiles, &view, &mut text))
                }));
            }
            yield_now().await;
        }
        *open = still_open;
    }

    /// Answers the questions of a range, which is cut to a slice: `each` is given the place of
    /// a question, its answer, and the event with what was added to it. Returns what is left of
    /// the range.
    pub(super) fn answer_slice(
        &self,
        profiles: &InEffect,
        questions: &Questions,
        range: Range<usize>,
        mut each: impl FnMut(usize, &Answer, &str),
    ) -> Range<usize> {
        let end = range.end.min(range.start.saturating_add(SLICE));
        let view = self.service.objects().view();
        let (kind, mut text) = (questions.kind(), String::new());
        for at in range.start..end {
            text.clear();
            let answer = questions.answer(at, profiles, &view, &mut text);
            self.counters.answered(kind, &answer);
            let is_event = kind.is_some() && answer.state == State::Invalid;
            if is_event
                && !questions
                    .event(at)
                    .is_some_and(|event| is_within_limits(event))
            {
                self.counters.hit(LimitHit::Event);
            }
            each(at, &answer, &text);
        }
        end..range.end
    }

    /// How long a client waits that asks for this.
    pub(super) fn wait_of(&self, wait_ms: u64) -> Duration {
        let wait = Duration::from_millis(wait_ms);
        if wait > self.limits.wait {
            self.counters.hit(LimitHit::Wait);
        }
        wait.min(self.limits.wait)
    }

    /// The profiles that are in effect now.
    pub(super) fn profiles(&self) -> Arc<InEffect> {
        self.service.in_effect()
    }
}

/// Whether an event that is not valid is neither too long nor too deep.
pub(super) fn is_within_limits(event: &[u8]) -> bool {
    !matches!(
        Event::parse(event),
        Err(EventError::TooLong | EventError::TooDeep)
    )
}

/// Whether an answer lacks something that may come.
fn is_open(answer: &Answer) -> bool {
    match answer.state {
        State::Missing => true,
        State::Syncing => answer.reason != Some(Trouble::Forbidden),
        State::Live => answer
            .partial
            .iter()
            .any(|(_, why)| *why != Missing::Forbidden),
        State::Deleted | State::Ambiguous | State::Disabled | State::Invalid => false,
    }
}
