//! The watcher of the benches: tells what was encoded before, as fast as it is taken.

use std::{net::SocketAddr, sync::Arc};

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, stream};
use k8s_relay::{
    proto::Info,
    sim::watcher::{Message, Outcome, Watcher},
};
use prost::Message as _;
use tokio::{
    runtime::{self, Runtime},
    sync::mpsc,
    task::JoinHandle,
};
use tokio_stream::wrappers::ReceiverStream;

/// Infos, encoded.
pub type Load = Arc<[Bytes]>;

/// How many loads may wait to be sent.
const WAITING: usize = 2;

/// Encodes Infos, so that a measured watcher only has to send.
pub fn encode(infos: impl Iterator<Item = Info>) -> Load {
    let mut buffer = BytesMut::new();
    let mut encode = |info: Info| {
        info.encode(&mut buffer).unwrap();
        buffer.split().freeze()
    };
    infos.map(&mut encode).collect()
}

/// An open call, driven by a thread of its own.
pub struct Call {
    loads: mpsc::Sender<Load>,
    outcome: JoinHandle<Outcome>,
    runtime: Runtime,
}

impl Call {
    /// Connects and opens the call.
    pub fn open(address: SocketAddr) -> Self {
        let mut runtime = runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
        let watcher = runtime
            .block_on(Watcher::connect(&address.to_string()))
            .unwrap();
        let (loads, queue) = mpsc::channel::<Load>(WAITING);
        let messages = ReceiverStream::new(queue).flat_map(|load| {
            let numbers = 0..load.len();
            stream::iter(numbers.map(move |number| Message::Raw(load[number].clone())))
        });
        let outcome = runtime.spawn(async move { watcher.play(messages).await });
        Self {
            loads,
            outcome,
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
    pub fn finish(self) -> Outcome {
        drop(self.loads);
        self.runtime.block_on(self.outcome).unwrap()
    }
}
