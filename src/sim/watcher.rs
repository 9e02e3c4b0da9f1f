//! Plays a watcher: a real gRPC client of `Collector.Collect`.
//!
//! Invariants: a message goes out as it was given, valid or not; how a call ended is known as soon
//! as the relay's status is here; sending to an ended call fails at once and never hangs.
//!
//! Absent here: reconnecting, and what a watcher would send (see [`super::cluster`] and
//! [`super::load`]).

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use futures_util::{Stream, StreamExt};
use prost::Message as _;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::{
    CancellationHandle, Code, Request, Status, Streaming,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint},
};

use crate::proto::{Info, Response};

/// The path of the one method.
const COLLECT: &str = "/collector.Collector/Collect";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How many messages may wait between [`Call::send`] and the transport.
const QUEUE: usize = 1_024;

/// One HTTP/2 connection to a relay.
#[derive(Clone, Debug)]
pub struct Watcher {
    channel: Channel,
}

/// A message of a call.
#[expect(
    clippy::large_enum_variant,
    reason = "almost every message is an Info, and a box for each would cost more"
)]
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// What a watcher sends.
    Info(Info),
    /// What no watcher should send.
    Raw(Bytes),
}

/// One open stream of messages. Dropping it drops the call.
#[derive(Debug)]
pub struct Call {
    messages: Option<mpsc::Sender<Message>>,
    cancellation: CancellationHandle,
    outcome: watch::Receiver<Option<Outcome>>,
    _task: AbortOnDropHandle<()>,
}

/// How a call ended, seen from the watcher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The final status; [`Code::Ok`] is one that no relay sends.
    pub status: Code,
    /// The text of the status.
    pub details: String,
    /// How many `Response`s arrived before it.
    pub responses: u64,
}

/// Why the watcher could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WatcherError {
    /// No connection.
    #[error("cannot connect to the relay at {address}")]
    Connect {
        /// Where the relay should be.
        address: String,
        /// Why not.
        source: tonic::transport::Error,
    },
    /// The call is over, or was half-closed before.
    #[error("the call has ended")]
    Ended,
}

impl Watcher {
    /// Connects to a relay at `HOST:PORT`, within 10 s.
    ///
    /// # Errors
    /// The address is none, or nothing answers there.
    pub async fn connect(address: &str) -> Result<Self, WatcherError> {
        let failed = |source| WatcherError::Connect {
            address: address.to_owned(),
            source,
        };
        let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(failed)?;
        let channel = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .connect()
            .await
            .map_err(failed)?;
        Ok(Self { channel })
    }

    /// Calls over a connection that was made by others.
    pub fn over(channel: Channel) -> Self {
        Self { channel }
    }

    /// Opens a call at once, before there is anything to send.
    pub fn open(&self) -> Call {
        let (messages, queue) = mpsc::channel(QUEUE);
        let (ended, outcome) = watch::channel(None);
        let mut request = Request::new(ReceiverStream::new(queue));
        let cancellation = request.cancellation_handle();
        let call = collect(self.channel.clone(), request, || ());
        #[expect(
            clippy::disallowed_methods,
            reason = "the handle is kept and aborts on drop"
        )]
        let task = tokio::spawn(async move {
            ended.send_replace(Some(call.await));
        });
        Call {
            messages: Some(messages),
            cancellation,
            outcome,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// Opens a call, sends all this as fast as the relay takes it, half-closes, and waits
    /// for the end.
    pub async fn play<S>(&self, messages: S) -> Outcome
    where
        S: Stream<Item: Into<Message>> + Send + 'static,
    {
        self.forward(messages, || ()).await
    }

    /// As [`Self::play`]; `responded` is called for each `Response` when it comes.
    pub async fn forward<S>(&self, messages: S, responded: impl FnMut()) -> Outcome
    where
        S: Stream<Item: Into<Message>> + Send + 'static,
    {
        let messages = Request::new(messages.map(Into::into));
        collect(self.channel.clone(), messages, responded).await
    }
}

impl Call {
    /// Sends a message; waits while the relay takes no more.
    ///
    /// # Errors
    /// [`WatcherError::Ended`], also if the call ends while this waits; how is then known.
    pub async fn send(&mut self, message: impl Into<Message>) -> Result<(), WatcherError> {
        let messages = self.messages.as_ref().ok_or(WatcherError::Ended)?;
        let sent = tokio::select! {
            biased;
            _ = self.outcome.wait_for(Option::is_some) => return Err(WatcherError::Ended),
            sent = messages.send(message.into()) => sent,
        };
        if sent.is_err() {
            // The transport lets go of our messages just before the status is here.
            self.ended().await;
            return Err(WatcherError::Ended);
        }
        Ok(())
    }

    /// Says that nothing more will come.
    pub fn half_close(&mut self) {
        self.messages = None;
    }

    /// Resets the stream, as a watcher does that gives up.
    pub fn cancel(&mut self) {
        self.cancellation.clone().cancel();
        self.messages = None;
    }

    /// How the call ended, if it has.
    pub fn outcome(&self) -> Option<Outcome> {
        self.outcome.borrow().clone()
    }

    /// Waits until the call has ended.
    pub async fn ended(&mut self) -> Outcome {
        match self.outcome.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(outcome)) => outcome.clone(),
            Ok(None) | Err(_) => Outcome::of(&Status::internal("the call's task is gone"), 0),
        }
    }
}

impl Outcome {
    fn of(status: &Status, responses: u64) -> Self {
        Self {
            status: status.code(),
            details: status.message().to_owned(),
            responses,
        }
    }
}

impl From<Info> for Message {
    fn from(info: Info) -> Self {
        Self::Info(info)
    }
}

impl From<Bytes> for Message {
    fn from(raw: Bytes) -> Self {
        Self::Raw(raw)
    }
}

async fn collect<S>(channel: Channel, request: Request<S>, responded: impl FnMut()) -> Outcome
where
    S: Stream<Item = Message> + Send + 'static,
{
    let mut client = Grpc::new(channel);
    if let Err(error) = client.ready().await {
        return Outcome::of(&Status::from_error(error.into()), 0);
    }
    let path = PathAndQuery::from_static(COLLECT);
    match client.streaming(request, path, WatcherCodec).await {
        Ok(response) => read_to_end(response.into_inner(), responded).await,
        Err(status) => Outcome::of(&status, 0),
    }
}

async fn read_to_end(mut responses: Streaming<Response>, mut responded: impl FnMut()) -> Outcome {
    let mut count = 0;
    loop {
        match responses.message().await {
            Ok(Some(Response {})) => {
                count += 1;
                responded();
            }
            Ok(None) => return Outcome::of(&Status::ok(""), count),
            Err(status) => return Outcome::of(&status, count),
        }
    }
}

/// Encodes [`Message`]s; unlike the generated client's codec it can send rubbish.
struct WatcherCodec;

impl Codec for WatcherCodec {
    type Encode = Message;
    type Decode = Response;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for WatcherCodec {
    type Item = Message;
    type Error = Status;

    fn encode(&mut self, message: Message, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        match message {
            Message::Info(info) => info
                .encode(to)
                .map_err(|error| Status::internal(error.to_string())),
            Message::Raw(bytes) => {
                to.put(bytes);
                Ok(())
            }
        }
    }
}

impl Decoder for WatcherCodec {
    type Item = Response;
    type Error = Status;

    /// Whatever is in a `Response`, its arrival is all it says.
    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Response>, Status> {
        from.advance(from.remaining());
        Ok(Some(Response {}))
    }
}
