//! What one watch does: lists, follows, and begins again after everything that can go wrong. Pure.
//!
//! Its owner does what [`WatchMachine::next`] says, reports what came of it, and hands on the
//! events. The life of a watch:
//!
//! ```text
//!         ┌── 410, an older server, a version that only leads to errors ───────┐
//!         ▼                                                                    │
//!   list: streamed (WatchList) or in pages ──► follow ──► any end ──► check the version
//!                                                ▲                             │
//!                                                └─────────────────────────────┘
//! ```
//!
//! Whatever ends a request, some request makes progress next:
//!
//! | the end of | what comes next |
//! |---|---|
//! | a watch that stood for 1 s, or moved, without an error of the server's | the watch, at once |
//! | a watch, by 410 (by its code, or by the reason `Expired` or `Gone`) | a list; that version is dead |
//! | a watch, by 429, 503, 504, a refusal, broken transport | the watch, after a back-off |
//! | a watch, by another error, for the third time in a row from one version | a list |
//! | that list, by a refusal or overload, before it began | the watch again, then the list, in turns |
//! | a check, with a lower version | a list; the watch while no list is due |
//! | a check, in any other way | the watch |
//! | a streamed list, twice, after the server had begun to answer | a list in pages |
//! | pages, twice | a streamed list, unless the server has none |
//! | a page, as its continue token has expired | the list again with a page twice as large, 8 times |
//! | a page that is too large | the same with half of it |
//! | a page that leads back to one before it | the list again, after a back-off |
//! | a list, by more objects than any server has | the same |
//! | a streamed list that pauses without its end mark | a page alongside it; the quicker one stays |
//! | a streamed list that lasts twice as long as it may | a list in pages |
//!
//! Invariants:
//! - The events are those of kube's watcher: `Init InitApply… InitDone`, then `Apply` and `Delete`;
//!   never a delete between `Init` and `InitDone`; `Init` again when a list begins again.
//! - A success is an object or a bookmark while following, a page, or `InitDone`; a mere answer
//!   with 200 is none. Whatever ends without success is tried again more and more seldom.
//! - A version that the server called expired is never asked for again.
//! - A list that follows a list without an event between comes after a pause of at least four
//!   times what the last one took, 30 s to 10 min ([`lists`]).
//! - On average there are ten requests a minute, pages that follow pages with objects not counted
//!   ([`pace`]), unless there are very many or very short ones ([`lists`]).
//! - A list that has failed and begins again is not a success before it is further than that one
//!   was.
//! - No request is made at an earlier version than one that was seen, but after a list.
//!
//! Absent here: HTTP, JSON, clocks, chance, the other watches.

mod ends;
mod health;
mod lists;
mod pace;
mod probe;
mod steps;
mod streaming;

use std::{
    ops::ControlFlow,
    time::{Duration, Instant},
};

use health::Health;
pub use health::HealthChange;
use kube::runtime::watcher::Event;
use lists::{Lists, MOST_OBJECTS, Way, is_event};
use pace::Pace;
use probe::Probe;
pub use steps::{ApiRequest, Moment, Rules, WatchStep};
use streaming::{Ended, Streaming};

use super::{Timeouts, decode::Line, error::RequestError};
use crate::backoff::{Backoff, Jitter};

/// The watch of a kind in a scope, whose objects are `T`.
#[derive(Debug)]
pub struct WatchMachine<T> {
    rules: Rules,
    phase: Phase<T>,
    /// The version to follow from. Its memory is used again and again.
    version: String,
    /// The request that is under way.
    request: Option<Request>,
    /// When the wait for the server's next word ends.
    silent_at: Option<Instant>,
    /// Nothing is asked before.
    pause: Option<Instant>,
    /// For requests that fail.
    retry: Backoff,
    /// For watches that fail by errors of the server's own. A list that has not helped before does
    /// not reset it.
    own: Backoff,
    pace: Pace,
    probe: Probe,
    lists: Lists,
    /// Errors of the server's own, in a row, to watches from this version.
    errors: u32,
    /// The list that is wanted does not give up the version.
    keeps_version: bool,
    /// `Init` was sent, and no `InitDone` yet.
    list_open: bool,
    /// The page before the one that is wanted has just come.
    page_came: bool,
    /// A 401 was answered by asking again at once: the token may have been a new one.
    reauthorized: bool,
    /// What was learned about streamed lists by this watch.
    streams: Option<bool>,
    /// The same by any watch.
    known_streams: Option<bool>,
    health: Health,
}

