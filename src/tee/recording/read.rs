//! Bytes of a recording in, cut anywhere; records out.

use std::{collections::BTreeMap, time::Duration};

use bytes::{Buf as _, Bytes};
use lz4_flex::block::decompress_into;
use twox_hash::XxHash32;

use super::{
    BLOCK_HEADER, HEADER, MAGIC, MAX_BLOCK, MAX_MESSAGE, Outcome, Record, VERSION, What, tag,
};

/// A recording that cannot be read on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at byte {at}: {fault}")]
pub struct RecordingError {
    /// Where the header or block begins that is at fault, in bytes of the file.
    pub at: u64,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The file is something else.
    #[error("this is not a recording of streams")]
    Foreign,
    /// It is of another release.
    #[error("version {0} of the format is unknown, only {VERSION} is known")]
    Version(u32),
    /// A checksum does not fit.
    #[error("the recording was altered here")]
    Altered,
    /// The file ends before the recording does. All before this place was read.
    #[error("the recording is cut here")]
    Cut,
    /// Something follows the end.
    #[error("more bytes follow the end of the recording")]
    BehindEnd,
    /// The checksums fit, and yet it is no sequence of records.
    #[error("a record is malformed: {0}")]
    Record(&'static str),
}

/// Reads a recording that is handed over in parts.
///
/// Keeps what was pushed and not read yet, and one unpacked block. After an error it has
/// nothing more to say but that error.
#[derive(Debug, Default)]
pub struct Reader {
    input: Vec<u8>,
    /// Bytes of `input` that were read.
    read: usize,
    /// Bytes that were dropped from `input`.
    gone: u64,
    /// When the recording was started; `None` before the header was read.
    started: Option<u64>,
    /// The number of blocks that were read.
    blocks: u32,
    /// What is left of the unpacked block.
    block: Bytes,
    /// Where the block begins.
    block_at: u64,
    now: u64,
    streams: Streams,
    finished: bool,
    failed: Option<RecordingError>,
}

/// Which streams are open.
#[derive(Debug, Default)]
struct Streams {
    last: u64,
    /// Whether the watcher may still send.
    open: BTreeMap<u64, bool>,
}

impl Reader {
    /// The reader of a new recording.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes of the file.
    pub fn push(&mut self, bytes: &[u8]) {
        // Moving the rest costs as much as was read at most.
        if self.read * 2 >= self.input.len() {
            self.input.drain(..self.read);
            self.gone += self.read as u64;
            self.read = 0;
        }
        self.input.extend_from_slice(bytes);
    }

    /// The next record; `None` says that more bytes are needed, or that it has ended.
    ///
    /// # Errors
    /// What follows cannot be read. All records before it have been given.
    pub fn next_record(&mut self) -> Result<Option<Record>, RecordingError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.step()
            .inspect_err(|error| self.failed = Some(error.clone()))
    }

    /// Whether the file may end here.
    ///
    /// # Errors
    /// [`Fault::Cut`] if the recording was not ended, or what [`Self::next_record`] has said.
    pub fn finish(&self) -> Result<(), RecordingError> {
        match &self.failed {
            Some(error) => Err(error.clone()),
            None if self.finished => Ok(()),
            None => Err(RecordingError {
                at: self.position(),
                fault: Fault::Cut,
            }),
        }
    }

    /// When the recording was started, in nanoseconds since the UNIX epoch; `None` before its
    /// header was read.
    pub fn started(&self) -> Option<u64> {
        self.started
    }

    /// Bytes of the file that were read.
    pub fn position(&self) -> u64 {
        self.gone + self.read as u64
    }

    fn step(&mut self) -> Result<Option<Record>, RecordingError> {
        loop {
            if !self.block.is_empty() {
                let at = self.block_at;
                let record = self.record().map_err(|what| RecordingError {
                    at,
                    fault: Fault::Record(what),
                })?;
                if record.is_some() {
                    return Ok(record);
                }
            } else {
                let at = self.position();
                let taken = match self.started {
                    None => self.header(),
                    Some(_) => self.next_block(),
                };
                let taken = taken.map_err(|fault| RecordingError { at, fault })?;
                if !taken {
                    return Ok(None);
                }
            }
        }
    }

    /// Reads the header, if it is there.
    fn header(&mut self) -> Result<bool, Fault> {
        let rest = self.rest();
        let seen = rest.len().min(MAGIC.len());
        if rest.get(..seen) != MAGIC.get(..seen) {
            return Err(Fault::Foreign);
        }
        let Some(mut header) = rest.get(..HEADER) else {
            return Ok(false);
        };
        check(header, 0)?;
        header.advance(MAGIC.len());
        let version = header.get_u32_le();
        if version != VERSION {
            return Err(Fault::Version(version));
        }
        self.started = Some(header.get_u64_le());
        self.read += HEADER;
        Ok(true)
    }

