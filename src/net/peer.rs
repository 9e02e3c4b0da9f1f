//! Who is at the other end of a connection that was accepted.

use std::{fmt, net::SocketAddr};

/// A peer, as far as the system names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A process that may open our socket file.
    Unix {
        /// Its user, if the system says.
        uid: Option<u32>,
        /// Its number, if the system says.
        pid: Option<i32>,
    },
    /// A peer at an address.
    Tcp {
        /// Its address and port.
        from: SocketAddr,
        /// Whether the port that it came in by is bound to loopback alone. Which address it
        /// called says less: that may be loopback at a port that other machines reach, too.
        loopback: bool,
    },
}

impl Peer {
    /// A process of which nothing is known.
    pub const UNIX: Self = Self::Unix {
        uid: None,
        pid: None,
    };

    /// Its address; `None` over a Unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp { from, .. } => Some(*from),
            Self::Unix { .. } => None,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { from, .. } => from.fmt(f),
            Self::Unix { uid, pid } => {
                f.write_str("the Unix socket")?;
                if let Some(uid) = uid {
                    write!(f, ", user {uid}")?;
                }
                match pid {
                    Some(pid) => write!(f, ", process {pid}"),
                    None => Ok(()),
                }
            }
        }
    }
}
