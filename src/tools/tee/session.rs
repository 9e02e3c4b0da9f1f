//! Where everything comes together that is compared, counted and printed.
//!
//! Invariant: nobody waits here for longer than a few messages take to apply, and nobody waits for
//! who reads the lines.

use std::{
    collections::BTreeMap,
    fmt::Display,
    io::Write,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    seed,
    tee::compare::{Change, Comparison, Side},
    wire::{Message, Reader, StreamError},
};

/// Lines that may wait for who reads them.
const WAITING_LINES: usize = 10_000;
/// Differences that are shown each time; the others are counted.
const SHOWN: usize = 50;

const NOT_CALLED: &str = "it has not called its reducer yet";
const NO_HANDSHAKE: &str = "it has not sent its reducer handshake yet";

/// What the whole tee shares.
pub(super) struct Session {
    started: Instant,
    names: [String; 2],
    state: Mutex<State>,
    lines: mpsc::Sender<String>,
    /// Lines that nobody took.
    lost: AtomicU64,
    pub(super) streams: AtomicU64,
    pub(super) open: AtomicU64,
    pub(super) messages: AtomicU64,
}

struct State {
    /// If there is anything to compare.
    comparison: Option<Comparison>,
    /// Why a side is not comparable, or is not sent everything.
    out: [BTreeMap<Cause, String>; 2],
    /// The number of each side's newest connection to its reducer.
    connections: [u64; 2],
    /// The newest stream that has reached each side.
    reached: [u64; 2],
}

/// What may make a side incomparable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cause {
    /// Its reducer is sent nothing.
    Reducer,
    /// This stream does not reach it.
    Stream(u64),
}

/// One connection of a relay to its reducer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Connection {
    side: Side,
    number: u64,
}

impl Session {
    /// `settle` is given if there is anything to compare. The receiver is for [`print()`].
    pub(super) fn new(
        names: [String; 2],
        settle: Option<Duration>,
    ) -> (Self, mpsc::Receiver<String>) {
        let (lines, waiting) = mpsc::channel(WAITING_LINES);
        let not_yet = || (Cause::Reducer, NOT_CALLED.to_owned());
        let away = || settle.map(|_| not_yet()).into_iter().collect();
        let state = State {
            comparison: settle.map(|settle| Comparison::new(settle, seed::of_process())),
            out: [away(), away()],
            connections: [0, 0],
            reached: [0, 0],
        };
        let session = Self {
            started: now(),
            names,
            state: Mutex::new(state),
            lines,
            lost: AtomicU64::new(0),
            streams: AtomicU64::new(0),
            open: AtomicU64::new(0),
            messages: AtomicU64::new(0),
        };
        if settle.is_some() {
            for name in &session.names {
                session.line(format_args!("{name} is out of comparison: {NOT_CALLED}"));
            }
        }
        (session, waiting)
    }

    /// The time since the start.
    pub(super) fn elapsed(&self) -> Duration {
        now().saturating_duration_since(self.started)
    }

    /// Prints a line, with the time.
    pub(super) fn line(&self, line: impl Display) {
        let time = humantime::format_rfc3339_seconds(wall_clock());
        if self.lines.try_send(format!("{time} {line}")).is_err() {
            self.lost.fetch_add(1, Relaxed);
        }
    }

    /// A side is not comparable, for this cause.
    pub(super) fn out(&self, side: Side, cause: Cause, why: String) {
        self.came_out(self.lock(), side, cause, why);
    }

    fn came_out(&self, mut state: MutexGuard<'_, State>, side: Side, cause: Cause, why: String) {
        if let Some(comparison) = &mut state.comparison {
            comparison.pause();
        }
        let out = state.out_mut(side);
        let was_in = out.is_empty();
        out.insert(cause, why.clone());
        drop(state);
        // Why it stays out may change with each attempt.
        if was_in {
            self.line(format_args!(
                "{} is out of comparison: {why}",
                self.name(side)
            ));
        }
    }

    /// A stream reaches this side. It makes up for all that were opened before it: it is the
    /// active one.
    pub(super) fn back(&self, side: Side, stream: u64) {
        let mut state = self.lock();
        let reached = state.reached_mut(side);
        *reached = stream.max(*reached);
        self.cleared(
            state,
            side,
            |known| !matches!(known, Cause::Stream(known) if known <= stream),
        );
    }

