//! One call: reads the stream in batches until somebody ends it, and says how it ended.

use std::{
    error::Error as _,
    fmt,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{FutureExt, Stream, StreamExt, stream};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Sleep,
};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming};

use super::{Counters, Reason, StreamIds, Tally, info::Info, merge::Merger};
use crate::{
    net::Place,
    proto::Response,
    source::{CallEnd, CollectMessage, FeedEvent, ObjectName, StreamId},
};

/// The longest Info that is read, in bytes.
pub const MAX_INFO: usize = 4 << 20;
/// A batch is sent when it has this many Infos, or as soon as nothing more is ready.
const BATCH_INFOS: u64 = 256;
/// A stream that has sent a pod and then nothing for so many steps is synced (D4).
const QUIET_STEPS: u32 = 30;
/// How a quiet stream is measured. A late step counts as one: time in which this process was
/// stopped is no time in which it waited.
const QUIET_STEP: Duration = Duration::from_secs(1);
/// Between two reports of how many Infos were dropped unread.
const REPORT_STEP: Duration = Duration::from_secs(1);
/// A batch is also sent when its Infos had this many bytes.
const BATCH_BYTES: usize = 256 << 10;

/// A call that is being served.
pub(super) struct Call {
    pub(super) infos: Streaming<Bytes>,
    pub(super) peer: Option<SocketAddr>,
    pub(super) ids: Arc<StreamIds>,
    pub(super) inputs: mpsc::Sender<CollectMessage>,
    pub(super) counters: Arc<Counters>,
    /// One of those that the open streams share.
    pub(super) place: Place,
    /// Whether the native source alone counts, so that Infos are dropped unread.
    pub(super) native_alone: watch::Receiver<bool>,
    /// What the stream has sent.
    pub(super) merger: Merger,
    /// The server ends.
    pub(super) shutdown: CancellationToken,
    /// The server's patience has ended.
    pub(super) kill: CancellationToken,
    /// Lets [`answer`] know how the call ends; closed when the watcher is gone.
    pub(super) answer: oneshot::Sender<Ending>,
}

/// How a call ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The driver or the server wants it so.
    Wanted(CallEnd),
    /// It has sent nothing, and another stream needs its place.
    GaveWay,
    /// The watcher half-closed it or went away.
    ByWatcher,
    /// What the watcher sends is no Info.
    Undecodable,
    /// An Info has this many bytes.
    TooLarge(u64),
}

/// The watcher's side of a call: nothing, until it ends.
pub(super) fn answer(
    ending: oneshot::Receiver<Ending>,
) -> impl Stream<Item = Result<Response, Status>> + Send + 'static {
    stream::once(ending).flat_map(|ending| {
        let ending = ending.unwrap_or(Ending::Wanted(CallEnd::Shutdown));
        let response = (ending == Ending::Wanted(CallEnd::Reset)).then(|| Ok(Response {}));
        stream::iter(response.into_iter().chain([Err(ending.status())]))
    })
}

/// What the watcher is answered when reading its stream has failed like this.
pub fn refusal(failed: &Status) -> Status {
    Ending::of_read(failed).status()
}

impl Call {
    /// Serves the call to its end.
    pub(super) async fn run(mut self) {
        let (end, wanted) = oneshot::channel();
        let Some(stream) = self.open(end).await else {
            // No `Opened` was sent: nobody is informed.
            let _ = self.answer.send(Ending::Wanted(CallEnd::Shutdown));
            return;
        };
        self.counters.opened.fetch_add(1, Relaxed);
        let mut log = StreamLog::new(stream, self.peer, self.counters.clone());
        let peer = self.peer.map(tracing::field::display);
        tracing::debug!(stream = stream.0, peer, "a stream begins");
        let ending = self.forward(&mut log, wanted).await;

        log.ended(ending);
        // Gone watchers need no status.
        let _ = self.answer.send(ending);
        tokio::select! {
            // Fails if the driver has ended: then it need not know.
            _ = self.inputs.send(CollectMessage::Closed { stream }) => {}
            () = self.kill.cancelled() => {}
        }
        self.counters.closed.fetch_add(1, Relaxed);
    }

    /// Announces the stream; `None` if there is no point in serving it.
    async fn open(&mut self, end: oneshot::Sender<CallEnd>) -> Option<StreamId> {
        let place = tokio::select! {
            biased;
            () = self.shutdown.cancelled() => return None,
            () = self.answer.closed() => return None,
            () = self.place.gives_way() => return None,
            place = self.inputs.reserve() => place.ok()?,
        };
        Some(self.ids.next(|stream| {
            place.send(CollectMessage::Opened {
                stream,
                peer: self.peer,
                end,
            });
        }))
    }

