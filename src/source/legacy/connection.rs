//! Connections of watchers: accepting them, and closing them when patience ends.
//!
//! Invariants: at most [`Bound`]'s number of connections are open; one too many is closed at once.
//! A connection on which no call is open and none begins is closed after a while, whether its HTTP/2
//! preface came or not: so strangers that connect and wait cannot keep watchers out.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{Stream, StreamExt as _, stream};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    time::{Interval, MissedTickBehavior},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

use super::{Counters, bounds::Seldom};

/// How long nothing is accepted after accepting failed, e.g. for lack of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// How many connections there may be, and how long one may stand without a call.
#[derive(Clone, Debug)]
pub(super) struct Bound {
    pub(super) limit: usize,
    /// A connection without a call is closed after this time, at the latest after twice of it.
    pub(super) idle: Duration,
    pub(super) counters: Arc<Counters>,
    full: Arc<Seldom>,
}

impl Bound {
    pub(super) fn new(limit: usize, idle: Duration, counters: Arc<Counters>) -> Self {
        Self {
            limit,
            idle,
            counters,
            full: Arc::default(),
        }
    }

    /// A place for one more connection, if there is one.
    fn take(&self) -> Option<Open> {
        let open = &self.counters.connections;
        let more = |open: u64| (open < self.limit as u64).then_some(open + 1);
        open.fetch_update(Relaxed, Relaxed, more).ok()?;
        Some(Open(self.counters.clone()))
    }

    fn refused(&self, peer: SocketAddr) {
        self.counters.connections_refused.fetch_add(1, Relaxed);
        let limit = self.limit;
        if self.full.permits() {
            tracing::warn!(%peer, limit, "too many connections are open: new ones are closed");
        }
    }
}

/// Counts a connection for as long as it is open.
#[derive(Debug)]
struct Open(Arc<Counters>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Relaxed);
    }
}

/// Connections as they come in, without end; each is cut when `kill` is cancelled.
pub(super) fn accept(
    listeners: Vec<TcpListener>,
    bound: &Bound,
    kill: &CancellationToken,
) -> impl Stream<Item = io::Result<Connection>> + use<> {
    let accepted = |listener| accept_one(listener, bound.clone(), kill.clone()).boxed();
    let accepted: Vec<_> = listeners.into_iter().map(accepted).collect();
    stream::select_all(accepted)
}

fn accept_one(
    listener: TcpListener,
    bound: Bound,
    kill: CancellationToken,
) -> impl Stream<Item = io::Result<Connection>> {
    let failing = false;
    stream::unfold((listener, bound, kill, failing), |state| async move {
        let (listener, bound, kill, mut failing) = state;
        loop {
            match listener.accept().await {
                Ok((socket, peer)) => {
                    if failing {
                        tracing::info!("watchers' connections are accepted again");
                        failing = false;
                    }
                    let Some(open) = bound.take() else {
                        bound.refused(peer);
                        continue;
                    };
                    let connection = Connection::new(socket, peer, open, bound.idle, &kill);
                    return Some((Ok(connection), (listener, bound, kill, failing)));
                }
                // The peer gave up while it was queued; nothing is wrong here.
                Err(error) if is_of_peer(&error) => {}
                Err(error) => {
                    if !failing {
                        tracing::warn!(%error, "cannot accept watchers' connections");
                    }
                    failing = true;
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    })
}

fn is_of_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    [ConnectionAborted, ConnectionRefused, ConnectionReset].contains(&error.kind())
}

/// A watcher's socket. Once it is killed, or has been idle for too long, reading fails, so that
/// its server task ends.
pub(super) struct Connection {
    socket: TcpStream,
    peer: Peer,
    killed: Pin<Box<WaitForCancellationFutureOwned>>,
    idle: Interval,
    /// How many calls had begun when `idle` ticked last.
    begun: usize,
    _open: Open,
}

/// The connection that a request came over.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    /// The address of the watcher.
    pub(super) address: SocketAddr,
    calls: Arc<CallCounts>,
}

/// The calls of one connection.
#[derive(Debug, Default)]
struct CallCounts {
    begun: AtomicUsize,
    open: AtomicU64,
}

/// A call that is open: its connection is not idle until this is dropped.
#[derive(Debug)]
pub(super) struct InUse(Arc<CallCounts>);

impl Peer {
    /// A call begins on this connection.
    pub(super) fn in_use(&self) -> InUse {
        self.calls.begun.fetch_add(1, Relaxed);
        self.calls.open.fetch_add(1, Relaxed);
        InUse(self.calls.clone())
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

impl Connection {
    fn new(
        socket: TcpStream,
        address: SocketAddr,
        open: Open,
        idle: Duration,
        kill: &CancellationToken,
    ) -> Self {
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(peer = %address, %error, "TCP_NODELAY was refused");
        }
        let mut idle = tokio::time::interval(idle);
        idle.set_missed_tick_behavior(MissedTickBehavior::Delay);
        idle.reset();
        let calls = Arc::default();
        Self {
            socket,
            peer: Peer { address, calls },
            killed: Box::pin(kill.clone().cancelled_owned()),
            idle,
            begun: 0,
            _open: open,
        }
    }

    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.killed.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionAborted.into()),
            Poll::Pending => Ok(()),
        }
    }

    /// Fails if no call has been open since the last tick.
    fn check_idle(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while self.idle.poll_tick(cx).is_ready() {
            let calls = &self.peer.calls;
            let begun = calls.begun.load(Relaxed);
            if calls.open.load(Relaxed) == 0 && begun == self.begun {
                tracing::debug!(peer = %self.peer.address, "a connection without calls is closed");
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.begun = begun;
        }
        Ok(())
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(cx)?;
        let read = Pin::new(&mut self.socket).poll_read(cx, into);
        if read.is_pending() {
            self.check_idle(cx)?;
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.socket).poll_write_vectored(cx, slices)
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
