//! One connection's bytes: the first message plain, everything after it in LZ4 frames (protocol 8.1).
//! And a recording's bytes: the same messages, all plain.

use super::codec::{self, DecodeError, Encode, TooLong};
use super::lz4::{Counters, FrameError, FrameReader, FrameWriter, MAX_PLAIN};
use super::messages::Message;

/// Messages in, bytes of a new connection out.
///
/// Buffers are kept: neither a message nor a frame allocates. The caller owns `out`.
pub struct Writer {
    /// The messages of the open frame; before the first frame the handshake, which has left.
    plain: Vec<u8>,
    /// Bytes of `plain` that have left.
    left: usize,
    handshake_done: bool,
    frames: FrameWriter,
}

impl Default for Writer {
    fn default() -> Self {
        Self::new()
    }
}

impl Writer {
    /// The writer of a connection on which nothing was sent.
    pub fn new() -> Self {
        let plain = Vec::with_capacity(2 * MAX_PLAIN);
        Self {
            plain,
            left: 0,
            handshake_done: false,
            frames: FrameWriter::default(),
        }
    }

    /// A writer of further frames for a connection whose handshake has left.
    pub fn after_handshake() -> Self {
        Self {
            handshake_done: true,
            ..Self::new()
        }
    }

    /// Adds a message, `timestamp` in nanoseconds since the UNIX epoch. The very first goes to
    /// `out` at once, later ones into the open frame; if that has no room it is ended first.
    /// Returns the message's plain bytes, for a recording.
    ///
    /// # Errors
    /// The message is longer than [`MAX_PLAIN`]. Nothing is changed then.
    pub fn push(
        &mut self,
        timestamp: u64,
        message: &impl Encode,
        out: &mut Vec<u8>,
    ) -> Result<&[u8], TooLong> {
        let len = message.encoded_len();
        if len > MAX_PLAIN {
            return Err(TooLong {
                name: name_of(message),
                len,
                limit: MAX_PLAIN,
            });
        }
        if self.pending() + len > MAX_PLAIN {
            self.flush(out);
        }
        let start = self.plain.len();
        message.encode(timestamp, &mut self.plain)?;
        let bytes = self.plain.get(start..).unwrap_or_default();
        if !self.handshake_done {
            self.handshake_done = true;
            out.extend_from_slice(bytes);
            self.left = self.plain.len();
        }
        Ok(bytes)
    }

    /// Ends the open frame and appends it to `out`. Without pending bytes nothing is written.
    pub fn flush(&mut self, out: &mut Vec<u8>) {
        if self.pending() > 0 {
            self.frames
                .frame(self.plain.get(self.left..).unwrap_or_default(), out);
            self.plain.clear();
            self.left = 0;
        }
    }

    /// Plain bytes in the open frame.
    pub fn pending(&self) -> usize {
        self.plain.len() - self.left
    }
}

fn name_of<M: Encode>(_: &M) -> &'static str {
    M::NAME
}

/// A stream that cannot be read on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// A message is malformed.
    #[error("at plain byte {at}: {source}")]
    Message {
        /// Where the message begins, in plain bytes from the start.
        at: u64,
        /// What is wrong.
        source: DecodeError,
    },
    /// The LZ4 frames are malformed.
    #[error("at byte {at}: {source}")]
    Frame {
        /// Where the malformed unit begins, in bytes from the start of the connection.
        at: u64,
        /// What is wrong.
        source: FrameError,
    },
    /// The stream ended inside of a frame's unit.
    #[error("at byte {at}: the stream ends within a frame")]
    CutFrame {
        /// Where the unit begins, in bytes from the start of the connection.
        at: u64,
    },
    /// The stream ended inside of a message.
    #[error("at plain byte {at}: the stream ends within a message")]
    CutMessage {
        /// Where the message begins, in plain bytes from the start.
        at: u64,
    },
}

/// A connection's bytes in, cut anywhere; messages out.
///
/// Keeps what was pushed and not read yet, one unpacked block and the history that linked
/// blocks need. After an error it has nothing more to say but that error.
#[derive(Default)]
pub struct Reader {
    input: Buffer,
    handshake_done: bool,
    frames: FrameReader,
    plain: PlainReader,
}

impl Reader {
    /// The reader of a new connection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes of the connection.
    pub fn push(&mut self, bytes: &[u8]) {
        self.input.push(bytes);
    }

