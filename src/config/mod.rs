//! Flags, variables and the YAML file, in their final types.
//!
//! Laws: a setting comes from its flag, else its variable, else the file, else its
//! default (D13); an empty variable is an unset one; of a repeated flag the last counts.
//! A bad value or file stops the start with one line (D12); nothing is adjusted silently.
//!
//! Absent here: name resolution, sockets, and every other room. Only [`crate::app`] and
//! the binary read a [`Config`]; they hand single values to the rooms.

mod admin_args;
mod args;
mod log_args;
mod migrate_args;
mod selector;
mod values;
mod yaml;

use std::{collections::BTreeMap, fmt, fs, io, path::PathBuf, time::Duration};

pub use admin_args::{AdminAddress, AdminAddresses, AdminArgs, DEFAULT_ADMIN};
pub use args::{NativeArgs, PodArgs, ReducerArgs, RelayArgs, SourceArgs};
pub use log_args::LogArgs;
pub use migrate_args::{MigrateArgs, MigrateConfig};
pub use values::{
    Cloud, Containers, Encoder, Escalate, Heartbeat, HostPort, Lists, Migrate, Reannounce,
    Reconnect, Source, ValueError,
};
pub use yaml::{File, IntakeSection, MAX_FILE_BYTES, Warning, YamlError, parse};

use crate::logging::LoggingConfig;

/// Where the reducer is assumed when nothing names it (spec 15.2).
const DEFAULT_INTAKE: (&str, u16) = ("127.0.0.1", 8000);

/// Everything the relay needs to know before it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Which source is active at the start.
    pub source: Source,
    /// Where `Collect` is served; names are resolved when it is bound, port 0 is any free one.
    pub server_address: HostPort,
    /// The reducer; names are resolved at each attempt (D5).
    pub intake: HostPort,
    /// How the stream to the reducer is coded.
    pub encoder: Encoder,
    /// When heartbeats are sent.
    pub heartbeat: Heartbeat,
    /// Time between two reports of health and resource usage; at least 10 ms.
    pub health_interval: Duration,
    /// How our own watches are made.
    pub native: NativeConfig,
    /// How a migration from old watchers to our own watches goes.
    pub migrate: MigrateConfig,
    /// What follows when a told pod changes (D14).
    pub reannounce: Reannounce,
    /// Which controllers of ReplicaSets and Jobs pods are told under (D9).
    pub escalate: Escalate,
    /// What follows after the reducer's connection was lost (D5).
    pub reconnect: Reconnect,
    /// Where the cloud part of the greeting comes from.
    pub cloud: Cloud,
    /// Budget of each round of AWS metadata (spec 15.5).
    pub aws_timeout: Duration,
    /// Labels of the greeting in bytewise order of their keys.
    pub labels: BTreeMap<String, String>,
    /// Where probes, metrics and operators find this process (D15).
    pub admin_address: AdminAddresses,
    /// The file that takes a copy of everything sent to the reducer.
    pub record: Option<PathBuf>,
    /// What is logged, and where.
    pub logging: LoggingConfig,
}

/// Our own watches of the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NativeConfig {
    /// The kubeconfig; `None`: where every Kubernetes tool looks.
    pub kubeconfig: Option<PathBuf>,
    /// The context in it; `None`: the current one.
    pub context: Option<String>,
    /// The namespaces to watch, without duplicates; none: all.
    pub namespaces: Vec<String>,
    /// The label selector for pods.
    pub selector: Option<String>,
    /// How objects are listed.
    pub list: Lists,
    /// Objects in a page, 1 to 10,000.
    pub page_size: u32,
    /// Which containers are told.
    pub containers: Containers,
    /// How long a pod waits for its ReplicaSet or Job (D9).
    pub owner_wait: Duration,
    /// How long a deleted ReplicaSet or Job resolves pods (D9). There is no flag for it: tests
    /// may take their time.
    pub owner_retention: Duration,
    /// A re-list tells everything anew instead of the difference (D3).
    pub relist_resync: bool,
    /// How soon what failed is tried again. There is no flag for it: tests are impatient.
    pub retry: Retry,
}

