//! Reads a config file, whatever its path leads to, without waiting.

use std::{
    fs,
    io::{self, Read as _},
    os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _},
    path::Path,
};

use nix::fcntl::OFlag;

use super::yaml::MAX_FILE_BYTES;

/// At most one byte more than a config file may have: enough to see that it is too long. A
/// device has no end.
///
/// # Errors
///
/// When it cannot be opened or read, or is a directory, a pipe or a socket: opening or reading
/// those can wait for somebody else.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = fs::OpenOptions::new()
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path)?;
    let kind = file.metadata()?.file_type();
    if !(kind.is_file() || kind.is_char_device()) {
        let what = if kind.is_dir() {
            "it is a directory"
        } else if kind.is_fifo() {
            "it is a pipe"
        } else {
            "it is not a file"
        };
        return Err(io::Error::other(what));
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_make_the_start_wait_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let socket = dir.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for (path, error) in [
            (dir.path(), "it is a directory"),
            (&pipe, "it is a pipe"),
            (&socket, "No such device or address (os error 6)"),
        ] {
            assert_eq!(read(path).unwrap_err().to_string(), error);
        }
    }

    #[test]
    fn a_file_is_read_up_to_one_byte_beyond_its_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config");
        fs::write(&path, "labels:").unwrap();
        assert_eq!(read(&path).unwrap(), b"labels:");
        // It has no block on the disk.
        fs::File::create(&path).unwrap().set_len(1 << 30).unwrap();
        assert_eq!(read(&path).unwrap().len(), MAX_FILE_BYTES + 1);
        assert_eq!(
            read(Path::new("/dev/zero")).unwrap().len(),
            MAX_FILE_BYTES + 1
        );
        assert_eq!(read(Path::new("/dev/null")).unwrap(), b"");
    }
}
