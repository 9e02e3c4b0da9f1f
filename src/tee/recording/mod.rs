//! Recorded streams: what watchers sent, when, and how each stream ended.
//!
//! The format is described in `docs/recording-format.md`: a header, then blocks of packed records,
//! each with its length and checksums. Invariants: decode inverts encode; a recording that is cut
//! anywhere is readable up to the last whole block before the cut; a byte that was altered anywhere
//! is an error that names the place, never other records.
//!
//! Absent here: files, clocks, and what the messages say.

mod read;
mod write;

use std::time::Duration;

use bytes::Bytes;

pub use read::{Fault, Reader, RecordingError};
pub use write::Writer;

/// The version that is written, and the only one that is read.
pub const VERSION: u32 = 1;
/// The first bytes of every recording. A transfer that takes them for text damages them.
pub const MAGIC: [u8; 8] = *b"\x89KRS\r\n\x1a\n";
/// The longest message that is recorded, in bytes.
pub const MAX_MESSAGE: usize = 16 << 20;

/// The bytes of the header: magic, version, start, checksum.
const HEADER: usize = 24;
/// The bytes before each block's body: two lengths, two checksums.
const BLOCK_HEADER: usize = 16;
/// A block is ended when its records have so many bytes: what a crash loses. Twice as long ones
/// make a file of lists shorter by 1.5 %, half as long ones longer by 2.5 %.
const BLOCK: usize = 16 << 10;
/// A block is ended by a record that is so much later than its first one.
const SPAN: Duration = Duration::from_secs(1);
/// The most bytes that a block's records can have, to a reader: 64 KiB, which other writers may
/// fill, and one more record of the longest, with its lengths.
const MAX_BLOCK: usize = (64 << 10) + MAX_MESSAGE + 64;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When, from the start of the recording; whole microseconds are kept. Never before the
    /// record that precedes it.
    pub at: Duration,
    /// To which stream. The first one is 1, each that opens is the next.
    pub stream: u64,
    /// What.
    pub what: What,
}

/// What happened to a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The watcher opened it.
    Opened,
    /// The watcher sent a message: these bytes, whatever they say.
    Message(Bytes),
    /// The watcher said that nothing more will come. The stream may still be ended by the relay.
    HalfClosed,
    /// The watcher reset the stream or went away. Nothing more is recorded of it.
    Cancelled,
    /// The relay ended the stream. Nothing more is recorded of it.
    Ended(Outcome),
}

/// How a relay ended a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The gRPC status code.
    pub code: u32,
    /// The text of the status.
    pub details: String,
    /// How many `Response`s came before it.
    pub responses: u64,
}

/// The first byte of each record in a block.
mod tag {
    pub(super) const FINISHED: u8 = 0;
    pub(super) const OPENED: u8 = 1;
    pub(super) const MESSAGE: u8 = 2;
    pub(super) const HALF_CLOSED: u8 = 3;
    pub(super) const CANCELLED: u8 = 4;
    pub(super) const ENDED: u8 = 5;
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
mod tests;
