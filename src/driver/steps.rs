//! The steps of a migration as the loop takes them: the native watches are started before a step
//! that needs them, and ended after one that does not.
//!
//! Invariants: one step at a time; but a rollback calls off one that still waits for the watches to
//! start, and is not made to wait itself. A step whose watches cannot be started is not taken at
//! all. One that nobody waits for any more when its turn comes is not taken either. It is said to
//! be done when a restart would go on with it (`--state-file`), or that it would not. Every one
//! that is asked for is a line of the log ([`super::audit`]).

use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::warn;

use super::{
    Driver, WatchControl, WatchNews, WatchOrder, Watched,
    audit::{Asked, Audit, Line},
    query::{Done, Refused, StepRequest},
};
use crate::{
    admin::api::{EndedStep, Kept, Offer, RunningStep, Status},
    feeds::Feeds,
    migrate::{
        Action, Command, Facts, Migration, Numbered, Refusal, Stage, Step, Written, migration,
    },
    source::CallEnd,
};

/// How the migration is set up.
#[derive(Debug)]
pub struct Migrating {
    /// Where it begins, and its limits.
    pub settings: migration::Settings,
    /// What `--source` says.
    pub source: Stage,
    /// Takes each state that a restart should go on from.
    pub states: watch::Sender<Numbered>,
    /// Says what became of them; `None`: nobody keeps them.
    pub written: Option<watch::Receiver<Written>>,
    /// Takes whether the native source alone counts, so that streams need not be read.
    pub native_alone: watch::Sender<bool>,
    /// Starts and ends the native watches.
    pub control: WatchControl,
}

/// The migration, and the steps that are being taken.
pub(super) struct StepRunner {
    pub(super) migration: Migration,
    source: Stage,
    states: watch::Sender<Numbered>,
    written: Option<watch::Receiver<Written>>,
    native_alone: watch::Sender<bool>,
    control: WatchControl,
    /// How many were granted.
    granted: u64,
    pending: Option<Pending>,
    /// The watches that are about to start are not wanted any more.
    called_off: bool,
    /// Taken, but not known yet to be kept.
    unkept: Vec<Unkept>,
    last: Option<(EndedStep, Instant)>,
    pub(super) audit: Audit,
}

/// What the loop hears of its steps.
pub(super) enum StepNews {
    /// The native watches have been started or ended.
    Watches(WatchNews),
    /// A state was written, or could not be.
    Written,
}

/// A step that waits for the native watches.
struct Pending {
    step: Step,
    asked: Asked,
}

impl Pending {
    /// For the watches to start, else to end.
    fn awaits_start(&self) -> bool {
        self.step.actions.contains(&Action::StartWatches)
    }
}

/// A step that waits for the state file.
struct Unkept {
    /// Of the state that it has led to.
    number: u64,
    done: Done,
    asked: Asked,
}

impl StepRunner {
    pub(super) fn new(migrating: Migrating, feeds: &mut Feeds, now: Instant) -> Self {
        let Migrating {
            settings,
            source,
            states,
            written,
            native_alone,
            control,
        } = migrating;
        let steps = Self {
            migration: Migration::new(settings, feeds, now),
            source,
            states,
            written,
            native_alone,
            control,
            granted: 0,
            pending: None,
            called_off: false,
            unkept: Vec::new(),
            last: None,
            audit: Audit::default(),
        };
        steps.notify_streams();
        steps
    }

