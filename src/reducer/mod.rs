//! The reducer's side: what is said to it, and the connection that carries it.
//!
//! | file | what it is | pure |
//! |---|---|---|
//! | [`project`] | the model as messages that fit | yes |
//! | [`cloud`] | what the cloud says of this machine | in part |
//! | [`handshake`] | the first messages of a connection | yes |
//! | [`session`] | when to connect, beat, give up, try again | yes |
//! | `frames` | where frames end, for a connection that may have to stop between two | yes |
//! | `lag` | how long events take from their reading to the network | yes |
//! | [`outbox`] | the core's [`Sink`], and the bytes that wait | yes, but for the recording |
//! | [`record`] | everything sent, in a file | no |
//! | [`link`] | the connection | no |
//! | [`transport`] | what carries its bytes: TCP, or a layer above it | no |
//! | `tls` | such a layer: TLS | no |
//! | `dial_failures` | failures to connect, and which of them are worth a line | yes |
//! | `progress` | how the connection stands, for others | yes |
//! | `standby` | a connection that another replica's replaces | yes |
//! | [`options`] | all settings of the module | yes |
//! | [`host`] | this process and its machine | no |
//!
//! [`Reducer`] is all of them behind one face, made for one loop that owns it:
//!
//! ```text
//! verbs ──► outbox() ──► flush() ──► TCP
//!              next() ──► Connected, Disconnected, Drained
//! ```
//!
//! Invariants: [`Reducer::next`] does all the work, in whatever future polls it; no task is
//! spawned. No failure of the network ends it. A connection ends with FIN, never with our RST.
//! Absent here: pods that live, and what is owed to the reducer (the core knows).

pub mod cloud;
mod dial_failures;
mod frames;
pub mod handshake;
pub mod host;
mod lag;
pub mod link;
pub mod options;
pub mod outbox;
mod progress;
pub mod project;
pub mod record;
pub mod session;
mod standby;
mod timer;
mod tls;
pub mod transport;

use std::{
    future::poll_fn,
    io,
    path::PathBuf,
    task::{Context, Poll, ready},
    time::{Duration, Instant, SystemTime},
};

use futures_util::future::BoxFuture;
use timer::Timer;
use tokio::time::timeout;

use crate::{
    announce::Sink,
    wire::messages::{CollectorHealth, Heartbeat},
};
use dial_failures::DialFailures;
use handshake::Say;
use link::{Link, dial};
use session::{Action, Session};

pub use handshake::Identity;
pub use lag::LagSeconds;
pub use link::{DialError, Failure, Loss, Resolver, Tcp};
pub use options::Options;
pub use outbox::{Clock, Outbox, SendCounters};
pub use progress::{Connection, Counters, Progress};
pub use record::Recorder;
pub use session::Times;
pub use transport::{Layer, Socket, Transport};

/// The reducer, near enough to talk to.
pub struct Reducer {
    options: Options,
    session: Session,
    outbox: Outbox,
    conn: ReducerConn,
    timer: Timer,
    progress: Progress,
    counters: Counters,
    lag_seconds: LagSeconds,
    /// A failure that [`Reducer::flush`] met, for the next call of [`Reducer::next`].
    failure: Option<io::Error>,
    dial_failures: DialFailures,
    since: Instant,
    last_failure: Option<Failure>,
    /// Our FIN was sent by [`Reducer::close`], behind all but so many bytes.
    finished: bool,
    unsent: usize,
}

/// What happened.
#[derive(Debug)]
pub enum ReducerEvent {
    /// A connection is open, its handshake is queued: send everything.
    Connected,
    /// The connection is over; nothing is taken until the next one.
    Disconnected {
        /// Why.
        reason: Loss,
    },
    /// The queue is at or below the low mark after it was above, or empty after
    /// [`Outbox::ask_empty`].
    Drained,
}

/// What can keep a reducer from starting.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReducerError {
    /// The recording cannot be opened.
    #[error("cannot record into {path}")]
    Recording {
        /// Where it should be.
        path: PathBuf,
        /// What is wrong.
        source: io::Error,
    },
}

