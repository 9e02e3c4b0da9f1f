//! How much of what is announced a stream knows, counted as things change.
//!
//! *Wanted* are the pods that the reducer shall know: those live in the active feed and the kept
//! ones. Somebody *vouches* for those among them that a trusted feed has had: what another one
//! adds is announced, but must not make it look as if it knew more, nor others as if they knew
//! less. For each standby it is kept up how many vouched pods it has live, so that nobody walks
//! over pods to see whether it fits. Where there is no standby, nothing is counted.

use std::time::Instant;

use super::{Feed, FeedState, Feeds, Handover, Notice, SourceKind};
use crate::{
    announce::Move,
    matcher::{Generation, Matcher, PodStatus},
    model::Uid,
};

/// A stream that would take away fewer announced pods fits in any case.
const FEW: usize = 20;

impl Feeds {
    /// How many pods the reducer shall know.
    pub(super) fn wanted(&self) -> usize {
        self.counts().live + self.announcer.kept()
    }

    /// For how many of them somebody vouches.
    pub(super) fn vouched(&self) -> usize {
        self.announcer.vouched(self.counts().live)
    }

    /// Whether making this stream the active one takes away few of the announced pods, or half of
    /// them at most (D4).
    pub(super) fn fits(&self, generation: Generation, feed: &Feed) -> bool {
        let vouched = self.vouched();
        let lacks = match self.active == Some(generation) {
            true => self.announcer.kept_vouched(),
            false => vouched.saturating_sub(feed.shared),
        };
        lacks < FEW || lacks * 2 <= vouched
    }

    /// Counts for standbys from now on, or no longer.
    pub(super) fn count_for_standbys(&mut self) {
        let counts = self.settings.handover == Handover::Seamless && self.standbys().count() > 0;
        self.announcer.note_moves(counts);
    }

    /// Something has changed in what a standby has live. Returns whether it has got a pod that
    /// it should have had for long: a vouched one that the active feed does not have, or any
    /// vouched one while it does not fit.
    pub(super) fn standby_moved(&mut self, generation: Generation, moves: &[Move]) -> bool {
        let fits = self
            .feeds
            .get(&generation)
            .is_some_and(|feed| self.fits(generation, feed));
        let is_open = self.active.and_then(|active| self.feeds.get(&active));
        let is_open = is_open.is_some_and(|feed| feed.state == FeedState::Open);
        let (mut change, mut comes_late) = (0_isize, false);
        for Move { uid, is_in } in moves {
            if self.is_counted(uid) {
                change += if *is_in { 1 } else { -1 };
                comes_late |= *is_in && (!fits || !is_open || self.announcer.keeps(uid));
            }
        }
        if let Some(feed) = self.feeds.get_mut(&generation) {
            feed.shared = feed.shared.saturating_add_signed(change);
        }
        comes_late
    }

    /// The active feed has become a standby, or is to be counted for another reason.
    pub(super) fn count_overlap(&mut self, generation: Generation) {
        let shared = self.feeds.get(&generation).map(|feed| self.walk(feed));
        if let (Some(feed), Some(shared)) = (self.feeds.get_mut(&generation), shared) {
            feed.shared = shared;
        }
    }

    /// Whether this pod is wanted, and somebody vouches for it.
    fn is_counted(&self, uid: &Uid) -> bool {
        let is_wanted = is_live(self.active(), uid) || self.announcer.keeps(uid);
        is_wanted && self.announcer.is_vouched(uid)
    }

    fn walk(&self, feed: &Feed) -> usize {
        let live = feed.matcher.live_alongside(self.active());
        let counted = live.filter(|(_, pod, is_active)| {
            (*is_active || self.announcer.keeps(&pod.uid)) && self.announcer.is_vouched(&pod.uid)
        });
        counted.count()
    }

