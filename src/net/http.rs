//! Serving HTTP/1.1 and HTTP/2 at the same ports: over TLS by what the client asks for (ALPN),
//! else by prior knowledge. A request carries its [`Peer`](super::Peer) and what its
//! [`Client`](super::tls::session::Client) has proved.
//!
//! Every server gets: a bound of its connections; the closing of connections on which nothing is
//! asked; the cutting of those whose peer takes nothing any more; keepalive; request bodies that
//! are read to their end ([`super::grpc`] says why); and one order of ending: no new connections,
//! open requests end of their own accord, and after [`Options::grace`] what is left is cut.
//!
//! Absent here: what is asked, and how many requests of all connections together may be open.

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response};
use http_body::{Frame, SizeHint};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    task::JoinSet,
    time::{MissedTickBehavior, Sleep},
};
use tokio_util::sync::CancellationToken;
use tonic::{body::Body, codegen::Bytes};
use tower::Service;

use super::{
    Accepted, Acceptor, Listener, PlaceCounts, Places, Stream,
    grpc::{Drain, Tasks, Unread},
    places::GivesWay,
};

/// What a client may send ahead on one HTTP/2 stream, in bytes.
const STREAM_WINDOW: u32 = 256 << 10;
/// What it may send ahead on one HTTP/2 connection, in bytes.
const CONNECTION_WINDOW: u32 = 4 << 20;
/// What is kept of a stream's answer for a client that does not take it, in bytes.
const SEND_BUFFER: usize = 256 << 10;
/// What is read ahead of an HTTP/1.1 connection, and the longest head there, in bytes.
const READ_BUFFER: usize = 64 << 10;
/// All header fields of one request, in bytes.
const HEADERS: u32 = 16 << 10;

/// How connections are held.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Connections that may be open at once. One too many is closed at once, unless another has
    /// asked nothing for [`Options::patience`].
    pub connections: usize,
    /// Requests of one HTTP/2 connection at the same time.
    pub streams: u32,
    /// How long a connection keeps its place without a request when others want one.
    pub patience: Duration,
    /// How long a connection may stand without a request; it is closed after at most twice of it.
    pub idle: Duration,
    /// How long the peer may take nothing of what is written to it.
    pub stall: Duration,
    /// How often an idle HTTP/2 connection is pinged, and how long the answer may take.
    pub keepalive: Duration,
    /// How long a request that was answered before its end is still read.
    pub linger: Duration,
    /// How long connections may take to end when the server ends; then they are cut.
    pub grace: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connections: 1024,
            streams: 512,
            patience: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            stall: Duration::from_secs(30),
            keepalive: Duration::from_secs(20),
            linger: Duration::from_millis(500),
            grace: Duration::from_millis(800),
        }
    }
}

/// Serves on all `listeners` until `shutdown` is cancelled. By then the service ends its answers,
/// of its own accord; this returns when all connections and tasks have ended, soon after
/// [`Options::grace`] at the latest.
pub async fn serve<S>(
    listeners: Vec<Listener>,
    service: impl FnOnce(&Tasks) -> S,
    shutdown: CancellationToken,
    options: Options,
    counts: Arc<PlaceCounts>,
) where
    S: Service<Request<Unread>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
{
    let tasks = Tasks::default();
    // Also when this future is dropped before its time.
    let _kill_at_end = tasks.kill.clone().drop_guard();
    let service = service(&tasks);
    let drain = Drain::new(options.linger, &tasks);
    let places = Places::new(
        options.connections,
        GivesWay::Silent(options.patience),
        counts,
    );
    let mut listening = JoinSet::new();
    for listener in listeners {
        let mut acceptor = Acceptor::new(listener, places.clone());
        let (service, drain) = (service.clone(), drain.clone());
        let (shutdown, kill) = (shutdown.clone(), tasks.kill.clone());
        listening.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = acceptor.accept() => {
                        let connection = Connection {
                            options,
                            drain: drain.clone(),
                            shutdown: shutdown.clone(),
                            kill: kill.clone(),
                        };
                        connections.spawn(connection.hold(accepted, service.clone()));
                    }
                    // Whatever comes of a connection is its own affair.
                    Some(_) = connections.join_next() => {}
                    () = shutdown.cancelled() => break,
                }
            }
            drop(acceptor);
            while connections.join_next().await.is_some() {}
        });
    }
    let ended = async { while listening.join_next().await.is_some() {} };
    let impatience = async {
        shutdown.cancelled().await;
        tokio::time::sleep(options.grace).await;
        tasks.kill.cancel();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = ended => {}
        () = impatience => {}
    }
    tasks.kill.cancel();
    tasks.tracker.close();
    tasks.tracker.wait().await;
}

