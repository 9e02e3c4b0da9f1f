//! What a watch says of itself: to the driver, to people, to the counters.

use std::time::Instant;

use tracing::{info, warn};

use super::{
    super::{decode::WatchedKind, error::Reason, machine::HealthChange},
    Gone, Watch, now,
};
use crate::source::WatchHealth;

/// What the driver was sent last.
pub(super) struct Reported {
    health: Option<WatchHealth>,
    /// Since when it is so.
    since: Instant,
    /// Its reason and text.
    failure: Option<(Reason, String)>,
}

impl Reported {
    pub(super) fn nothing() -> Self {
        Self {
            health: None,
            since: now(),
            failure: None,
        }
    }
}

impl<K: WatchedKind> Watch<K> {
    /// Sends what has changed apart from the objects.
    pub(super) async fn report(&mut self) -> Result<(), Gone> {
        if let Some(took) = self.machine.take_list_time(now) {
            self.shared.counters.count_list(self.resource.kind, took);
        }
        let streams = self.machine.streams();
        if let Some(streams) = streams.filter(|_| streams != self.learned) {
            self.learned = Some(streams);
            self.shared.streams.learn(streams);
        }
        while let Some(note) = self.machine.take_note() {
            self.log(&note);
            match note {
                HealthChange::Healthy { .. } => self.send_health(WatchHealth::Healthy).await?,
                HealthChange::Failing(_) => self.send_health(WatchHealth::Failing).await?,
                HealthChange::Denied(_) => self.send_health(WatchHealth::Denied).await?,
                HealthChange::StaysDenied(_) | HealthChange::ListsAgain(_) => {}
            }
        }
        // It may fail for another reason now.
        match self.reported.health {
            Some(health @ (WatchHealth::Failing | WatchHealth::Denied)) => {
                self.send_health(health).await
            }
            Some(WatchHealth::Healthy) | None => Ok(()),
        }
    }

    async fn send_health(&mut self, health: WatchHealth) -> Result<(), Gone> {
        let last_failure = self.last_failure.clone();
        let failure = last_failure.clone().map(|last| (last.reason, last.text));
        let reported = &mut self.reported;
        if reported.health == Some(health) && reported.failure == failure {
            return Ok(());
        }
        if reported.health != Some(health) {
            (reported.health, reported.since) = (Some(health), now());
        }
        reported.failure = failure;
        let since = reported.since;
        match self.outlet.changed(health, since, last_failure) {
            Some(health) => self.shared.send(health).await,
            None => Ok(()),
        }
    }

    fn log(&self, note: &HealthChange) {
        let (kind, namespace) = (&*self.resource.row.resource, self.resource.namespace());
        let server = &*self.shared.server.url();
        match note {
            HealthChange::Healthy { failures } => {
                info!(kind, namespace, failures, "watch is healthy")
            }
            HealthChange::Failing(why) => {
                warn!(kind, namespace, server, %why, "watch fails; the relay tries again");
            }
            HealthChange::Denied(why) => {
                info!(kind, namespace, server, %why, "watch is refused; the relay tries again");
            }
            HealthChange::StaysDenied(why) => {
                let grant = self.resource.row.grant();
                warn!(kind, namespace, server, %why, "watch is refused: grant {grant}");
            }
            HealthChange::ListsAgain(why) => info!(kind, namespace, %why, "watch lists again"),
        }
    }

    pub(super) fn count_dropped(&mut self) {
        if self.dropped.is_empty() {
            return;
        }
        let mut dropped = std::mem::take(&mut self.dropped);
        for (name, why) in dropped.take_named() {
            self.shared.counters.lost.remember(name, why.label());
        }
        for (why, objects) in dropped.iter() {
            self.shared.counters.drop_objects(why, objects);
            if !self.said.contains(&why) {
                self.said.push(why);
                let (kind, namespace) = (&*self.resource.row.resource, self.resource.namespace());
                warn!(kind, namespace, %why, "the relay drops an object, and only counts further ones");
            }
        }
    }
}
