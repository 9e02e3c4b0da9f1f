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
    AdminArgs, AdminTlsArgs, EnrichArgs, EnrichTlsArgs, HaArgs, LogArgs, MigrateArgs,
    ReducerTlsArgs, ServerTlsArgs, hosts, selector,
    values::{
        self, Cloud, Containers, Encoder, Endpoint, Escalate, Heartbeat, HostPort, Lists,
        Reannounce, Reconnect, Source, StreamHandover,
    },
};
use crate::enrich::profile::Setting;

/// Everything that can be said on the command line of the relay.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "General")]
pub struct RelayArgs {
    /// Read settings, and labels for the reducer, from this YAML file
    ///
    /// Each flag below can be a key of it, without `--`. An empty path means no file.
    #[arg(long, value_name = "PATH")]
    #[arg(value_parser = OsStringValueParser::new().map(PathBuf::from))]
    pub config_file: Option<PathBuf>,

    /// Check the settings, print each with its origin, and exit
    ///
    /// Flags, variables and the file are read as for a real start. A mistake in any of them is
    /// reported in the same way, with exit status 2. `k8s-relay config check` is the same.
    #[arg(long)]
    pub check_config: bool,

    /// Print the settings as JSON
    #[arg(long)]
    pub json: bool,

    /// The file's block `enrichment`, if it has one.
    #[arg(skip)]
    pub enrichment: Option<Setting>,

    /// The file's labels for the reducer, in bytewise order of their keys.
    #[arg(skip)]
    pub labels: BTreeMap<String, String>,

    /// The legacy watchers and their streams.
    #[command(flatten)]
    pub source: SourceArgs,

    /// TLS for the legacy watchers.
    #[command(flatten)]
    pub server_tls: ServerTlsArgs,

    /// The native source.
    #[command(flatten)]
    pub native: NativeArgs,

    /// The migration from legacy watchers to the native source.
    #[command(flatten)]
    pub migrate: MigrateArgs,

    /// Which of several replicas writes.
    #[command(flatten)]
    pub ha: HaArgs,

    /// What is announced.
    #[command(flatten)]
    pub pods: PodArgs,

    /// The connection to the reducer.
    #[command(flatten)]
    pub reducer: ReducerArgs,

    /// TLS to the reducer.
    #[command(flatten)]
    pub reducer_tls: ReducerTlsArgs,

    /// Metadata for events and lookups.
    #[command(flatten)]
    pub enrich: EnrichArgs,

    /// TLS on the port of the metadata service.
    #[command(flatten)]
    pub enrich_tls: EnrichTlsArgs,

    /// The admin listener.
    #[command(flatten)]
    pub admin: AdminArgs,

    /// TLS on the admin listener.
    #[command(flatten)]
    pub admin_tls: AdminTlsArgs,

    /// What is logged.
    #[command(flatten)]
    pub log: LogArgs,
}

/// The legacy watchers and their streams.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Source")]
pub struct SourceArgs {
    /// Which source announces pods at the start
    ///
    /// With `none` the relay announces nothing and needs no reducer: it answers questions about
    /// metadata (--enrich-address).
    #[arg(long, value_name = "SOURCE", default_value = "legacy")]
    #[arg(env = "K8S_RELAY_SOURCE", hide_env_values = true)]
    pub source: Source,

    /// Serve legacy watchers (Collect) here
    ///
    /// A name stands for all its addresses.
    #[arg(long, value_name = "HOST:PORT", default_value = "localhost:8712")]
    pub server_address: HostPort,

    /// How a new stream of a legacy watcher follows the one before [default: seamless]
    ///
    /// With `seamless`, everything announced stays when a stream ends. The relay compares the next
    /// stream with it and sends the difference: additions and changes at once, deletes when the
    /// stream has sent its first lists and at least half of the announced pods. --reconnect
    /// reset-watcher implies `legacy`.
    #[arg(long, value_name = "HOW")]
    #[arg(env = "K8S_RELAY_STREAM_HANDOVER", hide_env_values = true)]
    pub stream_handover: Option<StreamHandover>,

    /// Trust a stream that knows few pods after this time without another; 100ms to 1 day
    ///
    /// It is also how long an open stream must have been silent, while a newer one is not, until
    /// the newer one takes over.
    #[arg(long, value_name = "DURATION", default_value = "5m")]
    #[arg(env = "K8S_RELAY_STREAM_SILENCE", hide_env_values = true)]
    #[arg(value_parser = values::stream_silence)]
    pub stream_silence: Duration,
}

/// The native source: the watches of every --source but legacy.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Native source (every --source but legacy)")]
pub struct NativeArgs {
    /// Reach the API server by this kubeconfig [default: $KUBECONFIG, ~/.kube/config, the pod's own]
    #[arg(long, value_name = "PATH")]
    #[arg(env = "K8S_RELAY_KUBECONFIG", hide_env_values = true)]
    pub kubeconfig: Option<PathBuf>,

    /// Use this context of the kubeconfig [default: its current one]
    #[arg(long, value_name = "NAME")]
    #[arg(env = "K8S_RELAY_CONTEXT", hide_env_values = true)]
    pub context: Option<String>,

