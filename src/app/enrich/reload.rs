//! New profiles while the relay runs: at SIGHUP, and when the settings file has changed.
//!
//! Invariants: a file that cannot be read, is half written or has a mistake changes nothing, and
//! that is said once. What is new comes before what is old goes: the watches of the profiles before
//! are released when those of the new ones are held.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    discovery::{Discovery, Found},
    status::Shown,
};
use crate::{
    backoff::{Backoff, Jitter},
    config::EnrichConfig,
    enrich::{profile::ProfileSet, service::Service},
    registry::Registry,
};

/// Between two attempts to find out what the API server did not say.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const SLOWEST_RETRY: Duration = Duration::from_secs(60);

/// Loads profiles again.
pub(super) struct Reloader {
    pub(super) settings: EnrichConfig,
    pub(super) registry: Registry,
    pub(super) service: Arc<Service<Registry>>,
    pub(super) shown: Arc<Shown>,
    pub(super) discovery: Discovery,
    pub(super) found: Found,
    /// Those in effect, as they are written.
    pub(super) profiles: ProfileSet,
}

/// What the settings file held when it was looked at, as far as it matters.
#[derive(Default)]
struct Seen {
    /// That of which the outcome was said.
    judged: Option<Result<Vec<u8>, String>>,
    /// That of the look before: a file that is being written differs at each look.
    before: Option<Result<Vec<u8>, String>>,
}

impl Reloader {
    /// Reloads until `stop`.
    pub(super) async fn run(mut self, mut hangups: watch::Receiver<u64>, stop: CancellationToken) {
        let mut look = interval(self.settings.look_every);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seen = Seen::default();
        // What the start has read is in effect, unless the file has changed since then.
        let content = self.read().await;
        let is_in_effect = |bytes: &Vec<u8>| self.settings.is_of(bytes);
        if content.as_ref().is_ok_and(is_in_effect) {
            seen.judged = Some(content);
        }
        let mut pauses = Backoff::new(FIRST_RETRY, SLOWEST_RETRY, Jitter::Above);
        let mut search_at = now();
        let mut hears = true;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                changed = hangups.changed(), if hears => match changed {
                    Ok(()) => {
                        let content = self.read().await;
                        self.judge(&content, "SIGHUP").await;
                        seen.judged = Some(content);
                    }
                    // Nobody sends signals here.
                    Err(_) => hears = false,
                },
                _ = look.tick(), if self.settings.file.is_some() => {
                    let content = self.read().await;
                    if seen.is_new(&content) {
                        self.judge(&content, "the file has changed").await;
                        seen.judged = Some(content);
                    }
                }
                () = sleep_until(search_at), if !self.found.covers(&self.profiles) => {
                    self.search().await;
                    search_at = now() + pauses.fail(fastrand::f64());
                }
            }
        }
    }

    /// The file's content, or why it cannot be read.
    async fn read(&self) -> Result<Vec<u8>, String> {
        let settings = self.settings.clone();
        let read = tokio::task::spawn_blocking(move || settings.read_file());
        let read = read
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)));
        read.map_err(|error| error.to_string())
    }

    /// Takes the profiles of this content, or says what is wrong with it.
    async fn judge(&mut self, content: &Result<Vec<u8>, String>, why: &'static str) {
        let read = match content {
            Ok(bytes) => self.settings.parse(bytes).map_err(|error| in_full(&error)),
            Err(error) => Err(format!("cannot read the config file: {error}")),
        };
        let refused = match read {
            Ok(profiles) => match self.take(profiles).await {
                Ok(()) => {
                    let generation = self.service.in_effect().generation;
                    info!(generation, why, "profiles loaded");
                    return;
                }
                Err(refused) => refused,
            },
            Err(refused) => refused,
        };
        warn!(error = refused, why, "the profiles stay as they were");
        self.shown.reload_failed(refused);
    }

    async fn take(&mut self, profiles: ProfileSet) -> Result<(), String> {
        if !self.found.covers(&profiles) {
            let found = self.discovery.look(&profiles).await;
            if let Some(unknown) = found.unknown_node(&profiles) {
                return Err(unknown.to_string());
            }
            self.found = found;
        }
        if profiles.address != self.profiles.address {
            warn!("`enrichment.address` has changed, which takes effect at the next start");
        }
        if profiles.kube_config() != self.profiles.kube_config() {
            warn!("`kube_config` has changed, which takes effect at the next start");
        }
        self.profiles = profiles;
        self.put_in_effect();
        self.shown.reloaded();
        Ok(())
    }

    /// Looks again for what the API server did not say.
    async fn search(&mut self) {
        let found = self.discovery.look(&self.profiles).await;
        if found.is_complete {
            self.found = found;
            self.put_in_effect();
        }
    }

    fn put_in_effect(&self) {
        self.registry.apply(&self.found.watchable(&self.profiles));
        let (profiles, identity) = (
            self.found.resolve(&self.profiles),
            self.found.identity(&self.profiles),
        );
        self.service.replace(profiles, identity);
    }
}

impl Seen {
    /// Whether this is something else than what was judged, and stood still between two looks.
    fn is_new(&mut self, content: &Result<Vec<u8>, String>) -> bool {
        let stands = self.before.as_ref() == Some(content);
        self.before = Some(content.clone());
        stands && self.judged.as_ref() != Some(content)
    }
}

/// An error with its cause, in one line.
fn in_full(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[expect(clippy::disallowed_methods, reason = "when to ask again")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_judged_when_it_stands_still_and_only_once() {
        let mut seen = Seen {
            judged: Some(Ok(b"old".to_vec())),
            before: None,
        };
        let gone = Err("gone".to_owned());
        let mut look = |content: &Result<&str, String>| {
            let content = content.clone().map(|text| text.as_bytes().to_vec());
            let is_new = seen.is_new(&content);
            if is_new {
                seen.judged = Some(content);
            }
            is_new
        };
        for (content, is_new) in [
            (Ok("old"), false),
            (Ok("old"), false),
            (Ok("ha"), false),
            (Ok("half"), false),
            (Ok("half written"), false),
            (Ok("half written"), true),
            (Ok("half written"), false),
            (gone.clone(), false),
            (Ok("half written"), false),
            (gone.clone(), false),
            (gone.clone(), true),
            (gone, false),
            (Ok("old"), false),
            (Ok("old"), true),
        ] {
            assert_eq!(look(&content), is_new, "{content:?}");
        }
    }
}