    /// Passes on what the stream sends, until the call ends.
    async fn forward(&mut self, log: &mut StreamLog, wanted: oneshot::Receiver<CallEnd>) -> Ending {
        let shutdown = self.shutdown.clone();
        let gives_way = self.place.gives_way();
        let native_alone = self.native_alone.clone();
        let mut wanted = pin!(async {
            tokio::select! {
                biased;
                end = wanted => Ending::Wanted(end.unwrap_or(CallEnd::Shutdown)),
                () = shutdown.cancelled() => Ending::Wanted(CallEnd::Shutdown),
                () = gives_way => Ending::GaveWay,
                // What was dropped until then is missing: the watcher must list again.
                () = left(native_alone) => Ending::Wanted(CallEnd::Reset),
            }
        });
        let mut quiet = Quiet::default();
        let mut unreported = Unreported::default();
        loop {
            let first = tokio::select! {
                biased;
                ending = &mut wanted => return ending,
                () = unreported.due() => {
                    unreported.report(log.stream, &self.inputs);
                    continue;
                }
                first = self.infos.next() => first,
                () = quiet.lasts() => {
                    let place = tokio::select! {
                        biased;
                        ending = &mut wanted => return ending,
                        place = self.inputs.reserve() => match place {
                            Ok(place) => place,
                            Err(_) => return Ending::Wanted(CallEnd::Shutdown),
                        },
                    };
                    tracing::debug!(stream = log.stream.0, "a quiet stream counts as synced");
                    place.send(CollectMessage::Batch {
                        stream: log.stream,
                        events: vec![FeedEvent::Listed],
                        infos: 0,
                        read: now(),
                    });
                    continue;
                }
            };
            if log.infos == 0 && matches!(first, Some(Ok(_))) {
                // Already now: it may wait for long until the loop has room for its first Info.
                self.place.keep();
            }
            if *self.native_alone.borrow() {
                self.merger.clear();
                quiet = Quiet::default();
                let (infos, read) = self.ignore(first, log);
                unreported.add(infos, log.stream, &self.inputs);
                if let Err(ending) = read {
                    unreported.report(log.stream, &self.inputs);
                    return ending;
                }
                tokio::task::consume_budget().await;
                continue;
            }
            let read = now();
            let mut batch = Batch::default();
            let mut ending = batch.take(first, &mut self.merger, log).err();
            if batch.infos > 0 {
                // One Info only is held while there is no place for it: the others wait where
                // flow control counts them.
                let place = tokio::select! {
                    biased;
                    ending = &mut wanted => return ending,
                    place = self.inputs.reserve() => match place {
                        Ok(place) => place,
                        Err(_) => return Ending::Wanted(CallEnd::Shutdown),
                    },
                    () = self.answer.closed() => return Ending::ByWatcher,
                };
                while ending.is_none()
                    && batch.has_room()
                    && let Some(message) = self.infos.next().now_or_never()
                {
                    ending = batch.take(message, &mut self.merger, log).err();
                }
                quiet.broken_by(&batch.events);
                log.took(batch.infos);
                place.send(CollectMessage::Batch {
                    stream: log.stream,
                    events: batch.events,
                    infos: batch.infos,
                    read,
                });
            }
            if let Some(ending) = ending {
                return ending;
            }
        }
    }

    /// Counts the Infos that are there, and drops them unread. Gives how many, and whether more
    /// may come.
    fn ignore(
        &mut self,
        first: Option<Result<Bytes, Status>>,
        log: &mut StreamLog,
    ) -> (u64, Result<(), Ending>) {
        let (mut infos, mut message) = (0, Some(first));
        let read = loop {
            match message {
                None => break Ok(()),
                Some(Some(Ok(_))) => infos += 1,
                Some(Some(Err(status))) => break Err(Ending::of_read(&status)),
                Some(None) => break Err(Ending::ByWatcher),
            }
            message = (infos < BATCH_INFOS)
                .then(|| self.infos.next().now_or_never())
                .flatten();
        };
        log.took(infos);
        self.counters.ignored.fetch_add(infos, Relaxed);
        (infos, read)
    }
}

/// Tokio's clock, so that tests can move it.
#[expect(
    clippy::disallowed_methods,
    reason = "where time enters the streams: a batch says when it was read"
)]
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Ready once the native source alone has counted, and does no longer.
async fn left(mut native_alone: watch::Receiver<bool>) {
    let was = native_alone.wait_for(|alone| *alone).await.is_ok();
    if !was || native_alone.wait_for(|alone| !*alone).await.is_err() {
        // Nobody is left who could say so.
        std::future::pending().await
    }
}

