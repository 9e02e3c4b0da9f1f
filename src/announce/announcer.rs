//! Brings what the reducer knows in line with the matcher of the active feed.
//!
//! One mechanism catches up, whatever the cause: a pass over the ledger deletes what is no longer
//! wanted, a pass over the live pods announces what is missing. With an empty ledger that is a
//! *full resend*; otherwise it is a *difference* (D3). Both are cursors over slots: they pause at
//! the high mark and go on at the low mark. Meanwhile a change behind the cursor is announced, and
//! one ahead of it as long as there is room: else the cursor will come to it.
//!
//! Wanted is what the active feed has live, and what is *kept* of the feeds before it
//! (`changeover.rs`). Kept pods are announced by a full resend as well, in a pass of their own.

mod catch_up;
mod changeover;

use std::{collections::BTreeSet, time::Instant};

pub use changeover::Changeover;

use catch_up::{Cursor, KeptPods, Sweep};

use super::{
    CatchUp, Epoch, Ledger, Move, Sink, Watermarks, WindowConfig,
    custody::Custody,
    kept::Kept,
    ledger::Unsent,
    resends::{ResendReason, Resends},
    windows::{HandoverWindows, RecentDeletes, Tick},
};
use crate::{
    matcher::{Change, Live, Matcher, Reannounce},
    model::{Seed, Slot, Uid},
};

/// The ledger and the work that is left to do.
#[derive(Debug)]
pub struct Announcer {
    marks: Watermarks,
    config: WindowConfig,
    origin: Instant,
    ledger: Ledger,
    epoch: Epoch,
    phase: Phase,
    /// When another feed became the active one.
    feed_changed_at: Option<Tick>,
    /// What stays announced although the active feed has it not live.
    kept: Kept,
    /// Whether it stays.
    custody: Custody,
    /// Kept pods that the active feed turned out to have, so far.
    confirmed: u64,
    /// Wanted pods that nobody vouches for: see [`Self::vouched`]. `None` before any feed was
    /// trusted: then all are vouched for.
    unvouched: Option<BTreeSet<Uid>>,
    /// What came to be vouched for, or is no longer, if that is noted.
    moves: Option<Vec<Move>>,
    /// Counts the hand-overs between streams, around and around.
    stream: u16,
    /// The mark of what the active feed has not confirmed: the stream before, if the last change of
    /// feed was such a hand-over; else [`Self::stream`], as there is nothing to confirm.
    unconfirmed: u16,
    /// Pod data was announced, or would have been, since the last resync (protocol 14.2).
    dirty: bool,
    windows: HandoverWindows,
    recent_deletes: RecentDeletes,
    resends: Resends,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// There is no connection.
    Offline,
    /// Every change is announced as it comes.
    Streaming,
    /// The sink was full: nothing is announced until it has drained, then everything again (D6).
    OwesResync,
    /// Wanted and announced pods are brought in line.
    CatchingUp(Sweep),
}

/// Slots looked at in one [`Announcer::resume`], so that the caller can do other things between.
const STEPS: usize = 2048;

impl Announcer {
    /// Nothing announced, no connection. Times are measured from `origin`. Pods are announced once:
    /// see [`Self::reannouncing`].
    pub fn new(marks: Watermarks, config: WindowConfig, origin: Instant) -> Self {
        Self {
            marks: marks.in_order(),
            config,
            origin,
            ledger: Ledger::new(Reannounce::Never, Seed::FIXED),
            epoch: Epoch::default(),
            phase: Phase::Offline,
            feed_changed_at: None,
            kept: Kept::new(Seed::FIXED),
            custody: Custody::Settled,
            confirmed: 0,
            unvouched: None,
            moves: None,
            stream: 0,
            unconfirmed: 0,
            dirty: false,
            windows: HandoverWindows::default(),
            recent_deletes: RecentDeletes::new(config.handover),
            resends: Resends::default(),
        }
    }

    /// Nothing announced, no connection, what is done when an announced pod changes (D14), and the
    /// seed of the ledger's hashes.
    #[must_use]
    pub fn reannouncing(self, reannounce: Reannounce, seed: Seed) -> Self {
        Self {
            ledger: Ledger::new(reannounce, seed),
            kept: Kept::new(seed),
            ..self
        }
    }

    /// What was announced on the present connection.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The number of the present snapshot.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// How often everything had to be sent again, and why.
    pub fn resends(&self) -> Resends {
        self.resends
    }

    /// Whether pod data was announced, or would have been, since the last resync.
    pub fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Until when this pod is left as it is after a change of feed: announced though it is not
    /// live, or not announced though it is (D3).
    pub fn settles_at(&self, uid: &Uid) -> Option<Instant> {
        Some(self.windows.until(uid)?.instant(self.origin))
    }