enum ReducerConn {
    None,
    Dialing(BoxFuture<'static, Result<Link, DialError>>),
    Open(Link),
}

impl Reducer {
    /// A reducer that is connected to as soon as [`Reducer::next`] is awaited.
    ///
    /// # Errors
    /// The recording cannot be opened.
    pub fn new(options: Options) -> Result<Self, ReducerError> {
        let recorder = match &options.record {
            None => Recorder::off(),
            Some(path) => Recorder::create(path).map_err(|source| ReducerError::Recording {
                path: path.clone(),
                source,
            })?,
        };
        let now = now();
        let clock = Clock::new(now, since_epoch());
        let mut session = Session::new(now, options.times);
        let mut outbox = Outbox::new(clock, options.low_mark, recorder);
        if options.fence.is_some() {
            session.park();
            outbox = outbox.frame_by_frame();
        }
        Ok(Self {
            session,
            outbox,
            options,
            conn: ReducerConn::None,
            timer: Timer::default(),
            progress: Progress::default(),
            counters: Counters::default(),
            lag_seconds: LagSeconds::default(),
            failure: None,
            dial_failures: DialFailures::default(),
            since: now,
            last_failure: None,
            finished: false,
            unsent: 0,
        })
    }

    /// Takes what the core announces, while connected; after [`Outbox::set_time`].
    pub fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// Whether verbs reach anybody.
    pub fn is_connected(&self) -> bool {
        self.session.is_up()
    }

    /// Ends the open frame and hands to the network what it takes at once. The rest, and
    /// any failure, is for [`Reducer::next`].
    pub fn flush(&mut self, now: Instant) {
        self.outbox.flush();
        if let (ReducerConn::Open(link), true, None) =
            (&mut self.conn, self.session.is_up(), &self.failure)
        {
            match link.try_write(&mut self.outbox) {
                Ok(written) => self.note_written(written, now),
                Err(error) => self.failure = Some(error),
            }
        }
    }

