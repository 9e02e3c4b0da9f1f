//! What the commands have in common that ask a running relay.

use std::{io, path::PathBuf, time::Duration};

use bytes::Bytes;
use http::Method;
use serde::de::DeserializeOwned;

use crate::{
    admin::client::{self, CallError, Target},
    config::{AdminAddress, DEFAULT_ADMIN, HostPort},
};

/// How long an answer is waited for. The relay itself gives up on its loop before that.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which relay is asked, and how the answer is shown.
#[derive(clap::Args, Clone, Debug)]
pub struct AskArgs {
    /// The relay's --admin-address: HOST:PORT or unix:PATH
    #[arg(long, value_name = "ADDRESS", default_value = DEFAULT_ADMIN, global = true)]
    #[arg(env = "K8S_RELAY_ADMIN_ADDRESS", hide_env_values = true)]
    pub admin_address: AdminAddress,

    /// Print the answer as the relay gives it, in JSON
    #[arg(long, global = true)]
    pub json: bool,
}

/// Why there is no answer that is wanted. [`AskError::status`] is for each.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// The address is `none`.
    #[error("--admin-address is none: a relay without an admin listener cannot be asked")]
    Nowhere,
    /// Nobody is there.
    #[error("nothing listens at {place}: does the relay run, and is this its --admin-address?")]
    Unreachable {
        /// Where.
        place: AdminAddress,
        /// What the system says.
        source: io::Error,
    },
    /// There is no answer, or it is none of a relay's.
    #[error("{place}: {problem}")]
    NoAnswer {
        /// Where.
        place: AdminAddress,
        /// What is there instead.
        problem: String,
    },
    /// The relay says no.
    #[error("refused: {0}")]
    Refused(String),
    /// The output can not be written.
    #[error("cannot write")]
    Write(#[source] io::Error),
}

/// The exit status of each ending, as the help tells it.
pub(super) const EXIT_STATUS: &str = "Exit status: 0 done, 1 refused or not known, 2 for a wrong command line, 3 when no relay answers.";

impl AskError {
    /// The exit status of the command.
    pub fn status(&self) -> u8 {
        match self {
            Self::Refused(_) | Self::Write(_) => 1,
            Self::Nowhere => 2,
            Self::Unreachable { .. } | Self::NoAnswer { .. } => 3,
        }
    }
}

impl AskArgs {
    /// Asks, and gives the answer as it came and as it is read.
    ///
    /// # Errors
    /// There is none, or it is a no.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
    ) -> Result<(Bytes, T), AskError> {
        let place = self.admin_address.clone();
        let asked = client::call(&self.target()?, method, path, PATIENCE).await;
        asked.map_err(|error| match error {
            CallError::Unreachable(source) => AskError::Unreachable { place, source },
            CallError::Refused(why) => AskError::Refused(why),
            other @ (CallError::TooSlow(_) | CallError::Stranger(_)) => AskError::NoAnswer {
                place,
                problem: other.to_string(),
            },
        })
    }

    fn target(&self) -> Result<Target, AskError> {
        match &self.admin_address {
            AdminAddress::None => Err(AskError::Nowhere),
            AdminAddress::Tcp(HostPort { host, port }) => {
                // Where the relay listens on all addresses, this machine's own will do.
                let host = match host.as_str() {
                    "0.0.0.0" => "127.0.0.1",
                    "::" => "::1",
                    other => other,
                };
                Ok(Target::Tcp(host.to_owned(), *port))
            }
            AdminAddress::Unix(path) => Ok(Target::Unix(PathBuf::from(path))),
        }
    }
}

/// Writes the answer. Who closes the pipe has read enough.
pub(super) fn print(text: &[u8]) -> Result<(), AskError> {
    use io::Write as _;
    let mut out = io::stdout().lock();
    let written = out.write_all(text).and_then(|()| match text.last() {
        Some(b'\n') => Ok(()),
        Some(_) | None => out.write_all(b"\n"),
    });
    match written.and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(AskError::Write(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// A text of a stranger for a terminal, which obeys nothing in it.
pub(super) fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for char in text.chars() {
        // What turns the direction of writing would show another text than there is.
        let turns = matches!(char, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if char.is_control() || turns {
            shown.extend(char.escape_default());
        } else {
            shown.push(char);
        }
    }
    shown
}

/// As `1 pod` or `2 pods`.
pub(super) fn counted(count: u64, noun: &str) -> String {
    match (count, noun) {
        (1, _) => format!("1 {noun}"),
        (_, "watch") => format!("{count} watches"),
        (_, _) => format!("{count} {noun}s"),
    }
}

/// Whole seconds, as `1h 2m 3s`; less than a minute to a tenth.
pub(super) fn span(seconds: f64) -> String {
    let seconds = seconds.clamp(0.0, 1e12);
    if seconds < 59.95 {
        return format!("{seconds:.1}s");
    }
    let whole = Duration::from_secs(Duration::from_secs_f64(seconds.round()).as_secs());
    humantime::format_duration(whole).to_string()
}
