//! The log: lines on standard error, and in a rotated file if one is named.
//!
//! Invariants: standard error gets every line, whatever else does. A log that cannot be written, or
//! that nobody reads, never stops the relay: lines that find no place are lost and counted. What
//! waits at an ordinary end is written.
//!
//! Absent here: what is worth a line. Modules log through `tracing`, with their path as target.

use std::{
    collections::BTreeSet,
    fmt,
    fs::OpenOptions,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use clap::ValueEnum;
use file_rotate::{ContentLimit, FileRotate, compression::Compression, suffix::AppendCount};
use nix::{
    fcntl::OFlag,
    unistd::{AccessFlags, access},
};
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    Layer, Registry, filter::Targets, fmt as lines, layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use crate::notable;

/// Never logged: kube's client says again, once for each failure and with all that a server has
/// sent, what the native watches say once.
pub const SILENCED: &str = "kube_client";

/// A file is rotated once it is longer than this, in bytes.
const FILE_BYTES: usize = 1 << 20;
/// Files kept in addition to the one that is written.
const OLD_FILES: usize = 4;
/// Lines that may wait for their writer.
const WAITING_LINES: usize = 16_384;

/// What is logged, and where. By default: changes of state, as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoggingConfig {
    /// The least that is logged.
    pub level: Level,
    /// How a line looks on standard error. The file is always text.
    pub format: LogFormat,
    /// Targets that are logged in full, whatever the level.
    pub traced: BTreeSet<&'static str>,
    /// A file that gets the lines too.
    pub file: Option<PathBuf>,
}

/// The levels of the legacy relay, the most talkative first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Each object.
    Trace,
    /// Details.
    Debug,
    /// Changes of state.
    #[default]
    Info,
    /// What a person should look at.
    Warning,
    /// What failed.
    Error,
    /// As [`Level::Error`]: there is nothing above it here.
    Critical,
}

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people; coloured on a terminal
    #[default]
    Text,
    /// One JSON object in each line
    Json,
}

/// Why logging cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoggingError {
    /// The file is named but cannot be opened.
    #[error("cannot open the log file {}", path.display())]
    File {
        /// As named.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Logging runs already in this process.
    #[error("logging was started twice")]
    Twice,
}

/// Logging while it runs. Dropping it writes what still waits, for a second at most.
#[must_use = "what is logged after this is dropped is lost"]
pub struct Logging {
    lost: Vec<ErrorCounter>,
    writers: Vec<WorkerGuard>,
}

/// Starts logging. Lines are written by threads of their own, so that a full disk or a pipe
/// that nobody reads stops nothing else; what they cannot keep up with is lost and counted.
///
/// # Errors
///
/// When the file cannot be opened, or when logging runs already.
pub fn start(config: &LoggingConfig) -> Result<Logging, LoggingError> {
    let mut logging = Logging {
        lost: Vec::new(),
        writers: Vec::new(),
    };
    let mut layers: Vec<Box<dyn Layer<Registry> + Send + Sync>> = Vec::new();
    let console = lines::layer()
        .with_writer(logging.writer("log-stderr", io::stderr()))
        .log_internal_errors(false);
    layers.push(match config.format {
        LogFormat::Text => console.with_ansi(is_coloured(&io::stderr())).boxed(),
        LogFormat::Json => console.json().flatten_event(true).boxed(),
    });
    if let Some(path) = &config.file {
        let file = lines::layer()
            .with_writer(logging.writer("log-file", RotatedFile::open(path)?))
            .with_ansi(false)
            .log_internal_errors(false);
        layers.push(file.boxed());
    }
    let ours = Targets::new().with_target("k8s_relay", LevelFilter::INFO);
    tracing_subscriber::registry()
        .with(layers.with_filter(config.filter()))
        .with(notable::Keeper.with_filter(ours))
        .try_init()
        .map_err(|_| LoggingError::Twice)?;
    Ok(logging)
}

/// Looks, without creating anything, whether the log file could be opened.
///
/// # Errors
///
/// As [`start`].
pub fn check(config: &LoggingConfig) -> Result<(), LoggingError> {
    let Some(path) = &config.file else {
        return Ok(());
    };
    let opened = match appending().open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = path
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty());
            let folder = folder.unwrap_or(Path::new("."));
            access(folder, AccessFlags::W_OK | AccessFlags::X_OK).map_err(Into::into)
        }
        opened => opened.map(drop),
    };
    opened.map_err(|source| LoggingError::File {
        path: path.clone(),
        source,
    })
}

/// Opens at once or not at all: a named pipe that nobody reads would hold up the start, before
/// signals are heard.
fn appending() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.append(true).custom_flags(OFlag::O_NONBLOCK.bits());
    options
}

