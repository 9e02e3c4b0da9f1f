//! `k8s-relay reducer`: a mock reducer to point a relay at.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::task::Poll;

use futures_util::{Stream, StreamExt, stream};
use serde_json::{Map, Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::{Lines, Reading, ToolError};
use crate::net::tls::{Authorities, ClientCerts, Paths, Role, ServerTls};
use crate::sim::reducer::{Connection, End, Entry, MockReducer, Options, State};
use crate::sim::reducer_state::{Container, Pod, ReducerState};
use crate::wire::json::text;

/// Run a mock reducer that checks and shows what relays send
///
/// It is stricter than the real one: a wrong order of messages, a version below 0.9.0, malformed
/// bytes, or a block of more than 16384 plain bytes (with which the real one loses data silently)
/// close the connection and make the exit status 1. It never sends anything.
///
/// With --json each message is one line: its name as `msg`, its fields, and its `timestamp` in
/// nanoseconds since the UNIX epoch. {"marker": "new_connection", "index": n} stands where the
/// messages of another connection follow. With --state it prints nothing until the end; then one
/// line for each pod of the newest connection, and a summary of each connection, including what
/// the real reducer would have lost silently. The `digest` of a summary is the same for the same
/// pods, whatever the order in which they were announced.
///
/// It runs until SIGINT or SIGTERM, or until --connections have ended. With --state, SIGUSR1
/// prints the summary of the newest connection at once (null if there is none), and SIGUSR2
/// prints the lines of its pods before it.
///
/// Example, in two terminals:
///     k8s-relay reducer --listen 127.0.0.1:8000
///     k8s-relay --intake-host 127.0.0.1 --intake-port 8000
#[derive(clap::Args, Clone, Debug)]
#[command(verbatim_doc_comment)]
pub struct ReducerArgs {
    /// Address to listen on; with port 0 a free one, which is printed on standard error
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8000")]
    pub listen: SocketAddr,

    /// Print each message as it comes (the default)
    #[arg(long, conflicts_with = "state")]
    pub json: bool,

    /// Print the reducer's state at the end instead
    #[arg(long, alias = "picture")]
    pub state: bool,

    /// Exit after this number of connections have ended
    #[arg(long, value_name = "N")]
    pub connections: Option<NonZeroUsize>,

    /// TLS.
    #[command(flatten)]
    pub tls: TlsArgs,
}

/// Which certificates a mock reducer shows and asks for.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct TlsArgs {
    /// Speak TLS, with the certificate chain in this PEM file
    #[arg(long, value_name = "PATH", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,

    /// Use the private key in this PEM file for --tls-cert
    #[arg(long, value_name = "PATH", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,

    /// Serve only relays with a certificate by an authority in this PEM file
    #[arg(long, value_name = "PATH", requires = "tls_cert")]
    pub tls_client_ca: Option<PathBuf>,
}

impl TlsArgs {
    async fn load(&self) -> Result<Option<ServerTls>, ToolError> {
        let Some(identity) = self.tls_cert.clone().zip(self.tls_key.clone()) else {
            return Ok(None);
        };
        let paths = Paths {
            identity: Some(identity),
            authorities: match &self.tls_client_ca {
                Some(path) => Authorities::File(path.clone()),
                None => Authorities::None,
            },
        };
        let role = Role {
            label: "mock_reducer",
            words: "of the mock reducer",
        };
        let tls = ServerTls::load(role, paths, ClientCerts::Required, &[]).await;
        tls.map(Some).map_err(ToolError::Tls)
    }
}

/// What the user of a running reducer asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// The line of the newest connection.
    Sum,
    /// The newest connection's pods, then its line.
    Pods,
    /// That it ends.
    End,
}

