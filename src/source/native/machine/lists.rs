//! How lists have gone, and when and in which way the next one may be made.
//!
//! Invariants: before a list that follows a list without an event between there is a pause of at
//! least four times what the last one took, and at least the slowest retry (30 s by default), at
//! most 10 min. With an event between, one list may follow at once; on average lists take a fifth
//! of the time even so, those that fail included.
//! A list of more than [`MOST_OBJECTS`] objects has failed. Its pages may follow each other at
//! once for [`LONGEST`], and while they are no shorter than a tenth of what was asked for, but for
//! the first [`SHORT_PAGES`]; after that each is a request like any other.

use std::time::{Duration, Instant};

use super::super::{ListMode, decode::Line};

/// After so many failures in a row the other way to list is tried.
const TRIES: u32 = 2;

/// A page is doubled so often when continue tokens expire.
const DOUBLINGS: u32 = 8;

/// The share of time: a pause is at least so many times what the last list took.
const SHARE: u32 = 4;

/// The longest pause before a list that follows a list without an event between.
const LONGEST: Duration = Duration::from_secs(600);

/// No list has more objects: the store of an API server does not hold so many.
pub(super) const MOST_OBJECTS: usize = 1 << 20;

/// So many pages of a list may follow each other at once, however short they are: there are
/// proxies that leave out of each page what somebody may not see.
const SHORT_PAGES: u32 = 100;

/// How everything is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// As a stream (WatchList).
    Stream,
    /// In pages.
    Pages,
}

/// The lists of one watch.
#[derive(Debug)]
pub(super) struct Lists {
    mode: ListMode,
    page_size: u32,
    /// The shortest pause before a list that follows a list without an event between.
    shortest: Duration,
    /// Objects in a page.
    limit: u32,
    /// How often the page was doubled for this list.
    doubled: u32,
    /// What this watch tries, if its own failures have a say.
    way: Option<Way>,
    /// Lists of this way that failed in a row.
    failed: u32,
    /// Pages of the list that is under way, and where one of them led: the first, second, fourth,
    /// eighth and so on.
    pages: u32,
    led_to: Option<String>,
    /// Objects of the list that is under way, so far.
    objects: usize,
    /// The most of them when a list failed, if none has come to its end since.
    reached: usize,
    /// When the list that is under way began.
    began: Option<Instant>,
    /// A list has ended, at a time that is not known yet.
    ended: bool,
    /// When the last list ended, and how long it took.
    last: Option<(Instant, Duration)>,
    /// How long the last list took, until somebody asks.
    took: Option<Duration>,
    /// When the lists so far have had their share of the time.
    paid: Option<Instant>,
    /// An object came since the last list.
    event: bool,
    /// Lists since the last event.
    without_event: u32,
}

impl Lists {
    pub(super) fn new(mode: ListMode, page_size: u32, shortest: Duration) -> Self {
        let page_size = page_size.max(1);
        Self {
            mode,
            page_size,
            shortest,
            limit: page_size,
            doubled: 0,
            way: None,
            failed: 0,
            pages: 0,
            led_to: None,
            objects: 0,
            reached: 0,
            began: None,
            ended: false,
            last: None,
            took: None,
            paid: None,
            event: false,
            without_event: 0,
        }
    }

    /// Objects in the next page.
    pub(super) fn limit(&self) -> u32 {
        self.limit
    }

    /// How to list. `streams`: whether the server streams lists, if that is known.
    pub(super) fn way(&self, streams: Option<bool>) -> Way {
        match (self.mode, streams, self.way) {
            (ListMode::WatchList, ..) => Way::Stream,
            (ListMode::Pages, ..) | (ListMode::Auto, Some(false), _) => Way::Pages,
            (ListMode::Auto, _, way) => way.unwrap_or(Way::Stream),
        }
    }

    /// Whether both ways are open to this watch.
    pub(super) fn may_choose(&self) -> bool {
        self.mode == ListMode::Auto
    }

    // === what happens ===

    /// A list begins, or begins again.
    pub(super) fn begin(&mut self, now: Instant) {
        self.began = Some(now);
        (self.pages, self.led_to, self.objects) = (0, None, 0);
    }

    /// A page leads to this token. `false`: so did one before it, there is no end.
    pub(super) fn leads_on(&mut self, token: &str) -> bool {
        if self.led_to.as_deref() == Some(token) {
            return false;
        }
        self.pages = self.pages.saturating_add(1);
        if self.pages.is_power_of_two() {
            self.led_to = Some(token.to_owned());
        }
        true
    }

    /// A page had so many objects. Returns whether the list has come further than those that
    /// failed before it.
    pub(super) fn took(&mut self, objects: usize) -> bool {
        self.objects = self.objects.saturating_add(objects);
        let is_further = self.reached == 0 || self.objects > self.reached;
        if is_further {
            self.failed = 0;
        }
        is_further
    }

    /// Whether the list has more objects than any may have.
    pub(super) fn is_endless(&self) -> bool {
        self.objects > MOST_OBJECTS
    }

    /// Whether the next page may follow at once.
    pub(super) fn hurries(&self, now: Instant) -> bool {
        let is_new = |began| now.saturating_duration_since(began) < LONGEST;
        let pages = u64::from(self.pages.saturating_sub(SHORT_PAGES));
        let wanted = pages.saturating_mul(u64::from(self.limit)) / 10;
        self.began.is_none_or(is_new) && self.objects as u64 >= wanted
    }

