//! Brings what the reducer knows in line with the matcher of the active feed.
//!
//! One mechanism catches up, whatever the cause: a pass over the ledger deletes what is no
//! longer wanted, a pass over the live pods tells what is missing. With an empty ledger that
//! is a *replay*; otherwise it is a *difference* (D3). Both are cursors over slots: they pause
//! at the high mark and go on at the low mark. Meanwhile a change behind the cursor is told, and
//! one ahead of it as long as there is room: else the cursor will come to it.
//!
//! What shall be told is what the active feed has live, and what is *kept* of the feeds before it
//! (`changeover.rs`). Kept pods are told by a replay as well, in a pass of their own.

mod changeover;

pub use changeover::Changeover;

use std::{collections::BTreeSet, time::Instant};

use super::{
    Change, Epoch, Ledger, Live, Marks, Matcher, Reannounce, Resume, Sink, Standing, Windows,
    kept::{Kept, Move},
    ledger::News,
    settling::{Recent, Settling, Tick},
};
use crate::model::{Seed, Slot, Uid};

/// The ledger and the work that is left to do.
#[derive(Debug)]
pub struct Telling {
    marks: Marks,
    windows: Windows,
    origin: Instant,
    ledger: Ledger,
    epoch: Epoch,
    phase: Phase,
    /// The catch-up has met the high mark and waits for the low mark.
    paused: bool,
    /// Something behind the cursor could not be told: another pass is needed.
    again: bool,
    /// When another feed became the active one.
    feed_changed_at: Option<Tick>,
    /// No pass over the ledger has ended since then: told pods that the active feed does not know
    /// are to be carried.
    carries_unknown: bool,
    /// What stays announced although the active feed has it not live.
    kept: Kept,
    /// The kept pods stay until this is over; then the difference deletes them (D4).
    holds: bool,
    /// Kept pods may not all be in the ledger: a pass tells those that are not.
    kept_left: bool,
    /// Kept pods that the active feed turned out to have, so far.
    confirmed: u64,
    /// Wanted pods that nobody vouches for: see [`Self::vouched`].
    unvouched: BTreeSet<Uid>,
    /// A feed has been trusted: what others add is not vouched for.
    ever_trusted: bool,
    /// What came to be vouched for, or is no longer, if that is noted.
    moves: Option<Vec<Move>>,
    /// Counts the hand-overs between streams, around and around.
    stream: u16,
    /// The last change of feed was one.
    compares: bool,
    /// Pod data was told, or would have been, since the last resync (protocol 14.2).
    dirty: bool,
    settling: Settling,
    recently_deleted: Recent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// There is no connection.
    Offline,
    /// Every change is told as it comes.
    Streaming,
    /// The sink was full: nothing is told until it has drained, then everything anew (D6).
    Owing,
    /// Catching up, first pass: the ledger from this slot on is yet to be looked at.
    Deletes(Slot),
    /// Catching up, second pass: the live pods from this slot on are yet to be told,
    /// the one in it from this container on.
    Additions(Slot, usize),
    /// Catching up, last pass: the same for the kept pods.
    Kept(Slot, usize),
}

/// Slots looked at in one [`Telling::resume`], so that the caller can do other things between.
const STEPS: usize = 2048;

impl Telling {
    /// Nothing told, no connection. Times are measured from `origin`. Pods are told once:
    /// see [`Self::reannouncing`].
    pub fn new(marks: Marks, windows: Windows, origin: Instant) -> Self {
        Self {
            marks: marks.in_order(),
            windows,
            origin,
            ledger: Ledger::new(Reannounce::Never, Seed::FIXED),
            epoch: Epoch::default(),
            phase: Phase::Offline,
            paused: false,
            again: false,
            feed_changed_at: None,
            carries_unknown: false,
            kept: Kept::new(Seed::FIXED),
            holds: false,
            kept_left: false,
            confirmed: 0,
            unvouched: BTreeSet::new(),
            ever_trusted: false,
            moves: None,
            stream: 0,
            compares: false,
            dirty: false,
            settling: Settling::default(),
            recently_deleted: Recent::new(windows.settle),
        }
    }

    /// Nothing told, no connection, what is done when a told pod changes (D14), and the seed of
    /// the ledger's hashes.
    #[must_use]
    pub fn reannouncing(self, reannounce: Reannounce, seed: Seed) -> Self {
        Self {
            ledger: Ledger::new(reannounce, seed),
            kept: Kept::new(seed),
            ..self
        }
    }

