//! The state machine of the election: pure, driven by observations and by time.
//!
//! Time is the time since boot, on a clock that goes on in suspend. The caller makes each
//! [`ApiCall`] that [`Elector::call`] gives out, one at a time, answers it with
//! [`Elector::answered`], passes on what its watch sees, and does what [`Elector::duty`] says.
//!
//! Invariants: only a PUT of this process makes it a leader, and each one is conditional on the
//! version that was seen. An answer that was lost is not a success until the Lease shows it.
//! Whatever changes the Lease makes everybody but its writer wait again, for the longest lease that
//! anybody may have had; only a hand-over by the holder last seen makes nobody wait.

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;

use std::time::Duration;

use super::{Observed, Record, Settings, Version};

/// What to ask the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiCall {
    /// The Lease, from the quorum.
    Get,
    /// A new Lease, held by nobody.
    Create(Record),
    /// The Lease in place of this version of it, and of no other.
    Put(Version, Record),
}

/// What has come of an [`ApiCall`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The Lease is this; after a PUT and a POST: as it was asked for.
    Is(Observed),
    /// There is none (404).
    Missing,
    /// It is another version, or exists already (409).
    Conflict,
    /// Nobody knows: the server refused, failed or did not answer in time.
    Failed,
}

/// What a replica is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It has not seen the Lease yet.
    Starting,
    /// Another replica writes, or will.
    Follower,
    /// It writes.
    Leader,
    /// It wrote, may not any more, and keeps its connection: nobody else has the Lease.
    Silent,
    /// It writes nothing any more, and keeps its connection until its successor has announced
    /// everything.
    HandingOver,
}

/// What the connection to the reducer is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Duty {
    /// It shall stand; else it is closed at once, and what waits is thrown away.
    pub connect: bool,
    /// Pod messages may be written before this time since boot; zero: not at all.
    pub write_until: Duration,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Elector {
    settings: Settings,
    /// What was seen last, deleted or not.
    known: Option<Known>,
    /// Why that is not enough to go by.
    missing: Option<Gap>,
    /// The version that was known when the present call began.
    before_call: Option<Version>,
    /// Since when nobody can write any more, as far as was seen.
    free_at: Duration,
    own: Option<Own>,
    /// PUTs whose outcome is not known, the oldest first.
    attempts: Vec<Attempt>,
    /// A call is under way.
    calling: bool,
    /// No call begins before.
    next_at: Duration,
    failures: u32,
    conflicts: u32,
    /// When the last PUT said that it was made: each says another time.
    last_renewed: i64,
    connect: bool,
    /// The reducer has everything from us.
    in_sync: bool,
    leaving: Leaving,
    /// How often this process has begun to lead.
    terms: u64,
}

/// A state of the Lease, and when it was first seen.
#[derive(Clone, Debug)]
struct Known {
    lease: Observed,
    at: Duration,
}

/// What is not known of the Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gap {
    /// How it is now.
    State,
    /// There is none.
    Lease,
}

/// The last of our PUTs that succeeded.
#[derive(Clone, Debug)]
struct Own {
    version: Version,
    transitions: i32,
    /// When it began.
    start: Duration,
    /// Until when we may write.
    until: Duration,
    /// When we got the Lease, for its record.
    acquired: i64,
    /// It says that the reducer has everything.
    in_sync: bool,
}

#[derive(Clone, Debug)]
struct Attempt {
    start: Duration,
    record: Record,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    No,
    /// We write nothing any more, and the Lease does not say so yet.
    Releasing,
    /// It says so; the connection ends at the latest then.
    Released {
        close_at: Duration,
        asked_at: Duration,
    },
    /// Our connection has ended, or never stood: nothing is left to do.
    Gone,
}