    /// A request of the list that is under way has failed.
    pub(super) fn falls_short(&mut self) {
        self.reached = self.reached.max(self.objects);
    }

    /// An object was added, changed or deleted: a list that is needed now is no repetition.
    pub(super) fn event(&mut self) {
        self.event = true;
    }

    /// A list has come to its end. When, [`Self::stamp`] says. Returns whether it follows another
    /// one without an event between.
    pub(super) fn done(&mut self) -> bool {
        let is_repeated = self.last.is_some() && !self.event;
        self.failed = 0;
        self.reached = 0;
        self.limit = self.page_size;
        self.doubled = 0;
        self.without_event = match std::mem::take(&mut self.event) {
            true => 0,
            false => self.without_event.saturating_add(1),
        };
        self.ended = true;
        is_repeated
    }

    /// It is this late.
    pub(super) fn stamp(&mut self, now: Instant) {
        if std::mem::take(&mut self.ended) {
            let began = self.began.take().unwrap_or(now);
            let took = now.saturating_duration_since(began);
            self.charge(began, took);
            self.last = Some((now, took));
            self.took = Some(took);
        }
    }

    /// How long the list took that has ended since this was asked last.
    pub(super) fn take_took(&mut self, now: impl FnOnce() -> Instant) -> Option<Duration> {
        if self.ended {
            self.stamp(now());
        }
        self.took.take()
    }

    /// A list has failed after the server had begun to answer. `true`: the other way is next.
    pub(super) fn failed(&mut self, way: Way, streams: Option<bool>) -> bool {
        self.failed += 1;
        if self.failed < TRIES || !self.may_choose() {
            return false;
        }
        self.failed = 0;
        self.way = Some(match way {
            Way::Stream => Way::Pages,
            Way::Pages => Way::Stream,
        });
        self.way(streams) != way
    }

    /// The server has worked in vain since `asked`, or since the list began, which `begins_again`;
    /// until its last word. How long the next attempt has to wait, at `now`: a few are free.
    pub(super) fn in_vain(
        &mut self,
        asked: Instant,
        begins_again: bool,
        last_word: Instant,
        now: Instant,
    ) -> Duration {
        let list = self.began.take_if(|_| begins_again);
        let began = list.unwrap_or(asked);
        let took = last_word.saturating_duration_since(began);
        self.charge(began, took);
        let free = cost(took).saturating_mul(1 + TRIES);
        self.paid
            .and_then(|paid| paid.checked_sub(free))
            .map_or(Duration::ZERO, |at| at.saturating_duration_since(now))
    }

    fn charge(&mut self, began: Instant, took: Duration) {
        let paid = self.paid.map_or(began, |paid| paid.max(began));
        self.paid = Some((paid + cost(took)).min(began + took + LONGEST));
    }

    /// The other way was quicker.
    pub(super) fn prefer_pages(&mut self) {
        self.way = Some(Way::Pages);
    }

    /// A page is too large. No page of this list grows any more.
    pub(super) fn halve(&mut self) {
        self.limit = (self.limit / 2).max(1);
        self.doubled = DOUBLINGS;
    }

    /// A continue token has expired: with larger pages fewer are needed. `false`: they are as
    /// large as they get.
    pub(super) fn double(&mut self) -> bool {
        let grows = self.doubled < DOUBLINGS;
        if grows {
            self.doubled += 1;
            self.limit = self.limit.saturating_mul(2);
        }
        grows
    }

    // === when ===

    /// When the next list may begin, at the earliest; `None`: whenever it is needed.
    pub(super) fn due(&self, jitter: f64) -> Option<Instant> {
        self.due_after(1, jitter)
    }

    /// The same for a list that a server's older version calls for: while it waits the watch is
    /// open, so it may wait longer each time that a list has not helped.
    pub(super) fn due_for_older(&self, jitter: f64) -> Option<Instant> {
        let times = 2_u32.saturating_pow(self.without_event.saturating_sub(1));
        self.due_after(times, jitter)
    }

    fn due_after(&self, times: u32, jitter: f64) -> Option<Instant> {
        let (ended, took) = self.last?;
        let share = self.paid?.checked_sub(cost(took));
        match self.event {
            true => share,
            false => share.max(Some(ended + pause(took, self.shortest, times, jitter))),
        }
    }
}

/// What a list costs of the time: itself, and the time without one.
fn cost(took: Duration) -> Duration {
    took.min(LONGEST).saturating_mul(1 + SHARE)
}

/// At least [`SHARE`] times what the list took, within its bounds.
fn pause(took: Duration, shortest: Duration, times: u32, jitter: f64) -> Duration {
    took.saturating_mul(SHARE)
        .max(shortest)
        .saturating_mul(times)
        .min(LONGEST)
        .mul_f64(1.0 + jitter.clamp(0.0, 1.0) / 2.0)
        .min(LONGEST)
}

/// Whether such a line of a watch is an event of an object.
pub(super) fn is_event<T>(line: &Line<'_, T>) -> bool {
    match line {
        Line::Added { .. } | Line::Modified { .. } | Line::Deleted { .. } => true,
        Line::Unusable { version, .. } => version.is_some(),
        Line::Bookmark { .. } | Line::Error(_) | Line::InvalidJson => false,
    }
}
