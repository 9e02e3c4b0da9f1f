//! `--state-file`: the stage of a migration over restarts.
//!
//! Invariants: what is recorded counts only for the `--source` that it was recorded under; under
//! another one the flag wins. A file that is there and cannot be understood is an error, never
//! overwritten. A write replaces the file as a whole, or leaves it as it was. A missing file is
//! made at the first change.
//!
//! The one file of this module that does IO. Absent here: when the stage changes.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use nix::{
    errno::Errno,
    unistd::{AccessFlags, access},
};
use serde::{Deserialize, Serialize};
use tokio::{sync::watch, task::spawn_blocking, time::timeout};
use tracing::{info, warn};

use super::{Auto, Stage};

/// The first line of the file, in effect: what the rest means.
const SCHEMA: &str = "k8s-relay/migration/1";

/// The largest file that is read.
pub const MAX_BYTES: u64 = 16 * 1024;

/// What is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// What `--source` said.
    pub source: Stage,
    /// Where the migration stands.
    pub stage: Stage,
    /// The last cutover was forced.
    pub forced: bool,
    /// What `--migrate auto` has done.
    pub auto: Auto,
}

/// Why there is no state to go on from, or nowhere to keep it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateFileError {
    /// It is there and cannot be read.
    #[error("cannot read the state file {}", path.display())]
    Unreadable {
        /// As named by `--state-file`.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is read and means nothing.
    #[error(
        "cannot use the state file {}: {why}; delete it to start at --source",
        path.display()
    )]
    Corrupt {
        /// As named by `--state-file`.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// It cannot be replaced.
    #[error("cannot write the state file {}", path.display())]
    Unwritable {
        /// As named by `--state-file`.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// A [`State`] on its way to a [`StateFile`], with a number by which its fate is reported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbered {
    /// More than that of the one before.
    pub number: u64,
    /// What is to be kept.
    pub state: State,
}

/// What became of the states up to a number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// The latest state that was to be written.
    pub number: u64,
    /// Why it could not be; what the file had before is there still.
    pub error: Option<String>,
}

/// A file that keeps a [`State`].
#[derive(Clone, Debug)]
pub struct StateFile {
    path: PathBuf,
}

impl StateFile {
    /// Reads where the migration stands, for a start with this `--source`. If the file records
    /// another one it is replaced at once: going back to the former flag must not bring a
    /// former stage back.
    ///
    /// # Errors
    ///
    /// When the file is there and cannot be understood, or could not be replaced.
    pub fn open(path: PathBuf, source: Stage) -> Result<(Self, State), StateFileError> {
        let file = Self { path };
        let (fresh, path) = (State::begin(source), file.path.display());
        match file.look()? {
            None => Ok((file, fresh)),
            Some(state) if state.source == source => {
                if state.stage != source {
                    info!(stage = %state.stage, %source, file = %path, "the migration goes on in the stage of the state file");
                }
                Ok((file, state))
            }
            Some(state) => {
                warn!(
                    recorded_source = %state.source, recorded_stage = %state.stage, %source,
                    file = %path, "--source has changed since the state file was written: the relay begins in the stage of --source"
                );
                file.write(&fresh)?;
                Ok((file, fresh))
            }
        }
    }

