//! Records in, bytes of a recording out.

use std::time::Duration;

use lz4_flex::block::{compress_into, get_maximum_output_size};
use twox_hash::XxHash32;

use super::{BLOCK, BLOCK_HEADER, HEADER, MAGIC, MAX_MESSAGE, Record, SPAN, VERSION, What, tag};

/// Writes a recording. The caller owns the bytes, and says when nothing has come for so long
/// that the open block must leave.
#[derive(Debug)]
pub struct Writer {
    /// The records of the open block.
    block: Vec<u8>,
    /// The block packed; kept, so that blocks allocate nothing.
    packed: Vec<u8>,
    /// The number of the open block, from 1.
    number: u32,
    /// When the first record of the open block happened, in microseconds.
    first: u64,
    /// When the last record happened, in microseconds.
    last: u64,
}

impl Writer {
    /// Begins a recording in `out`. `started` is the time of its start, in nanoseconds since
    /// the UNIX epoch; it is for people only.
    pub fn new(started: u64, out: &mut Vec<u8>) -> Self {
        let mut header = [0; HEADER];
        let parts: [&[u8]; 3] = [&MAGIC, &VERSION.to_le_bytes(), &started.to_le_bytes()];
        put(&mut header, &parts);
        out.extend_from_slice(&header);
        Self {
            block: Vec::with_capacity(2 * BLOCK),
            packed: Vec::new(),
            number: 1,
            first: 0,
            last: 0,
        }
    }

    /// Adds a record to the open block, and ends the block if it is full or spans a second.
    ///
    /// A time before that of the last record counts as that. Returns `false`, and records
    /// nothing, if a message is longer than [`MAX_MESSAGE`].
    pub fn push(&mut self, record: &Record, out: &mut Vec<u8>) -> bool {
        if matches!(&record.what, What::Message(bytes) if bytes.len() > MAX_MESSAGE) {
            return false;
        }
        self.begin(tag_of(&record.what), record.at);
        varint(&mut self.block, record.stream);
        match &record.what {
            What::Opened | What::HalfClosed | What::Cancelled => {}
            What::Message(bytes) => text(&mut self.block, bytes),
            What::Ended(outcome) => {
                varint(&mut self.block, outcome.code.into());
                varint(&mut self.block, outcome.responses);
                text(&mut self.block, cut(&outcome.details).as_bytes());
            }
        }
        let span = Duration::from_micros(self.last - self.first);
        if self.block.len() >= BLOCK || span >= SPAN {
            self.flush(out);
        }
        true
    }

    /// Ends the open block, so that a reader of `out` sees every record. Without one nothing
    /// is written.
    pub fn flush(&mut self, out: &mut Vec<u8>) {
        if self.block.is_empty() {
            return;
        }
        self.packed.clear();
        self.packed
            .resize(get_maximum_output_size(self.block.len()), 0);
        let packed = match compress_into(&self.block, &mut self.packed) {
            Ok(len) if len < self.block.len() => self.packed.get(..len).unwrap_or_default(),
            Ok(_) | Err(_) => &self.block,
        };
        let body = XxHash32::oneshot(self.number, packed);
        let mut header = [0; BLOCK_HEADER];
        // Both lengths fit: neither is above `MAX_BLOCK`.
        let parts = [self.block.len(), packed.len()].map(|len| (len as u32).to_le_bytes());
        let [plain, stored] = &parts;
        seal(
            &mut header,
            &[plain, stored, &body.to_le_bytes()],
            self.number,
        );
        out.extend_from_slice(&header);
        out.extend_from_slice(packed);
        self.block.clear();
        self.number = self.number.wrapping_add(1);
    }

    /// Ends the recording; without this it counts as cut. `at` is the time of the end.
    pub fn finish(mut self, at: Duration, out: &mut Vec<u8>) {
        self.begin(tag::FINISHED, at);
        self.flush(out);
    }

    fn begin(&mut self, tag: u8, at: Duration) {
        let now = u64::try_from(at.as_micros())
            .unwrap_or(u64::MAX)
            .max(self.last);
        if self.block.is_empty() {
            self.first = now;
        }
        self.block.push(tag);
        varint(&mut self.block, now - self.last);
        self.last = now;
    }
}

fn tag_of(what: &What) -> u8 {
    match what {
        What::Opened => tag::OPENED,
        What::Message(_) => tag::MESSAGE,
        What::HalfClosed => tag::HALF_CLOSED,
        What::Cancelled => tag::CANCELLED,
        What::Ended(_) => tag::ENDED,
    }
}

/// A status longer than this says nothing more; blocks stay bounded.
fn cut(details: &str) -> &str {
    const MAX_DETAILS: usize = 1024;
    let end = details.floor_char_boundary(MAX_DETAILS.min(details.len()));
    details.get(..end).unwrap_or_default()
}

fn text(out: &mut Vec<u8>, bytes: &[u8]) {
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The parts of the recording's header, and their checksum.
fn put(header: &mut [u8], parts: &[&[u8]]) {
    seal(header, parts, 0);
}

/// The parts of a header one after another, and a checksum of them at its end.
fn seal(header: &mut [u8], parts: &[&[u8]], seed: u32) {
    let mut bytes = parts.concat();
    bytes.extend_from_slice(&XxHash32::oneshot(seed, &bytes).to_le_bytes());
    header.copy_from_slice(&bytes);
}