/// Infos that were dropped unread. The loop hears only how many, and no more often than every
/// [`REPORT_STEP`]: they are to cost next to nothing.
#[derive(Default)]
struct Unreported {
    infos: u64,
    /// Runs since the last report.
    pause: Option<Pin<Box<Sleep>>>,
}

impl Unreported {
    fn add(&mut self, infos: u64, stream: StreamId, to: &mpsc::Sender<CollectMessage>) {
        self.infos += infos;
        if self.pause.is_none() {
            self.report(stream, to);
        }
    }

    /// Ready when the next report may be made; never, if it may be already.
    async fn due(&mut self) {
        match &mut self.pause {
            Some(pause) => pause.await,
            None => std::future::pending().await,
        }
    }

    fn report(&mut self, stream: StreamId, to: &mpsc::Sender<CollectMessage>) {
        self.pause = None;
        if self.infos == 0 {
            return;
        }
        self.pause = Some(Box::pin(tokio::time::sleep(REPORT_STEP)));
        // Where there is no place for it now, the next report has it, too.
        if let Ok(place) = to.try_reserve() {
            place.send(CollectMessage::Batch {
                stream,
                events: Vec::new(),
                infos: std::mem::take(&mut self.infos),
                read: now(),
            });
        }
    }
}

/// How long a call has waited for input, with nothing unread.
#[derive(Default)]
struct Quiet {
    /// Nothing is measured before a pod was sent, or once the stream is synced.
    after_pod: bool,
    synced: bool,
    steps: u32,
}

impl Quiet {
    /// Something was read.
    fn broken_by(&mut self, events: &[FeedEvent]) {
        self.steps = 0;
        for event in events {
            self.after_pod |= matches!(event, FeedEvent::Pod(_));
            self.synced |= matches!(event, FeedEvent::Listed);
        }
    }

    /// Ready, once, when the call has waited for long enough. Nothing is lost if it is dropped,
    /// but for a part of a step.
    async fn lasts(&mut self) {
        if self.synced || !self.after_pod {
            return std::future::pending().await;
        }
        while self.steps < QUIET_STEPS {
            tokio::time::sleep(QUIET_STEP).await;
            self.steps += 1;
        }
        self.synced = true;
    }
}

/// What was read since the last batch was sent.
#[derive(Default)]
struct Batch {
    events: Vec<FeedEvent>,
    infos: u64,
    bytes: usize,
}

impl Batch {
    fn has_room(&self) -> bool {
        self.infos < BATCH_INFOS && self.bytes < BATCH_BYTES
    }

    fn take(
        &mut self,
        message: Option<Result<Bytes, Status>>,
        merger: &mut Merger,
        log: &mut StreamLog,
    ) -> Result<(), Ending> {
        let bytes = match message {
            Some(Ok(bytes)) => bytes,
            Some(Err(status)) => return Err(Ending::of_read(&status)),
            None => return Err(Ending::ByWatcher),
        };
        let info = Info::read(&bytes).map_err(|error| {
            tracing::debug!(stream = log.stream.0, %error, "a message is not an Info");
            Ending::Undecodable
        })?;
        self.infos += 1;
        self.bytes += bytes.len();
        let called = Called::of(&info);
        merger.apply(info, &mut self.events, |reason| {
            log.dropped(reason);
            log.lost(&called, reason);
        });
        Ok(())
    }
}

impl Ending {
    /// Why reading failed, from what tonic makes of it.
    fn of_read(status: &Status) -> Self {
        if status.source().is_some() {
            // The transport's own: the stream was reset, or the connection is lost.
            Self::ByWatcher
        } else if status.code() == Code::OutOfRange {
            Self::TooLarge(found_length(status.message()))
        } else if status.code() == Code::ResourceExhausted {
            // Compressed: it is not inflated any further, so nobody knows how long it is.
            Self::TooLarge(MAX_INFO as u64 + 1)
        } else if matches!(status.code(), Code::Internal | Code::InvalidArgument) {
            Self::Undecodable
        } else {
            // The connection is lost: nobody hears the status.
            Self::ByWatcher
        }
    }

