//! `k8s-relay decode`: shows what a recording or a captured connection says.

use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use super::{Lines, Reading, ToolError};
use crate::tee::recording::MAGIC;
use crate::wire::{Message, PlainReader, Reader, StreamError, codec, json, lz4};

/// Print the messages of a recording or a captured connection as JSON lines
///
/// FILE is a recording as the relay writes it (--record-intake-output), or the raw bytes of one
/// connection to a reducer, from its first byte, as a proxy or `tcpflow` keeps them. The command
/// recognises which of the two it is.
///
/// Each line has the message's name as `msg`, its fields, and its `timestamp` in nanoseconds
/// since the UNIX epoch. An address is shown as text (`ip`) and as the number it is on the wire
/// (`ip_u32`), text that is not UTF-8 as {"$bytes_hex": ".."}. In a recording of several
/// connections a line {"marker": "new_connection", "index": n} stands before the second and each
/// later one.
///
/// A file that is cut or damaged is printed up to that place; then an error names the byte, and
/// the exit status is 1.
///
/// Examples:
///     k8s-relay decode relay.rec
///     k8s-relay decode - < relay.rec
#[derive(clap::Args, Clone, Debug)]
#[command(verbatim_doc_comment)]
pub struct DecodeArgs {
    /// The file or pipe to read; `-` is standard input
    pub file: PathBuf,
}

/// Decodes the file to standard output.
///
/// # Errors
/// It cannot be read, it is malformed, or the output cannot be written. A closed output is no
/// error.
pub fn run(args: &DecodeArgs) -> Result<(), ToolError> {
    let out = BufWriter::new(io::stdout().lock());
    if args.file == Path::new("-") {
        return decode("standard input", io::stdin().lock(), out);
    }
    let name = args.file.display().to_string();
    decode(&name, super::open(&args.file)?, out)
}

/// Decodes `input`, which is called `name` in errors, to `out`.
///
/// # Errors
/// As [`run`].
pub fn decode(name: &str, mut input: impl Read, out: impl Write) -> Result<(), ToolError> {
    let mut lines = Lines::new(out);
    let shown = show(name, &mut input, &mut lines);
    // What is readable is shown, also before an error.
    let flushed = lines.flush();
    shown.and(flushed).map(drop)
}

fn show(
    name: &str,
    input: &mut impl Read,
    lines: &mut Lines<impl Write>,
) -> Result<Reading, ToolError> {
    let mut stream = Stream::Unknown(Vec::new());
    let mut buffer = vec![0; 64 * 1024];
    let mut connection = 0;
    loop {
        let bytes = match input.read(&mut buffer) {
            Ok(len) => buffer.get(..len).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => {
                return Err(ToolError::Read {
                    file: name.to_owned(),
                    source,
                });
            }
        };
        let ended = bytes.is_empty();
        let malformed = |stream: &Stream, error: StreamError| ToolError::Malformed {
            file: name.to_owned(),
            problem: stream.explain(&error),
        };
        stream.push(bytes, ended);
        if stream.is_of_streams() {
            return Err(ToolError::Malformed {
                file: name.to_owned(),
                problem: OF_STREAMS.to_owned(),
            });
        }
        loop {
            match stream.next_message() {
                Ok(Some((timestamp, message))) => {
                    connection += usize::from(matches!(message, Message::VersionInfo(_)));
                    let (index, message) = (connection.max(1), json::to_json(&message));
                    if lines.message(index, timestamp, message)? == Reading::No {
                        return Ok(Reading::No);
                    }
                }
                Ok(None) => break,
                Err(error) => return Err(malformed(&stream, error)),
            }
        }
        // A process that writes a pipe may take a while to go on.
        if lines.flush()? == Reading::No {
            return Ok(Reading::No);
        }
        if ended {
            if stream.is_empty() {
                tracing::warn!("{name} is empty: the relay never connected");
            }
            let end = stream.finish();
            return end
                .map(|()| Reading::Yes)
                .map_err(|error| malformed(&stream, error));
        }
    }
}

/// What is said of a file that `k8s-relay tee` has recorded.
const OF_STREAMS: &str =
    "this is a recording of streams, not of messages. Use `k8s-relay replay` with it.";

/// Whether a file that begins so is one that is decoded here.
pub(super) fn is_decodable(seen: &[u8]) -> bool {
    let mut reader = PlainReader::new();
    reader.push(seen);
    matches!(
        reader.next_message(),
        Ok(Some((_, Message::VersionInfo(_))))
    )
}

/// What the file turned out to be.
enum Stream {
    /// Too few bytes to say.
    Unknown(Vec<u8>),
    Recording(PlainReader),
    Capture(Box<Reader>),
}

impl Stream {
    fn push(&mut self, bytes: &[u8], ended: bool) {
        match self {
            Self::Unknown(seen) => {
                seen.extend_from_slice(bytes);
                if let Some(mut known) = recognize(seen, ended) {
                    known.push(seen, ended);
                    *self = known;
                }
            }
            Self::Recording(reader) => reader.push(bytes),
            Self::Capture(reader) => reader.push(bytes),
        }
    }

    /// Whether it is a recording of the other kind.
    fn is_of_streams(&self) -> bool {
        matches!(self, Self::Unknown(seen) if seen.starts_with(&MAGIC))
    }

    fn next_message(&mut self) -> Result<Option<(u64, Message<'_>)>, StreamError> {
        match self {
            Self::Unknown(_) => Ok(None),
            Self::Recording(reader) => reader.next_message(),
            Self::Capture(reader) => reader.next_message(),
        }
    }

    /// Whether no byte was ever pushed, as far as the end shows.
    fn is_empty(&self) -> bool {
        match self {
            Self::Unknown(seen) => seen.is_empty(),
            Self::Recording(reader) => reader.position() == 0 && reader.finish().is_ok(),
            Self::Capture(_) => false,
        }
    }

    fn finish(&self) -> Result<(), StreamError> {
        match self {
            Self::Unknown(_) => Ok(()),
            Self::Recording(reader) => reader.finish(),
            Self::Capture(reader) => reader.finish(),
        }
    }

    /// An error in terms of the file.
    fn explain(&self, error: &StreamError) -> String {
        match self {
            Self::Recording(reader) if reader.position() > 0 => format!("a recording, {error}"),
            Self::Unknown(_) | Self::Recording(_) => {
                format!("neither a recording nor a captured connection, {error}")
            }
            Self::Capture(reader) => {
                let place = match error {
                    StreamError::Frame { .. } | StreamError::CutFrame { .. } => String::new(),
                    StreamError::Message { .. } | StreamError::CutMessage { .. } => {
                        format!(", unpacked from before byte {}", reader.position())
                    }
                };
                format!("a captured connection, {error}{place}")
            }
        }
    }
}

/// After the first message a connection goes on with an LZ4 frame, a recording with a message.
fn recognize(seen: &[u8], ended: bool) -> Option<Stream> {
    const FRAME: usize = 4;
    if seen.starts_with(&MAGIC) || (!ended && MAGIC.starts_with(seen)) {
        return None;
    }
    let rest = match codec::measure(seen) {
        Ok(Some(len)) => seen.get(len..).unwrap_or_default(),
        Ok(None) => return ended.then(|| Stream::Recording(PlainReader::new())),
        Err(_) => return Some(Stream::Recording(PlainReader::new())),
    };
    if rest.len() < FRAME && !ended {
        return None;
    }
    Some(if lz4::starts_frame(rest) {
        Stream::Capture(Box::default())
    } else {
        Stream::Recording(PlainReader::new())
    })
}
