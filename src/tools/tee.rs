//! `k8s-relay tee`: one unchanged watcher in front, two relays behind, compared all the time.

mod calls;
mod follower;
mod pipe;
mod recorder;
mod reducers;
mod session;
mod turns;

use std::{
    future::Future,
    io,
    net::SocketAddr,
    num::NonZeroUsize,
    path::PathBuf,
    pin::pin,
    str::FromStr,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::{Stream, StreamExt as _, stream};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::{
    sync::CancellationToken,
    task::{AbortOnDropHandle, TaskTracker},
};

pub use self::calls::Times;
use self::{
    calls::{Calls, Shared},
    follower::Secondary,
    recorder::Recorder,
    reducers::Reducer,
    session::{Session, print},
    turns::Turns,
};
use super::ToolError;
use crate::{
    config::{self, HostPort},
    net::{
        Listener,
        grpc::{self, ServeError, Services, Tasks},
    },
    source::legacy,
    tee::compare::Side,
};

/// Pass watcher streams to two relays and compare these, or record the streams
///
/// A watcher that streams here notices nothing: each stream is passed, byte for byte, to every
/// relay named with --to, and the watcher gets the answers of the first one. The tee never waits
/// for the second. If the second is slow, unreachable or ends a stream, it is shown as out of
/// comparison; when it is back, it is sent the state of each stream again.
///
/// To compare what both relays announce, let each use this program as its reducer: give
/// --reducer-listen once for each --to, in the same order. LISTEN alone is a reducer that only
/// listens; LISTEN=HOST:PORT is a tap that passes everything, unchanged, to the real one.
///
/// A difference that has stood for --settle is one line on standard output, its end another.
/// SIGUSR1 prints the present state. SIGINT or SIGTERM ends it; the exit status is 0 only if no
/// difference stands then and both relays could be compared.
///
/// Examples:
///   Keep the old relay in front of the real reducer, and try the new one alongside:
///     k8s-relay tee --listen 0.0.0.0:8712 --to old:8712 --to new:8712 \
///       --reducer-listen 0.0.0.0:7001=reducer.otel:7000 --reducer-listen 0.0.0.0:7002
///     (old: EBPF_NET_INTAKE_PORT=7001, new: 7002; the host of both is where the tee runs)
///
///   Record what the watchers send, and play it to another relay later:
///     k8s-relay tee --to old:8712 --record streams.rec
///     k8s-relay replay streams.rec --to new:8712 --speed max
#[derive(clap::Args, Clone, Debug)]
#[command(verbatim_doc_comment)]
pub struct TeeArgs {
    /// A relay's Collect address; once or twice. Watchers get the answers of the first
    #[arg(long, value_name = "HOST:PORT", required = true, action = clap::ArgAction::Append)]
    pub to: Vec<HostPort>,

    /// Serve watchers at this address; with port 0 at a free one, printed on standard error
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8712")]
    pub listen: SocketAddr,

    /// Be the reducer of the relay at the same position of --to, or a tap before its real one
    #[arg(
        long,
        visible_alias = "tap",
        value_name = "ADDR[=HOST:PORT]",
        action = clap::ArgAction::Append
    )]
    pub reducer_listen: Vec<ReducerListen>,

    /// Confirm a difference after this time
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = config::duration)]
    pub settle: Duration,

    /// Cut a stream of the second relay that has fallen behind this far, in MiB
    #[arg(long, value_name = "MIB", default_value = "64")]
    pub backlog: NonZeroUsize,

    /// Record the watchers' streams in this file, which must not exist yet
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
}

/// Where to be a reducer, and before which real one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReducerListen {
    /// Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where everything goes on to.
    pub real: Option<HostPort>,
}

/// Where a tee listens.
#[derive(Clone, Debug, Default)]
pub struct Bound {
    /// For watchers.
    pub watchers: Option<SocketAddr>,
    /// For each relay that takes it for its reducer.
    pub reducers: Vec<SocketAddr>,
}

