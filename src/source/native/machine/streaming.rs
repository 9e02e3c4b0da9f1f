//! A list that comes as the first events of a watch (WatchList).
//!
//! Its end mark must come: [`Streaming::listening`] says when at the latest. What is no first event
//! of a list does not prolong that, or a server that streams no lists would be followed
//! indefinitely.
//!
//! A server that ignores the wish for a streamed list sends the objects and never the mark. So a
//! page is requested alongside a list that pauses, and the page replaces the list unless that has
//! gone on at least as quickly meanwhile. A server that streams lists does not pause.

use std::{
    borrow::Cow,
    ops::ControlFlow,
    time::{Duration, Instant},
};

use kube::runtime::watcher::Event;

use super::super::{
    decode::Line,
    error::{Refusal, RequestError},
};
use super::lists::MOST_OBJECTS;

/// Deletes that may come before the end of a streamed list. A server that sends more of them
/// does not stream a list.
pub(super) const MAX_EARLY_DELETES: usize = 65_536;

/// The pause of a streamed list after which a page is requested alongside it. A few times more than
/// servers take between two objects or to look up where the list ends.
pub(super) const PAUSE: Duration = Duration::from_millis(500);

/// A streamed list.
#[derive(Debug)]
pub(super) struct Streaming<T> {
    /// `Init` was sent.
    begun: bool,
    /// Something has come that is no first event of a list.
    live: bool,
    /// When the end mark must have come, once that has happened.
    mark_by: Option<Instant>,
    /// What was deleted before the end mark.
    deleted: Vec<T>,
    /// First events so far.
    firsts: usize,
    /// So many of them had come when [`Self::pauses_since`] was set.
    noted: usize,
    /// When the last first event had come, or the answer began.
    pauses_since: Option<Instant>,
    /// Since when something comes that is no first event.
    live_since: Option<Instant>,
    /// First events that had come when a page was asked for.
    alongside: Option<usize>,
}

/// A streamed list has come to its end.
pub(super) struct Ended<'a, T> {
    pub(super) version: Cow<'a, str>,
    pub(super) deleted: Vec<T>,
}

impl<T> Default for Streaming<T> {
    fn default() -> Self {
        Self {
            begun: false,
            live: false,
            mark_by: None,
            deleted: Vec::new(),
            firsts: 0,
            noted: 0,
            pauses_since: None,
            live_since: None,
            alongside: None,
        }
    }
}

impl<T> Streaming<T> {
    /// `Init` was sent.
    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    /// The next part is awaited. When the end mark must have come, if nothing comes from `now` on.
    pub(super) fn listening(&mut self, now: Instant, timeouts: Duration) -> Instant {
        if self.firsts != self.noted || self.pauses_since.is_none() {
            (self.noted, self.pauses_since) = (self.firsts, Some(now));
        }
        if self.live {
            self.live_since.get_or_insert(now);
        }
        match self.live {
            true => *self.mark_by.get_or_insert(now + timeouts),
            false => now + timeouts,
        }
    }

    /// When a page is requested alongside it, once.
    pub(super) fn alongside_at(&self) -> Option<Instant> {
        let since = self.live_since.min(self.pauses_since);
        let since = since
            .or(self.pauses_since)
            .filter(|_| self.alongside.is_none())?;
        Some(since + PAUSE)
    }

    pub(super) fn ask_alongside(&mut self) {
        self.alongside = Some(self.firsts);
    }

    /// Whether a page of so many objects was quicker.
    pub(super) fn is_slower(&self, objects: usize) -> bool {
        let meanwhile = self.firsts - self.alongside.unwrap_or(self.firsts);
        meanwhile == 0 || meanwhile < objects
    }

    /// A line of the stream; with the last one, the list has ended.
    pub(super) fn line<'a>(
        &mut self,
        line: Line<'a, T>,
        emit: &mut impl FnMut(Event<T>),
    ) -> ControlFlow<RequestError, Option<Ended<'a, T>>> {
        match line {
            Line::Added { object, .. } => {
                self.firsts += 1;
                self.object(object, emit);
            }
            // Its list may be older than its watch: then it reports what happened between them.
            Line::Modified { object, .. } => {
                self.live = true;
                self.object(object, emit);
            }
            Line::Deleted { object, .. } => {
                self.live = true;
                if self.deleted.len() == MAX_EARLY_DELETES {
                    return ControlFlow::Break(RequestError::NoEndMark);
                }
                self.deleted.push(object);
            }
            Line::Bookmark {
                version,
                initial_events_end: true,
            } => {
                self.begin(emit);
                let deleted = std::mem::take(&mut self.deleted);
                return ControlFlow::Continue(Some(Ended { version, deleted }));
            }
            Line::Bookmark { .. } => self.live = true,
            // One of the list all the same.
            Line::Unusable { uid: Some(_), .. } => {
                self.firsts += 1;
                self.begin(emit);
            }
            Line::Unusable { uid: None, .. } => {}
            Line::Error(status) => {
                return ControlFlow::Break(RequestError::Refused(Refusal::from(status)));
            }
            Line::InvalidJson => return ControlFlow::Break(RequestError::InvalidJson),
        }
        match self.firsts > MOST_OBJECTS {
            true => ControlFlow::Break(RequestError::Endless(MOST_OBJECTS)),
            false => ControlFlow::Continue(None),
        }
    }

    fn object(&mut self, object: T, emit: &mut impl FnMut(Event<T>)) {
        self.begin(emit);
        emit(Event::InitApply(object));
    }

    fn begin(&mut self, emit: &mut impl FnMut(Event<T>)) {
        if !std::mem::replace(&mut self.begun, true) {
            emit(Event::Init);
        }
    }
}
