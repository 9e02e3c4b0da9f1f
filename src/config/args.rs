//! The relay's flags and variables; a doc comment here is the help text.
//!
//! New settings have a variable `K8S_RELAY_*`. Kubernetes itself sets variables that
//! start with `K8S_RELAY_PORT` and `K8S_RELAY_SERVICE` wherever a Service is called
//! `k8s-relay`; no setting may use those names.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use clap::{
    Args,
    builder::{OsStringValueParser, TypedValueParser as _},
};

use super::{
    AdminArgs, LogArgs, MigrateArgs, selector,
    values::{
        self, Cloud, Containers, Encoder, Escalate, Heartbeat, HostPort, Lists, Reannounce,
        Reconnect, Source, StreamHandover,
    },
};

/// Everything that can be said on the command line of the relay.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "General")]
pub struct RelayArgs {
    /// YAML file with settings, and with labels for the reducer; empty for none
    ///
    /// Each flag below can be a key of it, without `--`.
    #[arg(long, value_name = "PATH")]
    #[arg(value_parser = OsStringValueParser::new().map(PathBuf::from))]
    pub config_file: Option<PathBuf>,

    /// Print the effective configuration and exit
    ///
    /// Flags, variables and the file are read as for a real start, so a mistake in any
    /// of them is reported in the same way. Each setting is shown with where it comes from.
    #[arg(long)]
    pub check_config: bool,

    /// Print it as JSON
    #[arg(long, requires = "check_config")]
    pub json: bool,

    /// The file's labels for the reducer, in bytewise order of their keys.
    #[arg(skip)]
    pub labels: BTreeMap<String, String>,

    /// The side of the watchers.
    #[command(flatten)]
    pub source: SourceArgs,

    /// Our own watches.
    #[command(flatten)]
    pub native: NativeArgs,

    /// The way from old watchers to our own watches.
    #[command(flatten)]
    pub migrate: MigrateArgs,

    /// What is told.
    #[command(flatten)]
    pub pods: PodArgs,

    /// The side of the reducer.
    #[command(flatten)]
    pub reducer: ReducerArgs,

    /// Who may look and steer.
    #[command(flatten)]
    pub admin: AdminArgs,

    /// What is logged.
    #[command(flatten)]
    pub log: LogArgs,
}

/// The side of the watchers.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Watchers")]
pub struct SourceArgs {
    /// Where the facts come from
    #[arg(long, value_name = "SOURCE", default_value = "legacy")]
    #[arg(env = "K8S_RELAY_SOURCE", hide_env_values = true)]
    pub source: Source,

    /// Where watchers find the Collect service; of a name, all addresses
    #[arg(long, value_name = "HOST:PORT", default_value = "localhost:8712")]
    pub server_address: HostPort,

    /// How a new stream of a legacy watcher follows the one before; default: seamless
    ///
    /// Seamless: everything announced stays when a stream ends. The next one is compared with
    /// that, and the difference is sent: additions and changes at once, deletes when it is known
    /// to have sent its first lists and at least half of what is announced. --reconnect
    /// reset-watcher implies legacy.
    #[arg(long, value_name = "HOW")]
    #[arg(env = "K8S_RELAY_STREAM_HANDOVER", hide_env_values = true)]
    pub stream_handover: Option<StreamHandover>,

    /// After how long without another stream one that knows little is believed; 100ms to 1 day
    ///
    /// It is also how long an open stream must have been silent, while a newer one is not, until
    /// that one takes over.
    #[arg(long, value_name = "DURATION", default_value = "5m")]
    #[arg(env = "K8S_RELAY_STREAM_SILENCE", hide_env_values = true)]
    #[arg(value_parser = values::stream_silence)]
    pub stream_silence: Duration,
}

/// The watches of every --source but legacy.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Native watches (every --source but legacy)")]
pub struct NativeArgs {
    /// How to reach the API server; default: $KUBECONFIG, ~/.kube/config, or from within a pod
    #[arg(long, value_name = "PATH")]
    #[arg(env = "K8S_RELAY_KUBECONFIG", hide_env_values = true)]
    pub kubeconfig: Option<PathBuf>,

    /// Which context of the kubeconfig; default: its current one
    #[arg(long, value_name = "NAME")]
    #[arg(env = "K8S_RELAY_CONTEXT", hide_env_values = true)]
    pub context: Option<String>,

    /// How long a credential plugin of the kubeconfig may take, up to 10m
    ///
    /// Then it is killed, with everything that it has started. Meanwhile, and if it fails, the
    /// last credentials are used.
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    #[arg(env = "K8S_RELAY_CREDENTIALS_TIMEOUT", hide_env_values = true)]
    #[arg(value_parser = values::credentials_timeout)]
    pub credentials_timeout: Duration,

    /// Watch this namespace only; may be given several times
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    #[arg(env = "K8S_RELAY_NAMESPACE", hide_env_values = true)]
    #[arg(value_parser = values::namespace)]
    pub namespace: Vec<String>,

