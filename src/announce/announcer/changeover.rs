//! What a change of the active feed means for what is announced (D3, D4).
//!
//! Invariants: what was announced stays announced, on this connection and on a later one, until
//! the new feed has it, deletes it, or is trusted to know all there is ([`Announcer::hold`]); a
//! change of feed sends no `pod_resync` unless the legacy promised one ([`Announcer::new_stream`]).

use std::{collections::BTreeSet, time::Instant};

use super::{Announcer, Cursor, Custody, KeptPods, Phase};
use crate::{
    announce::{Move, ResendReason, Sink, windows::Tick},
    matcher::{Finder, Matcher},
    model::{Slot, Uid},
};

/// One feed after another.
#[derive(Clone, Copy, Debug)]
pub struct Changeover<'a> {
    /// What the feed before knows; `None` if there was none.
    pub old: Option<&'a Matcher>,
    /// What the feed that is active from now on knows.
    pub new: &'a Matcher,
    /// Whether what it does not know stays until [`Announcer::hold`] says otherwise.
    pub holds: bool,
    /// Whether both are streams that hand over without a gap: what was announced is compared with
    /// the new one, pod by pod, and sent again where it differs, whatever D14's setting is.
    pub compares: bool,
}

impl Announcer {
    /// Whether what the active feed does not have stays announced for now.
    pub fn holds(&self) -> bool {
        self.custody.holds()
    }

    /// How many pods stay announced that the active feed does not have live.
    pub fn kept(&self) -> usize {
        self.kept.len()
    }

    /// Whether this pod stays announced although the active feed does not have it live.
    pub fn keeps(&self, uid: &Uid) -> bool {
        self.kept.contains(uid)
    }

    /// Of the kept pods, how many are vouched for.
    pub fn kept_vouched(&self) -> usize {
        self.kept.vouched()
    }

    /// Given how many pods are live in the active feed, for how many announced pods somebody
    /// vouches: what a feed sends before it is trusted is announced, but counts for nothing when
    /// others are judged by what they would take away. Before any feed was trusted, all count.
    pub fn vouched(&self, live: usize) -> usize {
        (live + self.kept.len()).saturating_sub(self.unvouched.as_ref().map_or(0, BTreeSet::len))
    }

    /// Whether somebody vouches for this pod, if it is announced.
    pub fn is_vouched(&self, uid: &Uid) -> bool {
        let unvouched = self.unvouched.as_ref();
        unvouched.is_none_or(|unvouched| unvouched.is_empty() || !unvouched.contains(uid))
    }

    /// How many kept pods the active feeds turned out to have, so far.
    pub fn confirmed(&self) -> u64 {
        self.confirmed
    }

    /// Notes from now on what comes to be vouched for and what is no longer, for
    /// [`Self::moves`]; or does no longer.
    pub fn note_moves(&mut self, note: bool) {
        match note {
            true => drop(self.moves.get_or_insert_default()),
            false => self.moves = None,
        }
    }

