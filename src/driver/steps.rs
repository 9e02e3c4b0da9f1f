//! The steps of a migration as the loop takes them: our own watches are started before a step
//! that needs them, and ended after one that does not.
//!
//! One step at a time. A step whose watches cannot be started is not taken at all.

use std::time::Instant;

use tokio::sync::{oneshot, watch};
use tracing::{info, warn};

use super::{Driver, WatchControl, WatchNews, WatchOrder, Watched};
use crate::{
    feeds::Feeds,
    migrate::{Action, Command, Facts, Migration, Stage, State, Step, migration},
};

/// How the migration is set up.
#[derive(Debug)]
pub struct Migrating {
    /// Where it begins, and its limits.
    pub settings: migration::Settings,
    /// What `--source` says.
    pub source: Stage,
    /// Takes each state that a restart should go on from.
    pub states: watch::Sender<State>,
    /// Starts and ends our own watches.
    pub control: WatchControl,
}

/// The migration, and the step that is being taken.
pub(super) struct Steps {
    pub(super) migration: Migration,
    source: Stage,
    states: watch::Sender<State>,
    control: WatchControl,
    pending: Option<Pending>,
}

/// A step that waits for our own watches.
struct Pending {
    step: Step,
    answer: Answer,
}

/// The way back to whoever asked for a step; `None` for the autopilot.
type Answer = Option<oneshot::Sender<Result<String, String>>>;

impl Steps {
    pub(super) fn new(migrating: Migrating, feeds: &mut Feeds, now: Instant) -> Self {
        let Migrating {
            settings,
            source,
            states,
            control,
        } = migrating;
        Self {
            migration: Migration::new(settings, feeds, now),
            source,
            states,
            control,
            pending: None,
        }
    }

    /// What has come of an order; never, if there is nobody to give one to.
    pub(super) async fn news(&mut self) -> Option<WatchNews> {
        self.control.news.recv().await
    }

    fn order(&self, order: WatchOrder) {
        // There is room: the one before was answered. Who is gone ends the process anyway.
        let _ = self.control.orders.try_send(order);
    }

    fn keep(&self) {
        self.states.send_replace(self.migration.state(self.source));
    }
}

impl Driver {
    /// Compares, and has the autopilot look. Returns whether more is left to compare.
    pub(super) fn attend(&mut self) -> bool {
        let now = self.now();
        let more = self.steps.migration.attend(&mut self.feeds, now);
        if self.steps.migration.is_steering(now) {
            let facts = self.facts(now);
            let busy = self.steps.pending.is_some();
            let command = self.steps.migration.steer(&facts, busy, now);
            if let Some(command) = command {
                info!(%command, "the autopilot takes a step");
                self.ask(command, false, &facts, None);
            }
        }
        more
    }

    /// An operator asks for a step.
    pub(super) fn migrate(
        &mut self,
        command: Command,
        force: bool,
        answer: oneshot::Sender<Result<String, String>>,
    ) {
        let now = self.now();
        let facts = self.facts(now);
        self.ask(command, force, &facts, Some(answer));
    }

    /// Our own watches have been started or ended.
    pub(super) fn watches_changed(&mut self, news: WatchNews) {
        let now = self.now();
        let pending = self.steps.pending.take();
        match (news, pending) {
            (WatchNews::Started(watches), pending) => {
                let feed = self.feeds.open_native(watches.scopes, now);
                self.watched = Some(Watched::new(feed, watches.scopes));
                self.inputs.set_watches(Some(watches.inputs));
                if let Some(Pending { step, answer }) = pending {
                    self.enter(&step, answer.is_some(), now);
                    reply(answer, Ok(step.to_string()));
                }
            }
            (WatchNews::Failed(why), pending) => {
                warn!(why, "our own watches cannot be started");
                if let Some(Pending { answer, .. }) = pending {
                    let why = format!("our own watches cannot be started: {why}");
                    reply(answer, Err(why));
                }
            }
            (WatchNews::Stopped, pending) => {
                self.inputs.set_watches(None);
                if let Some(Pending { step, answer }) = pending {
                    reply(answer, Ok(step.to_string()));
                }
            }
        }
    }

    fn facts(&mut self, now: Instant) -> Facts {
        let tally = self.watched.as_ref().map(Watched::tally);
        let tally = tally.unwrap_or_default();
        let watches = (tally.watches as u64, tally.failing as u64);
        self.steps.migration.facts(&mut self.feeds, watches, now)
    }

    fn ask(&mut self, command: Command, force: bool, facts: &Facts, answer: Answer) {
        if let Some(pending) = &self.steps.pending {
            let why = format!(
                "a step is being taken already, `{}`: ask again when it is done",
                pending.step.command
            );
            return reply(answer, Err(why));
        }
        match self.steps.migration.ask(command, force, facts) {
            Ok(step) => self.take_step(step, answer),
            Err(refusal) => reply(answer, Err(refusal.to_string())),
        }
    }

    /// Takes a step, by way of watches that start or end if need be.
    fn take_step(&mut self, step: Step, answer: Answer) {
        let now = self.now();
        if step.actions.contains(&Action::StartWatches) {
            self.steps.order(WatchOrder::Start);
            self.steps.pending = Some(Pending { step, answer });
            return;
        }
        self.enter(&step, answer.is_some(), now);
        if step.actions.contains(&Action::StopWatches) {
            self.watched = None;
            self.feeds.close_native(now);
            self.steps.order(WatchOrder::Stop);
            self.steps.pending = Some(Pending { step, answer });
            return;
        }
        reply(answer, Ok(step.to_string()));
    }

    fn enter(&mut self, step: &Step, by_operator: bool, now: Instant) {
        self.steps.migration.enter(step, &mut self.feeds, now);
        if by_operator {
            self.steps.migration.commanded(step.command);
        }
        if step.waived.is_some() {
            warn!("{step}");
        } else if step.is_new() {
            info!("{step}");
        }
        self.steps.keep();
    }
}

fn reply(answer: Answer, said: Result<String, String>) {
    match (answer, said) {
        // Who asked may have gone.
        (Some(answer), said) => drop(answer.send(said)),
        (None, Ok(_)) => {}
        (None, Err(why)) => warn!(why, "a step of the autopilot's was not taken"),
    }
}
