//! What one watch does: lists, follows, and begins again after everything that can go wrong. Pure.
//!
//! Its owner does what [`Machine::next`] says, reports what came of it, and hands on the
//! events. The life of a watch:
//!
//! ```text
//!         ┌── 410, an older server, a watch that the server refuses ───────────┐
//!         ▼                                                                    │
//!   list: streamed (WatchList) or in pages ──► follow ──► any end ──► check the version
//!                                                ▲                             │
//!                                                └─────────────────────────────┘
//! ```
//!
//! Laws:
//! - The events are those of kube's watcher: `Init InitApply… InitDone`, then `Apply` and
//!   `Delete`; never a delete between `Init` and `InitDone`; `Init` again when a list begins anew.
//! - A success is an object or a bookmark while following, a page, or `InitDone`; a mere answer
//!   with 200 is none. Whatever ends without success is tried again more and more seldom.
//! - A version that the server called expired is never asked for again, and lists that
//!   follow each other without an event between them have a back-off of their own.
//! - No request is made at an earlier version than one that was seen, but after a list.
//!
//! Absent here: HTTP, JSON, clocks, chance, the other watches.

mod standing;
mod streaming;

use std::{
    ops::ControlFlow,
    time::{Duration, Instant},
};

use kube::runtime::watcher::Event;
pub use standing::Note;
use standing::Standing;
use streaming::{Ended, Streaming};

use super::{ListMode, Patience, backoff::Backoff, decode::Line, ending::End};

/// The watch of a kind in a scope, whose objects are `T`.
#[derive(Debug)]
pub struct Machine<T> {
    rules: Rules,
    phase: Phase<T>,
    /// The version to follow from. Its room is used again and again.
    version: String,
    /// The answer that is being read.
    answer: Option<Answer>,
    /// When the wait for the server's next word ends.
    silent_at: Option<Instant>,
    /// Nothing is asked before.
    pause: Option<Instant>,
    /// For requests that fail.
    retry: Backoff,
    /// For lists that are needed again before the watch has told anything.
    relist: Backoff,
    /// A 401 was answered by asking again at once: the token may have been a new one.
    reauthorized: bool,
    /// What was learned about streamed lists.
    streams: Option<bool>,
    /// Objects in a page.
    limit: u32,
    standing: Standing,
}

/// How a watch is to behave.
#[derive(Clone, Debug)]
pub struct Rules {
    /// All durations.
    pub patience: Patience,
    /// How to list.
    pub list: ListMode,
    /// Objects in a page; at least 1.
    pub page_size: u32,
}

/// When something happened, and a number of chance, at least 0 and less than 1.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The time.
    pub now: Instant,
    /// The chance.
    pub jitter: f64,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next<'a> {
    /// Nothing until then.
    Wait(Instant),
    /// A request.
    Ask(Ask<'a>),
}

/// What is asked of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask<'a> {
    /// All objects as the first events of a watch (WatchList).
    StreamedList,
    /// A part of all objects.
    Page {
        /// At most so many.
        limit: u32,
        /// Where the page before ended; `None` for the first one.
        token: Option<&'a str>,
    },
    /// The version that the server is at.
    Version,
    /// What has happened since.
    Watch {
        /// The version to start after.
        version: &'a str,
    },
}

#[derive(Debug)]
enum Phase<T> {
    /// Everything is to be listed, one way or the other.
    List,
    Streaming(Streaming<T>),
    /// In a list of pages, of which the next is behind this token.
    Paging(Option<String>),
    /// Listed. Is the server still where it was?
    Checking,
    /// Listed, and the server is not behind.
    Following,
}

/// An answer with 200.
#[derive(Clone, Copy, Debug)]
struct Answer {
    since: Instant,
    /// The version has moved.
    moved: bool,
}

impl<T> Machine<T> {
    /// A watch that has not begun.
    pub fn new(rules: Rules) -> Self {
        let Patience {
            first_retry,
            slowest_retry,
            ..
        } = rules.patience;
        Self {
            phase: Phase::List,
            version: String::new(),
            answer: None,
            silent_at: None,
            pause: None,
            retry: Backoff::new(first_retry, slowest_retry),
            relist: Backoff::new(first_retry, slowest_retry),
            reauthorized: false,
            streams: None,
            limit: rules.page_size.max(1),
            standing: Standing::default(),
            rules,
        }
    }