    /// What has come of an order, or of a write; never, if nothing was begun.
    pub(super) async fn news(&mut self) -> Option<StepNews> {
        let written = async {
            let changed = match &mut self.written {
                Some(written) => written.changed().await.is_ok(),
                None => false,
            };
            if !changed {
                // Nobody keeps states; or who did has ended, which ends the process.
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            news = self.control.news.recv() => news.map(StepNews::Watches),
            () = written => Some(StepNews::Written),
        }
    }

    /// The steps that may be asked for now, and what blocks the others.
    pub(super) fn offers(&self, facts: &Facts) -> Vec<Offer> {
        let Some(pending) = &self.pending else {
            let offers = self.migration.offers(facts).into_iter();
            return offers
                .map(|(command, why)| Offer::of(command, why))
                .collect();
        };
        let why = format!("`{}` is being taken", pending.step.command);
        let offer = |command| {
            // A rollback calls off what has changed nothing yet.
            let calls_off = command == Command::Rollback && pending.awaits_start();
            Offer::of(command, (!calls_off).then(|| why.clone()))
        };
        Command::ALL.into_iter().map(offer).collect()
    }

    /// Says which step is being taken, what came of the one before, and whether it is kept.
    pub(super) fn describe(&self, status: &mut Status, now: Instant) {
        let running = |asked: &Asked, waits_for: &str| RunningStep {
            number: asked.number,
            command: asked.command.to_string(),
            by: asked.by.clone(),
            seconds: now.saturating_duration_since(asked.at).as_secs_f64(),
            waits_for: waits_for.to_owned(),
        };
        let pending = self.pending.as_ref().map(|pending| {
            running(
                &pending.asked,
                match pending.awaits_start() {
                    true => "the native watches start",
                    false => "the native watches end",
                },
            )
        });
        let unkept = self.unkept.first();
        status.step = pending
            .or_else(|| unkept.map(|unkept| running(&unkept.asked, "the state file is written")));
        status.last_step = self.last.as_ref().map(|(step, at)| EndedStep {
            seconds: now.saturating_duration_since(*at).as_secs_f64(),
            ..step.clone()
        });
        status.kept = self.written.as_ref().map(|written| {
            let (Written { number, error }, wanted) =
                (written.borrow().clone(), self.states.borrow().number);
            Kept {
                kept: number == wanted && error.is_none(),
                error,
            }
        });
    }

    fn order(&self, order: WatchOrder) {
        // There is room for one start and one end: those before were answered. Who is gone ends the process anyway.
        let _ = self.control.orders.try_send(order);
    }

    /// Has the state kept. Gives its number.
    fn keep(&self) -> u64 {
        let state = self.migration.state(self.source);
        let mut given = 0;
        self.states.send_modify(|numbered| {
            numbered.number += 1;
            numbered.state = state;
            given = numbered.number;
        });
        given
    }

    /// Streams stop reading in stage `native`, and end when it is left (D4).
    fn notify_streams(&self) {
        let alone = self.migration.stage() == Stage::Native;
        self.native_alone
            .send_if_modified(|was| std::mem::replace(was, alone) != alone);
    }

    /// A step has come to its end, as far as the client that asked for it is concerned.
    fn ended(&mut self, mut asked: Asked, said: Result<Done, String>, now: Instant) {
        let ended = EndedStep {
            number: asked.number,
            command: asked.command.to_string(),
            by: asked.by.clone(),
            seconds: 0.0,
            done: said.as_ref().ok().map(|done| done.text.clone()),
            failed: said.as_ref().err().cloned(),
            not_kept: said.as_ref().ok().and_then(|done| done.not_kept.clone()),
            waits_for: said.as_ref().ok().and_then(|done| done.waits_for.clone()),
        };
        self.last = Some((ended, now));
        self.audit.kept(&asked, &said, now);
        if let Some(answer) = asked.answer.take() {
            // Who asked may have gone.
            let _ = answer.send(said);
        }
    }

    /// Ends those steps whose state was written, or could not be.
    fn note_written(&mut self, now: Instant) {
        let Some(written) = &self.written else {
            return;
        };
        let Written { number, error } = written.borrow().clone();
        let is_known = |unkept: &mut Unkept| unkept.number <= number;
        let known: Vec<_> = self.unkept.extract_if(.., is_known).collect();
        for Unkept { done, asked, .. } in known {
            let not_kept = error.clone();
            self.ended(asked, Ok(Done { not_kept, ..done }), now);
        }
    }
}

impl Driver {
    /// Compares, and has the autopilot look. Returns whether more is left to compare.
    pub(super) fn attend(&mut self) -> bool {
        let now = self.now();
        let sent = self.reducer.outbox().sent();
        let connected = self.reducer.is_connected();
        self.steps
            .audit
            .note_sent(self.resume, connected, sent, now);
        let more = self.steps.migration.attend(&mut self.feeds, now);
        if self.steps.migration.is_steering(now) {
            let facts = self.facts(now);
            let busy = self.steps.pending.is_some();
            let command = self.steps.migration.steer(&facts, busy, now);
            if let Some(command) = command {
                self.steer(command, &facts, now);
            }
        }
        more
    }