    /// Reads and unpacks the next block, if it is there.
    fn next_block(&mut self) -> Result<bool, Fault> {
        let rest = self.rest();
        if self.finished {
            return match rest {
                [] => Ok(false),
                [..] => Err(Fault::BehindEnd),
            };
        }
        let number = self.blocks.wrapping_add(1);
        let Some(mut header) = rest.get(..BLOCK_HEADER) else {
            return Ok(false);
        };
        check(header, number)?;
        let [plain, stored] = [(); 2].map(|()| header.get_u32_le() as usize);
        let checksum = header.get_u32_le();
        if plain == 0 || plain > MAX_BLOCK || stored > plain {
            return Err(Fault::Record("a block of an impossible length"));
        }
        let Some(body) = rest.get(BLOCK_HEADER..BLOCK_HEADER + stored) else {
            return Ok(false);
        };
        if XxHash32::oneshot(number, body) != checksum {
            return Err(Fault::Altered);
        }
        let mut block = vec![0; plain];
        if stored == plain {
            block.copy_from_slice(body);
        } else if !matches!(decompress_into(body, &mut block), Ok(len) if len == plain) {
            return Err(Fault::Record("a block that cannot be unpacked"));
        }
        self.block_at = self.position();
        self.block = block.into();
        self.blocks = number;
        self.read += BLOCK_HEADER + stored;
        Ok(true)
    }

    /// The next record of the block; `None` is the end of the recording.
    fn record(&mut self) -> Result<Option<Record>, &'static str> {
        let block = &mut self.block;
        let kind = block.try_get_u8().unwrap_or(tag::FINISHED);
        let passed = varint(block)?;
        self.now = self.now.checked_add(passed).ok_or("a time too far off")?;
        if kind == tag::FINISHED {
            self.finished = true;
            return if block.is_empty() {
                Ok(None)
            } else {
                Err("a record behind the end")
            };
        }
        let stream = varint(block)?;
        let what = match kind {
            tag::OPENED => What::Opened,
            tag::MESSAGE => What::Message(text(block)?),
            tag::HALF_CLOSED => What::HalfClosed,
            tag::CANCELLED => What::Cancelled,
            tag::ENDED => What::Ended(outcome(block)?),
            _ => return Err("of no known kind"),
        };
        self.streams.take(stream, &what)?;
        Ok(Some(Record {
            at: Duration::from_micros(self.now),
            stream,
            what,
        }))
    }

    fn rest(&self) -> &[u8] {
        self.input.get(self.read..).unwrap_or_default()
    }
}

impl Streams {
    /// Whether this can happen to this stream now.
    fn take(&mut self, stream: u64, what: &What) -> Result<(), &'static str> {
        if matches!(what, What::Opened) {
            if self.last.checked_add(1) != Some(stream) {
                return Err("a stream with another number than the next");
            }
            self.last = stream;
            self.open.insert(stream, true);
            return Ok(());
        }
        let sends = self
            .open
            .get_mut(&stream)
            .ok_or("of a stream that is not open")?;
        match what {
            What::Opened => {}
            What::Message(_) | What::HalfClosed if !*sends => {
                return Err("a message on a stream that was half-closed");
            }
            What::Message(_) => {}
            What::HalfClosed => *sends = false,
            What::Cancelled | What::Ended(_) => drop(self.open.remove(&stream)),
        }
        Ok(())
    }
}

/// Whether the last four bytes are the checksum of those before.
fn check(header: &[u8], seed: u32) -> Result<(), Fault> {
    let (bytes, checksum) = header.split_last_chunk::<4>().ok_or(Fault::Altered)?;
    if XxHash32::oneshot(seed, bytes) == u32::from_le_bytes(*checksum) {
        Ok(())
    } else {
        Err(Fault::Altered)
    }
}

fn outcome(block: &mut Bytes) -> Result<Outcome, &'static str> {
    let code = varint(block)?;
    let responses = varint(block)?;
    let details = text(block)?;
    Ok(Outcome {
        code: code.try_into().map_err(|_| "a status code too large")?,
        responses,
        details: String::from_utf8(details.into()).map_err(|_| "a text that is not UTF-8")?,
    })
}

fn text(block: &mut Bytes) -> Result<Bytes, &'static str> {
    let len = varint(block)?;
    match usize::try_from(len) {
        Ok(len) if len <= MAX_MESSAGE && len <= block.len() => Ok(block.split_to(len)),
        Ok(_) | Err(_) => Err("longer than its block"),
    }
}

fn varint(block: &mut Bytes) -> Result<u64, &'static str> {
    let mut value = 0_u64;
    for shift in (0..u64::BITS).step_by(7) {
        let byte = block.try_get_u8().map_err(|_| "it ends with its block")?;
        let bits = u64::from(byte & 0x7f);
        if bits << shift >> shift != bits {
            break;
        }
        value |= bits << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err("a number too large")
}
