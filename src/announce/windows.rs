//! What a change of feed leaves alone for a while (D3): kept pods, withheld pods,
//! and the memory of recent deletes that decides which are withheld.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use crate::model::Uid;

/// A time in tenths of a second since an origin: four bytes, good for 13 years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tick(u32);

impl Tick {
    pub(super) fn of(now: Instant, origin: Instant) -> Self {
        Self::ZERO.after(now.saturating_duration_since(origin))
    }

    pub(super) fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(tenths(span)))
    }

    pub(super) fn before(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(tenths(span)))
    }

    fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    pub(super) fn instant(self, origin: Instant) -> Instant {
        origin + Duration::from_millis(100) * self.0
    }

    const ZERO: Self = Self(0);
}

fn tenths(span: Duration) -> u32 {
    u32::try_from(span.as_millis() / 100).unwrap_or(u32::MAX)
}

/// Pods that are left as they are until their window ends.
#[derive(Debug, Default)]
pub(super) struct HandoverWindows {
    until: BTreeMap<Uid, Tick>,
    order: BTreeSet<(Tick, Uid)>,
}

impl HandoverWindows {
    pub(super) fn insert(&mut self, uid: Uid, until: Tick) {
        if let Some(before) = self.until.insert(uid.clone(), until) {
            self.order.remove(&(before, uid.clone()));
        }
        self.order.insert((until, uid));
    }

    pub(super) fn contains(&self, uid: &Uid) -> bool {
        self.until.contains_key(uid)
    }

    /// Until when this pod is left alone, if it is.
    pub(super) fn until(&self, uid: &Uid) -> Option<Tick> {
        self.until.get(uid).copied()
    }

    /// The pod is not left alone any longer: the feed has it live, or has deleted it.
    pub(super) fn remove(&mut self, uid: &Uid) {
        if let Some(until) = self.until.remove(uid) {
            self.order.remove(&(until, uid.clone()));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.until.is_empty()
    }

    pub(super) fn first(&self) -> Option<Tick> {
        self.order.first().map(|(tick, _)| *tick)
    }

    /// Lets go of the pods whose window is over; returns whether there were any.
    pub(super) fn expire(&mut self, now: Tick) -> bool {
        let before = self.until.len();
        while self.first().is_some_and(|tick| tick <= now) {
            if let Some((_, uid)) = self.order.pop_first() {
                self.until.remove(&uid);
            }
        }
        self.until.len() < before
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// The latest deletes within a window, [`RecentDeletes::LIMIT`] of them at most.
#[derive(Debug)]
pub(super) struct RecentDeletes {
    window: Duration,
    deletes: VecDeque<(Tick, Uid)>,
}

impl RecentDeletes {
    const LIMIT: usize = 10_000;

    pub(super) fn new(window: Duration) -> Self {
        Self {
            window,
            deletes: VecDeque::new(),
        }
    }

    pub(super) fn push(&mut self, uid: &Uid, now: Tick) {
        self.expire(now);
        if self.deletes.len() == Self::LIMIT {
            self.deletes.pop_front();
        }
        self.deletes.push_back((now, uid.clone()));
    }

    /// Those within the window.
    pub(super) fn within(&self, now: Tick) -> impl Iterator<Item = &Uid> {
        let oldest = now.before(self.window);
        self.deletes
            .iter()
            .filter(move |(at, _)| *at >= oldest)
            .map(|(_, uid)| uid)
    }

    /// Forgets those whose window is over, and the room for them once there are none.
    pub(super) fn expire(&mut self, now: Tick) {
        let oldest = now.before(self.window);
        while self.deletes.front().is_some_and(|(at, _)| *at < oldest) {
            self.deletes.pop_front();
        }
        if self.deletes.is_empty() {
            self.deletes = VecDeque::new();
        }
    }

    /// When the window of the last one is over: those before it need no waking for each.
    pub(super) fn poll_timeout(&self) -> Option<Tick> {
        let (last, _) = self.deletes.back()?;
        Some(last.after(self.window).next())
    }
}
