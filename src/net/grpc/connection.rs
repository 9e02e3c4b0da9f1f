//! Connections of gRPC clients: accepted, closed when nothing is called, cut when patience ends.
//!
//! Invariant: a connection on which no call is open and none begins is closed after a while,
//! whether its HTTP/2 preface came or not: so strangers that connect and wait cannot keep others
//! out.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{Stream, StreamExt as _, stream};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Interval, MissedTickBehavior},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

use super::remote::Remote;
use crate::net::{self, Accepted, Acceptor, Listener, Place, Places};

/// Connections as they come in, without end; each is cut when `kill` is cancelled, and closed
/// when it has had no call for `idle`, at the latest after twice of it.
pub(super) fn accept(
    listeners: Vec<Listener>,
    places: &Arc<Places>,
    idle: Duration,
    kill: &CancellationToken,
) -> impl Stream<Item = io::Result<Connection>> + use<> {
    let accepted = |listener| {
        let (acceptor, kill) = (Acceptor::new(listener, places.clone()), kill.clone());
        stream::unfold((acceptor, kill), move |(mut acceptor, kill)| async move {
            let connection = Connection::new(acceptor.accept().await, idle, &kill);
            Some((Ok(connection), (acceptor, kill)))
        })
        .boxed()
    };
    let accepted: Vec<_> = listeners.into_iter().map(accepted).collect();
    stream::select_all(accepted)
}

/// A client's socket. Once it is killed, or has been idle for too long, reading fails, so that
/// its server task ends.
pub(super) struct Connection {
    socket: net::Stream,
    remote: Remote,
    killed: Pin<Box<WaitForCancellationFutureOwned>>,
    idle: Interval,
    /// How many calls had begun when `idle` ticked last.
    begun: usize,
    _place: Place,
}

impl Connection {
    fn new(accepted: Accepted, idle: Duration, kill: &CancellationToken) -> Self {
        let Accepted {
            stream,
            peer,
            place,
        } = accepted;
        let mut idle = tokio::time::interval(idle);
        idle.set_missed_tick_behavior(MissedTickBehavior::Delay);
        idle.reset();
        Self {
            remote: Remote::new(peer, stream.client()),
            socket: stream,
            killed: Box::pin(kill.clone().cancelled_owned()),
            idle,
            begun: 0,
            _place: place,
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
            let begun = self.remote.begun();
            if self.remote.open() == 0 && begun == self.begun {
                tracing::debug!(peer = %self.remote.peer(), "the relay closes a connection without calls");
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.begun = begun;
        }
        Ok(())
    }
}

impl Connected for Connection {
    type ConnectInfo = Remote;

    fn connect_info(&self) -> Remote {
        self.remote.clone()
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
