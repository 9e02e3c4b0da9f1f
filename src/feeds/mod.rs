//! The feeds and which of them is active (D4).
//!
//! A feed is one `Collect` stream, or the native watches. Each has stores, which readers look into
//! while it is active ([`Feeds::reader`]), and a matcher, whose live set is announced then.
//!
//! Invariants: at most one feed is active, and only its live pods are announced, and pods kept of
//! the feeds before it; every other feed keeps its own state as a shadow. Where the native watches
//! are the active source, they stay active whatever streams do. A list is never a reason for a
//! resync, unless that is asked for: what finds no room is announced by a later sweep. A change of
//! source (`switch.rs`) is announced as a difference, and what was announced stays while there is
//! no feed to change to. While both are compared, a pod that is the same in both is held once
//! (`compared.rs`).
//!
//! # Streams hand over without a gap
//!
//! A stream is a *candidate* once it has sent an Info. It *fits* unless it lacks 20 or more of the
//! announced pods that somebody vouches for, and more than half of them (`overlap.rs`). *Silence*
//! is `--stream-silence`, counted by a clock that stands still while the process does
//! (`clock.rs`). One that is *doubted* was called synced too early: by a change that was its first
//! word of pods, or it goes on sending pods that were announced all the time; for 10 s after each
//! of them.
//!
//! Who is active (`handover.rs`; the first row that applies, the newest stream first):
//!
//! | active | somebody else | then |
//! |---|---|---|
//! | open, synced and fits | no standby was ahead of it for *silence* | it stays |
//! | open, synced and fits | a synced standby that fits sent an Info 10 s later than its last one, and it nothing for *silence* since | the standby |
//! | open otherwise | a synced standby that fits | the standby, at once |
//! | open otherwise | others | it stays |
//! | none, ended, or met the guard rail | a synced candidate that fits | that one |
//! | the same | a candidate that is not synced, also one that opens later | that one |
//! | the same, for *silence* | synced candidates that do not fit | the newest, with a warning |
//! | the same | streams that sent nothing, or none | nobody: everything announced stays |
//! | the native watches, rolled back from | a synced candidate that fits | that one; else the native watches stay announced and kept up |
//!
//! What the reducer receives (`announce/announcer/changeover.rs`):
//!
//! | what | when |
//! |---|---|
//! | a pod that is new in the active feed | at once |
//! | a pod whose announced fields or containers differ from what the next stream says, or from what it has | when it is active and has the pod, whatever D14's setting is |
//! | the delete of a DELETED Info of the active feed | at once |
//! | the delete of a pod that the active feed does not have | when that is synced, fits and is not doubted, or was synced for *silence*; and D3's window is over |
//! | everything announced, kept pods included | after a reconnect |
//! | `pod_resync`, a new epoch | never, but for D6 and `--relist-resync` |
//!
//! [`Handover::Legacy`]: a new stream is active at once, with nothing known; when the active one
//! ends, its pods stay announced until the next one opens, or until an older one that is still
//! alive and synced takes over.
//!
//! Absent here: sockets, clocks, who sends the events.

mod clock;
mod compared;
mod feed;
mod handover;
mod overlap;
mod pending;
mod settings;
mod switch;
mod view;

#[cfg(test)]
mod memory;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use clock::Clock;
pub use compared::{DirtyPod, DirtyPods};
use feed::{EventContext, Feed, FeedState};
use handover::Heard;
use kube::runtime::watcher::Event;
use pending::Episode;
pub use pending::{Notice, Pending, Why};
pub use settings::{Handover, OnReconnect, Settings, SourceKind, Timeouts};
pub use switch::Waits;
pub use view::View;

use crate::{
    announce::{Announcer, CatchUp, Epoch, Ledger, Resends, Sink, WindowConfig},
    matcher::{Counts, Generation, Matcher, OwnerSort, Policy},
    model::{Kind, ObjectMeta, PodMeta, Scope, Uid},
    stores::{Publisher, Reader, Stores},
};

/// One event of a feed: [`crate::source::FeedEvent`] in the words of the core.
#[derive(Debug)]
pub enum Input {
    /// A pod.
    Pod(Event<PodMeta>),
    /// A ReplicaSet or Job.
    Owner(OwnerSort, Event<ObjectMeta>),
    /// A list names this object, but in a form that cannot be used.
    Seen(Kind, Box<Uid>),
    /// The source has sent its first lists.
    Listed,
}

