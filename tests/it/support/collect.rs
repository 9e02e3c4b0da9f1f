//! A served `Collect`, a driver's end of its channel, and two clients: tonic's, and one that
//! chooses its own bytes and frames.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use h2::{Reason as H2Reason, RecvStream, SendStream, client::SendRequest};
use k8s_relay::{
    net::{Listener, grpc::ServeError},
    proto::{Info, PodInfo, Response, collector_client::CollectorClient, info::Type},
    source::{
        CallEnd, CollectMessage, FeedEvent, StreamId,
        legacy::{Counters, Options, serve},
    },
};
use prost::Message;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming, transport::Channel};

/// No test waits longer for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("it happens soon")
}

/// A serving source whose inputs the test receives.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    /// Served as well.
    pub(crate) other_address: SocketAddr,
    pub(crate) inputs: mpsc::Receiver<CollectMessage>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) server: JoinHandle<Result<(), ServeError>>,
}

pub(crate) struct Opened {
    pub(crate) stream: StreamId,
    pub(crate) end: oneshot::Sender<CallEnd>,
}

impl Served {
    pub(crate) async fn start(room: usize) -> Self {
        Self::with(room, Options::default()).await
    }

    pub(crate) async fn with(room: usize, options: Options) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let other_address = other.local_addr().unwrap();
        let listeners = vec![Listener::from(listener), Listener::from(other)];
        Self {
            address,
            other_address,
            ..Self::at(listeners, room, options)
        }
    }

    /// Serves there; the addresses are for the caller to know.
    pub(crate) fn at(listeners: Vec<Listener>, room: usize, options: Options) -> Self {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let (sender, inputs) = mpsc::channel(room);
        let shutdown = CancellationToken::new();
        let counters = Arc::new(Counters::default());
        let server = serve(
            listeners,
            sender,
            shutdown.clone(),
            options,
            counters.clone(),
        );
        let server = tokio::spawn(server);
        Self {
            address: nowhere,
            other_address: nowhere,
            inputs,
            counters,
            shutdown,
            server,
        }
    }

    pub(crate) async fn next(&mut self) -> CollectMessage {
        soon(self.inputs.recv()).await.expect("the source serves")
    }

    pub(crate) async fn opened(&mut self) -> Opened {
        match self.next().await {
            CollectMessage::Opened { stream, end, .. } => Opened { stream, end },
            other => panic!("not opened: {other:?}"),
        }
    }

    /// Everything that `stream` still sends, and how many Infos that were.
    pub(crate) async fn until_closed(&mut self, of: StreamId) -> (Vec<FeedEvent>, u64) {
        let (mut all, mut count) = (Vec::new(), 0);
        loop {
            match self.next().await {
                CollectMessage::Batch {
                    stream,
                    events,
                    infos,
                    ..
                } if stream == of => {
                    all.extend(events);
                    count += infos;
                }
                CollectMessage::Closed { stream } if stream == of => return (all, count),
                other => panic!("of another stream: {other:?}"),
            }
        }
    }

    pub(crate) async fn batch(&mut self) -> (Vec<FeedEvent>, u64) {
        match self.next().await {
            CollectMessage::Batch { events, infos, .. } => (events, infos),
            other => panic!("not a batch: {other:?}"),
        }
    }

    /// Ends the source; what it still sent is thrown away, but counted as (opened, closed).
    pub(crate) async fn stop(mut self) -> (usize, usize) {
        self.shutdown.cancel();
        let (mut opened, mut closed) = (0, 0);
        while let Some(input) = soon(self.inputs.recv()).await {
            match input {
                CollectMessage::Opened { .. } => opened += 1,
                CollectMessage::Closed { .. } => closed += 1,
                CollectMessage::Batch { .. } => {}
            }
        }
        soon(self.server).await.unwrap().expect("it ends in order");
        (opened, closed)
    }
}

/// A call of tonic's client.
pub(crate) struct Call {
    /// `None` once the call is half-closed.
    pub(crate) infos: Option<mpsc::UnboundedSender<Info>>,
    pub(crate) responses: Streaming<Response>,
}

pub(crate) async fn client(address: SocketAddr) -> CollectorClient<Channel> {
    soon(CollectorClient::connect(format!("http://{address}")))
        .await
        .expect("it listens")
}

pub(crate) async fn call(client: &mut CollectorClient<Channel>) -> Result<Call, Status> {
    let (infos, sent) = mpsc::unbounded_channel();
    let responses = soon(client.collect(UnboundedReceiverStream::new(sent))).await?;
    Ok(Call {
        infos: Some(infos),
        responses: responses.into_inner(),
    })
}

/// How a call ended, as its client saw it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) responses: usize,
    pub(crate) code: i32,
    pub(crate) message: String,
}

pub(crate) fn seen(responses: usize, code: tonic::Code, message: &str) -> Seen {
    Seen {
        responses,
        code: code as i32,
        message: message.into(),
    }
}

