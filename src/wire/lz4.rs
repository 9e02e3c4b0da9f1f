//! LZ4 frames over block compression: what a relay writes, and whatever a reducer accepts
//! (protocol 8): concatenated and endless frames, empty and skippable ones, linked or independent
//! blocks of up to 4 MiB, checksums and content sizes, which are verified.
//!
//! Absent here: messages, and input that has to be kept. The caller keeps what was not used.

use std::hash::Hasher as _;

use lz4_flex::block::{
    CompressTable, DecompressError, compress_into_with_table, decompress_into,
    decompress_into_with_dict, get_maximum_output_size,
};
use twox_hash::XxHash32;

/// The most plain bytes in a frame we write (D7). Larger blocks make the reducer lose data (protocol 8.3).
pub const MAX_PLAIN: usize = 16_384;

/// Version 1, linked blocks of at most 64 KiB, nothing optional: the header the legacy writes.
const HEADER: [u8; 7] = [0x04, 0x22, 0x4d, 0x18, 0x40, 0x40, 0xc0];
const MAGIC: u32 = 0x184d_2204;
const SKIPPABLE: std::ops::RangeInclusive<u32> = 0x184d_2a50..=0x184d_2a5f;
const STORED: u32 = 1 << 31;
/// How far back a block may refer to what came before it.
const WINDOW: usize = 64 * 1024;

/// Whether `bytes` begin as a frame does, skippable ones included.
pub fn starts_frame(bytes: &[u8]) -> bool {
    u32_at(bytes, 0).is_some_and(|magic| magic == MAGIC || SKIPPABLE.contains(&magic))
}

/// Writes frames of one block each. Buffers are kept from frame to frame.
pub struct FrameWriter {
    table: CompressTable,
    block: Box<[u8]>,
}

impl Default for FrameWriter {
    fn default() -> Self {
        Self {
            table: CompressTable::small(),
            block: vec![0; get_maximum_output_size(MAX_PLAIN)].into_boxed_slice(),
        }
    }
}

impl FrameWriter {
    /// Appends `plain`, at most [`MAX_PLAIN`] bytes, as one complete frame. What does not shrink
    /// is stored as it is.
    pub fn frame(&mut self, plain: &[u8], out: &mut Vec<u8>) {
        debug_assert!(plain.len() <= MAX_PLAIN);
        let packed = compress_into_with_table(plain, &mut self.block, &mut self.table)
            .ok()
            .and_then(|len| self.block.get(..len))
            .filter(|packed| packed.len() < plain.len());
        let (block, stored) = packed.map_or((plain, STORED), |packed| (packed, 0));
        out.extend_from_slice(&HEADER);
        out.extend_from_slice(&(block.len() as u32 | stored).to_le_bytes());
        out.extend_from_slice(block);
        out.extend_from_slice(&0_u32.to_le_bytes());
    }
}

/// Bytes that are no legal sequence of frames.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// No frame begins like this.
    #[error("{0:#010x} is not the start of an LZ4 frame")]
    Magic(u32),
    /// The descriptor has another version, a reserved bit or an unknown block size.
    #[error("unknown frame descriptor {flags:#04x} {block:#04x}")]
    Descriptor {
        /// The byte of flags.
        flags: u8,
        /// The byte that holds the block size.
        block: u8,
    },
    /// A checksum does not match.
    #[error("the checksum of the {of} is {found:#x}, the frame says {stated:#x}")]
    Checksum {
        /// What the checksum is about: header, block or content.
        of: &'static str,
        /// What the bytes give.
        found: u32,
        /// What the frame says.
        stated: u32,
    },
    /// A block is longer than the frame allows, or unpacks to more than that.
    #[error("a block exceeds the {limit} bytes its frame allows")]
    BlockTooLarge {
        /// The most that the frame allows.
        limit: usize,
    },
    /// A block cannot be unpacked.
    #[error("cannot unpack a block: {0}")]
    Block(String),
    /// The frame has not the content it promised.
    #[error("a frame of {found} plain bytes says that it has {stated}")]
    ContentSize {
        /// Plain bytes so far.
        found: u64,
        /// Plain bytes written.
        stated: u64,
    },
}

