//! A sweep brings what was announced in line with what is wanted: a cursor over the ledger, then
//! over the live pods of the active feed, then over the kept pods.
//!
//! Invariants: it pauses at the high mark and goes on at the low mark; a change behind the cursor
//! that finds no room makes it begin again.

use std::time::Instant;

use super::{Announcer, Phase};
use crate::{
    announce::{Sink, kept::Kept, windows::Tick},
    matcher::{Live, Matcher, PodStatus},
    model::{Slot, Uid},
};

/// A catch-up that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sweep {
    pub(super) at: Cursor,
    /// It has met the high mark and waits for the low mark.
    pub(super) paused: bool,
    /// Something behind the cursor could not be announced: another sweep is needed.
    pub(super) again: bool,
    pub(super) kept: KeptPods,
}

/// Whether all kept pods are in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeptPods {
    /// They are.
    Announced,
    /// Some may not be: the sweep announces those.
    Left,
}

/// How far a sweep is. Everything before the slot is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cursor {
    /// First, announced pods that are no longer wanted are deleted.
    Ledger(Slot),
    /// Second, live pods are announced; the one in this slot from this container on.
    Live(Slot, usize),
    /// Last, the same for the kept pods.
    Kept(Slot, usize),
}

impl Announcer {
    /// Looks at one pod. The sweep goes on from there, or pauses.
    pub(super) fn sweep(
        &mut self,
        at: Cursor,
        active: Option<&Matcher>,
        now: Instant,
        sink: &mut impl Sink,
    ) {
        match at {
            Cursor::Ledger(cursor) => self.sweep_ledger(cursor, active, now, sink),
            Cursor::Kept(cursor, container) => self.sweep_kept(cursor, container, now, sink),
            Cursor::Live(cursor, container) => {
                let next = active.and_then(|matcher| {
                    let slot = matcher.pod_at_or_after(cursor)?;
                    Some((slot, matcher.live_at(slot)))
                });
                match next {
                    Some((slot, live)) => {
                        let container = if slot == cursor { container } else { 0 };
                        self.sweep_live(slot, live, container, now, sink);
                    }
                    None => self.go_on_at(Cursor::Kept(self.first_kept(), 0)),
                }
            }
        }
    }

    /// The slot of the first kept pod that may not be announced.
    fn first_kept(&self) -> Slot {
        match self.phase {
            Phase::CatchingUp(Sweep {
                kept: KeptPods::Left,
                ..
            }) => Slot::FIRST,
            Phase::Offline | Phase::Streaming | Phase::OwesResync | Phase::CatchingUp(_) => {
                Slot::PAST_ALL
            }
        }
    }

    fn go_on_at(&mut self, at: Cursor) {
        self.move_to(at, false);
    }

    /// There is no room: the sweep goes on here at the low mark.
    fn pause_at(&mut self, at: Cursor) {
        self.move_to(at, true);
    }

    fn move_to(&mut self, at: Cursor, paused: bool) {
        if let Phase::CatchingUp(sweep) = &mut self.phase {
            (sweep.at, sweep.paused) = (at, paused);
        }
    }

    fn sweep_ledger(
        &mut self,
        cursor: Slot,
        active: Option<&Matcher>,
        now: Instant,
        sink: &mut impl Sink,
    ) {
        let Some((slot, entry)) = self.ledger.at_or_after(cursor) else {
            self.custody = self.custody.swept();
            self.let_go_of_kept();
            self.go_on_at(Cursor::Live(Slot::FIRST, 0));
            return;
        };
        let (uid, touched) = (entry.uid.clone(), entry.touched);
        let standing = active.map_or(PodStatus::Unknown, |matcher| matcher.standing(&uid));
        if standing != PodStatus::Live && !self.stays(&uid, touched, standing, now) {
            if sink.queued() >= self.marks.high {
                self.pause_at(Cursor::Ledger(slot));
                return;
            }
            self.ledger.remove(slot);
            sink.pod_delete(&uid);
            self.lets_go(&uid);
        }
        self.go_on_at(Cursor::Ledger(slot.next()));
    }

    /// Whether this announced pod stays announced for now, although it is not live: only a kept one
    /// does.
    fn stays(&mut self, uid: &Uid, touched: Tick, standing: PodStatus, now: Instant) -> bool {
        self.kept.contains(uid)
            && (self.custody.holds() || self.is_kept_for_now(uid, touched, standing, now))
    }