    /// What was told on the present connection.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The number of the present picture.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Whether pod data was told, or would have been, since the last resync.
    pub fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Until when this pod is left as it is after a change of feed: told though it is not live,
    /// or not told though it is (D3).
    pub fn settles_at(&self, uid: &Uid) -> Option<Instant> {
        Some(self.settling.until(uid)?.instant(self.origin))
    }

    /// Whether everything wanted is told and nothing is owed.
    pub fn is_settled(&self) -> bool {
        self.phase == Phase::Streaming && self.settling.is_empty() && self.kept.is_empty()
    }

    /// A new connection: the reducer knows nothing. The live set is told by [`Self::resume`].
    pub fn connected(&mut self) {
        self.dirty = false;
        self.replay();
    }

    /// The connection is gone, and the reducer's picture with it.
    pub fn disconnected(&mut self) {
        self.forget_told();
        self.catch_up_from(Phase::Offline);
    }

    /// Many changes may follow, as of a list. Until [`Self::resume`] they are told like the
    /// others, but what finds no room is a matter of another pass and not of a resync: the
    /// difference stays known.
    pub fn expect_much(&mut self) {
        if self.phase == Phase::Streaming {
            self.catch_up_from(Phase::Kept(Slot::PAST_ALL, 0));
        }
    }

    /// The next that is told is `pod_resync` and the whole live set (`--relist-resync`).
    /// Nothing if there is no connection, which begins with the whole live set anyway.
    pub fn owe_resync(&mut self) {
        match self.phase {
            Phase::Offline | Phase::Owing => {}
            Phase::Streaming | Phase::Deletes(_) | Phase::Additions(..) | Phase::Kept(..) => {
                self.epoch.0 += 1;
                self.phase = Phase::Owing;
            }
        }
    }

