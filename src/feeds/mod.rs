//! The feeds and which of them is active (D4).
//!
//! Laws: at most one feed is active, and only its live set is told; every other feed keeps
//! its own state as a shadow. A new `Collect` stream is active at once. When the active stream
//! ends, its pods stay told until the next one opens, or until an older one that is still
//! alive and listed takes over.
//!
//! Absent here: sockets, clocks, who sends the events.

mod fold;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

pub use fold::{Fact, Fold, Uids};
use kube::runtime::watcher::Event;

use crate::{
    matcher::{
        Change, Counts, Epoch, Escalate, Generation, Ledger, Marks, Matcher, OwnerSort, Policy,
        Reannounce, Resume, Sink, Telling, Windows,
    },
    model::{Keyed, OwnerMeta, PodMeta},
};

/// What happens to the feeds when the reducer is back (D5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnReconnect {
    /// The live set is told again from memory.
    #[default]
    Replay,
    /// Legacy: if pod data was told, all streams are reset and nothing is told again.
    Reset,
}

/// The time limits of D4.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// From the end of the active stream until an older one takes over.
    pub take_over: Duration,
    /// A stream without MODIFIED or DELETED is listed this long after its last pod.
    pub quiet: Duration,
    /// A stream that told no pod is listed this long after its last Info, or its opening.
    pub silent: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            take_over: Duration::from_secs(5),
            quiet: Duration::from_secs(30),
            silent: Duration::from_secs(60),
        }
    }
}

/// How the core is set up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// See [`OnReconnect`].
    pub on_reconnect: OnReconnect,
    /// See [`Marks`].
    pub marks: Marks,
    /// See [`Windows`].
    pub windows: Windows,
    /// See [`Patience`].
    pub patience: Patience,
    /// See [`Escalate`]; for every feed.
    pub escalate: Escalate,
    /// See [`Reannounce`]; for every feed.
    pub reannounce: Reannounce,
}

/// One event of a feed: [`crate::source::FeedEvent`] in the words of the core.
#[derive(Debug)]
pub enum Input {
    /// A pod.
    Pod(Event<PodMeta>),
    /// A ReplicaSet or Job.
    Owner(OwnerSort, Event<OwnerMeta>),
    /// The source has told its first lists.
    Listed,
}

/// All feeds, and what the reducer was told of the active one.
#[derive(Debug)]
pub struct Feeds {
    settings: Settings,
    telling: Telling,
    feeds: BTreeMap<Generation, Feed>,
    active: Option<Generation>,
    newest: Generation,
    /// When an older feed may take over, because the active one has ended.
    take_over_at: Option<Instant>,
    /// When to look again whether a feed counts as listed: [`Feed::look_at`] of those that do not.
    looks: BTreeSet<(Instant, Generation)>,
}

#[derive(Debug)]
struct Feed {
    matcher: Matcher,
    pods: Fold<PodMeta>,
    replica_sets: Fold<OwnerMeta>,
    jobs: Fold<OwnerMeta>,
    state: FeedState,
    listed: bool,
    last_event: Instant,
    last_pod: Option<Instant>,
    /// When to look again whether it counts as listed. May be early, never late.
    look_at: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FeedState {
    /// Its source speaks.
    Open,
    /// The guard rail has ended it; what its source still says is not heard.
    Overflowed,
    /// Its source is gone; only the active feed is kept in this state.
    Ended,
}

impl Feeds {
    /// No feed, no connection. `now` is the origin of all times.
    pub fn new(settings: Settings, now: Instant) -> Self {
        Self {
            settings,
            telling: Telling::new(settings.marks, settings.windows, now)
                .reannouncing(settings.reannounce),
            feeds: BTreeMap::new(),
            active: None,
            newest: Generation(0),
            take_over_at: None,
            looks: BTreeSet::new(),
        }
    }

    /// A `Collect` stream was opened: it is the active feed from now on.
    pub fn open(&mut self, now: Instant, sink: &mut impl Sink) -> Generation {
        self.newest.0 += 1;
        let policy = Policy {
            escalate: self.settings.escalate,
            reannounce: self.settings.reannounce,
            ..Policy::LEGACY
        };
        let feed = Feed::new(policy, self.settings.patience, now);
        self.looks.insert((feed.look_at, self.newest));
        self.feeds.insert(self.newest, feed);
        self.activate(self.newest);
        self.telling.new_stream(sink);
        self.resume(now, sink);
        self.newest
    }

