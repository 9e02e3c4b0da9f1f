//! `grpc.health.v1.Health` beside the services: probes and clients ask whether they are served.
//!
//! Invariants: what serves answers SERVING, whatever becomes of the parts behind it: a client
//! need not be sent elsewhere for that. A watch of the health is sent NOT_SERVING and ends when
//! the server does; at most [`WATCHES`] of them are open at once.

use std::{collections::HashMap, sync::Arc};

use futures_util::{StreamExt as _, stream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, codegen::BoxStream};

use crate::proto::health::{
    HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
    health_check_response::ServingStatus, health_server::Health,
};

/// How many calls of `Watch` may be open at once.
const WATCHES: usize = 64;

/// The service; `shutdown` is cancelled when the server is to end.
pub(super) struct Healthy {
    /// The services that can be asked for: the server as a whole, and each of its own.
    known: Vec<&'static str>,
    shutdown: CancellationToken,
    watches: Arc<Semaphore>,
}

impl Healthy {
    /// Of the services of these names.
    pub(super) fn new(mut known: Vec<&'static str>, shutdown: CancellationToken) -> Self {
        known.push("");
        Self {
            known,
            shutdown,
            watches: Arc::new(Semaphore::new(WATCHES)),
        }
    }

    fn status(&self) -> ServingStatus {
        if self.shutdown.is_cancelled() {
            ServingStatus::NotServing
        } else {
            ServingStatus::Serving
        }
    }
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse {
        status: status.into(),
    }
}

#[tonic::async_trait]
impl Health for Healthy {
    type WatchStream = BoxStream<HealthCheckResponse>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        if self.known.contains(&&*request.get_ref().service) {
            Ok(Response::new(answer(self.status())))
        } else {
            Err(Status::not_found("no such service is served here"))
        }
    }

    async fn list(
        &self,
        _: Request<HealthListRequest>,
    ) -> Result<Response<HealthListResponse>, Status> {
        let all = self.known.iter();
        let all = all.map(|name| ((*name).to_owned(), answer(self.status())));
        Ok(Response::new(HealthListResponse {
            statuses: HashMap::from_iter(all),
        }))
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let Ok(place) = self.watches.clone().try_acquire_owned() else {
            return Err(Status::resource_exhausted(
                "too many watches of the health are open",
            ));
        };
        let known = self.known.contains(&&*request.get_ref().service);
        let now = if known {
            self.status()
        } else {
            ServingStatus::ServiceUnknown
        };
        let shutdown = self.shutdown.clone();
        let end = async move {
            shutdown.cancelled().await;
            drop(place);
            known.then(|| Ok(answer(ServingStatus::NotServing)))
        };
        let first = stream::iter([Ok(answer(now))]);
        let last = stream::once(end).filter_map(std::future::ready);
        Ok(Response::new(Box::pin(first.chain(last))))
    }
}
