//! Scenarios of one watch, moved by hand: what it asks, what it sends, how healthy it is.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod advice;
mod lists;
mod progress;
mod properties;
mod recovery;
mod rounds;

use std::{borrow::Cow, time::Duration};

use super::{
    super::{decode::Status, error::Refusal},
    *,
};
use crate::source::native::ListMode;

const SECOND: Duration = Duration::from_secs(1);

/// A machine with a clock; chance always says 0.
struct Scenario {
    machine: WatchMachine<&'static str>,
    now: Instant,
    sent: Vec<String>,
    known: Option<bool>,
}

impl Scenario {
    fn new(list: ListMode) -> Self {
        Self {
            machine: WatchMachine::new(Rules {
                timeouts: Timeouts::default(),
                list,
                page_size: 500,
                selector: false,
            }),
            #[allow(clippy::disallowed_methods)]
            now: Instant::now(),
            sent: Vec::new(),
            known: None,
        }
    }

    /// One that has listed `a` in pages, at version 5, and opened the watch.
    fn following() -> Self {
        let mut scenario = Self::new(ListMode::Pages);
        assert_eq!(scenario.next(), "page 500");
        scenario.page(&["a"], "5", None);
        assert_eq!(scenario.sent(), "init +a done");
        scenario.notes();
        assert_eq!(scenario.next(), "watch 5");
        scenario.opened();
        scenario
    }

    /// What is to be done next; if it is a request, it is sent.
    fn next(&mut self) -> String {
        let (now, known) = (self.now, self.known);
        let next = match self.machine.next(now, known) {
            WatchStep::Wait(until) => return format!("wait {:?}", until - now),
            WatchStep::Request(ApiRequest::StreamedList) => "stream".to_owned(),
            WatchStep::Request(ApiRequest::Page { limit, token: None }) => format!("page {limit}"),
            WatchStep::Request(ApiRequest::Page {
                limit,
                token: Some(token),
            }) => format!("page {limit} after {token}"),
            WatchStep::Request(ApiRequest::Version { selected: false }) => "version".to_owned(),
            WatchStep::Request(ApiRequest::Version { selected: true }) => {
                "version selected".to_owned()
            }
            WatchStep::Request(ApiRequest::Watch { version }) => format!("watch {version}"),
        };
        self.machine.asked(now);
        next
    }

    /// The watch is asked for again, from this version; the check before it, if there is one,
    /// finds nothing.
    fn watches(&mut self, version: &str) {
        let mut ask = self.next();
        if ask == "version" {
            self.machine.checked(version).unwrap();
            self.wait();
            ask = self.next();
        }
        assert_eq!(ask, format!("watch {version}"));
    }

    /// Waits if it is to be waited, and asks then. Gives the time waited.
    fn wait(&mut self) -> Duration {
        let (start, known) = (self.now, self.known);
        while let WatchStep::Wait(until) = self.machine.next(self.now, known) {
            self.now = until;
        }
        self.now - start
    }

    fn opened(&mut self) {
        self.machine.opened(self.now);
        self.machine.listening(self.now);
    }

    /// A line; the end of the request, if it is one.
    fn line(&mut self, line: Line<'_, &'static str>) -> Option<RequestError> {
        let sent = &mut self.sent;
        let flow = self.machine.line(line, |event| sent.push(text(event)));
        self.machine.listening(self.now);
        flow.break_value()
    }

    fn page(&mut self, objects: &[&'static str], version: &str, next: Option<&str>) {
        let sent = &mut self.sent;
        self.machine
            .page(objects.to_vec(), version, next, |event| {
                sent.push(text(event));
            })
            .unwrap();
    }

    fn over(&mut self, end: RequestError) {
        let at = Moment {
            now: self.now,
            jitter: 0.0,
        };
        self.machine.over(end, at);
    }

    /// Nothing comes until the machine has had enough. Gives how long that took.
    fn silence(&mut self) -> (Duration, RequestError) {
        let start = self.now;
        loop {
            self.now = self.now.max(self.machine.poll_timeout().unwrap());
            if let Some(end) = self.machine.timed_out(self.now) {
                return (self.now - start, end);
            }
            // A page is requested alongside the stream, and does not come.
            let _ = self.machine.alongside(self.now);
        }
    }

    fn sent(&mut self) -> String {
        std::mem::take(&mut self.sent).join(" ")
    }

    fn notes(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.machine.take_note())
            .map(|note| match note {
                HealthChange::Healthy { failures } => format!("well after {failures}"),
                HealthChange::Failing(why) => format!("failing: {why}"),
                HealthChange::Denied(why) => format!("denied: {why}"),
                HealthChange::StaysDenied(why) => format!("stays denied: {why}"),
                HealthChange::ListsAgain(why) => format!("lists again: {why}"),
            })
            .collect()
    }
}

