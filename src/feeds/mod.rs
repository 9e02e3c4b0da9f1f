//! The feeds and which of them is active (D4).
//!
//! A feed is one `Collect` stream, or our own watches. Each has stores, which readers look
//! into while it is active ([`Feeds::reader`]), and a matcher, whose live set is told then.
//!
//! Laws: at most one feed is active, and only its live set is told; every other feed keeps
//! its own state as a shadow. Where `Collect` is the active source, a new stream is active at
//! once; when the active stream ends, its pods stay told until the next one opens, or until an
//! older one that is still alive and listed takes over. Where our watches are, they stay active
//! whatever streams do. A list is never a reason for a resync, unless that is asked for: what
//! finds no room is told by a later pass. A switch from one source to the other (`switch.rs`) is
//! told as a difference, and what the reducer knows stays while there is nobody to switch to.
//! While both are compared, a pod that is the same in both is held once (`twins.rs`).
//!
//! Absent here: sockets, clocks, who sends the events.

mod feed;
mod switch;
mod twins;
mod view;

#[cfg(test)]
mod memory;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use feed::{Feed, FeedState, Hearing};
pub use view::View;

use kube::runtime::watcher::Event;
pub use twins::{Touch, Touched};

use crate::{
    matcher::{
        Counts, Epoch, Escalate, Generation, Ledger, Marks, Matcher, OwnerSort, Policy, Reannounce,
        Resume, Sink, Telling, Windows,
    },
    model::{Kind, OwnerMeta, PodMeta, Scope, Uid},
    stores::{Active, Objects, Reader},
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

/// Which source the active feed comes from. What the other one tells is kept, and not told on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ActiveSource {
    /// The latest `Collect` stream.
    #[default]
    Collect,
    /// Our own watches.
    Native,
}