/// All feeds, and what was sent to the reducer of the active one.
#[derive(Debug)]
pub struct Feeds {
    settings: Settings,
    announcer: Announcer,
    feeds: BTreeMap<Generation, Feed>,
    active: Option<Generation>,
    newest: Generation,
    /// The feed of the native watches. No other one has anything that is due in its matcher.
    native: Option<Generation>,
    /// The stream that is active, or would be if the native watches were not.
    lead: Option<Generation>,
    /// What streams send is not heard.
    is_deaf: bool,
    /// [`Handover::Legacy`]: when an older feed may take over, because the active one has ended.
    take_over_at: Option<Instant>,
    clock: Clock,
    /// By the clock, since when no feed is active that is open.
    vacant_since: Option<Duration>,
    /// A standby has a [`Feed::ahead_since`].
    is_silence_counted: bool,
    /// Since when deletes are pending, and what was said of it.
    pending: Episode,
    disagreement_reported: bool,
    notices: Vec<Notice>,
    shown: Publisher,
    /// Which feed's objects are shown.
    shows: Option<Generation>,
    /// What is noted for a comparison of the leading stream with the native watches, if there is
    /// one.
    dirty_pods: Option<DirtyPods>,
}

impl Feeds {
    /// No feed, no connection. `now` is the origin of all times.
    pub fn new(settings: Settings, now: Instant) -> Self {
        Self {
            settings,
            announcer: Announcer::new(settings.marks, settings.windows, now)
                .reannouncing(settings.reannounce, settings.seed),
            feeds: BTreeMap::new(),
            active: None,
            newest: Generation(0),
            native: None,
            lead: None,
            is_deaf: false,
            take_over_at: None,
            clock: Clock::default(),
            vacant_since: None,
            is_silence_counted: false,
            pending: Episode::default(),
            disagreement_reported: false,
            notices: Vec::new(),
            shown: Publisher::default(),
            shows: None,
            dirty_pods: None,
        }
    }

    /// A `Collect` stream was opened. Until it sends something it is nobody; under
    /// [`Handover::Legacy`] it is the active feed from now on, unless the native watches are.
    pub fn open(&mut self, now: Instant, sink: &mut impl Sink) -> Generation {
        if self.is_deaf {
            self.newest.0 += 1;
            return self.newest;
        }
        let policy = self.policy(Policy::LEGACY);
        let counted = self.clock.read(now);
        let opened = self.add(Feed::new(SourceKind::Collect, policy, 1, counted, now));
        match (self.settings.handover, self.settings.active) {
            (Handover::Legacy, SourceKind::Collect) if self.announces_native() => {
                self.take_back(opened, now, sink);
            }
            (Handover::Legacy, SourceKind::Collect) => {
                self.activate(opened);
                self.announcer.new_stream(sink);
                self.resume(now, sink);
            }
            (Handover::Legacy, SourceKind::Native) | (Handover::Seamless, _) => {}
        }
        if self.settings.handover == Handover::Legacy {
            self.lead = Some(opened);
        }
        self.run_clock(now);
        self.note_pending(now);
        opened
    }

    /// Whether what streams send is heard from now on. What is open loses all that it has sent,
    /// and is not heard again: its calls are to be ended.
    pub fn hear_streams(&mut self, hears: bool) {
        self.is_deaf = !hears;
        if self.is_deaf {
            let active = self.active;
            self.feeds.retain(|generation, feed| {
                feed.source == SourceKind::Native || Some(*generation) == active
            });
            self.lead = None;
            self.count_for_standbys();
        }
    }

    /// The native watches are started, for so many scopes of each kind; there are none yet. They
    /// are a shadow, unless they are the active source from the start: then nothing was announced
    /// yet, nothing is sent for it, and the epoch stays 0.
    pub fn open_native(&mut self, scopes: u16, now: Instant) -> Generation {
        let WindowConfig {
            owner_wait,
            owner_retention,
            ..
        } = self.settings.windows;
        let policy = self.policy(Policy::native(owner_wait, owner_retention));
        let counted = self.clock.read(now);
        let feed = Feed::new(SourceKind::Native, policy, scopes, counted, now);
        let opened = self.add(feed);
        self.native = Some(opened);
        match self.settings.active {
            SourceKind::Collect => {}
            SourceKind::Native => self.activate(opened),
        }
        opened
    }

