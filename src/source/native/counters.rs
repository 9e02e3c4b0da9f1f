//! What all watches of this process count together.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::{decode::ObjectError, error::Reason};
use crate::{
    model::{Kind, KindTable, PerKind},
    source::RecentDrops,
};

/// Shared by the watches and those who report on them.
#[derive(Debug, Default)]
pub struct Counters {
    /// Requests that were sent, of whatever sort.
    pub requests: AtomicU64,
    /// Lists that were seen to their end.
    pub lists: AtomicU64,
    /// Requests that failed: whatever their watch had to wait or to list again for.
    pub failures: AtomicU64,
    /// Requests that are over, by kind and reason. Pages and versions that came are none.
    ends: PerKind<[AtomicU64; Reason::ALL.len()]>,
    /// Objects and parts of objects that were dropped, by reason.
    dropped: [AtomicU64; ObjectError::ALL.len()],
    /// Which objects were dropped last.
    pub lost: RecentDrops,
}

impl Counters {
    /// Nothing counted; for watches of these kinds.
    pub fn new(kinds: &KindTable) -> Self {
        Self {
            ends: PerKind::all(kinds, |_, _| Default::default()),
            ..Self::default()
        }
    }

    /// How often objects or parts of them were dropped for this reason.
    pub fn dropped(&self, why: ObjectError) -> u64 {
        self.dropped
            .get(why as usize)
            .map_or(0, |count| count.load(Relaxed))
    }

    /// How often watches of this kind had to ask again for this reason; [`Reason::Ended`] is none
    /// of failure.
    pub fn restarts(&self, kind: Kind, reason: Reason) -> u64 {
        self.ends
            .get(kind)
            .and_then(|reasons| reasons.get(reason as usize))
            .map_or(0, |count| count.load(Relaxed))
    }

    pub(super) fn count_end(&self, kind: Kind, reason: Reason) {
        let reasons = self.ends.get(kind);
        if let Some(count) = reasons.and_then(|reasons| reasons.get(reason as usize)) {
            count.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn drop_objects(&self, why: ObjectError, objects: u64) {
        if let Some(count) = self.dropped.get(why as usize) {
            count.fetch_add(objects, Relaxed);
        }
    }
}
