//! The gRPC server: its limits, its end, and one task for each call.

use std::{
    sync::{Arc, Mutex, PoisonError, atomic::Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    net::TcpListener,
    runtime::Handle,
    sync::{mpsc, oneshot, watch},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{
    Request, Response, Status, Streaming,
    codec::CompressionEncoding::{Deflate, Gzip},
    codegen::BoxStream,
    metadata::MetadataValue,
    transport::{self, Server},
};

use super::{
    Counters, Elsewhere,
    bounds::Places,
    call::{self, Call, MAX_INFO},
    codec::service::collector_server::{Collector, CollectorServer},
    connection::{self, Bound, Peer},
    health::Healthy,
    merge::{Merger, Merging},
    unread::{Linger, ReadOn},
};
use crate::{
    model::Seed,
    proto::{self, health::health_server::HealthServer},
    source::{SourceInput, StreamId},
};

/// What a watcher may send ahead on one stream, in bytes (D6).
pub const STREAM_WINDOW: u32 = 128 << 10;
/// What it may send ahead on one connection, in bytes. h2 takes half of it as the
/// connection's budget for small frames that wait unread (each costs 256 less its length), so
/// a full stream window of the smallest Infos, 6.6 MB, must fit into that half.
pub const CONNECTION_WINDOW: u32 = 16 << 20;
/// Calls of one connection at the same time, refused ones that have not ended yet included.
const CONCURRENT_STREAMS: u32 = 256;
/// Streams of one connection that were reset before they were accepted, and ones that the
/// server reset for an error: with more the connection is ended. As many as can be open, so that a
/// watcher that gives up all of its calls at once does no harm.
const RESET_STREAMS: usize = CONCURRENT_STREAMS as usize;
/// How long a request may take to be answered with a head. `Collect` answers at once.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// The longest request about health, in bytes. It names a service.
const MAX_HEALTH_REQUEST: usize = 4 << 10;
/// In which encodings messages are read.
const ACCEPTED: &str = "gzip,deflate,identity";

/// How watchers are served.
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
    /// Connections that may be open at once. One too many is closed at once.
    pub connections: usize,
    /// How long a connection may stand without a call; it is closed after at most twice of it.
    pub idle: Duration,
    /// Streams that may be open at once, of all connections. One too many is refused.
    pub streams: usize,
    /// A stream that has sent nothing for so long gives way to a new one, if all places are taken.
    pub silence: Duration,
    /// Whether the native source alone counts: then Infos are counted and dropped unread. When
    /// that ends, every stream that was open is ended with a `Response`.
    pub native_alone: watch::Receiver<bool>,
    /// What becomes of something that an Info lacks.
    pub merging: Merging,
    /// What the hashes of tables depend on.
    pub seed: Seed,
    /// Where the pods of other streams are found, to be shared.
    pub elsewhere: Elsewhere,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            keepalive_interval: Duration::from_secs(10),
            keepalive_timeout: Duration::from_secs(5),
            linger: Duration::from_millis(500),
            grace: Duration::from_secs(1),
            connections: 512,
            idle: Duration::from_secs(30),
            streams: 64,
            silence: Duration::from_secs(5),
            native_alone: watch::channel(false).1,
            merging: Merging::default(),
            seed: Seed::default(),
            elsewhere: Elsewhere::default(),
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
    let all = counters.clone();
    let places = Places::new(options.streams, options.silence);
    let native_alone = options.native_alone.clone();
    let (merging, seed) = (options.merging, options.seed);
    let elsewhere = options.elsewhere.clone();
    let calls = |tasks, kill| Calls {
        inputs,
        counters,
        places,
        native_alone,
        merging,
        seed,
        elsewhere,
        ids: Arc::default(),
        shutdown: shutdown.clone(),
        kill,
        tasks,
    };
    serve_calls(listeners, shutdown.clone(), options, all, calls).await
}

/// Serves somebody else's `Collect` as [`serve`] does the relay's: with its windows and limits, calls
/// that are read on after their end, its order of ending, and the health service. The bound of
/// all streams together is `calls`' business.
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
    counters: Arc<Counters>,
    calls: impl FnOnce(TaskTracker, CancellationToken) -> C,
) -> Result<(), SourceError> {
    let tasks = TaskTracker::new();
    let kill = CancellationToken::new();
    // Also when this future is dropped before its time.
    let _kill_at_end = kill.clone().drop_guard();
    let calls = calls(tasks.clone(), kill.clone());
    let service = ReadOn {
        inner: CollectorServer::new(calls)
            .accept_compressed(Gzip)
            .accept_compressed(Deflate)
            .max_decoding_message_size(MAX_INFO),
        linger: Linger {
            limit: options.linger,
            tasks: tasks.clone(),
            kill: kill.clone(),
            runtime: Handle::current(),
        },
    };
    let health = HealthServer::new(Healthy::new(shutdown.clone()))
        .accept_compressed(Gzip)
        .accept_compressed(Deflate)
        .max_decoding_message_size(MAX_HEALTH_REQUEST);
    let bound = Bound::new(options.connections, options.idle, counters);
    let server = Server::builder()
        .timeout(ANSWER_WITHIN)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(CONCURRENT_STREAMS)
        .http2_max_pending_accept_reset_streams(Some(RESET_STREAMS))
        .http2_max_local_error_reset_streams(Some(RESET_STREAMS))
        .http2_keepalive_interval(Some(options.keepalive_interval))
        .http2_keepalive_timeout(Some(options.keepalive_timeout))
        .add_service(service)
        .add_service(health)
        .serve_with_incoming_shutdown(
            connection::accept(listeners, &bound, &kill),
            shutdown.cancelled(),
        );
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
    places: Arc<Places>,
    native_alone: watch::Receiver<bool>,
    merging: Merging,
    seed: Seed,
    elsewhere: Elsewhere,
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
        let peer = request.extensions().get::<Peer>();
        let peer = peer.map(|peer| peer.address);
        let Some(place) = self.places.take() else {
            self.counters.refused.fetch_add(1, Relaxed);
            if self.counters.full.permits() {
                let peer = peer.map(tracing::field::display);
                tracing::warn!(peer, "too many streams are open: new ones are refused");
            }
            // Clients that retry by themselves do so with this status.
            return Err(Status::unavailable("too many streams are open"));
        };
        let merger = Merger::new(self.merging, self.seed);
        let merger = match self.counters.opened.load(Relaxed) {
            // It would look into what it tells itself, while the loop writes it.
            0 => merger,
            _ => merger.sharing(self.elsewhere.clone()),
        };
        let (answer, ending) = oneshot::channel();
        let call = Call {
            infos: request.into_inner(),
            peer,
            ids: self.ids.clone(),
            inputs: self.inputs.clone(),
            counters: self.counters.clone(),
            place,
            native_alone: self.native_alone.clone(),
            merger,
            shutdown: self.shutdown.clone(),
            kill: self.kill.clone(),
            answer,
        };
        self.tasks.spawn(call.run());
        let mut response: Response<Self::CollectStream> =
            Response::new(Box::pin(call::answer(ending)));
        let accepted = MetadataValue::from_static(ACCEPTED);
        response
            .metadata_mut()
            .insert("grpc-accept-encoding", accepted);
        Ok(response)
    }
}
