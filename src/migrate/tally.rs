//! The digest of all that one feed has live, counted on demand: in slices, because it looks at
//! every pod.
//!
//! Laws: pure. What changes while it counts is counted as it was or as it is; the feed's owner
//! says whether anything did. Unlike the digests of a comparison nothing is set aside.

use super::compare::{kept, note_container};
use crate::{
    digest::{Digests, PodHasher},
    matcher::Matcher,
    model::{IdBuf, Seed, Slot},
    reducer::project,
};

/// A count that is under way.
#[derive(Debug)]
pub struct Tally {
    cursor: Slot,
    digests: Digests,
    hasher: PodHasher,
    seed: Seed,
}

/// Pods that are looked at in one [`Tally::go_on`]: a millisecond at most.
const SLICE: usize = 512;

impl Tally {
    /// Nothing is counted yet.
    pub fn new(seed: Seed) -> Self {
        Self {
            seed,
            cursor: Slot::FIRST,
            digests: Digests::default(),
            hasher: PodHasher::default(),
        }
    }

    /// Counts a slice more. Returns the digests once all pods have been looked at.
    pub fn go_on(&mut self, matcher: &Matcher) -> Option<Digests> {
        for _ in 0..SLICE {
            let Some(slot) = matcher.pod_at_or_after(self.cursor) else {
                return Some(std::mem::take(&mut self.digests));
            };
            self.cursor = slot.next();
            let Some(live) = matcher.live_at(slot) else {
                continue;
            };
            for container in kept(&live.pod.containers, self.seed) {
                note_container(live.pod, container, &mut self.hasher);
            }
            let mut ids = [IdBuf::new(), IdBuf::new()];
            let told = project::pod_new(live.pod, live.owner, &mut ids).message;
            let hash = self.hasher.pod(&told);
            self.digests.add(told.ns, hash);
        }
        None
    }
}