/// How long the end may take: printing, recording, and calls that are read on.
const END_WITHIN: Duration = Duration::from_secs(4);

impl FromStr for ReducerListen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (listen, real) = match text.split_once('=') {
            None => (text, None),
            Some((listen, real)) => (listen, Some(real)),
        };
        let real = real.map(HostPort::from_str).transpose();
        Ok(Self {
            listen: listen
                .parse()
                .map_err(|_| format!("`{listen}` is not an address with a port to listen on"))?,
            real: real.map_err(|error| error.to_string())?,
        })
    }
}

impl TeeArgs {
    /// Whether the arguments fit each other.
    fn check(&self) -> Result<(), ToolError> {
        let wrong = match (self.to.len(), self.reducer_listen.len()) {
            (0, _) | (3.., _) => "--to is given once or twice: one relay to record, two to compare",
            (1, 1..) => "--reducer-listen compares two relays: give a second --to",
            (2, 1 | 3..) => {
                "give --reducer-listen once for each --to, in the same order, or not at all"
            }
            (1, 0) if self.record.is_none() => {
                "there is nothing to do: give a second --to, or --record"
            }
            (1 | 2, _) => return Ok(()),
        };
        Err(ToolError::Arguments(wrong))
    }
}

/// Runs until SIGINT or SIGTERM; shows on standard output.
///
/// # Errors
/// The arguments do not fit, an address is not free, the recording cannot be written, or the relays
/// could not be called equal.
pub async fn run(args: &TeeArgs) -> Result<(), ToolError> {
    let catch = |kind| signal(kind).map_err(ToolError::Signals);
    let mut interrupt = catch(SignalKind::interrupt())?;
    let mut terminate = catch(SignalKind::terminate())?;
    let mut ask = catch(SignalKind::user_defined1())?;
    let ask = stream::poll_fn(move |cx| ask.poll_recv(cx));
    let stop = async {
        tokio::select! { _ = interrupt.recv() => {} _ = terminate.recv() => {} }
    };
    let bound = |bound: Bound| {
        use std::io::Write as _;
        let mut err = io::stderr();
        if let Some(addr) = bound.watchers {
            // Without standard error there is nobody to inform.
            let _ = writeln!(err, "listening on {addr}");
        }
        for addr in bound.reducers {
            let _ = writeln!(err, "a reducer on {addr}");
        }
    };
    serve(args, Times::default(), io::stdout(), bound, ask, stop).await
}

