//! Changes that one feed has sent, and that wait for the other one to send them too: one check is
//! then enough for both.
//!
//! Invariants: a pod waits once, since the first of its changes; no longer than it is let, and with
//! at most [`Debounce::MOST`] others. Memory is O(pods that wait).

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{
    feeds::{DirtyPod, SourceKind},
    model::{HasUid, Seed, Slot, Uid, UidMap},
};

/// What waits, the oldest first.
#[derive(Debug)]
pub(super) struct Debounce {
    patience: Duration,
    seed: Seed,
    pods: UidMap<Changed>,
    /// Where they are, or were, and their numbers.
    order: VecDeque<(Slot, u64)>,
    /// Never used again.
    next_number: u64,
}

/// A pod that waits.
#[derive(Debug)]
struct Changed {
    uid: Uid,
    by: SourceKind,
    since: Instant,
    number: u64,
}

impl Debounce {
    /// Beyond so many the oldest waits no longer: 6 MiB.
    const MOST: usize = 65_536;

    /// Nothing waits; what will, does so for this long at most.
    pub(super) fn new(patience: Duration, seed: Seed) -> Self {
        Self {
            patience,
            seed,
            pods: UidMap::new(seed),
            order: VecDeque::new(),
            next_number: 0,
        }
    }

    /// How many pods wait.
    pub(super) fn len(&self) -> usize {
        self.pods.len()
    }

    /// A feed has sent a change. If the pod has waited it waits no longer, and is to be looked at
    /// as it is since the moment that is returned: if the other feed sends what was waited for,
    /// since the first sent it; if the same feed sends something else, since now. Otherwise it
    /// waits from now on.
    pub(super) fn touch(&mut self, touch: &DirtyPod, now: Instant) -> Option<Instant> {
        let number = self.next_number;
        let slot = self.pods.find_or_insert_with(&touch.uid, || Changed {
            uid: touch.uid.clone(),
            by: touch.by,
            since: now,
            number,
        });
        let waits = self.pods.get(slot)?;
        if waits.number == number {
            self.next_number += 1;
            self.order.push_back((slot, number));
            return None;
        }
        let since = match waits.by == touch.by {
            false => waits.since,
            // Notes of one event.
            true if waits.since == now => return None,
            true => now,
        };
        self.remove(slot);
        Some(since)
    }

    /// This pod waits no longer. Returns since when it has waited, if it has.
    pub(super) fn forget(&mut self, uid: &Uid) -> Option<Instant> {
        let slot = self.pods.find(uid)?;
        let Changed { since, .. } = self.remove(slot)?;
        Some(since)
    }

    /// Whether there are too many.
    pub(super) fn is_full(&self) -> bool {
        self.pods.len() > Self::MOST
    }

    /// One that has waited for long enough, or that is too many, and since when it has waited.
    pub(super) fn pop(&mut self, now: Instant) -> Option<(Uid, Instant)> {
        let is_due = self.poll_timeout().is_some_and(|due| due <= now);
        (is_due || self.is_full()).then(|| self.take()).flatten()
    }

    /// The one that has waited for longest, and since when.
    pub(super) fn take(&mut self) -> Option<(Uid, Instant)> {
        let slot = self.oldest()?;
        let Changed { uid, since, .. } = self.remove(slot)?;
        Some((uid, since))
    }

    /// When the oldest has waited for long enough.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let waits = self.pods.get(self.oldest()?)?;
        waits.since.checked_add(self.patience)
    }

    /// None is to be looked at any longer.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.patience, self.seed);
    }

    fn oldest(&self) -> Option<Slot> {
        self.order.front().map(|(slot, _)| *slot)
    }

    fn remove(&mut self, slot: Slot) -> Option<Changed> {
        let removed = self.pods.remove(slot);
        let pods = &self.pods;
        let is_there = |(slot, number): &(Slot, u64)| {
            pods.get(*slot).is_some_and(|waits| waits.number == *number)
        };
        while self.order.front().is_some_and(|place| !is_there(place)) {
            self.order.pop_front();
        }
        if self.order.len() > 2 * pods.len() + 64 {
            self.order.retain(is_there);
        }
        removed
    }
}

