//! Who asks over a connection, and whether they still wait there.
//!
//! Absent here: what they may do.

use std::{fmt, io, mem::MaybeUninit, sync::Arc};

use socket2::{SockRef, Socket};

use super::{Peer, Stream};

/// Who asks, and whether they still wait for the answer. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Caller {
    peer: Peer,
    /// Their connection, to be looked at only.
    socket: Option<Arc<Socket>>,
}

impl Caller {
    /// The peer at the other end of this connection. A handle of its own is kept, if the system
    /// grants one; else the caller is always taken to wait.
    pub fn new(peer: Peer, stream: &Stream) -> Self {
        let socket = match stream {
            Stream::Left(tcp) => SockRef::from(tcp).try_clone(),
            Stream::Right(unix) => SockRef::from(unix).try_clone(),
        };
        Self {
            peer,
            socket: socket.ok().map(Arc::new),
        }
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
