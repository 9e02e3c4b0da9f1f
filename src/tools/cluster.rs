//! `k8s-relay cluster`: a simulated cluster to point a relay at, or `kubectl`.

mod around;

use std::{
    fs,
    io::{self, Write as _},
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{ValueEnum, value_parser};
use nix::fcntl::OFlag;
use tokio::signal::unix::{SignalKind, signal};

use super::{ToolError, wrote};
use crate::{
    config,
    enrich::resource::Resource,
    model::Kind,
    sim::{
        cluster::Cluster,
        kube::{ApiError, Mix, Options, Population, Requests, SimApi, Sizes, Sort, View},
    },
};

/// The token that --tls asks for if none is given. It protects nothing.
const TOKEN: &str = "simulated";

/// Run a simulated API server with pods that come and go
///
/// Clients list and watch pods, ReplicaSets and Jobs as on a real API server: in pages, with
/// bookmarks, as streamed lists, as metadata only. The objects belong to Deployments, CronJobs,
/// StatefulSets, DaemonSets and others. Those that metadata is made of are served, too, and so are
/// nodes and namespaces. Deployments roll, CronJobs fire, containers restart, pods die, nodes
/// drain; 80 % of the events are status updates that change nothing for a relay. The same seed
/// gives the same sequence of events.
///
/// It prints one line when it is ready and runs until SIGINT or SIGTERM. Then it prints the
/// requests that it got, and the digest of the state that a reducer should have, computed from
/// the cluster's own objects. `k8s-relay reducer --state` shows the digest of the state that a
/// reducer has. SIGUSR1 prints the expected digest at once.
///
/// Example, in three terminals:
///     k8s-relay cluster --pods 10000 --churn 1000 --kubeconfig-out /tmp/sim.yaml
///     k8s-relay reducer --listen 127.0.0.1:8000 --state
///     k8s-relay --source native --kubeconfig /tmp/sim.yaml --intake-host 127.0.0.1 --intake-port 8000
///
/// Or look at it with kubectl:
///     kubectl --kubeconfig /tmp/sim.yaml get pods -A --watch
#[derive(clap::Args, Clone, Debug)]
#[command(verbatim_doc_comment)]
pub struct ClusterArgs {
    /// Pods at the start; churn keeps their number about the same
    #[arg(long, value_name = "N", default_value = "1000", value_parser = value_parser!(u32).range(..=2_000_000))]
    pub pods: u32,

    /// Deployments, with one ReplicaSet each at the start [default: one for five pods]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(..=2_000_000))]
    pub replica_sets: Option<u32>,

    /// CronJobs [default: one for 500 pods]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(..=100_000))]
    pub cron_jobs: Option<u32>,

    /// Namespaces that the objects are in
    #[arg(long, value_name = "N", default_value = "20", value_parser = value_parser!(u32).range(1..=100_000))]
    pub namespaces: u32,

    /// Containers of each pod
    #[arg(long, value_name = "N", default_value = "2", value_parser = value_parser!(u32).range(..=100))]
    pub containers: u32,

    /// Events per second; 0 for none
    #[arg(long, value_name = "N", default_value = "10", value_parser = value_parser!(u32).range(..=1_000_000))]
    pub churn: u32,

    /// Which events: all kinds, or of each 100 events 80 status updates, 10 new and 10 deleted pods
    #[arg(long, value_enum, default_value = "life")]
    pub mix: MixName,

    /// Seed of the random numbers; another seed is another cluster
    #[arg(long, value_name = "N", default_value = "1")]
    pub seed: u64,

    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,

    /// Serve over TLS, with certificates made for this run, to clients that send the token
    #[arg(long)]
    pub tls: bool,

    /// The bearer token that clients must send [default: none; with --tls `simulated`]
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,

    /// Write a kubeconfig to this file, for the relay and for kubectl
    #[arg(long, value_name = "FILE")]
    pub kubeconfig_out: Option<PathBuf>,

    /// Bytes of a pod as JSON; below 3000 a pod has only the fields that a client needs
    #[arg(long, value_name = "BYTES", default_value = "6000", value_parser = value_parser!(u32).range(..=1_000_000))]
    pub pod_bytes: u32,

    /// Whether lists are streamed to clients that ask for it; off as in Kubernetes up to 1.31 and 1.33
    #[arg(long, value_enum, default_value = "on")]
    pub watch_list: Switch,

    /// Changes of each kind to remember; a watch from an older version gets 410
    #[arg(long, value_name = "N", default_value = "100000", value_parser = value_parser!(u32).range(..=10_000_000))]
    pub history: u32,

    /// Send a bookmark to each watch this often
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

/// Which events there are.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum MixName {
    /// All kinds of events.
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
/// The address is not free, a file or the output cannot be written.
pub async fn run(args: &ClusterArgs) -> Result<(), ClusterError> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ToolError::Signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(ToolError::Signals)?;
    let mut ask = signal(SignalKind::user_defined1()).map_err(ToolError::Signals)?;
    let api = SimApi::start(options(args)).await?;
    let (population, mix) = population(args);
    api.begin(population, mix);
    api.change(around::furnish);
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
            _ = ask.recv() => say(&expected_state(&api))?,
        }
    }
    api.churn(0);
    let events = api.version().saturating_sub(filled);
    let expected_state = expected_state(&api);
    let requests = api.shutdown().await;
    say(&summary(&requests, events))?;
    say(&expected_state)?;
    Ok(())
}

fn options(args: &ClusterArgs) -> Options {
    let token = args.tls.then(|| TOKEN.to_owned());
    let small = args.pod_bytes < 3_000;
    Options {
        listen: args.listen,
        tls: args.tls,
        token: args.token.clone().or(token),
        kinds: Resource::kinds(),
        watch_list: args.watch_list == Switch::On,
        sizes: Sizes {
            pod: args.pod_bytes as usize,
            owner: if small { 0 } else { Sizes::default().owner },
        },
        history: args.history as usize,
        bookmarks_every: args.bookmarks_every,
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
fn expected_state(api: &SimApi) -> String {
    let digest = |main_containers_only| {
        let view = View {
            main_containers_only,
            ..View::default()
        };
        api.expected_state(view).digests().total()
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
    for (kind, row) in Resource::kinds().iter() {
        let name = &*row.resource;
        let [lists, pages, watches, streamed] =
            [Sort::List, Sort::Page, Sort::Watch, Sort::WatchList]
                .map(|sort| requests.count(kind, sort));
        let is_asked_for = lists + pages + watches + streamed > 0;
        if !is_asked_for && !Kind::MATCHED.contains(&kind) {
            continue;
        }
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
    // A pipe that nobody reads is an error at once, not a reason to wait.
    options.custom_flags(OFlag::O_NONBLOCK.bits());
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
