//! `demo`: a watcher, the relay and a reducer in one process, and what the reducer knows
//! as it changes. With `--native` a simulated cluster stands in the watcher's place.

mod enrich;
mod native;

use std::{
    future::Future,
    io::{self, IsTerminal as _, Write as _},
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};

use super::{ToolError, wrote};
use crate::{
    app::{AppError, Relay},
    config::{Config, HostPort},
    sim::{
        kube::ApiError,
        reducer::{MockReducer, Options, State},
        scenario::{Chapter, ExpectedState, Happening, known, scenario},
        watcher::{Call, Watcher, WatcherError},
    },
};

const SIGNS: &str =
    "+ the reducer knows a new pod, - it has dropped one, ~ it knows other details of one\n";

/// How long a chapter may take until the reducer has the expected state.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long the whole story may take; ending the relay afterwards takes 4.5 s at most.
const AT_MOST: Duration = Duration::from_secs(10);

/// How long all events of `--enrich` may take.
const ENRICH_AT_MOST: Duration = Duration::from_secs(14);

/// On a terminal, how long a reader has for a chapter.
const READING: Duration = Duration::from_secs(1);

/// Run a watcher, the relay and a reducer in one process, and show what they do
///
/// The demo plays a small cluster through the real relay over real sockets, and prints the
/// reducer's state as it changes. With --native there is no watcher: the relay watches a
/// simulated API server over TLS. With --enrich there is no reducer either: an event of each
/// metricset gets its metadata from a simulated cluster. It needs nothing else and takes a few seconds. The exit status
/// is 0 only if the reducer's state equals the cluster's at the end of every chapter, even if the
/// output is closed early; with --enrich only if every event was enriched completely.
///
/// Examples:
///     k8s-relay demo
///     k8s-relay demo --native
///     k8s-relay demo --enrich
#[derive(clap::Args, Clone, Debug)]
#[command(verbatim_doc_comment)]
pub struct DemoArgs {
    /// Do not pause between chapters, not even on a terminal
    #[arg(long)]
    pub no_pause: bool,

    /// Use the native source: the relay watches a simulated cluster itself
    #[arg(long)]
    pub native: bool,

    /// Enrich an event of each metricset from a simulated cluster, and show what is added
    #[arg(long, conflicts_with = "native")]
    pub enrich: bool,
}

impl DemoArgs {
    fn pauses(&self) -> bool {
        !self.no_pause && io::stdout().is_terminal()
    }
}

