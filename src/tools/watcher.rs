//! `k8s-relay watcher`: stands in for the legacy watcher, so that a migration can be tried with
//! nothing else installed.

use std::path::PathBuf;

use tracing::{info, warn};

use crate::{
    config::HostPort,
    sim::legacy_watcher::{self, PAUSE},
    source::native::{Access, ConnectError, Limits, connect},
};

/// Run a legacy watcher: stream the objects of an API server to a relay
///
/// It does what the legacy Go watcher does: it lists ReplicaSets, Jobs and pods, each list as a
/// whole, sends all of them, and follows its watches. Any failure, or the end of its call, ends
/// all of that, and 200 ms later it begins again. Use it to try a migration, not in a real
/// cluster: it is not that program, and it uses more memory.
///
/// Example, in four terminals:
///     k8s-relay cluster --kubeconfig-out /tmp/sim.yaml
///     k8s-relay reducer --listen 127.0.0.1:8000 --state
///     k8s-relay --kubeconfig /tmp/sim.yaml
///     k8s-relay watcher --kubeconfig /tmp/sim.yaml
/// and in a fifth one:
///     k8s-relay migrate shadow
///     k8s-relay status
#[derive(clap::Args, Clone, Debug)]
#[command(verbatim_doc_comment)]
pub struct WatcherArgs {
    /// The kubeconfig of the API server [default: $KUBECONFIG, ~/.kube/config, the pod's own]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Use this context of the kubeconfig [default: its current one]
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,

    /// The relay's Collect address
    #[arg(long, value_name = "HOST:PORT", default_value = "localhost:8712")]
    pub to: HostPort,
}

/// Watches until it is killed.
///
/// # Errors
/// What says how to reach the API server is missing or wrong. That either side does not answer
/// is no error: it is tried again.
pub async fn run(args: &WatcherArgs) -> Result<(), ConnectError> {
    let access = Access {
        kubeconfig: args.kubeconfig.clone(),
        context: args.context.clone(),
    };
    let server = connect(&access, Limits::default()).await?;
    info!(server = &*server.url(), relay = %args.to, "watching");
    let mut last = None;
    legacy_watcher::watch(server.client(), &args.to.to_string(), PAUSE, |error| {
        // Five times a second the same would drown everything else.
        let error = anyhow::Error::from(error);
        let text = format!("{error:#}");
        if last.as_ref() != Some(&text) {
            warn!(error = text.as_str(), "starting over every 200 ms");
            last = Some(text);
        }
    })
    .await;
    Ok(())
}
