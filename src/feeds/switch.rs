//! From one source to the other and back, without a blink (D3).
//!
//! Invariants: a switch is announced as a difference, never as a resync, whatever the epoch is.
//! Where there is nobody to switch to, what the reducer knows stays and goes on being kept up.

use std::{fmt, time::Instant};

use super::{Feed, FeedState, Feeds, Handover, SourceKind};
use crate::{announce::Sink, matcher::Generation};

/// What a rollback waits for: until then what the native watches announced stays announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// No stream is open.
    NoWatcher,
    /// The first lists of the stream that would take over are not complete.
    NotSynced,
    /// That stream lacks more than half of what is announced (D4).
    DoesNotFit,
}

impl fmt::Display for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoWatcher => "no legacy watcher is connected",
            Self::NotSynced => "the legacy watcher's stream is not synced yet",
            Self::DoesNotFit => "the legacy watcher knows less than half of what is announced",
        })
    }
}

impl Feeds {
    /// Which source is to be active.
    pub fn active_source(&self) -> SourceKind {
        self.settings.active
    }

    /// The other source is to be active from now on. The difference is announced by
    /// [`Self::resume`]; towards a feed that is not synced, its deletes wait until it is. Towards
    /// streams, the native watches stay announced until one is synced and fits; under
    /// [`Handover::Legacy`] until one is open.
    pub fn switch(&mut self, to: SourceKind, now: Instant) {
        self.settings.active = to;
        let next = match (to, self.settings.handover) {
            (SourceKind::Native, _) => self.native,
            (SourceKind::Collect, Handover::Legacy) => self.lead,
            (SourceKind::Collect, Handover::Seamless) => {
                self.reconsider(now);
                None
            }
        };
        if let Some(next) = next.filter(|next| self.active != Some(*next)) {
            self.change_feed(next, false, now);
        }
        self.run_clock(now);
        self.note_pending(now);
    }

    /// Whether legacy watchers are the active source, but none has been there since the switch.
    pub fn waits_for_stream(&self) -> bool {
        self.settings.active == SourceKind::Collect && self.announces_native()
    }

    /// Streams are the active source, but none of them could take over yet; and why not.
    pub fn waits(&self) -> Option<Waits> {
        if !self.waits_for_stream() {
            return None;
        }
        let is_stream =
            |feed: &Feed| feed.source == SourceKind::Collect && feed.state == FeedState::Open;
        Some(match self.leading() {
            Some((_, lead)) if lead.synced => Waits::DoesNotFit,
            None if !self.feeds.values().any(is_stream) => Waits::NoWatcher,
            Some(_) | None => Waits::NotSynced,
        })
    }

    /// The native watches have ended. What was announced of them stays announced until another feed
    /// takes over.
    pub fn close_native(&mut self, now: Instant) {
        if let Some(native) = self.native {
            self.close(native, now);
            self.native = None;
        }
    }

    /// Whether what is announced comes from the native watches, which may have ended.
    pub(super) fn announces_native(&self) -> bool {
        let active = self.active.and_then(|active| self.feeds.get(&active));
        active.is_some_and(|feed| feed.source == SourceKind::Native)
    }

    /// The first stream since the source was switched: all was announced from the native watches,
    /// so no stream expects a resync, and the difference is known.
    pub(super) fn take_back(&mut self, stream: Generation, now: Instant, sink: &mut impl Sink) {
        self.announcer.new_epoch();
        self.change_feed(stream, false, now);
        self.resume(now, sink);
    }
}