/// The delays before attempts to list or watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Before the first attempt after a failure, at least.
    pub first: Duration,
    /// Between two attempts, at most.
    pub slowest: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(800),
            slowest: Duration::from_secs(30),
        }
    }
}

const OWNER_RETENTION: Duration = Duration::from_secs(60);

impl Default for NativeConfig {
    fn default() -> Self {
        Self {
            kubeconfig: None,
            context: None,
            namespaces: Vec::new(),
            selector: None,
            list: Lists::Auto,
            page_size: 500,
            containers: Containers::All,
            owner_wait: Duration::from_secs(60),
            owner_retention: OWNER_RETENTION,
            relist_resync: false,
            retry: Retry::default(),
        }
    }
}

impl From<NativeArgs> for NativeConfig {
    fn from(args: NativeArgs) -> Self {
        let mut namespaces = args.namespace;
        namespaces.sort();
        namespaces.dedup();
        Self {
            kubeconfig: args.kubeconfig,
            context: args.context,
            namespaces,
            selector: args.selector,
            list: args.list,
            page_size: args.page_size,
            containers: args.containers,
            owner_wait: args.owner_wait,
            owner_retention: OWNER_RETENTION,
            relist_resync: args.relist_resync,
            retry: Retry::default(),
        }
    }
}

/// Why the settings do not make a [`Config`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the config file {}", path.display())]
    Unreadable {
        /// The file as named by `--config-file`.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is read but means nothing.
    #[error("config file {}", path.display())]
    Invalid {
        /// The file as named by `--config-file`.
        path: PathBuf,
        /// What is wrong in it.
        source: YamlError,
    },
    /// A cut-over could come before any divergence counts.
    #[error(
        "--parity-hold {} is shorter than --settle {}: no difference would count before the cut-over",
        humantime::format_duration(*hold),
        humantime::format_duration(*settle)
    )]
    HoldBelowSettle {
        /// The value of `--parity-hold`.
        hold: Duration,
        /// The value of `--settle`.
        settle: Duration,
    },
}

impl Config {
    /// The defaults between these two addresses, whatever flags, variables and files say.
    /// Without an admin listener: several of these may run on one machine.
    pub fn between(server_address: HostPort, intake: HostPort) -> Self {
        Self {
            source: Source::Legacy,
            server_address,
            native: NativeConfig::default(),
            migrate: MigrateConfig::default(),
            reannounce: Reannounce::Never,
            escalate: Escalate::Known,
            intake,
            encoder: Encoder::Binary,
            heartbeat: Heartbeat::default(),
            health_interval: Duration::from_secs(1),
            reconnect: Reconnect::Replay,
            cloud: Cloud::None,
            aws_timeout: Duration::from_secs(1),
            labels: BTreeMap::new(),
            admin_address: AdminAddress::None.into(),
            record: None,
            logging: LoggingConfig::default(),
        }
    }

    /// Reads the file that `args` name and puts everything together. What the file has
    /// but cannot be used is logged as a warning, so logging should have been started.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or breaks a rule of spec 15.3, or settings contradict each other.
    pub fn load(args: RelayArgs) -> Result<Self, ConfigError> {
        let file = match &args.config_file {
            Some(path) if !path.as_os_str().is_empty() => read(path.clone())?,
            Some(_) | None => File::default(),
        };
        let config = Self::merge(args, file);
        config.migrate.check()?;
        Ok(config)
    }

    /// Puts flags and variables over the file and the file over the defaults.
    fn merge(args: RelayArgs, file: File) -> Self {
        let RelayArgs {
            source,
            native,
            migrate,
            pods,
            reducer,
            admin,
            log,
            config_file: _,
            check_config: _,
        } = args;
        let (file_host, file_port) = file.intake.map(|i| (i.host, i.port)).unzip();
        let (default_host, default_port) = DEFAULT_INTAKE;
        Self {
            source: source.source,
            server_address: source.server_address,
            native: native.into(),
            migrate: migrate.into(),
            reannounce: pods.reannounce,
            escalate: pods.escalate,
            intake: HostPort {
                host: reducer
                    .intake_host
                    .or(file_host)
                    .unwrap_or_else(|| default_host.to_owned()),
                port: reducer.intake_port.or(file_port).unwrap_or(default_port),
            },
            encoder: reducer.intake_encoder,
            heartbeat: reducer.heartbeat_interval_sec,
            health_interval: reducer.health_interval,
            reconnect: reducer.reconnect,
            cloud: reducer.cloud,
            aws_timeout: reducer.aws_timeout,
            labels: file.labels,
            admin_address: admin.into(),
            record: reducer.record_intake_output,
            logging: log.into_config(),
        }
    }
}