/// What has been read, for statistics and strict readers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames begun, skippable ones not included.
    pub frames: u64,
    /// Blocks read.
    pub blocks: u64,
    /// Plain bytes of the largest block.
    pub largest_block: usize,
    /// Plain bytes of all blocks.
    pub plain_bytes: u64,
}

/// Reads any sequence of frames, unit by unit: a header, a block, an end.
#[derive(Default)]
pub struct FrameReader {
    state: State,
    /// The last plain bytes of a frame with linked blocks.
    window: Vec<u8>,
    /// Where a block is unpacked; as large as the largest block needed.
    unpacked: Vec<u8>,
    counters: Counters,
}

#[derive(Default)]
enum State {
    /// Between frames.
    #[default]
    Between,
    /// Inside of a skippable frame.
    Skipping { left: usize },
    /// Inside of a frame.
    Frame(Frame),
}

struct Frame {
    linked: bool,
    block_checksums: bool,
    content_checksum: Option<XxHash32>,
    content_size: Option<u64>,
    max_block: usize,
    plain_bytes: u64,
}

impl FrameReader {
    /// What has been read so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Whether no frame is open.
    pub fn is_between_frames(&self) -> bool {
        matches!(self.state, State::Between)
    }

    /// Reads the next unit, appends what it unpacks to, and returns how many bytes of `input`
    /// it took: 0 says that the unit is not there completely.
    ///
    /// # Errors
    /// `input` cannot go on like this. The same error comes again.
    pub fn step(&mut self, input: &[u8], plain: &mut Vec<u8>) -> Result<usize, FrameError> {
        let (state, used) = match &mut self.state {
            State::Between => match begin(input)? {
                Some((state, used)) => {
                    if matches!(state, State::Frame(_)) {
                        self.counters.frames += 1;
                        self.window.clear();
                    }
                    (Some(state), used)
                }
                None => (None, 0),
            },
            State::Skipping { left } => {
                let used = input.len().min(*left);
                *left -= used;
                ((*left == 0).then_some(State::Between), used)
            }
            State::Frame(frame) => {
                let Some(word) = u32_at(input, 0) else {
                    return Ok(0);
                };
                if word == 0 {
                    match frame.end(input)? {
                        Some(used) => (Some(State::Between), used),
                        None => (None, 0),
                    }
                } else {
                    let Some(block) = frame.block(word, input)? else {
                        return Ok(0);
                    };
                    let bytes = if block.packed {
                        unpack(block.bytes, frame, &self.window, &mut self.unpacked)?
                    } else {
                        block.bytes
                    };
                    frame.take(bytes)?;
                    self.counters.blocks += 1;
                    self.counters.largest_block = self.counters.largest_block.max(bytes.len());
                    self.counters.plain_bytes += bytes.len() as u64;
                    if frame.linked {
                        remember(&mut self.window, bytes);
                    }
                    plain.extend_from_slice(bytes);
                    (None, block.used)
                }
            }
        };
        if let Some(state) = state {
            self.state = state;
        }
        Ok(used)
    }
}

/// Reads what stands before the first block, or before the bytes to skip.
fn begin(input: &[u8]) -> Result<Option<(State, usize)>, FrameError> {
    let Some(magic) = u32_at(input, 0) else {
        return Ok(None);
    };
    if SKIPPABLE.contains(&magic) {
        let left = u32_at(input, 4).map(|left| left as usize);
        return Ok(left.map(|left| match left {
            0 => (State::Between, 8),
            left => (State::Skipping { left }, 8),
        }));
    }
    if magic != MAGIC {
        return Err(FrameError::Magic(magic));
    }
    let Some(&[flags, block]) = input.get(4..).and_then(<[u8]>::first_chunk) else {
        return Ok(None);
    };
    let has = |bit: u8| flags & 1 << bit != 0;
    let max_block = match block {
        0x40 => 64 << 10,
        0x50 => 256 << 10,
        0x60 => 1 << 20,
        0x70 => 4 << 20,
        _ => 0,
    };
    if flags >> 6 != 1 || has(1) || max_block == 0 {
        return Err(FrameError::Descriptor { flags, block });
    }
    // A dictionary is only named, blocks that need it fail.
    let (content_size, dictionary) = (has(3), has(0));
    let end = 6 + if content_size { 8 } else { 0 } + if dictionary { 4 } else { 0 };
    let (Some(descriptor), Some(&stated)) = (input.get(4..end), input.get(end)) else {
        return Ok(None);
    };
    let found = XxHash32::oneshot(0, descriptor) >> 8 & 0xff;
    check("header", found, u32::from(stated))?;
    let frame = Frame {
        linked: !has(5),
        block_checksums: has(4),
        content_checksum: has(2).then(|| XxHash32::with_seed(0)),
        content_size: content_size.then(|| u64_at(descriptor, 2)).flatten(),
        max_block,
        plain_bytes: 0,
    };
    Ok(Some((State::Frame(frame), end + 1)))
}

