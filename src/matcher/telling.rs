//! Brings what the reducer knows in line with the matcher of the active feed.
//!
//! One mechanism catches up, whatever the cause: a pass over the ledger deletes what is no
//! longer wanted, a pass over the live pods tells what is missing. With an empty ledger that
//! is a *replay*; otherwise it is a *difference* (D3). Both are cursors over slots: they pause
//! at the high mark and go on at the low mark. Meanwhile a change behind the cursor is told, and
//! one ahead of it as long as there is room: else the cursor will come to it.

use std::time::Instant;

use super::{
    Change, Epoch, Ledger, Live, Marks, Matcher, Reannounce, Resume, Sink, Standing, Windows,
    ledger::News,
    settling::{Recent, Settling, Tick},
};
use crate::model::{Slot, Uid};

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
    /// The active feed was not listed when it took over: its deletes are due once it is.
    deletes_owed: bool,
    /// Pod data was told, or would have been, since the last resync (spec 14.2).
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
            ledger: Ledger::default(),
            epoch: Epoch::default(),
            phase: Phase::Offline,
            paused: false,
            again: false,
            feed_changed_at: None,
            carries_unknown: false,
            deletes_owed: false,
            dirty: false,
            settling: Settling::default(),
            recently_deleted: Recent::new(windows.settle),
        }
    }

    /// Nothing told, no connection, and what is done when a told pod changes (D14).
    #[must_use]
    pub fn reannouncing(self, reannounce: Reannounce) -> Self {
        let ledger = Ledger::new(reannounce);
        Self { ledger, ..self }
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

    /// Whether deletes wait until the active feed is listed (D3).
    pub fn owes_deletes(&self) -> bool {
        self.deletes_owed
    }

    /// Whether everything wanted is told and nothing is owed.
    pub fn is_settled(&self) -> bool {
        self.phase == Phase::Streaming && self.settling.is_empty() && !self.deletes_owed
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

    /// A new `Collect` stream is active, with nothing known yet (D3, D4): the legacy promised
    /// `pod_resync` if pod data was told before.
    pub fn new_stream(&mut self, sink: &mut impl Sink) {
        self.epoch.0 += 1;
        let was_dirty = std::mem::take(&mut self.dirty);
        match self.phase {
            // The resync that is owed will serve for this one, too.
            Phase::Offline | Phase::Owing => {}
            Phase::Streaming | Phase::Deletes(_) | Phase::Additions(..) => {
                if !was_dirty {
                    // Nothing was told, so there is nothing to take back.
                    self.replay();
                } else if sink.queued() < self.marks.limit {
                    self.resync(sink);
                } else {
                    self.phase = Phase::Owing;
                }
            }
        }
    }

    /// A new picture begins without a word about it (D3, D4): what is told from now on is of it.
    pub fn new_epoch(&mut self) {
        self.epoch.0 += 1;
    }

    /// Another feed is active: the difference to it is told by [`Self::resume`].
    /// Towards a feed that is not `listed`, deletes wait for [`Self::listed`].
    pub fn change_feed(
        &mut self,
        old: Option<&Matcher>,
        new: &Matcher,
        listed: bool,
        now: Instant,
    ) {
        if matches!(self.phase, Phase::Offline | Phase::Owing) {
            return;
        }
        if let Some(old) = old {
            self.spare_containers(old, new);
        }
        let tick = self.tick(now);
        let settled_at = tick.after(self.windows.settle);
        self.feed_changed_at = Some(tick);
        self.carries_unknown = true;
        self.settling.clear();
        for uid in self.recently_deleted.within(tick) {
            if self.ledger.get(uid).is_none() {
                self.settling.insert(uid.clone(), settled_at);
            }
        }
        self.deletes_owed = !listed;
        self.catch_up_from(Phase::Deletes(Slot::FIRST));
    }

    /// What the source of the `new` feed does not know of is not lost.
    fn spare_containers(&mut self, old: &Matcher, new: &Matcher) {
        let reannounce = self.ledger.reannounce();
        if reannounce == Reannounce::Never {
            return;
        }
        for told in self.ledger.iter_mut() {
            if let Some(before) = old.live(&told.uid) {
                let now = new.live(&told.uid).map(|now| &**now.pod);
                told.spare(before.pod, now, reannounce);
            }
        }
    }

    /// The active feed has told its lists: deletes that waited for that are sent.
    pub fn listed(&mut self) {
        if std::mem::take(&mut self.deletes_owed) {
            self.another_pass();
        }
    }

    /// The source of the active feed is gone: nobody will confirm or deny the pods that are
    /// carried. They stay told until another feed is active (D4).
    pub fn source_ended(&mut self) {
        self.deletes_owed |= self.carries_unknown || !self.settling.is_empty();
    }

    /// Many changes may follow, as of a list. Until [`Self::resume`] they are told like the
    /// others, but what finds no room is a matter of another pass and not of a resync: the
    /// difference stays known.
    pub fn expect_much(&mut self) {
        if self.phase == Phase::Streaming {
            self.catch_up_from(Phase::Additions(Slot::PAST_ALL, 0));
        }
    }

    /// The next that is told is `pod_resync` and the whole live set (`--relist-resync`).
    /// Nothing if there is no connection, which begins with the whole live set anyway.
    pub fn owe_resync(&mut self) {
        match self.phase {
            Phase::Offline | Phase::Owing => {}
            Phase::Streaming | Phase::Deletes(_) | Phase::Additions(..) => {
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
                        self.end_pass();
                        continue;
                    };
                    let container = if slot == cursor { container } else { 0 };
                    self.look_at_live(slot, live, container, now, sink);
                }
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
        let next = self
            .ledger
            .at_or_after(cursor)
            .filter(|_| !self.deletes_owed);
        let Some((slot, told)) = next else {
            self.carries_unknown &= self.deletes_owed;
            self.phase = Phase::Additions(Slot::FIRST, 0);
            return;
        };
        let (uid, touched) = (told.uid.clone(), told.touched);
        let standing = active.map_or(Standing::Unknown, |matcher| matcher.standing(&uid));
        if standing != Standing::Live && !self.is_carried(&uid, touched, standing, now) {
            if sink.queued() >= self.marks.high {
                self.paused = true;
                return;
            }
            self.ledger.remove(slot);
            sink.pod_delete(&uid);
        }
        self.phase = Phase::Deletes(slot.next());
    }

    /// Whether this told pod stays told for now, although it is not live. A pod that came to
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
            Phase::Deletes(_) | Phase::Additions(..) => self.again = true,
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
        self.catch_up_from(Phase::Additions(Slot::FIRST, 0));
    }

    fn forget_told(&mut self) {
        self.ledger.clear();
        self.settling.clear();
        self.carries_unknown = false;
        self.deletes_owed = false;
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
            Phase::Streaming => true,
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
            (Some(told), Phase::Streaming | Phase::Deletes(_) | Phase::Additions(..)) => {
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
        let reannounce = self.ledger.reannounce();
        let has_room = sink.queued() < limit;
        let slot = if has_room {
            Some(self.ledger.find_or_enter(uid))
        } else {
            self.ledger.find(uid)
        };
        let Some(told) = slot.and_then(|slot| self.ledger.get_mut(slot)) else {
            return Err(0);
        };
        let (news, before) = (told.news(&live, reannounce), told.containers());
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
            told.announce(&live, self.epoch, news);
            self.dirty = true;
        }
        told.touched = tick;
        let (repeat, from) = match news {
            News::Nothing | News::Owner => (repeat, from),
            News::Pod | News::Fields | News::LostContainer => (true, 0),
        };
        let mut left_out = None;
        for (index, container) in reannounce.tellable(&live.pod.containers) {
            let has_room = index < from
                || told.tell_container(container, reannounce, repeat, || {
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
            Phase::Deletes(_) | Phase::Additions(..) => self.again = true,
        }
    }

    fn tick(&self, now: Instant) -> Tick {
        Tick::of(now, self.origin)
    }
}