/// Runs until a signal or the last connection's end; shows on standard output.
///
/// # Errors
/// The address is not free, the output cannot be written, or a relay violated the protocol.
pub async fn run(args: &ReducerArgs) -> Result<(), ToolError> {
    let watched = [
        (SignalKind::interrupt(), Wish::End),
        (SignalKind::terminate(), Wish::End),
        (SignalKind::user_defined1(), Wish::Sum),
        (SignalKind::user_defined2(), Wish::Pods),
    ];
    let mut signals = Vec::new();
    for (kind, wish) in watched {
        signals.push((signal(kind).map_err(ToolError::Signals)?, wish));
    }
    let wishes = stream::poll_fn(|cx| {
        for (signal, wish) in &mut signals {
            if signal.poll_recv(cx).is_ready() {
                return Poll::Ready(Some(*wish));
            }
        }
        Poll::Pending
    });
    let bound = |addr| {
        // Without standard error there is nobody to inform.
        let _ = writeln!(io::stderr(), "listening on {addr}");
    };
    serve(args, io::BufWriter::new(io::stdout()), bound, wishes).await
}

/// Runs until [`Wish::End`], the end of `wishes` or the last connection's end; shows on `out`.
/// `bound` receives the address.
///
/// # Errors
/// As [`run`].
pub async fn serve(
    args: &ReducerArgs,
    out: impl Write,
    bound: impl FnOnce(SocketAddr),
    wishes: impl Stream<Item = Wish>,
) -> Result<(), ToolError> {
    let (tap, mut entries) = mpsc::channel(1024);
    let tap = (!args.state).then_some(tap);
    let options = Options {
        keep_everything: false,
        tap,
        tls: args.tls.load().await?,
        ..Options::default()
    };
    let reducer = MockReducer::bind(args.listen, options)
        .await
        .map_err(|source| ToolError::Listen {
            addr: args.listen,
            source,
        })?;
    bound(reducer.addr());

    let mut lines = Lines::new(out);
    let shown = if args.state {
        show_reducer_state(args, &reducer, &mut lines, wishes).await
    } else {
        show_messages(args, &reducer, &mut lines, &mut entries, wishes).await
    };
    // Whatever waits in the channel must not hold back the end.
    entries.close();
    let state = reducer.shutdown().await;
    let flushed = lines.flush();
    shown.and(flushed)?;
    violations(&state)
}

async fn show_messages(
    args: &ReducerArgs,
    reducer: &MockReducer,
    lines: &mut Lines<impl Write>,
    entries: &mut mpsc::Receiver<Entry>,
    wishes: impl Stream<Item = Wish>,
) -> Result<Reading, ToolError> {
    let all_ended = reducer.wait_until(|state| enough(args, state));
    let stop = wishes.filter(|wish| std::future::ready(*wish == Wish::End));
    tokio::pin!(all_ended, stop);
    loop {
        tokio::select! {
            biased;
            Some(Entry { connection, timestamp, message }) = entries.recv() => {
                if lines.message(connection, timestamp, message)? == Reading::No {
                    return Ok(Reading::No);
                }
                if entries.is_empty() && lines.flush()? == Reading::No {
                    return Ok(Reading::No);
                }
            }
            () = &mut all_ended => return Ok(Reading::Yes),
            _ = stop.next() => break,
        }
    }
    // What was read by now is shown.
    while let Ok(Entry {
        connection,
        timestamp,
        message,
    }) = entries.try_recv()
    {
        if lines.message(connection, timestamp, message)? == Reading::No {
            return Ok(Reading::No);
        }
    }
    Ok(Reading::Yes)
}

async fn show_reducer_state(
    args: &ReducerArgs,
    reducer: &MockReducer,
    lines: &mut Lines<impl Write>,
    wishes: impl Stream<Item = Wish>,
) -> Result<Reading, ToolError> {
    let all_ended = reducer.wait_until(|state| enough(args, state));
    tokio::pin!(all_ended, wishes);
    loop {
        let wish = tokio::select! {
            () = &mut all_ended => Wish::End,
            wish = wishes.next() => wish.unwrap_or(Wish::End),
        };
        let shown = match wish {
            Wish::Sum => vec![reducer.with(describe_latest)],
            Wish::Pods => reducer.with(|state| {
                let latest = describe_latest(state);
                describe_pods(state).chain([latest]).collect()
            }),
            Wish::End => reducer.with(describe),
        };
        for line in shown {
            if lines.line(&line)? == Reading::No {
                return Ok(Reading::No);
            }
        }
        if wish == Wish::End || lines.flush()? == Reading::No {
            return Ok(Reading::Yes);
        }
    }
}

