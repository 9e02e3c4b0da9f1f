//! The life of the connection to the reducer, as a state machine: when to connect, to beat, to give
//! up, to try again.
//!
//! ```text
//! Down ─► Dialing ─► Up ─► Ending ─► Down …
//!   ▲        │        │
//!   └────────┴────────┘  failed, lost
//! ```
//!
//! Invariants: between two attempts lies a wait, 1 s growing to 30 s, short again only after a
//! connection has stood for 10 s (D5); a connection that takes no byte for 30 s while bytes wait is
//! ended (D6).
//!
//! Absent here: sockets, clocks, randomness. `now` and `random` are arguments.

use std::time::{Duration, Instant};

use crate::backoff::{Backoff, Jitter};

/// The waits of a session. All are arguments so that tests can shorten them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// Between heartbeats, the first one a whole interval after the handshake. Zero means one at
    /// once and none later (protocol 15.1). Default 2 s.
    pub heartbeat: Duration,
    /// Between health reports; zero means none. Default 1 s.
    pub health: Duration,
    /// How long a connection may take no byte while bytes wait. Default 30 s.
    pub stall: Duration,
    /// How long to wait for the peer's end of a connection that we end. Default 2 s.
    pub linger: Duration,
    /// The first wait before another attempt. Default 1 s.
    pub backoff_min: Duration,
    /// The longest wait before another attempt. Default 30 s.
    pub backoff_max: Duration,
    /// A connection that stood this long makes the next wait short again. Default 10 s.
    pub stable_after: Duration,
}

/// What there is to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Connect; answer with [`Session::connected`] or [`Session::lost`].
    Dial,
    /// Send a heartbeat.
    Heartbeat,
    /// Send health and resource usage.
    Health,
    /// Half of [`Times::stall`] has passed without progress: from here on our own
    /// limit decides, not the kernel's.
    SuspectStall,
    /// The peer takes nothing; answer with [`Session::ending`].
    Stalled,
    /// The peer was given its time to end; close, and answer with [`Session::lost`].
    Close,
}

/// The state of the connection.
#[derive(Debug)]
pub struct Session {
    times: Times,
    phase: Phase,
    /// Whether there shall be a connection.
    wanted: bool,
    /// The wait before the next attempt.
    backoff: Backoff,
}

#[derive(Debug)]
enum Phase {
    /// None is wanted.
    Parked,
    Down {
        retry_at: Instant,
    },
    Dialing,
    Up(Up),
    Ending {
        until: Instant,
    },
    Over,
}

#[derive(Debug)]
struct Up {
    since: Instant,
    beat_at: Option<Instant>,
    health_at: Option<Instant>,
    /// Since when bytes wait without progress.
    blocked: Option<Blocked>,
}

#[derive(Clone, Copy, Debug)]
struct Blocked {
    since: Instant,
    suspected: bool,
}

impl Session {
    /// A session that connects at once.
    pub fn new(now: Instant, times: Times) -> Self {
        Self {
            phase: Phase::Down { retry_at: now },
            wanted: true,
            backoff: Backoff::new(times.backoff_min, times.backoff_max, Jitter::Around),
            times,
        }
    }

    /// A connection is wanted from here on, at once.
    pub fn serve(&mut self, now: Instant) {
        self.wanted = true;
        if matches!(self.phase, Phase::Parked) {
            self.phase = Phase::Down { retry_at: now };
        }
    }

    /// None is wanted from here on; one that stands is ended by [`Session::ending`].
    pub fn park(&mut self) {
        self.wanted = false;
        match self.phase {
            Phase::Down { .. } | Phase::Dialing => self.phase = Phase::Parked,
            Phase::Parked | Phase::Up(_) | Phase::Ending { .. } | Phase::Over => {}
        }
    }

    /// Whether a connection is open and messages may be queued.
    pub fn is_up(&self) -> bool {
        matches!(self.phase, Phase::Up(_))
    }

