//! Connections of watchers: accepting them, and closing them when patience ends.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{Stream, StreamExt as _, stream};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

/// How long nothing is accepted after accepting failed, e.g. for lack of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Connections as they come in, without end; each is cut when `kill` is cancelled.
pub(super) fn accept(
    listeners: Vec<TcpListener>,
    kill: &CancellationToken,
) -> impl Stream<Item = io::Result<Connection>> + use<> {
    let accepted = |listener| accept_one(listener, kill.clone()).boxed();
    let accepted: Vec<_> = listeners.into_iter().map(accepted).collect();
    stream::select_all(accepted)
}

fn accept_one(
    listener: TcpListener,
    kill: CancellationToken,
) -> impl Stream<Item = io::Result<Connection>> {
    let failing = false;
    stream::unfold((listener, kill, failing), |state| async move {
        let (listener, kill, mut failing) = state;
        loop {
            match listener.accept().await {
                Ok((socket, peer)) => {
                    if failing {
                        tracing::info!("watchers' connections are accepted again");
                    }
                    let connection = Connection::new(socket, peer, &kill);
                    return Some((Ok(connection), (listener, kill, false)));
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

/// A watcher's socket. Once killed every operation fails, so that its server task ends.
pub(super) struct Connection {
    socket: TcpStream,
    peer: SocketAddr,
    killed: Pin<Box<WaitForCancellationFutureOwned>>,
}

/// The address of the watcher that a request came from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) SocketAddr);

impl Connection {
    fn new(socket: TcpStream, peer: SocketAddr, kill: &CancellationToken) -> Self {
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%peer, %error, "TCP_NODELAY was refused");
        }
        Self {
            socket,
            peer,
            killed: Box::pin(kill.clone().cancelled_owned()),
        }
    }

    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.killed.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionAborted.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        Peer(self.peer)
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.socket).poll_read(cx, into)
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
