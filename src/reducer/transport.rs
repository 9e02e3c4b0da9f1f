//! What carries the bytes of a connection: TCP as it is, or a layer above it, such as TLS.
//!
//! Nothing above this file knows which: what is written is the same bytes of the protocol, and
//! the end is a half-close either way. At the bottom, below any layer, is a [`Socket`]: with high
//! availability it asks the fence before each write (D19). Absent here: which layer, and its keys.

use std::{
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::future::BoxFuture;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use crate::ha::Fence;

/// An open connection with two directions. Its `poll_shutdown` ends ours alone: the peer reads
/// what was written, then the end, and may go on talking.
pub trait Transport: AsyncRead + AsyncWrite + Send + Unpin {
    /// The connection at the bottom: it has the peer's address, the socket's options, and the
    /// FIN that goes out also when a layer above it can say nothing more.
    fn tcp(&self) -> &TcpStream;

    /// Bytes that a layer has taken and the network not, at most; in bytes of the protocol.
    fn held(&self) -> usize {
        0
    }
}

/// The TCP connection at the bottom, and the fence before it, if there is one.
#[derive(Debug)]
pub struct Socket {
    tcp: TcpStream,
    fence: Option<Fence>,
}

impl Socket {
    pub(super) fn new(tcp: TcpStream, fence: Option<Fence>) -> Self {
        Self { tcp, fence }
    }

    /// The connection.
    pub fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// Whoever moves the fence polls the connection again.
    fn is_held_up(&self) -> bool {
        self.fence.as_ref().is_some_and(|fence| !fence.passes())
    }
}

impl Transport for Socket {
    fn tcp(&self) -> &TcpStream {
        &self.tcp
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, into)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.is_held_up() {
            true => Poll::Pending,
            false => Pin::new(&mut self.tcp).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.is_held_up() {
            true => Poll::Pending,
            false => Pin::new(&mut self.tcp).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

/// Puts a layer above a fresh TCP connection before anything is said. The default puts none.
#[derive(Clone, Default)]
pub struct Layer(Option<Arc<Begin>>);

type Begin = dyn Fn(Socket) -> BoxFuture<'static, io::Result<Box<dyn Transport>>> + Send + Sync;

impl Layer {
    /// The layer that `begin` agrees on with the peer. That counts as a part of connecting: both
    /// have one limit of time together.
    pub fn new<F>(begin: impl Fn(Socket) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = io::Result<Box<dyn Transport>>> + Send + 'static,
    {
        Self(Some(Arc::new(move |tcp| Box::pin(begin(tcp)))))
    }

    /// The connection with the layer.
    ///
    /// # Errors
    /// The peer and we cannot agree.
    pub(super) async fn over(&self, tcp: Socket) -> io::Result<Box<dyn Transport>> {
        match &self.0 {
            None => Ok(Box::new(tcp)),
            Some(begin) => begin(tcp).await,
        }
    }
}

impl fmt::Debug for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Layer" } else { "none" })
    }
}