    /// The source of this feed is gone.
    pub fn close(&mut self, generation: Generation, now: Instant) {
        if self.active != Some(generation) {
            self.forget(generation);
        } else if let Some(feed) = self.feeds.get_mut(&generation) {
            feed.state = FeedState::Ended;
            self.take_over_at = Some(now + self.settings.patience.take_over);
        }
    }

    /// A feed tells something. Events of feeds that have ended are not heard.
    pub fn handle(
        &mut self,
        generation: Generation,
        input: Input,
        now: Instant,
        sink: &mut impl Sink,
    ) {
        let Some(feed) = self.feeds.get_mut(&generation) else {
            return;
        };
        if feed.state != FeedState::Open {
            return;
        }
        feed.last_event = now;
        let active = self.active == Some(generation);
        let telling = &mut self.telling;
        let repeat = feed.matcher.policy().repeat_containers;
        let mut overflow = false;
        let mut tell = |change: Change<'_>| {
            overflow |= matches!(change, Change::Overflow);
            if active {
                telling.change(change, repeat, now, sink);
            }
        };
        let Feed {
            matcher,
            pods,
            replica_sets,
            jobs,
            ..
        } = feed;
        match input {
            Input::Pod(event) => {
                feed.last_pod = Some(now);
                pods.fold(event, |fact| match fact {
                    Fact::Apply(pod) => matcher.apply_pod(pod, now, &mut tell),
                    Fact::Delete(pod) => matcher.delete_pod(pod.uid(), &mut tell),
                    Fact::Sweep(keep) => matcher.sweep_pods(|uid| keep.contains(uid), &mut tell),
                });
            }
            Input::Owner(sort, event) => {
                let fold = match sort {
                    OwnerSort::ReplicaSet => replica_sets,
                    OwnerSort::Job => jobs,
                };
                fold.fold(event, |fact| match fact {
                    Fact::Apply(owner) => matcher.apply_owner(sort, &owner, &mut tell),
                    Fact::Delete(owner) => matcher.delete_owner(owner.uid(), now),
                    Fact::Sweep(keep) => {
                        matcher.sweep_owners(sort, |uid| keep.contains(uid), now);
                    }
                });
            }
            Input::Listed => feed.listed = true,
        }
        feed.listed |= feed.pods.listed() && feed.replica_sets.listed() && feed.jobs.listed();
        let newly_listed = feed.listed && active;
        if overflow {
            feed.state = FeedState::Overflowed;
            sink.feed_overflow(generation);
        }
        if newly_listed {
            self.telling.listed();
        }
    }

    /// The reducer is there and greeted. Returns whether all streams are to be reset,
    /// which [`OnReconnect::Reset`] asks for when pod data was told since the last reset.
    pub fn connected(&mut self, now: Instant, sink: &mut impl Sink) -> bool {
        let reset = self.settings.on_reconnect == OnReconnect::Reset && self.telling.is_dirty();
        if reset {
            self.feeds.clear();
            self.looks.clear();
            self.active = None;
            self.take_over_at = None;
        }
        self.telling.connected();
        self.resume(now, sink);
        reset
    }

    /// The connection to the reducer is gone.
    pub fn disconnected(&mut self) {
        self.telling.disconnected();
    }

    /// Goes on with a replay, a difference or an owed resync.
    pub fn resume(&mut self, now: Instant, sink: &mut impl Sink) -> Resume {
        let active = self
            .active
            .and_then(|generation| self.feeds.get(&generation));
        self.telling
            .resume(active.map(|feed| &feed.matcher), now, sink)
    }

    /// Does what is due: windows that end, streams that count as listed, a take-over.
    pub fn handle_timeout(&mut self, now: Instant, sink: &mut impl Sink) {
        self.telling.handle_timeout(now);
        for (generation, feed) in &mut self.feeds {
            let repeat = feed.matcher.policy().repeat_containers;
            let active = self.active == Some(*generation);
            feed.matcher.handle_timeout(now, &mut |change| {
                if active {
                    self.telling.change(change, repeat, now, sink);
                }
            });
        }
        self.list_the_quiet(now);
        if self.take_over_at.is_some_and(|at| at <= now) {
            self.take_over(now);
        }
        self.resume(now, sink);
    }