struct Block<'a> {
    packed: bool,
    bytes: &'a [u8],
    used: usize,
}

impl Frame {
    /// The block whose word stands at the start of `input`, if it is there.
    fn block<'a>(&self, word: u32, input: &'a [u8]) -> Result<Option<Block<'a>>, FrameError> {
        let end = 4 + (word & !STORED) as usize;
        if end > 4 + self.max_block {
            return Err(FrameError::BlockTooLarge {
                limit: self.max_block,
            });
        }
        let Some(bytes) = input.get(4..end) else {
            return Ok(None);
        };
        let mut used = end;
        if self.block_checksums {
            let Some(stated) = u32_at(input, end) else {
                return Ok(None);
            };
            check("block", XxHash32::oneshot(0, bytes), stated)?;
            used += 4;
        }
        Ok(Some(Block {
            packed: word & STORED == 0,
            bytes,
            used,
        }))
    }

    /// Counts a block's plain bytes.
    fn take(&mut self, bytes: &[u8]) -> Result<(), FrameError> {
        let found = self.plain_bytes + bytes.len() as u64;
        if let Some(stated) = self.content_size.filter(|&stated| stated < found) {
            return Err(FrameError::ContentSize { found, stated });
        }
        self.plain_bytes = found;
        if let Some(checksum) = &mut self.content_checksum {
            checksum.write(bytes);
        }
        Ok(())
    }

    /// The bytes that the end of the frame takes, if they are there.
    fn end(&self, input: &[u8]) -> Result<Option<usize>, FrameError> {
        let found = self.plain_bytes;
        if let Some(stated) = self.content_size.filter(|&stated| stated != found) {
            return Err(FrameError::ContentSize { found, stated });
        }
        let Some(checksum) = &self.content_checksum else {
            return Ok(Some(4));
        };
        let Some(stated) = u32_at(input, 4) else {
            return Ok(None);
        };
        check("content", checksum.finish_32(), stated)?;
        Ok(Some(8))
    }
}

/// Unpacks a block into `room` and returns the part of it that was needed.
fn unpack<'a>(
    block: &[u8],
    frame: &Frame,
    window: &[u8],
    room: &'a mut Vec<u8>,
) -> Result<&'a [u8], FrameError> {
    // No byte of a block stands for more than 255: small blocks need not the room of large ones.
    let limit = frame.max_block.min(block.len().saturating_mul(255) + 64);
    if room.len() < limit {
        room.resize(limit, 0);
    }
    let room = room.get_mut(..limit).unwrap_or_default();
    let len = match window {
        [] => decompress_into(block, room),
        window => decompress_into_with_dict(block, room, window),
    };
    let len = len.map_err(|error| {
        if matches!(error, DecompressError::OutputTooSmall { .. }) {
            FrameError::BlockTooLarge { limit }
        } else {
            FrameError::Block(error.to_string())
        }
    })?;
    Ok(room.get(..len).unwrap_or_default())
}

/// Keeps at least the last [`WINDOW`] bytes, and rarely moves them.
fn remember(window: &mut Vec<u8>, bytes: &[u8]) {
    let bytes = bytes
        .get(bytes.len().saturating_sub(WINDOW)..)
        .unwrap_or_default();
    if window.len() + bytes.len() > 2 * WINDOW {
        window.drain(..(window.len() + bytes.len() - WINDOW).min(window.len()));
    }
    window.extend_from_slice(bytes);
}

fn check(of: &'static str, found: u32, stated: u32) -> Result<(), FrameError> {
    if found == stated {
        Ok(())
    } else {
        Err(FrameError::Checksum { of, found, stated })
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|&word| u32::from_le_bytes(word))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|&word| u64::from_le_bytes(word))
}
