//! Reads one connection to its end.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use super::Options;
use super::state::{Connection, End, Entry, Shared, State};
use crate::sim::session::Violation;
use crate::wire::{Reader, json};

/// The reducer's own read size (protocol 8.3).
const READ: usize = 64 * 1024;

/// The bytes of a connection, perhaps over TLS.
type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// What a connection is asked to do.
#[derive(Clone, Debug)]
pub(super) enum Command {
    /// End in an orderly way.
    Close,
    /// End by RST.
    Reset,
    /// Write to the peer.
    Write(Vec<u8>),
}

/// Reads until the connection ends, and says how.
pub(super) async fn serve(
    index: usize,
    stream: TcpStream,
    mut commands: mpsc::UnboundedReceiver<Command>,
    shared: Arc<Shared>,
    options: Arc<Options>,
    mut paused: watch::Receiver<bool>,
) -> End {
    let mut stream = match &options.tls {
        None => Either::Left(stream),
        Some(tls) => match tls.acceptor().accept(stream).await {
            Ok(stream) => Either::Right(Box::new(stream)),
            Err(error) => return End::Failed(format!("no TLS: {error}")),
        },
    };
    let mut reader = Reader::new();
    let mut buffer = vec![0; READ];
    loop {
        let read = tokio::select! {
            biased;
            command = commands.recv() => match command {
                Some(Command::Write(bytes)) => {
                    // A peer that does not want it is seen at the next read.
                    let _ = stream.write_all(&bytes).await;
                    let _ = stream.flush().await;
                    continue;
                }
                Some(Command::Reset) => {
                    // The end is seen at the other side, whatever this returns.
                    let _ = SockRef::from(tcp(&stream)).set_linger(Some(Duration::ZERO));
                    return End::Closed;
                }
                Some(Command::Close) | None => return close(&mut stream, &mut buffer).await,
            },
            read = read(&mut stream, &mut buffer, &mut paused) => read,
        };
        let bytes = match read {
            Ok(0) => {
                return reader
                    .finish()
                    .map_or_else(|cut| End::CutShort(cut.to_string()), |()| End::Eof);
            }
            Ok(len) => buffer.get(..len).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return End::Reset,
            Err(error) => return End::Failed(error.to_string()),
        };
        let mut tapped = Vec::new();
        let result =
            shared.change(|state| take(state, index, bytes, &mut reader, &options, &mut tapped));
        if let Some(tap) = &options.tap {
            for entry in tapped {
                // The receiver may have left; the reading goes on.
                let _ = tap.send(entry).await;
            }
        }
        match result {
            Ok(handshake_done) if handshake_done && options.close_after_handshake => {
                return close(&mut stream, &mut buffer).await;
            }
            Ok(_) => {}
            Err(violation) => return End::Violation(violation),
        }
    }
}

/// Reads as soon as reading is not paused.
async fn read(
    stream: &mut Stream,
    buffer: &mut [u8],
    paused: &mut watch::Receiver<bool>,
) -> io::Result<usize> {
    // If nobody is left to resume, the task is ended anyway.
    let _ = paused.wait_for(|paused| !paused).await;
    stream.read(buffer).await
}

/// Ends with FIN: a close with unread input would become RST.
async fn close(stream: &mut Stream, buffer: &mut [u8]) -> End {
    while matches!(tcp(stream).try_read(buffer), Ok(1..)) {}
    // The peer may be gone already.
    let _ = stream.shutdown().await;
    End::Closed
}

fn tcp(stream: &Stream) -> &TcpStream {
    match stream {
        Either::Left(tcp) => tcp,
        Either::Right(tls) => tls.get_ref().0,
    }
}

/// Takes the bytes of one read. Returns whether the handshake is complete.
fn take(
    state: &mut State,
    index: usize,
    bytes: &[u8],
    reader: &mut Reader,
    options: &Options,
    tapped: &mut Vec<Entry>,
) -> Result<bool, Violation> {
    let State { connections, log } = state;
    let Some(connection) = index.checked_sub(1).and_then(|at| connections.get_mut(at)) else {
        return Ok(false);
    };
    connection.bytes += bytes.len() as u64;
    if options.keep_everything {
        connection.raw.extend_from_slice(bytes);
    }
    reader.push(bytes);
    let result = messages(connection, reader, options, log, tapped);
    connection.plain_bytes = reader.plain_position();
    connection.frames = reader.counters();
    result?;
    connection.session.check_frames(&connection.frames)?;
    Ok(connection.handshake_done())
}

fn messages(
    connection: &mut Connection,
    reader: &mut Reader,
    options: &Options,
    log: &mut Vec<Entry>,
    tapped: &mut Vec<Entry>,
) -> Result<(), Violation> {
    while let Some((timestamp, message)) = reader.next_message()? {
        connection.messages += 1;
        *connection.counts.entry(message.row().name).or_default() += 1;
        if options.keep_everything || options.tap.is_some() {
            let entry = Entry {
                connection: connection.index,
                timestamp,
                message: json::to_json(&message),
            };
            if options.keep_everything {
                log.push(entry.clone());
            }
            if options.tap.is_some() {
                tapped.push(entry);
            }
        }
        connection.session.apply(&message)?;
    }
    Ok(())
}