    /// The autopilot takes a step.
    fn steer(&mut self, command: Command, facts: &Facts, now: Instant) {
        let asked = self.asking(command, false, "the autopilot".to_owned(), now);
        let asked = Asked {
            why: Some(why(command, facts)),
            ..asked
        };
        match self.steps.migration.ask(command, false, facts) {
            Ok(step) => self.take_step(step, asked),
            Err(refusal) => asked.refused(&refusal.to_string()),
        }
    }

    /// An operator asks for a step.
    pub(super) fn migrate(&mut self, request: StepRequest) {
        let now = self.now();
        let (command, force) = (request.command, request.force);
        let mut asked = self.asking(command, force, request.by(), now);
        if command == Command::Rollback && request.is_wanted() {
            self.call_off(now);
        }
        if let Some(pending) = &self.steps.pending {
            let why = format!(
                "a step is being taken already, `{}`: ask again when it is done",
                pending.step.command
            );
            asked.refused(&why);
            let in_progress = true;
            return request.refuse(Refused { why, in_progress });
        }
        let facts = self.facts(now);
        match self.steps.migration.ask(command, force, &facts) {
            Ok(step) => {
                asked.answer = request.begin(asked.number);
                if asked.answer.is_none() {
                    return asked.refused("the client that asked for it has gone");
                }
                self.take_step(step, asked);
            }
            Err(refusal) => {
                let why = refusal.to_string();
                asked.refused(&why);
                let in_progress = matches!(refusal, Refusal::RollingBack { .. });
                request.refuse(Refused { why, in_progress });
            }
        }
    }

    /// Ends a step that waits for the watches to start: nothing has changed yet.
    fn call_off(&mut self, now: Instant) {
        if let Some(Pending { asked, .. }) = self.steps.pending.take_if(|one| one.awaits_start()) {
            self.steps.called_off = true;
            let why = "a rollback has called it off".to_owned();
            self.steps.ended(asked, Err(why), now);
        }
    }

    fn asking(&self, command: Command, force: bool, by: String, at: Instant) -> Asked {
        Asked {
            number: self.steps.granted + 1,
            command,
            force,
            by,
            why: None,
            from: self.steps.migration.stage(),
            at,
            answer: None,
        }
    }

    /// Something has come of a step that is being taken.
    pub(super) fn step_news(&mut self, news: StepNews) {
        match news {
            StepNews::Watches(news) => self.watches_changed(news),
            StepNews::Written => {
                let now = self.now();
                self.steps.note_written(now);
            }
        }
    }

    /// The native watches have been started or ended.
    fn watches_changed(&mut self, news: WatchNews) {
        let now = self.now();
        let is_stopped = matches!(news, WatchNews::Stopped);
        if !is_stopped && std::mem::take(&mut self.steps.called_off) {
            if let WatchNews::Started(watches) = news {
                // Read until they have ended; nothing of them is announced.
                self.inputs.set_watches(Some(watches.inputs));
                self.steps.order(WatchOrder::Stop);
            }
            return;
        }
        // What waits for a start does not end when those before it have ended.
        let pending = self
            .steps
            .pending
            .take_if(|one| one.awaits_start() != is_stopped);
        match (news, pending) {
            (WatchNews::Started(watches), pending) => {
                let feed = self.feeds.open_native(watches.scopes, now);
                let watched = Watched::new(feed, watches.scopes);
                self.watched = Some(watched.of(watches.namespaces));
                self.inputs.set_watches(Some(watches.inputs));
                if let Some(Pending { step, asked }) = pending {
                    self.enter(&step, &asked, now);
                    self.keep(&step, asked, now);
                }
            }
            (WatchNews::Failed(why), pending) => {
                let why = format!("the native watches cannot be started: {why}");
                match pending {
                    Some(Pending { asked, .. }) => self.steps.ended(asked, Err(why), now),
                    None => warn!("{why}"),
                }
            }
            (WatchNews::Stopped, pending) => {
                self.inputs.set_watches(None);
                if let Some(Pending { step, asked }) = pending {
                    self.keep(&step, asked, now);
                }
            }
        }
    }