/// Runs until `stop`; shows on `out`, a summary whenever `ask` comes. `bound` receives the
/// addresses.
///
/// # Errors
/// As [`run`].
pub async fn serve(
    args: &TeeArgs,
    times: Times,
    out: impl io::Write + Send + 'static,
    bound: impl FnOnce(Bound),
    ask: impl Stream<Item = ()>,
    stop: impl Future<Output = ()>,
) -> Result<(), ToolError> {
    args.check()?;
    let watchers = listen(args.listen).await?;
    let mut reducers = Vec::new();
    for reducer in &args.reducer_listen {
        reducers.push((listen(reducer.listen).await?, reducer.real.clone()));
    }
    let file = match &args.record {
        None => None,
        Some(path) => Some(recorder::create(path).map_err(|source| ToolError::Record {
            file: path.display().to_string(),
            source,
        })?),
    };
    let address = |listener: &TcpListener| listener.local_addr().ok();
    bound(Bound {
        watchers: address(&watchers),
        reducers: reducers.iter().filter_map(|(at, _)| address(at)).collect(),
    });

    let compared = !reducers.is_empty();
    let (session, lines) = Session::new(names(&args.to), compared.then_some(args.settle));
    let session = Arc::new(session);
    let printer = print(lines, out);
    let (recorder, recording) = file
        .map(|file| Recorder::start(file, session.clone()))
        .unzip();

    let stopped = CancellationToken::new();
    let tasks = TaskTracker::new();
    for ((listener, real), side) in reducers.into_iter().zip([Side::First, Side::Second]) {
        let session = session.clone();
        let reducer = Reducer {
            side,
            real,
            session,
        };
        tasks.spawn(reducer.serve(listener, tasks.clone(), stopped.clone()));
    }
    let mut to = args.to.iter().cloned();
    let Some(first) = to.next() else {
        return args.check();
    };
    let shutdown = CancellationToken::new();
    let shared = Arc::new(Shared {
        first,
        second: to.next().map(|address| Secondary {
            address,
            backlog: args.backlog.get().saturating_mul(1 << 20),
            turns: Turns::default(),
        }),
        session: session.clone(),
        recorder,
        times,
        shutdown: shutdown.clone(),
        opened: Mutex::new(0),
    });
    let calls = |tasks: &Tasks| Calls {
        shared,
        tasks: tasks.clone(),
    };
    let server = grpc::serve(
        vec![Listener::from(watchers)],
        |tasks| Services::default().with(legacy::service(calls(tasks))),
        shutdown.clone(),
        grpc::Options::default(),
        Arc::default(),
    );
    #[expect(
        clippy::disallowed_methods,
        reason = "the handle is kept and aborts on drop"
    )]
    let mut server = AbortOnDropHandle::new(tokio::spawn(server));

    let served = watch(&session, args.settle, ask, &mut server, stop).await;
    // Judged before anything is taken away from the relays.
    session.print_changes();
    session.summarize();
    let result = session.result().map_err(ToolError::Different);
    shutdown.cancel();
    if served.is_ok() {
        // How the server ends is of no interest any more; the calls have ended with it.
        let _ = timeout(END_WITHIN, &mut server).await;
    }
    drop(server);
    stopped.cancel();
    tasks.close();
    tasks.wait().await;
    let recorded = match recording {
        None => Ok(()),
        Some(task) => finish(task, args, &session).await,
    };
    drop(session);
    // Nobody waits longer for who does not read.
    let _ = timeout(END_WITHIN, printer).await;
    served.and(recorded).and(result)
}

/// Prints what changes, until `stop` or the end of the server.
async fn watch(
    session: &Session,
    settle: Duration,
    ask: impl Stream<Item = ()>,
    server: &mut AbortOnDropHandle<Result<(), ServeError>>,
    stop: impl Future<Output = ()>,
) -> Result<(), ToolError> {
    let period = (settle / 4).clamp(Duration::from_millis(10), Duration::from_secs(1));
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ask = pin!(ask.fuse());
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => return Ok(()),
            ended = &mut *server => return match ended {
                Ok(served) => Ok(served?),
                Err(_) => Err(ToolError::Different("the server has panicked".to_owned())),
            },
            _ = ticks.tick() => session.print_changes(),
            Some(()) = ask.next() => session.summarize(),
        }
    }
}

/// Waits until everything is recorded.
async fn finish(
    task: tokio::task::JoinHandle<io::Result<recorder::Written>>,
    args: &TeeArgs,
    session: &Session,
) -> Result<(), ToolError> {
    let written = match timeout(END_WITHIN, task).await {
        Ok(Ok(written)) => written,
        Ok(Err(panicked)) => Err(io::Error::other(panicked)),
        Err(_) => Err(io::Error::other("the disk is too slow")),
    };
    let file = args
        .record
        .as_ref()
        .map_or_else(String::new, |path| path.display().to_string());
    match written {
        Ok(recorder::Written { records, bytes }) => {
            session.line(format_args!(
                "summary: {file} holds {records} records in {bytes} bytes"
            ));
            Ok(())
        }
        Err(source) => Err(ToolError::Record { file, source }),
    }
}

async fn listen(addr: SocketAddr) -> Result<TcpListener, ToolError> {
    let bound = TcpListener::bind(addr).await;
    bound.map_err(|source| ToolError::Listen { addr, source })
}

/// How the relays are called in lines.
fn names(to: &[HostPort]) -> [String; 2] {
    let name = |place: &str, n: usize| match to.get(n) {
        Some(address) => format!("{place} ({address})"),
        None => place.to_owned(),
    };
    [name("first", 0), name("second", 1)]
}
