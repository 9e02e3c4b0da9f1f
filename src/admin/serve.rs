//! Connections: one request each, up to a number at a time, for up to a time.
//!
//! When there are too many, the newest takes the place of the oldest: a probe always gets in,
//! however many clients are slow. No client is waited for longer than [`Connections::lifetime`].

use std::{sync::Arc, time::Duration};

use axum::{Router, body::Body};
use http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{task::JoinSet, time::timeout};
use tower::ServiceExt as _;
use tracing::debug;

use super::{access::may_ask, routes::refused};
use crate::net::{Accepted, Acceptor, Caller, Listener, Places, places::GivesWay, tls::ServerTls};

/// The longest head of a request, in bytes: hyper allows no less.
const MAX_HEAD: usize = 8 * 1024;

/// The most header fields.
const MAX_HEADERS: usize = 64;

/// How connections are held.
#[derive(Clone, Copy, Debug)]
pub struct Connections {
    /// How many may be open at a time.
    pub most: usize,
    /// From the first byte to the last one of the request's head.
    pub head: Duration,
    /// From its beginning to its end.
    pub lifetime: Duration,
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            most: 64,
            head: Duration::from_secs(5),
            lifetime: Duration::from_secs(20),
        }
    }
}

/// Serves until it is dropped, and its connections with it.
pub async fn serve(listener: Listener, router: Router, connections: Connections) {
    let places = Places::new(connections.most, GivesWay::Oldest, Arc::default());
    let knows_clients = listener.tls().is_some_and(ServerTls::knows_clients);
    let mut acceptor = Acceptor::new(listener, places);
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            accepted = acceptor.accept() => {
                let router = router.clone();
                tasks.spawn(hold(accepted, router, knows_clients, connections));
            }
            // Whatever comes of a connection is its own affair.
            Some(_) = tasks.join_next() => {}
        }
    }
}

/// Answers on a connection, until it has to give way to a newer one.
async fn hold(accepted: Accepted, router: Router, knows_clients: bool, connections: Connections) {
    let Accepted {
        stream,
        peer,
        place,
    } = accepted;
    let caller = Caller::new(peer, &stream);
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        let refusal = match knows_clients {
            true => may_ask(request.uri().path(), caller.certificate().is_some()).err(),
            false => None,
        };
        request.extensions_mut().insert(caller.clone());
        let router = router.clone();
        async move {
            match refusal {
                Some(refusal) => Ok(refused(&refusal)),
                None => router.oneshot(request).await,
            }
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(connections.head)
        .keep_alive(false)
        .half_close(true)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        biased;
        () = place.gives_way() => debug!(%peer, "too many admin connections: the oldest ends"),
        ended = timeout(connections.lifetime, connection) => match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(%error, %peer, "an admin connection has failed"),
            Err(_) => debug!(%peer, "an admin connection was too slow"),
        },
    }
}