    /// The active feed has changed. `repeat_containers`: see [`super::Policy`].
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
                let told = self.ledger.find(&live.pod.uid);
                if let Some(told) = told.and_then(|slot| self.ledger.get_mut(slot)) {
                    told.announce_anew();
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
            // The call that overflowed ends; there is nothing to tell.
            Change::Overflow => return,
        };
        self.settling.remove(&live.pod.uid);
        self.restart_pod(live.slot);
        if self.has_passed(live.slot) {
            let told = self.tell(live, repeat, 0, self.marks.limit, now, sink);
            if told.is_err() {
                self.out_of_room();
            }
        } else if self.can_overtake() {
            // What finds no room now is still ahead of the cursor.
            let _ = self.tell(live, repeat, 0, self.marks.high, now, sink);
        }
    }

    /// Goes on with what is left to tell: a replay, a difference or an owed resync.
    pub fn resume(
        &mut self,
        active: Option<&Matcher>,
        now: Instant,
        sink: &mut impl Sink,
    ) -> Resume {
        for _ in 0..STEPS {
            let waits = self.paused || self.phase == Phase::Owing;
            if waits && sink.queued() > self.marks.low {
                return Resume::Full;
            }
            self.paused = false;
            match self.phase {
                Phase::Offline | Phase::Streaming => return Resume::Done,
                Phase::Owing => self.resync(sink),
                Phase::Deletes(cursor) => self.look_at_told(cursor, active, now, sink),
                Phase::Additions(cursor, container) => {
                    let next = active.and_then(|matcher| {
                        let slot = matcher.pod_at_or_after(cursor)?;
                        Some((slot, matcher.live_at(slot)))
                    });
                    let Some((slot, live)) = next else {
                        self.phase = match self.kept_left {
                            true => Phase::Kept(Slot::FIRST, 0),
                            false => Phase::Kept(Slot::PAST_ALL, 0),
                        };
                        continue;
                    };
                    let container = if slot == cursor { container } else { 0 };
                    self.look_at_live(slot, live, container, now, sink);
                }
                Phase::Kept(cursor, container) => self.look_at_kept(cursor, container, now, sink),
            }
        }
        Resume::More
    }

    /// When [`Self::handle_timeout`] is due next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let due = [self.settling.first(), self.recently_deleted.poll_timeout()];
        let first = due.into_iter().flatten().min()?;
        Some(first.instant(self.origin))
    }

    /// Ends the windows that are over: what differs from the active feed then is told.
    pub fn handle_timeout(&mut self, now: Instant) {
        let tick = self.tick(now);
        self.recently_deleted.expire(tick);
        if self.settling.expire(tick) {
            self.another_pass();
        }
    }

    // --- catching up ---

    fn look_at_told(
        &mut self,
        cursor: Slot,
        active: Option<&Matcher>,
        now: Instant,
        sink: &mut impl Sink,
    ) {
        let Some((slot, told)) = self.ledger.at_or_after(cursor) else {
            self.carries_unknown &= self.holds;
            self.let_go_of_kept();
            self.phase = Phase::Additions(Slot::FIRST, 0);
            return;
        };
        let (uid, touched) = (told.uid.clone(), told.touched);
        let standing = active.map_or(Standing::Unknown, |matcher| matcher.standing(&uid));
        if standing != Standing::Live && !self.stays(&uid, touched, standing, now) {
            if sink.queued() >= self.marks.high {
                self.paused = true;
                return;
            }
            self.ledger.remove(slot);
            sink.pod_delete(&uid);
            self.lets_go(&uid);
        }
        self.phase = Phase::Deletes(slot.next());
    }

    /// Whether this told pod stays told for now, although it is not live: only a kept one does.
    fn stays(&mut self, uid: &Uid, touched: Tick, standing: Standing, now: Instant) -> bool {
        self.kept.contains(uid) && (self.holds || self.is_carried(uid, touched, standing, now))
    }

    /// Whether this kept pod stays told for a while. A pod that came to
    /// wait for its owner or address while it was carried is carried as those are that did.
    fn is_carried(&mut self, uid: &Uid, touched: Tick, standing: Standing, now: Instant) -> bool {
        if self.settling.contains(uid) {
            return true;
        }
        let (since, window) = match standing {
            Standing::Waiting => (self.feed_changed_at, self.windows.owner_wait),
            Standing::NoAddress => (self.feed_changed_at, self.windows.settle),
            Standing::Unknown if self.carries_unknown => (Some(touched), self.windows.settle),
            Standing::Unknown | Standing::Live => return false,
        };
        let until = since.map(|since| since.after(window));
        let Some(until) = until.filter(|until| *until > self.tick(now)) else {
            return false;
        };
        self.settling.insert(uid.clone(), until);
        true
    }

    fn look_at_live(
        &mut self,
        slot: Slot,
        live: Option<Live<'_>>,
        container: usize,
        now: Instant,
        sink: &mut impl Sink,
    ) {
        if let Some(live) = live {
            let uid = &live.pod.uid;
            let withheld = self.settling.contains(uid) && self.ledger.find(uid).is_none();
            if !withheld {
                let limit = self.marks.high;
                if let Err(container) = self.tell(live, false, container, limit, now, sink) {
                    self.phase = Phase::Additions(slot, container);
                    self.paused = true;
                    return;
                }
            }
        }
        self.phase = Phase::Additions(slot.next(), 0);
    }

    fn look_at_kept(&mut self, cursor: Slot, container: usize, now: Instant, sink: &mut impl Sink) {
        // Taken out for the call that needs it beside all the rest, and changes none of it.
        let none = Kept::new(self.ledger.seed());
        let kept = std::mem::replace(&mut self.kept, none);
        match kept.at_or_after(cursor) {
            None => {
                self.kept_left = false;
                self.end_pass();
            }
            Some(live) => {
                let uid = &live.pod.uid;
                let from = if live.slot == cursor { container } else { 0 };
                let before = self.ledger.get(uid).map(|told| told.touched);
                self.mark(uid, self.stream, None);
                let told = self.tell(live, false, from, self.marks.high, now, sink);
                // The feed that is active has not confirmed it. What was known of it before the
                // connection was lost is not: it counts as touched now.
                let other = self.stream.wrapping_sub(u16::from(self.compares));
                self.mark(uid, other, before);
                self.phase = match told {
                    Ok(()) => Phase::Kept(live.slot.next(), 0),
                    Err(container) => {
                        self.paused = true;
                        Phase::Kept(live.slot, container)
                    }
                };
            }
        }
        self.kept = kept;
    }

    fn end_pass(&mut self) {
        self.phase = if std::mem::take(&mut self.again) {
            Phase::Deletes(Slot::FIRST)
        } else {
            Phase::Streaming
        };
    }

    fn another_pass(&mut self) {
        match self.phase {
            Phase::Offline | Phase::Owing => {}
            Phase::Streaming => self.catch_up_from(Phase::Deletes(Slot::FIRST)),
            Phase::Deletes(_) | Phase::Additions(..) | Phase::Kept(..) => {
                self.again = true;
            }
        }
    }

    fn catch_up_from(&mut self, phase: Phase) {
        self.phase = phase;
        self.paused = false;
        self.again = false;
    }

    /// Sends `pod_resync`; everything is to be told again.
    fn resync(&mut self, sink: &mut impl Sink) {
        sink.pod_resync(self.epoch);
        self.replay();
    }

    /// The reducer knows nothing: everything is to be told.
    fn replay(&mut self) {
        self.forget_told();
        self.kept_left = true;
        self.catch_up_from(Phase::Additions(Slot::FIRST, 0));
    }

    fn forget_told(&mut self) {
        self.ledger.clear();
        self.settling.clear();
        self.carries_unknown &= self.holds;
        self.let_go_of_kept();
    }

    /// The pod whose telling was interrupted has changed: all its containers count again.
    fn restart_pod(&mut self, changed: Slot) {
        if let Phase::Additions(slot, container) = &mut self.phase
            && *slot == changed
        {
            *container = 0;
        }
    }

    // --- telling one change ---

    /// Whether a change in this slot must be told now, because no cursor or resync will.
    fn has_passed(&self, changed: Slot) -> bool {
        match self.phase {
            Phase::Offline | Phase::Owing | Phase::Deletes(_) => false,
            Phase::Streaming | Phase::Kept(..) => true,
            Phase::Additions(cursor, _) => changed < cursor,
        }
    }

    /// Whether a change ahead of the cursor may be told before what the cursor comes to first:
    /// a pass over many pods of which there is little to tell takes longer than that.
    fn can_overtake(&self) -> bool {
        matches!(self.phase, Phase::Deletes(_) | Phase::Additions(..)) && !self.paused
    }

    fn gone(
        &mut self,
        uid: &Uid,
        slot: Option<Slot>,
        was_live: bool,
        now: Instant,
        sink: &mut impl Sink,
    ) {
        self.settling.remove(uid);
        if let Some(slot) = slot {
            self.restart_pod(slot);
        }
        let told = self.ledger.find(uid);
        if was_live || told.is_some() {
            let tick = self.tick(now);
            self.recently_deleted.push(uid, tick);
        }
        match (told, self.phase) {
            (None, _) | (_, Phase::Offline | Phase::Owing) => {}
            (Some(told), _) if sink.queued() >= self.marks.limit => {
                if let Some(told) = self.ledger.get_mut(told) {
                    // It is not carried either: as if it had been touched at the beginning of time.
                    told.touched = Tick::default();
                }
                self.out_of_room();
            }
            (
                Some(told),
                Phase::Streaming | Phase::Deletes(_) | Phase::Additions(..) | Phase::Kept(..),
            ) => {
                self.ledger.remove(told);
                sink.pod_delete(uid);
            }
        }
    }

    /// Announces the pod if there is news of it, then its containers from `from` on: all of
    /// them if its announcement is new or with `repeat`, else those that are not told.
    ///
    /// # Errors
    /// The index of the first container left out when the sink reached `limit`.
    fn tell(
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
        let Some(told) = slot.and_then(|slot| self.ledger.get_mut(slot)) else {
            return Err(0);
        };
        let compare = told.stream != self.stream;
        let (news, before) = (told.news(&live, prints, compare), told.containers());
        if news != News::Nothing {
            if !has_room {
                return Err(0);
            }
            if news == News::LostContainer {
                sink.pod_delete(uid);
            }
            match live.owner {
                Some(owner) => sink.pod_new(live.pod, owner),
                None => sink.pod_new_no_owner(live.pod),
            }
            told.announce(&live, self.epoch, news, prints);
            self.dirty = true;
        }
        told.touched = tick;
        told.stream = self.stream;
        let (repeat, from) = match news {
            News::Nothing | News::Owner => (repeat, from),
            News::Pod | News::Fields | News::LostContainer => (true, 0),
        };
        let mut left_out = None;
        for (index, container) in prints.tellable(&live.pod.containers) {
            let has_room = index < from
                || told.tell_container(container, prints, repeat, || {
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
        let now = told.containers();
        self.ledger.recount(before, now);
        left_out.map_or(Ok(()), Err)
    }

    /// Outside of a catch-up a resync is owed (D6). Within one the difference is known:
    /// another pass will find it.
    fn out_of_room(&mut self) {
        match self.phase {
            Phase::Offline | Phase::Owing => {}
            Phase::Streaming => self.owe_resync(),
            Phase::Deletes(_) | Phase::Additions(..) | Phase::Kept(..) => {
                self.again = true;
            }
        }
    }

    fn tick(&self, now: Instant) -> Tick {
        Tick::of(now, self.origin)
    }
}
