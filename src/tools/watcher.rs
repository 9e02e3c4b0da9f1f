//! `k8s-relay watcher`: stands in for the old watcher, so that a migration can be tried with
//! nothing else installed.

use std::path::PathBuf;

use tracing::{info, warn};

use crate::{
    config::HostPort,
    sim::old_watcher::{self, PAUSE},
    source::native::{Access, ConnectError, Limits, connect},
};

/// Stand in for the old watcher: stream what an API server tells to a relay
///
/// It does what the old Go watcher does: lists ReplicaSets, Jobs and pods, each list whole,
/// tells all of them, and follows its watches. Whatever fails, or the end of its call, ends all
/// of that, and 200 ms later it begins anew. It is for trying a migration, not for a real
/// cluster: it is neither that program nor as frugal.
///
/// Example, in four terminals:
///     k8s-relay cluster --kubeconfig-out /tmp/sim.yaml
///     k8s-relay reducer --listen 127.0.0.1:8000 --picture
///     k8s-relay --kubeconfig /tmp/sim.yaml
///     k8s-relay watcher --kubeconfig /tmp/sim.yaml
/// and in a fifth one:
///     k8s-relay migrate shadow
///     k8s-relay migrate status
#[derive(clap::Args, Clone, Debug)]
#[command(verbatim_doc_comment)]
pub struct WatcherArgs {
    /// The kubeconfig of the API server [default: as every Kubernetes tool finds it]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Its context, if not the current one
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,

    /// Where the relay serves watchers
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
    old_watcher::watch(server.client(), &args.to.to_string(), PAUSE, |error| {
        // Five times a second the same would drown everything else.
        let error = anyhow::Error::from(error);
        let text = format!("{error:#}");
        if last.as_ref() != Some(&text) {
            warn!(error = text.as_str(), "beginning anew every 200 ms");
            last = Some(text);
        }
    })
    .await;
    Ok(())
}
