//! Streams hand over without a gap (D4): the table of the parent's documentation, in code.

use std::time::{Duration, Instant};

use super::{Feed, FeedState, Feeds, Handover, Notice, SourceKind, pending::Why, view::stream_of};
use crate::{
    announce::{Changeover, Move},
    matcher::Generation,
};

/// What an event of one feed may have changed.
pub(super) struct Heard {
    pub(super) feed: Generation,
    /// It was the first of this feed.
    pub(super) is_first: bool,
    /// The feed was synced before.
    pub(super) was_synced: bool,
    /// The guard rail was met.
    pub(super) overflow: bool,
    /// What this feed, a standby, has live now or no longer.
    pub(super) moves: Vec<Move>,
    /// Kept pods that the active feed had turned out to have before.
    pub(super) confirmed: u64,
}

impl Feeds {
    pub(super) fn is_seamless(&self) -> bool {
        self.settings.handover == Handover::Seamless
    }

    /// After an event. Returns whether another feed is active.
    pub(super) fn heard(&mut self, heard: Heard, now: Instant) -> bool {
        let active = self.active;
        let Heard { feed, .. } = heard;
        let comes_late = !heard.moves.is_empty() && self.standby_moved(feed, &heard.moves);
        self.vouched_moved();
        let counted = self.clock.read(now);
        let (settle, ahead) = (self.settings.windows.handover, self.settings.timeouts.ahead);
        let confirmed = self.announcer.confirmed() != heard.confirmed;
        let (lead, last_of_lead) = self
            .leading()
            .map(|(lead, of)| (lead, of.last_event))
            .unzip();
        let is_active = active == Some(feed);
        if heard.overflow && is_active {
            // As if it had ended.
            self.announcer.hold(true);
        }
        let Some(of) = self.feeds.get_mut(&feed) else {
            return false;
        };
        let synced = of.synced && !heard.was_synced;
        if synced {
            of.synced_at = counted;
        }
        if (synced && !of.has_sent_pods) || ((confirmed || comes_late) && heard.was_synced) {
            // A watcher that lists sends nothing but ADDED until it has sent all there is.
            of.doubted_until = Some(now + settle);
        }
        if lead == Some(feed) {
            self.forget_silence();
        } else if heard.was_synced && of.ahead_since.is_none() {
            let is_ahead = last_of_lead
                .flatten()
                .is_some_and(|last| now >= last + ahead);
            of.ahead_since = is_ahead.then_some(counted);
            self.is_silence_counted |= is_ahead;
        }
        if heard.is_first {
            self.count_for_standbys();
        }
        let is_calm = is_active && !self.announcer.holds();
        if heard.is_first || synced || heard.overflow || !(is_calm || self.is_healthy()) {
            self.reconsider(now);
        }
        self.release(now);
        self.follow_with_readers();
        self.active != active
    }

    /// The active stream has ended, or a standby: whose pods stay announced, and who is next.
    pub(super) fn stream_ended(&mut self, now: Instant) {
        self.count_for_standbys();
        self.reconsider(now);
        self.release(now);
    }

    /// Whatever may have become due.
    pub(super) fn time_passed(&mut self, now: Instant) {
        let counted = self.clock.read(now);
        self.sync_without_pods(counted);
        if self.is_seamless() {
            self.vouched_moved();
            self.look_at_disagreement(now);
            self.reconsider(now);
        }
        self.release(now);
        self.follow_with_readers();
    }

    /// Makes the stream active that shall be, by the table.
    pub(super) fn reconsider(&mut self, now: Instant) {
        if self.is_vacant() {
            let counted = self.clock.read(now);
            self.vacant_since.get_or_insert(counted);
        } else {
            self.vacant_since = None;
        }
        if let Some((next, forced)) = self.choice(now) {
            self.vacant_since = None;
            self.lead = Some(next);
            if self.may_announce_streams() {
                self.hand_over(next, forced, now);
            }
        } else if self.waits_for_stream()
            && let Some((lead, feed)) = self.leading()
            && feed.synced
            && self.fits(lead, feed)
        {
            self.hand_over(lead, false, now);
        }
        self.run_clock(now);
    }

