//! The recording: every message we send, plain (protocol 2), into a file. The `version_info` of
//! each handshake marks where a connection begins.
//!
//! Invariants: nothing here waits for a disk. A thread of its own writes what a bounded queue
//! holds; when the queue is full or a write fails, the recording ends, with one line in the log,
//! and the relay goes on. What is in the file then ends with a whole message.
//!
//! A message is recorded when it is taken for sending. What the network lost when a
//! connection broke is therefore in the recording, too.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    mem,
    os::unix::fs::FileTypeExt as _,
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use nix::unistd::{AccessFlags, access};
use tokio::sync::oneshot;

/// Writes the recording, if one is wanted.
#[derive(Debug, Default)]
pub struct Recorder {
    on: Option<On>,
    /// Recordings that ended before the relay did: 0 or 1.
    ended: u64,
}

/// The loop's side of a recording.
#[derive(Debug)]
struct On {
    /// Whole messages that are not in the queue yet.
    gathered: Vec<u8>,
    queue: Arc<Queue>,
    /// Ready when the thread has written what it had, or cannot.
    written: oneshot::Receiver<()>,
}

/// What both sides share.
#[derive(Debug, Default)]
struct Queue {
    state: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Whole messages.
    bytes: Vec<u8>,
    /// No more will come.
    closed: bool,
    /// The thread takes no more.
    failed: bool,
}

impl Recorder {
    /// Records into `path`, whose former content is gone. May wait for the disk.
    ///
    /// # Errors
    /// The file cannot be opened for writing, or there is no thread for it. A pipe or socket is
    /// refused: a recording needs no reader.
    pub fn create(path: &Path) -> io::Result<Self> {
        refuse_pipes(path)?;
        let file = File::create(path)?;
        Self::start(move |bytes| append(&file, bytes))
    }

    fn start(write: impl FnMut(&[u8]) -> io::Result<()> + Send + 'static) -> io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let (done, written) = oneshot::channel();
        let theirs = queue.clone();
        let thread = thread::Builder::new().name("recording".to_owned());
        // It ends with the queue. The end of the process waits for it in `finish`, not longer.
        thread.spawn(move || {
            theirs.drain(write);
            // Nobody may wait.
            let _ = done.send(());
        })?;
        let gathered = Vec::with_capacity(GATHERED);
        let on = Some(On {
            gathered,
            queue,
            written,
        });
        Ok(Self { on, ended: 0 })
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
                let folder = folder.unwrap_or(Path::new("."));
                Ok(access(folder, AccessFlags::W_OK | AccessFlags::X_OK)?)
            }
            opened => opened.map(drop),
        }
    }

    /// Records nothing.
    pub fn off() -> Self {
        Self::default()
    }

    /// Whether messages are recorded; no longer true once the recording has ended.
    pub fn is_on(&self) -> bool {
        self.on.is_some()
    }

    /// How many recordings ended because the disk was full, slow or gone: 0 or 1.
    pub fn ended(&self) -> u64 {
        self.ended
    }

    /// Adds the plain bytes of one message.
    pub fn write(&mut self, message: &[u8]) {
        if let Some(on) = &mut self.on {
            on.gathered.extend_from_slice(message);
            if on.gathered.len() >= GATHERED {
                self.flush();
            }
        }
    }

    /// Hands everything to the thread that writes.
    pub fn flush(&mut self) {
        let Some(on) = &mut self.on else { return };
        if on.gathered.is_empty() {
            return;
        }
        let mut waiting = on.queue.lock();
        let has_room = waiting.bytes.len() + on.gathered.len() <= MOST_WAITING;
        if has_room && !waiting.failed {
            waiting.bytes.append(&mut on.gathered);
            drop(waiting);
            on.queue.changed.notify_one();
            return;
        }
        // A failure was logged where it happened.
        if !waiting.failed {
            tracing::warn!(
                waiting_bytes = waiting.bytes.len(),
                "recording is off: its disk is too slow"
            );
        }
        waiting.closed = true;
        drop(waiting);
        on.queue.changed.notify_one();
        self.on = None;
        self.ended += 1;
    }

    /// Ends the recording: waits until what was recorded is in the file, or cannot be. May be
    /// dropped at any time.
    pub async fn finish(&mut self) {
        self.flush();
        let Some(mut on) = self.on.take() else { return };
        on.close();
        // The thread may have failed, which it said.
        let _ = (&mut on.written).await;
    }
}