fn text(event: Event<&'static str>) -> String {
    match event {
        Event::Init => "init".to_owned(),
        Event::InitApply(object) => format!("+{object}"),
        Event::InitDone => "done".to_owned(),
        Event::Apply(object) => format!("apply {object}"),
        Event::Delete(object) => format!("delete {object}"),
    }
}

fn added<'a>(object: &'static str, version: &'a str) -> Line<'a, &'static str> {
    let version = Cow::Borrowed(version);
    Line::Added { object, version }
}

fn modified<'a>(object: &'static str, version: &'a str) -> Line<'a, &'static str> {
    let version = Cow::Borrowed(version);
    Line::Modified { object, version }
}

fn deleted<'a>(object: &'static str, version: &'a str) -> Line<'a, &'static str> {
    let version = Cow::Borrowed(version);
    Line::Deleted { object, version }
}

fn bookmark(version: &str) -> Line<'_, &'static str> {
    Line::Bookmark {
        version: Cow::Borrowed(version),
        initial_events_end: false,
    }
}

fn end_mark(version: &str) -> Line<'_, &'static str> {
    Line::Bookmark {
        version: Cow::Borrowed(version),
        initial_events_end: true,
    }
}

fn error(code: u16) -> Line<'static, &'static str> {
    Line::Error(Status {
        code,
        message: "no".to_owned(),
        ..Status::default()
    })
}

fn refused(code: u16) -> RequestError {
    RequestError::Refused(Refusal {
        code,
        words: "no".to_owned(),
        retry_after: None,
    })
}

// === the ordinary life ===

#[test]
fn a_streamed_list_goes_over_into_following() {
    let mut scenario = Scenario::new(ListMode::Auto);
    assert_eq!(scenario.next(), "stream");
    scenario.opened();
    assert_eq!(scenario.sent(), "", "a mere answer is nothing to send");
    assert_eq!(scenario.line(added("a", "3")), None);
    assert_eq!(scenario.line(added("b", "2")), None);
    assert_eq!(scenario.line(end_mark("7")), None);
    assert_eq!(scenario.line(modified("a", "8")), None);
    assert_eq!(scenario.line(deleted("b", "9")), None);
    assert_eq!(scenario.sent(), "init +a +b done apply a delete b");
    assert_eq!(scenario.machine.streams(), Some(true));
    assert_eq!(scenario.notes(), ["well after 0"]);
    scenario.over(RequestError::Regular);
    assert_eq!(scenario.next(), "version");
    scenario.machine.checked("9").unwrap();
    assert_eq!(scenario.next(), "watch 9");
}

#[test]
fn an_empty_streamed_list_is_a_list_too() {
    let mut scenario = Scenario::new(ListMode::Auto);
    scenario.next();
    scenario.opened();
    scenario.line(end_mark("7"));
    assert_eq!(scenario.sent(), "init done");
}

#[test]
fn a_list_of_pages_goes_over_into_following() {
    let mut scenario = Scenario::new(ListMode::Pages);
    assert_eq!(scenario.next(), "page 500");
    scenario.page(&["a", "b"], "7", Some("t"));
    assert_eq!(scenario.next(), "page 500 after t");
    scenario.page(&["c"], "7", None);
    assert_eq!(scenario.sent(), "init +a +b +c done");
    assert_eq!(
        scenario.next(),
        "watch 7",
        "the list has just said the version"
    );
}

#[test]
fn a_watch_goes_on_after_the_last_version_whatever_brought_it() {
    for (line, version) in [
        (added("b", "6"), "6"),
        (deleted("a", "7"), "7"),
        (bookmark("8"), "8"),
        (
            Line::Unusable {
                version: Some("9".into()),
                uid: None,
                why: super::super::decode::ObjectError::NoUid,
            },
            "9",
        ),
    ] {
        let mut scenario = Scenario::following();
        scenario.line(line);
        scenario.over(RequestError::Regular);
        assert_eq!(scenario.next(), "version");
        scenario.machine.checked(version).unwrap();
        assert_eq!(scenario.next(), format!("watch {version}"));
        assert!(scenario.notes().is_empty());
    }
}

#[test]
fn a_silent_watch_is_opened_again_without_an_error_or_a_list() {
    let mut scenario = Scenario::following();
    let (waited, end) = scenario.silence();
    assert_eq!((waited, &end), (65 * SECOND, &RequestError::Silence));
    scenario.over(end);
    assert_eq!(scenario.next(), "version");
    scenario.machine.checked("5").unwrap();
    assert_eq!(scenario.next(), "watch 5");
    assert!(scenario.notes().is_empty());
}

#[test]
fn what_our_own_side_takes_does_not_count_against_the_server() {
    let mut scenario = Scenario::following();
    scenario.now += 600 * SECOND;
    scenario.machine.listening(scenario.now);
    assert_eq!(scenario.silence().0, 65 * SECOND);
}

