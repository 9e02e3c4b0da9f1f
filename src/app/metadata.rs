//! `--source none`: a metadata service alone. It has no feed, no matcher, no reducer, no
//! migration and no state file.
//!
//! Invariant: what is asked about those is answered all the same, in the form of a relay.

use std::{future::Future, time::Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::{AppError, admin, admin::Admin, end::Part, spawn};
use crate::{
    admin::{Sources, api::Status},
    config::Config,
    driver::query::{DriverQuery, Refused},
    net::BoundAddr,
};

/// A metadata service that runs without a relay.
pub struct MetadataService {
    stop: CancellationToken,
    admin: Part<()>,
    admins: Vec<BoundAddr>,
    /// Answers what the admin listener asks.
    desk: Part<()>,
}

impl MetadataService {
    /// Opens everything and starts to serve. The API server need not be there yet.
    ///
    /// # Errors
    ///
    /// When an address cannot be had.
    pub async fn start(config: Config) -> Result<Self, AppError> {
        let stop = CancellationToken::new();
        let sources = Sources::default();
        let (admin, queries) = admin::start(&config.admin_address, sources, stop.clone()).await?;
        let (admins, admin, desk) = match admin {
            Some(Admin { addresses, task }) => (
                addresses,
                Part::new("admin listener", task),
                Part::new("desk of the admin listener", spawn(desk(queries))),
            ),
            None => (Vec::new(), Part::none("admin listener"), Part::none("desk")),
        };
        Ok(Self {
            stop,
            admin,
            admins,
            desk,
        })
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
        };
        self.stop.cancel();
        match failed {
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
