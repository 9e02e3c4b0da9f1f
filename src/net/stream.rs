//! A connection that was accepted, whatever carries its bytes.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use socket2::{SockRef, Socket};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};

use super::{
    Peer,
    tls::{
        Failure, Handshakes, Reason, ServerTls,
        session::{Client, Session},
    },
};

/// How TLS begins: a record of the handshake, of any version.
const HANDSHAKE: [u8; 2] = [0x16, 3];

/// A connection that was accepted. Over TLS whoever first reads or writes makes the handshake.
#[derive(Debug)]
pub struct Stream(Inner);

#[derive(Debug)]
enum Inner {
    Tcp {
        stream: TcpStream,
        peer: Peer,
        /// Whom to notify that the first bytes are TLS; `None` after those.
        handshakes: Option<Arc<Handshakes>>,
    },
    Unix(UnixStream),
    Tls(Box<Session>),
}

impl Stream {
    pub(super) fn tcp(stream: TcpStream, peer: Peer, handshakes: Arc<Handshakes>) -> Self {
        Self(Inner::Tcp {
            stream,
            peer,
            handshakes: Some(handshakes),
        })
    }

    pub(super) fn unix(stream: UnixStream) -> Self {
        Self(Inner::Unix(stream))
    }

    pub(super) fn tls(
        stream: TcpStream,
        peer: Peer,
        tls: ServerTls,
        handshakes: Arc<Handshakes>,
    ) -> Self {
        Self(Inner::Tls(Box::new(Session::new(
            stream, peer, tls, handshakes,
        ))))
    }

    /// Whether it is over TLS.
    pub fn is_tls(&self) -> bool {
        matches!(self.0, Inner::Tls(_))
    }

    /// What its client proves about itself over TLS; nothing over anything else.
    pub fn client(&self) -> Client {
        match &self.0 {
            Inner::Tls(session) => session.client().clone(),
            Inner::Tcp { .. } | Inner::Unix(_) => Client::default(),
        }
    }

    /// A handle to the connection at the bottom. There is none in the middle of a TLS handshake.
    pub(super) fn socket(&self) -> Option<Socket> {
        let socket = match &self.0 {
            Inner::Tcp { stream, .. } => SockRef::from(stream).try_clone(),
            Inner::Unix(stream) => SockRef::from(stream).try_clone(),
            Inner::Tls(session) => SockRef::from(session.tcp()?).try_clone(),
        };
        socket.ok()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Inner::Unix(stream) => Pin::new(stream).poll_read(cx, into),
            Inner::Tls(session) => Pin::new(&mut **session).poll_read(cx, into),
            Inner::Tcp {
                stream,
                peer,
                handshakes,
            } => {
                let before = into.filled().len();
                let read = Pin::new(stream).poll_read(cx, into);
                if handshakes.is_some()
                    && read.is_ready()
                    && let Some(handshakes) = handshakes.take()
                    && into
                        .filled()
                        .get(before..)
                        .unwrap_or_default()
                        .starts_with(&HANDSHAKE)
                {
                    let reason = Reason::TlsAtPlainPort;
                    let text = "the client speaks TLS to a port without TLS".to_owned();
                    let failure = Failure { reason, text };
                    handshakes.fail(*peer, &failure);
                    let error = io::Error::new(io::ErrorKind::InvalidData, failure);
                    return Poll::Ready(Err(error));
                }
                read
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Inner::Tcp { stream, .. } => Pin::new(stream).poll_write(cx, bytes),
            Inner::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
            Inner::Tls(session) => Pin::new(&mut **session).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Inner::Tcp { stream, .. } => Pin::new(stream).poll_write_vectored(cx, slices),
            Inner::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Inner::Tls(session) => Pin::new(&mut **session).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Inner::Tcp { stream, .. } => Pin::new(stream).poll_flush(cx),
            Inner::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Inner::Tls(session) => Pin::new(&mut **session).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Inner::Tcp { stream, .. } => Pin::new(stream).poll_shutdown(cx),
            Inner::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Inner::Tls(session) => Pin::new(&mut **session).poll_shutdown(cx),
        }
    }
}
