//! Which streams the second relay may be called for.
//!
//! A relay announces from the stream that was opened last. So one that was lost must not be opened
//! again behind a newer one, or else the second relay would announce from another stream than the
//! first.
//!
//! Invariant: no stream is opened while a newer one, that has been opened before, is not over.

use std::{collections::BTreeSet, ops::Bound};

use tokio::sync::watch;

/// The streams that the second relay was called for and that are not over.
#[derive(Clone, Debug, Default)]
pub(super) struct Turns(watch::Sender<BTreeSet<u64>>);

impl Turns {
    /// Takes the turn of this stream. Returns `false` if it has none: a newer one was opened.
    pub(super) fn take(&self, stream: u64) -> bool {
        let mut taken = false;
        self.0.send_if_modified(|opened| {
            taken = !is_behind(opened, stream);
            taken && opened.insert(stream)
        });
        taken
    }

    /// Whether this stream has no turn now.
    pub(super) fn must_wait(&self, stream: u64) -> bool {
        is_behind(&self.0.borrow(), stream)
    }

    /// Waits until all newer streams are over.
    pub(super) async fn turn(&self, stream: u64) {
        let mut opened = self.0.subscribe();
        // It fails only without a sender.
        let _ = opened.wait_for(|opened| !is_behind(opened, stream)).await;
    }

    /// This stream is over.
    pub(super) fn over(&self, stream: u64) {
        self.0.send_if_modified(|opened| opened.remove(&stream));
    }
}

fn is_behind(opened: &BTreeSet<u64>, stream: u64) -> bool {
    let newer = (Bound::Excluded(stream), Bound::Unbounded);
    opened.range(newer).next().is_some()
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn a_lost_stream_has_its_turn_when_all_newer_ones_are_over() {
        let turns = Turns::default();
        for stream in [1, 2, 4] {
            assert!(turns.take(stream));
        }
        assert!(!turns.take(3), "it comes too late");
        assert!(!turns.take(2), "it was lost");
        assert!(turns.take(4), "the newest is opened again at any time");
        let mut turn = Box::pin(turns.turn(2));
        turns.over(1);
        assert_eq!((&mut turn).now_or_never(), None);
        assert!(turns.must_wait(2));
        turns.over(4);
        assert_eq!(turn.now_or_never(), Some(()));
        assert!(turns.take(2) && turns.take(3));
    }
}