#[derive(Debug)]
enum Phase<T> {
    /// Everything is to be listed, one way or the other.
    List,
    Streaming(Streaming<T>),
    /// In a list of pages, of which the next is behind this token.
    Paging(Option<String>),
    /// Listed. Is the server still where it was, if it may be asked?
    Checking,
    /// Listed, and the server is not behind.
    Following,
}

/// A request that is under way.
#[derive(Clone, Copy, Debug)]
struct Request {
    asked: Instant,
    /// When an answer with 200 began.
    opened: Option<Instant>,
    /// When its next part was awaited last.
    listening: Instant,
    /// The version has moved.
    moved: bool,
    /// The version was asked for with the selector.
    selected: bool,
}

impl<T> WatchMachine<T> {
    /// A watch that has not begun.
    pub fn new(rules: Rules) -> Self {
        let Timeouts {
            first_retry,
            slowest_retry,
            ..
        } = rules.timeouts;
        Self {
            phase: Phase::List,
            version: String::new(),
            request: None,
            silent_at: None,
            pause: None,
            retry: Backoff::new(first_retry, slowest_retry, Jitter::Above),
            own: Backoff::new(first_retry, slowest_retry, Jitter::Above),
            pace: Pace::new(slowest_retry),
            probe: Probe::new(rules.selector),
            lists: Lists::new(rules.list, rules.page_size, slowest_retry),
            errors: 0,
            keeps_version: false,
            list_open: false,
            page_came: false,
            reauthorized: false,
            streams: None,
            known_streams: None,
            health: Health::default(),
            rules,
        }
    }