    /// What was noted since this was asked last.
    pub fn moves(&mut self) -> Vec<Move> {
        self.moves.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// A new `Collect` stream is active, with nothing known yet (D3, D4): the legacy promised
    /// `pod_resync` if pod data was announced before.
    pub fn new_stream(&mut self, sink: &mut impl Sink) {
        self.epoch.0 += 1;
        self.drop_kept();
        let was_dirty = std::mem::take(&mut self.dirty);
        match self.phase {
            // The resync that is due will serve for this one, too.
            Phase::Offline | Phase::OwesResync => {}
            Phase::Streaming | Phase::CatchingUp(_) => {
                if !was_dirty {
                    // Nothing was announced, so there is nothing to take back.
                    self.replay();
                    return;
                }
                self.resends.count(ResendReason::Stream);
                if sink.queued() < self.marks.limit {
                    self.resync(sink);
                } else {
                    self.phase = Phase::OwesResync;
                }
            }
        }
    }

    /// A new epoch begins without a message (D3, D4): what is announced from now on is of it.
    pub fn new_epoch(&mut self) {
        self.epoch.0 += 1;
    }

    /// Another feed is active: the difference to it is announced by [`Self::resume`].
    pub fn change_feed(&mut self, change: Changeover<'_>, now: Instant) {
        let Changeover { old, new, .. } = change;
        self.keep(old, new, change.holds);
        if !change.holds {
            self.trust();
        }
        let before = self.stream;
        self.stream = before.wrapping_add(u16::from(change.compares));
        self.unconfirmed = if change.compares { before } else { self.stream };
        let tick = self.tick(now);
        self.feed_changed_at = Some(tick);
        let is_connected = !matches!(self.phase, Phase::Offline | Phase::OwesResync);
        self.custody = Custody::of_new_feed(!change.holds, is_connected);
        if !is_connected {
            self.let_go_of_kept();
            return;
        }
        if let Some(old) = old.filter(|_| !change.compares) {
            self.spare_containers(old, new);
        }
        let settled_at = tick.after(self.config.handover);
        self.windows.clear();
        for uid in self.recent_deletes.within(tick) {
            if self.ledger.get(uid).is_none() {
                self.windows.insert(uid.clone(), settled_at);
            }
        }
        let (at, kept) = match self.phase == Phase::Streaming {
            // There is nothing to delete.
            true if change.holds => (Cursor::Live(Slot::FIRST, 0), KeptPods::Announced),
            true => (Cursor::Ledger(Slot::FIRST), KeptPods::Announced),
            false => (Cursor::Ledger(Slot::FIRST), KeptPods::Left),
        };
        self.catch_up_from(at, kept);
    }

    /// Whether kept pods stay for now. If not, the difference deletes them, each when its window
    /// is over (D3).
    pub fn hold(&mut self, holds: bool) {
        let before = self.custody;
        self.custody = match holds {
            true => before.held(),
            false => before.released(),
        };
        if before.holds() && !holds {
            self.trust();
            match self.phase {
                Phase::Offline | Phase::OwesResync => self.let_go_of_kept(),
                Phase::Streaming | Phase::CatchingUp(_) => {
                    self.sweep_again();
                }
            }
        }
    }

    /// Nothing is kept any longer: the connection or the legacy's resync begins with nothing.
    pub fn drop_kept(&mut self) {
        self.custody = self.custody.released();
        self.windows.clear();
        self.let_go_of_kept();
        if let Some(unvouched) = &mut self.unvouched {
            unvouched.clear();
        }
    }

    /// Whatever the active feed has is vouched for from now on.
    fn trust(&mut self) {
        // Those that are kept are on their way out.
        let (leaving, vouched): (BTreeSet<_>, BTreeSet<_>) = self
            .unvouched
            .take()
            .unwrap_or_default()
            .into_iter()
            .partition(|uid| self.kept.contains(uid));
        self.unvouched = Some(leaving);
        for uid in vouched {
            self.note(uid, true);
        }
    }

    /// Keeps what the old feed has live and the new one has not.
    fn keep(&mut self, old: Option<&Matcher>, new: &Matcher, holds: bool) {
        let mut in_both = 0;
        for (_, pod, had) in new.live_alongside(old) {
            in_both += usize::from(had);
            if !self.kept.remove(&pod.uid) && !had {
                self.adds(&pod.uid, holds);
            }
        }
        // Where the new one lacks nothing, nobody looks for what that is.
        let old = old.filter(|old| in_both < old.counts().live);
        let Some(old) = old else { return };
        let lacking = old.live_alongside(Some(new)).filter(|(_, _, has)| !has);
        for live in lacking.filter_map(|(slot, ..)| old.live_at(slot)) {
            let vouched = self.is_vouched(&live.pod.uid);
            self.kept.insert(live, vouched);
        }
    }

    /// Of the kept pods those stay that wait for the end of their window, unless all do.
    pub(super) fn let_go_of_kept(&mut self) {
        if self.custody.holds() || self.kept.is_empty() {
            return;
        }
        for uid in self.kept.without(|uid| self.windows.contains(uid)) {
            self.lets_go(&uid);
        }
    }

    /// The active feed has this pod live from now on.
    pub(super) fn comes_live(&mut self, uid: &Uid) {
        if self.kept.remove(uid) {
            self.confirmed += 1;
        } else {
            self.adds(uid, self.custody.holds());
        }
    }

    /// The active feed says that this pod is gone.
    pub(super) fn is_gone(&mut self, uid: &Uid, was_live: bool) {
        if self.kept.remove(uid) || was_live {
            self.is_unwanted(uid);
        }
    }

    /// This pod is kept no longer, if it was.
    pub(super) fn lets_go(&mut self, uid: &Uid) {
        if self.kept.remove(uid) {
            self.is_unwanted(uid);
        }
    }

    /// A pod is wanted that was not before.
    fn adds(&mut self, uid: &Uid, holds: bool) {
        match self.unvouched.as_mut().filter(|_| holds) {
            Some(unvouched) => drop(unvouched.insert(uid.clone())),
            None if self.moves.is_some() => self.note(uid.clone(), true),
            None => {}
        }
    }

    /// A pod is wanted no longer.
    fn is_unwanted(&mut self, uid: &Uid) {
        let unvouched = self.unvouched.as_mut();
        let was_vouched = !unvouched.is_some_and(|unvouched| unvouched.remove(uid));
        if was_vouched && self.moves.is_some() {
            self.note(uid.clone(), false);
        }
    }

    fn note(&mut self, uid: Uid, is_in: bool) {
        if let Some(moves) = &mut self.moves {
            moves.push(Move { uid, is_in });
        }
    }

    /// What the source of the `new` feed does not know of is not lost.
    fn spare_containers(&mut self, old: &Matcher, new: &Matcher) {
        let prints = self.ledger.prints();
        let (mut old, mut new) = (Finder::new(old), Finder::new(new));
        for entry in self.ledger.iter_mut() {
            if let Some(before) = old.live(&entry.uid) {
                let uid = entry.uid.clone();
                entry.spare(before, || new.live(&uid).map(|now| &**now), prints);
            }
        }
    }

    /// Notes by which stream an announced pod is confirmed, and when it was touched.
    pub(super) fn mark(&mut self, uid: &Uid, stream: u16, touched: Option<Tick>) {
        let slot = self.ledger.find(uid);
        if let Some(entry) = slot.and_then(|slot| self.ledger.get_mut(slot)) {
            entry.stream = stream;
            entry.touched = touched.unwrap_or(entry.touched);
        }
    }
}
