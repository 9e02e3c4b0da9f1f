//! `--source none`: a metadata service alone. It has no feed, no matcher, no reducer, no
//! migration and no state file.
//!
//! Invariant: what is asked about those is answered all the same, in the form of a relay.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::{
    AppError,
    admin::{self, Admin},
    end::Part,
    enrich::{self, Enrichment},
    spawn,
    tls::{self, Tls},
};
use crate::{
    admin::{Sources, api::Status},
    config::{Config, ConfigError},
    driver::query::{DriverHandle, DriverQuery, Refused},
    net::BoundAddr,
};

/// How long the end may take.
const END: Duration = Duration::from_millis(4_500);

/// A metadata service that runs without a relay.
pub struct MetadataService {
    stop: CancellationToken,
    enrichment: Enrichment,
    admin: Part<()>,
    admins: Vec<BoundAddr>,
    /// Answers what the admin listener asks.
    desk: Part<()>,
    /// Reads certificates and keys again, if there are any.
    certificates: Part<()>,
}

impl MetadataService {
    /// Opens everything and starts to serve. The API server need not be there yet.
    ///
    /// # Errors
    ///
    /// When an address cannot be had, or nothing says how to reach an API server.
    pub async fn start(config: Config) -> Result<Self, AppError> {
        // Nobody sends it signals.
        let (_, hangups) = watch::channel(0);
        Self::start_reloading(config, hangups).await
    }

    /// The same; profiles, certificates and keys are read again when `hangups` moves.
    pub(super) async fn start_reloading(
        config: Config,
        hangups: watch::Receiver<u64>,
    ) -> Result<Self, AppError> {
        let tls = Tls::load(&config).await?;
        let stop = CancellationToken::new();
        let opened = enrich::open(&config, &tls).await?;
        let opened = opened.ok_or(ConfigError::NothingToDo)?;
        let questions = Arc::default();
        let counters = Arc::clone(&questions);
        let mut enrichment = opened
            .start(counters, stop.clone(), hangups.clone())
            .await?;
        let (queried, queries) = DriverHandle::new();
        enrichment.follow(queried.clone(), stop.clone());
        let sources = Sources {
            questions,
            metadata: Some(enrichment.shown()),
            tls: tls.materials.clone(),
            handshakes: tls.handshakes.to_vec(),
            ..Sources::default()
        };
        let [_, asking, _] = tls.handshakes;
        let secure = (tls.admin, asking);
        let addresses = &config.admin_address;
        let admin = admin::start(addresses, queried, sources, secure, stop.clone()).await?;
        let (admin, admins) = match admin {
            Some(Admin { addresses, task }) => (Part::new("admin listener", task), addresses),
            None => (Part::none("admin listener"), Vec::new()),
        };
        Ok(Self {
            stop,
            enrichment,
            admin,
            admins,
            desk: Part::new("desk of the admin listener", spawn(desk(queries))),
            certificates: tls::keeping(tls.materials, hangups),
        })
    }

    /// Where questions about metadata are answered.
    pub fn enrichment(&self) -> &BoundAddr {
        &self.enrichment.address
    }

    /// Where the first admin listener is, if there is one.
    pub fn admin(&self) -> Option<&BoundAddr> {
        self.admins.first()
    }

    /// Runs until `end` is ready, then ends in order.
    ///
    /// # Errors
    ///
    /// When a part ends by itself before.
    pub async fn run_until(mut self, end: impl Future<Output = ()>) -> Result<(), AppError> {
        let failed = tokio::select! {
            biased;
            () = end => None,
            failure = self.admin.failed() => Some(failure),
            failure = self.desk.failed() => Some(failure),
            failure = self.enrichment.failed() => Some(failure),
            failure = self.certificates.failed() => Some(failure),
        };
        self.stop.cancel();
        let ended = timeout(END, self.enrichment.end()).await;
        match failed {
            None if ended.is_err() => Err(AppError::Unclean(
                "the metadata service did not end in time".to_owned(),
            )),
            None => {
                info!("stopped");
                Ok(())
            }
            Some(failure) => {
                let shown: &dyn std::error::Error = &failure;
                error!(
                    failure = shown,
                    "a part of the metadata service has failed: it ends"
                );
                Err(failure)
            }
        }
    }
}

/// Answers in the place of the loop that a relay has.
async fn desk(mut queries: mpsc::Receiver<DriverQuery>) {
    let began = now();
    while let Some(query) = queries.recv().await {
        // Who asked may have gone.
        match query {
            DriverQuery::Status(answer) => drop(answer.send(Box::new(Status {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                up_seconds: now().saturating_duration_since(began).as_secs_f64(),
                alone: true,
                ..Status::default()
            }))),
            DriverQuery::Explain(_, answer) => drop(answer.send(None)),
            DriverQuery::Stores(answer) => drop(answer.send(Vec::new())),
            DriverQuery::Digests(answer) => drop(answer.send(Vec::new())),
            DriverQuery::Migrate(request) => request.refuse(Refused {
                why: "no source: with --source none there is nothing to migrate".to_owned(),
                in_progress: false,
            }),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "how long the process has run")]
fn now() -> Instant {
    Instant::now()
}