// === ends without success ===

#[test]
fn a_watch_that_breaks_off_without_news_is_opened_more_and_more_seldom() {
    let end = RequestError::Cut("a chunk".to_owned());
    let mut scenario = Scenario::following();
    let mut waits = Vec::new();
    for _ in 0..8 {
        scenario.over(end.clone());
        waits.push(scenario.wait().as_secs_f64());
        scenario.watches("5");
        scenario.opened();
    }
    assert_eq!(waits, [0.8, 1.6, 3.2, 6.4, 12.8, 20.0, 20.0, 20.0]);
    assert_eq!(scenario.notes(), [format!("failing: {end}")], "said once");
    scenario.line(bookmark("6"));
    assert_eq!(scenario.notes(), ["well after 8"]);
    scenario.over(end);
    assert_eq!(scenario.wait(), Duration::ZERO, "there was news");
}

#[test]
fn a_failing_list_is_asked_for_more_and_more_seldom() {
    let (page, stream) = ("page 500", "stream");
    for (list, asks) in [
        (ListMode::Pages, [page; 7]),
        (ListMode::WatchList, [stream; 7]),
        (
            ListMode::Auto,
            [stream, stream, page, page, stream, stream, page],
        ),
    ] {
        let mut scenario = Scenario::new(list);
        let mut waits = Vec::new();
        for ask in asks {
            assert_eq!(scenario.next(), ask);
            scenario.over(refused(500));
            waits.push(scenario.wait().as_secs_f64());
        }
        assert_eq!(waits, [0.8, 1.6, 3.2, 6.4, 12.8, 20.0, 20.0]);
        assert_eq!(scenario.notes(), ["failing: the server answers 500: no"]);
    }
}

#[test]
fn a_streamed_list_that_breaks_off_is_no_success_whatever_it_brought() {
    let mut scenario = Scenario::new(ListMode::WatchList);
    let mut waits = Vec::new();
    for _ in 0..4 {
        assert_eq!(scenario.next(), "stream");
        scenario.opened();
        scenario.line(added("a", "1"));
        scenario.over(RequestError::Cut("reset".to_owned()));
        waits.push(scenario.wait().as_secs_f64());
    }
    assert_eq!(waits, [0.8, 1.6, 3.2, 6.4]);
    assert_eq!(scenario.sent(), "init +a init +a init +a init +a");
}

#[test]
fn a_page_that_fails_is_asked_for_again_without_a_new_list() {
    let mut scenario = Scenario::new(ListMode::Pages);
    scenario.next();
    scenario.page(&["a"], "7", Some("t"));
    for wait in [800, 1600] {
        assert_eq!(scenario.next(), "page 500 after t");
        scenario.over(refused(503));
        assert_eq!(scenario.wait(), Duration::from_millis(wait));
    }
    scenario.next();
    scenario.page(&["b"], "7", None);
    assert_eq!(scenario.sent(), "init +a +b done");
}

#[test]
fn a_server_that_does_not_answer_is_given_up() {
    for list in [ListMode::Pages, ListMode::Auto] {
        let mut scenario = Scenario::new(list);
        scenario.next();
        let (waited, end) = scenario.silence();
        assert_eq!((waited, &end), (65 * SECOND, &RequestError::Silence));
        scenario.over(end);
        assert_eq!(scenario.next(), "wait 800ms");
    }
}

#[test]
fn a_page_that_leads_to_itself_is_an_error() {
    let mut scenario = Scenario::new(ListMode::Pages);
    scenario.next();
    scenario.page(&["a"], "7", Some("t"));
    let looped = scenario.machine.page(["b"], "7", Some("t"), |_| ());
    assert_eq!(looped, Err(RequestError::InvalidJson));
}

#[test]
fn pages_that_are_too_large_become_smaller() {
    let mut scenario = Scenario::new(ListMode::Pages);
    for limit in [500, 250, 125] {
        scenario.wait();
        assert_eq!(scenario.next(), format!("page {limit}"));
        scenario.over(RequestError::TooLarge(9));
    }
    scenario.wait();
    scenario.next();
    scenario.page(&["a"], "7", None);
    scenario.watches("7");
    scenario.opened();
    scenario.line(added("b", "8"));
    scenario.over(refused(410));
    assert_eq!(scenario.next(), "page 500", "the next list tries again");
}

#[test]
fn a_server_may_say_how_long_it_wants_to_rest() {
    for (seconds, expected) in [
        (0, Duration::from_millis(800)),
        (7, 7 * SECOND),
        (3_600, 300 * SECOND),
    ] {
        for code in [429, 503, 500, 403] {
            let mut scenario = Scenario::new(ListMode::Pages);
            scenario.next();
            scenario.over(RequestError::Refused(Refusal {
                code,
                words: String::new(),
                retry_after: Some(seconds * SECOND),
            }));
            let own = if code == 403 {
                5 * SECOND
            } else {
                Duration::ZERO
            };
            assert_eq!(scenario.wait(), expected.max(own), "{code} {seconds}");
        }
    }
}

