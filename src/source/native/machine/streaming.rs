//! A list that comes as the first events of a watch (WatchList).
//!
//! Its end mark must come: [`Streaming::mark_by`] says when at the latest. What is no first event of
//! a list does not prolong that, or a server that streams no lists would be followed for ever.

use std::{
    borrow::Cow,
    ops::ControlFlow,
    time::{Duration, Instant},
};

use kube::runtime::watcher::Event;

use super::super::{
    decode::Line,
    ending::{End, Refusal},
};

/// Deletes that may come before the end of a streamed list. A server that sends more of them
/// does not stream a list.
pub(super) const MAX_EARLY_DELETES: usize = 65_536;

/// A streamed list.
#[derive(Debug)]
pub(super) struct Streaming<T> {
    /// `Init` was told.
    begun: bool,
    /// Something has come that is no first event of a list.
    live: bool,
    /// When the end mark must have come, once that has happened.
    mark_by: Option<Instant>,
    /// What was deleted before the end mark.
    deleted: Vec<T>,
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
        }
    }
}

impl<T> Streaming<T> {
    /// When the end mark must have come, if nothing comes from `now` on.
    pub(super) fn mark_by(&mut self, now: Instant, patience: Duration) -> Instant {
        match self.live {
            true => *self.mark_by.get_or_insert(now + patience),
            false => now + patience,
        }
    }

    /// A line of the stream; with the last one, the list has ended.
    pub(super) fn line<'a>(
        &mut self,
        line: Line<'a, T>,
        tell: &mut impl FnMut(Event<T>),
    ) -> ControlFlow<End, Option<Ended<'a, T>>> {
        match line {
            Line::Added { object, .. } => self.object(object, tell),
            // Its list may be older than its watch: then it tells what happened between them.
            Line::Modified { object, .. } => {
                self.live = true;
                self.object(object, tell);
            }
            Line::Deleted { object, .. } => {
                self.live = true;
                if self.deleted.len() == MAX_EARLY_DELETES {
                    return ControlFlow::Break(End::NoEndMark);
                }
                self.deleted.push(object);
            }
            Line::Bookmark {
                version,
                initial_events_end: true,
            } => {
                self.begin(tell);
                let deleted = std::mem::take(&mut self.deleted);
                return ControlFlow::Continue(Some(Ended { version, deleted }));
            }
            Line::Bookmark { .. } => self.live = true,
            // One of the list all the same.
            Line::Unusable { uid: Some(_), .. } => self.begin(tell),
            Line::Unusable { uid: None, .. } => {}
            Line::Error(status) => return ControlFlow::Break(End::Refused(Refusal::from(status))),
            Line::Garbled => return ControlFlow::Break(End::Garbled),
        }
        ControlFlow::Continue(None)
    }

    fn object(&mut self, object: T, tell: &mut impl FnMut(Event<T>)) {
        self.begin(tell);
        tell(Event::InitApply(object));
    }

    fn begin(&mut self, tell: &mut impl FnMut(Event<T>)) {
        if !std::mem::replace(&mut self.begun, true) {
            tell(Event::Init);
        }
    }
}