    /// What [`Self::open`] would go on from, as far as can be said while leaving everything as it
    /// is.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub fn check(path: &Path, source: Stage) -> Result<State, StateFileError> {
        let path = path.to_owned();
        let recorded = Self { path }.look()?;
        let same = recorded.filter(|state| state.source == source);
        Ok(same.unwrap_or_else(|| State::begin(source)))
    }

    /// Replaces the file. When this returns without an error, also a loss of power keeps it.
    ///
    /// # Errors
    ///
    /// When it cannot be written; then what was there before is there still.
    pub fn write(&self, state: &State) -> Result<(), StateFileError> {
        self.replace(state)
            .map_err(|source| self.unwritable(source))
    }

    /// Writes each state that comes, the latest if they come faster than they are written, until
    /// the sender is gone, and says what came of it each time. A write that fails is tried again
    /// `retry` later and at the end.
    ///
    /// # Errors
    ///
    /// When the last state could not be written by then.
    pub async fn keep(
        self,
        mut states: watch::Receiver<Numbered>,
        written: watch::Sender<Written>,
        retry: Duration,
    ) -> Result<(), StateFileError> {
        let mut failure = None;
        loop {
            let changed = match &failure {
                None => states.changed().await,
                Some(_) => timeout(retry, states.changed()).await.unwrap_or(Ok(())),
            };
            let ended = changed.is_err();
            if ended && failure.is_none() {
                return Ok(());
            }
            let (file, next) = (self.clone(), states.borrow_and_update().clone());
            let Numbered { number, state } = next;
            let Ok(wrote) = spawn_blocking(move || file.write(&state)).await else {
                return Ok(()); // The runtime ends.
            };
            match (&wrote, &failure) {
                (Ok(()), Some(_)) => {
                    info!(file = %self.path.display(), "the state file is written again");
                }
                (Err(error), None) => {
                    let error = in_full(error);
                    warn!(
                        error,
                        "cannot write the state file: a restart would not know the stage"
                    );
                }
                (Ok(()), None) | (Err(_), Some(_)) => {}
            }
            failure = wrote.err();
            let error = failure.as_ref().map(in_full);
            written.send_replace(Written { number, error });
            if ended {
                return failure.map_or(Ok(()), Err);
            }
        }
    }

    /// What the file records, if it is there; and whether it could be replaced.
    fn look(&self) -> Result<Option<State>, StateFileError> {
        let bytes = self.read().map_err(|source| StateFileError::Unreadable {
            path: self.path.clone(),
            source,
        })?;
        let state = bytes.map(|bytes| parse(&bytes)).transpose();
        let state = state.map_err(|why| StateFileError::Corrupt {
            path: self.path.clone(),
            why,
        })?;
        let target = target(&self.path).map_err(|source| self.unwritable(source))?;
        access(folder(&target), AccessFlags::W_OK | AccessFlags::X_OK)
            .map_err(|error| self.unwritable(error.into()))?;
        Ok(state)
    }

    fn read(&self) -> io::Result<Option<Vec<u8>>> {
        match fs::metadata(&self.path) {
            // To open a pipe would wait for its other end.
            Ok(there) if !there.is_file() => {
                let why = "it is not a regular file";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        }
        let mut bytes = Vec::new();
        File::open(&self.path)?
            .take(MAX_BYTES + 1)
            .read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    fn replace(&self, state: &State) -> io::Result<()> {
        let path = target(&self.path)?;
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let new = path.with_file_name(name);
        // Left by a process that was killed. Removed instead of opened: it could be anything.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let written = File::create_new(&new).and_then(|mut file| {
            file.write_all(render(state)?.as_bytes())?;
            file.sync_all()
        });
        if let Err(error) = written.and_then(|()| fs::rename(&new, &path)) {
            // The first error says more than one about the rest of it.
            let _ = fs::remove_file(&new);
            return Err(error);
        }
        File::open(folder(&path))?.sync_all()
    }

    fn unwritable(&self, source: io::Error) -> StateFileError {
        StateFileError::Unwritable {
            path: self.path.clone(),
            source,
        }
    }
}

impl State {
    /// The state of a start that nothing was recorded for.
    pub fn begin(source: Stage) -> Self {
        Self {
            source,
            stage: source,
            ..Self::default()
        }
    }

    /// What the text of a state file says.
    ///
    /// # Errors
    ///
    /// Why it cannot be understood, in one line.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        parse(text)
    }

    /// The text of a state file that says this.
    ///
    /// # Errors
    ///
    /// When it would be too long to be read again.
    pub fn render(&self) -> io::Result<String> {
        render(self)
    }
}

/// Only the line that says how to read the others.
#[derive(Deserialize)]
struct Head {
    schema: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    schema: String,
    source: Stage,
    stage: Stage,
    forced: bool,
    auto: Auto,
}

fn parse(bytes: &[u8]) -> Result<State, String> {
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("it is longer than {MAX_BYTES} bytes"));
    }
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err("it is empty".to_owned());
    }
    let head: Head = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if head.schema != SCHEMA {
        let found = head.schema.escape_debug();
        return Err(format!("its schema is `{found}`, expected `{SCHEMA}`"));
    }
    let content: Content = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let Content {
        schema: _,
        source,
        stage,
        forced,
        auto,
    } = content;
    Ok(State {
        source,
        stage,
        forced,
        auto,
    })
}

fn render(state: &State) -> io::Result<String> {
    let State {
        source,
        stage,
        forced,
        auto,
    } = state.clone();
    let content = Content {
        schema: SCHEMA.to_owned(),
        source,
        stage,
        forced,
        auto,
    };
    Ok(serde_json::to_string_pretty(&content)? + "\n")
}

/// An error with its cause, in one line.
fn in_full(error: &StateFileError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// Where symbolic links lead: what is there is replaced, not the link. It need not be there yet.
fn target(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        match fs::read_link(&path) {
            // A relative one counts from the folder that the link is in.
            Ok(next) => path = folder(&path).join(next),
            // No link, or nothing at all.
            Err(_) => return Ok(path),
        }
    }
    Err(Errno::ELOOP.into())
}

/// As many symbolic links are followed, one after the other, as Linux does.
const MOST_LINKS: usize = 40;

/// The folder that a file is in.
fn folder(path: &Path) -> &Path {
    let parent = path.parent();
    let named = parent.filter(|folder| !folder.as_os_str().is_empty());
    named.unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests;
