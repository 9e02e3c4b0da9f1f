//! The watchers of the benches: they send what was encoded before, as fast as it is taken.

use std::{future::poll_fn, net::SocketAddr, sync::Arc};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::{StreamExt as _, stream};
use k8s_relay::{
    proto::Info,
    sim::watcher::{Message, Watcher},
};
use prost::Message as _;
use tokio::{
    io::BufStream,
    net::TcpStream,
    runtime::{self, Runtime},
    sync::mpsc,
    task::JoinHandle,
};
use tokio_stream::wrappers::ReceiverStream;

/// Infos, encoded.
pub type Load = Arc<[Bytes]>;

/// How many loads may wait to be sent.
const WAITING: usize = 2;

/// So much is written at once by a client that frames each Info.
const WRITES: usize = 64 << 10;

/// Which client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// tonic's, which merges Infos into large DATA frames.
    Merging,
    /// One that sends a DATA frame for each Info, as those in Go and C++ do.
    Framing,
}

/// Encodes Infos, so that a measured watcher only has to send.
pub fn encode(infos: impl Iterator<Item = Info>) -> Load {
    let mut buffer = BytesMut::new();
    let mut encode = |info: Info| {
        info.encode(&mut buffer).unwrap();
        buffer.split().freeze()
    };
    infos.map(&mut encode).collect()
}

/// The same for [`Client::Framing`]: each with its head.
pub fn encode_framed(infos: impl Iterator<Item = Info>) -> Load {
    let mut buffer = BytesMut::new();
    let mut encode = |info: Info| {
        buffer.put_u8(0);
        buffer.put_u32(info.encoded_len() as u32);
        info.encode(&mut buffer).unwrap();
        buffer.split().freeze()
    };
    infos.map(&mut encode).collect()
}

/// An open call, driven by a thread of its own.
pub struct Call {
    loads: mpsc::Sender<Load>,
    done: JoinHandle<()>,
    runtime: Runtime,
}

impl Call {
    /// Connects and opens the call of a [`Client::Merging`].
    pub fn open(address: SocketAddr) -> Self {
        Self::open_by(Client::Merging, address)
    }

    /// Connects and opens the call.
    pub fn open_by(client: Client, address: SocketAddr) -> Self {
        let mut runtime = runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
        let (loads, queue) = mpsc::channel::<Load>(WAITING);
        let done = match client {
            Client::Merging => {
                let watcher = runtime
                    .block_on(Watcher::connect(&address.to_string()))
                    .unwrap();
                runtime.spawn(merging(watcher, queue))
            }
            Client::Framing => runtime.spawn(framing(address, queue)),
        };
        Self {
            loads,
            done,
            runtime,
        }
    }

    /// Sends all this, after what was sent before. Waits only for room.
    pub fn send(&self, load: &Load) {
        self.loads
            .blocking_send(load.clone())
            .expect("the call is open");
    }

    /// Half-closes and waits for the end.
    pub fn finish(self) {
        drop(self.loads);
        self.runtime.block_on(self.done).unwrap();
    }
}

async fn merging(watcher: Watcher, queue: mpsc::Receiver<Load>) {
    let messages = ReceiverStream::new(queue).flat_map(|load| {
        let numbers = 0..load.len();
        stream::iter(numbers.map(move |number| Message::Raw(load[number].clone())))
    });
    watcher.play(messages).await;
}

async fn framing(address: SocketAddr, mut queue: mpsc::Receiver<Load>) {
    let socket = TcpStream::connect(address).await.unwrap();
    socket.set_nodelay(true).unwrap();
    // Many frames a write.
    let socket = BufStream::with_capacity(WRITES, WRITES, socket);
    let (client, connection) = h2::client::handshake(socket).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::post(format!("http://{address}/collector.Collector/Collect"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .unwrap();
    let mut client = client.ready().await.unwrap();
    let (answer, mut infos) = client.send_request(request, false).unwrap();
    while let Some(load) = queue.recv().await {
        for info in load.iter() {
            infos.reserve_capacity(info.len());
            while infos.capacity() < info.len() {
                let more = poll_fn(|cx| infos.poll_capacity(cx)).await;
                more.expect("the call is open").unwrap();
            }
            infos.send_data(info.clone(), false).unwrap();
        }
    }
    infos.send_data(Bytes::new(), true).unwrap();
    let mut body = answer.await.unwrap().into_body();
    while body.data().await.is_some() {}
    drop(client);
    connection.abort();
}
