//! How requests end, and what comes next: the table of the module above, row by row.

use std::time::Duration;

use super::{super::error::RequestError, Moment, Phase, Request, WatchMachine, lists::Way};

/// A watch that stood for so long is reopened at once. Time counts from its request.
const STOOD: Duration = Duration::from_secs(1);

/// So many errors of the server's own, in a row, call for a list.
const ERRORS: u32 = 3;

impl<T> WatchMachine<T> {
    /// The request is over. Not to be called after a page or a version was taken.
    pub fn over(&mut self, end: RequestError, at: Moment) {
        self.lists.stamp(at.now);
        self.silent_at = None;
        self.page_came = false;
        let request = self.request.take().unwrap_or(Request {
            asked: at.now,
            opened: None,
            listening: at.now,
            moved: false,
            selected: false,
        });
        match &self.phase {
            Phase::Checking => self.check_over(end, request, at),
            Phase::Following => self.watch_over(end, request, at),
            Phase::List | Phase::Streaming(_) | Phase::Paging(_) => {
                self.list_over(end, request, at);
            }
        }
    }

    // === checks ===

    /// What a check says is advice, unless it is a lower version.
    fn check_over(&mut self, end: RequestError, request: Request, at: Moment) {
        self.phase = Phase::Following;
        if !matches!(end, RequestError::VersionRegressed { .. }) {
            return self.probe.failed(request.selected, &end, at.now);
        }
        match self.lists.due_for_older(at.jitter) {
            Some(due) if due > at.now => self.probe.postpone(due),
            Some(_) | None => self.list_now(end),
        }
    }

    // === watches ===

    fn watch_over(&mut self, end: RequestError, request: Request, at: Moment) {
        self.phase = Phase::Checking;
        let stood = at.now.saturating_duration_since(request.asked);
        match (&end, end.code()) {
            (_, Some(410)) => self.expired(end, at),
            (_, Some(401)) if !self.reauthorized => self.reauthorized = true,
            (_, Some(403)) => {
                self.probe.forgive();
                self.denied(end, at);
            }
            (_, Some(401)) => {
                self.probe.forgive();
                self.fail(end, at);
            }
            (_, Some(429 | 503 | 504)) => self.fail(end, at),
            // What stands there is not read the next time either, unless a list skips it.
            (RequestError::InvalidJson, _) => {
                self.errors = self.errors.max(ERRORS - 1);
                self.own_error(end, at);
            }
            (
                RequestError::Refused(_)
                | RequestError::Redirected(_)
                | RequestError::NotAnApiServer
                | RequestError::Encoded(_),
                _,
            ) => {
                self.own_error(end, at);
            }
            // Complete, and says nothing.
            (RequestError::Regular, _) if !request.moved && stood < STOOD => {
                self.own_error(end, at)
            }
            (RequestError::Regular | RequestError::Cut(_) | RequestError::Silence, _) => {
                self.reopen(end, request, stood, at);
            }
            _ => self.fail(end, at),
        }
    }

    /// A watch has ended as it does now and then, or its connection has.
    fn reopen(&mut self, end: RequestError, request: Request, stood: Duration, at: Moment) {
        if request.moved {
            return self.pace_out(end, at);
        }
        if stood < STOOD {
            let delay = self.retry.fail(at.jitter);
            self.pause = Some(request.asked + delay);
            return self.health.failing(end);
        }
        self.errors = 0;
        if matches!(end, RequestError::Silence) && request.opened.is_none() {
            // A server would have ended it by now, even where a proxy holds back the head of its
            // answer.
            return self.health.failing(end);
        }
        if request.opened.is_some() {
            self.retry.reset();
            self.own.reset();
            self.reauthorized = false;
        }
        self.pace_out(end, at);
    }

    /// It is opened again at once, unless that happens all the time.
    fn pace_out(&mut self, end: RequestError, at: Moment) {
        if self.pace.next(at.now) > at.now {
            self.health.failing(end);
        }
    }