/// Whether all connections that were asked for have ended.
fn enough(args: &ReducerArgs, state: &State) -> bool {
    let ended = state
        .connections
        .iter()
        .filter(|connection| connection.end.is_some())
        .count();
    args.connections.is_some_and(|wanted| ended >= wanted.get())
}

fn violations(state: &State) -> Result<(), ToolError> {
    let mut found = Vec::new();
    for (index, violation) in state.violations() {
        found.push(format!("connection {index}: {violation}"));
    }
    if found.is_empty() {
        Ok(())
    } else {
        Err(ToolError::Violations(found.join("; ")))
    }
}

/// One line for each pod of the newest connection, then one for each connection.
fn describe(state: &State) -> Vec<Value> {
    describe_pods(state)
        .chain(state.connections.iter().map(describe_connection))
        .collect()
}

fn describe_pods(state: &State) -> impl Iterator<Item = Value> {
    let pods = state
        .reducer_state()
        .map(ReducerState::sorted)
        .unwrap_or_default();
    pods.into_iter().map(|(uid, pod)| describe_pod(uid, pod))
}

fn describe_latest(state: &State) -> Value {
    let none = || json!({ "connection": null });
    state.latest().map_or_else(none, describe_connection)
}

fn describe_connection(connection: &Connection) -> Value {
    let reducer_state = connection.reducer_state();
    let counts = reducer_state.counts();
    let end = connection
        .end
        .as_ref()
        .map_or_else(|| "open".to_owned(), describe_end);
    json!({
        "connection": connection.index,
        "peer": connection.peer.to_string(),
        "end": end,
        "pods": reducer_state.pods(),
        "containers": reducer_state.containers(),
        "digest": reducer_state.digests().total().to_string(),
        "pods_told": counts.pods_received,
        "pods_told_again": counts.pods_received_again,
        "containers_told": counts.containers_received,
        "deletes": counts.deletes,
        "resyncs": counts.resyncs,
        "without_effect": {
            "pods_beyond_pool": counts.pods_beyond_pool,
            "containers_beyond_pool": counts.containers_beyond_pool,
            "containers_without_pod": counts.containers_without_pod,
            "containers_known": counts.containers_known,
            "deletes_unknown": counts.deletes_unknown,
        },
        "messages": connection.counts,
        "bytes": connection.bytes,
        "plain_bytes": connection.plain_bytes,
        "frames": connection.frames.frames,
        "largest_block": connection.frames.largest_block,
    })
}

fn describe_end(end: &End) -> String {
    match end {
        End::Eof => "eof".to_owned(),
        End::CutShort(cut) => format!("eof {cut}"),
        End::Reset => "reset".to_owned(),
        End::Failed(error) => format!("failed: {error}"),
        End::Closed => "closed".to_owned(),
        End::Violation(violation) => format!("violation: {violation}"),
    }
}

fn describe_pod(uid: &[u8], pod: &Pod) -> Value {
    let mut shown = Map::new();
    let mut put = |key: &str, value: Value| shown.insert(key.to_owned(), value);
    put("pod", text(uid));
    put("ns", text(pod.ns()));
    put("pod_name", text(pod.pod_name()));
    put("owner_kind", pod.owner_kind.into());
    put("owner_name", text(pod.owner_name()));
    put("owner_uid", text(pod.owner_uid()));
    put("version", text(pod.version()));
    put("ip", pod.ip.to_string().into());
    put("is_host_network", pod.is_host_network.into());
    put(
        "containers",
        pod.containers().iter().map(describe_container).collect(),
    );
    Value::Object(shown)
}

fn describe_container(container: &Container) -> Value {
    json!({
        "id": text(container.received_id()),
        "name": text(container.name()),
        "image": text(container.image()),
        "version": text(container.version()),
    })
}