    /// Whether everything wanted is announced and nothing is due.
    pub fn is_settled(&self) -> bool {
        self.phase == Phase::Streaming && self.windows.is_empty() && self.kept.is_empty()
    }

    /// Whether a change that comes now may not be announced at once.
    pub fn is_behind(&self) -> bool {
        match self.phase {
            Phase::Offline | Phase::OwesResync => true,
            Phase::Streaming => false,
            Phase::CatchingUp(Sweep { paused, again, .. }) => paused || again,
        }
    }

    /// A new connection: the reducer knows nothing. The live set is announced by [`Self::resume`].
    pub fn connected(&mut self) {
        self.dirty = false;
        self.resends.count(ResendReason::Connection);
        self.replay();
    }

    /// The connection is gone, and the reducer's state with it.
    pub fn disconnected(&mut self) {
        self.clear_ledger();
        self.phase = Phase::Offline;
    }

    /// Many changes may follow, as of a list. Until [`Self::resume`] they are announced like the
    /// others, but what finds no room is a matter of another pass and not of a resync: the
    /// difference stays known.
    pub fn begin_bulk(&mut self) {
        if self.phase == Phase::Streaming {
            self.catch_up_from(Cursor::Kept(Slot::PAST_ALL, 0), KeptPods::Announced);
        }
    }

    /// The next that is announced is `pod_resync` and the whole live set (`--relist-resync`).
    /// Nothing if there is no connection, which begins with the whole live set anyway.
    pub fn owe_resync(&mut self) {
        self.owe_resync_for(ResendReason::List);
    }

    fn owe_resync_for(&mut self, reason: ResendReason) {
        match self.phase {
            Phase::Offline | Phase::OwesResync => {}
            Phase::Streaming | Phase::CatchingUp(_) => {
                self.epoch.0 += 1;
                self.phase = Phase::OwesResync;
                self.resends.count(reason);
            }
        }
    }

    /// The active feed has changed. `repeat_containers`: see [`Policy`](crate::matcher::Policy).
    pub fn change(
        &mut self,
        change: Change<'_>,
        repeat_containers: bool,
        now: Instant,
        sink: &mut impl Sink,
    ) {
        let (live, repeat) = match change {
            Change::Announced(live) => {
                self.dirty = true;
                self.comes_live(&live.pod.uid);
                (live, false)
            }
            Change::Reannounced(live) => {
                self.dirty = true;
                let entry = self.ledger.find(&live.pod.uid);
                if let Some(entry) = entry.and_then(|slot| self.ledger.get_mut(slot)) {
                    entry.announce_again();
                }
                (live, false)
            }
            Change::Updated(live) => {
                self.dirty |= !live.pod.containers.is_empty();
                (live, repeat_containers)
            }
            Change::Gone {
                uid,
                slot,
                was_live,
            } => {
                self.dirty |= was_live;
                self.is_gone(uid, was_live);
                return self.gone(uid, slot, was_live, now, sink);
            }
            // The call that overflowed ends; there is nothing to send.
            Change::Overflow => return,
        };
        self.windows.remove(&live.pod.uid);
        self.restart_pod(live.slot);
        if self.has_passed(live.slot) {
            let entry = self.send(live, repeat, 0, self.marks.limit, now, sink);
            if entry.is_err() {
                self.on_backpressure();
            }
        } else if self.can_overtake() {
            // What finds no room now is still ahead of the cursor.
            let _ = self.send(live, repeat, 0, self.marks.high, now, sink);
        }
    }

    /// Goes on with what is left to send: a full resend, a difference or a resync that is due.
    pub fn resume(
        &mut self,
        active: Option<&Matcher>,
        now: Instant,
        sink: &mut impl Sink,
    ) -> CatchUp {
        for _ in 0..STEPS {
            let waits = match &self.phase {
                Phase::OwesResync => true,
                Phase::CatchingUp(sweep) => sweep.paused,
                Phase::Offline | Phase::Streaming => return CatchUp::Done,
            };
            if waits && sink.queued() > self.marks.low {
                return CatchUp::Full;
            }
            match self.phase {
                Phase::Offline | Phase::Streaming => return CatchUp::Done,
                Phase::OwesResync => self.resync(sink),
                Phase::CatchingUp(Sweep { at, .. }) => self.sweep(at, active, now, sink),
            }
        }
        CatchUp::More
    }