    /// The next message and its timestamp; `None` says that more bytes are needed.
    ///
    /// # Errors
    /// The stream is malformed and cannot be read on.
    pub fn next_message(&mut self) -> Result<Option<(u64, Message<'_>)>, StreamError> {
        loop {
            if self.plain.measure()?.is_some() {
                return self.plain.next_message();
            }
            let used = if self.handshake_done {
                self.unpack()?
            } else {
                self.send_handshake()?
            };
            if used == 0 {
                return Ok(None);
            }
            self.input.read += used;
        }
    }

    /// Whether the bytes may end here.
    ///
    /// # Errors
    /// They end inside of a message or of a frame's unit. A frame that was not ended is none:
    /// some senders never end theirs (protocol 8.5).
    pub fn finish(&self) -> Result<(), StreamError> {
        if !self.input.rest().is_empty() {
            let at = self.input.at();
            return Err(if self.handshake_done {
                StreamError::CutFrame { at }
            } else {
                StreamError::CutMessage { at }
            });
        }
        self.plain.finish()
    }

    /// What the frames held so far.
    pub fn counters(&self) -> Counters {
        self.frames.counters()
    }

    /// Bytes of the connection that were read so far.
    pub fn position(&self) -> u64 {
        self.input.at()
    }

    /// Plain bytes that were read as messages so far.
    pub fn plain_position(&self) -> u64 {
        self.plain.position()
    }

    /// Moves the first message over as it is.
    fn send_handshake(&mut self) -> Result<usize, StreamError> {
        let rest = self.input.rest();
        let len = codec::measure(rest).map_err(|source| StreamError::Message { at: 0, source })?;
        let first = len.and_then(|len| rest.get(..len)).unwrap_or_default();
        self.handshake_done = !first.is_empty();
        self.plain.push(first);
        Ok(first.len())
    }

    fn unpack(&mut self) -> Result<usize, StreamError> {
        let (input, at) = (self.input.rest(), self.input.at());
        let step = self.frames.step(input, self.plain.buffer.back());
        step.map_err(|source| StreamError::Frame { at, source })
    }
}

/// Plain messages in, cut anywhere; messages out. That is the form of a recording, where
/// `version_info` marks each new connection.
#[derive(Default)]
pub struct PlainReader {
    buffer: Buffer,
}

impl PlainReader {
    /// The reader of a new recording.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes of the recording.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.push(bytes);
    }

    /// The next message and its timestamp; `None` says that more bytes are needed.
    ///
    /// # Errors
    /// What follows is no message and cannot be skipped.
    pub fn next_message(&mut self) -> Result<Option<(u64, Message<'_>)>, StreamError> {
        let at = self.buffer.at();
        let Buffer { bytes, read, .. } = &mut self.buffer;
        let found = codec::decode(bytes.get(*read..).unwrap_or_default())
            .map_err(|source| StreamError::Message { at, source })?;
        Ok(found.map(|(timestamp, message, len)| {
            *read += len;
            (timestamp, message)
        }))
    }

    /// Whether the bytes may end here.
    ///
    /// # Errors
    /// They end inside of a message.
    pub fn finish(&self) -> Result<(), StreamError> {
        let at = self.buffer.at();
        if self.buffer.rest().is_empty() {
            Ok(())
        } else {
            Err(StreamError::CutMessage { at })
        }
    }

    /// Bytes that were read so far.
    pub fn position(&self) -> u64 {
        self.buffer.at()
    }

    fn measure(&self) -> Result<Option<usize>, StreamError> {
        let at = self.buffer.at();
        codec::measure(self.buffer.rest()).map_err(|source| StreamError::Message { at, source })
    }
}

/// Bytes that wait to be read. What was read is dropped when the next bytes come.
#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    read: usize,
    /// Bytes that were dropped.
    gone: u64,
}

impl Buffer {
    fn push(&mut self, bytes: &[u8]) {
        self.back().extend_from_slice(bytes);
    }

    /// Where the next bytes are appended.
    fn back(&mut self) -> &mut Vec<u8> {
        // Moving the rest costs as much as was read at most.
        if self.read * 2 >= self.bytes.len() {
            self.bytes.drain(..self.read);
            self.gone += self.read as u64;
            self.read = 0;
        }
        &mut self.bytes
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.read..).unwrap_or_default()
    }

    /// Bytes that were read, from the very first.
    fn at(&self) -> u64 {
        self.gone + self.read as u64
    }
}
