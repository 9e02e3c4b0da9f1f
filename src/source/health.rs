//! How a watch stands, for the keepers of watches. Pure.

use std::time::Instant;

use super::{WatchFailure, WatchHealth};

/// How one watch stands, from what it has said so far.
#[derive(Clone, Debug, Default)]
pub struct WatchState {
    /// Its health and since when; `None` until it has heard from the server.
    pub health: Option<(WatchHealth, Instant)>,
    /// How its last request failed, if one has.
    pub last_failure: Option<WatchFailure>,
    /// It is healthy or was: what it sent then is kept.
    pub was_healthy: bool,
    /// When it has sent something last.
    pub last_event: Option<Instant>,
}

impl WatchState {
    /// Notes its health.
    pub fn changed(
        &mut self,
        health: WatchHealth,
        since: Instant,
        last_failure: Option<WatchFailure>,
    ) {
        self.health = Some((health, since));
        self.last_failure = last_failure;
        self.was_healthy |= health == WatchHealth::Healthy;
    }

    /// Whether it lists or follows.
    pub fn is_healthy(&self) -> bool {
        matches!(self.health, Some((WatchHealth::Healthy, _)))
    }

    /// Whether it is refused what it was allowed before.
    pub fn is_revoked(&self) -> bool {
        matches!(self.health, Some((WatchHealth::Denied, _))) && self.was_healthy
    }

    /// In a word: `starting`, `healthy`, `failing`, `not allowed`, or `refused` what it was
    /// allowed before.
    pub fn name(&self) -> &'static str {
        match self.health {
            None => "starting",
            Some((WatchHealth::Healthy, _)) => "healthy",
            Some((WatchHealth::Failing, _)) => "failing",
            Some((WatchHealth::Denied, _)) if self.was_healthy => "refused",
            Some((WatchHealth::Denied, _)) => "not allowed",
        }
    }
}
