//! Serving gRPC: many services at the same ports, in one way.
//!
//! Every server gets: the health service in addition to its own (`grpc.health.v1`); a bound of its
//! connections, and of the calls of each; windows that hold back a client that is too fast without
//! ending it (D6); keepalive, so that a peer that has gone is noticed; the closing of connections
//! on which nothing is called; request bodies that are read to their end; and one order of ending:
//! no new connections, the services end their calls, and after [`Options::grace`] what is left is
//! cut.
//!
//! Absent here: what is called, and how many calls of all connections together may be open.

mod calls;
mod connection;
mod drain;
mod health;
mod remote;

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::response::IntoResponse;
use http::{Extensions, Request};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{
    body::Body,
    codec::CompressionEncoding::{Deflate, Gzip},
    codegen::Service,
    server::NamedService,
    service::Routes,
    transport::{self, Server},
};

pub use self::drain::{Drain, Unread};
use self::{calls::Counted, health::Healthy, remote::Remote};
use super::{Listener, Peer, PlaceCounts, Places, places::GivesWay, tls::ClientCert};
use crate::proto::health::health_server::HealthServer;

/// What a client may send ahead on one stream, in bytes (D6).
pub const STREAM_WINDOW: u32 = 128 << 10;
/// What it may send ahead on one connection, in bytes. h2 takes half of it as the
/// connection's budget for small frames that wait unread (each costs 256 less its length), so
/// a full stream window of the smallest Infos, 6.6 MB, must fit into that half.
pub const CONNECTION_WINDOW: u32 = 16 << 20;
/// Calls of one connection at the same time, refused ones that have not ended yet included.
const CONCURRENT_STREAMS: u32 = 256;
/// Streams of one connection that were reset before they were accepted, and ones that the
/// server reset for an error: with more the connection is ended. As many as can be open, so that a
/// client that gives up all of its calls at once does no harm.
const RESET_STREAMS: usize = CONCURRENT_STREAMS as usize;
/// All header fields of one request, in bytes.
const HEADERS: u32 = 16 << 10;
/// How long a request may take to be answered with a head.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// The longest request about health, in bytes. It names a service.
const MAX_HEALTH_REQUEST: usize = 4 << 10;

/// How connections are held.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How often an idle connection is pinged.
    pub keepalive_interval: Duration,
    /// How long the answer may take until the connection counts as dead.
    pub keepalive_timeout: Duration,
    /// How long the request of a call that was ended is still read, for the client to see the
    /// status.
    pub linger: Duration,
    /// How long connections may take to end when the server ends; then they are cut.
    pub grace: Duration,
    /// Connections that may be open at once. One too many is closed at once.
    pub connections: usize,
    /// How long a connection may stand without a call; it is closed after at most twice of it.
    pub idle: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            keepalive_interval: Duration::from_secs(10),
            keepalive_timeout: Duration::from_secs(5),
            linger: Duration::from_millis(500),
            grace: Duration::from_secs(1),
            connections: 512,
            idle: Duration::from_secs(30),
        }
    }
}

/// Why a server ended before it was asked to.
#[derive(Debug, thiserror::Error)]
#[error("serving gRPC failed")]
pub struct ServeError(#[from] transport::Error);

/// What tasks of services need to end with the server.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    /// For the tasks: all are awaited.
    pub tracker: TaskTracker,
    /// Cancelled when patience has ended: they must end at once.
    pub kill: CancellationToken,
}

/// The services of one server.
#[derive(Debug, Default)]
pub struct Services {
    routes: Routes,
    names: Vec<&'static str>,
}

impl Services {
    /// This one, too. The health service knows its name.
    #[must_use]
    pub fn with<S>(mut self, service: S) -> Self
    where
        S: Service<Request<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Response: IntoResponse,
        S::Future: Send + 'static,
    {
        self.names.push(S::NAME);
        self.routes = self.routes.add_service(service);
        self
    }
}

/// The peer that a request came from.
pub fn peer(request: &Extensions) -> Option<Peer> {
    request.get::<Remote>().map(Remote::peer)
}

/// The health service of these services: they are served while `ready` says so, until `shutdown`
/// is cancelled.
pub fn health(
    names: Vec<&'static str>,
    shutdown: CancellationToken,
    ready: watch::Receiver<bool>,
) -> HealthServer<Healthy> {
    HealthServer::new(Healthy::new(names, shutdown, ready))
        .accept_compressed(Gzip)
        .accept_compressed(Deflate)
        .max_decoding_message_size(MAX_HEALTH_REQUEST)
}

/// The certificate that the client of a request has shown over TLS, and that was verified.
pub fn certificate(request: &Extensions) -> Option<&ClientCert> {
    request.get::<Remote>()?.client().certificate()
}

/// Serves on all `listeners` until `shutdown` is cancelled. By then the services end their
/// calls, of their own accord; this returns when all calls and tasks have ended, soon after
/// [`Options::grace`] at the latest.
///
/// # Errors
/// If the server ends by itself.
pub async fn serve(
    listeners: Vec<Listener>,
    services: impl FnOnce(&Tasks) -> Services,
    shutdown: CancellationToken,
    options: Options,
    counts: Arc<PlaceCounts>,
) -> Result<(), ServeError> {
    let tasks = Tasks::default();
    let Tasks { tracker, kill } = &tasks;
    // Also when this future is dropped before its time.
    let _kill_at_end = kill.clone().drop_guard();
    let Services { routes, names } = services(&tasks);
    let (_always, ready) = watch::channel(true);
    let health = health(names, shutdown.clone(), ready);
    let routes = routes.add_service(health).prepare();
    let services = Counted::new(routes, Drain::new(options.linger, &tasks));
    let places = Places::new(options.connections, GivesWay::Nobody, counts);
    let server = Server::builder()
        .timeout(ANSWER_WITHIN)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(CONCURRENT_STREAMS)
        .http2_max_header_list_size(HEADERS)
        .http2_max_pending_accept_reset_streams(Some(RESET_STREAMS))
        .http2_max_local_error_reset_streams(Some(RESET_STREAMS))
        .http2_keepalive_interval(Some(options.keepalive_interval))
        .http2_keepalive_timeout(Some(options.keepalive_timeout))
        .serve_with_incoming_shutdown(
            services,
            connection::accept(listeners, &places, options.idle, kill),
            shutdown.cancelled(),
        );
    let impatience = async {
        shutdown.cancelled().await;
        tokio::time::sleep(options.grace).await;
        kill.cancel();
        std::future::pending().await
    };
    let served = tokio::select! {
        served = server => served,
        () = impatience => Ok(()),
    };
    kill.cancel();
    tracker.close();
    tracker.wait().await;
    Ok(served?)
}