impl Elector {
    /// A replica that knows nothing yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            known: None,
            missing: Some(Gap::State),
            before_call: None,
            free_at: Duration::ZERO,
            own: None,
            attempts: Vec::new(),
            calling: false,
            next_at: Duration::ZERO,
            failures: 0,
            conflicts: 0,
            last_renewed: 0,
            connect: false,
            in_sync: false,
            leaving: Leaving::No,
            terms: 0,
        }
    }

    /// What to ask now, if anything; the caller answers it before it asks again. `wall` is the
    /// wall clock in microseconds since the UNIX epoch, for the record alone.
    pub fn call(&mut self, now: Duration, wall: i64) -> Option<ApiCall> {
        self.handle_timeout(now);
        if self.due().is_none_or(|due| now < due) {
            return None;
        }
        self.calling = true;
        self.before_call = self.known.as_ref().map(|known| known.lease.version.clone());
        let base = match (self.missing, &self.known) {
            (Some(Gap::Lease), _) => return Some(ApiCall::Create(self.free())),
            (Some(Gap::State), _) | (None, None) => return Some(ApiCall::Get),
            (None, Some(known)) => known.lease.clone(),
        };
        let renewed = wall.max(self.last_renewed.saturating_add(1));
        let record = match (self.leaving, &self.own) {
            (Leaving::Released { close_at, .. }, _) => {
                let asked_at = now;
                self.leaving = Leaving::Released { close_at, asked_at };
                return Some(ApiCall::Get);
            }
            (Leaving::Gone, _) => return Some(ApiCall::Get),
            (Leaving::Releasing, Some(own)) => Record {
                transitions: own.transitions,
                renewed: Some(renewed),
                handover: Some(self.held(own, renewed).handover_mark()),
                ..self.free()
            },
            (Leaving::No, Some(own)) if self.may_renew() => self.held(own, renewed),
            (Leaving::No | Leaving::Releasing, _) => Record {
                holder: self.settings.identity.clone(),
                transitions: base.record.transitions.checked_add(1).unwrap_or_default(),
                acquired: Some(renewed),
                renewed: Some(renewed),
                ..self.free()
            },
        };
        self.last_renewed = renewed;
        if self.attempts.len() >= MOST_ATTEMPTS {
            self.attempts.remove(0);
        }
        self.attempts.push(Attempt {
            start: now,
            record: record.clone(),
        });
        Some(ApiCall::Put(base.version, record))
    }

    /// What has come of the last call. `now` is read after the answer, `random` (0 to 1) spreads
    /// the next attempt after a failure.
    pub fn answered(&mut self, answer: Answer, now: Duration, random: f64) {
        self.calling = false;
        match answer {
            Answer::Is(lease) => {
                self.failures = 0;
                let version = self.known.as_ref().map(|known| &known.lease.version);
                // The watch may have seen more by now. Else an older version, of a server that
                // was restored, is the present one.
                if self.before_call.as_ref() == version || !self.has_seen_later_than(&lease.version)
                {
                    self.observe(lease, now);
                } else if let Some(attempt) = self.attempt_of(&lease.record) {
                    self.succeeded(attempt, lease.version, now);
                }
                self.missing = None;
            }
            Answer::Missing => {
                self.failures = 0;
                self.missing = Some(Gap::Lease);
            }
            // Either it was never made, or the Lease shows it.
            Answer::Conflict => {
                self.failures = 0;
                self.conflicts = self.conflicts.saturating_add(1);
                self.missing = Some(Gap::State);
                if self.conflicts > 1 {
                    self.next_at = now + self.settings.retry / 4;
                }
            }
            Answer::Failed => {
                self.failures = self.failures.saturating_add(1);
                let pause = self
                    .settings
                    .retry
                    .mul_f64(0.5 + 0.5 * random.clamp(0.0, 1.0));
                self.next_at = now + pause;
            }
        }
        self.handle_timeout(now);
    }

    /// The watch has seen this. `now` is read after it.
    pub fn watched(&mut self, lease: Observed, now: Duration) {
        if !self.has_seen_later_than(&lease.version) {
            self.observe(lease, now);
            if !self.calling {
                self.missing = None;
            }
        }
        self.handle_timeout(now);
    }

    /// The watch has seen that the Lease was deleted, or has lost sight of it: it is asked for.
    pub fn lost_sight(&mut self) {
        self.missing.get_or_insert(Gap::State);
    }

    /// The reducer has everything from this replica, or no more so.
    pub fn set_in_sync(&mut self, in_sync: bool) {
        self.in_sync = in_sync;
    }

    /// Hands the Lease over, if we have it. The caller has made sure that everything written is
    /// acknowledged, and writes nothing from here on. Over when [`Elector::has_left`].
    pub fn leave(&mut self, now: Duration) {
        self.handle_timeout(now);
        if self.leaving != Leaving::No {
            return;
        }
        let leads = self.role(now) == Role::Leader;
        self.leaving = if leads {
            Leaving::Releasing
        } else {
            Leaving::Gone
        };
    }

    /// Whether a process that leaves may close its connection.
    pub fn has_left(&self) -> bool {
        self.leaving == Leaving::Gone
    }

    /// What time alone changes: the end of a hold, the end of the wait for a successor.
    pub fn handle_timeout(&mut self, now: Duration) {
        if self.connect && self.ends_at().is_some_and(|end| end <= now) {
            self.close();
        }
        if self.leaving == Leaving::Releasing
            && self.own.as_ref().is_none_or(|own| own.until <= now)
        {
            self.close();
        }
    }

    /// When [`Elector::call`] may have something to ask, or the role changes by itself.
    pub fn poll_timeout(&self, now: Duration) -> Option<Duration> {
        let falls_silent = self.own.as_ref().map(|own| own.until);
        let falls_silent = falls_silent.filter(|until| *until > now);
        let ends = self.ends_at().filter(|_| self.connect);
        [self.due(), falls_silent, ends].into_iter().flatten().min()
    }

    /// What this replica is.
    pub fn role(&self, now: Duration) -> Role {
        match self.leaving {
            Leaving::Releasing | Leaving::Released { .. } => return Role::HandingOver,
            Leaving::Gone => return Role::Follower,
            Leaving::No => {}
        }
        match (&self.own, &self.known) {
            (Some(own), _) if now < own.until => Role::Leader,
            (Some(_), _) if self.connect => Role::Silent,
            (None, None) => Role::Starting,
            (Some(_) | None, _) => Role::Follower,
        }
    }

    /// What the connection to the reducer is for.
    pub fn duty(&self) -> Duty {
        let write_until = match (&self.own, self.leaving) {
            (Some(own), Leaving::No) => own.until,
            (Some(_) | None, _) => Duration::ZERO,
        };
        Duty {
            connect: self.connect,
            write_until,
        }
    }

    /// The record that was seen last.
    pub fn record(&self) -> Option<&Record> {
        self.known.as_ref().map(|known| &known.lease.record)
    }

    /// Since when nobody can write any more, as far as was seen; a follower takes the Lease then.
    pub fn free_at(&self) -> Duration {
        self.free_at
    }

    /// Calls in a row that failed.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// How often this process has begun to lead.
    pub fn terms(&self) -> u64 {
        self.terms
    }

    /// How the election is set up.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// When the next call is due; `None` while one is under way, or none is needed.
    fn due(&self) -> Option<Duration> {
        if self.calling || self.leaving == Leaving::Gone {
            return None;
        }
        let at = match (self.missing, &self.known, self.leaving) {
            (Some(_), _, _) | (_, None, _) | (_, _, Leaving::Releasing) => Duration::ZERO,
            // A watch that is late or broken does not keep us waiting.
            (None, Some(_), Leaving::Released { asked_at, .. }) => asked_at + self.settings.retry,
            (None, Some(known), Leaving::No | Leaving::Gone) => match &self.own {
                Some(own) if self.may_renew() => {
                    let is_changed = own.version != known.lease.version;
                    match is_changed || self.in_sync && !own.in_sync {
                        true => Duration::ZERO,
                        false => own.start + self.settings.retry,
                    }
                }
                Some(_) | None => self.free_at,
            },
        };
        Some(at.max(self.next_at))
    }

    /// Whether nobody can have had the Lease since our last PUT: it is unchanged, or somebody
    /// without a claim has changed it while it was ours.
    fn may_renew(&self) -> bool {
        let (Some(own), Some(known)) = (&self.own, &self.known) else {
            return false;
        };
        known.lease.version == own.version || known.at < own.until
    }

    fn observe(&mut self, lease: Observed, now: Duration) {
        let before = match &self.known {
            Some(known) if known.lease.version == lease.version => return,
            Some(known) => Some(&known.lease.record),
            None => None,
        };
        let waits = |record: &Record| record.duration().min(Settings::LONGEST_LEASE);
        let wait = before.map_or(Duration::ZERO, waits);
        let wait = wait.max(waits(&lease.record)).max(self.settings.lease);
        let is_handed_over = before.is_some_and(|before| lease.record.is_handed_over_by(before));
        let attempt = self.attempt_of(&lease.record);
        let known = Known { lease, at: now };
        let Known { lease, .. } = self.known.insert(known);
        if let Some(attempt) = attempt {
            let version = lease.version.clone();
            return self.succeeded(attempt, version, now);
        }
        self.free_at = match is_handed_over {
            true => now,
            // What was promised to earlier holders stands.
            false => self.free_at.max(now + wait),
        };
        self.anothers();
    }

    /// Does what another holder means to us, if there is one.
    fn anothers(&mut self) {
        let Some(record) = self.record() else { return };
        if record.is_free() || self.is_ours(record) {
            return;
        }
        let is_in_sync = record.is_in_sync();
        match self.leaving {
            Leaving::No | Leaving::Releasing => self.close(),
            Leaving::Released { .. } if is_in_sync => self.close(),
            Leaving::Released { .. } | Leaving::Gone => {}
        }
    }

    /// Whether the record is of our present term.
    fn is_ours(&self, record: &Record) -> bool {
        self.own.as_ref().is_some_and(|own| {
            record.holder == self.settings.identity && record.transitions == own.transitions
        })
    }

    /// Takes the attempt that this record shows, with all before it.
    fn attempt_of(&mut self, record: &Record) -> Option<Attempt> {
        let shows = |attempt: &Attempt| {
            let asked = &attempt.record;
            asked.renewed == record.renewed
                && asked.holder == record.holder
                && asked.transitions == record.transitions
                && asked.duration == record.duration
                && asked.acquired == record.acquired
        };
        let at = self.attempts.iter().position(shows)?;
        self.attempts.drain(..=at).next_back()
    }

    /// This PUT of ours was the last change of the Lease that we know of, or somebody without a
    /// claim has changed it since.
    fn succeeded(&mut self, attempt: Attempt, version: Version, now: Duration) {
        let Attempt { start, record } = attempt;
        self.conflicts = 0;
        if record.is_free() {
            self.own = None;
            self.leaving = match self.connect {
                true => Leaving::Released {
                    close_at: now + self.settings.handover,
                    asked_at: now,
                },
                false => Leaving::Gone,
            };
            return self.anothers();
        }
        let is_anothers = self.record().is_some_and(|known| {
            let ours = (&record.holder, record.transitions);
            !known.is_free() && (&known.holder, known.transitions) != ours
        });
        if is_anothers {
            return;
        }
        let led = self.own.as_ref().is_some_and(|own| now < own.until);
        self.free_at = self.free_at.max(start + self.settings.lease);
        let until = start + self.settings.term();
        self.own = Some(Own {
            version,
            transitions: record.transitions,
            start,
            until,
            acquired: record.acquired.unwrap_or_default(),
            in_sync: record.is_in_sync(),
        });
        if now < until && self.leaving == Leaving::No {
            if !self.connect {
                self.in_sync = false;
            }
            self.connect = true;
            self.terms += u64::from(!led);
        }
    }

    /// When the connection ends by itself.
    fn ends_at(&self) -> Option<Duration> {
        match (self.leaving, &self.own) {
            (Leaving::Released { close_at, .. }, _) => Some(close_at),
            (Leaving::No, Some(own)) => Some(own.until + self.settings.hold),
            (Leaving::No | Leaving::Releasing | Leaving::Gone, _) => None,
        }
    }

    fn close(&mut self) {
        self.connect = false;
        self.in_sync = false;
        if self.leaving != Leaving::No {
            self.leaving = Leaving::Gone;
        }
        // Who only held too long may go on as soon as the API server answers.
        let is_anothers = |record: &Record| !record.is_free() && !self.is_ours(record);
        if self.record().is_some_and(is_anothers) {
            self.own = None;
        }
    }

    fn has_seen_later_than(&self, version: &Version) -> bool {
        self.known.as_ref().is_some_and(|known| {
            known.lease.version != *version && version.is_not_after(&known.lease.version)
        })
    }

    fn held(&self, own: &Own, renewed: i64) -> Record {
        Record {
            holder: self.settings.identity.clone(),
            transitions: own.transitions,
            acquired: Some(own.acquired),
            renewed: Some(renewed),
            in_sync: self.in_sync.then(|| own.transitions.to_string()),
            ..self.free()
        }
    }

    /// What a Lease says that nobody holds.
    fn free(&self) -> Record {
        Record {
            duration: u32::try_from(self.settings.lease.as_secs()).unwrap_or(u32::MAX),
            ..Record::default()
        }
    }
}

/// So many lost PUTs are recognised later; more than fit into a lease.
const MOST_ATTEMPTS: usize = 64;