    /// An error of the server's own. The third one in a row says that this version leads nowhere.
    fn own_error(&mut self, end: RequestError, at: Moment) {
        self.errors = self.errors.saturating_add(1);
        let delay = self.own.fail(at.jitter);
        let wanted = end.retry_after();
        self.say_failing(end, at);
        if self.errors < ERRORS {
            return self.wait(delay, wanted, at);
        }
        match self.lists.due(at.jitter).filter(|due| *due > at.now) {
            // Until then the watch has its chances.
            Some(due) => self.wait(delay.min(due - at.now), wanted, at),
            None => {
                self.keeps_version = true;
                self.phase = Phase::List;
            }
        }
    }

    /// The version is dead.
    fn expired(&mut self, end: RequestError, at: Moment) {
        self.keeps_version = false;
        match self.lists.due(at.jitter).filter(|due| *due > at.now) {
            Some(due) => {
                self.phase = Phase::List;
                self.wait(due - at.now, end.retry_after(), at);
                self.health.failing(end);
            }
            None => self.list_now(end),
        }
    }

    fn list_now(&mut self, end: RequestError) {
        self.keeps_version = false;
        self.phase = Phase::List;
        self.health.listing_again(end);
    }

    // === lists ===

    fn list_over(&mut self, end: RequestError, request: Request, at: Moment) {
        let last_word = match matches!(end, RequestError::Silence | RequestError::NoEndMark) {
            true => request.listening,
            false => at.now,
        };
        self.lists.falls_short();
        let has_worked = request.opened.is_some() || matches!(end, RequestError::Refused(_));
        self.list_ended(end, request, at);
        if has_worked {
            let begins_again = !self.is_within_pages();
            let asked = request.asked;
            let wait = self.lists.in_vain(asked, begins_again, last_word, at.now);
            // What follows at once costs the lists after it.
            self.pause = self.pause.map(|pause| pause.max(at.now + wait));
        }
    }

    fn list_ended(&mut self, end: RequestError, request: Request, at: Moment) {
        match (end.code(), &end) {
            (Some(401), _) if !self.reauthorized => {
                self.reauthorized = true;
                self.begin_again();
            }
            (Some(401 | 403 | 404 | 429 | 503 | 504), _) if self.may_watch() => {
                self.phase = Phase::Checking;
                self.errors = ERRORS - 1;
                let (delay, wanted) = (self.retry.fail(at.jitter), end.retry_after());
                self.wait(delay, wanted, at);
                self.say_failing(end, at);
            }
            (Some(403 | 404), _) => {
                self.begin_again();
                self.denied(end, at);
            }
            (Some(410), _) if self.is_within_pages() => self.token_expired(end, request, at),
            _ if self.has_no_streams(&end, request, at) => {
                self.streams = Some(false);
                self.known_streams = Some(false);
                self.phase = Phase::Paging(None);
            }
            (_, RequestError::TooLarge(_)) => {
                self.lists.halve();
                self.fail(end, at);
            }
            (_, RequestError::Refused(refusal)) if refusal.is_about_the_request() => {
                let way = self.way();
                // A token that leads nowhere.
                self.phase = Phase::List;
                self.list_failed(way, end, request, at);
            }
            _ => {
                let way = self.way();
                self.begin_again();
                self.list_failed(way, end, request, at);
            }
        }
    }

    fn list_failed(&mut self, way: Way, end: RequestError, request: Request, at: Moment) {
        let counts = counts_against_the_way(&end, request.opened.is_some());
        if counts && self.lists.failed(way, self.known_streams) {
            self.phase = Phase::List;
        }
        let delay = self.retry.fail(at.jitter);
        self.wait(delay, end.retry_after(), at);
        self.health.failing(end);
    }

    /// The next attempt has larger pages, so that it needs fewer of them.
    fn token_expired(&mut self, end: RequestError, request: Request, at: Moment) {
        self.phase = Phase::Paging(None);
        match self.lists.double() {
            true => self.health.listing_again(end),
            false => self.list_failed(Way::Pages, end, request, at),
        }
    }

    /// Whether the list that is wanted may give way to the watch, from where that was.
    fn may_watch(&self) -> bool {
        self.keeps_version && !self.list_open
    }