    /// Which stream shall lead from now on, if another one than does, and whether that is for
    /// want of a better one.
    fn choice(&mut self, now: Instant) -> Option<(Generation, bool)> {
        let counted = self.clock.read(now);
        let silence = self.settings.timeouts.silence;
        let leading = self.leading();
        let lead = leading.map(|(lead, _)| lead);
        let is_healthy = leading.is_some_and(|(lead, feed)| feed.synced && self.fits(lead, feed));
        let others = || self.candidates().filter(|(other, _)| Some(*other) != lead);
        let is_long = |since: Option<Duration>| {
            since.is_some_and(|since| counted.saturating_sub(since) >= silence)
        };
        let mut fitting = others().filter(|(other, feed)| {
            let is_next = !is_healthy || is_long(feed.ahead_since);
            is_next && feed.synced && self.fits(*other, feed)
        });
        if let Some((other, _)) = fitting.next() {
            return Some((other, false));
        }
        if lead.is_some() {
            return None;
        }
        let unsynced = others().find(|(_, feed)| !feed.synced);
        if let Some((other, _)) = unsynced {
            return Some((other, false));
        }
        // Nothing is at stake where the native watches are announced.
        let is_due = self.announces_open_native() || is_long(self.vacant_since);
        let (other, _) = others().find(|_| is_due)?;
        Some((other, true))
    }

    /// The stream that is active; while the native watches are, the one that would be.
    pub(super) fn leading(&self) -> Option<(Generation, &Feed)> {
        let of_active = stream_of(self, self.active);
        let lead = match self.announces_open_native() || of_active.is_none() && self.is_shadowed() {
            true => stream_of(self, self.lead),
            false => of_active,
        };
        lead.filter(|(_, feed)| feed.state == FeedState::Open)
    }

    /// Whether the stream that leads needs no other one, but for its silence.
    fn is_healthy(&self) -> bool {
        let healthy = |(lead, feed): (_, &Feed)| feed.synced && self.fits(lead, feed);
        self.leading().is_some_and(healthy) && !self.waits_for_stream()
    }

    /// Whether nobody is active who could announce or delete anything.
    fn is_vacant(&self) -> bool {
        let active = self.active.and_then(|active| self.feeds.get(&active));
        active.is_none_or(|feed| feed.state != FeedState::Open)
    }

    /// Whether the native watches are announced, or shall be.
    fn is_shadowed(&self) -> bool {
        self.settings.active == SourceKind::Native
    }

    pub(super) fn announces_open_native(&self) -> bool {
        let active = self.active.and_then(|active| self.feeds.get(&active));
        active
            .is_some_and(|feed| feed.source == SourceKind::Native && feed.state == FeedState::Open)
    }

    /// The native watches stay announced until a stream is synced and fits.
    fn may_announce_streams(&self) -> bool {
        let (synced, fits) = self.leading_is();
        !self.is_shadowed() && (!self.announces_open_native() || synced && fits)
    }

    fn leading_is(&self) -> (bool, bool) {
        self.leading().map_or((false, false), |(lead, feed)| {
            (feed.synced, self.fits(lead, feed))
        })
    }

    fn hand_over(&mut self, to: Generation, forced: bool, now: Instant) {
        let lacks = self.vouched();
        let lacks = lacks.saturating_sub(self.feeds.get(&to).map_or(0, |feed| feed.shared));
        let is_first = self.active.is_none();
        let between_streams = stream_of(self, self.active).is_some();
        self.change_feed(to, between_streams, now);
        let Some(feed) = self.feeds.get(&to) else {
            return;
        };
        let notice = match forced {
            false if is_first => return,
            true => Notice::TookOverUnfit { to, lacks },
            false => Notice::HandedOver {
                to,
                synced: feed.synced,
                kept: self.announcer.kept(),
            },
        };
        self.notices.push(notice);
    }