    pub(super) fn facts(&mut self, now: Instant) -> Facts {
        let tally = self.watched.as_ref().map(Watched::tally);
        let tally = tally.unwrap_or_default();
        let watches = (tally.watches as u64, tally.failing as u64);
        self.steps.migration.facts(&mut self.feeds, watches, now)
    }

    /// Takes a step, by way of watches that start or end if need be.
    fn take_step(&mut self, step: Step, asked: Asked) {
        let now = self.now();
        self.steps.granted = asked.number;
        if step.actions.contains(&Action::StartWatches) {
            // Those that were called off and start still are as good as new ones.
            if !std::mem::take(&mut self.steps.called_off) {
                self.steps.order(WatchOrder::Start);
            }
            self.steps.pending = Some(Pending { step, asked });
            return;
        }
        self.enter(&step, &asked, now);
        if step.actions.contains(&Action::StopWatches) {
            self.watched = None;
            self.feeds.close_native(now);
            self.steps.order(WatchOrder::Stop);
            self.steps.pending = Some(Pending { step, asked });
            return;
        }
        self.keep(&step, asked, now);
    }

    fn enter(&mut self, step: &Step, asked: &Asked, now: Instant) {
        let before = self.reducer.outbox().sent();
        let stage = self.steps.migration.stage();
        self.steps.migration.enter(step, &mut self.feeds, now);
        if stage == Stage::Native && self.steps.migration.stage() != stage {
            // What they sent until now is lost: each lists again, and counts from then on.
            self.end_streams(|_| true, CallEnd::Reset);
        }
        self.steps.notify_streams();
        if asked.answer.is_some() {
            self.steps.migration.commanded(step.command);
        }
        self.steps.audit.begin(Line::new(asked, step, before, now));
    }

    /// The stage is as it was asked for; now a restart should go on with it.
    fn keep(&mut self, step: &Step, asked: Asked, now: Instant) {
        let number = self.steps.keep();
        // By now it is known who is announced.
        let step = Step {
            waits: self.feeds.waits(),
            ..step.clone()
        };
        let done = Done {
            text: step.to_string(),
            not_kept: None,
            waits_for: step.waits.map(|waits| waits.to_string()),
        };
        if self.steps.written.is_some() {
            self.steps.unkept.push(Unkept {
                number,
                done,
                asked,
            });
            return;
        }
        self.steps.ended(asked, Ok(done), now);
    }
}

/// Why the autopilot takes this step: what of the facts has made it.
fn why(command: Command, facts: &Facts) -> String {
    match (command, &facts.parity, facts.native) {
        (Command::Cutover, Some(parity), _) => {
            let held = Duration::from_secs(parity.held.as_secs());
            format!("parity has held for {}", humantime::format_duration(held))
        }
        (Command::Rollback, _, Some(native)) if native.listed => {
            let (unhealthy, watches) = (native.unhealthy, native.watches);
            format!("{unhealthy} of {watches} native watches have failed for --rollback-after")
        }
        (Command::Rollback, _, _) => {
            "the native source has not been synced for --rollback-after".to_owned()
        }
        (Command::Cutover | Command::Shadow | Command::Finish, _, _) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrate::gate::{NativeFacts, ParityFacts};

    #[test]
    fn the_autopilot_names_the_fact_that_has_made_its_step() {
        let facts = |listed, unhealthy| Facts {
            native: Some(NativeFacts {
                listed,
                watches: 3,
                unhealthy,
            }),
            parity: Some(ParityFacts {
                held: Duration::from_millis(300_400),
                ..ParityFacts::default()
            }),
            ..Facts::default()
        };
        for (command, facts, reason) in [
            (Command::Cutover, facts(true, 0), "parity has held for 5m"),
            (
                Command::Rollback,
                facts(true, 2),
                "2 of 3 native watches have failed for --rollback-after",
            ),
            (
                Command::Rollback,
                facts(false, 3),
                "the native source has not been synced for --rollback-after",
            ),
            (
                Command::Rollback,
                Facts::default(),
                "the native source has not been synced for --rollback-after",
            ),
        ] {
            assert_eq!(why(command, &facts), reason);
        }
    }
}