    /// When the next attempt is; `None` while one is under way, or a connection stands.
    pub fn retry_at(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Down { retry_at } => Some(*retry_at),
            Phase::Parked | Phase::Dialing | Phase::Up(_) | Phase::Ending { .. } | Phase::Over => {
                None
            }
        }
    }

    /// What is due; call again until there is nothing.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Action> {
        match &mut self.phase {
            Phase::Down { retry_at } if *retry_at <= now => {
                self.phase = Phase::Dialing;
                Some(Action::Dial)
            }
            Phase::Up(up) => up.handle_timeout(now, &self.times),
            Phase::Ending { until } if *until <= now => Some(Action::Close),
            Phase::Parked
            | Phase::Down { .. }
            | Phase::Dialing
            | Phase::Ending { .. }
            | Phase::Over => None,
        }
    }

    /// When [`Session::handle_timeout`] will have something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Down { retry_at } => Some(*retry_at),
            Phase::Up(up) => up.poll_timeout(&self.times),
            Phase::Ending { until } => Some(*until),
            Phase::Parked | Phase::Dialing | Phase::Over => None,
        }
    }

    /// The connection is open and the handshake is on its way.
    pub fn connected(&mut self, now: Instant) {
        self.phase = Phase::Up(Up {
            since: now,
            beat_at: now.checked_add(self.times.heartbeat),
            health_at: every(self.times.health, now),
            blocked: None,
        });
    }

    /// The network took bytes; `more` says whether others still wait.
    pub fn wrote(&mut self, now: Instant, more: bool) {
        if let Phase::Up(up) = &mut self.phase {
            up.blocked = more.then_some(Blocked {
                since: now,
                suspected: false,
            });
        }
    }

    /// Bytes wait and the network takes none.
    pub fn blocked(&mut self, now: Instant) {
        if let Phase::Up(up) = &mut self.phase {
            up.blocked.get_or_insert(Blocked {
                since: now,
                suspected: false,
            });
        }
    }

    /// We have said our last; the peer has [`Times::linger`] to end, too.
    pub fn ending(&mut self, now: Instant) {
        self.settle(now);
        self.phase = Phase::Ending {
            until: now + self.times.linger,
        };
    }

    /// There is no connection any more, or the attempt failed. Returns the wait before
    /// the next attempt, which `random` (0 to 1) spreads.
    pub fn lost(&mut self, now: Instant, random: f64) -> Duration {
        self.settle(now);
        let wait = self.backoff.fail(random);
        self.phase = match self.wanted {
            true => Phase::Down {
                retry_at: now + wait,
            },
            false => Phase::Parked,
        };
        wait
    }

    /// No further connection is wanted.
    pub fn over(&mut self) {
        self.phase = Phase::Over;
    }

    /// A connection that stood long enough forgives the failures before it.
    fn settle(&mut self, now: Instant) {
        if let Phase::Up(up) = &self.phase
            && now.duration_since(up.since) >= self.times.stable_after
        {
            self.backoff.reset();
        }
    }
}

impl Up {
    fn handle_timeout(&mut self, now: Instant, times: &Times) -> Option<Action> {
        if let Some(blocked) = &mut self.blocked {
            if blocked.since + times.stall <= now {
                return Some(Action::Stalled);
            }
            if !blocked.suspected && blocked.since + times.stall / 2 <= now {
                blocked.suspected = true;
                return Some(Action::SuspectStall);
            }
        }
        if self.beat_at.is_some_and(|at| at <= now) {
            self.beat_at = every(times.heartbeat, now);
            return Some(Action::Heartbeat);
        }
        if self.health_at.is_some_and(|at| at <= now) {
            self.health_at = every(times.health, now);
            return Some(Action::Health);
        }
        None
    }

    fn poll_timeout(&self, times: &Times) -> Option<Instant> {
        let stall = self.blocked.map(|blocked| {
            let limit = if blocked.suspected {
                times.stall
            } else {
                times.stall / 2
            };
            blocked.since + limit
        });
        [self.beat_at, self.health_at, stall]
            .into_iter()
            .flatten()
            .min()
    }
}

/// The next time of something that comes in this interval; zero is never.
fn every(interval: Duration, now: Instant) -> Option<Instant> {
    (!interval.is_zero()).then(|| now.checked_add(interval))?
}

impl Default for Times {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(2),
            health: Duration::from_secs(1),
            stall: Duration::from_secs(30),
            linger: Duration::from_secs(2),
            backoff_min: Duration::from_secs(1),
            backoff_max: Duration::from_secs(30),
            stable_after: Duration::from_secs(10),
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    const START: Duration = Duration::ZERO;

    /// A session driven by a clock that starts at zero, and what it has asked for.
    struct Played {
        origin: Instant,
        session: Session,
    }

    impl Played {
        fn new(times: Times) -> Self {
            let origin = Instant::now();
            Self {
                origin,
                session: Session::new(origin, times),
            }
        }

        /// Connected at `at`.
        fn up(times: Times, at: Duration) -> Self {
            let mut played = Self::new(times);
            assert_eq!(played.until(at), [(at, Action::Dial)]);
            played.session.connected(played.origin + at);
            played
        }

