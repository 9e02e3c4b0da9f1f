//! What is worth saying about hand-overs: pods that stay announced though nobody vouches for
//! them, and streams that contradict each other.

use std::{fmt, time::Instant};

use super::Feeds;
use crate::matcher::Generation;

/// Pods stay announced that may be gone: their deletes are pending (D4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Since when.
    pub since: Instant,
    /// Why.
    pub why: Why,
    /// How many pods the active stream does not vouch for.
    pub pods: usize,
}

/// Why deletes are pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The active stream has ended, and no other one has sent anything that counts.
    NoStream,
    /// The active stream has ended, and the others know too little of what is announced.
    NoStreamFits,
    /// The native watches have ended, and no watcher has sent anything that counts.
    NoWatches,
    /// The active feed is not synced yet.
    NotSynced,
    /// The active stream knows too little of what is announced.
    DoesNotFit,
    /// The active stream is synced, but goes on sending pods that it should have sent before.
    StillListing,
}

impl Why {
    /// A fixed name, for labels.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoStream => "no_stream",
            Self::NoStreamFits => "no_stream_fits",
            Self::NoWatches => "no_watches",
            Self::NotSynced => "not_synced",
            Self::DoesNotFit => "does_not_fit",
            Self::StillListing => "still_listing",
        }
    }

    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::NoStream,
        Self::NoStreamFits,
        Self::NoWatches,
        Self::NotSynced,
        Self::DoesNotFit,
        Self::StillListing,
    ];
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoStream => {
                "the legacy watcher's stream has ended, and no other stream has sent anything yet"
            }
            Self::NoStreamFits => {
                "the legacy watcher's stream has ended, and the streams that are open know less than half of the announced pods"
            }
            Self::NoWatches => {
                "the native watches have ended, and no legacy watcher has sent anything yet"
            }
            Self::NotSynced => "the active stream has not sent its first lists completely yet",
            Self::DoesNotFit => "the active stream knows less than half of the announced pods",
            Self::StillListing => "the active stream is still sending its first lists",
        })
    }
}

/// Something that people should hear of, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Another stream is active.
    HandedOver {
        /// Which.
        to: Generation,
        /// Whether its first lists are complete.
        synced: bool,
        /// How many announced pods it does not have.
        kept: usize,
    },
    /// A stream that knows too little is active, because there has been no better one for so long.
    TookOverUnfit {
        /// Which.
        to: Generation,
        /// How many announced pods it does not have.
        lacks: usize,
    },
    /// Deletes have been pending for a while.
    DeletesPending(Pending),
    /// Deletes that were worth a warning are pending no longer.
    DeletesResumed,
    /// Two synced streams share less than half of their pods.
    Disagree {
        /// The active one.
        active: Generation,
        /// The other one.
        other: Generation,
        /// How many pods both have.
        shared: usize,
        /// How many pods the one that has more of them has.
        of: usize,
    },
}

/// What was said of pending deletes, and since when they are.
#[derive(Debug, Default)]
pub(super) struct Episode {
    since: Option<Instant>,
    warned: bool,
}

impl Feeds {
    /// Since when and why deletes are pending, if they are.
    pub fn deletes_pending(&self) -> Option<Pending> {
        let (why, pods) = self.why_pending()?;
        let since = self.pending.since?;
        Some(Pending { since, why, pods })
    }

    /// What is worth saying since this was asked last.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// Notes when deletes begin to be pending, and no longer are.
    pub(super) fn note_pending(&mut self, now: Instant) {
        let pending = self.why_pending();
        let Episode { since, warned } = &mut self.pending;
        match (pending, &since) {
            (None, None) => {}
            (None, Some(_)) => {
                *since = None;
                if std::mem::take(warned) {
                    self.notices.push(Notice::DeletesResumed);
                }
            }
            (Some(_), None) => *since = Some(now),
            (Some((why, pods)), Some(at)) => {
                if !*warned && now.saturating_duration_since(*at) >= self.settings.timeouts.warn {
                    *warned = true;
                    let since = *at;
                    self.notices
                        .push(Notice::DeletesPending(Pending { since, why, pods }));
                }
            }
        }
    }

    /// When a warning is due.
    pub(super) fn warning_due(&self) -> Option<Instant> {
        let Episode { since, warned } = self.pending;
        Some(since.filter(|_| !warned)? + self.settings.timeouts.warn)
    }
}