impl Call {
    pub(crate) fn send(&self, info: Info) {
        let infos = self.infos.as_ref().expect("not half-closed");
        infos.send(info).expect("the call stands");
    }

    pub(crate) fn half_close(&mut self) {
        self.infos = None;
    }

    pub(crate) async fn end(&mut self) -> Seen {
        let mut responses = 0;
        loop {
            match soon(self.responses.message()).await {
                Ok(Some(Response {})) => responses += 1,
                Ok(None) => return seen(responses, tonic::Code::Ok, ""),
                Err(status) => return seen(responses, status.code(), status.message()),
            }
        }
    }
}

/// A connection of h2's client.
pub(crate) struct Raw {
    pub(crate) requests: SendRequest<Bytes>,
    pub(crate) connection: JoinHandle<Result<(), h2::Error>>,
}

/// A call on it. Each [`RawCall::send`] is one DATA frame.
pub(crate) struct RawCall {
    pub(crate) frames: SendStream<Bytes>,
    pub(crate) response: h2::client::ResponseFuture,
}

impl Raw {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).await.unwrap();
        socket.set_nodelay(true).unwrap();
        let (requests, connection) = soon(h2::client::handshake(socket)).await.unwrap();
        Self {
            requests,
            connection: tokio::spawn(connection),
        }
    }

    pub(crate) async fn call(&mut self) -> Result<RawCall, h2::Error> {
        self.encoded_call("identity").await
    }

    /// A call whose compressed messages are in this encoding.
    pub(crate) async fn encoded_call(&mut self, encoding: &str) -> Result<RawCall, h2::Error> {
        RawCall::begin(self.requests.clone(), encoding).await
    }
}

impl RawCall {
    /// A call over this connection, whose compressed messages are in this encoding.
    pub(crate) async fn begin(
        requests: SendRequest<Bytes>,
        encoding: &str,
    ) -> Result<Self, h2::Error> {
        let mut requests = soon(requests.ready()).await?;
        let request = http::Request::post("http://relay/collector.Collector/Collect")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("grpc-encoding", encoding)
            .body(())
            .unwrap();
        let (response, frames) = requests.send_request(request, false)?;
        Ok(Self { frames, response })
    }

    /// Waits until flow control lets the frame out, then sends it. `Err` is the reason for
    /// which the server has reset the stream.
    pub(crate) async fn send(&mut self, frame: Bytes) -> Result<(), H2Reason> {
        self.room_for(frame.len()).await?;
        self.frames
            .send_data(frame, false)
            .map_err(|error| error.reason().unwrap_or(H2Reason::STREAM_CLOSED))
    }

    /// Waits until flow control lets this many bytes out.
    pub(crate) async fn room_for(&mut self, bytes: usize) -> Result<(), H2Reason> {
        self.frames.reserve_capacity(bytes);
        while self.frames.capacity() < bytes {
            match std::future::poll_fn(|cx| self.frames.poll_capacity(cx)).await {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.reason().unwrap_or(H2Reason::INTERNAL_ERROR)),
                None => return Err(H2Reason::STREAM_CLOSED),
            }
        }
        Ok(())
    }

    pub(crate) async fn end(self) -> Seen {
        let Self { frames, response } = self;
        let response = soon(response).await.expect("headers");
        let mut body: RecvStream = response.into_body();
        let mut data = BytesMut::new();
        while let Some(part) = soon(body.data()).await {
            let part = part.expect("the stream ends in order");
            body.flow_control().release_capacity(part.len()).unwrap();
            data.extend_from_slice(&part);
        }
        let trailers = soon(body.trailers()).await.unwrap().expect("trailers");
        let text = |name| trailers.get(name).map_or("", |v| v.to_str().unwrap());
        drop(frames);
        assert_eq!(data.len() % 5, 0, "whole empty messages: {data:?}");
        Seen {
            responses: data.len() / 5,
            code: text("grpc-status").parse().unwrap(),
            message: text("grpc-message").replace("%20", " "),
        }
    }
}

/// A message of gRPC: five bytes in front of the payload.
pub(crate) fn grpc(payload: &[u8]) -> Bytes {
    let mut message = BytesMut::with_capacity(5 + payload.len());
    message.put_u8(0);
    message.put_u32(payload.len() as u32);
    message.put_slice(payload);
    message.freeze()
}

pub(crate) fn grpc_info(info: &Info) -> Bytes {
    grpc(&info.encode_to_vec())
}

/// ADDED, of a pod of this uid.
pub(crate) fn pod(uid: impl Into<String>) -> Info {
    Info {
        r#type: Type::K8sPod as i32,
        pod_info: Some(PodInfo {
            uid: uid.into(),
            ip: "10.0.0.1".into(),
            ..PodInfo::default()
        }),
        ..Info::default()
    }
}