        /// All actions up to `end`, each at the time at which it was announced.
        fn until(&mut self, end: Duration) -> Vec<(Duration, Action)> {
            let mut seen = Vec::new();
            while let Some(at) = self.session.poll_timeout() {
                if at > self.origin + end {
                    break;
                }
                let action = self.session.handle_timeout(at);
                assert!(action.is_some(), "{:?} announced nothing", self.session);
                seen.extend(action.map(|action| (at - self.origin, action)));
                if matches!(action, Some(Action::Stalled | Action::Close)) {
                    break;
                }
            }
            seen
        }
    }

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn times(heartbeat: Duration, health: Duration) -> Times {
        Times {
            heartbeat,
            health,
            ..Times::default()
        }
    }

    #[test]
    fn heartbeats_and_health_come_a_whole_interval_after_the_handshake_and_go_on() {
        let mut played = Played::up(times(ms(200), ms(150)), START);
        assert_eq!(
            played.until(ms(450)),
            [
                (ms(150), Action::Health),
                (ms(200), Action::Heartbeat),
                (ms(300), Action::Health),
                (ms(400), Action::Heartbeat),
                (ms(450), Action::Health),
            ]
        );
    }

    #[test]
    fn without_heartbeat_interval_there_is_one_at_once_and_none_later() {
        let mut played = Played::up(times(START, START), START);
        assert_eq!(played.until(ms(3_600_000)), [(START, Action::Heartbeat)]);
    }

    #[test]
    fn the_wait_doubles_up_to_its_limit_and_jitter_moves_it_by_a_fifth() {
        let mut played = Played::new(Times::default());
        let mut at = START;
        for wait in [1, 2, 4, 8, 16, 30, 30].map(Duration::from_secs) {
            assert_eq!(played.until(at), [(at, Action::Dial)]);
            assert_eq!(played.session.lost(played.origin + at, 0.5), wait);
            at += wait;
        }
        for (random, wait) in [(0.0, 24), (1.0, 30), (7.0, 30)] {
            let wait = Duration::from_secs(wait);
            assert_eq!(played.session.lost(played.origin, random), wait);
        }
    }

    #[test]
    fn only_a_connection_that_stood_long_makes_the_next_wait_short_again() {
        for (stood, next) in [(ms(9_999), ms(2_000)), (ms(10_000), ms(1_000))] {
            let mut played = Played::new(Times::default());
            played.session.handle_timeout(played.origin);
            played.session.lost(played.origin, 0.5);
            played.session.connected(played.origin);
            assert_eq!(played.session.lost(played.origin + stood, 0.5), next);
        }
    }

    #[test]
    fn a_stall_is_doubted_at_half_time_and_then_ended() {
        let mut played = Played::up(times(ms(3_600_000), START), START);
        played.session.blocked(played.origin + ms(100));
        played.session.blocked(played.origin + ms(5_000)); // still the same stall
        assert_eq!(
            played.until(ms(60_000)),
            [
                (ms(15_100), Action::SuspectStall),
                (ms(30_100), Action::Stalled)
            ]
        );
        played.session.ending(played.origin + ms(30_100));
        assert!(!played.session.is_up());
        assert_eq!(played.until(ms(60_000)), [(ms(32_100), Action::Close)]);
        // It stood long before it stalled.
        assert_eq!(
            played.session.lost(played.origin + ms(32_100), 0.5),
            ms(1_000)
        );
    }

    #[test]
    fn any_progress_ends_a_stall() {
        let mut played = Played::up(times(ms(3_600_000), START), START);
        played.session.blocked(played.origin);
        assert_eq!(
            played.until(ms(20_000)),
            [(ms(15_000), Action::SuspectStall)]
        );
        played.session.wrote(played.origin + ms(20_000), true);
        assert_eq!(
            played.until(ms(40_000)),
            [(ms(35_000), Action::SuspectStall)]
        );
        played.session.wrote(played.origin + ms(40_000), false);
        assert_eq!(played.until(ms(3_000_000)), []);
    }

    #[test]
    fn nothing_is_due_while_dialling_or_after_the_end() {
        let mut played = Played::new(Times::default());
        assert_eq!(played.until(START), [(START, Action::Dial)]);
        assert_eq!(played.session.poll_timeout(), None);
        played.session.over();
        assert_eq!(played.session.poll_timeout(), None);
        assert_eq!(
            played.session.handle_timeout(played.origin + ms(3_600_000)),
            None
        );
    }
}