    /// What every feed is held to, apart from what its source makes of it.
    fn policy(&self, policy: Policy) -> Policy {
        Policy {
            escalate: self.settings.escalate,
            reannounce: self.settings.reannounce,
            seed: self.settings.seed,
            ..policy
        }
    }

    /// The source of this feed is gone.
    pub fn close(&mut self, generation: Generation, now: Instant) {
        if self.active != Some(generation) {
            self.feeds.remove(&generation);
        } else if let Some(feed) = self.feeds.get_mut(&generation) {
            feed.state = FeedState::Ended;
            // Nobody will confirm or deny what is kept.
            self.announcer.hold(true);
            self.take_over_at = Some(now + self.settings.timeouts.take_over);
        }
        match self.settings.handover {
            Handover::Seamless => self.stream_ended(now),
            Handover::Legacy => self.run_clock(now),
        }
        self.note_pending(now);
    }

    /// An event of a feed; those of feeds that have ended are dropped. `scope`: which part of the
    /// feed it is of; a `Collect` stream has one, the default.
    ///
    /// Returns whether too many pods wait for their owners since this event: the call of this
    /// legacy feed must end (D9).
    #[must_use]
    pub fn handle(
        &mut self,
        generation: Generation,
        scope: Scope,
        input: Input,
        now: Instant,
        sink: &mut impl Sink,
    ) -> bool {
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
            return false;
        };
        let is_active = self.active == Some(generation);
        feed.heard_at = self.clock.read(now);
        let counts = self.settings.handover == Handover::Seamless
            && feed.source == SourceKind::Collect
            && !is_active;
        let mut moves = Vec::new();
        let (is_first, was_synced) = (feed.events == 0, feed.synced);
        let confirmed = self.announcer.confirmed();
        let context = EventContext {
            announcer: is_active.then_some(&mut self.announcer),
            dirty_pods: self.dirty_pods.as_mut().filter(|_| compared),
            moves: counts.then_some(&mut moves),
            source: feed.source,
            sink,
            now,
            relist_resync: self.settings.relist_resync,
        };
        let overflow = feed.take(scope, input, context);
        let heard = Heard {
            feed: generation,
            is_first,
            was_synced,
            overflow,
            moves,
            confirmed,
        };
        match self.settings.handover {
            Handover::Seamless => {
                if self.heard(heard, now) {
                    self.resume(now, sink);
                }
            }
            Handover::Legacy => self.release(now),
        }
        self.note_pending(now);
        overflow
    }

    /// One of the native watches was refused with 403 or 404. If it never listed, it counts as
    /// listed (D4). What is known of its objects stays, also if it has listed before: who may not
    /// look does not know that anything is gone.
    pub fn denied(&mut self, kind: Kind, scope: Scope, now: Instant) {
        if let Some(feed) = self.native.and_then(|native| self.feeds.get_mut(&native)) {
            feed.denied(kind, scope);
        }
        self.release(now);
        self.follow_with_readers();
    }

    /// The reducer is connected and the handshake is sent. Returns whether all streams are to be
    /// reset, which [`OnReconnect::ResetWatcher`] asks for when pod data was sent since the last
    /// reset.
    pub fn connected(&mut self, now: Instant, sink: &mut impl Sink) -> bool {
        let resets = self.settings.on_reconnect == OnReconnect::ResetWatcher;
        // The native watches never list for the sake of a reducer.
        let native = self.active.is_some() && self.active == self.native;
        let reset = resets && self.announcer.is_dirty() && !native;
        if reset {
            self.feeds.retain(|feed, _| Some(*feed) == self.native);
            self.announcer.drop_kept();
            (self.active, self.lead) = (None, None);
            self.take_over_at = None;
            self.shows = None;
            self.shown.show(Stores::default());
        }
        self.announcer.connected();
        self.resume(now, sink);
        reset
    }

    /// The connection to the reducer is gone.
    pub fn disconnected(&mut self) {
        self.announcer.disconnected();
        if self.settings.handover == Handover::Legacy {
            self.announcer.drop_kept();
        }
    }

    /// Goes on with a replay, a difference or an owed resync.
    pub fn resume(&mut self, now: Instant, sink: &mut impl Sink) -> CatchUp {
        let active = self
            .active
            .and_then(|generation| self.feeds.get(&generation));
        let active = active.map(|feed| &feed.matcher);
        let resume = self.announcer.resume(active, now, sink);
        self.vouched_moved();
        resume
    }

    /// Does what is due: windows that end, silence that is long enough, a take-over.
    pub fn handle_timeout(&mut self, now: Instant, sink: &mut impl Sink) {
        self.announcer.handle_timeout(now);
        let active = self.active == self.native;
        if let Some(feed) = self.native.and_then(|native| self.feeds.get_mut(&native)) {
            feed.handle_timeout(EventContext {
                announcer: active.then_some(&mut self.announcer),
                dirty_pods: self.dirty_pods.as_mut(),
                moves: None,
                source: SourceKind::Native,
                sink,
                now,
                relist_resync: self.settings.relist_resync,
            });
        }
        self.time_passed(now);
        if self.take_over_at.is_some_and(|at| at <= now) {
            self.take_over(now);
        }
        self.run_clock(now);
        self.note_pending(now);
        self.resume(now, sink);
    }

    /// When [`Self::handle_timeout`] is due next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let take_over = self.take_over_at.filter(|_| self.successor().is_some());
        let native = self.native.and_then(|native| self.feeds.get(&native));
        let matcher = native.and_then(|feed| feed.matcher.poll_timeout());
        [
            take_over,
            matcher,
            self.announcer.poll_timeout(),
            self.clock.poll_timeout(),
            self.warning_due(),
            self.doubt_ends(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// What was sent to the reducer on the present connection.
    pub fn ledger(&self) -> &Ledger {
        self.announcer.ledger()
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

    /// Whether the active feed is synced.
    pub fn is_listed(&self) -> bool {
        let active = self
            .active
            .and_then(|generation| self.feeds.get(&generation));
        active.is_some_and(|feed| feed.synced)
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

    /// The number of the present epoch of the announcements.
    pub fn epoch(&self) -> Epoch {
        self.announcer.epoch()
    }

    /// How many bytes may wait to be sent (D6).
    pub fn queue_limit(&self) -> usize {
        self.settings.marks.limit
    }

    /// How often everything had to be sent again, and why.
    pub fn resends(&self) -> Resends {
        self.announcer.resends()
    }

    /// Whether a change of the active feed that comes now may not be announced at once.
    pub fn is_behind(&self) -> bool {
        self.announcer.is_behind()
    }

    /// Whether nothing is left to announce.
    pub fn is_settled(&self) -> bool {
        self.announcer.is_settled()
    }

    /// [`Handover::Legacy`]: the newest stream that could take over from the active one does.
    fn take_over(&mut self, now: Instant) {
        if let Some(successor) = self.successor() {
            self.change_feed(successor, false, now);
        }
    }

    fn successor(&self) -> Option<Generation> {
        let mut streams = self.feeds.iter().rev();
        let synced = streams.find(|(_, feed)| {
            feed.source == SourceKind::Collect && feed.state == FeedState::Open && feed.synced
        });
        synced
            .filter(|_| self.settings.handover == Handover::Legacy)
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
        let before = self.active.replace(generation);
        let ended = before.filter(|before| {
            self.feeds
                .get(before)
                .is_some_and(|feed| feed.state == FeedState::Ended)
        });
        if let Some(ended) = ended {
            self.feeds.remove(&ended);
        }
        self.follow_with_readers();
    }

    /// Readers look into the active feed as soon as it knows all there is. Before there was any
    /// they look into the first one; under [`Handover::Legacy`] always into the latest.
    fn follow_with_readers(&mut self) {
        let Some(active) = self.active.filter(|_| self.shows != self.active) else {
            return;
        };
        let at_once = self.settings.handover == Handover::Legacy || self.shows.is_none();
        if let Some(feed) = self
            .feeds
            .get(&active)
            .filter(|feed| at_once || feed.synced)
        {
            self.shown.show(feed.objects());
            self.shows = Some(active);
        }
    }
}
