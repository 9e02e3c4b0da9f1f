//! A port of this machine that stays ours while nobody listens on it.

use std::{io, net::SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// A port that was taken.
#[derive(Debug)]
pub(super) struct Port {
    addr: SocketAddr,
    /// Holds the port; others may be bound to the same as long as only one listens.
    _held: Socket,
}

impl Port {
    /// Takes `addr`; port 0 takes a free one.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub(super) fn take(addr: SocketAddr) -> io::Result<Self> {
        let held = socket(addr)?;
        let addr = held.local_addr()?.as_socket().unwrap_or(addr);
        Ok(Self { addr, _held: held })
    }

    /// Which one it is.
    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Listens, with receive buffers of so many bytes if given.
    ///
    /// # Errors
    /// The port cannot be listened on.
    pub(super) fn listen(&self, receive_buffer: Option<usize>) -> io::Result<TcpListener> {
        let socket = socket(self.addr)?;
        if let Some(bytes) = receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.listen(1024)?;
        TcpListener::from_std(socket.into())
    }
}

fn socket(addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    Ok(socket)
}
