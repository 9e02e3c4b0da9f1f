//! The file of a Unix socket.
//!
//! Invariants: it is for its owner alone (mode 0600) from its first moment on. A file that no
//! process serves any more is replaced; one that is served, or a file of another sort, is left
//! alone. It is removed at the end, unless it is a successor's by then.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use nix::unistd::{AccessFlags, access};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixListener;

use super::ListenError;

/// Connections that wait in the kernel, at most.
const BACKLOG: i32 = 128;

/// Our socket file. It is removed when this is dropped.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode: by then the path may be another process's.
    id: (u64, u64),
}

impl SocketFile {
    /// Makes the file, and listens there.
    ///
    /// # Errors
    /// The file is served, is not a socket, or cannot be made.
    pub(super) fn listen(path: &Path) -> Result<(UnixListener, Self), ListenError> {
        remove_stale(path)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&SockAddr::unix(path)?)?;
        let file = Self::at(path)?;
        // Nobody gets in before it listens: there is no moment with wider permissions.
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok((UnixListener::from_std(socket.into())?, file))
    }

    /// Whether the file could be made, while everything stays as it is. That a process listens
    /// there already is not looked at.
    ///
    /// # Errors
    /// The file is not a socket, or cannot be made.
    pub(super) fn check(path: &Path) -> Result<(), ListenError> {
        match fs::symlink_metadata(path) {
            Ok(file) if !file.file_type().is_socket() => return Err(ListenError::NotASocket),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            Ok(_) | Err(_) => {}
        }
        let folder = path.parent();
        let folder = folder.filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        access(folder, AccessFlags::W_OK | AccessFlags::X_OK).map_err(io::Error::from)?;
        Ok(())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

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
            // The next process replaces it anyway.
            let _ = fs::remove_file(&self.path);
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
        return Err(ListenError::NotASocket);
    }
    let caller = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Else a full backlog would keep us waiting until a connection is accepted.
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
