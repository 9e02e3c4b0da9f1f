//! The calls of watchers: each is read once and goes to both relays.
//!
//! Invariants: the first relay is in the way and holds the watcher back when it is slow; the second
//! runs alongside it and is never waited for. What was read of a watcher that has gone reaches both
//! relays before their streams end, so that both have heard the same.

use std::{
    collections::VecDeque,
    future::Future,
    pin::pin,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Code, Request, Response, Status, Streaming, codegen::BoxStream, transport::Endpoint};

use super::{
    follower::{Follower, Secondary, SecondaryStream},
    pipe::Pipe,
    recorder::Recorder,
    session::Session,
};
use crate::{
    config::HostPort,
    net::grpc::Tasks,
    proto,
    sim::watcher::{Outcome, Watcher},
    source::legacy::{Collector, refusal},
    tee::recording::{self, Record, What},
};

/// What may wait for the first relay before the watcher is held back, in bytes.
const FIRST_ROOM: usize = 256 << 10;
/// A batch is passed on when it has so many bytes, or as soon as nothing more is ready.
const BATCH: usize = 64 << 10;
/// TCP asks for a relay that is silent, and gives it up after three questions. Pings of HTTP/2
/// would do more, but a legacy relay ends connections that ping more often than every 5 min.
const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;

/// The service.
pub(super) struct Calls {
    pub(super) shared: Arc<Shared>,
    pub(super) tasks: Tasks,
}

/// What all calls share.
pub(super) struct Shared {
    pub(super) first: HostPort,
    pub(super) second: Option<Secondary>,
    pub(super) session: Arc<Session>,
    pub(super) recorder: Option<Recorder>,
    pub(super) times: Times,
    /// The tee ends.
    pub(super) shutdown: CancellationToken,
    /// How many streams were opened; held while the opening is recorded, for the order.
    pub(super) opened: Mutex<u64>,
}

/// How long things may take.
#[derive(Clone, Debug)]
pub struct Times {
    /// Connecting to a relay.
    pub connect: Duration,
    /// Until the second relay is tried again, the first time; each time twice as long.
    pub backoff_min: Duration,
    /// The longest of these pauses.
    pub backoff_max: Duration,
    /// For a relay to read what a watcher had sent before it went away.
    pub drain: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            backoff_min: Duration::from_millis(200),
            backoff_max: Duration::from_secs(10),
            drain: Duration::from_secs(2),
        }
    }
}

#[tonic::async_trait]
impl Collector for Calls {
    type CollectStream = BoxStream<proto::Response>;

