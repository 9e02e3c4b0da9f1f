//! The one loop. Everything that can make the relay act is a [`LoopEvent`]; the loop owns the
//! core ([`Feeds`]) and the way out ([`Reducer`]), so nothing in the core needs a lock.
//!
//! Invariants: a slow or absent reducer never stops the reading of sources; what a batch makes the
//! relay send is flushed as soon as no further batch is ready, at the latest after [`MAX_DELAY`]
//! (D7). Imported by [`crate::app`] only.

mod answers;
mod audit;
mod digests;
mod ending;
mod inputs;
mod lead;
mod notices;
pub mod query;
mod report;
mod standing;
mod steps;
mod watches;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use futures_util::FutureExt as _;
use tokio::{
    sync::{mpsc, oneshot},
    time::sleep_until,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use self::{
    digests::DigestJobs,
    inputs::{Inputs, Word},
    query::DriverQuery,
    report::PROGRESS,
    steps::{StepNews, StepRunner},
    watches::Watched,
};
pub use self::{ending::Ended, lead::Lead, steps::Migrating};
use crate::{
    announce::CatchUp,
    feeds::{Feeds, Input, Settings},
    ha::Order,
    matcher::{Generation, OwnerSort},
    model::Scope,
    reducer::{Reducer, ReducerEvent},
    source::{CallEnd, CollectMessage, FeedEvent, StreamId, WatchHealth, WatchMessage},
    stores::Reader,
};

/// The longest time a queued message may wait for its flush while events keep coming.
const MAX_DELAY: Duration = Duration::from_millis(10);

/// Batches that are taken at the end, at most.
const LAST_BATCHES: usize = 128;

/// How often the state is logged.
const REPORT_EVERY: Duration = Duration::from_secs(300);

/// Streams that ended stay in the progress report, this many of them.
const ENDED_SHOWN: usize = 16;

/// And this many of those that ended without an Info.
const SILENT_SHOWN: usize = 3;

/// The loop and what it owns.
pub struct Driver {
    feeds: Feeds,
    steps: StepRunner,
    reducer: Reducer,
    inputs: Inputs,
    streams: BTreeMap<StreamId, Stream>,
    /// The native watches, if there are any.
    watched: Option<Watched>,
    resume: CatchUp,
    /// More is left to compare.
    compares: bool,
    digests: DigestJobs,
    started: Instant,
    report_at: Instant,
    /// The last report of the progress, so that each state is reported once.
    reported: String,
    /// Cancelled when the process ends and sources are late.
    leave: CancellationToken,
    /// The election, if there is one.
    lead: Option<Lead>,
}

/// How the loop is set up.
#[derive(Debug)]
pub struct Options {
    /// How the core is set up. Its active source is that of the migration's stage.
    pub settings: Settings,
    /// The native watches, if they run from the start.
    pub watches: Option<Watches>,
    /// How the migration is set up.
    pub migrating: Migrating,
}

/// The native watches.
#[derive(Debug)]
pub struct Watches {
    /// How many scopes there are of each kind: the number of namespaces, or one for all.
    pub scopes: u16,
    /// What they are called, in their order; none: there is one, of all namespaces.
    pub namespaces: Vec<String>,
    /// What the watches send.
    pub inputs: mpsc::Receiver<WatchMessage>,
}

/// The channel to the task that starts and ends the native watches.
#[derive(Debug)]
pub struct WatchControl {
    /// With room for a start and an end.
    pub orders: mpsc::Sender<WatchOrder>,
    /// Each order is answered.
    pub news: mpsc::Receiver<WatchNews>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchOrder {
    /// That the native watches run.
    Start,
    /// That they end.
    Stop,
}

/// What has come of it.
#[derive(Debug)]
pub enum WatchNews {
    /// They run.
    Started(Watches),
    /// They cannot run, and why.
    Failed(String),
    /// They have ended, if they ran.
    Stopped,
}

/// A `Collect` stream as the driver knows it.
struct Stream {
    generation: Generation,
    /// Ends the call; `None` once it was used, or when the stream has ended by itself.
    end: Option<oneshot::Sender<CallEnd>>,
    open: bool,
    /// Infos taken so far, dropped ones included.
    infos: u64,
    /// Where the watcher is.
    peer: Option<SocketAddr>,
    opened: Instant,
    ended: Option<Instant>,
    /// When its last Info came.
    last: Option<Instant>,
}

impl Stream {
    /// Has the call end, if it is open.
    fn end(&mut self, why: CallEnd) {
        if let Some(end) = self.end.take() {
            // A call that is gone already needs no end.
            let _ = end.send(why);
        }
    }
}

/// All that can make the relay act.
enum LoopEvent {
    /// A stream of `Collect` speaks.
    Source(CollectMessage),
    /// One of the native watches speaks.
    Watch(WatchMessage),
    /// Something has come of a step of the migration.
    Step(StepNews),
    /// Every source has ended: the process ends.
    SourcesEnded,
    /// The process ends, although sources have not.
    Leave,
    /// Somebody asks how things stand, or for a step of the migration.
    Query(DriverQuery),
    /// The link to the reducer has changed its state.
    Reducer(ReducerEvent),
    /// The election has decided something.
    Order(Order),
    /// Something in the core is due, or the state is to be logged.
    Deadline,
    /// A replay, a comparison or a count was interrupted for fairness and goes on.
    Resume,
}

impl Driver {
    /// Nothing is sent or read before [`Self::run`].
    pub fn new(options: Options, reducer: Reducer, inputs: mpsc::Receiver<CollectMessage>) -> Self {
        let Options {
            settings,
            watches,
            migrating,
        } = options;
        let now = now();
        let mut feeds = Feeds::new(settings, now);
        let watched = watches.as_ref().map(
            |Watches {
                 scopes, namespaces, ..
             }| {
                let watched = Watched::new(feeds.open_native(*scopes, now), *scopes);
                watched.of(namespaces.clone())
            },
        );
        Self {
            steps: StepRunner::new(migrating, &mut feeds, now),
            feeds,
            reducer,
            inputs: Inputs::new(inputs, watches.map(|watches| watches.inputs)),
            streams: BTreeMap::new(),
            watched,
            resume: CatchUp::Done,
            compares: false,
            digests: DigestJobs::default(),
            started: now,
            report_at: now + REPORT_EVERY,
            reported: String::new(),
            leave: CancellationToken::new(),
            lead: None,
        }
    }

    /// Answers these queries, too, in turns with what the sources say.
    #[must_use]
    pub fn answering(mut self, queries: mpsc::Receiver<DriverQuery>) -> Self {
        self.inputs.hear(queries);
        self
    }

    /// Ends when this is cancelled, too: whatever waits to be heard then is heard.
    #[must_use]
    pub fn leaving_at(mut self, leave: CancellationToken) -> Self {
        self.leave = leave;
        self
    }

    /// Looks at what the active feed knows, from any thread, now and while this runs.
    pub fn reader(&self) -> Reader {
        self.feeds.reader()
    }

    /// Runs until every sender of inputs is gone, or it is to leave.
    pub async fn run(mut self) -> Ended {
        loop {
            match self.event().await {
                LoopEvent::Source(input) => self.take(input),
                LoopEvent::Watch(input) => self.watch(input),
                LoopEvent::Step(news) => self.step_news(news),
                LoopEvent::Query(query) => self.answer(query),
                LoopEvent::SourcesEnded => break,
                LoopEvent::Leave => {
                    self.hear_the_rest();
                    break;
                }
                LoopEvent::Reducer(event) => self.link_changed(event),
                LoopEvent::Order(order) => self.ordered(order),
                LoopEvent::Deadline | LoopEvent::Resume => {}
            }
            // Whatever woke us: constant input must not hold back what is due.
            self.deadline();
            self.settle();
        }
        // What a replay has left, as far as there is room for it.
        while self.resume == CatchUp::More {
            self.settle();
        }
        self.report();
        self.steps.audit.end();
        self.ended()
    }

    /// Takes what the sources have said by now. They may go on indefinitely: no more than fits into
    /// their channels.
    fn hear_the_rest(&mut self) {
        for _ in 0..LAST_BATCHES {
            match self.inputs.next().now_or_never().flatten() {
                Some(Word::Collect(input)) => self.take(input),
                Some(Word::Watch(input)) => self.watch(input),
                // A caller is answered that the relay ends.
                Some(Word::Query(_)) => {}
                None => break,
            }
        }
        self.settle();
    }

    async fn event(&mut self) -> LoopEvent {
        let due = self.due();
        let more = self.resume == CatchUp::More || self.compares || !self.digests.is_empty();
        tokio::select! {
            // The link first: it moves bytes whenever it is polled, and is seldom ready.
            biased;
            event = self.reducer.next() => LoopEvent::Reducer(event),
            order = Lead::changed(&mut self.lead) => LoopEvent::Order(order),
            // Seldom ready, and not to be starved by busy sources.
            () = self.leave.cancelled() => LoopEvent::Leave,
            Some(news) = self.steps.news() => LoopEvent::Step(news),
            word = self.inputs.next() => match word {
                Some(Word::Collect(input)) => LoopEvent::Source(input),
                Some(Word::Watch(input)) => LoopEvent::Watch(input),
                Some(Word::Query(query)) => LoopEvent::Query(query),
                None => LoopEvent::SourcesEnded,
            },
            // Every turn sends a part of a full resend, so a busy source cannot starve it either.
            // Between the parts, who was woken in this thread has a turn: an answer that was just
            // given.
            () = tokio::task::yield_now(), if more => LoopEvent::Resume,
            () = sleep_until(due.into()) => LoopEvent::Deadline,
        }
    }

    fn due(&self) -> Instant {
        [
            self.feeds.poll_timeout(),
            self.steps.migration.poll_timeout(),
            self.steps.audit.poll_timeout(),
        ]
        .into_iter()
        .flatten()
        .fold(self.report_at, Instant::min)
    }

    fn take(&mut self, input: CollectMessage) {
        let now = self.now();
        match input {
            CollectMessage::Opened { stream, peer, end } => {
                let generation = self.feeds.open(now, self.reducer.outbox());
                debug!(
                    stream = stream.0,
                    generation = generation.0,
                    ?peer,
                    "feed opened"
                );
                let stream_state = Stream {
                    generation,
                    end: Some(end),
                    open: true,
                    infos: 0,
                    peer,
                    opened: now,
                    ended: None,
                    last: None,
                };
                self.streams.insert(stream, stream_state);
            }
            CollectMessage::Batch {
                stream,
                events,
                infos,
                read,
            } => {
                let Some(state) = self.streams.get_mut(&stream) else {
                    return;
                };
                state.infos += infos;
                state.last = Some(now);
                let generation = state.generation;
                self.reducer.outbox().events_begin(read);
                let mut is_full = false;
                for event in events {
                    let input = core_input(event);
                    let (feed, scope) = (state.generation, Scope::default());
                    is_full |= self
                        .feeds
                        .handle(feed, scope, input, now, self.reducer.outbox());
                }
                self.events_end(generation);
                if is_full {
                    self.end_overflowed(stream);
                }
            }
            CollectMessage::Closed { stream } => {
                let Some(state) = self.streams.get_mut(&stream) else {
                    return;
                };
                state.open = false;
                state.ended = Some(now);
                state.end = None;
                debug!(stream = stream.0, infos = state.infos, "feed closed");
                self.feeds.close(state.generation, now);
                self.forget_ended_streams();
            }
        }
    }

    fn watch(&mut self, input: WatchMessage) {
        let now = self.now();
        let Some(watched) = &mut self.watched else {
            return;
        };
        match input {
            WatchMessage::Batch {
                scope,
                events,
                read,
            } => {
                watched.heard(scope, &events, now);
                let feed = watched.feed;
                self.reducer.outbox().events_begin(read);
                for event in events {
                    let (input, outbox) = (core_input(event), self.reducer.outbox());
                    // Native feeds have no such bound.
                    let _ = self.feeds.handle(watched.feed, scope, input, now, outbox);
                }
                self.events_end(feed);
            }
            WatchMessage::Health {
                kind,
                scope,
                health,
                since,
                last_failure,
            } => {
                watched.fares(kind, scope, health, since, last_failure);
                match health {
                    WatchHealth::Denied => self.feeds.denied(kind, scope, now),
                    WatchHealth::Healthy | WatchHealth::Failing => {}
                }
            }
        }
    }

    /// What the events of a batch of this feed mean has been said, as far as it can be.
    fn events_end(&mut self, feed: Generation) {
        let is_active = self.feeds.active_generation() == Some(feed);
        let behind = is_active && self.feeds.is_behind();
        self.reducer.outbox().events_end(behind);
    }

    fn link_changed(&mut self, event: ReducerEvent) {
        let now = self.now();
        match event {
            ReducerEvent::Connected => {
                if self.feeds.connected(now, self.reducer.outbox()) {
                    info!(
                        "the reducer is back: the relay resets all watcher streams, so that the watchers list again"
                    );
                    self.end_streams(|_| true, CallEnd::Reset);
                }
            }
            ReducerEvent::Disconnected { .. } => self.feeds.disconnected(),
            ReducerEvent::Drained => {}
        }
    }

    fn deadline(&mut self) {
        let now = self.now();
        if now < self.due() {
            return;
        }
        self.feeds.handle_timeout(now, self.reducer.outbox());
        if self.report_at <= now {
            self.report_at = now + REPORT_EVERY;
            self.report();
        }
    }

    /// After every wake: announces what is left to announce, and flushes if it is time to.
    fn settle(&mut self) {
        let now = self.now();
        self.resume = self.feeds.resume(now, self.reducer.outbox());
        if self.resume == CatchUp::Done {
            self.reducer.outbox().has_caught_up();
        }
        let idle = self.inputs.is_empty() && self.resume != CatchUp::More;
        if let Some(since) = self.reducer.outbox().first_unflushed()
            && (idle || now.saturating_duration_since(since) >= MAX_DELAY)
        {
            self.reducer.flush(now);
        }
        self.report_connection();
        self.say_notices();
        let ledger = self.feeds.ledger();
        self.reducer
            .outbox()
            .note_live(ledger.len(), ledger.containers());
        // After the flush: announcements never wait for a comparison.
        self.compares = self.attend();
        self.count_digests();
        if idle && tracing::enabled!(target: PROGRESS, tracing::Level::TRACE) {
            self.report_progress();
        }
    }

    /// The time, for the core and for the timestamps of what is sent next.
    fn now(&mut self) -> Instant {
        let now = now();
        self.reducer.outbox().set_time(now);
        now
    }

    /// Ends the call of a stream that has met the guard rail (D9).
    fn end_overflowed(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        warn!(
            stream = id.0,
            peer = stream.peer.map(tracing::field::display),
            infos = stream.infos,
            "too many pods of a stream wait for their owners: the relay ends the stream, so that its watcher lists again"
        );
        stream.end(CallEnd::Overflow);
    }

    fn end_streams(&mut self, which: impl Fn(&Stream) -> bool, why: CallEnd) {
        for stream in self.streams.values_mut().filter(|stream| which(stream)) {
            stream.end(why);
        }
    }

    /// While its API server is away, a watcher opens a stream every 200 ms that sends nothing: such
    /// ones do not displace those that did.
    fn forget_ended_streams(&mut self) {
        for (is_silent, shown) in [(true, SILENT_SHOWN), (false, ENDED_SHOWN)] {
            let ended = self.streams.iter().filter(|(_, stream)| {
                let silent = stream.infos == 0;
                !stream.open && silent == is_silent
            });
            let surplus = ended.clone().count().saturating_sub(shown);
            let oldest: Vec<_> = ended.map(|(id, _)| *id).take(surplus).collect();
            for id in oldest {
                self.streams.remove(&id);
            }
        }
    }
}

fn core_input(event: FeedEvent) -> Input {
    match event {
        FeedEvent::Pod(event) => Input::Pod(event),
        FeedEvent::ReplicaSet(event) => Input::Owner(OwnerSort::ReplicaSet, event),
        FeedEvent::Job(event) => Input::Owner(OwnerSort::Job, event),
        FeedEvent::Seen(kind, uid) => Input::Seen(kind, uid),
        FeedEvent::Listed => Input::Listed,
    }
}

/// The loop is where time enters the core.
#[expect(
    clippy::disallowed_methods,
    reason = "the edge: every module behind it takes the time as an argument"
)]
fn now() -> Instant {
    Instant::now()
}
