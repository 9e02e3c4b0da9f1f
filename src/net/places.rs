//! How many connections, or streams, are open at once, and which of them gives way.
//!
//! Invariants: at most [`Places::new`]'s number of holders have a place. What becomes of one too
//! many is said once, by [`GivesWay`]: it is refused, or an older one ends for it. A holder that
//! has proved to be of use ([`Place::keep`]) never gives way for its silence: so strangers that
//! connect and wait cannot keep others out, and a burst of new ones cannot either.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Seldom;

/// The places of a server.
#[derive(Debug)]
pub struct Places {
    limit: usize,
    gives_way: GivesWay,
    counts: Arc<PlaceCounts>,
    refusals: Seldom,
    held: Mutex<Held>,
}

/// Which holder gives way when all places are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GivesWay {
    /// None: the new one is refused.
    Nobody,
    /// The oldest.
    Oldest,
    /// The oldest that has held its place for this time without [`Place::keep`]; else the new
    /// one is refused.
    Silent(Duration),
}

/// What became of those who wanted a place. For metrics.
#[derive(Debug, Default)]
pub struct PlaceCounts {
    /// How many hold one now, those included that were asked to give way and still end.
    pub open: AtomicU64,
    /// How many were refused since the start.
    pub refused: AtomicU64,
    /// How many gave way since the start.
    pub gave_way: AtomicU64,
}

/// Who holds a place, by number, in the order of opening.
#[derive(Debug, Default)]
struct Held {
    next: u64,
    by_number: BTreeMap<u64, Holder>,
}

#[derive(Debug)]
struct Holder {
    since: Instant,
    is_kept: bool,
    gives_way: CancellationToken,
}

/// A place; free again when this is dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    number: u64,
    gives_way: CancellationToken,
}

impl Places {
    /// `limit` places.
    pub fn new(limit: usize, gives_way: GivesWay, counts: Arc<PlaceCounts>) -> Arc<Self> {
        Arc::new(Self {
            limit,
            gives_way,
            counts,
            refusals: Seldom::default(),
            held: Mutex::default(),
        })
    }

    /// How many there are.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// A place for a new holder; `None` if all are taken and nobody gives way.
    pub fn take(self: &Arc<Self>) -> Option<Place> {
        let now = now();
        let mut held = self.held();
        if held.by_number.len() >= self.limit {
            let Some(number) = held.giving_way(self.gives_way, now) else {
                self.counts.refused.fetch_add(1, Relaxed);
                return None;
            };
            if let Some(holder) = held.by_number.remove(&number) {
                self.counts.gave_way.fetch_add(1, Relaxed);
                holder.gives_way.cancel();
            }
        }
        let number = held.next;
        held.next += 1;
        let gives_way = CancellationToken::new();
        let holder = Holder {
            since: now,
            is_kept: false,
            gives_way: gives_way.clone(),
        };
        held.by_number.insert(number, holder);
        self.counts.open.fetch_add(1, Relaxed);
        drop(held);
        Some(Place {
            places: self.clone(),
            number,
            gives_way,
        })
    }

    /// Whether a refusal is worth a line now: the first is, and then one a minute.
    pub fn logs_refusal(&self) -> bool {
        self.refusals.permits()
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn giving_way(&self, which: GivesWay, now: Instant) -> Option<u64> {
        let mut holders = self.by_number.iter();
        let found = match which {
            GivesWay::Nobody => None,
            GivesWay::Oldest => holders.next(),
            GivesWay::Silent(limit) => holders.find(|(_, holder)| {
                !holder.is_kept && now.saturating_duration_since(holder.since) >= limit
            }),
        };
        found.map(|(number, _)| *number)
    }
}

impl Place {
    /// The holder is of use: it keeps its place for as long as it wants, however silent it is.
    pub fn keep(&self) {
        if let Some(holder) = self.places.held().by_number.get_mut(&self.number) {
            holder.is_kept = true;
        }
    }

    /// Ready when the place was given to another.
    pub fn gives_way(&self) -> impl Future<Output = ()> + use<> {
        self.gives_way.clone().cancelled_owned()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.held().by_number.remove(&self.number);
        self.places.counts.open.fetch_sub(1, Relaxed);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the edge: how long a holder has been silent is measured here"
)]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENCE: Duration = Duration::from_secs(5);

    fn places(limit: usize, gives_way: GivesWay) -> Arc<Places> {
        Places::new(limit, gives_way, Arc::default())
    }

    fn counted(places: &Places) -> [u64; 3] {
        let PlaceCounts {
            open,
            refused,
            gave_way,
        } = &*places.counts;
        [open, refused, gave_way].map(|count| count.load(Relaxed))
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_is_refused_while_all_are_taken_and_free_when_its_holder_ends() {
        for gives_way in [GivesWay::Nobody, GivesWay::Silent(SILENCE)] {
            let places = places(2, gives_way);
            let first = places.take().expect("a place");
            let _second = places.take().expect("a place");
            assert!(places.take().is_none());
            drop(first);
            let _third = places.take().expect("the first one's");
            assert!(places.take().is_none());
            assert_eq!(counted(&places), [2, 2, 0]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_silent_holder_gives_way_and_one_that_is_kept_never_does() {
        let places = places(3, GivesWay::Silent(SILENCE));
        let speaks = places.take().expect("a place");
        speaks.keep();
        let older = places.take().expect("a place");
        tokio::time::advance(SILENCE / 2).await;
        let younger = places.take().expect("a place");
        tokio::time::advance(SILENCE / 2).await;

        let new = places.take().expect("the older one gives way");
        let ended = [&speaks, &older, &younger, &new].map(|p| p.gives_way.is_cancelled());
        assert_eq!(ended, [false, true, false, false]);
        assert_eq!(counted(&places), [4, 0, 1], "the older one has not ended");
        assert!(
            places.take().is_none(),
            "the others are not silent for long"
        );
        // It ends later than its place went to another.
        drop(older);
        assert!(places.take().is_none());
        assert_eq!(counted(&places), [3, 2, 1]);

        tokio::time::advance(10 * SILENCE).await;
        new.keep();
        let _newest = places.take().expect("the younger one gives way");
        assert!(younger.gives_way.is_cancelled());
        assert!(!speaks.gives_way.is_cancelled() && !new.gives_way.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_gives_way_at_once_where_nobody_is_refused() {
        let places = places(2, GivesWay::Oldest);
        let mut held: Vec<Place> = Vec::new();
        for n in 0..6 {
            held.push(places.take().expect("nobody is refused"));
            let ended = |place: &Place| place.gives_way.is_cancelled();
            let open = held.iter().filter(|place| !ended(place)).count();
            assert_eq!(open, (n + 1).min(2));
            assert!(!ended(&held[n]), "the newest stays");
        }
        assert_eq!(counted(&places), [6, 0, 4]);
        drop(held);
        assert_eq!(counted(&places), [0, 0, 4]);
    }
}
