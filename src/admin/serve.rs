//! Connections: one request each, so many at a time, for so long.
//!
//! When there are too many, the newest takes the place of the oldest: a probe always gets in,
//! however many clients are slow. No client is waited for longer than [`Connections::lifetime`].

use std::{collections::VecDeque, io, time::Duration};

use axum::{Router, body::Body};
use http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};
use tower::ServiceExt as _;
use tracing::{debug, warn};

use super::{Listener, access::Peer, caller::Caller};

/// The longest head of a request, in bytes: hyper allows no less.
const MAX_HEAD: usize = 8 * 1024;

/// The most header fields.
const MAX_HEADERS: usize = 64;

/// How connections are held.
#[derive(Clone, Copy, Debug)]
pub struct Connections {
    /// So many at a time.
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
    let mut tasks = JoinSet::new();
    let mut ages = VecDeque::<AbortHandle>::new();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener) => accepted,
            // Whatever comes of a connection is its own affair.
            Some(_) = tasks.join_next() => continue,
        };
        let (stream, caller) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "the admin listener cannot take a connection");
                // Mostly there are too many open files: others have to end first.
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        ages.retain(|task| !task.is_finished());
        if ages.len() >= connections.most
            && let Some(oldest) = ages.pop_front()
        {
            debug!("too many admin connections: the oldest ends");
            oldest.abort();
        }
        let router = router.clone();
        ages.push_back(tasks.spawn(answer(stream, caller, router, connections)));
    }
}

/// A connection of either sort.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

async fn accept(listener: &Listener) -> io::Result<(Box<dyn Stream>, Caller)> {
    match listener {
        Listener::Tcp(listener) => {
            let (stream, from) = listener.accept().await?;
            // What the port is bound to, not what it was reached by: that may be loopback, too.
            let bound = listener.local_addr()?.ip().to_canonical();
            let loopback = bound.is_loopback();
            let socket = SockRef::from(&stream).try_clone().ok();
            let caller = Caller::new(Peer::Tcp { from, loopback }, socket);
            Ok((Box::new(stream), caller))
        }
        Listener::Unix(listener, _) => {
            let (stream, _) = listener.accept().await?;
            let process = stream.peer_cred().ok();
            let peer = Peer::Unix {
                uid: process.map(|process| process.uid()),
                pid: process.and_then(|process| process.pid()),
            };
            let socket = SockRef::from(&stream).try_clone().ok();
            Ok((Box::new(stream), Caller::new(peer, socket)))
        }
    }
}

async fn answer(stream: Box<dyn Stream>, caller: Caller, router: Router, connections: Connections) {
    let peer = caller.peer();
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(caller.clone());
        router.clone().oneshot(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(connections.head)
        .keep_alive(false)
        .half_close(true)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(connections.lifetime, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, %peer, "an admin connection has failed"),
        Err(_) => debug!(%peer, "an admin connection was too slow"),
    }
}
