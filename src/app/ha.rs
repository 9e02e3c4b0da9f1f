//! The election among replicas, as a task of the relay (D19).

use std::{fs, path::Path};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{AppError, at_leisure, end::Part, spawn, watches};
use crate::{
    config::{Config, HaConfig},
    driver::Lead,
    ha::{Election, Elector, Fence, Order, Report, Settings, Standing, clock},
    reducer::host,
    source::native::{self, NativeError},
};

/// An election that runs, or none.
pub(super) struct Replica {
    /// For the loop.
    pub(super) lead: Option<Lead>,
    /// Before the connection to the reducer.
    pub(super) fence: Option<Fence>,
    /// For people.
    pub(super) standing: Option<watch::Receiver<Standing>>,
    pub(super) election: Part<()>,
    /// Cancelled when the Lease is to be handed over.
    pub(super) hand_over: CancellationToken,
}

/// Where a pod finds the name of its namespace.
const NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// Begins to take part, if that is asked for.
///
/// # Errors
/// The system has no clock that goes on in suspend, or what says how to reach the API server is
/// missing or wrong.
pub(super) async fn start(config: &Config) -> Result<Replica, AppError> {
    let hand_over = CancellationToken::new();
    if !config.ha.is_on() {
        return Ok(Replica {
            lead: None,
            fence: None,
            standing: None,
            election: Part::none("election"),
            hand_over,
        });
    }
    clock::check().map_err(|error| AppError::Clock(error.into()))?;
    let HaConfig {
        name,
        namespace,
        settings,
        mode: _,
    } = config.ha.clone();
    let namespace = match namespace {
        Some(namespace) => namespace,
        None => at_leisure("reading of the namespace", own_namespace).await?,
    };
    let limits = native::Limits {
        plugin: config.native.credentials_timeout,
        ..native::Limits::default()
    };
    let server = native::connect(&watches::access(&config.native), limits)
        .await
        .map_err(NativeError::Connect)?;
    let hostname = host::hostname();
    let hostname = String::from_utf8_lossy(&hostname);
    let identity = format!("{hostname}_{:016x}", fastrand::u64(..));
    let elector = Elector::new(Settings {
        identity,
        ..settings
    });
    let lease = format!("{namespace}/{name}");
    let (orders, ordered) = watch::channel(Order::default());
    let (reports, reported) = watch::channel(Report::default());
    let (standing, stands) = watch::channel(Standing::new(&elector, lease));
    let fence = Fence::default();
    let election = Election {
        client: server.client(),
        namespace,
        name,
        elector,
        fence: fence.clone(),
        orders,
        reports: reported,
        standing,
        leave: hand_over.clone(),
    };
    Ok(Replica {
        lead: Some(Lead {
            orders: ordered,
            reports,
        }),
        fence: Some(fence),
        standing: Some(stands),
        election: Part::new("election", spawn(election.run())),
        hand_over,
    })
}

fn own_namespace() -> String {
    let of_pod = fs::read_to_string(Path::new(NAMESPACE)).unwrap_or_default();
    match of_pod.trim() {
        "" => "default".to_owned(),
        namespace => namespace.to_owned(),
    }
}
