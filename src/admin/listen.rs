//! The port, or the socket file, that the listener has.
//!
//! A socket file is for its owner alone (mode 0600) from its first moment on. One that nobody
//! serves any more is replaced; one that is served, or a file of another sort, is left alone.

use std::{
    fmt, fs, io,
    net::SocketAddr,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::{TcpListener, UnixListener, lookup_host};

/// Connections that wait in the kernel.
const BACKLOG: i32 = 128;

/// Where it listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// At this port.
    Tcp(SocketAddr),
    /// At this socket file.
    Unix(PathBuf),
}

/// A port or socket file that is ours.
#[derive(Debug)]
pub enum Listener {
    /// A port.
    Tcp(TcpListener),
    /// A socket file. It is removed when this is dropped.
    Unix(UnixListener, SocketFile),
}

/// Our socket file.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode: by then the path may be somebody else's.
    id: (u64, u64),
}

/// Why it cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// The system says no.
    #[error(transparent)]
    System(#[from] io::Error),
    /// Somebody answers at that socket file.
    #[error("a process listens there already")]
    Served,
    /// The path is a file of another sort.
    #[error("the file is no socket; it is left alone")]
    NoSocket,
}

impl Listener {
    /// Listens at the first address of this host that can be used.
    ///
    /// # Errors
    /// There is none.
    pub async fn tcp(host: &str, port: u16) -> Result<Self, ListenError> {
        let mut failure = io::Error::from(io::ErrorKind::NotFound);
        for address in lookup_host((host, port)).await? {
            match TcpListener::bind(address).await {
                Ok(listener) => return Ok(Self::Tcp(listener)),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error.into()),
                // The name may have an address of a family that this machine does not use.
                Err(error) => failure = error,
            }
        }
        Err(failure.into())
    }

    /// Listens at this socket file.
    ///
    /// # Errors
    /// The file is served, is no socket, or cannot be made.
    pub fn unix(path: &Path) -> Result<Self, ListenError> {
        remove_stale(path)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&SockAddr::unix(path)?)?;
        let file = SocketFile::at(path)?;
        // Nobody gets in before it listens: there is no moment with wider permissions.
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        let listener = UnixListener::from_std(socket.into())?;
        Ok(Self::Unix(listener, file))
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system does not say.
    pub fn place(&self) -> io::Result<Place> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(Place::Tcp),
            Self::Unix(_, file) => Ok(Place::Unix(file.path.clone())),
        }
    }
}

fn remove_stale(path: &Path) -> Result<(), ListenError> {
    let file = match fs::symlink_metadata(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if !file.file_type().is_socket() {
        return Err(ListenError::NoSocket);
    }
    let caller = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Else a full backlog would keep us waiting until somebody is let in.
    caller.set_nonblocking(true)?;
    match caller.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            Ok(fs::remove_file(path)?)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error.into()),
        // A full backlog is a sign of life, too.
        Ok(_) | Err(_) => Err(ListenError::Served),
    }
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<Self> {
        let file = fs::symlink_metadata(path)?;
        Ok(Self {
            path: path.to_owned(),
            id: (file.dev(), file.ino()),
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_ours =
            fs::symlink_metadata(&self.path).is_ok_and(|file| (file.dev(), file.ino()) == self.id);
        if is_ours {
            // Whoever comes next replaces it anyway.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
