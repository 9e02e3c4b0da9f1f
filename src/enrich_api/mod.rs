//! The surfaces of enrichment: HTTP/1.1, HTTP/2 without TLS and gRPC, all at the same ports or
//! socket files.
//!
//! | file | what it is |
//! |---|---|
//! | [`limits`] | how much clients may ask for |
//! | [`counters`] | what is counted, for metrics |
//! | `reference` | whom a lookup is about, as clients write it (pure) |
//! | `ask` | questions in batches: waiting for what is not known yet, and the answers |
//! | `outbox` | the pieces of an answer, on their way to a client that may take none |
//! | `lines`, `inflate` | lines of a request (pure), compressed or not |
//! | `http` | paths, queries and answers |
//! | `grpc` | `k8smeta.v1.MetadataEnricher`, with reflection and health |
//!
//! Invariants: answers come from the stores and wait for nobody, unless the client asks to wait.
//! Whatever a client sends or does not take, it costs so much memory for so long, and nothing of
//! the others. A bad event, line or reference costs an INVALID, never its stream.
//!
//! Absent here: watches, settings, TLS and who may ask.

mod ask;
pub mod counters;
mod grpc;
mod http;
mod inflate;
pub mod limits;
mod lines;
mod outbox;
mod reference;

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use ::http::{Request, Response, header::CONTENT_TYPE};
use axum::Router;
use futures_util::future::BoxFuture;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tonic::{body::Body, service::Routes};
use tower::ServiceExt as _;

pub use self::{counters::Counters, limits::Limits};
use crate::{
    enrich::service::{Objects, Service},
    net::{
        self, Listener, Places,
        grpc::{Tasks, Unread},
        places::GivesWay,
    },
};

/// What all requests have in common.
struct Api<O> {
    service: Arc<Service<O>>,
    limits: Limits,
    counters: Arc<Counters>,
    /// Places of events and lookups that wait.
    waiting: Arc<Semaphore>,
    /// Places of requests with a body.
    streams: Arc<Places>,
    tasks: Tasks,
    shutdown: CancellationToken,
}

/// Answers questions at all `listeners` until `shutdown` is cancelled; returns when all
/// connections have ended, soon after the grace time of the limits at the latest.
///
/// `ready` is whether the relay is ready, for the health service.
pub async fn serve<O: Objects>(
    listeners: Vec<Listener>,
    service: Arc<Service<O>>,
    ready: watch::Receiver<bool>,
    shutdown: CancellationToken,
    limits: Limits,
    counters: Arc<Counters>,
) {
    let connections = counters.connections.clone();
    let surfaces = |tasks: &Tasks| {
        let streams = counters.streams.clone();
        let api = Arc::new(Api {
            service,
            limits,
            waiting: Arc::new(Semaphore::new(limits.waiting)),
            streams: Places::new(limits.streams, GivesWay::Nobody, streams),
            counters,
            tasks: tasks.clone(),
            shutdown: shutdown.clone(),
        });
        Surfaces {
            http: http::router(api.clone()),
            grpc: grpc::routes(api, ready),
        }
    };
    let options = limits.connections;
    net::http::serve(listeners, surfaces, shutdown.clone(), options, connections).await;
}

/// All surfaces; the content type distinguishes them.
#[derive(Clone)]
struct Surfaces {
    http: Router,
    grpc: Routes,
}

impl tower::Service<Request<Unread>> for Surfaces {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Unread>) -> Self::Future {
        let content_type = request.headers().get(CONTENT_TYPE);
        let is_grpc = content_type.is_some_and(|it| it.as_bytes().starts_with(b"application/grpc"));
        if is_grpc {
            let answered = self.grpc.call(request);
            Box::pin(async move { Ok(grpc::sized(answered.await?)) })
        } else {
            let answered = self
                .http
                .clone()
                .oneshot(request.map(axum::body::Body::new));
            Box::pin(async move { Ok(answered.await?.map(Body::new)) })
        }
    }
}
