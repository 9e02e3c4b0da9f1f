//! What the commands have in common that ask a running relay.

use std::{
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use http::Method;
use serde::de::DeserializeOwned;

use crate::{
    admin::client::{self, CallError, Target},
    config::{AdminAddress, DEFAULT_ADMIN, HostPort},
    net::tls::{Authorities, ClientTls, Paths, Role, TlsError},
};

/// How long an answer is waited for. The relay itself gives up on its loop before that.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which relay is asked, and how the answer is shown.
#[derive(clap::Args, Clone, Debug)]
pub struct AskArgs {
    /// The relay's --admin-address; of several, a Unix socket is asked first
    #[arg(long, value_name = "ADDRESS", default_value = DEFAULT_ADMIN, global = true)]
    #[arg(value_delimiter = ',')]
    #[arg(env = "K8S_RELAY_ADMIN_ADDRESS", hide_env_values = true)]
    pub admin_address: Vec<AdminAddress>,

    /// Ask over TLS, and trust the authorities in this PEM file
    ///
    /// For a relay with --admin-tls-cert. A Unix socket has no TLS.
    #[arg(long, value_name = "PATH", global = true)]
    pub tls_ca: Option<PathBuf>,

    /// Show the relay the certificate chain in this PEM file
    #[arg(
        long,
        value_name = "PATH",
        global = true,
        requires = "tls_ca",
        requires = "key"
    )]
    pub cert: Option<PathBuf>,

    /// Use the private key in this PEM file for --cert
    #[arg(long, value_name = "PATH", global = true, requires = "cert")]
    pub key: Option<PathBuf>,

    /// Print the answer as JSON
    #[arg(long, global = true)]
    pub json: bool,
}