/// Whether colours are shown there: it is a terminal, and neither `NO_COLOR` nor `TERM=dumb` is set.
pub fn is_coloured<S: anstream::stream::RawStream>(stream: &S) -> bool {
    let choice = anstream::AutoStream::choice(stream);
    stream.is_terminal() && choice != anstream::ColorChoice::Never
}

impl Logging {
    fn writer(&mut self, name: &str, to: impl Write + Send + 'static) -> NonBlocking {
        let (writer, guard) = NonBlockingBuilder::default()
            .lossy(true)
            .buffered_lines_limit(WAITING_LINES)
            .thread_name(name)
            .finish(to);
        self.lost.push(writer.error_counter());
        self.writers.push(guard);
        writer
    }

    /// Lines that were lost because they could not be written as fast as they came.
    pub fn lost_lines(&self) -> usize {
        self.lost.iter().map(ErrorCounter::dropped_lines).sum()
    }
}

impl LoggingConfig {
    /// Our own targets at the chosen level, the whitelisted ones in full. Other crates
    /// are never louder than info: their trace would drown ours.
    fn filter(&self) -> Targets {
        let level = LevelFilter::from(self.level);
        Targets::new()
            .with_default(level.min(LevelFilter::INFO))
            .with_target("k8s_relay", level)
            .with_target(SILENCED, LevelFilter::OFF)
            .with_targets(
                self.traced
                    .iter()
                    .map(|target| (*target, LevelFilter::TRACE)),
            )
    }
}

impl From<Level> for LevelFilter {
    fn from(level: Level) -> Self {
        match level {
            Level::Trace => Self::TRACE,
            Level::Debug => Self::DEBUG,
            Level::Info => Self::INFO,
            Level::Warning => Self::WARN,
            Level::Error | Level::Critical => Self::ERROR,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
        })
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

/// The log file and its predecessors `PATH.1` to `PATH.4`.
struct RotatedFile {
    path: PathBuf,
    /// `None` after the file has gone.
    file: Option<FileRotate<AppendCount>>,
}

impl RotatedFile {
    fn open(path: &Path) -> Result<Self, LoggingError> {
        // The rotating writer itself takes no notice of a file that it cannot open.
        appending()
            .create(true)
            .open(path)
            .map_err(|source| LoggingError::File {
                path: path.to_owned(),
                source,
            })?;
        let file = FileRotate::new(
            path,
            AppendCount::new(OLD_FILES),
            ContentLimit::BytesSurpassed(FILE_BYTES),
            Compression::None,
            None,
        );
        Ok(Self {
            path: path.to_owned(),
            file: Some(file),
        })
    }
}

impl Write for RotatedFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // The rotating writer panics when its directory is gone.
        if !self.path.exists() {
            self.file = None;
        }
        match &mut self.file {
            Some(file) => file.write(line),
            None => Ok(line.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), Write::flush)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tracing::Level as At;

    use super::*;

    #[test]
    fn a_level_is_for_our_own_targets_and_others_are_never_louder_than_info() {
        for (level, ours, others) in [
            (Level::Trace, At::TRACE, At::INFO),
            (Level::Debug, At::DEBUG, At::INFO),
            (Level::Info, At::INFO, At::INFO),
            (Level::Warning, At::WARN, At::WARN),
            (Level::Error, At::ERROR, At::ERROR),
            (Level::Critical, At::ERROR, At::ERROR),
        ] {
            let config = LoggingConfig {
                level,
                traced: BTreeSet::from(["k8s_relay::reducer"]),
                ..LoggingConfig::default()
            };
            let filter = config.filter();
            let loudest = |target| {
                let levels = [At::TRACE, At::DEBUG, At::INFO, At::WARN, At::ERROR];
                levels
                    .into_iter()
                    .find(|level| filter.would_enable(target, level))
            };
            assert_eq!(loudest("k8s_relay"), Some(ours), "{level}");
            assert_eq!(loudest("k8s_relay::driver"), Some(ours), "{level}");
            assert_eq!(loudest("h2::codec"), Some(others), "{level}");
            let whitelisted = loudest("k8s_relay::reducer");
            assert_eq!(whitelisted, Some(At::TRACE), "{level}");
        }
    }

    #[test]
    fn a_log_file_whose_directory_goes_is_given_up_without_harm() {
        let outer = tempfile::tempdir().unwrap();
        let dir = outer.path().join("logs");
        fs::create_dir(&dir).unwrap();
        let mut file = RotatedFile::open(&dir.join("relay.log")).unwrap();
        let line = vec![b'x'; FILE_BYTES + 1];
        assert_eq!(file.write(&line).unwrap(), line.len());
        fs::remove_dir_all(&dir).unwrap();
        assert_eq!(file.write(&line).unwrap(), line.len(), "would be rotated");
        assert!(!dir.exists());
        fs::create_dir(&dir).unwrap();
        assert_eq!(file.write(b"x").unwrap(), 1);
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 0, "given up for good");
    }
}
