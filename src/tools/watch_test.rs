//! `watch-test`: the traffic that the legacy watcher sent under `-local-test`, for a look at a
//! relay without a cluster.

use std::time::Duration;

use tokio::time::sleep;
use tracing::{info, warn};

use crate::sim::{
    load::{LOCAL_TEST_ROUND, local_test},
    watcher::{Call, Watcher, WatcherError},
};

/// How long the legacy watcher waited before it called again.
const RECONNECT_AFTER: Duration = Duration::from_millis(200);

/// Send a relay the traffic of the legacy watcher's local test
///
/// Each round sends a ReplicaSet and a pod of it, deletes that pod, and sends a pod without an
/// owner. When the relay ends the call, the round begins again.
///
/// Example:
///     k8s-relay watch-test --server-address localhost:8712 --count 10
#[derive(clap::Args, Clone, Debug)]
#[command(verbatim_doc_comment)]
pub struct WatchTestArgs {
    /// The relay's Collect address
    #[arg(long, value_name = "HOST:PORT", default_value = "localhost:8712")]
    pub server_address: String,

    /// Rounds per second; pauses shrink accordingly [default: 10 rounds in 7 s, as the legacy watcher]
    #[arg(long, value_name = "N", value_parser = rate)]
    pub rate: Option<f64>,

    /// End after this number of rounds [default: never]
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
}

/// Sends round after round. When the relay ends the call or cannot be reached, tries again after
/// 200 ms, and the round starts again.
///
/// Returns when `count` rounds were sent and the relay has ended the call.
pub async fn run(args: WatchTestArgs) {
    let pace = args
        .rate
        .map_or(1.0, |rate| 1.0 / (rate * LOCAL_TEST_ROUND.as_secs_f64()));
    let mut round = 0;
    loop {
        match play(&args, pace, &mut round).await {
            Ok(()) => return info!(rounds = round, "all rounds sent"),
            Err(error) => warn!(round, %error, "the relay ended the stream; calling it again"),
        }
        sleep(RECONNECT_AFTER).await;
    }
}

async fn play(args: &WatchTestArgs, pace: f64, round: &mut u64) -> Result<(), WatcherError> {
    let watcher = Watcher::connect(&args.server_address).await?;
    let mut call = watcher.open();
    while args.count.is_none_or(|count| *round < count) {
        for step in local_test(*round) {
            call.send(step.info).await?;
            pause(&mut call, step.pause.mul_f64(pace)).await?;
        }
        *round += 1;
    }
    call.half_close();
    call.ended().await;
    Ok(())
}

/// Waits, but not longer than the call stands.
async fn pause(call: &mut Call, pause: Duration) -> Result<(), WatcherError> {
    if pause.is_zero() {
        return Ok(());
    }
    tokio::select! {
        () = sleep(pause) => Ok(()),
        _ = call.ended() => Err(WatcherError::Ended),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.001..=1e6).contains(&rate) => Ok(rate),
        Ok(_) => Err("not between 0.001 and 1000000".into()),
        Err(_) => Err("not a number".into()),
    }
}