fn read(path: PathBuf) -> Result<File, ConfigError> {
    let bytes = match bounded_read(&path) {
        Ok(bytes) => bytes,
        Err(source) => return Err(ConfigError::Unreadable { path, source }),
    };
    match yaml::parse_bytes(&bytes) {
        Ok((file, warnings)) => {
            for warning in warnings {
                tracing::warn!(file = %path.display(), "{warning}");
            }
            Ok(file)
        }
        Err(source) => Err(ConfigError::Invalid { path, source }),
    }
}

/// One byte beyond the limit is enough to see that a file is too long, however
/// long it is (a device has no end).
fn bounded_read(path: &std::path::Path) -> io::Result<Vec<u8>> {
    use io::Read as _;
    let mut bytes = Vec::new();
    fs::File::open(path)?
        .take(MAX_FILE_BYTES as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// One `name = value` line for each setting, named as its flag is.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = |path: &Option<PathBuf>| {
            path.as_ref()
                .map_or_else(|| "none".to_owned(), |path| path.display().to_string())
        };
        let NativeConfig {
            kubeconfig,
            context,
            namespaces,
            selector,
            list,
            page_size,
            containers,
            owner_wait,
            owner_retention: _,
            relist_resync,
            retry: _,
        } = &self.native;
        let or = |text: &Option<String>, none: &str| text.as_deref().unwrap_or(none).to_owned();
        writeln!(f, "source = {}", self.source)?;
        writeln!(f, "server-address = {}", self.server_address)?;
        writeln!(
            f,
            "kubeconfig = {}",
            kubeconfig
                .as_ref()
                .map_or("default".into(), |path| path.display().to_string())
        )?;
        writeln!(f, "context = {}", or(context, "current"))?;
        match namespaces.as_slice() {
            [] => writeln!(f, "namespace = all")?,
            some => writeln!(f, "namespace = {}", some.join(","))?,
        }
        writeln!(f, "selector = {}", or(selector, "none"))?;
        writeln!(f, "list = {list}")?;
        writeln!(f, "page-size = {page_size}")?;
        writeln!(f, "containers = {containers}")?;
        writeln!(
            f,
            "owner-wait = {}",
            humantime::format_duration(*owner_wait)
        )?;
        writeln!(f, "relist-resync = {relist_resync}")?;
        write!(f, "{}", self.migrate)?;
        writeln!(f, "reannounce = {}", self.reannounce)?;
        writeln!(f, "escalate = {}", self.escalate)?;
        writeln!(f, "intake-host = {}", self.intake.host)?;
        writeln!(f, "intake-port = {}", self.intake.port)?;
        writeln!(f, "intake-encoder = {}", self.encoder)?;
        writeln!(f, "heartbeat = {}", self.heartbeat)?;
        writeln!(
            f,
            "health-interval = {}",
            humantime::format_duration(self.health_interval)
        )?;
        writeln!(f, "reconnect = {}", self.reconnect)?;
        writeln!(f, "cloud = {}", self.cloud)?;
        writeln!(
            f,
            "aws-timeout = {}",
            humantime::format_duration(self.aws_timeout)
        )?;
        writeln!(f, "admin-address = {}", self.admin_address)?;
        writeln!(f, "record-intake-output = {}", path(&self.record))?;
        for (key, value) in &self.labels {
            writeln!(f, "label {key:?} = {value:?}")?;
        }
        writeln!(f, "log-level = {}", self.logging.level)?;
        writeln!(f, "log-format = {}", self.logging.format)?;
        for target in &self.logging.traced {
            writeln!(f, "log-traced = {target}")?;
        }
        writeln!(f, "log-file = {}", path(&self.logging.file))
    }
}