    /// Connects, writes, reads, beats and waits until something happened. Dropping the future and
    /// calling again loses nothing. After [`Reducer::close`] it never returns.
    pub async fn next(&mut self) -> ReducerEvent {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Ends the connection: what waits is written for at most `limit`, then comes FIN, and
    /// the reducer has [`Times::linger`] to end, too. Afterwards there is no other connection.
    /// Returns how many bytes were not sent. Dropping the future and calling again, or
    /// [`Reducer::close_at_once`], goes on where it was.
    pub async fn close(&mut self, limit: Duration) -> usize {
        self.drop_held_up();
        self.outbox.flush();
        let flushed = timeout(limit, poll_fn(|cx| self.poll_flushed(cx))).await;
        let unsent = self.finish(matches!(flushed, Ok(true)));
        if let ReducerConn::Open(_) = &self.conn {
            let linger = self.options.times.linger;
            // Who has not ended by then is left with our FIN.
            let _ = timeout(linger, poll_fn(|cx| self.poll_discard(cx))).await;
        }
        self.conn = ReducerConn::None;
        let recorded = timeout(limit, self.outbox.recorder().finish()).await;
        if recorded.is_err() {
            tracing::warn!("the recording ends early: its disk is too slow");
        }
        unsent
    }

    /// As [`Reducer::close`], without waiting for anybody: what the network takes at once is
    /// written, then comes FIN.
    pub async fn close_at_once(&mut self) -> usize {
        self.drop_held_up();
        self.outbox.flush();
        let flushed = poll_fn(|cx| Poll::Ready(self.poll_flushed(cx))).await;
        let unsent = self.finish(flushed == Poll::Ready(true));
        // Input that is not read would make the end an RST.
        let _ = poll_fn(|cx| Poll::Ready(self.poll_discard(cx))).await;
        self.conn = ReducerConn::None;
        unsent
    }

    /// Sends FIN, once. Returns how many bytes were not sent before it.
    fn finish(&mut self, flushed: bool) -> usize {
        let mut unsent = 0;
        if self.session.is_up() && !flushed {
            unsent = self.queued();
            self.counters.unflushed_ends += 1;
            tracing::warn!(bytes = unsent, "the relay ends before all is sent");
        }
        self.unsent += unsent;
        self.session.over();
        self.outbox.close();
        self.outbox.flush_recording();
        if let ReducerConn::Open(link) = &mut self.conn
            && !std::mem::replace(&mut self.finished, true)
        {
            link.end();
        }
        self.unsent
    }

    /// How far things are.
    pub fn progress(&self) -> Progress {
        Progress {
            connected: self.is_connected(),
            queued: self.queued(),
            ..self.progress
        }
    }

    /// Bytes that the network does not have yet, those in a layer above it included.
    fn queued(&self) -> usize {
        let held = match &self.conn {
            ReducerConn::Open(link) => link.held(),
            ReducerConn::None | ReducerConn::Dialing(_) => 0,
        };
        self.outbox.queued() + held
    }

    /// What happened since the start.
    pub fn counters(&self) -> Counters {
        Counters {
            ended_recordings: self.outbox.ended_recordings(),
            ..self.counters
        }
    }

    /// How long events take from their reading to the network, from any thread.
    pub fn lag_seconds(&self) -> LagSeconds {
        self.lag_seconds.clone()
    }

    /// How the connection stands, for people.
    pub fn connection(&self) -> Connection {
        let Options { host, port, .. } = &self.options;
        Connection {
            address: match host.contains(':') {
                true => format!("[{host}]:{port}"),
                false => format!("{host}:{port}"),
            },
            since: self.since,
            last_failure: self.last_failure.clone(),
            failures: self.dial_failures.count,
            retry_at: self.session.retry_at(),
        }
    }

    fn failed(&mut self, reason: &'static str, text: String, at: Instant) {
        if self.session.is_up() {
            self.since = at;
        }
        self.last_failure = Some(Failure { reason, text, at });
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<ReducerEvent> {
        loop {
            if let Some(event) = self.poll_line(cx) {
                return Poll::Ready(event);
            }
            if self.outbox.take_drained() {
                return Poll::Ready(ReducerEvent::Drained);
            }
            let now = now();
            if let Some(action) = self.session.handle_timeout(now) {
                if let Some(event) = self.act(action, now) {
                    return Poll::Ready(event);
                }
                continue;
            }
            if self.outbox.unsent().is_empty() {
                self.outbox.flush_recording();
            }
            ready!(self.timer.poll(cx, self.session.poll_timeout()));
        }
    }

    /// Lets the connection attempt or the connection go on.
    fn poll_line(&mut self, cx: &mut Context<'_>) -> Option<ReducerEvent> {
        match &mut self.conn {
            ReducerConn::None => None,
            ReducerConn::Dialing(dialing) => match dialing.as_mut().poll(cx) {
                Poll::Pending => None,
                Poll::Ready(Ok(link)) => Some(self.connected(link)),
                Poll::Ready(Err(error)) => {
                    self.dial_failed(&error);
                    None
                }
            },
            ReducerConn::Open(_) if self.session.is_up() => match self.poll_pump(cx) {
                Poll::Pending => None,
                Poll::Ready(loss) => Some(self.lost(loss)),
            },
            ReducerConn::Open(_) => {
                if self.poll_discard(cx).is_ready() {
                    self.closed();
                }
                None
            }
        }
    }

    /// Reads and writes as far as it goes; ready when the connection is over.
    fn poll_pump(&mut self, cx: &mut Context<'_>) -> Poll<Loss> {
        if let Some(error) = self.failure.take() {
            return Poll::Ready(error.into());
        }
        if let Poll::Ready(loss) = self.poll_discard(cx) {
            return Poll::Ready(loss);
        }
        let ReducerConn::Open(link) = &mut self.conn else {
            return Poll::Pending;
        };
        match link.poll_write(cx, &mut self.outbox) {
            Ok(written) => self.note_written(written, now()),
            Err(error) => return Poll::Ready(error.into()),
        }
        if self.is_silent() {
            // What is held up is no stall.
            self.session.wrote(now(), false);
        }
        Poll::Pending
    }

    /// Throws away what the reducer says; ready when the connection is over.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<Loss> {
        let ReducerConn::Open(link) = &mut self.conn else {
            return Poll::Pending;
        };
        let before = link.discarded();
        let over = link.poll_discard(cx);
        let after = link.discarded();
        if before == 0 && after > 0 {
            tracing::warn!("the reducer sends bytes; the relay drops them");
        }
        self.counters.discarded_bytes += after - before;
        over
    }

    /// Ready when all is written, or cannot be: then it says `false`.
    fn poll_flushed(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if !self.session.is_up() {
            return Poll::Ready(false);
        }
        let over = self.poll_pump(cx).is_ready();
        let is_flushed = match &self.conn {
            ReducerConn::Open(link) => link.is_flushed() && self.outbox.queued() == 0,
            ReducerConn::None | ReducerConn::Dialing(_) => self.outbox.queued() == 0,
        };
        match over || is_flushed {
            true => Poll::Ready(is_flushed),
            false => Poll::Pending,
        }
    }

    fn note_written(&mut self, written: link::Written, now: Instant) {
        self.progress.sent += written.bytes as u64;
        if self.outbox.lag.is_due() {
            // The time before the write would not do, and the time is asked for once.
            let returned = self::now();
            while let Some(read) = self.outbox.lag.take() {
                self.lag_seconds
                    .observe(returned.saturating_duration_since(read));
            }
        }
        if written.bytes > 0 {
            self.session.wrote(now, written.blocked);
        } else if written.blocked {
            self.session.blocked(now);
        }
    }

    fn act(&mut self, action: Action, now: Instant) -> Option<ReducerEvent> {
        match action {
            Action::Dial => {
                let of = self.options.clone();
                let dialing = dial(of.resolver, of.host, of.port, of.tcp, of.layer, of.fence);
                self.conn = ReducerConn::Dialing(Box::pin(of.cloud.before(dialing)));
            }
            Action::Heartbeat => self.say(now, |to| to.say(Heartbeat {})),
            Action::Health => self.say(now, |to| {
                to.say(CollectorHealth {
                    status: HEALTHY,
                    detail: 0,
                });
                to.say(host::resource_usage());
            }),
            Action::SuspectStall => {
                if let ReducerConn::Open(link) = &mut self.conn {
                    link.distrust();
                }
            }
            Action::Stalled => return Some(self.stalled(now)),
            Action::Close => self.closed(),
        }
        None
    }

    /// Says something of the session itself, unless there is too much to say already.
    fn say(&mut self, now: Instant, words: impl FnOnce(&mut Outbox)) {
        if self.outbox.queued() < self.options.high_mark {
            self.outbox.set_time(now);
            match self.is_silent() {
                true => self.outbox.aside(words),
                false => {
                    words(&mut self.outbox);
                    self.outbox.flush();
                }
            }
        }
    }

    fn connected(&mut self, link: Link) -> ReducerEvent {
        let now = now();
        self.counters.connections += 1;
        self.progress.connection += 1;
        self.progress.sent = 0;
        let (connection, failures) = (self.progress.connection, self.dial_failures.count);
        let peer = link.peer().map(tracing::field::display);
        tracing::info!(connection, peer, failures, "reducer connected");
        self.dial_failures = DialFailures::default();
        self.failure = None;
        self.since = now;
        self.conn = ReducerConn::Open(link);
        self.session.connected(now);
        self.outbox.open();
        self.outbox.set_time(now);
        handshake::send_handshake(
            &self.options.handshake,
            &self.options.cloud.now(),
            &mut self.outbox,
        );
        self.outbox.flush();
        self.outbox.frames_are_control();
        self.flush(now);
        ReducerEvent::Connected
    }

    /// The kernel or the peer has ended the connection.
    fn lost(&mut self, reason: Loss) -> ReducerEvent {
        if let (ReducerConn::Open(link), Loss::Closed) = (&mut self.conn, &reason) {
            // It may have ended its half only: it gets what the network still takes.
            let _ = link.try_write(&mut self.outbox);
            link.end();
        }
        self.conn = ReducerConn::None;
        self.outbox.close();
        self.failed(reason.label(), reason.to_string(), now());
        let retry_in = shown(self.session.lost(now(), fastrand::f64()));
        let connection = self.progress.connection;
        tracing::warn!(connection, %reason, ?retry_in, "reducer disconnected");
        ReducerEvent::Disconnected { reason }
    }

    /// The reducer takes nothing: it gets our FIN behind what the kernel has.
    fn stalled(&mut self, now: Instant) -> ReducerEvent {
        self.counters.stalls += 1;
        self.counters.unflushed_ends += 1;
        if let ReducerConn::Open(link) = &mut self.conn {
            link.end();
        }
        let (connection, bytes) = (self.progress.connection, self.queued());
        let reason = Loss::Stalled;
        tracing::warn!(connection, %reason, bytes, "reducer disconnected");
        self.outbox.close();
        self.failed(reason.label(), reason.to_string(), now);
        self.session.ending(now);
        ReducerEvent::Disconnected { reason }
    }

    /// A connection that we have ended is over.
    fn closed(&mut self) {
        self.conn = ReducerConn::None;
        self.session.lost(now(), fastrand::f64());
    }

    fn dial_failed(&mut self, error: &DialError) {
        self.conn = ReducerConn::None;
        self.counters.failed_dials += 1;
        self.failed(error.label(), error.to_string(), now());
        let retry_in = shown(self.session.lost(now(), fastrand::f64()));
        if self.dial_failures.is_worth_a_line(error.to_string()) {
            let failures = self.dial_failures.count;
            tracing::warn!(%error, failures, ?retry_in, "cannot connect to the reducer; the relay tries again");
        }
    }
}

/// A wait without the digits that nobody reads.
fn shown(wait: Duration) -> Duration {
    wait - Duration::from_nanos(u64::from(wait.subsec_nanos() % 1_000_000))
}

/// Tokio's clock, so that tests can move it.
#[expect(clippy::disallowed_methods, reason = "only the module's edge reads it")]
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// The wall clock, read once (protocol 3).
#[expect(
    clippy::disallowed_methods,
    reason = "the edge: the modules behind it take the time as an argument"
)]
fn since_epoch() -> Duration {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default()
}

/// Among the states of a collector (protocol 6.2).
const HEALTHY: u16 = 0;
