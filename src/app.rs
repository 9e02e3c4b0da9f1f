//! Puts the rooms together: opens what must be open, joins every task, ends in order.
//!
//! The order of the end (SIGTERM, SIGINT): no new calls; every call ends with UNAVAILABLE, every
//! watch ends; what they had told is applied; the reducer gets it all, then FIN. At most
//! [`END_WITHIN`] in all. Imported by nobody but the binary, the demo and tests.

mod admin;
mod migrating;
mod watches;

use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, lookup_host},
    sync::mpsc,
    time::{Instant, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::{info, warn};

use self::{admin::Admin, watches::Watchman};
use crate::{
    admin::{ListenError, Place, Sources},
    config::{self, AdminAddress, Config, Heartbeat, HostPort, Reconnect},
    driver::{self, Driver},
    feeds::{OnReconnect, Settings},
    matcher::{Escalate, Reannounce, Windows},
    migrate::{Stage, StateFile, StateFileError},
    reducer::{self, Reducer},
    source::{legacy, native},
    stores::Reader,
};

/// From the signal to the end of the process, at most.
const END_WITHIN: Duration = Duration::from_millis(4_500);

/// How long the last bytes may take to reach the reducer.
const FLUSH_WITHIN: Duration = Duration::from_secs(3);

/// Between two attempts to write a state file.
const KEEP_AGAIN: Duration = Duration::from_secs(10);

/// Batches of all streams together that wait for the driver. Beyond it HTTP/2 flow control
/// holds the watchers back.
const WAITING_BATCHES: usize = 32;

/// Why the relay did not start, or ended before it was told to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppError {
    /// The listening address cannot be used.
    #[error("cannot listen on {address} (see --server-address)")]
    Listen {
        /// As it was asked for.
        address: HostPort,
        /// What the system says.
        source: io::Error,
    },
    /// The address of the admin listener cannot be used.
    #[error("cannot listen on {address} (see --admin-address; `none` is without)")]
    Admin {
        /// As it was asked for.
        address: AdminAddress,
        /// What the system says.
        source: ListenError,
    },
    /// The way to the reducer cannot be set up.
    #[error(transparent)]
    Reducer(#[from] reducer::ReducerError),
    /// The stage of the migration cannot be read or kept.
    #[error(transparent)]
    State(#[from] StateFileError),
    /// Signals cannot be waited for.
    #[error("cannot wait for signals")]
    Signals(#[source] io::Error),
    /// The `Collect` server ended by itself.
    #[error("the Collect server has ended")]
    Source(#[from] legacy::SourceError),
    /// The watches cannot be started, or have ended by themselves.
    #[error(transparent)]
    Watches(#[from] native::NativeError),
    /// A task that should run for ever has ended or panicked.
    #[error("the {0} has ended unexpectedly")]
    TaskEnded(&'static str),
}

/// Runs the relay until SIGTERM or SIGINT.
///
/// # Errors
///
/// When something cannot be opened at the start, or a part ends by itself.
pub async fn run(config: Config) -> Result<(), AppError> {
    let signal = end_signal().map_err(AppError::Signals)?;
    let relay = Relay::start(config).await?;
    relay.run_until(signal).await
}

/// Looks, without starting anything, at what the start would open and no flag's form tells.
///
/// # Errors
///
/// When the recording could not be opened, or the state file not be read or replaced.
pub fn check(config: &Config) -> Result<(), AppError> {
    if let Some(path) = &config.migrate.state_file {
        StateFile::check(path)?;
    }
    let Some(path) = &config.record else {
        return Ok(());
    };
    reducer::Recorder::check(path).map_err(|source| {
        let path = path.clone();
        AppError::Reducer(reducer::ReducerError::Recording { path, source })
    })
}

/// A relay that runs.
pub struct Relay {
    address: SocketAddr,
    stop: CancellationToken,
    server: AbortOnDropHandle<Result<(), legacy::SourceError>>,
    watches: AbortOnDropHandle<Result<(), native::NativeError>>,
    objects: Reader,
    driver: AbortOnDropHandle<Reducer>,
    /// Writes the state file, if there is one.
    keeper: Option<AbortOnDropHandle<()>>,
    admin: Option<Admin>,
}

impl Relay {
    /// Opens everything and starts to serve. The reducer need not be there yet.
    ///
    /// # Errors
    ///
    /// When the address cannot be bound, the recording cannot be opened, the state file cannot be
    /// read or replaced, or what says how to reach the API server is missing or wrong.
    pub async fn start(config: Config) -> Result<Self, AppError> {
        let stop = CancellationToken::new();
        let sources = Sources::default();
        let (kept, state) = migrating::state(&config)?;
        let (mut watchman, control) = Watchman::new(
            config.native.clone(),
            Arc::clone(&sources.native),
            stop.clone(),
        );
        let watched = if state.stage.watches() {
            Some(watchman.start().await?)
        } else {
            None
        };
        let reducer = Reducer::new(reducer_options(&config))?;
        let (address, listeners) = listen(&config.server_address).await?;
        let version = env!("CARGO_PKG_VERSION");
        for address in listeners.iter().filter_map(|one| one.local_addr().ok()) {
            info!(%address, reducer = %config.intake, version, "listening");
        }
        let (admin, questions) =
            admin::start(&config.admin_address, sources.clone(), stop.clone()).await?;
        let (inputs, outputs) = mpsc::channel(WAITING_BATCHES);
        let server = legacy::serve(
            listeners,
            inputs,
            stop.clone(),
            legacy::Options::default(),
            sources.legacy,
        );
        let (states, changes) = tokio::sync::watch::channel(state.clone());
        let keeper = kept.map(|file| spawn(file.keep(changes, KEEP_AGAIN)));
        let options = driver::Options {
            settings: settings(&config, state.stage),
            watches: watched,
            migrating: migrating::migrating(&config, state, states, control),
        };
        let driver = Driver::new(options, reducer, outputs).asked(questions);
        Ok(Self {
            address,
            stop,
            server: spawn(server),
            watches: spawn(watchman.run()),
            objects: driver.reader(),
            driver: spawn(driver.run()),
            keeper,
            admin,
        })
    }

    /// Looks at what the active feed knows, from any thread and without the loop.
    pub fn objects(&self) -> Reader {
        self.objects.clone()
    }

    /// Where `Collect` is served.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the admin listener is, if there is one.
    pub fn admin(&self) -> Option<&Place> {
        self.admin.as_ref().map(|admin| &admin.place)
    }

    /// Runs until `end` is ready, then ends in order.
    ///
    /// # Errors
    ///
    /// When a part ends by itself before.
    pub async fn run_until(mut self, end: impl Future<Output = ()>) -> Result<(), AppError> {
        tokio::select! {
            () = end => self.end().await,
            ended = &mut self.server => {
                ended.map_err(|_| AppError::TaskEnded("Collect server"))??;
                Err(AppError::TaskEnded("Collect server"))
            }
            ended = &mut self.watches => {
                ended.map_err(|_| AppError::TaskEnded("watches"))??;
                Err(AppError::TaskEnded("watches"))
            }
            () = ended(self.admin.as_mut().map(|admin| &mut admin.task)) => {
                Err(AppError::TaskEnded("admin listener"))
            }
            _ = &mut self.driver => Err(AppError::TaskEnded("driver")),
            () = ended(self.keeper.as_mut()) => Err(AppError::TaskEnded("keeper of the state file")),
        }
    }

    async fn end(self) -> Result<(), AppError> {
        let deadline = now() + END_WITHIN;
        info!("ending: the sources first, then the reducer");
        self.stop.cancel();
        // The server ends when its calls have; the driver when it has taken their last words.
        let sources = timeout_at(deadline, async {
            self.watches
                .await
                .map_err(|_| AppError::TaskEnded("watches"))??;
            self.server
                .await
                .map_err(|_| AppError::TaskEnded("Collect server"))??;
            self.driver.await.map_err(|_| AppError::TaskEnded("driver"))
        });
        let Ok(reducer) = sources.await else {
            warn!("the sources did not end in time");
            return Ok(());
        };
        let mut reducer = reducer?;
        if let Some(keeper) = self.keeper {
            // Nobody changes the stage any more; what it was last is written, or cannot be.
            let _ = timeout_at(deadline, keeper).await;
        }
        let limit = FLUSH_WITHIN.min(deadline.duration_since(now()));
        // It says itself what it could not tell. A FIN that waits behind a slow reader
        // needs no process.
        let _ = timeout_at(deadline, reducer.close(limit)).await;
        if let Some(mut admin) = self.admin {
            // Joined, so that its socket file is gone when the process is.
            admin.task.abort();
            let _ = timeout_at(deadline, &mut admin.task).await;
        }
        Ok(())
    }
}

/// Ready when a task that there is has ended. However it has, it should not have.
async fn ended(task: Option<&mut AbortOnDropHandle<()>>) {
    match task {
        Some(task) => drop(task.await),
        None => std::future::pending().await,
    }
}

fn settings(config: &Config, stage: Stage) -> Settings {
    Settings {
        active: stage.active(),
        on_reconnect: match config.reconnect {
            Reconnect::Replay => OnReconnect::Replay,
            Reconnect::ResetWatcher => OnReconnect::Reset,
        },
        windows: Windows {
            owner_wait: config.native.owner_wait,
            owner_retention: config.native.owner_retention,
            ..Windows::default()
        },
        relist_resync: config.native.relist_resync,
        escalate: match config.escalate {
            config::Escalate::Known => Escalate::Known,
            config::Escalate::Any => Escalate::Any,
        },
        reannounce: match config.reannounce {
            config::Reannounce::Never => Reannounce::Never,
            config::Reannounce::OnChange => Reannounce::OnChange,
        },
        ..Settings::default()
    }
}

fn reducer_options(config: &Config) -> reducer::Options {
    let HostPort { host, port } = &config.intake;
    let greeting = reducer::Facts {
        hostname: reducer::usage::hostname(),
        cpu_cores: reducer::usage::cpu_cores(),
        labels: config.labels.clone(),
    };
    let times = reducer::Times {
        heartbeat: match config.heartbeat {
            Heartbeat::Once => Duration::ZERO,
            Heartbeat::Every(interval) => interval,
        },
        health: config.health_interval,
        ..reducer::Times::default()
    };
    let record = config.record.clone();
    reducer::Options {
        times,
        record,
        ..reducer::Options::new(host, *port, greeting)
    }
}

/// Listens on every address of the name, as the legacy relay does: `localhost` often has two,
/// and a watcher may call either. Gives the first beside all; they have one port.
async fn listen(wanted: &HostPort) -> Result<(SocketAddr, Vec<TcpListener>), AppError> {
    let failed = |source| AppError::Listen {
        address: wanted.clone(),
        source,
    };
    let name = (wanted.host.as_str(), wanted.port);
    let mut first: Option<SocketAddr> = None;
    let mut listeners = Vec::new();
    let mut unusable = io::Error::from(io::ErrorKind::NotFound);
    for mut address in lookup_host(name).await.map_err(failed)? {
        // Matters for port 0, which is another one each time.
        address.set_port(first.map_or(wanted.port, |first| first.port()));
        match TcpListener::bind(address).await {
            Ok(listener) => {
                if first.is_none() {
                    first = Some(listener.local_addr().map_err(failed)?);
                }
                listeners.push(listener);
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(failed(error)),
            // The name may have an address of a family that this machine does not use.
            Err(error) => unusable = error,
        }
    }
    match first {
        Some(first) => Ok((first, listeners)),
        None => Err(failed(unusable)),
    }
}

/// Ready at the first SIGTERM or SIGINT. The handlers stand when this returns.
fn end_signal() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut term, mut int) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    Ok(async move {
        tokio::select! {
            _ = term.recv() => info!("SIGTERM"),
            _ = int.recv() => info!("SIGINT"),
        }
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "the end of the process is timed here"
)]
fn now() -> Instant {
    Instant::now()
}

#[expect(
    clippy::disallowed_methods,
    reason = "joined in Relay::run_until, or ended with the Relay"
)]
fn spawn<T: Send + 'static>(
    task: impl Future<Output = T> + Send + 'static,
) -> AbortOnDropHandle<T> {
    AbortOnDropHandle::new(tokio::spawn(task))
}
