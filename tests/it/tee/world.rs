//! A watcher, a tee, and two relays in this process.

use std::{
    io::{self, Write},
    net::SocketAddr,
    path::PathBuf,
    time::Duration,
};

use k8s_relay::{
    app::{AppError, Relay},
    config::{Config, Heartbeat, HostPort, StreamHandover},
    proto::Info,
    sim::{
        reducer::{self, MockReducer, State},
        watcher::{Call, Watcher},
    },
    tools::{
        ToolError,
        tee::{Bound, ReducerListen, TeeArgs, Times, serve},
    },
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::support::{
    gate::{Gate, Way},
    must,
};

/// Long enough that nothing counts by mistake.
pub(super) const LONG: Duration = Duration::from_secs(600);

/// A tee, without a process around it.
pub(super) struct Tee {
    pub(super) bound: Bound,
    shown: watch::Receiver<String>,
    ask: mpsc::Sender<()>,
    stop: oneshot::Sender<()>,
    task: AbortOnDropHandle<Result<(), ToolError>>,
}

/// What the tee shows.
struct Shown(watch::Sender<String>);

impl Write for Shown {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = std::str::from_utf8(bytes).unwrap();
        self.0.send_modify(|shown| shown.push_str(text));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A tee to these relays that compares nothing yet.
pub(super) fn to(relays: &[SocketAddr]) -> TeeArgs {
    TeeArgs {
        to: relays.iter().copied().map(host_port).collect(),
        listen: here(),
        reducer_listen: Vec::new(),
        settle: LONG,
        backlog: 1.try_into().unwrap(),
        record: None,
    }
}

pub(super) fn times() -> Times {
    Times {
        backoff_min: Duration::from_millis(5),
        backoff_max: Duration::from_millis(50),
        ..Times::default()
    }
}

impl Tee {
    pub(super) async fn start(args: TeeArgs) -> Self {
        Self::within(args, times()).await
    }

    pub(super) async fn within(args: TeeArgs, times: Times) -> Self {
        let (shown, seen) = watch::channel(String::new());
        let (ask, asked) = mpsc::channel(1);
        let (bound, found) = oneshot::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let stopped = async { drop(stopped.await) };
            let bound = |at| bound.send(at).unwrap();
            serve(
                &args,
                times,
                Shown(shown),
                bound,
                ReceiverStream::new(asked),
                stopped,
            )
            .await
        });
        Self {
            bound: must("the tee listens", found).await.unwrap(),
            shown: seen,
            ask,
            stop,
            task: AbortOnDropHandle::new(task),
        }
    }

    /// Opens a call, as a watcher.
    pub(super) async fn call(&self) -> Call {
        let address = self.bound.watchers.unwrap().to_string();
        must("the tee accepts", Watcher::connect(&address))
            .await
            .unwrap()
            .open()
    }

    /// Waits until a line that was shown has this in it.
    pub(super) async fn shows(&self, text: &str) -> String {
        self.shows_after(0, text).await
    }

    /// The same, beyond what was shown at this length.
    pub(super) async fn shows_after(&self, len: usize, text: &str) -> String {
        let mut shown = self.shown.clone();
        let line = |shown: &String| {
            let mut lines = shown[len..]
                .split_inclusive('\n')
                .filter(|line| line.ends_with('\n'));
            lines.find(|line| line.contains(text)).map(str::to_owned)
        };
        let found = tokio::time::timeout(
            crate::support::PATIENCE,
            shown.wait_for(|shown| line(shown).is_some()),
        );
        match found.await {
            Ok(Ok(shown)) => line(&shown).unwrap(),
            _ => panic!("never shown: {text}; but:\n{}", *self.shown.borrow()),
        }
    }

    pub(super) fn shown(&self) -> String {
        self.shown.borrow().clone()
    }

    /// How many bytes were shown by now.
    pub(super) fn mark(&self) -> usize {
        self.shown.borrow().len()
    }

    /// Asks for a summary, and gives its line about what both know: the two digests.
    pub(super) async fn digests(&self) -> [String; 2] {
        let mark = self.mark();
        self.ask.send(()).await.unwrap();
        let line = self.shows_after(mark, " knows ").await;
        let digest = |part: &str| part.split(" knows ").nth(1).unwrap().trim().to_owned();
        let (first, second) = line.split_once(", second").unwrap();
        [digest(first), digest(second)]
    }

    /// Asks for summaries until one has this in its counts.
    pub(super) async fn counts(&self, text: &str) {
        must(text, async {
            loop {
                let mark = self.mark();
                self.ask.send(()).await.unwrap();
                let line = self.shows_after(mark, "summary: ").await;
                if line.contains(text) {
                    return;
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// Waits until both know the same, of so many pods.
    pub(super) async fn equal(&self, pods: usize) {
        let ending = format!("/{pods}");
        must("both know the same", async {
            loop {
                let [first, second] = self.digests().await;
                if first == second && first.ends_with(&ending) {
                    return;
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// Ends it, and returns its result and all that was shown.
    pub(super) async fn stop(self) -> (Result<(), ToolError>, String) {
        let Self {
            stop,
            task,
            mut shown,
            ..
        } = self;
        // It may have ended by itself.
        let _ = stop.send(());
        let ended = must("the tee ends", task).await.unwrap();
        // Its printer has gone with it.
        let _ = must("its output ends", shown.wait_for(|_| false)).await;
        let shown = shown.borrow().clone();
        (ended, shown)
    }
}

/// A relay in this process. Dropping it ends it at once.
pub(super) struct Behind {
    pub(super) address: SocketAddr,
    end: CancellationToken,
    task: AbortOnDropHandle<Result<(), AppError>>,
}

impl Behind {
    /// A relay that announces to this reducer.
    pub(super) async fn start(reducer: SocketAddr, set: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config {
            heartbeat: Heartbeat::Once,
            health_interval: Duration::from_secs(3600),
            // As the C++ relay does, which the tee is there to compare with.
            stream_handover: StreamHandover::Legacy,
            ..Config::between(host_port(here()), host_port(reducer))
        };
        set(&mut config);
        let relay = Relay::start(config).await.unwrap();
        let (address, end) = (relay.address(), CancellationToken::new());
        let task = tokio::spawn(relay.run_until(end.clone().cancelled_owned()));
        Self {
            address,
            end,
            task: AbortOnDropHandle::new(task),
        }
    }

    pub(super) async fn stop(self) {
        self.end.cancel();
        must("the relay ends", self.task).await.unwrap().unwrap();
    }
}

/// Two relays behind a tee that compares them. The first is tapped before a reducer of its own.
pub(super) struct World {
    pub(super) reducer: MockReducer,
    _first: Behind,
    pub(super) second: Behind,
    /// Before the second relay.
    pub(super) gate: Gate,
    pub(super) tee: Tee,
    _reducers: [Gate; 2],
}

impl World {
    pub(super) async fn start() -> Self {
        Self::with(|_| (), |_| ()).await
    }

    /// With other settings of the tee and of the second relay.
    pub(super) async fn with(
        tee: impl FnOnce(&mut TeeArgs),
        second: impl FnOnce(&mut Config),
    ) -> Self {
        let reducer = mock_reducer().await;
        // Who comes first must know where the other will be.
        let reducers = [Gate::new(Way::Stalled).await, Gate::new(Way::Stalled).await];
        let first = Behind::start(reducers[0].address(), |_| ()).await;
        let second = Behind::start(reducers[1].address(), second).await;
        let gate = Gate::new(Way::Open(second.address)).await;
        let mut args = to(&[first.address, gate.address()]);
        args.reducer_listen = vec![
            ReducerListen {
                listen: here(),
                real: Some(host_port(reducer.addr())),
            },
            ReducerListen {
                listen: here(),
                real: None,
            },
        ];
        tee(&mut args);
        let tee = Tee::start(args).await;
        for (gate, at) in reducers.iter().zip(&tee.bound.reducers) {
            gate.set(Way::Open(*at));
        }
        Self {
            reducer,
            _first: first,
            second,
            gate,
            tee,
            _reducers: reducers,
        }
    }

    /// Waits until both sides are compared.
    pub(super) async fn compared(&self) {
        for side in ["first", "second"] {
            must("both are compared", async {
                loop {
                    let shown = self.tee.shown();
                    let mut of_side = shown.lines().filter(|l| l.contains(&format!(" {side} (")));
                    let last = of_side.rfind(|line| line.contains("comparison"));
                    if last.is_some_and(|line| line.ends_with("is in comparison")) {
                        return;
                    }
                    self.tee.shows_after(shown.len(), "comparison").await;
                }
            })
            .await;
        }
    }

    /// Waits until the real reducer, behind the tap, knows so many pods.
    pub(super) async fn sent(&self, pods: usize) {
        let knows = |state: &State| {
            state
                .reducer_state()
                .is_some_and(|reducer_state| reducer_state.pods() == pods)
        };
        must("the reducer knows the pods", self.reducer.wait_until(knows)).await;
    }
}

pub(super) async fn send(call: &mut Call, infos: impl IntoIterator<Item = Info>) {
    for info in infos {
        must("the tee reads", call.send(info)).await.unwrap();
    }
}

pub(super) async fn mock_reducer() -> MockReducer {
    MockReducer::bind(here(), reducer::Options::default())
        .await
        .unwrap()
}

pub(super) fn here() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

pub(super) fn host_port(address: SocketAddr) -> HostPort {
    HostPort {
        host: address.ip().to_string(),
        port: address.port(),
    }
}

/// A file that is not there yet, in a folder that goes with it.
pub(super) fn new_file() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("streams.rec");
    (dir, path)
}
