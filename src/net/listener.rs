//! Where a server listens: a port or a socket file.
//!
//! Every server of this process listens through [`Listener`]: whatever comes in is a [`Stream`]
//! with its [`Peer`], and what serves it need not know which of both it is.

use std::{
    fmt, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::net::{TcpListener, UnixListener, lookup_host};

use super::{
    Peer, Stream,
    socket_file::SocketFile,
    tls::{Handshakes, ServerTls},
};

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BoundAddr {
    /// At this address and port.
    Tcp(SocketAddr),
    /// At this socket file.
    Unix(PathBuf),
}

/// A port or socket file that is ours, with or without TLS.
#[derive(Debug)]
pub struct Listener {
    at: At,
    tls: Option<ServerTls>,
    handshakes: Arc<Handshakes>,
}

#[derive(Debug)]
enum At {
    /// A port.
    Tcp(TcpListener),
    /// A socket file. It is removed when this is dropped.
    Unix(UnixListener, SocketFile),
}

/// Why it cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// The system refuses.
    #[error(transparent)]
    System(#[from] io::Error),
    /// A process answers at that socket file.
    #[error("a process listens there already")]
    Served,
    /// The path is a file of another sort.
    #[error("the file is not a socket, and the relay leaves it alone")]
    NotASocket,
}

impl Listener {
    /// Listens at the first address of this name that can be used.
    ///
    /// # Errors
    /// There is none, or the port is taken.
    pub async fn tcp(host: &str, port: u16) -> Result<Self, ListenError> {
        Self::at(host, port, 1).await?.pop().ok_or_else(no_address)
    }

    /// Listens at each address of this name that can be used: `localhost` often has two, and a
    /// client may call either. There is at least one, and they have one port, also if `port` is 0.
    ///
    /// # Errors
    /// No address can be used, or the port is taken at one of them.
    pub async fn each_tcp(host: &str, port: u16) -> Result<Vec<Self>, ListenError> {
        Self::at(host, port, usize::MAX).await
    }

    /// At most `most` of them, at least one.
    async fn at(host: &str, mut port: u16, most: usize) -> Result<Vec<Self>, ListenError> {
        let mut listeners = Vec::new();
        let mut unusable = no_address();
        for mut address in lookup_host((host, port)).await? {
            if listeners.len() == most {
                break;
            }
            // Matters for port 0, which is another one each time.
            address.set_port(port);
            match TcpListener::bind(address).await {
                Ok(listener) => {
                    port = listener.local_addr()?.port();
                    listeners.push(Self::from(listener));
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error.into()),
                // The name may have an address of a family that this machine does not use.
                Err(error) => unusable = error.into(),
            }
        }
        match listeners.is_empty() {
            false => Ok(listeners),
            true => Err(unusable),
        }
    }

    /// Listens at this socket file, which is for its owner alone.
    ///
    /// # Errors
    /// The file is served, is not a socket, or cannot be made.
    pub fn unix(path: &Path) -> Result<Self, ListenError> {
        let (listener, file) = SocketFile::listen(path)?;
        Ok(At::Unix(listener, file).into())
    }

    /// The same with TLS; a socket file has none. Failures are counted by `handshakes`, those of
    /// clients that speak TLS to a port without it as well.
    #[must_use]
    pub fn secured(self, tls: Option<ServerTls>, handshakes: Arc<Handshakes>) -> Self {
        let tls = tls.filter(|_| matches!(self.at, At::Tcp(_)));
        Self {
            tls,
            handshakes,
            ..self
        }
    }

    /// How TLS is spoken here, if it is.
    pub fn tls(&self) -> Option<&ServerTls> {
        self.tls.as_ref()
    }

    /// Whether [`Self::unix`] could make the file, while everything stays as it is. That a process
    /// listens there already is not looked at.
    ///
    /// # Errors
    /// The file is not a socket, or cannot be made.
    pub fn check_unix(path: &Path) -> Result<(), ListenError> {
        SocketFile::check(path)
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system does not say.
    pub fn address(&self) -> io::Result<BoundAddr> {
        match &self.at {
            At::Tcp(listener) => listener.local_addr().map(BoundAddr::Tcp),
            At::Unix(_, file) => Ok(BoundAddr::Unix(file.path().to_owned())),
        }
    }

    /// The next connection. Nothing is lost if this is dropped.
    ///
    /// # Errors
    /// The system has none to give, e.g. for lack of descriptors; or a peer has gone.
    pub async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match &self.at {
            At::Tcp(listener) => {
                let (stream, from) = listener.accept().await?;
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(peer = %from, %error, "the kernel refused TCP_NODELAY");
                }
                let bound = listener.local_addr()?.ip().to_canonical();
                let loopback = bound.is_loopback();
                let peer = Peer::Tcp { from, loopback };
                let handshakes = self.handshakes.clone();
                let stream = match &self.tls {
                    Some(tls) => Stream::tls(stream, peer, tls.clone(), handshakes),
                    None => Stream::tcp(stream, peer, handshakes),
                };
                Ok((stream, peer))
            }
            At::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                let process = stream.peer_cred().ok();
                let peer = Peer::Unix {
                    uid: process.map(|process| process.uid()),
                    pid: process.and_then(|process| process.pid()),
                };
                Ok((Stream::unix(stream), peer))
            }
        }
    }
}

impl From<At> for Listener {
    fn from(at: At) -> Self {
        Self {
            at,
            tls: None,
            handshakes: Arc::default(),
        }
    }
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        At::Tcp(listener).into()
    }
}

fn no_address() -> ListenError {
    io::Error::from(io::ErrorKind::NotFound).into()
}

impl BoundAddr {
    /// Whether other machines may reach it.
    pub fn is_open(&self) -> bool {
        match self {
            Self::Tcp(address) => !address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => false,
        }
    }
}

impl fmt::Display for BoundAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
