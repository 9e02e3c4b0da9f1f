//! `grpc.health.v1.Health` next to the services: probes and clients ask whether they are served.
//!
//! Invariants: whoever serves says whether it is ready; most always are, whatever becomes of the
//! parts behind them, for a client need not be sent elsewhere for that. A watch of the health is
//! sent each change, and NOT_SERVING when the server ends, and ends then; at most [`WATCHES`] of
//! them are open at once.

use std::{collections::HashMap, sync::Arc};

use futures_util::{StreamExt as _, stream};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, codegen::BoxStream};

use crate::proto::health::{
    HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
    health_check_response::ServingStatus, health_server::Health,
};

/// How many calls of `Watch` may be open at once.
const WATCHES: usize = 64;

/// The service; `shutdown` is cancelled when the server is to end.
#[derive(Debug)]
pub struct Healthy {
    /// The services that can be asked for: the server as a whole, and each of its own.
    known: Vec<&'static str>,
    state: State,
    watches: Arc<Semaphore>,
}

/// What the health depends on.
#[derive(Clone, Debug)]
struct State {
    ready: watch::Receiver<bool>,
    shutdown: CancellationToken,
}

impl Healthy {
    /// Of the services of these names.
    pub(super) fn new(
        mut known: Vec<&'static str>,
        shutdown: CancellationToken,
        ready: watch::Receiver<bool>,
    ) -> Self {
        known.push("");
        Self {
            known,
            state: State { ready, shutdown },
            watches: Arc::new(Semaphore::new(WATCHES)),
        }
    }
}

impl State {
    fn status(&self) -> ServingStatus {
        if self.shutdown.is_cancelled() || !*self.ready.borrow() {
            ServingStatus::NotServing
        } else {
            ServingStatus::Serving
        }
    }

    /// The next status that differs from this one; `None` when the server ends and that was
    /// said.
    async fn next(&mut self, said: ServingStatus) -> Option<ServingStatus> {
        while !self.shutdown.is_cancelled() {
            self.ready.mark_unchanged();
            let now = self.status();
            if now != said {
                return Some(now);
            }
            tokio::select! {
                () = self.shutdown.cancelled() => {}
                changed = self.ready.changed() => if changed.is_err() {
                    self.shutdown.cancelled().await;
                }
            }
        }
        (said != ServingStatus::NotServing).then_some(ServingStatus::NotServing)
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
            Ok(Response::new(answer(self.state.status())))
        } else {
            Err(Status::not_found("no such service is served here"))
        }
    }

    async fn list(
        &self,
        _: Request<HealthListRequest>,
    ) -> Result<Response<HealthListResponse>, Status> {
        let all = self.known.iter();
        let all = all.map(|name| ((*name).to_owned(), answer(self.state.status())));
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
        let state = self.state.clone();
        if !known {
            let unknown = stream::iter([Ok(answer(ServingStatus::ServiceUnknown))]);
            let end = async move {
                state.shutdown.cancelled().await;
                drop(place);
                None
            };
            let end = stream::once(end).filter_map(std::future::ready);
            return Ok(Response::new(Box::pin(unknown.chain(end))));
        }
        let now = state.status();
        let changes = stream::unfold((state, now, place), |(mut state, said, place)| async move {
            let next = state.next(said).await?;
            Some((Ok(answer(next)), (state, next, place)))
        });
        let first = stream::iter([Ok(answer(now))]);
        Ok(Response::new(Box::pin(first.chain(changes))))
    }
}
