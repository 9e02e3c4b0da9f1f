//! Puts the modules together: opens what must be open, joins every task, ends in order.
//!
//! How it ends is in [`end`]. Imported by nobody but the binary, the demo and tests.

mod admin;
mod check;
mod end;
mod enrich;
mod first_stream;
mod ha;
mod loop_thread;
mod metadata;
mod migrating;
mod signals;
#[cfg(test)]
mod tests;
mod tls;
mod watches;

use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    runtime::Handle,
    sync::{mpsc, watch},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::{info, warn};

use self::{
    admin::Admin, end::Part, enrich::Enrichment, signals::Signals, tls::Tls,
    watches::WatchSupervisor,
};
pub use self::{check::check, loop_thread::LoopThread, metadata::MetadataService};
use crate::{
    admin::Sources,
    announce::WindowConfig,
    config::{AdminAddress, CloudConfig, Config, ConfigError, Heartbeat, HostPort, Source},
    driver::{self, Driver, query::DriverHandle},
    enrich::{node_name::UnknownNode, profile::ProfileSetError},
    feeds::{Settings, Timeouts},
    matcher::Reannounce,
    migrate::{Numbered, Stage, StateFileError, Written},
    net::{
        BoundAddr, ListenError, Listener,
        grpc::ServeError,
        tls::{ClientTls, ServerTls, TlsError},
    },
    reducer::{
        self, Reducer,
        cloud::{self, CloudNews, CloudOptions},
    },
    seed,
    source::{
        legacy::{self, merge::Merging},
        native,
    },
    stores::Reader,
};

/// Between two attempts to write a state file.
const KEEP_AGAIN: Duration = Duration::from_secs(10);

/// Batches of all streams together that wait for the driver. Beyond it HTTP/2 flow control
/// holds the watchers back.
const WAITING_BATCHES: usize = 32;

