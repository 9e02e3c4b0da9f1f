//! The `Collect` service: one task for each call.

use std::{
    sync::{Arc, Mutex, PoisonError, atomic::Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Response, Status, Streaming,
    codec::CompressionEncoding::{Deflate, Gzip},
    codegen::BoxStream,
    metadata::MetadataValue,
};

use super::{
    Counters, Elsewhere,
    call::{self, Call, MAX_INFO},
    codec::service::collector_server::{Collector, CollectorServer},
    merge::{Merger, Merging},
};
use crate::{
    model::Seed,
    net::{
        Listener, Places,
        grpc::{self, ServeError, Services, Tasks},
        places::GivesWay,
    },
    proto,
    source::{CollectMessage, StreamId},
};

/// In which encodings messages are read.
const ACCEPTED: &str = "gzip,deflate,identity";

/// How watchers are served.
#[derive(Clone, Debug)]
pub struct Options {
    /// How their connections are held.
    pub connections: grpc::Options,
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
            connections: grpc::Options::default(),
            streams: 64,
            silence: Duration::from_secs(5),
            native_alone: watch::channel(false).1,
            merging: Merging::default(),
            seed: Seed::default(),
            elsewhere: Elsewhere::default(),
        }
    }
}

/// Serves `Collect` on all `listeners` until `shutdown` is cancelled; then ends every call with
/// UNAVAILABLE and returns when all its tasks have ended, soon after
/// [`grpc::Options::grace`] at the latest.
///
/// `inputs` may be full for any time: that holds the watchers back. When its receiver is
/// dropped every call ends.
///
/// # Errors
/// If the server ends by itself.
pub async fn serve(
    listeners: Vec<Listener>,
    inputs: mpsc::Sender<CollectMessage>,
    shutdown: CancellationToken,
    options: Options,
    counters: Arc<Counters>,
) -> Result<(), ServeError> {
    let connections = counters.connections.clone();
    let silent = GivesWay::Silent(options.silence);
    let calls = |tasks: &Tasks| Calls {
        inputs,
        places: Places::new(options.streams, silent, counters.streams.clone()),
        counters,
        native_alone: options.native_alone,
        merging: options.merging,
        seed: options.seed,
        elsewhere: options.elsewhere,
        ids: Arc::default(),
        shutdown: shutdown.clone(),
        tasks: tasks.clone(),
    };
    let services = |tasks: &Tasks| Services::default().with(service(calls(tasks)));
    let ending = shutdown.clone();
    grpc::serve(
        listeners,
        services,
        ending,
        options.connections,
        connections,
    )
    .await
}

/// The service as watchers are used to it: what they may compress, and how long an Info may be.
pub fn service<C: Collector>(calls: C) -> CollectorServer<C> {
    CollectorServer::new(calls)
        .accept_compressed(Gzip)
        .accept_compressed(Deflate)
        .max_decoding_message_size(MAX_INFO)
}

/// Numbers streams in the order in which the driver hears of them.
#[derive(Debug, Default)]
pub(super) struct StreamIds(Mutex<u64>);

impl StreamIds {
    /// The next number, once `announce` has been called with it: no later number is announced
    /// before.
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
    inputs: mpsc::Sender<CollectMessage>,
    counters: Arc<Counters>,
    places: Arc<Places>,
    native_alone: watch::Receiver<bool>,
    merging: Merging,
    seed: Seed,
    elsewhere: Elsewhere,
    ids: Arc<StreamIds>,
    shutdown: CancellationToken,
    tasks: Tasks,
}

#[tonic::async_trait]
impl Collector for Calls {
    type CollectStream = BoxStream<proto::Response>;

    async fn collect(
        &self,
        request: Request<Streaming<Bytes>>,
    ) -> Result<Response<Self::CollectStream>, Status> {
        let peer = grpc::peer(request.extensions()).and_then(|peer| peer.address());
        let Some(place) = self.places.take() else {
            if self.places.logs_refusal() {
                let peer = peer.map(tracing::field::display);
                tracing::warn!(
                    peer,
                    "too many streams are open: the relay refuses new ones"
                );
            }
            // Clients that retry by themselves do so with this status.
            return Err(Status::unavailable("too many streams are open"));
        };
        let merger = Merger::new(self.merging, self.seed);
        let merger = match self.counters.opened.load(Relaxed) {
            // It would read what it sends itself, while the loop writes it.
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
            kill: self.tasks.kill.clone(),
            answer,
        };
        self.tasks.tracker.spawn(call.run());
        let mut response: Response<Self::CollectStream> =
            Response::new(Box::pin(call::answer(ending)));
        let accepted = MetadataValue::from_static(ACCEPTED);
        response
            .metadata_mut()
            .insert("grpc-accept-encoding", accepted);
        Ok(response)
    }
}
