//! `grpc.health.v1.Health` beside `Collect`: probes and clients ask whether watchers are served.
//!
//! Invariants: what serves answers SERVING, whatever becomes of the reducer: a watcher need not
//! be sent elsewhere for that. A watch of the health is told NOT_SERVING and ends when the server
//! does; at most [`WATCHES`] of them are open at once.

use std::{collections::HashMap, sync::Arc};

use futures_util::{StreamExt as _, stream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, codegen::BoxStream, server::NamedService};

use super::{codec::service::collector_server::CollectorServer, connection::Peer};
use crate::proto::health::{
    HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
    health_check_response::ServingStatus, health_server::Health,
};

/// How many calls of `Watch` may be open at once.
const WATCHES: usize = 64;

/// The service; `shutdown` is cancelled when the server is to end.
pub(super) struct Healthy {
    shutdown: CancellationToken,
    watches: Arc<Semaphore>,
}

impl Healthy {
    pub(super) fn new(shutdown: CancellationToken) -> Self {
        Self {
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

/// The services that can be asked for: the server as a whole, and `Collect`'s.
const KNOWN: [&str; 2] = ["", CollectorServer::<()>::NAME];

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
        if KNOWN.contains(&&*request.get_ref().service) {
            Ok(Response::new(answer(self.status())))
        } else {
            Err(Status::not_found("no such service is served here"))
        }
    }

    async fn list(
        &self,
        _: Request<HealthListRequest>,
    ) -> Result<Response<HealthListResponse>, Status> {
        let all = KNOWN.map(|name| (name.to_owned(), answer(self.status())));
        Ok(Response::new(HealthListResponse {
            statuses: HashMap::from(all),
        }))
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let in_use = request.extensions().get::<Peer>().map(Peer::in_use);
        let Ok(place) = self.watches.clone().try_acquire_owned() else {
            return Err(Status::resource_exhausted(
                "too many watches of the health are open",
            ));
        };
        let known = KNOWN.contains(&&*request.get_ref().service);
        let now = if known {
            self.status()
        } else {
            ServingStatus::ServiceUnknown
        };
        let shutdown = self.shutdown.clone();
        let end = async move {
            shutdown.cancelled().await;
            drop((place, in_use));
            known.then(|| Ok(answer(ServingStatus::NotServing)))
        };
        let first = stream::iter([Ok(answer(now))]);
        let last = stream::once(end).filter_map(std::future::ready);
        Ok(Response::new(Box::pin(first.chain(last))))
    }
}