/// What a connection is held with.
struct Connection {
    options: Options,
    drain: Drain,
    shutdown: CancellationToken,
    kill: CancellationToken,
}

impl Connection {
    async fn hold<S>(self, accepted: Accepted, service: S)
    where
        S: Service<Request<Unread>, Response = Response<Body>, Error = Infallible>
            + Clone
            + Send
            + 'static,
        S::Future: Send + 'static,
    {
        let Accepted {
            stream,
            peer,
            place,
        } = accepted;
        let (place, client) = (Arc::new(place), stream.client());
        let requests = Arc::new(Requests::default());
        let (counted, kept, drain) = (requests.clone(), place.clone(), self.drain.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            if counted.begun.load(Relaxed) == 0 {
                kept.keep();
            }
            // The request may end long before the answer, and the reverse.
            let [asking, answering] = [(); 2].map(|()| counted.begin());
            request.extensions_mut().insert(peer);
            request.extensions_mut().insert(client.clone());
            let request = request.map(|body| {
                let body = Counted {
                    body: Body::new(body),
                    _open: asking,
                };
                Unread::new(Body::new(body), drain.clone())
            });
            let answered = service.clone().call(request);
            async move {
                let answer = answered.await?;
                Ok::<_, Infallible>(answer.map(|body| Counted {
                    body,
                    _open: answering,
                }))
            }
        });
        let builder = self.builder();
        let io = TokioIo::new(Taken::new(stream, self.options.stall));
        let connection = builder.serve_connection(io, service);
        tokio::pin!(connection);
        let mut idle = tokio::time::interval(self.options.idle);
        idle.set_missed_tick_behavior(MissedTickBehavior::Delay);
        idle.reset();
        let (mut ending, mut begun) = (false, 0);
        loop {
            tokio::select! {
                biased;
                () = self.kill.cancelled() => return,
                () = place.gives_way() => return,
                () = self.shutdown.cancelled(), if !ending => {
                    ending = true;
                    connection.as_mut().graceful_shutdown();
                }
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(%peer, error, "a connection has failed");
                    }
                    return;
                }
                _ = idle.tick() => {
                    let now = requests.begun.load(Relaxed);
                    if requests.open.load(Relaxed) == 0 && now == begun {
                        if ending {
                            return;
                        }
                        tracing::debug!(%peer, "the relay closes a connection without requests");
                        ending = true;
                        connection.as_mut().graceful_shutdown();
                    }
                    begun = now;
                }
            }
        }
    }

    fn builder(&self) -> auto::Builder<TokioExecutor> {
        let options = self.options;
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(options.idle)
            .half_close(true)
            .max_buf_size(READ_BUFFER);
        builder
            .http2()
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_concurrent_streams(options.streams)
            .max_send_buf_size(SEND_BUFFER)
            .max_header_list_size(HEADERS)
            // As many as can be open: a client that gives up all requests at once does no harm.
            .max_pending_accept_reset_streams(options.streams as usize)
            .max_local_error_reset_streams(options.streams as usize)
            .keep_alive_interval(options.keepalive)
            .keep_alive_timeout(options.keepalive);
        builder
    }
}

/// The requests of one connection.
#[derive(Debug, Default)]
struct Requests {
    begun: AtomicU64,
    open: AtomicU64,
}

/// A part of a request that is open.
#[derive(Debug)]
struct Open(Arc<Requests>);

impl Requests {
    fn begin(self: &Arc<Self>) -> Open {
        self.begun.fetch_add(1, Relaxed);
        self.open.fetch_add(1, Relaxed);
        Open(self.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

/// A body: its part of the request is open until it is dropped.
#[derive(Debug)]
struct Counted {
    body: Body,
    _open: Open,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A socket whose writes fail when the peer takes nothing for a while.
struct Taken {
    socket: Stream,
    stall: Duration,
    /// Runs while the peer takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Taken {
    fn new(socket: Stream, stall: Duration) -> Self {
        Self {
            socket,
            stall,
            stalled: None,
        }
    }

    fn check<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stall = self.stall;
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(stall)));
        match stalled.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Taken {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, into)
    }
}

impl AsyncWrite for Taken {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.check(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, slices);
        self.check(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
