//! The recording: every message we send, plain (spec 2), into a file. The
//! `version_info` of each greeting marks where a connection begins.
//!
//! A message is recorded when it is taken for sending. What the network lost when a
//! connection broke is therefore in the recording, too.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter, Write},
    os::unix::fs::FileTypeExt as _,
    path::Path,
};

/// Writes the recording, if one is wanted.
#[derive(Debug, Default)]
pub struct Recorder(Option<BufWriter<File>>);

impl Recorder {
    /// Records into `path`, whose former content is gone.
    ///
    /// # Errors
    /// The file can not be opened for writing. A pipe or socket is refused: who reads it
    /// slowly would hold up the relay.
    pub fn create(path: &Path) -> io::Result<Self> {
        refuse_pipes(path)?;
        let file = File::create(path)?;
        Ok(Self(Some(BufWriter::with_capacity(BUFFER, file))))
    }

    /// Whether [`Self::create`] would work, as far as can be said while leaving the file as it is.
    ///
    /// # Errors
    /// As [`Self::create`]; of a file that is not there, only its folder is looked at.
    pub fn check(path: &Path) -> io::Result<()> {
        refuse_pipes(path)?;
        match OpenOptions::new().append(true).open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let folder = path
                    .parent()
                    .filter(|folder| !folder.as_os_str().is_empty());
                std::fs::read_dir(folder.unwrap_or(Path::new("."))).map(drop)
            }
            opened => opened.map(drop),
        }
    }

    /// Records nothing.
    pub fn off() -> Self {
        Self(None)
    }

    /// Whether messages are recorded; no longer true once a write has failed.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Adds the plain bytes of one message.
    pub fn write(&mut self, message: &[u8]) {
        if let Some(file) = &mut self.0 {
            let result = file.write_all(message);
            self.note(result);
        }
    }

    /// Hands everything to the file.
    pub fn flush(&mut self) {
        if let Some(file) = &mut self.0 {
            let result = file.flush();
            self.note(result);
        }
    }

    fn note(&mut self, result: io::Result<()>) {
        if let Err(error) = result {
            tracing::error!(%error, "recording is off: it can not be written");
            // Dropping a `BufWriter` would try the write again.
            if let Some(file) = self.0.take() {
                drop(file.into_parts());
            }
        }
    }
}

fn refuse_pipes(path: &Path) -> io::Result<()> {
    match std::fs::metadata(path).map(|there| there.file_type()) {
        Ok(kind) if kind.is_fifo() || kind.is_socket() => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a recording needs a file, not a pipe or socket",
        )),
        Ok(_) | Err(_) => Ok(()),
    }
}

const BUFFER: usize = 64 * 1024;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_starts_empty_and_holds_what_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("recording");
        std::fs::write(&path, "of an earlier run").unwrap();
        let mut recorder = Recorder::create(&path).unwrap();
        recorder.write(b"one");
        recorder.write(b"two");
        recorder.flush();
        assert_eq!(std::fs::read(&path).unwrap(), b"onetwo");
    }

    #[test]
    fn an_unopenable_path_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Recorder::create(dir.path()).is_err());
        assert!(Recorder::create(&dir.path().join("no/such/dir")).is_err());
    }

    #[test]
    fn a_pipe_is_refused_at_once_instead_of_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        let refused = Recorder::create(&pipe).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn a_failed_write_turns_the_recording_off() {
        let mut recorder = Recorder::create(Path::new("/dev/full")).unwrap();
        recorder.write(b"one");
        assert!(recorder.is_on());
        recorder.flush();
        assert!(!recorder.is_on());
        recorder.write(b"two");
        recorder.flush();
    }
}