    /// What to do next. `streams`: whether the server streams lists, if anyone knows.
    pub fn next(&mut self, now: Instant, streams: Option<bool>) -> Next<'_> {
        if let Some(until) = self.pause.filter(|until| now < *until) {
            return Next::Wait(until);
        }
        self.pause = None;
        if let Phase::List = self.phase {
            self.phase = self.begin_list(streams);
        }
        Next::Ask(match &self.phase {
            Phase::List | Phase::Streaming(_) => Ask::StreamedList,
            Phase::Paging(token) => Ask::Page {
                limit: self.limit,
                token: token.as_deref(),
            },
            Phase::Checking => Ask::Version,
            Phase::Following => Ask::Watch {
                version: &self.version,
            },
        })
    }

    /// The request was sent, or a part of its answer that is no stream is awaited: the
    /// server has the word.
    pub fn asked(&mut self, now: Instant) {
        self.silent_at = Some(now + self.rules.patience.silence);
    }

    /// The answer to a request for a stream has begun, with 200.
    pub fn opened(&mut self, now: Instant) {
        self.answer = Some(Answer {
            since: now,
            moved: false,
        });
    }

    /// The next part of a stream is awaited. What our own side took until now does not count
    /// against the server.
    pub fn listening(&mut self, now: Instant) {
        let Patience {
            silence, end_mark, ..
        } = self.rules.patience;
        self.silent_at = Some(match &mut self.phase {
            Phase::Streaming(list) => list.mark_by(now, end_mark),
            Phase::List | Phase::Paging(_) | Phase::Checking | Phase::Following => now + silence,
        });
    }

    /// When [`Self::timed_out`] is to be called, if nothing else happens before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let steady_at = self.steady_at();
        self.silent_at.into_iter().chain(steady_at).min()
    }

    /// The wait for the server has lasted. Gives the end of the request, if it is over now.
    pub fn timed_out(&mut self, now: Instant) -> Option<End> {
        if self.silent_at.is_some_and(|at| at <= now) {
            return Some(match &self.phase {
                Phase::Streaming(_) if self.answer.is_some() => End::NoEndMark,
                Phase::List
                | Phase::Streaming(_)
                | Phase::Paging(_)
                | Phase::Checking
                | Phase::Following => End::Silence,
            });
        }
        if self.steady_at().is_some_and(|at| at <= now) {
            self.standing.well();
        }
        None
    }

    /// A line of a stream. `Break` if the request is over: then nothing more is to be read.
    pub fn line(&mut self, line: Line<'_, T>, mut tell: impl FnMut(Event<T>)) -> ControlFlow<End> {
        match &mut self.phase {
            Phase::Streaming(list) => match list.line(line, &mut tell) {
                ControlFlow::Continue(None) => ControlFlow::Continue(()),
                ControlFlow::Continue(Some(Ended { version, deleted })) => {
                    self.phase = Phase::Following;
                    self.streams = Some(true);
                    self.move_to(&version);
                    self.listed();
                    tell(Event::InitDone);
                    deleted.into_iter().map(Event::Delete).for_each(tell);
                    ControlFlow::Continue(())
                }
                ControlFlow::Break(end) => ControlFlow::Break(end),
            },
            Phase::List | Phase::Paging(_) | Phase::Checking | Phase::Following => {
                self.follow(line, tell)
            }
        }
    }

    /// A page of a list.
    ///
    /// # Errors
    /// The page leads nowhere: the request is over.
    pub fn page(
        &mut self,
        objects: impl IntoIterator<Item = T>,
        version: &str,
        next: Option<&str>,
        mut tell: impl FnMut(Event<T>),
    ) -> Result<(), End> {
        let Phase::Paging(token) = &mut self.phase else {
            return Err(End::Garbled);
        };
        if next.is_some() && next == token.as_deref() {
            return Err(End::Garbled);
        }
        if token.is_none() {
            tell(Event::Init);
        }
        objects
            .into_iter()
            .map(Event::InitApply)
            .for_each(&mut tell);
        match next {
            Some(next) => {
                *token = Some(next.to_owned());
                self.retry.reset();
                self.standing.well();
            }
            None => {
                self.phase = Phase::Following;
                self.move_to(version);
                self.listed();
                tell(Event::InitDone);
            }
        }
        Ok(())
    }

    /// The server's answer to [`Ask::Version`].
    ///
    /// # Errors
    /// It is behind: the request is over.
    pub fn checked(&mut self, server: &str) -> Result<(), End> {
        // Versions are opaque, but those of etcd are numbers, and then their order is known.
        if let (Ok(ours), Ok(theirs)) = (self.version.parse::<u64>(), server.parse::<u64>())
            && theirs < ours
        {
            return Err(End::WentBack {
                ours: self.version.clone(),
                server: super::ending::one_line(server),
            });
        }
        self.phase = Phase::Following;
        Ok(())
    }

    /// The request is over. Not to be called after a page or a version was taken.
    pub fn over(&mut self, end: End, at: Moment) {
        let answer = self.answer.take();
        self.silent_at = None;
        match (end.code(), &end) {
            (Some(410), _) | (_, End::WentBack { .. }) => self.list_again(end, at),
            (Some(401), _) if !self.reauthorized => {
                self.reauthorized = true;
                self.begin_again();
            }
            (Some(403 | 404), _) => {
                self.begin_again();
                // Who was allowed once is probably refused by a server that has just started.
                let stands_after = self.refusal_stands_after();
                let delay = match (self.version.is_empty(), self.standing.is_denied()) {
                    (true, true) => self.retry.slowest(at.jitter),
                    (true, false) => stands_after.mul_f64(1.0 + at.jitter / 2.0),
                    (false, _) => self.retry.fail(at.jitter),
                };
                self.wait(delay, end.retry_after(), at);
                self.standing.denied(end, at.now, stands_after);
            }
            _ => self.ended(end, answer, at),
        }
    }

    /// Whether the server streams lists, if this watch has learned it.
    pub fn streams(&self) -> Option<bool> {
        self.streams
    }

    /// What became of the watch since this was asked the last time.
    pub fn take_note(&mut self) -> Option<Note> {
        self.standing.take()
    }

    // === how requests end ===

    fn ended(&mut self, end: End, answer: Option<Answer>, at: Moment) {
        match (&self.phase, &end) {
            (Phase::Following, End::Regular | End::Cut(_) | End::Silence) => match answer {
                Some(answer) => self.follow_on(end, answer, at),
                None => self.fail(end, at),
            },
            // What stands there is not read the next time either, unless a list skips it.
            (Phase::Following, End::Garbled) => self.list_again(end, at),
            (Phase::Following, End::Refused(refusal)) if refusal.is_about_the_request() => {
                self.list_again(end, at);
            }
            (Phase::Paging(Some(_)), End::Refused(refusal)) if refusal.is_about_the_request() => {
                self.phase = Phase::List;
                self.fail(end, at);
            }
            (Phase::Paging(_), End::TooLarge(_)) => {
                self.limit = (self.limit / 2).max(1);
                self.fail(end, at);
            }
            (Phase::Streaming(_), _) if self.does_not_stream(&end, answer, at) => {
                self.streams = Some(false);
                self.phase = Phase::Paging(None);
            }
            _ => self.fail(end, at),
        }
    }

    /// The server has ended a watch, as it does now and then. That is no failure if it had
    /// told something, or if it comes no more often than failures would.
    fn follow_on(&mut self, end: End, answer: Answer, at: Moment) {
        self.phase = Phase::Checking;
        let stood = at.now.saturating_duration_since(answer.since);
        if answer.moved {
            return;
        }
        if stood >= self.rules.patience.slowest_retry {
            return self.succeeded();
        }
        let delay = self.retry.fail(at.jitter);
        if stood < delay {
            self.pause = Some(answer.since + delay);
            self.standing.failing(end);
        }
    }

    fn fail(&mut self, end: End, at: Moment) {
        self.begin_again();
        let delay = self.retry.fail(at.jitter);
        self.wait(delay, end.retry_after(), at);
        self.standing.failing(end);
    }

    /// A refusal that has lasted so long is none of a server that has just started.
    fn refusal_stands_after(&self) -> Duration {
        let Patience {
            steady,
            slowest_retry,
            ..
        } = self.rules.patience;
        steady.min(slowest_retry)
    }

    /// Everything must be listed again: what we know leads nowhere.
    fn list_again(&mut self, end: End, at: Moment) {
        self.phase = Phase::List;
        if self.relist.is_fresh() {
            self.relist.fail(at.jitter);
            self.standing.listing_again(end);
        } else {
            let delay = self.relist.fail(at.jitter);
            self.wait(delay, end.retry_after(), at);
            self.standing.failing(end);
        }
    }

    /// Where to go on after a failure: a page is asked for again, a stream begins anew.
    fn begin_again(&mut self) {
        match self.phase {
            Phase::Streaming(_) => self.phase = Phase::List,
            Phase::Following => self.phase = Phase::Checking,
            Phase::List | Phase::Paging(_) | Phase::Checking => {}
        }
    }

    fn wait(&mut self, delay: Duration, retry_after: Option<Duration>, at: Moment) {
        let longest = self.rules.patience.retry_after;
        let wanted = retry_after.unwrap_or_default().min(longest);
        self.pause = Some(at.now + delay.max(wanted));
    }

    // === how they go well ===

    fn follow(&mut self, line: Line<'_, T>, mut tell: impl FnMut(Event<T>)) -> ControlFlow<End> {
        let version = match line {
            Line::Added { object, version } | Line::Modified { object, version } => {
                tell(Event::Apply(object));
                Some(version)
            }
            Line::Deleted { object, version } => {
                tell(Event::Delete(object));
                Some(version)
            }
            Line::Bookmark { version, .. } => Some(version),
            Line::Unusable { version, .. } => version,
            Line::Error(status) => return ControlFlow::Break(End::Refused(status.into())),
            Line::Garbled => return ControlFlow::Break(End::Garbled),
        };
        if let Some(version) = version {
            self.move_to(&version);
            self.succeeded();
        }
        ControlFlow::Continue(())
    }

    fn move_to(&mut self, version: &str) {
        if version != self.version {
            self.version.clear();
            self.version.push_str(version);
            if let Some(answer) = &mut self.answer {
                answer.moved = true;
            }
        }
    }

    fn listed(&mut self) {
        self.limit = self.rules.page_size.max(1);
        self.retry.reset();
        self.reauthorized = false;
        self.standing.well();
    }

    fn succeeded(&mut self) {
        self.retry.reset();
        self.relist.reset();
        self.reauthorized = false;
        self.standing.well();
    }

    /// A watch that has been open for so long works, although nothing happens.
    fn steady_at(&self) -> Option<Instant> {
        let answer = self.answer.filter(|_| !self.standing.is_well())?;
        matches!(self.phase, Phase::Following).then(|| answer.since + self.rules.patience.steady)
    }

    // === lists ===

    fn begin_list(&self, streams: Option<bool>) -> Phase<T> {
        let stream = match self.rules.list {
            ListMode::Auto => streams.or(self.streams).unwrap_or(true),
            ListMode::WatchList => true,
            ListMode::Pages => false,
        };
        match stream {
            true => Phase::Streaming(Streaming::default()),
            false => Phase::Paging(None),
        }
    }

    /// Whether a streamed list has ended in a way that calls for pages.
    fn does_not_stream(&self, end: &End, answer: Option<Answer>, at: Moment) -> bool {
        let long = |answer: Answer| at.now >= answer.since + self.rules.patience.end_mark;
        self.rules.list == ListMode::Auto
            && match end {
                End::NoEndMark => true,
                End::Refused(refusal) => refusal.is_about_streamed_lists(),
                // The whole time that a watch may last was not enough.
                End::Regular => answer.is_some_and(long),
                End::Cut(_)
                | End::Silence
                | End::Unreachable(_)
                | End::Stranger
                | End::Garbled
                | End::TooLarge(_)
                | End::WentBack { .. } => false,
            }
    }
}

#[cfg(test)]
mod tests;