    /// When [`Self::handle_timeout`] is due next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let take_over = self.take_over_at.filter(|_| self.successor().is_some());
        let listing = self.looks.first().map(|(at, _)| *at);
        let matchers = self
            .feeds
            .values()
            .filter_map(|feed| feed.matcher.poll_timeout());
        [take_over, listing, self.telling.poll_timeout()]
            .into_iter()
            .flatten()
            .chain(matchers)
            .min()
    }

    /// What the reducer was told on the present connection.
    pub fn ledger(&self) -> &Ledger {
        self.telling.ledger()
    }

    /// The matcher of the active feed.
    pub fn active(&self) -> Option<&Matcher> {
        Some(&self.feeds.get(&self.active?)?.matcher)
    }

    /// Which feed is active, if there is one.
    pub fn active_generation(&self) -> Option<Generation> {
        self.active
    }

    /// Whether the active feed is listed.
    pub fn is_listed(&self) -> bool {
        let active = self
            .active
            .and_then(|generation| self.feeds.get(&generation));
        active.is_some_and(|feed| feed.listed)
    }

    /// The sizes of the active feed.
    pub fn counts(&self) -> Counts {
        self.active().map(Matcher::counts).unwrap_or_default()
    }

    /// How many feeds there are, shadows included.
    pub fn len(&self) -> usize {
        self.feeds.len()
    }

    /// Whether there is no feed.
    pub fn is_empty(&self) -> bool {
        self.feeds.is_empty()
    }

    /// The number of the present picture.
    pub fn epoch(&self) -> Epoch {
        self.telling.epoch()
    }

    /// Whether nothing is left to tell.
    pub fn is_settled(&self) -> bool {
        self.telling.is_settled()
    }

    /// A stream in a quiet cluster is listed when it has told nothing for long enough (D4).
    fn list_the_quiet(&mut self, now: Instant) {
        let patience = self.settings.patience;
        while let Some((_, generation)) = self.looks.first().filter(|(at, _)| *at <= now).copied() {
            self.looks.pop_first();
            let Some(feed) = self.feeds.get_mut(&generation) else {
                continue;
            };
            if feed.listed || feed.state != FeedState::Open {
                continue;
            }
            if feed.listed_when_quiet(patience) > now {
                feed.look_at = feed.next_look(patience, now);
                self.looks.insert((feed.look_at, generation));
                continue;
            }
            feed.listed = true;
            if self.active == Some(generation) {
                self.telling.listed();
            }
        }
    }

    fn take_over(&mut self, now: Instant) {
        let Some(successor) = self.successor() else {
            return;
        };
        self.activate(successor);
        if let Some(feed) = self.feeds.get(&successor) {
            self.telling.change_feed(&feed.matcher, feed.listed, now);
        }
    }

    /// The newest feed that could take over from the active one.
    fn successor(&self) -> Option<Generation> {
        let mut alive = self
            .feeds
            .iter()
            .rev()
            .filter(|(_, feed)| feed.state == FeedState::Open);
        alive
            .find(|(_, feed)| feed.listed)
            .map(|(generation, _)| *generation)
    }

    /// Makes this feed the active one. The one before stays as a shadow if it is alive.
    fn activate(&mut self, generation: Generation) {
        self.take_over_at = None;
        let before = self.active.replace(generation);
        let ended = before.filter(|before| {
            self.feeds
                .get(before)
                .is_some_and(|feed| feed.state == FeedState::Ended)
        });
        if let Some(ended) = ended {
            self.forget(ended);
        }
    }

    fn forget(&mut self, generation: Generation) {
        if let Some(feed) = self.feeds.remove(&generation) {
            self.looks.remove(&(feed.look_at, generation));
        }
    }
}

impl Feed {
    fn new(policy: Policy, patience: Patience, now: Instant) -> Self {
        let mut feed = Self {
            matcher: Matcher::new(policy),
            pods: Fold::default(),
            replica_sets: Fold::default(),
            jobs: Fold::default(),
            state: FeedState::Open,
            listed: false,
            last_event: now,
            last_pod: None,
            look_at: now,
        };
        feed.look_at = feed.next_look(patience, now);
        feed
    }

    fn listed_when_quiet(&self, patience: Patience) -> Instant {
        match self.last_pod {
            Some(at) => at + patience.quiet,
            None => self.last_event + patience.silent,
        }
    }

    /// Its first pod, if it comes after `now`, makes it listed `quiet` after that at the earliest.
    fn next_look(&self, patience: Patience, now: Instant) -> Instant {
        let soon = now + patience.quiet.max(Duration::from_millis(1));
        self.listed_when_quiet(patience).min(soon)
    }
}
