//! The gRPC server: its limits, its end, and one task for each call.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    net::TcpListener,
    runtime::Handle,
    sync::{mpsc, oneshot},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{
    Request, Response, Status, Streaming,
    codegen::BoxStream,
    transport::{self, Server},
};

use super::{
    Counters,
    call::{self, Call, MAX_INFO},
    codec::service::collector_server::{Collector, CollectorServer},
    connection::{self, Peer},
    unread::{Linger, ReadOn},
};
use crate::{
    proto,
    source::{SourceInput, StreamId},
};

/// What a watcher may send ahead on one stream, in bytes (D6).
pub const STREAM_WINDOW: u32 = 128 << 10;
/// What it may send ahead on one connection, in bytes. h2 takes half of it as the
/// connection's budget for small frames that wait unread (each costs 256 less its length), so
/// a full stream window of the smallest Infos, 6.6 MB, must fit into that half.
pub const CONNECTION_WINDOW: u32 = 16 << 20;
/// Calls of one connection at the same time.
const CONCURRENT_STREAMS: u32 = 4096;
/// Streams of one connection that were reset before they were accepted, and ones that the
/// server reset for an error: with more the connection is ended.
const RESET_STREAMS: usize = 4096;

/// The times of the server.
#[derive(Clone, Debug)]
pub struct Options {
    /// How often an idle connection is pinged.
    pub keepalive_interval: Duration,
    /// How long the answer may take until the connection counts as dead.
    pub keepalive_timeout: Duration,
    /// How long a call that was ended is still read, for the watcher to see its status.
    pub linger: Duration,
    /// How long connections may take to end when the server ends; then they are cut.
    pub grace: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            keepalive_interval: Duration::from_secs(10),
            keepalive_timeout: Duration::from_secs(5),
            linger: Duration::from_millis(500),
            grace: Duration::from_secs(1),
        }
    }
}

/// Why the source ended before it was told to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The server failed.
    #[error("serving watchers failed")]
    Serve(#[from] transport::Error),
}

/// Serves `Collect` on all `listeners` until `shutdown` is cancelled; then ends every call with
/// UNAVAILABLE and returns when all its tasks have ended, soon after [`Options::grace`] at the latest.
///
/// `inputs` may be full for any time: that holds the watchers back. When its receiver is
/// dropped every call ends.
///
/// # Errors
/// If the server ends by itself.
pub async fn serve(
    listeners: Vec<TcpListener>,
    inputs: mpsc::Sender<SourceInput>,
    shutdown: CancellationToken,
    options: Options,
    counters: Arc<Counters>,
) -> Result<(), SourceError> {
    let calls = |tasks, kill| Calls {
        inputs,
        counters,
        ids: Arc::default(),
        shutdown: shutdown.clone(),
        kill,
        tasks,
    };
    serve_calls(listeners, shutdown.clone(), options, calls).await
}

/// Serves somebody else's `Collect` as [`serve`] does the relay's: with its windows and limits, calls
/// that are read on after their end, and its order of ending.
///
/// `calls` is given the tracker for its tasks, all of which are awaited, and the token that is
/// cancelled when patience has ended; `shutdown` is its business, too.
///
/// # Errors
/// If the server ends by itself.
pub async fn serve_calls<C: Collector>(
    listeners: Vec<TcpListener>,
    shutdown: CancellationToken,
    options: Options,
    calls: impl FnOnce(TaskTracker, CancellationToken) -> C,
) -> Result<(), SourceError> {
    let tasks = TaskTracker::new();
    let kill = CancellationToken::new();
    // Also when this future is dropped before its time.
    let _kill_at_end = kill.clone().drop_guard();
    let calls = calls(tasks.clone(), kill.clone());
    let service = ReadOn {
        inner: CollectorServer::new(calls).max_decoding_message_size(MAX_INFO),
        linger: Linger {
            limit: options.linger,
            tasks: tasks.clone(),
            kill: kill.clone(),
            runtime: Handle::current(),
        },
    };
    let server = Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(CONCURRENT_STREAMS)
        .http2_max_pending_accept_reset_streams(Some(RESET_STREAMS))
        .http2_max_local_error_reset_streams(Some(RESET_STREAMS))
        .http2_keepalive_interval(Some(options.keepalive_interval))
        .http2_keepalive_timeout(Some(options.keepalive_timeout))
        .add_service(service)
        .serve_with_incoming_shutdown(connection::accept(listeners, &kill), shutdown.cancelled());
    let impatience = async {
        shutdown.cancelled().await;
        tokio::time::sleep(options.grace).await;
        kill.cancel();
        std::future::pending().await
    };
    let served = tokio::select! {
        served = server => served,
        () = impatience => Ok(()),
    };
    kill.cancel();
    tasks.close();
    tasks.wait().await;
    Ok(served?)
}

/// Numbers streams in the order in which the driver hears of them.
#[derive(Debug, Default)]
pub(super) struct StreamIds(Mutex<u64>);

impl StreamIds {
    /// The next number, once `announce` has been called with it: no later number is announced before.
    pub(super) fn next(&self, announce: impl FnOnce(StreamId)) -> StreamId {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *last += 1;
        let stream = StreamId(*last);
        announce(stream);
        stream
    }
}

/// Starts a task for each call.
struct Calls {
    inputs: mpsc::Sender<SourceInput>,
    counters: Arc<Counters>,
    ids: Arc<StreamIds>,
    shutdown: CancellationToken,
    kill: CancellationToken,
    tasks: TaskTracker,
}

#[tonic::async_trait]
impl Collector for Calls {
    type CollectStream = BoxStream<proto::Response>;

    async fn collect(
        &self,
        request: Request<Streaming<Bytes>>,
    ) -> Result<Response<Self::CollectStream>, Status> {
        let peer = request.extensions().get::<Peer>().map(|peer| peer.0);
        let (answer, ending) = oneshot::channel();
        let call = Call {
            infos: request.into_inner(),
            peer,
            ids: self.ids.clone(),
            inputs: self.inputs.clone(),
            counters: self.counters.clone(),
            shutdown: self.shutdown.clone(),
            kill: self.kill.clone(),
            answer,
        };
        self.tasks.spawn(call.run());
        Ok(Response::new(Box::pin(call::answer(ending))))
    }
}
