//! The metadata service of a process: its watches, its listener, its profiles and their reload.
//!
//! It works in every stage, next to the relay: whatever happens to it, and to the API server, is
//! no failure of the relay. Only with `--source none` settings that lead to no API server stop the
//! start.

mod discovery;
mod reload;
mod status;

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::{info, warn};

use self::{discovery::Discovery, reload::Reloader, status::Shown};
use super::{AppError, end::Part, spawn, tls::Tls, watches};
use crate::{
    admin::{
        Metadata,
        probes::{Probe, Query},
    },
    config::{AdminAddress, Config, EnrichConfig, Source},
    driver::query::{DriverHandle, DriverQuery},
    enrich::{profile::ProfileSet, service::Service},
    enrich_api,
    net::{BoundAddr, Listener},
    registry::{self, NativeEdge, Registry},
    seed,
    source::native::{self, NativeError},
};

/// Bytes that documents in the cache take, about.
const CACHE_BYTES: usize = 64 << 20;

/// How long the start waits for what is to be found out of the API server. It goes on behind it.
const DISCOVERY: Duration = Duration::from_secs(3);

/// The same next to a relay, which does not wait for it.
const DISCOVERY_OF_RELAY: Duration = Duration::from_millis(500);

/// How often it is looked whether the process is ready, for the health service of gRPC.
const LOOK: Duration = Duration::from_millis(500);

/// A metadata service that runs.
pub(super) struct Enrichment {
    pub(super) address: BoundAddr,
    registry: Registry,
    shown: Arc<Shown>,
    ready: watch::Sender<bool>,
    readiness: Option<AbortOnDropHandle<()>>,
    serving: Part<()>,
    reloading: Part<()>,
}

/// A metadata service that listens and has its registry, and does not watch or answer yet.
pub(super) struct Opened {
    settings: EnrichConfig,
    source: Source,
    listeners: Vec<Listener>,
    address: BoundAddr,
    profiles: ProfileSet,
    discovery: Discovery,
    pub(super) registry: Registry,
}

/// Opens it, if questions are to be answered.
///
/// # Errors
/// The address cannot be had, or is open to other machines. With `--source none` also: there is
/// no way to an API server.
pub(super) async fn open(config: &Config, tls: &Tls) -> Result<Option<Opened>, AppError> {
    let settings = &config.enrich;
    let Some(listeners) = listen(&settings.address).await? else {
        return Ok(None);
    };
    let address = first_address(settings, &listeners)?;
    let [_, _, handshakes] = &tls.handshakes;
    let secured = |one: Listener| one.secured(tls.enrichment.clone(), Arc::clone(handshakes));
    let listeners = listeners.into_iter().map(secured).collect();
    let profiles = settings.profiles().map_err(AppError::Profiles)?;
    let access = access(config, &profiles);
    let limits = native::Limits {
        plugin: config.native.credentials_timeout,
        ..native::Limits::default()
    };
    if let Err(error) = native::check(&access, limits).await {
        match config.source {
            Source::None => return Err(NativeError::Connect(error).into()),
            Source::Legacy | Source::Shadow | Source::ShadowNative | Source::Native => warn!(
                %error,
                "metadata is not known yet: the relay cannot reach the API server, and tries again"
            ),
        }
    }
    let edge = NativeEdge::new(access.clone(), limits, watches::options(&config.native));
    let registry = Registry::new(
        registry::Settings {
            linger: longest_linger(&profiles),
            retry: config.native.retry.slowest,
            retention: profiles.retention(),
            namespaces: config.native.namespaces.clone(),
            seed: seed::of_process(),
        },
        edge,
    );
    Ok(Some(Opened {
        settings: settings.clone(),
        source: config.source,
        listeners,
        address,
        profiles,
        discovery: Discovery::new(access, limits),
        registry,
    }))
}

impl Opened {
    /// Starts it, and counts there what it is asked. `hangups` moves with each SIGHUP.
    ///
    /// # Errors
    /// With `--source none`: a profile is of a node that nobody knows.
    pub(super) async fn start(
        self,
        counters: Arc<enrich_api::Counters>,
        stop: CancellationToken,
        hangups: watch::Receiver<u64>,
    ) -> Result<Enrichment, AppError> {
        let Self {
            settings,
            source,
            listeners,
            address,
            profiles,
            discovery,
            registry,
        } = self;
        // What is not found by then is looked for again behind the start.
        let patience = match source {
            Source::None => DISCOVERY,
            Source::Legacy | Source::Shadow | Source::ShadowNative | Source::Native => {
                DISCOVERY_OF_RELAY
            }
        };
        let found = timeout(patience, discovery.look(&profiles)).await;
        let found = found.unwrap_or_default();
        match found.unknown_node(&profiles) {
            Some(unknown) if source == Source::None => return Err(unknown.into()),
            Some(unknown) => warn!(%unknown, "profiles of a node wait until it is known"),
            None => {}
        }
        registry.apply(&found.watchable(&profiles));
        let service = Arc::new(Service::new(
            registry.clone(),
            found.resolve(&profiles),
            found.identity(&profiles),
            seed::of_process(),
            CACHE_BYTES,
        ));
        info!(%address, "enrichment listening");
        let shown = Arc::new(Shown::new(address.to_string(), Arc::clone(&service)));
        let (ready, is_ready) = watch::channel(false);
        let reloader = Reloader {
            settings,
            registry: registry.clone(),
            service: Arc::clone(&service),
            shown: Arc::clone(&shown),
            discovery,
            found,
            profiles,
        };
        let serving = enrich_api::serve(
            listeners,
            Arc::clone(&service),
            is_ready,
            stop.clone(),
            enrich_api::Limits::default(),
            counters,
        );
        Ok(Enrichment {
            address,
            registry,
            shown,
            ready,
            readiness: None,
            serving: Part::new("metadata service", spawn(serving)),
            reloading: Part::new("reload of profiles", spawn(reloader.run(hangups, stop))),
        })
    }
}

