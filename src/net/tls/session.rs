//! An accepted connection, from its first byte on.
//!
//! Invariant: the handshake is made by whoever first reads or writes, so it holds up nobody but
//! that connection; it ends after its limit, whatever the client does.

use std::{
    fmt, io,
    net::Shutdown,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};
use tokio_rustls::{FallibleAccept, server::TlsStream};

use super::{
    certificate::ClientCert,
    reason::{Failure, Other, Reason},
    server::{Handshakes, ServerTls},
};
use crate::net::Peer;

/// What a client has proved about itself; known once its handshake is made. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Client(Arc<OnceLock<Option<ClientCert>>>);

impl Client {
    /// Its certificate, which was verified.
    pub fn certificate(&self) -> Option<&ClientCert> {
        self.0.get().and_then(Option::as_ref)
    }

    /// One that has shown this certificate.
    pub fn with(certificate: ClientCert) -> Self {
        let client = Self::default();
        // Nobody else has it yet.
        let _ = client.0.set(Some(certificate));
        client
    }
}

/// A connection over TLS.
pub(in crate::net) struct Session {
    state: State,
    tls: ServerTls,
    client: Client,
    peer: Peer,
    handshakes: Arc<Handshakes>,
}

enum State {
    /// Nothing has been said yet.
    Fresh(TcpStream),
    Handshake {
        accept: Box<FallibleAccept<TcpStream>>,
        limit: Pin<Box<Sleep>>,
    },
    Open(Box<TlsStream<TcpStream>>),
    Over,
}

impl Session {
    pub(in crate::net) fn new(
        tcp: TcpStream,
        peer: Peer,
        tls: ServerTls,
        handshakes: Arc<Handshakes>,
    ) -> Self {
        Self {
            state: State::Fresh(tcp),
            tls,
            client: Client::default(),
            peer,
            handshakes,
        }
    }

    /// What its client will have proved.
    pub(in crate::net) fn client(&self) -> &Client {
        &self.client
    }

    /// The connection at the bottom, while no handshake is under way.
    pub(in crate::net) fn tcp(&self) -> Option<&TcpStream> {
        match &self.state {
            State::Fresh(tcp) => Some(tcp),
            State::Open(tls) => Some(tls.get_ref().0),
            State::Handshake { .. } | State::Over => None,
        }
    }

    /// The connection, once there is one.
    fn poll_open(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Pin<&mut TlsStream<TcpStream>>>> {
        if let State::Fresh(_) = self.state
            && let State::Fresh(tcp) = std::mem::replace(&mut self.state, State::Over)
        {
            // With what is in use now, not when the port was opened.
            let accept = self.tls.acceptor().accept(tcp).into_fallible();
            self.state = State::Handshake {
                accept: Box::new(accept),
                limit: Box::pin(sleep(self.tls.limit())),
            };
        }
        if let State::Handshake { accept, limit } = &mut self.state {
            let made = match Pin::new(&mut **accept).poll(cx) {
                Poll::Ready(Ok(stream)) => Ok(stream),
                Poll::Ready(Err((error, tcp))) => {
                    end(&tcp);
                    Err(Failure::of(&error, Other::Client))
                }
                Poll::Pending => {
                    ready!(limit.as_mut().poll(cx));
                    let why = "the client does not finish the TLS handshake in time";
                    Err(Failure::new(Reason::Timeout, why))
                }
            };
            match made {
                Ok(stream) => {
                    let shown = stream.get_ref().1.peer_certificates();
                    let certificate = shown.and_then(|chain| chain.first()).map(ClientCert::of);
                    // It is set once, here.
                    let _ = self.client.0.set(certificate);
                    self.state = State::Open(Box::new(stream));
                }
                Err(failure) => {
                    self.state = State::Over;
                    self.handshakes.fail(self.peer, &failure);
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, failure)));
                }
            }
        }
        match &mut self.state {
            State::Open(stream) => Poll::Ready(Ok(Pin::new(&mut **stream))),
            State::Fresh(_) | State::Handshake { .. } | State::Over => {
                Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
            }
        }
    }
}

/// Ends with FIN, so that the alert arrives: a close with unread input would become RST.
fn end(tcp: &TcpStream) {
    let mut scratch = [0; 4096];
    for _ in 0..16 {
        if !matches!(tcp.try_read(&mut scratch), Ok(1..)) {
            break;
        }
    }
    // The client may be gone already.
    let _ = SockRef::from(tcp).shutdown(Shutdown::Write);
}

impl AsyncRead for Session {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_open(cx))?.poll_read(cx, into)
    }
}

impl AsyncWrite for Session {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_open(cx))?.poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_open(cx))?.poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.state {
            State::Open(stream) => Pin::new(&mut **stream).poll_flush(cx),
            // Nothing was written yet.
            State::Fresh(_) | State::Handshake { .. } | State::Over => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.state {
            State::Fresh(tcp) => Pin::new(tcp).poll_shutdown(cx),
            State::Open(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
            State::Handshake { .. } | State::Over => {
                self.state = State::Over;
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Session").field(&self.peer).finish()
    }
}
