//! Flags, variables and the YAML file, in their final types.
//!
//! Invariants: a setting comes from its flag, else its variable, else the file, else its default
//! (D13); an empty variable is an unset one; of a repeated flag the last counts. A bad value or
//! file stops the start with one line (D12); nothing is adjusted silently. A setting is defined
//! once, as a flag: see [`settings`]. Profiles of enrichment are the exception: only a file has
//! them.
//!
//! Absent here: name resolution, sockets, and every other module. Only [`crate::app`] and the
//! binary read a [`Config`]; they hand single values to the modules.

mod admin_args;
mod args;
mod enrich_args;
mod enrich_block;
mod file;
mod from_file;
mod ha_args;
mod hosts;
mod log_args;
mod migrate_args;
mod print;
mod reference;
mod schema;
mod selector;
mod settings;
mod tls_args;
mod values;
mod variables;
mod yaml;

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

pub(crate) use self::variables::has_own_variables;
pub use admin_args::{AdminAddress, AdminAddresses, AdminArgs, DEFAULT_ADMIN};
pub use args::{NativeArgs, PodArgs, ReducerArgs, RelayArgs, SourceArgs};
pub use enrich_args::{DEFAULT_ENRICH, EnrichArgs, EnrichConfig};
pub(crate) use from_file::FromFile;
pub use ha_args::{HaArgs, HaConfig, HaMode};
pub use log_args::LogArgs;
pub use migrate_args::{MigrateArgs, MigrateConfig};
pub use settings::Settings;
pub(crate) use settings::{NOT_UTF_8, refusal};
pub use tls_args::{
    AdminTlsArgs, EnrichTlsArgs, ListenerTls, ReducerTls, ReducerTlsArgs, ServerTlsArgs,
};
pub use values::{
    Cloud, Containers, Encoder, Endpoint, Escalate, Heartbeat, HostPort, Lists, Migrate,
    Reannounce, Reconnect, Source, StreamHandover, ValueError, duration,
};

use clap::Args as _;

use crate::{enrich::profile::ProfileSetError, logging::LoggingConfig, model::KindTable};

/// Everything the relay needs to know before it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Which source is active at the start.
    pub source: Source,
    /// Where `Collect` is served; names are resolved when it is bound, port 0 is any free one.
    pub server_address: HostPort,
    /// How one `Collect` stream follows another (D4).
    pub stream_handover: StreamHandover,
    /// How long streams may be silent before the rules of D4 give way.
    pub stream_silence: Duration,
    /// The reducer; names are resolved at each attempt (D5).
    pub intake: HostPort,
    /// TLS for those who call `Collect`; `None`: plain text.
    pub server_tls: Option<ListenerTls>,
    /// TLS to the reducer; `None`: plain text.
    pub reducer_tls: Option<ReducerTls>,
    /// TLS on the ports of the admin listener; `None`: plain text.
    pub admin_tls: Option<ListenerTls>,
    /// How the stream to the reducer is coded.
    pub encoder: Encoder,
    /// When heartbeats are sent.
    pub heartbeat: Heartbeat,
    /// Time between two reports of health and resource usage; at least 10 ms.
    pub health_interval: Duration,
    /// How the native watches are made.
    pub native: NativeConfig,
    /// How a migration from legacy watchers to the native watches goes.
    pub migrate: MigrateConfig,
    /// Which of several replicas writes to the reducer (D19).
    pub ha: HaConfig,
    /// What is sent when an announced pod changes (D14).
    pub reannounce: Reannounce,
    /// Which controllers of ReplicaSets and Jobs are announced as the owners of pods (D9).
    pub escalate: Escalate,
    /// What follows after the reducer's connection was lost (D5).
    pub reconnect: Reconnect,
    /// Where the cloud part of the reducer handshake comes from.
    pub cloud: CloudConfig,
    /// Labels of the reducer handshake in bytewise order of their keys.
    pub labels: BTreeMap<String, String>,
    /// How questions about metadata are answered.
    pub enrich: EnrichConfig,
    /// Where probes, metrics and operators find this process (D15).
    pub admin_address: AdminAddresses,
    /// The file that takes a copy of everything sent to the reducer.
    pub record: Option<PathBuf>,
    /// What is logged, and where.
    pub logging: LoggingConfig,
}

/// The native watches of the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NativeConfig {
    /// What is watched. There is no flag for it: whatever uses a further kind brings it along.
    pub kinds: KindTable,
    /// The kubeconfig; `None`: where every Kubernetes tool looks.
    pub kubeconfig: Option<PathBuf>,
    /// The context in it; `None`: the current one.
    pub context: Option<String>,
    /// How long a credential plugin may take.
    pub credentials_timeout: Duration,
    /// The namespaces to watch, without duplicates; none: all.
    pub namespaces: Vec<String>,
    /// The label selector for pods.
    pub selector: Option<String>,
    /// How objects are listed.
    pub list: Lists,
    /// Objects in a page, 1 to 10,000.
    pub page_size: u32,
    /// Which containers are announced.
    pub containers: Containers,
    /// How long a pod waits for its ReplicaSet or Job (D9).
    pub owner_wait: Duration,
    /// How long a deleted ReplicaSet or Job resolves pods (D9). There is no flag for it: tests
    /// may take their time.
    pub owner_retention: Duration,
    /// A re-list sends everything again instead of the difference (D3).
    pub relist_resync: bool,
    /// How soon what failed is tried again. There is no flag for it: tests are impatient.
    pub retry: Retry,
}

