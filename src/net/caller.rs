//! Who asks over a connection, and whether they still wait there.
//!
//! Absent here: what they may do.

use std::{fmt, io, mem::MaybeUninit, sync::Arc};

use socket2::Socket;

use super::{
    Peer, Stream,
    tls::{ClientCert, session::Client},
};

/// Who asks, and whether they still wait for the answer. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Caller {
    peer: Peer,
    /// Their connection, to be looked at only.
    socket: Option<Arc<Socket>>,
    client: Client,
    is_tls: bool,
}

impl Caller {
    /// The peer at the other end of this connection. A handle of its own is kept, if the system
    /// grants one; else the caller is always taken to wait.
    pub fn new(peer: Peer, stream: &Stream) -> Self {
        Self {
            peer,
            socket: stream.socket().map(Arc::new),
            client: stream.client(),
            is_tls: stream.is_tls(),
        }
    }

    /// One that is always taken to wait.
    pub fn detached(peer: Peer) -> Self {
        Self {
            peer,
            socket: None,
            client: Client::default(),
            is_tls: false,
        }
    }

    /// Who it is.
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// The certificate that they have shown over TLS, and that was verified.
    pub fn certificate(&self) -> Option<&ClientCert> {
        self.client.certificate()
    }

    /// Whether they ask over TLS.
    pub fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// Whether they have closed the connection, or their half of it. Never blocks.
    pub fn has_left(&self) -> bool {
        let Some(socket) = &self.socket else {
            return false;
        };
        match socket.peek(&mut [MaybeUninit::uninit()]) {
            Ok(0) => true,
            // Over TLS the last word comes before the end, and nobody who waits sends anything.
            Ok(_) => self.is_tls,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.peer.fmt(f)
    }
}
