//! TLS above the reducer's TCP connection.
//!
//! The end of our direction is the last word of TLS, then FIN. A peer that ends without its last
//! word has closed the connection all the same: what it says is thrown away, so nothing of it can
//! be cut short.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

use super::transport::{Layer, Socket, Transport};
use crate::net::tls::ClientTls;

/// What TLS buffers for a network that takes no more, in bytes.
const BUFFER: usize = 64 << 10;

/// The longest record. One of which the network has a part is of no use to the reducer.
const RECORD: usize = 16 << 10;

/// Bytes over TLS.
struct Tls {
    stream: TlsStream<Socket>,
    /// Plain bytes that were taken, and that the network may not have.
    held: usize,
}

impl Layer {
    /// TLS, as `tls` has it when a connection opens.
    pub fn tls(tls: ClientTls) -> Self {
        Self::new(move |tcp| {
            let tls = tls.clone();
            async move {
                let mut stream = tls.connect(tcp).await.map_err(io::Error::other)?;
                stream.get_mut().1.set_buffer_limit(Some(BUFFER));
                Ok(Box::new(Tls { stream, held: 0 }) as Box<dyn Transport>)
            }
        })
    }
}

impl Transport for Tls {
    fn tcp(&self) -> &TcpStream {
        self.stream.get_ref().0.tcp()
    }

    fn held(&self) -> usize {
        self.held
    }
}

impl AsyncRead for Tls {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match ready!(Pin::new(&mut self.stream).poll_read(cx, into)) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
            read => Poll::Ready(read.map_err(ClientTls::explain)),
        }
    }
}

impl AsyncWrite for Tls {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes));
        let taken = *written.as_ref().unwrap_or(&0);
        self.held = match self.stream.get_ref().1.wants_write() {
            true => (self.held + taken).min(BUFFER + RECORD),
            false => 0,
        };
        Poll::Ready(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.held = 0;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
