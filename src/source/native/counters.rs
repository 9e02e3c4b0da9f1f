//! What all watches of this process count together.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use prometheus_client::metrics::histogram::Histogram;

use super::{decode::ObjectError, error::Reason};
use crate::{
    model::{Kind, KindTable, PerKind},
    source::RecentDrops,
};

/// The upper bounds of [`Counters::list_seconds`].
const LIST_BOUNDS: [f64; 14] = [
    0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0,
];

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
    /// How long lists took, by kind.
    list_seconds: PerKind<ListSeconds>,
    /// Objects and parts of objects that were dropped, by reason.
    dropped: [AtomicU64; ObjectError::ALL.len()],
    /// Which objects were dropped last.
    pub lost: RecentDrops,
}

/// How long lists of a kind took.
#[derive(Debug)]
struct ListSeconds(Histogram);

impl Default for ListSeconds {
    fn default() -> Self {
        Self(Histogram::new(LIST_BOUNDS))
    }
}

impl Counters {
    /// Nothing counted; for watches of these kinds.
    pub fn new(kinds: &KindTable) -> Self {
        Self {
            ends: PerKind::all(kinds, |_, _| Default::default()),
            list_seconds: PerKind::all(kinds, |_, _| ListSeconds::default()),
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

    /// How long the lists of each kind took that came to their end, from their first request on, in
    /// seconds. A list that began again counts from there.
    pub fn list_seconds(&self) -> impl Iterator<Item = (Kind, Histogram)> {
        let all = self.list_seconds.iter();
        all.map(|(kind, ListSeconds(seconds))| (kind, seconds.clone()))
    }

    pub(super) fn count_list(&self, kind: Kind, took: Duration) {
        if let Some(ListSeconds(seconds)) = self.list_seconds.get(kind) {
            seconds.observe(took.as_secs_f64());
        }
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