    fn is_within_pages(&self) -> bool {
        matches!(self.phase, Phase::Paging(Some(_)))
    }

    fn way(&self) -> Way {
        match self.phase {
            Phase::Paging(_) => Way::Pages,
            Phase::List | Phase::Streaming(_) | Phase::Checking | Phase::Following => Way::Stream,
        }
    }

    /// Whether a streamed list has ended in a way that says that this server has none.
    fn has_no_streams(&self, end: &RequestError, request: Request, at: Moment) -> bool {
        let long = |opened| at.now >= opened + self.rules.timeouts.end_mark;
        matches!(self.phase, Phase::Streaming(_))
            && self.lists.may_choose()
            && match end {
                RequestError::NoEndMark => true,
                RequestError::Refused(refusal) => refusal.is_about_streamed_lists(),
                // The whole time that a watch may last was not enough.
                RequestError::Regular => request.opened.is_some_and(long),
                RequestError::Cut(_)
                | RequestError::Silence
                | RequestError::Unreachable(_)
                | RequestError::Redirected(_)
                | RequestError::NotAnApiServer
                | RequestError::InvalidJson
                | RequestError::Encoded(_)
                | RequestError::Endless(_)
                | RequestError::TooLarge(_)
                | RequestError::VersionRegressed { .. } => false,
            }
    }

    // === both ===

    fn fail(&mut self, end: RequestError, at: Moment) {
        self.begin_again();
        let delay = self.retry.fail(at.jitter);
        self.wait(delay, end.retry_after(), at);
        self.health.failing(end);
    }

    /// Refused with 403 or 404.
    fn denied(&mut self, end: RequestError, at: Moment) {
        // Who was allowed once is probably refused by a server that has just started.
        let delay = match (self.version.is_empty(), self.health.is_denied()) {
            (true, true) => self.retry.slowest(at.jitter),
            (true, false) => self.refusal_stands_after().mul_f64(1.0 + at.jitter / 2.0),
            (false, _) => self.retry.fail(at.jitter),
        };
        self.wait(delay, end.retry_after(), at);
        self.say_failing(end, at);
    }

    fn say_failing(&mut self, end: RequestError, at: Moment) {
        match end.code() {
            Some(403 | 404) => {
                let stands_after = self.refusal_stands_after();
                self.health.denied(end, at.now, stands_after);
            }
            _ => self.health.failing(end),
        }
    }

    /// A refusal that has lasted so long is none of a server that has just started.
    fn refusal_stands_after(&self) -> Duration {
        let timeouts = &self.rules.timeouts;
        timeouts.steady.min(timeouts.slowest_retry)
    }

    /// Where to go on after a failure: a page is requested again, a stream begins again.
    fn begin_again(&mut self) {
        match self.phase {
            Phase::Streaming(_) => self.phase = Phase::List,
            Phase::Following => self.phase = Phase::Checking,
            Phase::List | Phase::Paging(_) | Phase::Checking => {}
        }
    }

    fn wait(&mut self, delay: Duration, retry_after: Option<Duration>, at: Moment) {
        let longest = self.rules.timeouts.retry_after;
        let wanted = retry_after.unwrap_or_default().min(longest);
        self.pause = Some(at.now + delay.max(wanted));
    }
}

/// Whether the other way to list may fare better. Overload (429), a refusal and broken transport
/// before an answer say nothing about the way; that nothing came at all may.
fn counts_against_the_way(end: &RequestError, answered: bool) -> bool {
    match end {
        RequestError::Refused(refusal) => !matches!(refusal.code, 401 | 403 | 404 | 429),
        RequestError::Redirected(_)
        | RequestError::NotAnApiServer
        | RequestError::Encoded(_)
        | RequestError::Silence => true,
        RequestError::Regular
        | RequestError::Cut(_)
        | RequestError::NoEndMark
        | RequestError::InvalidJson
        | RequestError::Endless(_)
        | RequestError::TooLarge(_) => answered,
        RequestError::Unreachable(_) | RequestError::VersionRegressed { .. } => false,
    }
}