    /// What to do next. `streams`: whether the server streams lists, if anyone knows.
    pub fn next(&mut self, now: Instant, streams: Option<bool>) -> WatchStep<'_> {
        self.lists.stamp(now);
        self.known_streams = streams.or(self.streams);
        if let Some(until) = self.pause.filter(|until| now < *until) {
            return WatchStep::Wait(until);
        }
        self.pause = None;
        let probe = self.probe.due(now);
        match &self.phase {
            Phase::List => self.phase = self.begin_list(),
            Phase::Checking if probe.is_none() => self.phase = Phase::Following,
            Phase::Streaming(_) | Phase::Paging(_) | Phase::Checking | Phase::Following => {}
        }
        let at = self.pace.next(now);
        if at > now && !self.is_next_page(now) {
            return WatchStep::Wait(at);
        }
        WatchStep::Request(match &self.phase {
            Phase::List | Phase::Streaming(_) => ApiRequest::StreamedList,
            Phase::Paging(token) => ApiRequest::Page {
                limit: self.lists.limit(),
                token: token.as_deref(),
            },
            Phase::Checking => ApiRequest::Version {
                selected: probe.unwrap_or_default(),
            },
            Phase::Following => ApiRequest::Watch {
                version: &self.version,
            },
        })
    }

    /// The request was sent: the server has the word.
    pub fn asked(&mut self, now: Instant) {
        let mut wait = self.rules.timeouts.silence;
        let mut selected = false;
        match &self.phase {
            Phase::Streaming(_) | Phase::Paging(None) => self.lists.begin(now),
            Phase::Checking => {
                selected = self.probe.due(now).unwrap_or_default();
                self.probe.asked(now);
                wait = probe::LONGEST;
            }
            Phase::List | Phase::Paging(Some(_)) | Phase::Following => {}
        }
        if !self.is_next_page(now) {
            self.pace.asked(now);
        }
        self.page_came = false;
        self.silent_at = Some(now + wait);
        self.request = Some(Request {
            asked: now,
            opened: None,
            listening: now,
            moved: false,
            selected,
        });
    }

    /// An answer has begun, with 200.
    pub fn opened(&mut self, now: Instant) {
        if let Some(request) = &mut self.request {
            (request.opened, request.listening) = (Some(now), now);
        }
    }

    /// The next part of an answer that is no stream is awaited.
    pub fn reading(&mut self, now: Instant) {
        if let Some(request) = &mut self.request {
            request.listening = now;
        }
        // A probe has its time as a whole.
        if !matches!(self.phase, Phase::Checking) {
            self.silent_at = Some(now + self.rules.timeouts.silence);
        }
    }

    /// The next part of a stream is awaited. What our own side took until now does not count
    /// against the server.
    pub fn listening(&mut self, now: Instant) {
        self.lists.stamp(now);
        if let Some(request) = &mut self.request {
            request.listening = now;
        }
        let Timeouts {
            silence,
            end_mark,
            streamed_list,
            ..
        } = self.rules.timeouts;
        let asked = self.request.map_or(now, |request| request.asked);
        self.silent_at = Some(match &mut self.phase {
            // A server ends it by then, unless it heeds none of our wishes.
            Phase::Streaming(list) => list.listening(now, end_mark).min(asked + streamed_list * 2),
            Phase::List | Phase::Paging(_) | Phase::Checking | Phase::Following => now + silence,
        });
    }

    /// When [`Self::timed_out`] and [`Self::alongside`] are to be called, if nothing else happens
    /// before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let others = [self.steady_at(), self.alongside_at()];
        let others = others.into_iter().flatten();
        self.silent_at.into_iter().chain(others).min()
    }

    /// The wait for the server has lasted. Gives the end of the request, if it is over now.
    pub fn timed_out(&mut self, now: Instant) -> Option<RequestError> {
        if self.silent_at.is_some_and(|at| at <= now) {
            return Some(match &self.phase {
                Phase::Streaming(_) if self.is_open() => RequestError::NoEndMark,
                Phase::List
                | Phase::Streaming(_)
                | Phase::Paging(_)
                | Phase::Checking
                | Phase::Following => RequestError::Silence,
            });
        }
        if self.steady_at().is_some_and(|at| at <= now) {
            self.health.healthy();
        }
        None
    }

    /// The first page, if it is to be requested alongside the streamed list that goes on: this list
    /// pauses, and perhaps its server does not know what a streamed list is.
    pub fn alongside(&mut self, now: Instant) -> Option<ApiRequest<'static>> {
        self.alongside_at().filter(|at| *at <= now)?;
        if let Phase::Streaming(list) = &mut self.phase {
            list.ask_alongside();
        }
        Some(ApiRequest::Page {
            limit: self.lists.limit(),
            token: None,
        })
    }

    /// That page has come, with so many objects. `true`: the stream is over, and the page is to be
    /// handed to [`Self::page`].
    pub fn alongside_came(&mut self, objects: usize) -> bool {
        let Phase::Streaming(list) = &self.phase else {
            return false;
        };
        let slower = list.is_slower(objects);
        if slower {
            self.lists.prefer_pages();
            self.phase = Phase::Paging(None);
        }
        slower
    }

    /// A line of a stream. `Break` if the request is over: then nothing more is to be read.
    pub fn line(
        &mut self,
        line: Line<'_, T>,
        mut emit: impl FnMut(Event<T>),
    ) -> ControlFlow<RequestError> {
        match &mut self.phase {
            Phase::Streaming(list) => match list.line(line, &mut emit) {
                ControlFlow::Continue(None) => {
                    self.list_open |= list.has_begun();
                    ControlFlow::Continue(())
                }
                ControlFlow::Continue(Some(Ended { version, deleted })) => {
                    self.phase = Phase::Following;
                    self.streams = Some(true);
                    self.move_to(&version);
                    self.listed();
                    emit(Event::InitDone);
                    deleted.into_iter().map(Event::Delete).for_each(emit);
                    ControlFlow::Continue(())
                }
                ControlFlow::Break(end) => ControlFlow::Break(end),
            },
            Phase::List | Phase::Paging(_) | Phase::Checking | Phase::Following => {
                self.follow(line, emit)
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
        mut emit: impl FnMut(Event<T>),
    ) -> Result<(), RequestError> {
        let Phase::Paging(token) = &mut self.phase else {
            return Err(RequestError::InvalidJson);
        };
        if next.is_some_and(|next| !self.lists.leads_on(next)) {
            *token = None;
            return Err(RequestError::InvalidJson);
        }
        if token.is_none() {
            self.list_open = true;
            emit(Event::Init);
        }
        let mut count = 0;
        for object in objects {
            count += 1;
            emit(Event::InitApply(object));
        }
        let is_further = self.lists.took(count);
        match next {
            Some(_) if self.lists.is_endless() => {
                *token = None;
                return Err(RequestError::Endless(MOST_OBJECTS));
            }
            Some(next) => {
                *token = Some(next.to_owned());
                self.page_came = count > 0;
                if is_further {
                    self.retry.reset();
                    self.health.healthy();
                }
            }
            None => {
                self.phase = Phase::Following;
                self.move_to(version);
                self.listed();
                emit(Event::InitDone);
            }
        }
        Ok(())
    }

    /// The server's answer to [`ApiRequest::Version`].
    ///
    /// # Errors
    /// It is behind: the request is over.
    pub fn checked(&mut self, server: &str) -> Result<(), RequestError> {
        // Versions are opaque, but those of etcd are numbers, and then their order is known.
        if let (Ok(ours), Ok(theirs)) = (self.version.parse::<u64>(), server.parse::<u64>())
            && theirs < ours
        {
            return Err(RequestError::VersionRegressed {
                ours: self.version.clone(),
                server: super::error::one_line(server),
            });
        }
        self.phase = Phase::Following;
        Ok(())
    }

    /// Whether the server streams lists, if this watch has learned it.
    pub fn streams(&self) -> Option<bool> {
        self.streams
    }

    /// How long the list took that has ended since this was asked last.
    pub fn take_list_time(&mut self, now: impl FnOnce() -> Instant) -> Option<Duration> {
        self.lists.take_took(now)
    }

    /// What became of the watch since this was asked the last time.
    pub fn take_note(&mut self) -> Option<HealthChange> {
        self.health.take()
    }

    // === how requests go well ===

    fn follow(
        &mut self,
        line: Line<'_, T>,
        mut emit: impl FnMut(Event<T>),
    ) -> ControlFlow<RequestError> {
        if is_event(&line) {
            self.lists.event();
        }
        let version = match line {
            Line::Added { object, version } | Line::Modified { object, version } => {
                emit(Event::Apply(object));
                Some(version)
            }
            Line::Deleted { object, version } => {
                emit(Event::Delete(object));
                Some(version)
            }
            Line::Bookmark { version, .. } => Some(version),
            Line::Unusable { version, .. } => version,
            Line::Error(status) => return ControlFlow::Break(RequestError::Refused(status.into())),
            Line::InvalidJson => return ControlFlow::Break(RequestError::InvalidJson),
        };
        if let Some(version) = version {
            self.move_to(&version);
            self.moved();
        }
        ControlFlow::Continue(())
    }

    fn move_to(&mut self, version: &str) {
        if version != self.version {
            self.version.clear();
            self.version.push_str(version);
            self.errors = 0;
            if let Some(request) = &mut self.request {
                request.moved = true;
            }
        }
    }

    fn listed(&mut self) {
        if !self.lists.done() {
            self.own.reset();
        }
        (self.list_open, self.keeps_version) = (false, false);
        self.errors = 0;
        self.succeeded();
    }

    fn moved(&mut self) {
        self.own.reset();
        self.succeeded();
    }

    fn succeeded(&mut self) {
        self.retry.reset();
        self.reauthorized = false;
        self.health.healthy();
    }

    /// A watch that has been open for so long works, although nothing happens.
    fn steady_at(&self) -> Option<Instant> {
        let opened = self.request.filter(|_| !self.health.is_healthy())?.opened?;
        matches!(self.phase, Phase::Following).then(|| opened + self.rules.timeouts.steady)
    }

    /// When a page is requested alongside a streamed list.
    fn alongside_at(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Streaming(list) if self.is_open() && self.lists.may_choose() => {
                list.alongside_at()
            }
            Phase::List
            | Phase::Streaming(_)
            | Phase::Paging(_)
            | Phase::Checking
            | Phase::Following => None,
        }
    }

    /// An answer with 200 has begun.
    fn is_open(&self) -> bool {
        self.request.is_some_and(|request| request.opened.is_some())
    }

    /// The next request continues what has just come, and may follow at once.
    fn is_next_page(&self, now: Instant) -> bool {
        self.page_came && matches!(self.phase, Phase::Paging(Some(_))) && self.lists.hurries(now)
    }

    fn begin_list(&self) -> Phase<T> {
        match self.lists.way(self.known_streams) {
            Way::Stream => Phase::Streaming(Streaming::default()),
            Way::Pages => Phase::Paging(None),
        }
    }
}

#[cfg(test)]
mod tests;