    /// Whether this kept pod stays announced for a while. A pod that came to
    /// wait for its owner or address while it was kept is kept as those are that did.
    fn is_kept_for_now(
        &mut self,
        uid: &Uid,
        touched: Tick,
        standing: PodStatus,
        now: Instant,
    ) -> bool {
        if self.windows.contains(uid) {
            return true;
        }
        let (since, window) = match standing {
            PodStatus::Waiting => (self.feed_changed_at, self.config.owner_wait),
            PodStatus::NoAddress => (self.feed_changed_at, self.config.handover),
            PodStatus::Unknown if self.custody.has_windows_for_unknown() => {
                (Some(touched), self.config.handover)
            }
            PodStatus::Unknown | PodStatus::Live => return false,
        };
        let until = since.map(|since| since.after(window));
        let Some(until) = until.filter(|until| *until > self.tick(now)) else {
            return false;
        };
        self.windows.insert(uid.clone(), until);
        true
    }

    fn sweep_live(
        &mut self,
        slot: Slot,
        live: Option<Live<'_>>,
        container: usize,
        now: Instant,
        sink: &mut impl Sink,
    ) {
        if let Some(live) = live {
            let uid = &live.pod.uid;
            let withheld = self.windows.contains(uid) && self.ledger.find(uid).is_none();
            if !withheld {
                let limit = self.marks.high;
                if let Err(container) = self.send(live, false, container, limit, now, sink) {
                    self.pause_at(Cursor::Live(slot, container));
                    return;
                }
            }
        }
        self.go_on_at(Cursor::Live(slot.next(), 0));
    }

    fn sweep_kept(&mut self, cursor: Slot, container: usize, now: Instant, sink: &mut impl Sink) {
        // Taken out for the call that needs it along with all the rest, and changes none of it.
        let none = Kept::new(self.ledger.seed());
        let kept = std::mem::replace(&mut self.kept, none);
        match kept.at_or_after(cursor) {
            None => self.end_sweep(),
            Some(live) => {
                let uid = &live.pod.uid;
                let from = if live.slot == cursor { container } else { 0 };
                let before = self.ledger.get(uid).map(|entry| entry.touched);
                self.mark(uid, self.stream, None);
                let sent = self.send(live, false, from, self.marks.high, now, sink);
                // The feed that is active has not confirmed it. What was known of it before the
                // connection was lost is not: it counts as touched now.
                self.mark(uid, self.unconfirmed, before);
                match sent {
                    Ok(()) => self.go_on_at(Cursor::Kept(live.slot.next(), 0)),
                    Err(container) => self.pause_at(Cursor::Kept(live.slot, container)),
                }
            }
        }
        self.kept = kept;
    }

    pub(super) fn end_sweep(&mut self) {
        match self.phase {
            Phase::CatchingUp(Sweep { again: true, .. }) => {
                self.catch_up_from(Cursor::Ledger(Slot::FIRST), KeptPods::Announced);
            }
            Phase::CatchingUp(_) => self.phase = Phase::Streaming,
            Phase::Offline | Phase::Streaming | Phase::OwesResync => {}
        }
    }

    pub(super) fn sweep_again(&mut self) {
        match &mut self.phase {
            Phase::Offline | Phase::OwesResync => {}
            Phase::Streaming => {
                self.catch_up_from(Cursor::Ledger(Slot::FIRST), KeptPods::Announced);
            }
            Phase::CatchingUp(sweep) => sweep.again = true,
        }
    }

    pub(super) fn catch_up_from(&mut self, at: Cursor, kept: KeptPods) {
        self.phase = Phase::CatchingUp(Sweep {
            at,
            paused: false,
            again: false,
            kept,
        });
    }

    /// Sends `pod_resync`; everything is to be announced again.
    pub(super) fn resync(&mut self, sink: &mut impl Sink) {
        sink.pod_resync(self.epoch);
        self.replay();
    }

    /// The reducer knows nothing: everything is to be announced.
    pub(super) fn replay(&mut self) {
        self.clear_ledger();
        self.catch_up_from(Cursor::Live(Slot::FIRST, 0), KeptPods::Left);
    }

    pub(super) fn clear_ledger(&mut self) {
        self.ledger.clear();
        self.windows.clear();
        self.custody = self.custody.swept();
        self.let_go_of_kept();
    }

    /// The pod whose sending was interrupted has changed: all its containers count again.
    pub(super) fn restart_pod(&mut self, changed: Slot) {
        if let Phase::CatchingUp(sweep) = &mut self.phase
            && let Cursor::Live(slot, container) = &mut sweep.at
            && *slot == changed
        {
            *container = 0;
        }
    }
}