/// Where the cloud part of the reducer handshake comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudConfig {
    /// Which metadata services are asked.
    pub cloud: Cloud,
    /// How long each round of questions to AWS may take (protocol 15.5).
    pub aws_timeout: Duration,
    /// Where the metadata service of AWS is.
    pub aws: Endpoint,
    /// Where the metadata service of Google is.
    pub gcp: Endpoint,
}

/// Asks nobody.
impl Default for CloudConfig {
    fn default() -> Self {
        Self {
            cloud: Cloud::None,
            aws_timeout: Duration::from_secs(1),
            aws: Endpoint::aws(),
            gcp: Endpoint::gcp(),
        }
    }
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

const STREAM_SILENCE: Duration = Duration::from_secs(5 * 60);

const OWNER_RETENTION: Duration = Duration::from_secs(60);

impl Default for NativeConfig {
    fn default() -> Self {
        Self {
            kinds: KindTable::default(),
            kubeconfig: None,
            context: None,
            credentials_timeout: Duration::from_secs(30),
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
            kinds: KindTable::default(),
            kubeconfig: args.kubeconfig,
            context: args.context,
            credentials_timeout: args.credentials_timeout,
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
    /// The file is read and has mistakes in it.
    #[error("config file {}: {mistakes}", path.display())]
    File {
        /// The file as named by `--config-file`.
        path: PathBuf,
        /// Each with its line.
        mistakes: String,
    },
    /// Watchers that list again for the reducer's sake cannot hand over without a gap.
    #[error(
        "--reconnect reset-watcher resets the watchers' streams, which --stream-handover seamless rules out: leave one of them out"
    )]
    SeamlessReset,
    /// The profiles of enrichment are not valid.
    #[error("the block `enrichment`")]
    Profiles(#[from] ProfileSetError),
    /// Metadata would be answered to other machines.
    #[error(
        "--enrich-address {0} can be reached from other machines, and whoever asks there learns the labels of the whole cluster: give an address on loopback or unix:PATH, or let in who has a certificate: --enrich-tls-cert, --enrich-tls-key and --enrich-tls-client-ca"
    )]
    OpenEnrichment(String),
    /// A metadata service that nobody can ask.
    #[error(
        "--source none only answers questions about metadata, and --enrich-address none takes none: leave one of them out"
    )]
    NothingToDo,
    /// A setting has no effect without another one.
    #[error("{flag} needs {needs}")]
    Lacks {
        /// The one.
        flag: &'static str,
        /// The other.
        needs: &'static str,
    },
    /// Two listeners cannot have one address.
    #[error("{first} and {second} cannot be had both: they are, or include, the same address")]
    SameAddress {
        /// The flag and the address of one.
        first: String,
        /// Of the other one.
        second: String,
    },
    /// A leader would fall silent although it renews in time.
    #[error(
        "--ha-lease {} lets the leader write for {} (three quarters of it, less 2s), which is shorter than --ha-renew-deadline {}",
        humantime::format_duration(*lease),
        humantime::format_duration(*term),
        humantime::format_duration(*renew_deadline)
    )]
    LeaseTooShort {
        /// The value of `--ha-lease`.
        lease: Duration,
        /// How long a leader may write.
        term: Duration,
        /// The value of `--ha-renew-deadline`.
        renew_deadline: Duration,
    },
    /// There would be no time for a second attempt to renew.
    #[error(
        "--ha-retry {} is not shorter than --ha-renew-deadline {}: no renewal would come in time",
        humantime::format_duration(*retry),
        humantime::format_duration(*renew_deadline)
    )]
    RetryTooLong {
        /// The value of `--ha-retry`.
        retry: Duration,
        /// The value of `--ha-renew-deadline`.
        renew_deadline: Duration,
    },
    /// A cutover could come before any divergence counts.
    #[error(
        "--parity-hold {} is shorter than --settle {}: no difference would be confirmed before the cutover",
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
            stream_handover: StreamHandover::default(),
            stream_silence: STREAM_SILENCE,
            native: NativeConfig::default(),
            migrate: MigrateConfig::default(),
            ha: HaConfig::default(),
            reannounce: Reannounce::Never,
            escalate: Escalate::Known,
            intake,
            encoder: Encoder::Binary,
            heartbeat: Heartbeat::default(),
            health_interval: Duration::from_secs(1),
            reconnect: Reconnect::Replay,
            cloud: CloudConfig::default(),
            labels: BTreeMap::new(),
            enrich: EnrichConfig::off(),
            admin_address: AdminAddress::None.into(),
            server_tls: None,
            reducer_tls: None,
            admin_tls: None,
            record: None,
            logging: LoggingConfig::default(),
        }
    }

    /// The settings in their final form.
    ///
    /// # Errors
    ///
    /// When settings contradict each other.
    pub fn new(args: RelayArgs) -> Result<Self, ConfigError> {
        let seamless = args.source.stream_handover == Some(StreamHandover::Seamless);
        if seamless && args.reducer.reconnect == Reconnect::ResetWatcher {
            return Err(ConfigError::SeamlessReset);
        }
        let plain = Self::in_plain_text(args.clone());
        let config = Self {
            server_tls: args.server_tls.clone().into_config()?,
            reducer_tls: args.reducer_tls.clone().into_config()?,
            admin_tls: args.admin_tls.clone().into_config()?,
            enrich: EnrichConfig {
                tls: args.enrich_tls.clone().into_config()?,
                ..plain.enrich
            },
            ..plain
        };
        config.migrate.check()?;
        config.ha.check(config.source)?;
        config.check_addresses()?;
        config.enrich.check()?;
        config.enrich.profiles()?;
        if config.source == Source::None && !config.enrich.is_on() {
            return Err(ConfigError::NothingToDo);
        }
        Ok(config)
    }

    /// Looks whether each listener can have an address of its own. The default of the admin
    /// listener need not be had.
    fn check_addresses(&self) -> Result<(), ConfigError> {
        let server = AdminAddress::Tcp(self.server_address.clone());
        let admin = &self.admin_address;
        let admin = admin.at.iter().filter(|_| admin.asked_for);
        let others = admin
            .map(|address| ("--admin-address", address))
            .chain([("--enrich-address", &self.enrich.address)]);
        let mut before = Vec::new();
        if self.source != Source::None {
            before.push(("--server-address", &server));
        }
        for (flag, address) in others {
            if let Some((other, taken)) = before.iter().find(|(_, one)| one.overlaps(address)) {
                return Err(ConfigError::SameAddress {
                    first: format!("{other} {taken}"),
                    second: format!("{flag} {address}"),
                });
            }
            before.push((flag, address));
        }
        Ok(())
    }
}

