//! Replicas of a test, their clocks, and an API server between them that is slow and loses
//! requests and answers.

use std::{collections::BTreeMap, time::Duration};

use super::{super::record::Observed, *};

/// What happens in a history. Times are in milliseconds of true time.
#[derive(Clone, Copy, Debug)]
pub(super) enum Op {
    Wait(u32),
    /// SIGSTOP and SIGCONT.
    Pause(usize, u32),
    /// Ends a process; another one starts in its place, with the same name or not.
    Crash {
        replica: usize,
        same_name: bool,
    },
    /// The API server is away for a replica.
    Cut(usize, u32),
    /// Requests, answers and watches take up to so long, and so many in 100 are lost.
    Network {
        slow: u32,
        lost: u8,
    },
    Delete,
    Clear,
    /// Somebody writes another duration.
    Duration(u32),
    Transitions(i32),
    /// Somebody else takes the Lease, as client-go does when it may.
    Steal,
    Leave(usize),
    InSync(usize),
}

/// What a replica does wrong at a seam, so that the property is seen to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mutant {
    /// Counts its term from the answer, not from the request, and allows nothing for an end.
    TermFromTheAnswer,
    /// Writes for a whole lease.
    WholeLease,
    /// Puts without a precondition.
    NoPrecondition,
    /// Takes a Lease for its own because it has its name.
    BelievesItsName,
    /// Takes a Lease that somebody cleared for one that was handed over.
    ClearedIsHandedOver,
    /// Does not wait again when the holder renews.
    WaitsOnce,
    /// Has a clock that stops while the process or the machine does.
    ClockStops,
}

pub(super) struct World {
    now: u64,
    seed: u64,
    replicas: Vec<Replica>,
    lease: Option<Observed>,
    resource: u64,
    uids: u64,
    events: BTreeMap<(u64, u64), Event>,
    numbered: u64,
    slow: u32,
    lost: u8,
    mutant: Option<Mutant>,
    pub(super) terms: u64,
}

struct Replica {
    name: String,
    elector: Elector,
    /// Its process: what is under way to an earlier one is lost.
    process: u64,
    /// Thousandths of the true rate.
    rate: u64,
    offset: u64,
    paused_until: u64,
    cut_until: u64,
    /// Of mutants.
    skipped: u64,
    call_began: u64,
    extra: Duration,
    believes_until: Duration,
    first_seen: BTreeMap<(String, i32), Version>,
}

enum Event {
    Arrives(usize, u64, ApiCall),
    Answered(usize, u64, Answer),
    Watched(usize, u64, Option<Observed>),
}

impl World {
    pub(super) fn new(
        seed: u64,
        rates: &[u64],
        settings: &Settings,
        mutant: Option<Mutant>,
    ) -> Self {
        let mut world = Self {
            now: 0,
            seed: seed | 1,
            replicas: Vec::new(),
            lease: None,
            resource: 100,
            uids: 0,
            events: BTreeMap::new(),
            numbered: 0,
            slow: 5,
            lost: 0,
            mutant,
            terms: 0,
        };
        for (number, rate) in rates.iter().enumerate() {
            let name = format!("r{number}");
            let settings = Settings {
                identity: name.clone(),
                ..settings.clone()
            };
            let offset = world.random(1_000_000);
            world.replicas.push(Replica {
                name,
                elector: Elector::new(settings),
                process: number as u64,
                rate: *rate,
                offset,
                paused_until: 0,
                cut_until: 0,
                skipped: 0,
                call_began: 0,
                extra: Duration::ZERO,
                believes_until: Duration::ZERO,
                first_seen: BTreeMap::new(),
            });
        }
        world
    }

