//! Who is at the other end of a connection, and whether they still wait there.
//!
//! Absent here: what they may do ([`super::access`]).

use std::{fmt, io, mem::MaybeUninit, sync::Arc};

use socket2::Socket;

use super::access::Peer;

/// Who asks, and whether they still wait for the answer.
#[derive(Clone, Debug)]
pub struct Caller {
    peer: Peer,
    /// Their connection, to be looked at only.
    socket: Option<Arc<Socket>>,
}

impl Caller {
    /// At the other end of this connection, a handle of which is kept.
    pub fn new(peer: Peer, socket: Option<Socket>) -> Self {
        let socket = socket.map(Arc::new);
        Self { peer, socket }
    }

    /// One that is always taken to wait.
    pub fn detached(peer: Peer) -> Self {
        Self { peer, socket: None }
    }

    /// Who it is.
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// Whether they have closed the connection, or their half of it. Never blocks.
    pub fn has_left(&self) -> bool {
        let Some(socket) = &self.socket else {
            return false;
        };
        match socket.peek(&mut [MaybeUninit::uninit()]) {
            Ok(0) => true,
            Ok(_) => false,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.peer.fmt(f)
    }
}
