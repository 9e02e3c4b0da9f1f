//! `k8s-relay cluster`: a simulated cluster to point a relay at, or `kubectl`.

use std::{
    fs,
    io::{self, Write as _},
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{ValueEnum, value_parser};
use tokio::signal::unix::{SignalKind, signal};

use super::{ToolError, wrote};
use crate::{
    config,
    model::{Kind, KindTable},
    sim::{
        cluster::Cluster,
        kube::{ApiError, Mix, Options, Population, Requests, SimApi, Sizes, Sort, View},
    },
};

/// The token that lets in under --tls, if none is given. It protects nothing.
const TOKEN: &str = "simulated";

/// Be a cluster: serve a Kubernetes API with pods that come and go
///
/// Pods, ReplicaSets and Jobs can be listed and watched as on a real API server: in pages,
/// with bookmarks, as streamed lists, as metadata alone. They belong to Deployments,
/// CronJobs, StatefulSets, DaemonSets and others, which are not served. Deployments roll,
/// CronJobs fire, containers restart, pods die, nodes drain; 80 % of the events are status
/// updates that change nothing for a relay. The same seed lives the same life.
///
/// It prints one line when it is ready, runs until SIGINT or SIGTERM, and then prints what
/// was asked of it, and the digest of what a reducer should know now, worked out from the
/// cluster's own objects: the one that `k8s-relay reducer --picture` shows. SIGUSR1 prints that
/// digest at once.
///
/// Example, in three terminals:
///     k8s-relay cluster --pods 10000 --churn 1000 --kubeconfig-out /tmp/sim.yaml
///     k8s-relay reducer --listen 127.0.0.1:8000 --picture
///     k8s-relay --source native --kubeconfig /tmp/sim.yaml --intake-host 127.0.0.1 --intake-port 8000
///
/// Or look at it:
///     kubectl --kubeconfig /tmp/sim.yaml get pods -A --watch
#[derive(clap::Args, Clone, Debug)]
#[command(verbatim_doc_comment)]
pub struct ClusterArgs {
    /// Pods at the start; life keeps their number about the same
    #[arg(long, value_name = "N", default_value = "1000", value_parser = value_parser!(u32).range(..=2_000_000))]
    pub pods: u32,

    /// Deployments, with one ReplicaSet each at the start [default: one for five pods]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(..=2_000_000))]
    pub replica_sets: Option<u32>,

    /// CronJobs [default: one for 500 pods]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(..=100_000))]
    pub cron_jobs: Option<u32>,

    /// Namespaces that all of it is in
    #[arg(long, value_name = "N", default_value = "20", value_parser = value_parser!(u32).range(1..=100_000))]
    pub namespaces: u32,

    /// Containers of each pod
    #[arg(long, value_name = "N", default_value = "2", value_parser = value_parser!(u32).range(..=100))]
    pub containers: u32,

    /// Events per second; with 0 nothing happens
    #[arg(long, value_name = "N", default_value = "10", value_parser = value_parser!(u32).range(..=1_000_000))]
    pub churn: u32,

    /// What happens: all that happens in a cluster, or of 100 events 80 updates that change
    /// nothing, 10 new pods and 10 deleted ones
    #[arg(long, value_enum, default_value = "life")]
    pub mix: MixName,

    /// Another seed is another cluster
    #[arg(long, value_name = "N", default_value = "1")]
    pub seed: u64,

    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,

    /// Serve over TLS, with certificates made for this run, to who has the token
    #[arg(long)]
    pub tls: bool,

    /// The bearer token to ask for [default: none; with --tls `simulated`]
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,

    /// Write a kubeconfig to this file, for the relay's --kubeconfig and for kubectl
    #[arg(long, value_name = "FILE")]
    pub kubeconfig_out: Option<PathBuf>,

    /// Bytes of a pod as JSON; below 3000 it has only what somebody needs
    #[arg(long, value_name = "BYTES", default_value = "6000", value_parser = value_parser!(u32).range(..=1_000_000))]
    pub pod_bytes: u32,

    /// Whether lists are streamed to who asks for it; off as up to 1.31 and in 1.33
    #[arg(long, value_enum, default_value = "on")]
    pub watch_list: Switch,

    /// Changes of each kind that are remembered; who comes from before gets 410
    #[arg(long, value_name = "N", default_value = "100000", value_parser = value_parser!(u32).range(..=10_000_000))]
    pub history: u32,

    /// How often a watch gets a bookmark
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = some_time)]
    pub bookmarks_every: Duration,
}

/// On or off.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// On.
    On,
    /// Off.
    Off,
}

/// What happens in the cluster.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum MixName {
    /// All that happens in one.
    Life,
    /// Adds and deletes alone.
    Swaps,
}