    /// The status that the watcher sees (protocol 12, with the amendments of D4 and D5).
    fn status(self) -> Status {
        match self {
            Self::Wanted(CallEnd::Reset) => Status::cancelled("Cancelled on the server side"),
            Self::Wanted(CallEnd::Shutdown) => Status::unavailable("the relay is shutting down"),
            Self::GaveWay => {
                Status::unavailable("too many streams are open, and this one is silent")
            }
            Self::Wanted(CallEnd::Overflow) | Self::ByWatcher | Self::Undecodable => {
                Status::cancelled("")
            }
            Self::TooLarge(length) => Status::resource_exhausted(format!(
                "Received message larger than max ({length} vs. {MAX_INFO})"
            )),
        }
    }
}

/// The first number in tonic's words: the length that was found.
fn found_length(words: &str) -> u64 {
    words
        .split(|c: char| !c.is_ascii_digit())
        .find_map(|word| word.parse().ok())
        .unwrap_or(MAX_INFO as u64 + 1)
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wanted(CallEnd::Overflow) => "too many pods wait for their owners",
            Self::Wanted(CallEnd::Reset) => "the watcher must list again",
            Self::Wanted(CallEnd::Shutdown) => "the relay is shutting down",
            Self::GaveWay => "another stream needs its place",
            Self::ByWatcher => "the watcher ended it",
            Self::Undecodable => "the watcher sent bytes that are not an Info",
            Self::TooLarge(_) => "the watcher sent an Info that is too large",
        })
    }
}

/// What the object of an Info is called: its texts in their place, nothing is copied.
struct Called<'a> {
    uid: &'a str,
    namespace: &'a str,
    name: &'a str,
}

impl<'a> Called<'a> {
    fn of(info: &Info<'a>) -> Self {
        let owned = info.rs_info.as_ref().or(info.job_info.as_ref());
        let pod = info.pod_info.as_ref();
        Self {
            uid: pod
                .map(|pod| pod.uid)
                .or(owned.map(|owned| owned.uid))
                .unwrap_or_default(),
            namespace: pod.map(|pod| pod.ns).unwrap_or_default(),
            name: pod.map(|pod| pod.name).unwrap_or_default(),
        }
    }
}

/// What one stream has sent, for its log lines.
struct StreamLog {
    stream: StreamId,
    peer: Option<SocketAddr>,
    infos: u64,
    tally: Tally,
    counters: Arc<Counters>,
}

impl StreamLog {
    fn new(stream: StreamId, peer: Option<SocketAddr>, counters: Arc<Counters>) -> Self {
        Self {
            stream,
            peer,
            infos: 0,
            tally: Tally::default(),
            counters,
        }
    }

    /// Counts Infos. The first ones are worth a line: many a stream sends none.
    fn took(&mut self, infos: u64) {
        if self.infos == 0 && infos > 0 {
            let peer = self.peer.map(tracing::field::display);
            tracing::info!(stream = self.stream.0, peer, "stream opened");
        }
        self.infos += infos;
        self.counters.infos.fetch_add(infos, Relaxed);
    }

    /// Counts for the stream and for all; logs the stream's first of this reason, unless that of
    /// another stream was logged just now.
    fn dropped(&self, reason: Reason) {
        self.counters.dropped.count(reason);
        if self.tally.count(reason) > 0 {
            return;
        }
        let logged = reason.is_fault() && self.counters.logged.permits(reason);
        let (stream, reason) = (self.stream.0, reason.name());
        if logged {
            tracing::warn!(
                stream,
                reason,
                "a watcher sends input that the relay cannot use"
            );
        } else {
            tracing::debug!(
                stream,
                reason,
                "a watcher sends input that the relay ignores or has warned of"
            );
        }
    }

    /// Remembers the object for operators who ask why it is not announced.
    fn lost(&self, called: &Called<'_>, reason: Reason) {
        let Called {
            uid,
            namespace,
            name,
        } = called;
        if reason.is_fault() && (!uid.is_empty() || !name.is_empty()) {
            let name = ObjectName::new(uid, namespace, name);
            self.counters.lost.remember(name, reason.name());
        }
    }

    fn ended(&self, ending: Ending) {
        match ending {
            Ending::Undecodable => self.dropped(Reason::Undecodable),
            Ending::TooLarge(_) => self.dropped(Reason::TooLarge),
            Ending::GaveWay | Ending::Wanted(_) | Ending::ByWatcher => {}
        }
        let (stream, infos, dropped) = (self.stream.0, self.infos, self.tally.summary());
        let dropped = Some(dropped).filter(|dropped| !dropped.is_empty());
        if infos > 0 {
            tracing::info!(stream, infos, dropped, reason = %ending, "stream closed");
        } else {
            tracing::debug!(stream, dropped, reason = %ending, "a silent stream ends");
        }
    }
}
