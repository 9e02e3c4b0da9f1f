//! When the server is asked for its version: an advice, and no more, before a watch is reopened.
//!
//! A watch from a version that a restored store does not have yet stays silent and looks healthy;
//! only this request shows it. Rules: at most one in [`EACH`]; without the selector, with it only
//! where the plain request was refused; one that was refused, or took longer than [`LONGEST`], is
//! not repeated for [`REST`].

use std::time::{Duration, Instant};

use super::RequestError;

/// At most one in this time.
const EACH: Duration = Duration::from_secs(30);

/// A probe that takes longer is cancelled: the watch must not wait for advice.
pub(super) const LONGEST: Duration = Duration::from_secs(1);

/// What was refused, or slow, rests for so long.
const REST: Duration = Duration::from_secs(600);

/// What is known of the probes of one watch.
#[derive(Debug, Default)]
pub(super) struct Probe {
    /// There is a selector to fall back to.
    has_selector: bool,
    /// No probe before.
    next: Option<Instant>,
    /// No plain one before: it was refused.
    plain: Option<Instant>,
    /// No one with the selector before: it was refused.
    selected: Option<Instant>,
}

impl Probe {
    pub(super) fn new(has_selector: bool) -> Self {
        Self {
            has_selector,
            ..Self::default()
        }
    }

    /// Whether a probe may be made now, and then whether with the selector.
    pub(super) fn due(&self, now: Instant) -> Option<bool> {
        let free = |until: Option<Instant>| until.is_none_or(|until| until <= now);
        if !free(self.next) {
            return None;
        }
        match free(self.plain) {
            true => Some(false),
            false => (self.has_selector && free(self.selected)).then_some(true),
        }
    }

    /// One is made.
    pub(super) fn asked(&mut self, now: Instant) {
        self.next = Some(now + EACH);
    }

    /// It has brought no version.
    pub(super) fn failed(&mut self, selected: bool, end: &RequestError, now: Instant) {
        if matches!(end, RequestError::Silence) {
            self.next = Some(now + REST);
        } else if matches!(end.code(), Some(401 | 403 | 404)) {
            let rests = match selected {
                true => &mut self.selected,
                false => &mut self.plain,
            };
            *rests = Some(now + REST);
        }
    }

    /// It is of no use before: a list could not follow.
    pub(super) fn postpone(&mut self, until: Instant) {
        self.next = self.next.max(Some(until));
    }

    /// The watch itself is refused: what was refused was not the probe alone.
    pub(super) fn forgive(&mut self) {
        (self.plain, self.selected) = (None, None);
    }
}