#[test]
fn an_error_within_a_stream_is_a_failure_of_the_watch_not_of_what_is_listed() {
    let mut scenario = Scenario::following();
    scenario.line(bookmark("6"));
    let end = scenario.line(error(500)).unwrap();
    scenario.over(end);
    assert_eq!(scenario.next(), "wait 800ms");
    scenario.wait();
    assert_eq!(scenario.next(), "version");
    scenario.machine.checked("6").unwrap();
    assert_eq!(scenario.next(), "watch 6");
    assert_eq!(scenario.sent(), "");
}

// === access ===

#[test]
fn a_refused_watch_is_tried_seldom_and_says_once_that_this_stands() {
    for code in [403, 404] {
        let mut scenario = Scenario::new(ListMode::Auto);
        let why = format!("the server answers {code}: no");
        assert_eq!(scenario.next(), "stream");
        scenario.over(refused(code));
        assert_eq!(scenario.notes(), [format!("denied: {why}")]);
        assert_eq!(scenario.wait(), 5 * SECOND, "it may just have started");
        for _ in 1..5 {
            assert_eq!(scenario.next(), "stream");
            scenario.over(refused(code));
            assert_eq!(scenario.wait(), 20 * SECOND);
        }
        assert_eq!(scenario.notes(), [format!("stays denied: {why}")]);
        scenario.next();
        scenario.opened();
        scenario.line(end_mark("1"));
        assert_eq!(scenario.notes(), ["well after 5"]);
    }
}

#[test]
fn a_watch_that_is_refused_later_goes_on_where_it_was() {
    let mut scenario = Scenario::following();
    let end = scenario.line(error(403)).unwrap();
    scenario.over(end);
    assert_eq!(scenario.notes(), ["denied: the server answers 403: no"]);
    assert_eq!(
        scenario.wait(),
        SECOND * 8 / 10,
        "the server may just have started"
    );
    let pauses = [1600, 3200, 6400, 12_800, 20_000, 20_000].map(Duration::from_millis);
    for (number, pause) in pauses.into_iter().enumerate() {
        scenario.watches("5");
        scenario.over(refused(403));
        // So far it has lasted 0.8, 2.4, 5.6 s …
        let stands = number == 2;
        let notes = scenario.notes();
        assert_eq!(notes.len(), usize::from(stands), "{number}: {notes:?}");
        assert_eq!(scenario.wait(), pause);
    }
}

#[test]
fn a_server_that_refuses_everybody_while_it_starts_is_no_reason_to_grant_anything() {
    let mut scenario = Scenario::following();
    for _ in 0..3 {
        scenario.over(refused(403));
        scenario.wait();
        scenario.watches("5");
    }
    scenario.opened();
    scenario.line(bookmark("6"));
    let why = "the server answers 403: no";
    assert_eq!(
        scenario.notes(),
        [format!("denied: {why}"), "well after 3".to_owned()]
    );
    scenario.over(refused(403));
    assert_eq!(scenario.notes(), [format!("denied: {why}")], "again");
}

#[test]
fn after_a_401_the_token_may_be_another_one_but_only_once() {
    let mut scenario = Scenario::following();
    scenario.over(refused(401));
    assert_eq!(scenario.wait(), Duration::ZERO);
    scenario.watches("5");
    scenario.over(refused(401));
    assert_eq!(scenario.wait(), Duration::from_millis(800));
    scenario.watches("5");
    scenario.over(refused(401));
    assert_eq!(scenario.wait(), Duration::from_millis(1600));
    assert_eq!(scenario.notes(), ["failing: the server answers 401: no"]);
}

// === how it fares ===

#[test]
fn an_open_watch_works_although_nothing_happens() {
    let mut scenario = Scenario::following();
    scenario.over(RequestError::Unreachable("refused".to_owned()));
    scenario.wait();
    scenario.next();
    scenario.machine.checked("5").unwrap();
    scenario.next();
    assert_eq!(scenario.notes(), ["failing: cannot be reached: refused"]);
    scenario.opened();
    assert!(scenario.notes().is_empty(), "200 is no success yet");
    assert_eq!(
        scenario.machine.poll_timeout(),
        Some(scenario.now + 5 * SECOND)
    );
    scenario.now += 5 * SECOND;
    assert_eq!(scenario.machine.timed_out(scenario.now), None);
    assert_eq!(scenario.notes(), ["well after 1"]);
    assert_eq!(scenario.silence().0, 60 * SECOND);
}