    /// Watch only pods with these labels, as in `app=web,tier!=db`
    ///
    /// ReplicaSets and Jobs are watched whatever their labels: pods name them.
    #[arg(long, value_name = "LABELS")]
    #[arg(env = "K8S_RELAY_SELECTOR", hide_env_values = true)]
    #[arg(value_parser = selector::parse)]
    pub selector: Option<String>,

    /// How objects are listed before they are watched
    #[arg(long, value_name = "HOW", default_value = "auto")]
    #[arg(env = "K8S_RELAY_LIST", hide_env_values = true)]
    pub list: Lists,

    /// Objects in a page of a list
    #[arg(long, value_name = "N", default_value = "500")]
    #[arg(env = "K8S_RELAY_PAGE_SIZE", hide_env_values = true)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub page_size: u32,

    /// Which containers of a pod are told
    #[arg(long, value_name = "WHICH", default_value = "all")]
    #[arg(env = "K8S_RELAY_CONTAINERS", hide_env_values = true)]
    pub containers: Containers,

    /// How long a pod waits for its ReplicaSet or Job before it is told under its name; up to 1 day
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    #[arg(env = "K8S_RELAY_OWNER_WAIT", hide_env_values = true)]
    #[arg(value_parser = values::owner_wait)]
    pub owner_wait: Duration,

    /// Tell everything anew after the watch has listed again, instead of the difference
    #[arg(long, env = "K8S_RELAY_RELIST_RESYNC", hide_env_values = true)]
    pub relist_resync: bool,
}

/// What the reducer is told of the pods, whatever the source.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Pods")]
pub struct PodArgs {
    /// What to do when a pod changes that the reducer knows
    #[arg(long, value_name = "WHEN", default_value = "never")]
    #[arg(env = "K8S_RELAY_REANNOUNCE", hide_env_values = true)]
    pub reannounce: Reannounce,

    /// Which controllers of a ReplicaSet or Job its pods are told under
    #[arg(long, value_name = "WHICH", default_value = "known")]
    #[arg(env = "K8S_RELAY_ESCALATE", hide_env_values = true)]
    pub escalate: Escalate,
}

/// The side of the reducer.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Reducer")]
pub struct ReducerArgs {
    /// Host of the reducer
    ///
    /// A name or an address. Names are looked up again at each attempt to connect.
    #[arg(
        long,
        value_name = "HOST",
        default_value = "127.0.0.1",
        env = "EBPF_NET_INTAKE_HOST",
        hide_env_values = true
    )]
    #[arg(value_parser = values::host)]
    pub intake_host: String,

    /// Port of the reducer
    #[arg(
        long,
        value_name = "PORT",
        default_value = "8000",
        env = "EBPF_NET_INTAKE_PORT",
        hide_env_values = true
    )]
    #[arg(value_parser = values::port)]
    pub intake_port: u16,

    /// How the stream is coded
    ///
    /// EBPF_NET_INTAKE_ENCODER is accepted too; as there is one encoder, any text there means it.
    #[arg(long, value_name = "NAME", default_value = "binary")]
    pub intake_encoder: Encoder,

    /// Seconds between heartbeats, up to 65535; 0 sends one after the greeting and no more
    ///
    /// Negative numbers wrap around at 16 bits, as they always have: -1 is 65535.
    #[arg(
        long,
        value_name = "N",
        default_value = "2",
        allow_hyphen_values = true
    )]
    #[arg(value_parser = values::heartbeat)]
    pub heartbeat_interval_sec: Heartbeat,

    /// Time between reports of health and resource usage, up to 1h; the legacy relay's was 200ms
    #[arg(long, value_name = "DURATION", default_value = "1s")]
    #[arg(env = "K8S_RELAY_HEALTH_INTERVAL", hide_env_values = true)]
    #[arg(value_parser = values::health_interval)]
    pub health_interval: Duration,

    /// What to do after the connection to the reducer was lost and is back
    #[arg(long, value_name = "HOW", default_value = "replay")]
    #[arg(env = "K8S_RELAY_RECONNECT", hide_env_values = true)]
    pub reconnect: Reconnect,

    /// Which cloud's metadata the greeting carries
    #[arg(long, value_name = "NAME", default_value = "none")]
    #[arg(env = "K8S_RELAY_CLOUD", hide_env_values = true)]
    pub cloud: Cloud,

    /// Milliseconds for each round of AWS metadata requests, up to 1h; unused with --cloud none
    #[arg(long, value_name = "MS", default_value = "1000")]
    #[arg(value_parser = values::milliseconds)]
    pub aws_timeout: Duration,

    /// Write a copy of all messages to this file; read it with `k8s-relay decode`
    ///
    /// The file is emptied at start.
    #[arg(long, value_name = "PATH")]
    #[arg(env = "EBPF_NET_RECORD_INTAKE_OUTPUT_PATH", hide_env_values = true)]
    pub record_intake_output: Option<PathBuf>,
}