    /// Another feed is active from now on. The difference is announced by [`Feeds::resume`].
    pub(super) fn change_feed(&mut self, to: Generation, between_streams: bool, now: Instant) {
        self.vouched_moved();
        let holds = !self.is_trusted(to, now);
        let before = self.active.and_then(|active| self.feeds.get(&active));
        let Some(feed) = self.feeds.get(&to) else {
            return;
        };
        let change = Changeover {
            old: before.map(|feed| &feed.matcher),
            new: &feed.matcher,
            holds,
            compares: between_streams && self.is_seamless(),
        };
        self.announcer.change_feed(change, now);
        let before = self.active;
        self.activate(to);
        self.vouched_moved();
        if let Some(before) = before {
            self.count_overlap(before);
        }
        self.count_for_standbys();
        self.forget_silence();
    }

    /// Deletes what is kept once the active feed is to be trusted.
    pub(super) fn release(&mut self, now: Instant) {
        let trusted = |active| self.is_trusted(active, now);
        if self.announcer.holds() && self.active.is_some_and(trusted) {
            self.announcer.hold(false);
            self.vouched_moved();
        }
    }

    /// Whether what this feed does not know is gone.
    fn is_trusted(&self, generation: Generation, now: Instant) -> bool {
        let Some(feed) = self.feeds.get(&generation) else {
            return false;
        };
        if !feed.synced || feed.state != FeedState::Open {
            return false;
        }
        if !self.is_seamless() || feed.source == SourceKind::Native {
            return true;
        }
        let counted = self.clock.counted();
        let for_long = counted.saturating_sub(feed.synced_at) >= self.settings.timeouts.silence;
        let is_doubted = feed.doubted_until.is_some_and(|until| until > now);
        !is_doubted && (for_long || self.fits(generation, feed))
    }

    /// Since the leading stream is heard, nobody is ahead of it.
    fn forget_silence(&mut self) {
        if std::mem::take(&mut self.is_silence_counted) {
            for feed in self.feeds.values_mut() {
                feed.ahead_since = None;
            }
        }
    }

    /// A stream that sent no pod is synced by time, while nothing is announced (D4).
    fn sync_without_pods(&mut self, counted: Duration) {
        if self.wanted() > 0 {
            return;
        }
        let limit = self.settings.timeouts.no_pods;
        let streams = self.feeds.values_mut().filter(|feed| feed.lacks_pods());
        for feed in streams {
            if counted.saturating_sub(feed.heard_at) >= limit {
                feed.synced = true;
                feed.synced_at = counted;
            }
        }
    }

    /// The clock runs while anything waits for silence.
    pub(super) fn run_clock(&mut self, now: Instant) {
        let nothing = self.wanted() == 0;
        let waits_for_pods = nothing && self.feeds.values().any(Feed::lacks_pods);
        let is_pending = self.announcer.holds() && self.announcer.kept() > 0;
        let waits = is_pending || self.standbys().next().is_some();
        self.clock
            .run(waits_for_pods || self.is_seamless() && waits, now);
    }

    /// When a doubt is over that holds deletes back.
    pub(super) fn doubt_ends(&self) -> Option<Instant> {
        let holds = self.announcer.holds() && self.announcer.kept() > 0;
        let active = self.active.filter(|_| holds)?;
        let feed = self.feeds.get(&active)?;
        feed.doubted_until
            .filter(|_| feed.synced && feed.state == FeedState::Open && self.fits(active, feed))
    }

    /// Why deletes are pending, if they are, and of how many pods.
    pub(super) fn why_pending(&self) -> Option<(Why, usize)> {
        let active = self.active?;
        let feed = self.feeds.get(&active)?;
        if feed.state != FeedState::Open {
            let wanted = self.wanted();
            let unfit = self.is_seamless() && self.standbys().next().is_some();
            let why = match (feed.source, unfit) {
                (_, true) => Why::NoStreamFits,
                (SourceKind::Native, false) => Why::NoWatches,
                (SourceKind::Collect, false) => Why::NoStream,
            };
            return (wanted > 0).then_some((why, wanted));
        }
        let kept = self.announcer.kept();
        if kept == 0 || !self.announcer.holds() {
            return None;
        }
        let why = match feed.source {
            _ if !feed.synced => Why::NotSynced,
            SourceKind::Collect if self.is_seamless() && !self.fits(active, feed) => {
                Why::DoesNotFit
            }
            SourceKind::Collect | SourceKind::Native => Why::StillListing,
        };
        Some((why, kept))
    }
}