    fn random(&mut self, below: u64) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        (self.seed >> 11) % below.max(1)
    }

    fn local(&self, replica: usize) -> Duration {
        let Replica {
            rate,
            offset,
            skipped,
            ..
        } = self.replicas[replica];
        Duration::from_micros((self.now - skipped) * rate + offset * 1000)
    }

    /// Who may write now.
    pub(super) fn writers(&self) -> Vec<&str> {
        let writes = |number: &usize| {
            let replica = &self.replicas[*number];
            let now = self.local(*number);
            let duty = replica.elector.duty();
            let believes = now < replica.believes_until;
            let may = duty.connect && now < duty.write_until + replica.extra;
            replica.paused_until <= self.now && (may || believes)
        };
        let numbers = (0..self.replicas.len()).filter(writes);
        numbers.map(|number| &*self.replicas[number].name).collect()
    }

    pub(super) fn leader(&self) -> Option<usize> {
        (0..self.replicas.len()).find(|number| {
            let role = self.replicas[*number].elector.role(self.local(*number));
            role == Role::Leader
        })
    }

    /// Does one thing; says who writes if two do.
    pub(super) fn play(&mut self, op: Op) -> Result<(), String> {
        let count = self.replicas.len();
        match op {
            Op::Wait(ms) => return self.run(u64::from(ms)),
            Op::Pause(replica, ms) => {
                let until = self.now + u64::from(ms);
                let replica = &mut self.replicas[replica % count];
                replica.paused_until = until.max(replica.paused_until);
                if self.mutant == Some(Mutant::ClockStops) {
                    replica.skipped += u64::from(ms);
                }
            }
            Op::Crash { replica, same_name } => self.crash(replica % count, same_name),
            Op::Cut(replica, ms) => {
                self.replicas[replica % count].cut_until = self.now + u64::from(ms);
            }
            Op::Network { slow, lost } => (self.slow, self.lost) = (slow, lost),
            Op::Delete => {
                self.lease = None;
                self.announce();
            }
            Op::Clear => self.edit(|record| record.holder.clear()),
            Op::Duration(duration) => self.edit(|record| record.duration = duration),
            Op::Transitions(transitions) => self.edit(|record| record.transitions = transitions),
            Op::Steal => self.edit(|record| {
                record.holder = "client-go".to_owned();
                record.transitions = record.transitions.wrapping_add(1);
            }),
            Op::Leave(replica) => {
                let (replica, now) = (replica % count, self.local(replica % count));
                if self.replicas[replica].paused_until <= self.now {
                    self.replicas[replica].elector.leave(now);
                }
            }
            Op::InSync(replica) => self.replicas[replica % count].elector.set_in_sync(true),
        }
        self.run(0)
    }

    fn crash(&mut self, replica: usize, same_name: bool) {
        self.numbered += 1;
        let number = self.numbered;
        let replica = &mut self.replicas[replica];
        if !same_name {
            replica.name = format!("r{number}x");
        }
        let settings = Settings {
            identity: replica.name.clone(),
            ..replica.elector.settings().clone()
        };
        replica.elector = Elector::new(settings);
        replica.process = number + 1000;
        (replica.extra, replica.believes_until) = (Duration::ZERO, Duration::ZERO);
        replica.first_seen.clear();
    }

    fn edit(&mut self, change: impl FnOnce(&mut Record)) {
        if let Some(lease) = &mut self.lease {
            change(&mut lease.record);
            self.resource += 1;
            lease.version.resource = self.resource.to_string();
            self.announce();
        }
    }

    fn later(&mut self, event: Event) {
        let slow = u64::from(self.slow);
        let at = self.now + 1 + self.random(slow);
        self.numbered += 1;
        self.events.insert((at, self.numbered), event);
    }

    fn is_lost(&mut self) -> bool {
        self.random(100) < u64::from(self.lost)
    }

    /// Every watch sees the Lease as it is now, or misses it.
    fn announce(&mut self) {
        for number in 0..self.replicas.len() {
            let process = self.replicas[number].process;
            if !self.is_lost() && self.replicas[number].cut_until <= self.now {
                self.later(Event::Watched(number, process, self.lease.clone()));
            }
        }
    }

    /// Lets so much time pass.
    fn run(&mut self, ms: u64) -> Result<(), String> {
        let end = self.now + ms;
        loop {
            for number in 0..self.replicas.len() {
                self.poll(number);
            }
            let writers = self.writers();
            if writers.len() > 1 {
                return Err(format!("{writers:?} write at {}", self.now));
            }
            let wakes = (0..self.replicas.len()).filter_map(|number| self.wakes(number));
            let next = wakes.chain(self.events.keys().map(|(at, _)| *at)).min();
            let Some(next) = next.filter(|next| *next <= end) else {
                self.now = end;
                return Ok(());
            };
            self.now = next.max(self.now);
            while let Some(((at, number), event)) = self.events.pop_first() {
                if at > self.now {
                    self.events.insert((at, number), event);
                    break;
                }
                self.happen(number, event);
            }
        }
    }

    /// When it has something to do, in true time.
    fn wakes(&self, number: usize) -> Option<u64> {
        let replica = &self.replicas[number];
        let local = replica.elector.poll_timeout(self.local(number))?;
        let since = u64::try_from(local.as_micros()).unwrap();
        let at = since
            .saturating_sub(replica.offset * 1000)
            .div_ceil(replica.rate)
            + replica.skipped;
        Some(at.max(replica.paused_until).max(self.now + 1))
    }

    fn poll(&mut self, number: usize) {
        if self.replicas[number].paused_until > self.now {
            return;
        }
        let (now, wall) = (self.local(number), self.now as i64 * 1000 + number as i64);
        let terms = self.replicas[number].elector.terms();
        let call = self.replicas[number].elector.call(now, wall);
        self.terms += self.replicas[number].elector.terms() - terms;
        if let Some(mut call) = call {
            self.replicas[number].call_began = self.now;
            if self.mutant == Some(Mutant::WaitsOnce)
                && let (ApiCall::Put(version, _), Some(lease)) = (&mut call, &self.lease)
            {
                *version = lease.version.clone();
            }
            let process = self.replicas[number].process;
            if self.is_lost() || self.replicas[number].cut_until > self.now {
                self.later(Event::Answered(number, process, Answer::Failed));
            } else {
                self.later(Event::Arrives(number, process, call));
            }
        }
    }

    fn happen(&mut self, event_number: u64, event: Event) {
        match event {
            Event::Arrives(number, process, call) => {
                let answer = self.serve(call);
                let is_cut = self.replicas[number].cut_until > self.now;
                let answer = match self.is_lost() || is_cut {
                    true => Answer::Failed,
                    false => answer,
                };
                self.later(Event::Answered(number, process, answer));
            }
            Event::Answered(number, process, _) | Event::Watched(number, process, _)
                if self.replicas[number].process != process => {}
            // It reads what has come when it goes on.
            Event::Answered(number, ..) | Event::Watched(number, ..)
                if self.replicas[number].paused_until > self.now =>
            {
                let at = self.replicas[number].paused_until;
                self.events.insert((at, event_number), event);
            }
            Event::Answered(number, _, answer) => {
                let answer = match answer {
                    Answer::Is(lease) => Answer::Is(self.as_seen(number, lease)),
                    other => other,
                };
                let (now, random) = (self.local(number), self.random(1000) as f64 / 1000.0);
                let replica = &mut self.replicas[number];
                let terms = replica.elector.terms();
                replica.elector.answered(answer, now, random);
                self.terms += replica.elector.terms() - terms;
                let lease = replica.elector.settings().lease;
                match self.mutant {
                    Some(Mutant::TermFromTheAnswer) => {
                        let late = Duration::from_millis(self.now - replica.call_began);
                        replica.extra = late + replica.elector.settings().fin_allowance;
                    }
                    Some(Mutant::WholeLease) => {
                        replica.extra = lease - replica.elector.settings().term();
                    }
                    _ => {}
                }
            }
            Event::Watched(number, _, Some(lease)) => {
                let (lease, now) = (self.as_seen(number, lease), self.local(number));
                self.replicas[number].elector.watched(lease, now);
            }
            Event::Watched(number, _, None) => self.replicas[number].elector.lost_sight(),
        }
    }

    /// The Lease as a replica sees it: as it is, but for mutants.
    fn as_seen(&mut self, number: usize, mut lease: Observed) -> Observed {
        let now = self.local(number);
        let replica = &mut self.replicas[number];
        let before = replica.elector.record().cloned();
        match self.mutant {
            Some(Mutant::BelievesItsName) => {
                let leads = replica.elector.duty().write_until > now;
                if lease.record.holder == replica.name && !leads {
                    replica.believes_until = now + replica.elector.settings().term();
                }
            }
            Some(Mutant::ClearedIsHandedOver) => {
                if let Some(before) = before.filter(|_| lease.record.is_free()) {
                    lease.record.handover = Some(before.handover_mark());
                }
            }
            Some(Mutant::WaitsOnce) if lease.record.holder != replica.name => {
                let key = (lease.record.holder.clone(), lease.record.transitions);
                let first = replica
                    .first_seen
                    .entry(key)
                    .or_insert(lease.version.clone());
                lease.version = first.clone();
            }
            _ => {}
        }
        lease
    }

    fn serve(&mut self, call: ApiCall) -> Answer {
        match (call, &self.lease) {
            (ApiCall::Get, Some(lease)) => Answer::Is(lease.clone()),
            (ApiCall::Get | ApiCall::Put(..), None) => Answer::Missing,
            (ApiCall::Create(_), Some(_)) => Answer::Conflict,
            (ApiCall::Put(version, _), Some(lease))
                if lease.version != version && self.mutant != Some(Mutant::NoPrecondition) =>
            {
                Answer::Conflict
            }
            (ApiCall::Create(record), None) => {
                self.uids += 1;
                self.store(record)
            }
            (ApiCall::Put(_, record), Some(_)) => self.store(record),
        }
    }

    fn store(&mut self, record: Record) -> Answer {
        self.resource += 1;
        let version = Version {
            uid: self.uids.to_string(),
            resource: self.resource.to_string(),
        };
        let lease = Observed { version, record };
        self.lease = Some(lease.clone());
        self.announce();
        Answer::Is(lease)
    }
}