impl ActiveSource {
    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Collect => Self::Native,
            Self::Native => Self::Collect,
        }
    }

    /// What its feed is called in answers.
    pub fn feed_name(self) -> &'static str {
        match self {
            Self::Collect => "legacy",
            Self::Native => "native",
        }
    }
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
    /// See [`ActiveSource`].
    pub active: ActiveSource,
    /// See [`OnReconnect`].
    pub on_reconnect: OnReconnect,
    /// See [`Marks`].
    pub marks: Marks,
    /// See [`Windows`]. Its `owner_wait` is also how long pods of our own watches wait (D9),
    /// its `owner_retention` is for these alone.
    pub windows: Windows,
    /// See [`Patience`].
    pub patience: Patience,
    /// The end of a re-list of pods sends `pod_resync` and everything, in place of the
    /// difference (D3).
    pub relist_resync: bool,
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
    /// A list names this object, but in a form that cannot be used.
    Seen(Kind, Box<Uid>),
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
    /// The feed of our own watches. No other one has anything that is due in its matcher.
    native: Option<Generation>,
    /// When an older feed may take over, because the active one has ended.
    take_over_at: Option<Instant>,
    /// When to look again whether a stream counts as listed: [`Feed::look_at`] of those that do not.
    looks: BTreeSet<(Instant, Generation)>,
    shown: Active,
    /// What is noted for a comparison of the newest open stream with our own watches, if there
    /// is one.
    touched: Option<Touched>,
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
            native: None,
            take_over_at: None,
            looks: BTreeSet::new(),
            shown: Active::default(),
            touched: None,
        }
    }

    /// A `Collect` stream was opened: it is the active feed from now on, unless our own watches are.
    pub fn open(&mut self, now: Instant, sink: &mut impl Sink) -> Generation {
        let policy = self.policy(Policy::LEGACY);
        let patience = self.settings.patience;
        let feed = Feed::new(ActiveSource::Collect, policy, 1, patience, now);
        let look_at = feed.look_at;
        let opened = self.add(feed);
        self.looks.insert((look_at, opened));
        match self.settings.active {
            ActiveSource::Collect if self.tells_native() => self.take_back(opened, now, sink),
            ActiveSource::Collect => {
                self.activate(opened);
                self.telling.new_stream(sink);
                self.resume(now, sink);
            }
            ActiveSource::Native => {}
        }
        opened
    }

    /// Our own watches are started, for so many scopes of each kind; there are none yet. They
    /// are a shadow, unless they are the active source from the start: then nothing was told
    /// yet, nothing is sent for it, and the epoch stays 0.
    pub fn open_native(&mut self, scopes: u16, now: Instant) -> Generation {
        let Windows {
            owner_wait,
            owner_retention,
            ..
        } = self.settings.windows;
        let policy = self.policy(Policy::native(owner_wait, owner_retention));
        let patience = self.settings.patience;
        let opened = self.add(Feed::new(
            ActiveSource::Native,
            policy,
            scopes,
            patience,
            now,
        ));
        self.native = Some(opened);
        match self.settings.active {
            ActiveSource::Collect => {}
            ActiveSource::Native => self.activate(opened),
        }
        opened
    }

    /// What every feed is held to, beside what its source makes of it.
    fn policy(&self, policy: Policy) -> Policy {
        Policy {
            escalate: self.settings.escalate,
            reannounce: self.settings.reannounce,
            ..policy
        }
    }

    /// The source of this feed is gone.
    pub fn close(&mut self, generation: Generation, now: Instant) {
        if self.active != Some(generation) {
            self.forget(generation);
        } else if let Some(feed) = self.feeds.get_mut(&generation) {
            feed.state = FeedState::Ended;
            self.telling.source_ended();
            self.take_over_at = Some(now + self.settings.patience.take_over);
        }
    }

    /// A feed tells something. Events of feeds that have ended are not heard.
    /// `scope`: which part of the feed tells it; a `Collect` stream has one, the default.
    pub fn handle(
        &mut self,
        generation: Generation,
        scope: Scope,
        input: Input,
        now: Instant,
        sink: &mut impl Sink,
    ) {
        let compared = self.is_compared(generation);
        let input = match compared {
            true => self.share(generation, input),
            false => input,
        };
        let open = self
            .feeds
            .get_mut(&generation)
            .filter(|feed| feed.state == FeedState::Open);
        let Some(feed) = open else {
            return;
        };
        let hearing = Hearing {
            telling: (self.active == Some(generation)).then_some(&mut self.telling),
            touched: self.touched.as_mut().filter(|_| compared),
            source: feed.source,
            sink,
            now,
            relist_resync: self.settings.relist_resync,
        };
        if feed.take(scope, input, hearing) {
            sink.feed_overflow(generation);
        }
    }

    /// One of our own watches was refused with 403 or 404. If it never listed, it counts as
    /// listed (D4). What is known of its objects stays, also if it has listed before: who may not
    /// look does not know that anything is gone.
    pub fn denied(&mut self, kind: Kind, scope: Scope) {
        let active = self.active == self.native;
        if let Some(feed) = self.native.and_then(|native| self.feeds.get_mut(&native)) {
            feed.denied(kind, scope, active.then_some(&mut self.telling));
        }
    }

    /// The reducer is there and greeted. Returns whether all streams are to be reset,
    /// which [`OnReconnect::Reset`] asks for when pod data was told since the last reset.
    pub fn connected(&mut self, now: Instant, sink: &mut impl Sink) -> bool {
        let resets = self.settings.on_reconnect == OnReconnect::Reset;
        // Our own watches never list for the sake of a reducer.
        let native = self.active.is_some() && self.active == self.native;
        let reset = resets && self.telling.is_dirty() && !native;
        if reset {
            self.feeds.retain(|feed, _| Some(*feed) == self.native);
            self.looks.clear();
            self.active = None;
            self.take_over_at = None;
            self.shown.show(Objects::default());
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
        let active = self.active == self.native;
        if let Some(feed) = self.native.and_then(|native| self.feeds.get_mut(&native)) {
            feed.handle_timeout(Hearing {
                telling: active.then_some(&mut self.telling),
                touched: self.touched.as_mut(),
                source: ActiveSource::Native,
                sink,
                now,
                relist_resync: self.settings.relist_resync,
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
        let native = self.native.and_then(|native| self.feeds.get(&native));
        let matcher = native.and_then(|feed| feed.matcher.poll_timeout());
        [take_over, listing, matcher, self.telling.poll_timeout()]
            .into_iter()
            .flatten()
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

    /// Looks into the stores of the active feed, from any thread.
    pub fn reader(&self) -> Reader {
        self.shown.reader()
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
        if let Some(successor) = self.successor() {
            self.change_feed(successor, now);
        }
    }

    /// The newest stream that could take over from the active one.
    fn successor(&self) -> Option<Generation> {
        let streams = self.feeds.iter().rev();
        let mut alive = streams.filter(|(generation, feed)| {
            Some(**generation) != self.native && feed.state == FeedState::Open
        });
        alive
            .find(|(_, feed)| feed.listed)
            .map(|(generation, _)| *generation)
    }

    fn add(&mut self, feed: Feed) -> Generation {
        self.newest.0 += 1;
        self.feeds.insert(self.newest, feed);
        self.newest
    }

    /// Makes this feed the active one. The one before stays as a shadow if it is alive.
    fn activate(&mut self, generation: Generation) {
        self.take_over_at = None;
        if let Some(feed) = self.feeds.get(&generation) {
            self.shown.show(feed.objects());
        }
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
