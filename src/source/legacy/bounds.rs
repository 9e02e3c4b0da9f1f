//! How many streams are open at once, which of them gives way, and how often a line is logged.
//!
//! Invariants: at most [`Places::new`]'s number of streams hold a place. A stream that has sent an
//! Info keeps its place for as long as it is open. One that has sent nothing for a while gives way
//! to a new stream once all places are taken, the oldest first: so strangers that open streams
//! and stay silent cannot keep a watcher out, and a burst of new streams cannot either.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The places of all open streams.
#[derive(Debug)]
pub(super) struct Places {
    limit: usize,
    silence: Duration,
    held: Mutex<Held>,
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
    has_spoken: bool,
    gives_way: CancellationToken,
}

/// A place of one stream; free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    number: u64,
    gives_way: CancellationToken,
}

impl Places {
    /// `limit` places. A stream without an Info gives way once it is `silence` old.
    pub(super) fn new(limit: usize, silence: Duration) -> Arc<Self> {
        Arc::new(Self {
            limit,
            silence,
            held: Mutex::default(),
        })
    }

    /// A place for a new stream; `None` if all are taken and nobody gives way.
    pub(super) fn take(self: &Arc<Self>) -> Option<Place> {
        let now = now();
        let mut held = self.held();
        if held.by_number.len() >= self.limit {
            let silent = held.by_number.iter().find(|(_, holder)| {
                !holder.has_spoken && now.saturating_duration_since(holder.since) >= self.silence
            });
            let number = silent.map(|(number, _)| *number)?;
            if let Some(holder) = held.by_number.remove(&number) {
                holder.gives_way.cancel();
            }
        }
        let number = held.next;
        held.next += 1;
        let gives_way = CancellationToken::new();
        let holder = Holder {
            since: now,
            has_spoken: false,
            gives_way: gives_way.clone(),
        };
        held.by_number.insert(number, holder);
        drop(held);
        Some(Place {
            places: self.clone(),
            number,
            gives_way,
        })
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The stream has sent an Info: it keeps its place.
    pub(super) fn keep(&self) {
        if let Some(holder) = self.places.held().by_number.get_mut(&self.number) {
            holder.has_spoken = true;
        }
    }

    /// Ready when the place is needed for another stream.
    pub(super) fn gives_way(&self) -> impl Future<Output = ()> + use<> {
        self.gives_way.clone().cancelled_owned()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.held().by_number.remove(&self.number);
    }
}

/// Lets the first of many equal log lines through, and then one a minute.
#[derive(Debug, Default)]
pub(super) struct Seldom(Mutex<Option<Instant>>);

impl Seldom {
    /// Whether the line is to be logged now.
    pub(super) fn permits(&self) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = now();
        let due = last.is_none_or(|last| now.saturating_duration_since(last) >= AGAIN);
        if due {
            *last = Some(now);
        }
        due
    }
}

/// After this time a line may be logged again.
const AGAIN: Duration = Duration::from_secs(60);

#[expect(
    clippy::disallowed_methods,
    reason = "the edge: how long a stream has been silent is measured here"
)]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENCE: Duration = Duration::from_secs(5);

    #[tokio::test(start_paused = true)]
    async fn a_place_is_refused_while_all_are_taken_and_free_when_its_stream_ends() {
        let places = Places::new(2, SILENCE);
        let first = places.take().expect("a place");
        let _second = places.take().expect("a place");
        assert!(places.take().is_none());
        drop(first);
        let _third = places.take().expect("the first one's");
        assert!(places.take().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_silent_stream_gives_way_and_one_that_has_spoken_never_does() {
        let places = Places::new(3, SILENCE);
        let speaks = places.take().expect("a place");
        speaks.keep();
        let older = places.take().expect("a place");
        tokio::time::advance(SILENCE / 2).await;
        let younger = places.take().expect("a place");
        tokio::time::advance(SILENCE / 2).await;

        let new = places.take().expect("the older one gives way");
        let ended = [&speaks, &older, &younger, &new].map(|p| p.gives_way.is_cancelled());
        assert_eq!(ended, [false, true, false, false]);
        assert!(
            places.take().is_none(),
            "the others are not silent for long"
        );
        // Its call ends later than its place went to another.
        drop(older);
        assert!(places.take().is_none());

        tokio::time::advance(10 * SILENCE).await;
        new.keep();
        let _newest = places.take().expect("the younger one gives way");
        assert!(younger.gives_way.is_cancelled());
        assert!(!speaks.gives_way.is_cancelled() && !new.gives_way.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn an_equal_line_is_logged_once_a_minute() {
        let line = Seldom::default();
        assert_eq!([line.permits(), line.permits()], [true, false]);
        tokio::time::advance(AGAIN).await;
        assert_eq!([line.permits(), line.permits()], [true, false]);
    }
}