    async fn collect(
        &self,
        request: Request<Streaming<Bytes>>,
    ) -> Result<Response<Self::CollectStream>, Status> {
        // A `Response` and a status.
        let (answer, answers) = mpsc::channel(2);
        let infos = request.into_inner();
        let Tasks { tracker, kill } = self.tasks.clone();
        let call = Call::open(self.shared.clone(), &tracker, &kill);
        tracker.spawn(async move {
            tokio::select! {
                () = call.run(infos, answer) => {}
                () = kill.cancelled() => {}
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }
}

/// One stream.
struct Call {
    shared: Arc<Shared>,
    stream: u64,
    first: Arc<Pipe>,
    second: Option<Arc<SecondaryStream>>,
}

/// Why nothing more is read.
enum End {
    /// The watcher has said that nothing more will come.
    HalfClosed,
    /// The watcher's stream cannot be read on.
    Failed(Status),
    /// The watcher has gone away.
    Gone,
    /// The first relay has ended the call.
    Ended(Outcome),
    /// The tee ends.
    Shutdown,
}

impl Call {
    fn open(shared: Arc<Shared>, tasks: &TaskTracker, kill: &CancellationToken) -> Self {
        let stream = {
            let mut opened = shared.opened.lock().unwrap_or_else(PoisonError::into_inner);
            *opened += 1;
            shared.record(*opened, [What::Opened]);
            *opened
        };
        shared.session.streams.fetch_add(1, Relaxed);
        shared.session.open.fetch_add(1, Relaxed);
        let second = shared.second.as_ref().map(|second| {
            let secondary = SecondaryStream::new(second.backlog);
            let follower = Follower {
                stream,
                second: second.clone(),
                secondary: secondary.clone(),
                session: shared.session.clone(),
                times: shared.times.clone(),
            };
            let kill = kill.clone();
            tasks.spawn(async move {
                tokio::select! { () = follower.run() => {} () = kill.cancelled() => {} }
            });
            secondary
        });
        Self {
            first: Pipe::new(FIRST_ROOM),
            shared,
            stream,
            second,
        }
    }

    async fn run(
        self,
        mut infos: Streaming<Bytes>,
        answer: mpsc::Sender<Result<proto::Response, Status>>,
    ) {
        let respond = answer.clone();
        let forward = forward(
            &self.shared.first,
            self.shared.times.connect,
            self.first.clone().messages(Vec::new(), || ()),
            // Beyond the first one they say nothing.
            move || drop(respond.try_send(Ok(proto::Response {}))),
        );
        let mut forward = pin!(forward);
        let mut end = tokio::select! {
            biased;
            outcome = &mut forward => End::Ended(outcome),
            () = self.shared.shutdown.cancelled() => End::Shutdown,
            () = answer.closed() => End::Gone,
            end = self.read(&mut infos) => end,
        };
        if matches!(end, End::HalfClosed) {
            self.shared.record(self.stream, [What::HalfClosed]);
            self.close();
            end = tokio::select! {
                biased;
                outcome = &mut forward => End::Ended(outcome),
                () = self.shared.shutdown.cancelled() => End::Shutdown,
                () = answer.closed() => End::Gone,
            };
        }
        self.close();
        let (what, status, drain) = match end {
            End::Ended(outcome) => {
                let status = Status::new(outcome.status, outcome.details.clone());
                (What::Ended(recorded(outcome)), status, false)
            }
            End::Failed(status) => (What::Cancelled, refusal(&status), true),
            End::HalfClosed | End::Gone => (What::Cancelled, Status::cancelled(""), true),
            End::Shutdown => (
                What::Cancelled,
                Status::unavailable("the tee is shutting down"),
                true,
            ),
        };
        self.shared.record(self.stream, [what]);
        // Who has gone away needs no status.
        let _ = answer.try_send(Err(status));
        drop(answer);
        if drain {
            let _ = timeout(self.shared.times.drain, forward).await;
        }
        self.shared.session.open.fetch_sub(1, Relaxed);
    }

    /// Passes on what the watcher sends, until its side ends.
    async fn read(&self, infos: &mut Streaming<Bytes>) -> End {
        loop {
            let mut batch = VecDeque::new();
            let mut next = infos.next().await;
            let mut bytes = 0;
            let end = loop {
                match next {
                    None => break Some(End::HalfClosed),
                    Some(Err(status)) => break Some(End::Failed(status)),
                    Some(Ok(message)) => {
                        bytes += message.len();
                        batch.push_back(message);
                    }
                }
                if bytes >= BATCH {
                    break None;
                }
                match infos.next().now_or_never() {
                    Some(more) => next = more,
                    None => break None,
                }
            };
            if !batch.is_empty() {
                self.pass(batch).await;
            }
            if let Some(end) = end {
                return end;
            }
        }
    }

    async fn pass(&self, batch: VecDeque<Bytes>) {
        self.shared
            .session
            .messages
            .fetch_add(batch.len() as u64, Relaxed);
        self.shared
            .record(self.stream, batch.iter().cloned().map(What::Message));
        if let Some(second) = &self.second {
            second.offer(&batch);
        }
        self.first.put(batch).await;
    }

    fn close(&self) {
        self.first.close();
        if let Some(second) = &self.second {
            second.close();
        }
    }
}

impl Shared {
    fn record(&self, stream: u64, what: impl IntoIterator<Item = What>) {
        if let Some(recorder) = &self.recorder {
            let at = self.session.elapsed();
            let record = |what| Record { at, stream, what };
            recorder.record(what.into_iter().map(record).collect());
        }
    }
}

/// Connects, sends all this, and waits for the end: as a watcher of its own.
pub(super) async fn forward(
    relay: &HostPort,
    within: Duration,
    messages: impl futures_util::Stream<Item = Bytes> + Send + 'static,
    responded: impl FnMut(),
) -> Outcome {
    match connect(relay, within).await {
        Ok(watcher) => watcher.forward(messages, responded).await,
        Err(why) => Outcome {
            status: Code::Unavailable,
            details: format!("the relay at {relay} cannot be reached: {why}"),
            responses: 0,
        },
    }
}

/// A connection for one stream: so each has windows of its own, as with a watcher of its own.
pub(super) fn connect(
    relay: &HostPort,
    within: Duration,
) -> impl Future<Output = Result<Watcher, String>> + Send {
    let endpoint = Endpoint::from_shared(format!("http://{relay}")).map(|endpoint| {
        endpoint
            .connect_timeout(within)
            .tcp_keepalive(Some(KEEPALIVE))
            .tcp_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .tcp_keepalive_retries(Some(KEEPALIVE_RETRIES))
    });
    async {
        let channel = endpoint.map_err(causes)?.connect().await;
        channel.map(Watcher::over).map_err(causes)
    }
}

/// An error in one line: only its last cause says anything.
fn causes(error: tonic::transport::Error) -> String {
    let mut last: &dyn std::error::Error = &error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last.to_string()
}

fn recorded(outcome: Outcome) -> recording::Outcome {
    recording::Outcome {
        code: i32::from(outcome.status).try_into().unwrap_or_default(),
        details: outcome.details,
        responses: outcome.responses,
    }
}
