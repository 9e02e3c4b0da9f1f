//! Writes the recording, in a thread that may wait for the disk while nobody waits for it.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    time::{Duration, UNIX_EPOCH},
};

use tokio::task::JoinHandle;

use super::session::{Session, wall_clock};
use crate::tee::recording::{Record, What, Writer};

/// What may wait for the disk, in bytes.
const WAITING: usize = 64 << 20;
/// What a record costs in addition to its message.
const OVERHEAD: usize = 128;
/// An open block is ended when nothing has come for so long.
const IDLE: Duration = Duration::from_millis(200);

/// Takes records; dropping the last one ends the recording.
#[derive(Clone)]
pub(super) struct Recorder {
    records: Sender<Vec<Record>>,
    disk: Arc<Disk>,
}

/// What both ends know of the disk.
#[derive(Default)]
struct Disk {
    /// Bytes that wait for it.
    waiting: AtomicUsize,
    /// It was too slow, once: from then on nothing is recorded.
    too_slow: AtomicBool,
}

/// How many records were written, and bytes of the file.
pub(super) struct Written {
    pub(super) records: u64,
    pub(super) bytes: u64,
}

/// Makes the file.
///
/// # Errors
/// It is there already, or cannot be made.
pub(super) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

impl Recorder {
    /// Starts to write. The task ends with what was written, or why nothing more could be.
    pub(super) fn start(
        file: File,
        session: Arc<Session>,
    ) -> (Self, JoinHandle<io::Result<Written>>) {
        let (records, queue) = channel();
        let disk = Arc::<Disk>::default();
        let task = tokio::task::spawn_blocking({
            let disk = disk.clone();
            move || {
                let written = write(file, &queue, &disk, &session);
                if let Err(error) = &written {
                    session.line(format_args!("the recording has ended, it is cut: {error}"));
                }
                written
            }
        });
        (Self { records, disk }, task)
    }

    /// Records these, in order, sooner or later.
    pub(super) fn record(&self, records: Vec<Record>) {
        if self.disk.too_slow.load(Relaxed) {
            return;
        }
        let bytes = records.iter().map(cost).sum();
        if self.disk.waiting.fetch_add(bytes, Relaxed) > WAITING {
            self.disk.too_slow.store(true, Relaxed);
            return;
        }
        // It fails when writing has failed: that was logged.
        let _ = self.records.send(records);
    }
}

fn write(
    mut file: File,
    queue: &Receiver<Vec<Record>>,
    disk: &Disk,
    session: &Session,
) -> io::Result<Written> {
    let started = wall_clock().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut out = Vec::new();
    let mut writer = Writer::new(started.as_nanos().try_into().unwrap_or(u64::MAX), &mut out);
    let (mut written, mut bytes) = (0, 0);
    let mut flush = |out: &mut Vec<u8>| {
        bytes += out.len() as u64;
        let written = file.write_all(out);
        out.clear();
        written.map(|()| bytes)
    };
    flush(&mut out)?;
    loop {
        match queue.recv_timeout(IDLE) {
            Ok(records) => {
                for record in &records {
                    writer.push(record, &mut out);
                }
                written += records.len() as u64;
                let bytes = records.iter().map(cost).sum();
                disk.waiting.fetch_sub(bytes, Relaxed);
            }
            // What waited when it was too slow is written by now.
            Err(RecvTimeoutError::Timeout) if disk.too_slow.load(Relaxed) => break,
            Err(RecvTimeoutError::Timeout) => writer.flush(&mut out),
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if !out.is_empty() {
            flush(&mut out)?;
        }
    }
    if disk.too_slow.load(Relaxed) {
        writer.flush(&mut out);
        flush(&mut out)?;
        return Err(io::Error::other("the disk is too slow"));
    }
    writer.finish(session.elapsed(), &mut out);
    let bytes = flush(&mut out)?;
    file.sync_all()?;
    Ok(Written {
        records: written,
        bytes,
    })
}

fn cost(record: &Record) -> usize {
    let message = match &record.what {
        What::Message(bytes) => bytes.len(),
        What::Opened | What::HalfClosed | What::Cancelled | What::Ended(_) => 0,
    };
    OVERHEAD + message
}