    /// When [`Self::handle_timeout`] is due next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let due = [self.windows.first(), self.recent_deletes.poll_timeout()];
        let first = due.into_iter().flatten().min()?;
        Some(first.instant(self.origin))
    }

    /// Ends the windows that are over: what differs from the active feed then is announced.
    pub fn handle_timeout(&mut self, now: Instant) {
        let tick = self.tick(now);
        self.recent_deletes.expire(tick);
        if self.windows.expire(tick) {
            self.sweep_again();
        }
    }

    /// Whether a change in this slot must be announced now, because no cursor or resync will.
    fn has_passed(&self, changed: Slot) -> bool {
        match self.phase {
            Phase::Offline | Phase::OwesResync => false,
            Phase::Streaming => true,
            Phase::CatchingUp(sweep) => match sweep.at {
                Cursor::Ledger(_) => false,
                Cursor::Live(cursor, _) => changed < cursor,
                Cursor::Kept(..) => true,
            },
        }
    }

    /// Whether a change ahead of the cursor may be announced before what the cursor comes to first:
    /// a pass over many pods of which there is little to send takes longer than that.
    fn can_overtake(&self) -> bool {
        match self.phase {
            Phase::CatchingUp(Sweep { at, paused, .. }) => {
                !paused && matches!(at, Cursor::Ledger(_) | Cursor::Live(..))
            }
            Phase::Offline | Phase::Streaming | Phase::OwesResync => false,
        }
    }

    fn gone(
        &mut self,
        uid: &Uid,
        slot: Option<Slot>,
        was_live: bool,
        now: Instant,
        sink: &mut impl Sink,
    ) {
        self.windows.remove(uid);
        if let Some(slot) = slot {
            self.restart_pod(slot);
        }
        let entry = self.ledger.find(uid);
        if was_live || entry.is_some() {
            let tick = self.tick(now);
            self.recent_deletes.push(uid, tick);
        }
        match (entry, self.phase) {
            (None, _) | (_, Phase::Offline | Phase::OwesResync) => {}
            (Some(entry), _) if sink.queued() >= self.marks.limit => {
                if let Some(entry) = self.ledger.get_mut(entry) {
                    // It is not kept either: as if it had been touched at the beginning of time.
                    entry.touched = Tick::default();
                }
                self.on_backpressure();
            }
            (Some(entry), Phase::Streaming | Phase::CatchingUp(_)) => {
                self.ledger.remove(entry);
                sink.pod_delete(uid);
            }
        }
    }

    /// Announces the pod if anything of it is unsent, then its containers from `from` on: all of
    /// them if its announcement is new or with `repeat`, else those that are not announced.
    ///
    /// # Errors
    /// The index of the first container left out when the sink reached `limit`.
    fn send(
        &mut self,
        live: Live<'_>,
        repeat: bool,
        from: usize,
        limit: usize,
        now: Instant,
        sink: &mut impl Sink,
    ) -> Result<(), usize> {
        let uid = &live.pod.uid;
        let tick = self.tick(now);
        let prints = self.ledger.prints();
        let has_room = sink.queued() < limit;
        let slot = if has_room {
            Some(self.ledger.find_or_enter(uid, self.stream))
        } else {
            self.ledger.find(uid)
        };
        let Some(entry) = slot.and_then(|slot| self.ledger.get_mut(slot)) else {
            return Err(0);
        };
        let compare = entry.stream != self.stream;
        let (unsent, before) = (entry.unsent(&live, prints, compare), entry.containers());
        if unsent != Unsent::Nothing {
            if !has_room {
                return Err(0);
            }
            if unsent == Unsent::LostContainer {
                sink.pod_delete(uid);
            }
            match live.owner {
                Some(owner) => sink.pod_new(live.pod, owner),
                None => sink.pod_new_no_owner(live.pod),
            }
            entry.announce(&live, self.epoch, unsent, prints);
            self.dirty = true;
        }
        entry.touched = tick;
        entry.stream = self.stream;
        let (repeat, from) = match unsent {
            Unsent::Nothing | Unsent::Owner => (repeat, from),
            Unsent::Pod | Unsent::Fields | Unsent::LostContainer => (true, 0),
        };
        let mut left_out = None;
        for (index, container) in prints.announceable(&live.pod.containers) {
            let has_room = index < from
                || entry.send_container(container, prints, repeat, || {
                    let has_room = sink.queued() < limit;
                    if has_room {
                        sink.pod_container(uid, container);
                    }
                    has_room
                });
            if !has_room {
                left_out = Some(index);
                break;
            }
        }
        let now = entry.containers();
        self.ledger.recount(before, now);
        left_out.map_or(Ok(()), Err)
    }

    /// Outside of a catch-up a resync is due (D6). Within one the difference is known:
    /// another pass will find it.
    fn on_backpressure(&mut self) {
        match &mut self.phase {
            Phase::Offline | Phase::OwesResync => {}
            Phase::Streaming => self.owe_resync_for(ResendReason::BufferFull),
            Phase::CatchingUp(sweep) => sweep.again = true,
        }
    }

    fn tick(&self, now: Instant) -> Tick {
        Tick::of(now, self.origin)
    }
}
