//! Digests that somebody has asked for: counted a slice a turn, one asker after the other.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use super::Driver;
use crate::{
    digest::Digests,
    feeds::View,
    matcher::Generation,
    migrate::{Tally, status::FeedDigest},
};

/// So many may wait for their turn.
const WAITING: usize = 4;

/// Who waits for digests.
#[derive(Default)]
pub(super) struct Tallies(VecDeque<Counting>);

struct Counting {
    /// The feeds that are left to count.
    left: VecDeque<Generation>,
    /// What the first of them has told when its count began.
    began: Option<(Tally, u64)>,
    done: Vec<FeedDigest>,
    answer: oneshot::Sender<Vec<FeedDigest>>,
}

impl Tallies {
    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Driver {
    /// Somebody asks. Beyond [`WAITING`] nobody is heard: the question is dropped.
    pub(super) fn count(&mut self, answer: oneshot::Sender<Vec<FeedDigest>>) {
        if self.tallies.0.len() < WAITING {
            self.tallies.0.push_back(Counting {
                left: self.feeds.views().map(|view| view.generation).collect(),
                began: None,
                done: Vec::new(),
                answer,
            });
        }
    }

    /// Counts a slice for whoever is first.
    pub(super) fn tally(&mut self) {
        let Some(counting) = self.tallies.0.front_mut() else {
            return;
        };
        let feed = counting.left.front().and_then(|feed| {
            let mut views = self.feeds.views();
            views.find(|view| view.generation == *feed)
        });
        let Some(view) = feed.filter(|_| !counting.answer.is_closed()) else {
            // All are counted, or gone, or nobody waits any longer.
            counting.began = None;
            let over = counting.left.pop_front().is_none() || counting.answer.is_closed();
            if over && let Some(counting) = self.tallies.0.pop_front() {
                // Who asked may have gone.
                let _ = counting.answer.send(counting.done);
            }
            return;
        };
        let told = view.told();
        let seed = self.feeds.ledger().seed();
        let (tally, before) = counting
            .began
            .get_or_insert_with(|| (Tally::new(seed), told));
        if let Some(digests) = tally.go_on(view.matcher()) {
            let exact = *before == told;
            counting.done.push(digest(&view, &digests, exact));
            counting.began = None;
            counting.left.pop_front();
        }
    }
}

fn digest(view: &View<'_>, digests: &Digests, exact: bool) -> FeedDigest {
    let namespaces = digests.namespaces().map(|(name, digest)| {
        let name = String::from_utf8_lossy(name).into_owned();
        (name, digest.to_string())
    });
    FeedDigest {
        feed: view.source.feed_name().to_owned(),
        generation: view.generation.0,
        active: view.active,
        exact,
        total: digests.total().to_string(),
        namespaces: namespaces.collect(),
    }
}