/// Why there is no answer that is wanted. [`AskError::status`] is for each.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// The address is `none`.
    #[error("--admin-address is none (a relay without an admin listener cannot be asked)")]
    Nowhere,
    /// Nobody is there.
    #[error(
        "cannot reach the relay at {place} ({source}). Is it running with this --admin-address?"
    )]
    Unreachable {
        /// Where.
        place: AdminAddress,
        /// What the system says.
        source: io::Error,
    },
    /// There is no answer, or it is none of a relay's.
    #[error("no answer from {place} ({problem}). Is this the relay's --admin-address?")]
    NoAnswer {
        /// Where.
        place: AdminAddress,
        /// What is there instead.
        problem: String,
    },
    /// The files of certificates and keys cannot be used.
    #[error("{0}")]
    Tls(#[from] TlsError),
    /// The relay has no time; nothing was done.
    #[error("the relay at {place} has not done it ({problem}). Try again.")]
    Busy {
        /// Where.
        place: AdminAddress,
        /// In its own words.
        problem: String,
    },
    /// The relay says no.
    #[error("refused: {0}")]
    Refused(String),
    /// The relay does not know what it was asked about.
    #[error("{0}")]
    Unknown(String),
    /// The relay has tried.
    #[error("the step has failed, and nothing has changed ({0})")]
    Failed(String),
    /// It is done, but a restart would not know.
    #[error("done, but not kept ({0}). A restart of the relay would begin in the stage before.")]
    NotKept(String),
    /// It goes on.
    #[error("the step is still in progress. See `k8s-relay status`.")]
    InProgress,
    /// It was not taken, because one before goes on.
    #[error("not taken: {0}. See `k8s-relay status`.")]
    NotYet(String),
    /// The output cannot be written.
    #[error("cannot write ({0})")]
    Write(#[source] io::Error),
}

/// The exit status of each ending, as the help describes it.
macro_rules! with_exit_status {
    ($examples:literal) => {
        concat!(
            $examples,
            "\n\n\
Exit status: 0 done; 1 refused, failed or not found; 2 for a wrong command line;
3 when no relay answers; 4 when it is done but not kept (--state-file), or still in progress."
        )
    };
}
pub(super) use with_exit_status;

impl AskError {
    /// The exit status of the command.
    pub fn status(&self) -> u8 {
        match self {
            Self::Refused(_) | Self::Unknown(_) | Self::Failed(_) | Self::Write(_) => 1,
            Self::Nowhere | Self::Tls(_) => 2,
            Self::Unreachable { .. } | Self::NoAnswer { .. } | Self::Busy { .. } => 3,
            Self::NotKept(_) | Self::InProgress | Self::NotYet(_) => 4,
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
        let mut unreachable = None;
        for (place, target) in self.targets().await? {
            let asked = client::call(&target, method.clone(), path, PATIENCE).await;
            let place = place.clone();
            let error = match asked {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            return Err(match error {
                CallError::Unreachable(source) => {
                    // Perhaps at the next one; else the first one is what was meant.
                    unreachable.get_or_insert(AskError::Unreachable { place, source });
                    continue;
                }
                CallError::Refused(why) => AskError::Refused(why),
                CallError::Unknown(what) => AskError::Unknown(what),
                CallError::InProgress(why) => AskError::NotYet(why),
                CallError::Failed(why) => AskError::Failed(why),
                CallError::Busy(problem) => AskError::Busy { place, problem },
                CallError::TooSlow(_) | CallError::Stranger(_) | CallError::NoTls(_) => {
                    AskError::NoAnswer {
                        problem: error.to_string(),
                        place,
                    }
                }
            });
        }
        Err(unreachable.unwrap_or(AskError::Nowhere))
    }

    /// Where to ask, in this order: the state is changed over a socket if there is one.
    async fn targets(&self) -> Result<Vec<(&AdminAddress, Target)>, AskError> {
        let mut targets = Vec::new();
        for address in &self.admin_address {
            match address {
                AdminAddress::None => targets.clear(),
                AdminAddress::Tcp(HostPort { host, port }) => {
                    // Where the relay listens on all addresses, this machine's own will do.
                    let host = match host.as_str() {
                        "0.0.0.0" => "127.0.0.1",
                        "::" => "::1",
                        other => other,
                    };
                    let target = match self.tls(host).await? {
                        Some(tls) => Target::Tls(host.to_owned(), *port, tls),
                        None => Target::Tcp(host.to_owned(), *port),
                    };
                    targets.push((address, target));
                }
                AdminAddress::Unix(path) => {
                    targets.push((address, Target::Unix(PathBuf::from(path))));
                }
            }
        }
        targets.sort_by_key(|(_, target)| !matches!(target, Target::Unix(_)));
        Ok(targets)
    }

    /// TLS with this host, if it is wanted.
    async fn tls(&self, host: &str) -> Result<Option<ClientTls>, TlsError> {
        let identity = self.cert.clone().zip(self.key.clone());
        tls_with(self.tls_ca.as_deref(), identity, host).await
    }
}

/// TLS with a relay on this host, if there is an authority to trust.
pub(super) async fn tls_with(
    authority: Option<&Path>,
    identity: Option<(PathBuf, PathBuf)>,
    host: &str,
) -> Result<Option<ClientTls>, TlsError> {
    let Some(authority) = authority else {
        return Ok(None);
    };
    let role = Role {
        label: "command",
        words: "to the relay",
    };
    let paths = Paths {
        identity,
        authorities: Authorities::File(authority.to_owned()),
    };
    ClientTls::load(role, paths, host).await.map(Some)
}

/// Writes a text with colours, if they would be seen.
pub(super) fn print_styled(text: &str) -> Result<(), AskError> {
    if crate::logging::is_coloured(&io::stdout()) {
        return print(text.as_bytes());
    }
    print(anstream::adapter::strip_str(text).to_string().as_bytes())
}

/// Whether progress can be shown in one place of standard error.
pub(super) fn shows_progress() -> bool {
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    io::stderr().is_terminal() && !dumb
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
