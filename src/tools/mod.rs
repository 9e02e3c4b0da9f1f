//! The subcommands other than the relay, built on the library's modules.
//!
//! Each has its arguments and a `run`. Invariants: what can be shown is shown before an error is; a
//! closed pipe on the far side is an ordinary end.

pub mod ask;
pub mod cluster;
pub mod config;
pub mod decode;
pub mod demo;
pub mod explain;
pub mod metadata;
pub mod migrate;
pub mod reducer;
pub mod replay;
pub mod shell;
pub mod status;
mod table;
pub mod tee;
pub mod watch_test;
pub mod watcher;

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::FileTypeExt as _,
    path::Path,
};

use serde_json::{Map, Value, json};

/// Why a tool failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ToolError {
    /// The address to listen on is not free.
    #[error("cannot listen on {addr}")]
    Listen {
        /// The address.
        addr: std::net::SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The signals that would end the tool cannot be watched.
    #[error("cannot watch for signals")]
    Signals(#[source] io::Error),
    /// A file cannot be read.
    #[error("cannot read {file}")]
    Read {
        /// The file as it was named.
        file: String,
        /// What the system says.
        source: io::Error,
    },
    /// A file is malformed.
    #[error("{file}: {problem}")]
    Malformed {
        /// The file as it was named.
        file: String,
        /// What is wrong and where.
        problem: String,
    },
    /// A file that would be written is there already, or cannot be made.
    #[error("cannot record into {file}")]
    Record {
        /// The file as it was named.
        file: String,
        /// What the system says.
        source: io::Error,
    },
    /// The arguments do not fit each other.
    #[error("{0}")]
    Arguments(&'static str),
    /// A relay is not there.
    #[error(transparent)]
    Watcher(#[from] crate::sim::watcher::WatcherError),
    /// The server for watchers has ended by itself.
    #[error(transparent)]
    Serve(#[from] crate::net::grpc::ServeError),
    /// Certificates and keys cannot be used.
    #[error(transparent)]
    Tls(crate::net::tls::TlsError),
    /// What should be equal is not, or could not be compared.
    #[error("{0}")]
    Different(String),
    /// The peers of a mock were not what they should be.
    #[error("{0}")]
    Violations(String),
    /// The output cannot be written.
    #[error("cannot write")]
    Write(#[source] io::Error),
}

/// Opens a file to read it from its first byte to its last. A pipe is read until its writers close
/// it, and that is said: it can take for as long as they like.
fn open(path: &Path) -> Result<File, ToolError> {
    let failed = |source| ToolError::Read {
        file: path.display().to_string(),
        source,
    };
    let kind = fs::metadata(path).map_err(failed)?.file_type();
    if kind.is_dir() {
        return Err(failed(io::ErrorKind::IsADirectory.into()));
    }
    if kind.is_fifo() {
        let name = path.display();
        // Without standard error there is nobody to inform.
        let _ = writeln!(
            io::stderr(),
            "{name} is a pipe: reading until its writers close it"
        );
    }
    File::open(path).map_err(failed)
}

/// Writes lines of JSON in the form of the recordings: messages, and a marker where the
/// connection changes.
struct Lines<W> {
    out: W,
    connection: usize,
}

/// Whether anybody reads on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Yes,
    No,
}

impl<W: Write> Lines<W> {
    fn new(out: W) -> Self {
        Self { out, connection: 1 }
    }

    /// One message of the connection with this index, from 1.
    fn message(
        &mut self,
        connection: usize,
        timestamp: u64,
        mut message: Map<String, Value>,
    ) -> Result<Reading, ToolError> {
        if connection != self.connection {
            self.connection = connection;
            let marker = json!({ "marker": "new_connection", "index": connection });
            if self.line(&marker)? == Reading::No {
                return Ok(Reading::No);
            }
        }
        message.insert("timestamp".to_owned(), timestamp.into());
        self.line(&Value::Object(message))
    }

    fn line(&mut self, line: &Value) -> Result<Reading, ToolError> {
        wrote(writeln!(self.out, "{line}"))
    }

    fn flush(&mut self) -> Result<Reading, ToolError> {
        wrote(self.out.flush())
    }
}

fn wrote(result: io::Result<()>) -> Result<Reading, ToolError> {
    match result {
        Ok(()) => Ok(Reading::Yes),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reading::No),
        Err(error) => Err(ToolError::Write(error)),
    }
}