    /// Kill a credential plugin of the kubeconfig after this time; up to 10m
    ///
    /// Everything that the plugin has started is killed with it. Until a plugin succeeds, the last
    /// credentials are used.
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    #[arg(env = "K8S_RELAY_CREDENTIALS_TIMEOUT", hide_env_values = true)]
    #[arg(value_parser = values::credentials_timeout)]
    pub credentials_timeout: Duration,

    /// Watch this namespace only; repeat it for several
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

    /// Ask for this number of objects in a page of a list
    #[arg(long, value_name = "N", default_value = "500")]
    #[arg(env = "K8S_RELAY_PAGE_SIZE", hide_env_values = true)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub page_size: u32,

    /// Which containers of a pod are announced
    #[arg(long, value_name = "WHICH", default_value = "all")]
    #[arg(env = "K8S_RELAY_CONTAINERS", hide_env_values = true)]
    pub containers: Containers,

    /// Announce a pod without its ReplicaSet or Job after this time; up to 1 day
    ///
    /// The pod is announced under the direct owner that it names, and again if that owner appears.
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    #[arg(env = "K8S_RELAY_OWNER_WAIT", hide_env_values = true)]
    #[arg(value_parser = values::owner_wait)]
    pub owner_wait: Duration,

    /// After a new list send everything again, instead of the difference
    #[arg(long, env = "K8S_RELAY_RELIST_RESYNC", hide_env_values = true)]
    pub relist_resync: bool,
}

/// What is announced of a pod, whatever the source.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Pods")]
pub struct PodArgs {
    /// When to announce a changed pod again
    #[arg(long, value_name = "WHEN", default_value = "never")]
    #[arg(env = "K8S_RELAY_REANNOUNCE", hide_env_values = true)]
    pub reannounce: Reannounce,

    /// Under which controllers of a ReplicaSet or Job its pods are announced
    #[arg(long, value_name = "WHICH", default_value = "known")]
    #[arg(env = "K8S_RELAY_ESCALATE", hide_env_values = true)]
    pub escalate: Escalate,
}

/// The connection to the reducer.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Reducer")]
pub struct ReducerArgs {
    /// Host of the reducer
    ///
    /// It is a name or an address. A name is looked up again at each connection attempt.
    #[arg(
        long,
        value_name = "HOST",
        default_value = "127.0.0.1",
        env = "EBPF_NET_INTAKE_HOST",
        hide_env_values = true
    )]
    #[arg(value_parser = hosts::host)]
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

    /// Encoding of the messages
    ///
    /// EBPF_NET_INTAKE_ENCODER is accepted too. There is one encoder, so any text there means it.
    #[arg(long, value_name = "NAME", default_value = "binary")]
    pub intake_encoder: Encoder,

    /// Seconds between heartbeats, up to 65535; 0 sends one after the handshake and no more
    ///
    /// Negative numbers wrap around at 16 bits, as in the legacy relay: -1 is 65535.
    #[arg(
        long,
        value_name = "N",
        default_value = "2",
        allow_hyphen_values = true
    )]
    #[arg(value_parser = values::heartbeat)]
    pub heartbeat_interval_sec: Heartbeat,

    /// Report health and resource usage to the reducer this often; up to 1h
    ///
    /// The legacy relay did it every 200ms.
    #[arg(long, value_name = "DURATION", default_value = "1s")]
    #[arg(env = "K8S_RELAY_HEALTH_INTERVAL", hide_env_values = true)]
    #[arg(value_parser = values::health_interval)]
    pub health_interval: Duration,

    /// What to send when the connection to the reducer is back
    #[arg(long, value_name = "HOW", default_value = "replay")]
    #[arg(env = "K8S_RELAY_RECONNECT", hide_env_values = true)]
    pub reconnect: Reconnect,

    /// Which cloud's metadata the reducer handshake carries
    ///
    /// It names the instance's zone, role, id, type and addresses. The first connection waits for
    /// the answers, at most three times --aws-timeout and 1s. What is known later is sent with the
    /// next handshake.
    #[arg(long, value_name = "NAME", default_value = "auto")]
    #[arg(env = "K8S_RELAY_CLOUD", hide_env_values = true)]
    pub cloud: Cloud,

    /// Milliseconds for each round of AWS metadata requests, up to 1h
    #[arg(long, value_name = "MS", default_value = "1000")]
    #[arg(value_parser = values::milliseconds)]
    pub aws_timeout: Duration,

    /// Ask for AWS metadata here [default: http://169.254.169.254]
    #[arg(long, value_name = "URL")]
    #[arg(env = "AWS_EC2_METADATA_SERVICE_ENDPOINT", hide_env_values = true)]
    #[arg(value_parser = Endpoint::of_url)]
    pub aws_metadata_endpoint: Option<Endpoint>,

    /// Ask for Google's metadata here [default: metadata.google.internal]
    #[arg(long, value_name = "HOST[:PORT]")]
    #[arg(env = "GCE_METADATA_HOST", hide_env_values = true)]
    #[arg(value_parser = Endpoint::of_host)]
    pub gce_metadata_host: Option<Endpoint>,

    /// Copy all messages to this file, for `k8s-relay decode`
    ///
    /// The file is emptied at start.
    #[arg(long, value_name = "PATH")]
    #[arg(env = "EBPF_NET_RECORD_INTAKE_OUTPUT_PATH", hide_env_values = true)]
    pub record_intake_output: Option<PathBuf>,
}