impl HasUid for Changed {
    fn uid(&self) -> &Uid {
        &self.uid
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    fn touch(name: &str, by: SourceKind) -> DirtyPod {
        let uid = Uid::new(name);
        DirtyPod { uid, by }
    }

    fn theirs(name: &str) -> DirtyPod {
        touch(name, SourceKind::Collect)
    }

    fn ours(name: &str) -> DirtyPod {
        touch(name, SourceKind::Native)
    }

    #[test]
    fn what_both_feeds_have_sent_waits_no_longer() {
        let mut debounce = Debounce::new(PATIENCE, Seed::FIXED);
        let start = Instant::now();
        let later = start + Duration::from_secs(1);
        assert_eq!(debounce.touch(&theirs("a"), start), None);
        assert_eq!(debounce.touch(&theirs("a"), start), None, "once more");
        assert_eq!(debounce.touch(&theirs("b"), later), None);
        assert_eq!(debounce.len(), 2);
        assert_eq!(debounce.touch(&ours("a"), later), Some(start));
        assert_eq!(debounce.len(), 1);
        assert_eq!(debounce.poll_timeout(), Some(later + PATIENCE));
        assert_eq!(debounce.touch(&ours("a"), later), None, "another change");
    }

    #[test]
    fn what_changes_again_or_is_looked_at_meanwhile_waits_no_longer() {
        let mut debounce = Debounce::new(PATIENCE, Seed::FIXED);
        let start = Instant::now();
        let later = start + Duration::from_secs(1);
        debounce.touch(&theirs("a"), start);
        debounce.touch(&ours("b"), start);
        assert_eq!(debounce.touch(&theirs("a"), later), Some(later));
        assert_eq!(debounce.forget(&Uid::new("b")), Some(start));
        assert_eq!(debounce.forget(&Uid::new("b")), None);
        assert_eq!((debounce.len(), debounce.poll_timeout()), (0, None));
    }

    #[test]
    fn what_one_feed_alone_has_sent_waits_for_long_enough() {
        let mut debounce = Debounce::new(PATIENCE, Seed::FIXED);
        let start = Instant::now();
        assert_eq!(debounce.poll_timeout(), None);
        debounce.touch(&theirs("a"), start);
        let due = debounce.poll_timeout().unwrap();
        assert_eq!(due, start + PATIENCE);
        assert_eq!(debounce.pop(due - Duration::from_nanos(1)), None);
        assert_eq!(debounce.pop(due), Some((Uid::new("a"), start)));
        assert_eq!((debounce.pop(due), debounce.len()), (None, 0));
    }

    #[test]
    fn the_oldest_makes_room() {
        let mut debounce = Debounce::new(PATIENCE, Seed::FIXED);
        let start = Instant::now();
        for n in 0..=Debounce::MOST {
            assert_eq!(debounce.pop(start), None);
            debounce.touch(&theirs(&n.to_string()), start);
        }
        assert_eq!(debounce.pop(start), Some((Uid::new("0"), start)));
        assert_eq!(debounce.pop(start), None);
    }

    #[test]
    fn one_that_waits_on_does_not_keep_the_places_of_those_after_it() {
        let mut debounce = Debounce::new(PATIENCE, Seed::FIXED);
        let now = Instant::now();
        debounce.touch(&theirs("first"), now);
        for n in 0..10_000 {
            let (name, at) = (n.to_string(), now + Duration::from_nanos(n));
            debounce.touch(&theirs(&name), at);
            assert_eq!(debounce.touch(&ours(&name), at), Some(at));
        }
        assert!(debounce.order.len() < 100, "{}", debounce.order.len());
    }

    proptest! {
        /// Against a plain list.
        #[test]
        fn each_waits_once_in_the_order_of_its_first_change(
            steps in prop::collection::vec((0..8u8, any::<bool>(), 0..3u64), 1..200)
        ) {
            let mut debounce = Debounce::new(PATIENCE, Seed::FIXED);
            let mut list: Vec<(Uid, SourceKind, Instant)> = Vec::new();
            let mut now = Instant::now();
            for (pod, native, passes) in steps {
                now += Duration::from_secs(passes);
                let dirty_pods = match native {
                    true => ours(&pod.to_string()),
                    false => theirs(&pod.to_string()),
                };
                let known = list.iter().position(|(uid, ..)| *uid == dirty_pods.uid);
                let expected = match known {
                    Some(at) if list[at].1 != dirty_pods.by => Some(list.remove(at).2),
                    Some(at) if list[at].2 == now => None,
                    Some(at) => {
                        list.remove(at);
                        Some(now)
                    }
                    None => {
                        list.push((dirty_pods.uid.clone(), dirty_pods.by, now));
                        None
                    }
                };
                prop_assert_eq!(debounce.touch(&dirty_pods, now), expected);
                if passes == 2 {
                    let is_due = list.first().is_some_and(|(.., since)| *since + PATIENCE <= now);
                    let oldest = is_due.then(|| list.remove(0)).map(|(uid, _, since)| (uid, since));
                    prop_assert_eq!(debounce.pop(now), oldest);
                }
                prop_assert_eq!(debounce.len(), list.len());
                let due = list.first().map(|(.., since)| *since + PATIENCE);
                prop_assert_eq!(debounce.poll_timeout(), due);
            }
        }
    }
}