impl Enrichment {
    /// For the admin listener.
    pub(super) fn shown(&self) -> Arc<dyn Metadata> {
        Arc::clone(&self.shown) as Arc<dyn Metadata>
    }

    /// Keeps the health service of gRPC up to date, by what the loop says, until `stop`.
    pub(super) fn follow(&mut self, driver: DriverHandle, stop: CancellationToken) {
        let (ready, shown) = (self.ready.clone(), Arc::clone(&self.shown));
        self.readiness = Some(spawn(async move {
            let mut look = interval(LOOK);
            look.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while !stop.is_cancelled() {
                tokio::select! {
                    _ = look.tick() => {}
                    () = stop.cancelled() => {}
                }
                let status = driver.ask(LOOK, DriverQuery::Status).await;
                let status = status.map(|mut status| {
                    status.enrichment = Some(shown.status());
                    status
                });
                let said = status.as_deref().map_err(ToString::to_string);
                let checks = Probe::Ready.checks(said, stop.is_cancelled());
                let passed = Probe::Ready.result(&checks, &Query::default()).passed;
                ready.send_if_modified(|ready| std::mem::replace(ready, passed) != passed);
            }
        }));
    }

    /// Why a part of it has ended by itself.
    pub(super) async fn failed(&mut self) -> AppError {
        tokio::select! {
            failure = self.serving.failed() => failure,
            failure = self.reloading.failed() => failure,
        }
    }

    /// Ends its watches; its listener ends when the relay's `stop` is cancelled.
    pub(super) async fn end(&mut self) {
        tokio::join!(
            async { drop(self.serving.over().await) },
            async { drop(self.reloading.over().await) },
            self.registry.stop(),
        );
    }
}

/// Listens, if it shall.
async fn listen(address: &AdminAddress) -> Result<Option<Vec<Listener>>, AppError> {
    let listening = match address {
        AdminAddress::None => return Ok(None),
        AdminAddress::Tcp(place) => Listener::each_tcp(&place.host, place.port).await,
        AdminAddress::Unix(path) => Listener::unix(path).map(|listener| vec![listener]),
    };
    let failed = |source| AppError::Enrichment {
        address: address.clone(),
        source,
    };
    listening.map(Some).map_err(failed)
}

/// The first of them, when no other machine reaches any.
fn first_address(settings: &EnrichConfig, listeners: &[Listener]) -> Result<BoundAddr, AppError> {
    let mut first = None;
    for listener in listeners {
        let address = listener.address().map_err(|error| AppError::Enrichment {
            address: settings.address.clone(),
            source: error.into(),
        })?;
        // A name may stand for any address.
        settings.may_listen(&address)?;
        first.get_or_insert(address);
    }
    first.ok_or_else(|| AppError::Enrichment {
        address: settings.address.clone(),
        source: std::io::Error::from(std::io::ErrorKind::NotFound).into(),
    })
}

/// `--kubeconfig`, else what the profiles say.
fn access(config: &Config, profiles: &ProfileSet) -> native::Access {
    let access = watches::access(&config.native);
    match (
        &access.kubeconfig,
        profiles.kube_config().map(PathBuf::from),
    ) {
        (None, of_profiles) => native::Access {
            kubeconfig: of_profiles,
            ..access
        },
        (Some(used), Some(other)) if *used != other => {
            let (used, other) = (used.display(), other.display());
            warn!(%used, %other, "`kube_config` of the profiles has no effect: --kubeconfig is given");
            access
        }
        (Some(_), _) => access,
    }
}

fn longest_linger(profiles: &ProfileSet) -> Duration {
    let lingers = profiles
        .profiles
        .iter()
        .map(|(_, profile)| profile.watch_linger);
    lingers.max().unwrap_or_default()
}

/// Why a part of it, if there is one, has ended by itself.
pub(super) async fn failed(enrichment: &mut Option<Enrichment>) -> AppError {
    match enrichment {
        Some(enrichment) => enrichment.failed().await,
        None => std::future::pending().await,
    }
}
