//! What carries the bytes of a connection: TCP as it is, or a layer above it, such as TLS.
//!
//! Nothing above this file knows which: what is written is the same bytes of the protocol, and
//! the end is a half-close either way. Absent here: which layer, and its keys.

use std::{fmt, io, sync::Arc};

use futures_util::future::BoxFuture;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

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

impl Transport for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

/// Puts a layer above a fresh TCP connection before anything is said. The default puts none.
#[derive(Clone, Default)]
pub struct Layer(Option<Arc<Begin>>);

type Begin = dyn Fn(TcpStream) -> BoxFuture<'static, io::Result<Box<dyn Transport>>> + Send + Sync;

impl Layer {
    /// The layer that `begin` agrees on with the peer. That counts as a part of connecting: both
    /// have one limit of time together.
    pub fn new<F>(begin: impl Fn(TcpStream) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = io::Result<Box<dyn Transport>>> + Send + 'static,
    {
        Self(Some(Arc::new(move |tcp| Box::pin(begin(tcp)))))
    }

    /// The connection with the layer.
    ///
    /// # Errors
    /// The peer and we cannot agree.
    pub(super) async fn over(&self, tcp: TcpStream) -> io::Result<Box<dyn Transport>> {
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