    /// Something has changed in what is vouched for.
    pub(super) fn vouched_moved(&mut self) {
        let moves = self.announcer.moves();
        if moves.is_empty() {
            return;
        }
        let active = self.active;
        let standbys = self.feeds.iter_mut().filter(|(generation, feed)| {
            Some(**generation) != active && feed.source == SourceKind::Collect
        });
        for (_, feed) in standbys {
            for Move { uid, is_in } in &moves {
                if is_live(Some(&feed.matcher), uid) {
                    let change = if *is_in { 1 } else { -1 };
                    feed.shared = feed.shared.saturating_add_signed(change);
                }
            }
        }
    }

    /// The open streams that have sent something and are not active.
    pub(super) fn standbys(&self) -> impl Iterator<Item = (Generation, &Feed)> {
        self.candidates()
            .filter(|(generation, _)| self.active != Some(*generation))
    }

    /// The open streams that have sent something, the newest first.
    pub(super) fn candidates(&self) -> impl Iterator<Item = (Generation, &Feed)> {
        let newest_first = self.feeds.iter().rev();
        let feeds = newest_first.map(|(generation, feed)| (*generation, feed));
        feeds.filter(|(_, feed)| {
            feed.source == SourceKind::Collect && feed.state == FeedState::Open && feed.events > 0
        })
    }

    /// How many synced streams share less than half of their pods with the active one, for long
    /// enough to say so.
    pub fn streams_disagreeing(&self) -> usize {
        let disagrees = |feed: &Feed| feed.disagrees;
        self.standbys().filter(|(_, feed)| disagrees(feed)).count()
    }

    /// Looks which synced streams contradict the active one; warns of the first, once.
    pub(super) fn look_at_disagreement(&mut self, now: Instant) {
        let counted = self.clock.read(now);
        let limit = self.settings.timeouts.disagree;
        let active = self.active.and_then(|active| self.feeds.get(&active));
        let judge = active.filter(|feed| {
            let open = feed.source == SourceKind::Collect && feed.state == FeedState::Open;
            open && feed.synced && self.announcer.kept() == 0
        });
        let is_judged = judge.is_some();
        let of_active = judge.map_or(0, |feed| feed.matcher.counts().live);
        let mut first = None;
        for (generation, feed) in &mut self.feeds {
            let is_standby = is_judged
                && Some(*generation) != self.active
                && feed.source == SourceKind::Collect
                && feed.state == FeedState::Open
                && feed.synced;
            let of = of_active.max(feed.matcher.counts().live);
            if !is_standby || feed.shared * 2 >= of {
                (feed.disagrees_since, feed.disagrees) = (None, false);
                continue;
            }
            let since = *feed.disagrees_since.get_or_insert(counted);
            feed.disagrees = counted.saturating_sub(since) >= limit;
            if feed.disagrees && first.is_none() {
                first = Some((*generation, feed.shared, of));
            }
        }
        match (first, self.active) {
            (Some((other, shared, of)), Some(active)) if !self.disagreement_reported => {
                self.disagreement_reported = true;
                self.notices.push(Notice::Disagree {
                    active,
                    other,
                    shared,
                    of,
                });
            }
            (Some(_), _) => {}
            // Between two streams of one watcher nobody knows.
            (None, _) => self.disagreement_reported &= !is_judged,
        }
    }
}

fn is_live(matcher: Option<&Matcher>, uid: &Uid) -> bool {
    matcher.is_some_and(|matcher| matcher.standing(uid) == PodStatus::Live)
}

/// For tests: what is counted, and the same found by walking over all pods.
impl Feeds {
    /// For each standby, how many vouched pods it has live, as counted.
    #[doc(hidden)]
    pub fn counted_overlap(&self) -> Vec<usize> {
        self.standbys().map(|(_, feed)| feed.shared).collect()
    }

    /// The same, by a walk.
    #[doc(hidden)]
    pub fn walked_overlap(&self) -> Vec<usize> {
        self.standbys().map(|(_, feed)| self.walk(feed)).collect()
    }
}