impl On {
    fn close(&self) {
        self.queue.lock().closed = true;
        self.queue.changed.notify_one();
    }
}

impl Drop for On {
    /// The thread must not wait for more.
    fn drop(&mut self) {
        self.close();
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what comes, until no more does or a write fails.
    fn drain(&self, mut write: impl FnMut(&[u8]) -> io::Result<()>) {
        let mut taken = Vec::with_capacity(GATHERED);
        loop {
            let mut waiting = self.lock();
            while waiting.bytes.is_empty() {
                if waiting.closed {
                    return;
                }
                let woken = self.changed.wait(waiting);
                waiting = woken.unwrap_or_else(PoisonError::into_inner);
            }
            mem::swap(&mut waiting.bytes, &mut taken);
            drop(waiting);
            if let Err(error) = write(&taken) {
                tracing::error!(%error, "recording is off: its file cannot be written");
                let mut waiting = self.lock();
                waiting.failed = true;
                waiting.bytes = Vec::new();
                return;
            }
            taken.clear();
        }
    }
}

/// Adds whole messages to a file. If not all of them fit, none is left in it by halves.
fn append(mut file: &File, bytes: &[u8]) -> io::Result<()> {
    let before = file.metadata()?.len();
    file.write_all(bytes).inspect_err(|_| {
        // A device has no length to go back to.
        let _ = file.set_len(before);
    })
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

/// So many bytes are gathered before the queue is locked, at most.
const GATHERED: usize = 64 * 1024;

/// So many bytes wait for the disk, at most: about 20 s of a large cluster's first list.
const MOST_WAITING: usize = 32 << 20;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_recording_starts_empty_and_holds_what_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("recording");
        std::fs::write(&path, "of an earlier run").unwrap();
        let mut recorder = Recorder::create(&path).unwrap();
        recorder.write(b"one");
        recorder.flush();
        recorder.write(b"two");
        recorder.finish().await;
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

    #[tokio::test]
    async fn a_failed_write_turns_the_recording_off() {
        let mut recorder = Recorder::create(Path::new("/dev/full")).unwrap();
        recorder.write(b"one");
        assert!(recorder.is_on());
        recorder.flush();
        let on = recorder.on.as_mut().unwrap();
        (&mut on.written).await.unwrap();
        recorder.write(b"two");
        recorder.flush();
        assert!(!recorder.is_on());
        assert_eq!(recorder.ended(), 1);
        recorder.write(b"three");
        recorder.finish().await;
    }

    #[test]
    fn a_disk_that_does_not_answer_ends_the_recording_and_holds_nobody_up() {
        let (release, released) = std::sync::mpsc::channel::<()>();
        let (into, written) = std::sync::mpsc::channel();
        let mut recorder = Recorder::start(move |bytes| {
            // Ready when the test is over with the recorder.
            let _ = released.recv();
            into.send(bytes.len()).map_err(io::Error::other)
        })
        .unwrap();
        let message = vec![7; 10_000];
        let mut messages = 0;
        while recorder.is_on() {
            recorder.write(&message);
            messages += 1;
            assert!(messages <= 2 * MOST_WAITING / message.len(), "no bound");
        }
        assert_eq!(recorder.ended(), 1);
        drop(release);
        let mut sum = 0;
        for length in written {
            assert_eq!(length % message.len(), 0, "whole messages");
            sum += length;
        }
        assert!(sum > 0 && sum < messages * message.len(), "what was queued");
    }
}
