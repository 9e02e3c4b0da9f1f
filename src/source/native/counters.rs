//! What all watches of this process count together.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::decode::ObjectError;
use crate::source::Lost;

/// Shared by the watches and those who report on them.
#[derive(Debug, Default)]
pub struct Counters {
    /// Requests that were sent, of whatever sort.
    pub requests: AtomicU64,
    /// Lists that were seen to their end.
    pub lists: AtomicU64,
    /// Requests that failed: whatever their watch had to wait or to list again for.
    pub failures: AtomicU64,
    /// Objects and parts of objects that were dropped, by reason.
    dropped: [AtomicU64; ObjectError::ALL.len()],
    /// Which objects were dropped last.
    pub lost: Lost,
}

impl Counters {
    /// How often objects or parts of them were dropped for this reason.
    pub fn dropped(&self, why: ObjectError) -> u64 {
        self.dropped
            .get(why as usize)
            .map_or(0, |count| count.load(Relaxed))
    }

    pub(super) fn drop_objects(&self, why: ObjectError, objects: u64) {
        if let Some(count) = self.dropped.get(why as usize) {
            count.fetch_add(objects, Relaxed);
        }
    }
}
