//! How often a watch may ask at all.
//!
//! Invariant: on average one request in [`Pace::each`], after a quiet time up to [`BURST`] at once.
//! Pages that follow a page with objects are not counted: each of them is progress.

use std::time::{Duration, Instant};

/// Requests in the time of the slowest retry, on average: ten in a minute by default.
const SHARE: u32 = 5;

/// Requests that may be made at once after a quiet time.
pub(super) const BURST: u32 = 10;

/// The requests of one watch.
#[derive(Debug)]
pub(super) struct Pace {
    /// One request in this time, on average.
    each: Duration,
    /// When the requests so far are worked off, at one in [`Self::each`].
    busy_until: Option<Instant>,
}

impl Pace {
    /// Nothing asked so far.
    pub(super) fn new(slowest_retry: Duration) -> Self {
        Self {
            each: slowest_retry / SHARE,
            busy_until: None,
        }
    }

    /// When the next request may be made; now or later.
    pub(super) fn next(&self, now: Instant) -> Instant {
        self.busy_until
            .and_then(|until| until.checked_sub(self.each * (BURST - 1)))
            .map_or(now, |at| at.max(now))
    }

    /// A request is made.
    pub(super) fn asked(&mut self, now: Instant) {
        let from = self.busy_until.map_or(now, |until| until.max(now));
        self.busy_until = Some(from + self.each);
    }
}
