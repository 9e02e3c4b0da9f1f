//! Digests of what each feed has live, for those who ask: counted a slice a turn of the loop,
//! one asker after the other.
//!
//! What changes while a feed is counted is counted as it was or as it is now, and the answer says
//! whether anything did. Unlike the digests of a comparison nothing is set aside.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use super::Driver;
use crate::{
    admin::api::FeedDigest,
    digest::{Digests, PodHasher},
    feeds::{Feeds, View},
    matcher::{Generation, Matcher},
    migrate::compare::{kept, note_container},
    model::{IdBuf, Seed, Slot},
    reducer::project,
};

/// Askers that may wait for their turn, at most.
const WAITING: usize = 4;

/// Pods that are looked at in one turn: a millisecond at most.
const SLICE: usize = 512;

/// Who waits for digests.
#[derive(Default)]
pub(super) struct DigestJobs(VecDeque<Job>);

/// All feeds, for one asker.
struct Job {
    /// The feeds that are left to count.
    left: VecDeque<Generation>,
    /// The count of the first of them, if it has begun.
    count: Option<Count>,
    done: Vec<FeedDigest>,
    answer: oneshot::Sender<Vec<FeedDigest>>,
}

/// A count of one feed that is under way.
struct Count {
    cursor: Slot,
    digests: Digests,
    hasher: PodHasher,
    seed: Seed,
    /// How much the feed had announced when it began.
    events: u64,
}

impl DigestJobs {
    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Somebody asks. Beyond [`WAITING`] the query is dropped, which is an answer, too.
    pub(super) fn ask(&mut self, answer: oneshot::Sender<Vec<FeedDigest>>, feeds: &Feeds) {
        if self.0.len() < WAITING {
            self.0.push_back(Job {
                left: feeds.views().map(|view| view.generation).collect(),
                count: None,
                done: Vec::new(),
                answer,
            });
        }
    }
}

impl Driver {
    /// Counts a slice for the first asker.
    pub(super) fn count_digests(&mut self) {
        let Some(job) = self.digests.0.front_mut() else {
            return;
        };
        let feed = job.left.front().and_then(|feed| {
            let mut views = self.feeds.views();
            views.find(|view| view.generation == *feed)
        });
        let Some(view) = feed.filter(|_| !job.answer.is_closed()) else {
            // All are counted, or gone, or nobody waits any longer.
            job.count = None;
            let over = job.left.pop_front().is_none() || job.answer.is_closed();
            if over && let Some(job) = self.digests.0.pop_front() {
                // The asker may have gone.
                let _ = job.answer.send(job.done);
            }
            return;
        };
        let seed = self.feeds.ledger().seed();
        let count = job
            .count
            .get_or_insert_with(|| Count::new(seed, view.events()));
        if let Some(digests) = count.go_on(view.matcher()) {
            let exact = count.events == view.events();
            job.done.push(digest(&view, &digests, exact));
            job.count = None;
            job.left.pop_front();
        }
    }
}

impl Count {
    fn new(seed: Seed, events: u64) -> Self {
        Self {
            cursor: Slot::FIRST,
            digests: Digests::default(),
            hasher: PodHasher::default(),
            seed,
            events,
        }
    }

    /// Counts a slice more. Returns the digests once all pods have been looked at.
    fn go_on(&mut self, matcher: &Matcher) -> Option<Digests> {
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
            let message = project::pod_new(live.pod, live.owner, &mut ids).message;
            let hash = self.hasher.pod(&message);
            self.digests.add(message.ns, hash);
        }
        None
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