/// Why the cluster did not start, or ended badly.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// Signals or the output.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// It could not be served.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The kubeconfig could not be written.
    #[error("cannot write the kubeconfig {file}", file = file.display())]
    Kubeconfig {
        /// The file as it was named.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Serves until a signal.
///
/// # Errors
/// The address is not free, a file or the output can not be written.
pub async fn run(args: &ClusterArgs) -> Result<(), ClusterError> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ToolError::Signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(ToolError::Signals)?;
    let mut ask = signal(SignalKind::user_defined1()).map_err(ToolError::Signals)?;
    let api = SimApi::start(options(args)).await?;
    let (population, mix) = population(args);
    api.begin(population, mix);
    if let Some(file) = &args.kubeconfig_out {
        write_private(file, &format!("{:#}\n", api.kubeconfig())).map_err(|source| {
            ClusterError::Kubeconfig {
                file: file.clone(),
                source,
            }
        })?;
    }
    say(&ready(&api, args))?;
    let filled = api.version();
    api.churn(args.churn);
    loop {
        tokio::select! {
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            _ = ask.recv() => say(&truth(&api))?,
        }
    }
    api.churn(0);
    let events = api.version().saturating_sub(filled);
    let truth = truth(&api);
    let requests = api.shutdown().await;
    say(&summary(&requests, events))?;
    say(&truth)?;
    Ok(())
}

fn options(args: &ClusterArgs) -> Options {
    let token = args.tls.then(|| TOKEN.to_owned());
    let small = args.pod_bytes < 3_000;
    Options {
        listen: args.listen,
        tls: args.tls,
        token: args.token.clone().or(token),
        watch_list: args.watch_list == Switch::On,
        sizes: Sizes {
            pod: args.pod_bytes as usize,
            owner: if small { 0 } else { Sizes::default().owner },
        },
        history: args.history as usize,
        bookmarks_every: args.bookmarks_every,
        ..Options::default()
    }
}

fn population(args: &ClusterArgs) -> (Population, Mix) {
    let replica_sets = args.replica_sets.unwrap_or(args.pods.div_ceil(5));
    let cluster = Cluster {
        seed: args.seed,
        containers: args.containers,
        ..Cluster::new(replica_sets, args.pods)
    };
    let usual = Population::new(cluster);
    let population = Population {
        namespaces: args.namespaces,
        cron_jobs: args.cron_jobs.unwrap_or(usual.cron_jobs),
        ..usual
    };
    let mix = match args.mix {
        MixName::Life => Mix::default(),
        MixName::Swaps => Mix::swaps(),
    };
    (population, mix)
}

/// One line that says all.
fn ready(api: &SimApi, args: &ClusterArgs) -> String {
    let [pods, sets, jobs] = api.change(|store| Kind::MATCHED.map(|kind| store.count(kind)));
    let scheme = if args.tls { "https" } else { "http" };
    let kubeconfig = match &args.kubeconfig_out {
        Some(file) => format!("; kubeconfig in {}", file.display()),
        None => String::new(),
    };
    let (address, churn) = (api.addr(), args.churn);
    format!(
        "serving {pods} pods, {sets} ReplicaSets and {jobs} Jobs at {scheme}://{address}, {churn} events/s{kubeconfig}\n"
    )
}

/// What a reducer should know, in one number. The views are those of `--containers`.
fn truth(api: &SimApi) -> String {
    let digest = |main_containers_only| {
        let view = View {
            main_containers_only,
            ..View::default()
        };
        api.truth(view).digests().total()
    };
    format!(
        "digest {}; of main containers {}\n",
        digest(false),
        digest(true)
    )
}

fn summary(requests: &Requests, events: u64) -> String {
    let mut lines = format!(
        "{events} events; {} requests over {} connections; sent {} objects in {} MB\n",
        requests.total(),
        requests.connections,
        requests.objects,
        requests.body_bytes / 1_000_000,
    );
    for (kind, row) in KindTable::default().iter() {
        let name = &*row.resource;
        let [lists, pages, watches, streamed] =
            [Sort::List, Sort::Page, Sort::Watch, Sort::WatchList]
                .map(|sort| requests.count(kind, sort));
        lines.push_str(&format!(
            "{name:<12} {lists} lists, {pages} further pages, {streamed} streamed lists, {watches} watches\n"
        ));
    }
    lines
}

/// Writes a file that only its owner can read: there is a token in it.
pub(super) fn write_private(file: &Path, text: &str) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(file)?.write_all(text.as_bytes())
}

fn say(text: &str) -> Result<(), ToolError> {
    let mut out = io::stdout();
    wrote(out.write_all(text.as_bytes()).and_then(|()| out.flush()))?;
    Ok(())
}

fn some_time(text: &str) -> Result<Duration, String> {
    match config::duration(text) {
        Ok(time) if time >= Duration::from_millis(1) => Ok(time),
        Ok(_) => Err("shorter than 1ms".into()),
        Err(error) => Err(error.to_string()),
    }
}