/// Why the relay did not start, or ended before it was asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppError {
    /// The listening address cannot be used.
    #[error("cannot listen on {address} (see --server-address)")]
    Listen {
        /// As it was asked for.
        address: HostPort,
        /// What the system says.
        source: ListenError,
    },
    /// The address of the admin listener cannot be used.
    #[error("cannot listen on {address} (set --admin-address; `none` disables the listener)")]
    Admin {
        /// As it was asked for.
        address: AdminAddress,
        /// What the system says.
        source: ListenError,
    },
    /// The address at which questions about metadata are taken cannot be used.
    #[error("cannot listen on {address} (see --enrich-address)")]
    Enrichment {
        /// As it was asked for.
        address: AdminAddress,
        /// What the system says.
        source: ListenError,
    },
    /// The settings of enrichment cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The profiles of enrichment are not valid.
    #[error(transparent)]
    Profiles(#[from] ProfileSetError),
    /// A profile is of the node that the process runs on, and nobody knows it.
    #[error(transparent)]
    Node(#[from] UnknownNode),
    /// The way to the reducer cannot be set up.
    #[error(transparent)]
    Reducer(#[from] reducer::ReducerError),
    /// The stage of the migration cannot be read or kept.
    #[error(transparent)]
    State(#[from] StateFileError),
    /// A relay announces pods of some source.
    #[error("with --source none there is nothing to announce")]
    NoSource,
    /// Certificates and keys cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Without such a clock nobody knows how long a Lease has not changed.
    #[error("--ha needs the clock CLOCK_BOOTTIME, which this system does not have")]
    Clock(#[source] io::Error),
    /// Signals cannot be waited for.
    #[error("cannot wait for signals")]
    Signals(#[source] io::Error),
    /// The `Collect` server ended by itself.
    #[error("the Collect server has ended")]
    Source(#[from] ServeError),
    /// The watches cannot be started, or have ended by themselves.
    #[error(transparent)]
    Watches(#[from] native::NativeError),
    /// A task that should not end has ended or panicked.
    #[error("the {0} has ended unexpectedly")]
    TaskEnded(&'static str),
    /// It was asked to end, and something was left undone.
    #[error("the relay did not end cleanly: {0}")]
    Unclean(String),
}

/// Runs the relay until SIGTERM or SIGINT, or SIGHUP if there is nothing to read again: neither
/// profiles nor certificates. A second one ends it at once. The loop and the watches run on
/// `loop_thread`.
///
/// # Errors
///
/// When something cannot be opened at the start, a part ends by itself, or the end leaves
/// something undone.
pub async fn run(config: Config, loop_thread: &LoopThread) -> Result<(), AppError> {
    let has_profiles = config.enrich.is_on() && config.enrich.file.is_some();
    let reloads = has_profiles || tls::hangup_rereads(&config);
    let signals = Signals::count(reloads).map_err(AppError::Signals)?;
    if config.source == Source::None {
        let service = tokio::select! {
            service = MetadataService::start_reloading(config, signals.reloads()) => service?,
            () = signals.ends(1) => return Ok(()),
        };
        return service.run_until(signals.ends(1)).await;
    }
    let relay = tokio::select! {
        relay = Relay::start_on(config, loop_thread.handle(), signals.reloads()) => relay?,
        // Nothing was announced yet.
        () = signals.ends(1) => return Ok(()),
    };
    relay.run_while(signals.ends(1), signals.ends(2)).await
}

/// A relay that runs.
pub struct Relay {
    address: SocketAddr,
    stop: CancellationToken,
    server: Part<Result<(), ServeError>>,
    watches: Part<Result<(), native::NativeError>>,
    objects: Reader,
    driver: Part<driver::Ended>,
    /// Ends the driver although sources go on.
    leave: CancellationToken,
    /// Writes the state file, if there is one.
    keeper: Part<Result<(), StateFileError>>,
    /// Reads certificates and keys again, if there are any.
    certificates: Part<()>,
    /// Takes part in the election of a leader, if there is one.
    election: Part<()>,
    /// Has it hand over.
    hand_over: CancellationToken,
    admin: Part<()>,
    admins: Vec<BoundAddr>,
    enrichment: Option<Enrichment>,
    /// Asks the metadata service of the cloud. It ends when there is nothing more to ask.
    _collecting: AbortOnDropHandle<()>,
    /// How long its end may take.
    limits: end::Limits,
}

impl Relay {
    /// Opens everything and starts to serve, all of it on the caller's runtime. The reducer need
    /// not be there yet.
    ///
    /// # Errors
    ///
    /// When there is no source, the address cannot be bound, the recording cannot be opened, the
    /// state file cannot be read or replaced, or what says how to reach the API server is missing
    /// or wrong.
    pub async fn start(config: Config) -> Result<Self, AppError> {
        // Nobody sends it signals.
        let (_, hangups) = watch::channel(0);
        Self::start_on(config, &Handle::current(), hangups).await
    }

    /// The same, with the loop and the watches on `loop_runtime`. Profiles, certificates and keys
    /// are read again when `hangups` moves.
    async fn start_on(
        config: Config,
        loop_runtime: &Handle,
        hangups: watch::Receiver<u64>,
    ) -> Result<Self, AppError> {
        let tls = Tls::load(&config).await?;
        let stop = CancellationToken::new();
        let watched = watches::options(&config.native);
        let mut sources = Sources {
            native: Arc::new(native::Counters::new(&watched.kinds)),
            unmatched: Arc::new(native::Unmatched::of(&watched)),
            tls: tls.materials.clone(),
            handshakes: tls.handshakes.to_vec(),
            ..Sources::default()
        };
        let source = config.source.stage().ok_or(AppError::NoSource)?;
        let (kept, state) = {
            let config = config.clone();
            at_leisure("reading of the state file", move || {
                migrating::state(&config, source)
            })
            .await??
        };
        let opened = enrich::open(&config, &tls).await?;
        let (supervisor, control) = WatchSupervisor::new(
            config.native.clone(),
            Arc::clone(&sources.native),
            Arc::clone(&sources.unmatched),
            opened.as_ref().map(|opened| opened.registry.clone()),
            stop.clone(),
        );
        let (supervisor, watched) = if state.stage.watches() {
            // Its connections belong to the runtime that makes them.
            let started = spawn_on(loop_runtime, supervisor.started());
            let (supervisor, watched) = started
                .await
                .map_err(|_| AppError::TaskEnded("watches"))??;
            (supervisor, Some(watched))
        } else {
            (supervisor, None)
        };
        let replica = ha::start(&config).await?;
        sources.standing = replica.standing;
        let (facts, known) = watch::channel(None);
        let cloud_options = cloud_options(&config);
        let reducer = {
            let options = reducer::Options {
                cloud: CloudNews::new(known, now().checked_add(cloud_options.budget())),
                fence: replica.fence,
                ..reducer_options(&config, tls.reducer.clone())
            };
            at_leisure("opening of the recording", move || Reducer::new(options)).await??
        };
        sources.lag = reducer.lag_seconds();
        let (address, listeners) = listen(&config.server_address).await?;
        let [collecting, asking, _] = tls.handshakes.clone();
        let secured = |one: Listener| one.secured(tls.collect.clone(), collecting.clone());
        let listeners: Vec<_> = listeners.into_iter().map(secured).collect();
        let version = env!("CARGO_PKG_VERSION");
        for address in bound(&listeners) {
            info!(%address, reducer = %config.intake, version, "listening");
        }
        warn_of_others(&listeners);
        let (queried, queries) = DriverHandle::new();
        let enrichment = match opened {
            Some(opened) => {
                let counters = Arc::clone(&sources.questions);
                let mut enrichment = opened
                    .start(counters, stop.clone(), hangups.clone())
                    .await?;
                enrichment.follow(queried.clone(), stop.clone());
                Some(enrichment)
            }
            None => None,
        };
        let sources = Sources {
            metadata: enrichment.as_ref().map(Enrichment::shown),
            ..sources
        };
        let secure = (tls.admin, asking);
        let addresses = &config.admin_address;
        let admin = admin::start(addresses, queried, sources.clone(), secure, stop.clone()).await?;
        // Neither lists nor ports wait for the cloud; the first connection to the reducer does.
        let collecting = spawn(cloud::collect(cloud_options, facts));
        let (inputs, outputs) = mpsc::channel(WAITING_BATCHES);
        let (alone, native_alone) = watch::channel(state.stage == Stage::Native);
        let serving = legacy::Options {
            native_alone,
            merging: match config.reannounce {
                Reannounce::Never => Merging::NothingClears,
                Reannounce::OnChange => Merging::WholeObject,
            },
            seed: seed::of_process(),
            ..legacy::Options::default()
        };
        let (states, changes) = watch::channel(Numbered {
            number: 0,
            state: state.clone(),
        });
        let stages = changes.clone();
        let (keeper, written) = match kept {
            Some(file) => {
                let (writes, written) = watch::channel(Written::default());
                let keeper = spawn(file.keep(changes, writes, KEEP_AGAIN));
                (Part::new("keeper of the state file", keeper), Some(written))
            }
            None => (Part::none("keeper of the state file"), None),
        };
        let options = driver::Options {
            settings: settings(&config, state.stage),
            watches: watched,
            migrating: migrating::migrating(
                &config, source, state, states, written, alone, control,
            ),
        };
        let leave = CancellationToken::new();
        let driver = Driver::new(options, reducer, outputs)
            .answering(queries)
            .leaving_at(leave.clone())
            .led_by(replica.lead);
        let objects = driver.reader().alongside(sources.unmatched.objects());
        let known = objects.clone();
        let serving = legacy::Options {
            elsewhere: legacy::Elsewhere::new(move |uid| known.pod(uid)),
            ..serving
        };
        let counters = Arc::clone(&sources.legacy);
        let server = legacy::serve(listeners, inputs, stop.clone(), serving, sources.legacy);
        let server = async move {
            let overdue = first_stream::overdue(first_stream::USUAL_WAIT, &counters, stages);
            first_stream::expected(server, overdue).await
        };
        let certificates = tls::keeping(tls.materials, hangups);
        let (admin, admins) = match admin {
            Some(Admin { addresses, task }) => (Part::new("admin listener", task), addresses),
            None => (Part::none("admin listener"), Vec::new()),
        };
        Ok(Self {
            address,
            stop,
            server: Part::new("Collect server", spawn(server)),
            watches: Part::new("watches", spawn_on(loop_runtime, supervisor.run())),
            objects,
            driver: Part::new("driver", spawn_on(loop_runtime, driver.run())),
            leave,
            keeper,
            certificates,
            limits: match config.ha.is_on() {
                true => end::Limits::with_handover(),
                false => end::Limits::default(),
            },
            election: replica.election,
            hand_over: replica.hand_over,
            admin,
            admins,
            enrichment,
            _collecting: collecting,
        })
    }

    /// Looks at what the active feed knows, and at the kinds that the matcher does not use, from any
    /// thread and without the loop.
    pub fn objects(&self) -> Reader {
        self.objects.clone()
    }

    /// Where `Collect` is served.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the first admin listener is, if there is one.
    pub fn admin(&self) -> Option<&BoundAddr> {
        self.admins.first()
    }

    /// Where questions about metadata are answered, if they are.
    pub fn enrichment(&self) -> Option<&BoundAddr> {
        self.enrichment.as_ref().map(|service| &service.address)
    }

    /// Where the admin listeners are.
    pub fn admins(&self) -> &[BoundAddr] {
        &self.admins
    }
}

/// Does at the start what may wait for a disk, where it holds up nothing but the start.
async fn at_leisure<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, AppError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| AppError::TaskEnded(what))
}

fn settings(config: &Config, stage: Stage) -> Settings {
    Settings {
        active: stage.active(),
        on_reconnect: config.reconnect,
        handover: config.stream_handover,
        timeouts: Timeouts {
            silence: config.stream_silence,
            ..Timeouts::default()
        },
        windows: WindowConfig {
            owner_wait: config.native.owner_wait,
            owner_retention: config.native.owner_retention,
            ..WindowConfig::default()
        },
        relist_resync: config.native.relist_resync,
        escalate: config.escalate,
        reannounce: config.reannounce,
        seed: seed::of_process(),
        ..Settings::default()
    }
}

fn reducer_options(config: &Config, tls: Option<ClientTls>) -> reducer::Options {
    let HostPort { host, port } = &config.intake;
    let identity = reducer::Identity {
        hostname: reducer::host::hostname(),
        cpu_cores: reducer::host::cpu_cores(),
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
        layer: tls.map(reducer::Layer::tls).unwrap_or_default(),
        ..reducer::Options::new(host, *port, identity)
    }
}

fn cloud_options(config: &Config) -> CloudOptions {
    let CloudConfig {
        cloud,
        aws_timeout,
        aws,
        gcp,
    } = config.cloud.clone();
    CloudOptions {
        aws,
        gcp,
        ..CloudOptions::new(cloud, aws_timeout)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the wait for the cloud counts from the start"
)]
fn now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// Listens on every address of the name, as the legacy relay does. Gives the first as well.
async fn listen(wanted: &HostPort) -> Result<(SocketAddr, Vec<Listener>), AppError> {
    let failed = |source| AppError::Listen {
        address: wanted.clone(),
        source,
    };
    let listeners = Listener::each_tcp(&wanted.host, wanted.port).await;
    let listeners = listeners.map_err(failed)?;
    let first = bound(&listeners).find_map(|one| match one {
        BoundAddr::Tcp(address) => Some(address),
        BoundAddr::Unix(_) => None,
    });
    let first = first.ok_or_else(|| failed(io::Error::from(io::ErrorKind::NotFound).into()))?;
    Ok((first, listeners))
}

fn bound(listeners: &[Listener]) -> impl Iterator<Item = BoundAddr> {
    listeners.iter().filter_map(|one| one.address().ok())
}

/// A client that reaches `Collect` can announce and delete pods, unless clients prove who they are.
fn warn_of_others(listeners: &[Listener]) {
    let open = listeners.iter().filter(|one| {
        let knows_clients = one.tls().is_some_and(ServerTls::knows_clients);
        one.address().is_ok_and(|address| address.is_open()) && !knows_clients
    });
    let mut has_tls = false;
    let mut addresses = Vec::new();
    for address in open
        .inspect(|one| has_tls |= one.tls().is_some())
        .map(Listener::address)
    {
        addresses.extend(address.map(|address| address.to_string()));
    }
    let addresses = addresses.join(" ");
    match (addresses.is_empty(), has_tls) {
        (true, _) => {}
        (false, false) => warn!(
            addresses,
            "watchers are served without TLS and without authentication on an address that other \
             machines may reach: whoever reaches it can announce and delete pods. Keep it within the \
             pod (127.0.0.1), or allow the watchers alone with a NetworkPolicy"
        ),
        (false, true) => warn!(
            addresses,
            "watchers are served over TLS, but without authentication, on an address that other \
             machines may reach: whoever reaches it can announce and delete pods. Set \
             --server-tls-client-ca, or allow the watchers alone with a NetworkPolicy"
        ),
    }
}

fn spawn<T: Send + 'static>(
    task: impl Future<Output = T> + Send + 'static,
) -> AbortOnDropHandle<T> {
    spawn_on(&Handle::current(), task)
}

/// The task is joined in [`Relay::run_until`], or ended with the [`Relay`].
fn spawn_on<T: Send + 'static>(
    runtime: &Handle,
    task: impl Future<Output = T> + Send + 'static,
) -> AbortOnDropHandle<T> {
    AbortOnDropHandle::new(runtime.spawn(task))
}
