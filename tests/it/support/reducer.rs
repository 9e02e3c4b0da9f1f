//! A reducer played by hand, on a real socket.

use std::{
    collections::BTreeMap,
    future::Future,
    io,
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use super::must;
use k8s_relay::{
    announce::Sink,
    model::{Pod, PodMeta, Uid},
    reducer::{Identity, Options, Reducer, ReducerEvent, Resolver, Tcp, Times},
    wire::{Reader, StreamError},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    net::{TcpListener, TcpStream},
    select,
};

/// Names of the handshake without labels.
pub const HANDSHAKE: [&str; 6] = [
    "version_info",
    "connect",
    "report_cpu_cores",
    "cloud_platform",
    "set_node_info",
    "metadata_complete",
];

/// Intervals so long that nothing comes by itself, waits so short that no test waits for them.
pub fn quiet() -> Times {
    Times {
        heartbeat: Duration::from_secs(3600),
        health: Duration::ZERO,
        linger: Duration::from_millis(100),
        backoff_min: Duration::from_millis(5),
        backoff_max: Duration::from_millis(50),
        ..Times::default()
    }
}

pub fn options(port: u16) -> Options {
    let facts = Identity {
        hostname: b"relay-host".to_vec(),
        cpu_cores: 2,
        labels: BTreeMap::new(),
    };
    Options {
        times: quiet(),
        tcp: Tcp {
            connect_timeout: Duration::from_secs(5),
            ..Tcp::default()
        },
        ..Options::new("127.0.0.1", port, facts)
    }
}

/// A listener on a free port, and options that lead to it.
pub async fn listen() -> (TcpListener, Options) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, options(port))
}

/// Answers each lookup with the next of `answers`, the last one indefinitely.
pub fn resolver(answers: Vec<io::Result<Vec<std::net::SocketAddr>>>) -> Resolver {
    let answers = Arc::new(Mutex::new(answers.into_iter().peekable()));
    Resolver::new(move |_, _| {
        let mut answers = answers.lock().unwrap();
        let answer = match answers.next().unwrap() {
            Ok(addresses) => {
                let copy = addresses.clone();
                if answers.peek().is_none() {
                    *answers = vec![Ok(copy)].into_iter().peekable();
                }
                Ok(addresses)
            }
            Err(error) => Err(error),
        };
        async move { answer }
    })
}

/// Runs `script` while the reducer works; what happened is added to `events`. Each event
/// drops a pending `next`, so every test shows that this loses nothing.
pub async fn during<T>(
    reducer: &mut Reducer,
    events: &mut Vec<ReducerEvent>,
    script: impl Future<Output = T>,
) -> T {
    let mut script = pin!(script);
    let all = async {
        loop {
            select! {
                biased;
                done = &mut script => return done,
                event = reducer.next() => events.push(event),
            }
        }
    };
    soon(all).await
}

/// Works until something happens.
pub async fn next(reducer: &mut Reducer) -> ReducerEvent {
    soon(reducer.next()).await
}

/// Awaits what must happen.
pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    must("something between the relay and its reducer", future).await
}

/// The far end of one connection.
pub struct Peer<S = TcpStream> {
    pub stream: S,
    pub reader: Reader,
    /// The plain bytes of everything that was read.
    pub plain: Vec<u8>,
}

impl Peer {
    pub async fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = soon(listener.accept()).await.unwrap();
        Self::over(stream)
    }
}

impl<S: AsyncRead + Unpin> Peer<S> {
    /// Reads there.
    pub fn over(stream: S) -> Self {
        Self {
            stream,
            reader: Reader::new(),
            plain: Vec::new(),
        }
    }

    /// The next message's name; `None` at EOF. Panics when the connection breaks.
    pub async fn name(&mut self) -> Option<&'static str> {
        let mut bytes = [0; 16_384];
        loop {
            match self.reader.next_message() {
                Ok(Some((timestamp, message))) => {
                    message.encode(timestamp, &mut self.plain).unwrap();
                    return Some(message.row().name);
                }
                Ok(None) => {}
                Err(error) => panic!("malformed: {error}"),
            }
            match self
                .stream
                .read(&mut bytes)
                .await
                .expect("EOF, not an error")
            {
                0 => return None,
                len => self.reader.push(&bytes[..len]),
            }
        }
    }

    /// The next `count` messages' names.
    pub async fn names(&mut self, count: usize) -> Vec<&'static str> {
        let mut names = Vec::new();
        while names.len() < count {
            names.push(self.name().await.expect("not yet EOF"));
        }
        names
    }

    /// Everything up to EOF, and how the stream ended there.
    pub async fn rest(&mut self) -> (Vec<&'static str>, Result<(), StreamError>) {
        let mut names = Vec::new();
        while let Some(name) = self.name().await {
            names.push(name);
        }
        (names, self.reader.finish())
    }

    pub async fn handshake_done(&mut self) {
        assert_eq!(self.names(HANDSHAKE.len()).await, HANDSHAKE);
    }
}

pub fn pod(uid: &str) -> PodMeta {
    PodMeta::new(Pod {
        uid: Uid::new(uid),
        name: uid.into(),
        namespace: "default".into(),
        version: "1".into(),
        owner: None,
        address: Some([10, 0, 0, 1].into()),
        host_network: false,
        containers: [].into(),
        auxiliary: 0,
    })
}

/// Sends `count` pods whose bytes compress badly.
pub fn send_pods(reducer: &mut Reducer, count: u64) {
    for n in 0..count {
        let noise = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let noise = format!(
            "{noise:016x}{:016x}",
            noise.rotate_left(29).wrapping_mul(noise)
        );
        reducer.outbox().pod_new_no_owner(&pod(&noise));
    }
    reducer.flush(std::time::Instant::now());
}