impl Config {
    /// All settings but those of TLS.
    fn in_plain_text(args: RelayArgs) -> Self {
        let RelayArgs {
            source,
            native,
            migrate,
            ha,
            pods,
            reducer,
            admin,
            log,
            labels,
            server_tls: _,
            reducer_tls: _,
            admin_tls: _,
            enrich_tls: _,
            enrich,
            enrichment,
            config_file,
            check_config: _,
            json: _,
        } = args;
        Self {
            source: source.source,
            server_address: source.server_address,
            stream_handover: match (source.stream_handover, reducer.reconnect) {
                (Some(handover), _) => handover,
                (None, Reconnect::ResetWatcher) => StreamHandover::Legacy,
                (None, Reconnect::Replay) => StreamHandover::default(),
            },
            stream_silence: source.stream_silence,
            native: native.into(),
            migrate: migrate.into(),
            ha: ha.into(),
            reannounce: pods.reannounce,
            escalate: pods.escalate,
            intake: HostPort {
                host: reducer.intake_host,
                port: reducer.intake_port,
            },
            encoder: reducer.intake_encoder,
            heartbeat: reducer.heartbeat_interval_sec,
            health_interval: reducer.health_interval,
            reconnect: reducer.reconnect,
            cloud: CloudConfig {
                cloud: reducer.cloud,
                aws_timeout: reducer.aws_timeout,
                aws: reducer.aws_metadata_endpoint.unwrap_or_else(Endpoint::aws),
                gcp: reducer.gce_metadata_host.unwrap_or_else(Endpoint::gcp),
            },
            labels,
            enrich: EnrichConfig::new(enrich, source.source, enrichment, config_file),
            admin_address: admin.into(),
            server_tls: None,
            reducer_tls: None,
            admin_tls: None,
            record: reducer.record_intake_output,
            logging: log.into_config(),
        }
    }
}

/// The JSON schema of the config file.
pub fn schema() -> serde_json::Value {
    schema::schema(&relay_command())
}

/// Every setting with its variable, its default and what it does, as tables in Markdown.
pub fn reference() -> String {
    reference::reference(&relay_command())
}

/// Why a config file with this content is refused, one line for each mistake.
pub fn mistakes_of_file(content: &[u8]) -> Vec<String> {
    let read = FromFile::parse(Path::new("file"), content, &relay_command());
    read.err().unwrap_or_default()
}

/// The command line of the relay alone, which defines every key of a config file.
fn relay_command() -> clap::Command {
    RelayArgs::augment_args(clap::Command::new("k8s-relay"))
}