    /// A stream is over, and this side follows it no more. If it was left out of it, a later
    /// one makes up for that: one that has reached it already, or the next one.
    pub(super) fn over(&self, side: Side, stream: u64) {
        let mut state = self.lock();
        if *state.reached_mut(side) > stream {
            self.cleared(state, side, |known| known != Cause::Stream(stream));
        }
    }

    /// Of what keeps a side out, this stays.
    fn cleared(&self, mut state: MutexGuard<'_, State>, side: Side, stays: impl Fn(Cause) -> bool) {
        let out = state.out_mut(side);
        let was_out = !out.is_empty();
        out.retain(|known, _| stays(*known));
        if !was_out || !out.is_empty() {
            return;
        }
        if state.out.iter().all(BTreeMap::is_empty)
            && let Some(comparison) = &mut state.comparison
        {
            comparison.resume(now());
        }
        drop(state);
        self.line(format_args!("{} is in comparison", self.name(side)));
    }

    /// A relay has called its reducer: what it sent before counts no more.
    pub(super) fn connected(&self, side: Side) -> Connection {
        let mut state = self.lock();
        if let Some(comparison) = &mut state.comparison {
            comparison.renew(side, now());
        }
        let number = state.connection_mut(side);
        *number += 1;
        let number = *number;
        drop(state);
        self.out(side, Cause::Reducer, NO_HANDSHAKE.to_owned());
        Connection { side, number }
    }

    /// Somebody has called a reducer and cannot be understood. If its relay is there, that was
    /// another; if not, it may have been the relay.
    pub(super) fn stranger(&self, side: Side, why: String) {
        let mut state = self.lock();
        let Some(known) = state.out_mut(side).get_mut(&Cause::Reducer) else {
            return;
        };
        // Who is not understood tries again and again.
        if *known == why {
            return;
        }
        known.clone_from(&why);
        drop(state);
        self.line(format_args!(
            "{} is out of comparison: {why}",
            self.name(side)
        ));
    }

    /// Applies the messages that `reader` has. Returns whether a handshake ended among them.
    ///
    /// # Errors
    /// The connection cannot be read on.
    pub(super) fn sent(
        &self,
        connection: Connection,
        reader: &mut Reader,
    ) -> Result<bool, StreamError> {
        let now = now();
        let mut state = self.lock();
        let newest = *state.connection_mut(connection.side) == connection.number;
        let mut handshake_done = false;
        while let Some((_, message)) = reader.next_message()? {
            handshake_done |= matches!(message, Message::MetadataComplete(_));
            if newest && let Some(comparison) = &mut state.comparison {
                comparison.apply(connection.side, &message, now);
            }
        }
        Ok(handshake_done)
    }

    /// The handshake of this connection is complete.
    pub(super) fn handshake_done(&self, connection: Connection) {
        if let Some(state) = self.newest(connection) {
            self.cleared(state, connection.side, |known| known != Cause::Reducer);
        }
    }

    /// What this connection sends is not known from now on.
    pub(super) fn disconnected(&self, connection: Connection, why: String) {
        if let Some(state) = self.newest(connection) {
            self.came_out(state, connection.side, Cause::Reducer, why);
        }
    }

    /// Prints what has changed since the last call.
    pub(super) fn print_changes(&self) {
        let mut state = self.lock();
        let Some(comparison) = &mut state.comparison else {
            return;
        };
        let appeared = comparison.appeared();
        let changes = comparison.changes(now(), SHOWN);
        let appeared = comparison.appeared() - appeared;
        let standing = comparison.standing();
        drop(state);
        let shown = changes.iter().filter(|change| change.stands).count() as u64;
        for change in &changes {
            self.line(self.show(change));
        }
        if appeared > shown {
            let more = appeared - shown;
            self.line(format_args!(
                "DIFFERENT: {more} more; {standing} differences stand"
            ));
        }
    }

    /// Prints how things stand.
    pub(super) fn summarize(&self) {
        let count = |counter: &AtomicU64| counter.load(Relaxed);
        self.line(format_args!(
            "summary: {} streams, {} of them open, {} messages",
            count(&self.streams),
            count(&self.open),
            count(&self.messages)
        ));
        let state = self.lock();
        let compared = state.comparison.as_ref().map(|comparison| {
            let counts = format!(
                "{} differences stand, {} have appeared; {} pods are unequal at this moment",
                comparison.standing(),
                comparison.appeared(),
                comparison.unequal()
            );
            (comparison.digests(), counts)
        });
        drop(state);
        if let Some(([first, second], counts)) = compared {
            let [a, b] = &self.names;
            self.line(format_args!(
                "summary: {a} knows {first}, {b} knows {second}"
            ));
            self.line(format_args!("summary: {counts}"));
        }
        let lost = self.lost.load(Relaxed);
        if lost > 0 {
            self.line(format_args!(
                "summary: {lost} lines were lost, nobody took them"
            ));
        }
    }