/// Why the demo failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DemoError {
    /// The mock reducer could not listen, or nothing could be printed.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// The relay did not start, or ended with an error.
    #[error(transparent)]
    Relay(#[from] AppError),
    /// The relay did not serve the watcher.
    #[error(transparent)]
    Watcher(#[from] WatcherError),
    /// The simulated cluster could not be served.
    #[error(transparent)]
    Cluster(#[from] ApiError),
    /// The script of `--enrich` cannot be read.
    #[error("the events of the demo are malformed")]
    Script(#[source] serde_json::Error),
    /// An event did not get what belongs to it.
    #[error("the event of {metricset} was not enriched completely: {why}")]
    NotEnriched {
        /// What the event is about.
        metricset: String,
        /// What is wrong.
        why: String,
    },
    /// The kubeconfig for the simulated cluster could not be written.
    #[error("cannot write the kubeconfig {0}")]
    Kubeconfig(String, #[source] io::Error),
    /// The story did not end in time.
    #[error("the scenario took longer than {} s", .0.as_secs())]
    TooSlow(Duration),
    /// The reducer did not come to know what it should.
    #[error("chapter {chapter}: the reducer's state differs from the expected state: {difference}")]
    NotTheTruth {
        /// The number of the chapter, from 1.
        chapter: usize,
        /// What differs first.
        difference: String,
    },
}

/// Plays the story.
///
/// # Errors
/// Something could not be started, or the reducer did not reach the expected state.
pub async fn run(args: &DemoArgs) -> Result<(), DemoError> {
    if args.enrich {
        return enrich::run(args).await;
    }
    if args.native {
        return native::run(args).await;
    }
    let reducer = reducer().await?;
    let config = Config::between(anywhere(), host_port(reducer.addr()));
    let relay = Relay::start(config).await?;
    let address = relay.address();
    let stage = async {
        let mut call = Watcher::connect(&address.to_string()).await?.open();
        let stage = Stage {
            reducer: &reducer,
            pause: args.pauses(),
        };
        let outcome = timeout(AT_MOST, stage.play(&mut call)).await;
        outcome.unwrap_or(Err(DemoError::TooSlow(AT_MOST)))
    };
    let outcome = alongside(relay, stage).await;
    reducer.shutdown().await;
    outcome
}

/// Plays while the relay runs, and then ends the relay in order: the reducer sees FIN before
/// the process is gone.
async fn alongside(
    relay: Relay,
    stage: impl Future<Output = Result<(), DemoError>>,
) -> Result<(), DemoError> {
    let (end, ended) = oneshot::channel::<()>();
    let stage = async {
        let outcome = stage.await;
        // It fails if the relay has ended already.
        let _ = end.send(());
        outcome
    };
    let (outcome, ran) = tokio::join!(
        stage,
        relay.run_until(async {
            // Also ready when the stage fails early and drops its end.
            let _ = ended.await;
        })
    );
    outcome?;
    Ok(ran?)
}

/// A mock reducer on a free port.
async fn reducer() -> Result<MockReducer, DemoError> {
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let bound = MockReducer::bind(addr, Options::default()).await;
    Ok(bound.map_err(|source| ToolError::Listen { addr, source })?)
}

/// A free port of this machine.
fn anywhere() -> HostPort {
    host_port(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
}

fn host_port(address: SocketAddr) -> HostPort {
    HostPort {
        host: address.ip().to_string(),
        port: address.port(),
    }
}

struct Stage<'a> {
    reducer: &'a MockReducer,
    pause: bool,
}

impl Stage<'_> {
    async fn play(&self, watcher: &mut Call) -> Result<(), DemoError> {
        say("watcher ──Collect──► relay ──ingest──► reducer    (all in this process)\n")?;
        say(SIGNS)?;
        let mut before = ExpectedState::new();
        for (number, chapter) in (1..).zip(scenario()) {
            say(&format!(
                "\n{number}. {}\n   {}\n",
                chapter.title, chapter.remark
            ))?;
            let after = self.chapter(number, &chapter, watcher).await?;
            if matches!(chapter.event, Happening::ReducerRestarts) {
                before.clear();
            }
            show(&before, &after)?;
            before = after;
            if self.pause {
                sleep(READING).await;
            }
        }
        let containers: usize = before.values().map(|known| known.containers.len()).sum();
        let pods = before.len();
        say(&format!(
            "\nThe reducer's state equals the expected state: {pods} pods, {containers} containers.\n"
        ))
    }

    /// Lets the chapter happen and returns what the reducer knows afterwards.
    async fn chapter(
        &self,
        number: usize,
        chapter: &Chapter,
        watcher: &mut Call,
    ) -> Result<ExpectedState, DemoError> {
        let mut connections = self.reducer.connections().max(1);
        match &chapter.event {
            Happening::Sent(infos) => {
                for info in infos {
                    watcher.send(info.clone()).await?;
                }
            }
            Happening::ReducerRestarts => {
                self.reducer.disconnect().await;
                connections += 1;
            }
        }
        let is_true = |state: &State| {
            state.connections.len() == connections && latest(state) == chapter.expected_state
        };
        let reached = timeout(PATIENCE, self.reducer.wait_until(is_true)).await;
        let after = self.reducer.with(latest);
        match reached {
            Ok(()) => Ok(after),
            Err(_) => Err(DemoError::NotTheTruth {
                chapter: number,
                difference: first_difference(&after, &chapter.expected_state),
            }),
        }
    }
}

fn latest(state: &State) -> ExpectedState {
    state.reducer_state().map(known).unwrap_or_default()
}

/// Prints what has changed.
fn show(before: &ExpectedState, after: &ExpectedState) -> Result<(), DemoError> {
    let mut quiet = true;
    for (_, known) in before.iter().filter(|(uid, _)| !after.contains_key(*uid)) {
        quiet = false;
        say(&format!("   - {known}\n"))?;
    }
    for (uid, known) in after {
        let sign = match before.get(uid) {
            None => '+',
            Some(same) if same == known => continue,
            Some(_) => '~',
        };
        quiet = false;
        say(&format!("   {sign} {known}\n"))?;
    }
    if quiet {
        say("   (the reducer's state has not changed)\n")?;
    }
    Ok(())
}

fn first_difference(found: &ExpectedState, expected_state: &ExpectedState) -> String {
    let missing = expected_state
        .iter()
        .find(|(uid, known)| found.get(*uid) != Some(known));
    match (
        missing,
        found.keys().find(|uid| !expected_state.contains_key(*uid)),
    ) {
        (Some((uid, known)), _) => match found.get(uid) {
            Some(other) => format!("it knows `{other}` instead of `{known}`"),
            None => format!("it does not know `{known}`"),
        },
        (None, Some(uid)) => format!("it still knows {uid}"),
        (None, None) => "it came too late".to_owned(),
    }
}

fn say(text: &str) -> Result<(), DemoError> {
    let mut out = io::stdout();
    let said = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    // Who closes the pipe wants no more of the story; whether it ends well still counts.
    wrote(said)?;
    Ok(())
}