    /// Whether the two can be called equal.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn result(&self) -> Result<(), String> {
        let state = self.lock();
        let Some(comparison) = &state.comparison else {
            return Ok(());
        };
        for (name, out) in self.names.iter().zip(&state.out) {
            if let Some(why) = out.values().next() {
                return Err(format!("{name} is out of comparison at the end: {why}"));
            }
        }
        match comparison.standing() {
            0 => Ok(()),
            standing => Err(format!("{standing} differences stand at the end")),
        }
    }

    fn show(&self, change: &Change) -> String {
        let ([a, b], [first, second]) = (&self.names, &change.values);
        let (uid, field) = (String::from_utf8_lossy(&change.uid), change.field.name());
        let stood = Duration::from_millis(change.stood.as_millis().try_into().unwrap_or(u64::MAX));
        let (result, time) = if change.stands {
            ("DIFFERENT", format!("for {stood:?}"))
        } else {
            ("EQUAL AGAIN", format!("after {stood:?}"))
        };
        let pod = &change.pod;
        format!(
            "{result} pod {pod} ({uid}), {field}: {a} says {first:?}, {b} says {second:?}, {time}"
        )
    }

    fn name(&self, side: Side) -> &str {
        let [first, second] = &self.names;
        match side {
            Side::First => first,
            Side::Second => second,
        }
    }

    /// The state as long as this connection is its side's newest.
    fn newest(&self, connection: Connection) -> Option<MutexGuard<'_, State>> {
        let mut state = self.lock();
        (*state.connection_mut(connection.side) == connection.number).then_some(state)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn out_mut(&mut self, side: Side) -> &mut BTreeMap<Cause, String> {
        of(&mut self.out, side)
    }

    fn connection_mut(&mut self, side: Side) -> &mut u64 {
        of(&mut self.connections, side)
    }

    fn reached_mut(&mut self, side: Side) -> &mut u64 {
        of(&mut self.reached, side)
    }
}

fn of<T>([first, second]: &mut [T; 2], side: Side) -> &mut T {
    match side {
        Side::First => first,
        Side::Second => second,
    }
}

/// Writes lines in a thread that may block. Ends when the desk is gone, or nobody reads on.
pub(super) fn print(
    mut lines: mpsc::Receiver<String>,
    mut out: impl Write + Send + 'static,
) -> JoinHandle<()> {
    tokio::task::spawn_blocking(move || {
        while let Some(line) = lines.blocking_recv() {
            let written = writeln!(out, "{line}");
            let flushed = if lines.is_empty() {
                out.flush()
            } else {
                Ok(())
            };
            if written.and(flushed).is_err() {
                return;
            }
        }
    })
}

#[expect(clippy::disallowed_methods, reason = "a tool reads the clock")]
pub(super) fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "a tool reads the clock")]
pub(super) fn wall_clock() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> (Session, mpsc::Receiver<String>) {
        let names = ["first", "second"].map(str::to_owned);
        let (session, lines) = Session::new(names, Some(Duration::ZERO));
        for side in [Side::First, Side::Second] {
            session.handshake_done(session.connected(side));
        }
        (session, lines)
    }

    #[test]
    fn a_stream_that_is_lost_and_over_is_made_up_for_by_a_later_one_that_was_there_before() {
        let (session, _lines) = session();
        for stream in [1, 2] {
            session.back(Side::Second, stream);
        }
        session.out(Side::Second, Cause::Stream(1), "lost".to_owned());
        assert!(session.result().is_err());
        session.over(Side::Second, 1);
        assert_eq!(session.result(), Ok(()));
    }

    #[test]
    fn the_last_stream_keeps_a_side_out_until_a_later_one_reaches_it() {
        let (session, _lines) = session();
        session.back(Side::Second, 1);
        session.out(Side::Second, Cause::Stream(1), "lost".to_owned());
        session.over(Side::Second, 1);
        assert!(session.result().is_err());
        session.back(Side::Second, 2);
        assert_eq!(session.result(), Ok(()));
    }
}
