//! A relay with an admin listener, in this process.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use k8s_relay::{
    app::{AppError, Relay},
    config::{AdminAddress, Config, Heartbeat, HostPort},
    net::BoundAddr,
    sim::{
        reducer::{MockReducer, Options, State},
        watcher::Watcher,
    },
};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::support::must;

pub(super) struct World {
    pub(super) reducer: MockReducer,
    pub(super) collect: SocketAddr,
    pub(super) place: BoundAddr,
    pub(super) places: Vec<BoundAddr>,
    end: CancellationToken,
    relay: AbortOnDropHandle<Result<(), AppError>>,
}

/// An answer over HTTP.
pub(super) struct Answer {
    pub(super) code: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl World {
    /// A relay of the legacy stage.
    pub(super) async fn start() -> Self {
        Self::with(|_| ()).await
    }

    pub(super) async fn with(set: impl FnOnce(&mut Config)) -> Self {
        let reducer = MockReducer::bind(here(0), Options::default())
            .await
            .unwrap();
        let mut config = config(reducer.addr().port());
        set(&mut config);
        let relay = Relay::start(config).await.unwrap();
        let end = CancellationToken::new();
        Self {
            reducer,
            collect: relay.address(),
            place: relay.admin().unwrap().clone(),
            places: relay.admins().to_vec(),
            relay: AbortOnDropHandle::new(tokio::spawn(
                relay.run_until(end.clone().cancelled_owned()),
            )),
            end,
        }
    }

    pub(super) async fn watcher(&self) -> Watcher {
        let connected = Watcher::connect(&self.collect.to_string()).await;
        connected.unwrap()
    }

    /// Waits until the reducer knows this pod.
    pub(super) async fn knows(&self, uid: &str) {
        let known = |state: &State| {
            let reducer_state = state.reducer_state();
            reducer_state.is_some_and(|reducer_state| reducer_state.pod(uid.as_bytes()).is_some())
        };
        must(uid, self.reducer.wait_until(known)).await;
    }

    /// Asks as curl would.
    pub(super) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "").await
    }

    pub(super) async fn post(&self, path: &str) -> Answer {
        self.ask("POST", path, "").await
    }

    /// Asks with these lines in the head.
    pub(super) async fn ask(&self, method: &str, path: &str, lines: &str) -> Answer {
        let request = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n{lines}\r\n");
        self.say(request.as_bytes()).await
    }

    /// Says these bytes, and reads to the end.
    pub(super) async fn say(&self, bytes: &[u8]) -> Answer {
        match &self.place {
            BoundAddr::Tcp(address) => say(TcpStream::connect(address).await.unwrap(), bytes).await,
            BoundAddr::Unix(path) => say(UnixStream::connect(path).await.unwrap(), bytes).await,
        }
    }

    /// Waits for an answer that is so.
    pub(super) async fn until(&self, path: &str, is: impl Fn(&Answer) -> bool) -> Answer {
        must(path, async {
            loop {
                let answer = self.get(path).await;
                if is(&answer) {
                    return answer;
                }
            }
        })
        .await
    }

    /// Ends the relay, which leaves something undone. Gives what.
    pub(super) async fn end_undone(self) -> String {
        self.end.cancel();
        let ended = must("the relay ends", self.relay).await.unwrap();
        ended.unwrap_err().to_string()
    }

    pub(super) async fn end(self) {
        self.end.cancel();
        must("the relay ends", self.relay).await.unwrap().unwrap();
    }
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        assert!(
            self.head.contains("content-type: application/json\r\n"),
            "{}",
            self.head
        );
        serde_json::from_str(&self.body).unwrap()
    }

    /// What went wrong, in words.
    pub(super) fn error(&self) -> String {
        self.json()["error"].as_str().unwrap().to_owned()
    }
}

/// Says these bytes there, and reads to the end.
pub(super) async fn say(mut stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) -> Answer {
    // Who refuses may have hung up by then.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = must("an answer", stream.read_to_end(&mut answer)).await;
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    Answer {
        code: head
            .split(' ')
            .nth(1)
            .map_or(0, |code| code.parse().unwrap()),
        head: format!("{head}\r\n"),
        body: body.to_owned(),
    }
}

/// A quiet relay with an admin listener on any port.
pub(super) fn config(reducer: u16) -> Config {
    let at = |port| HostPort {
        host: "127.0.0.1".to_owned(),
        port,
    };
    Config {
        admin_address: AdminAddress::Tcp(at(0)).into(),
        heartbeat: Heartbeat::Once,
        ..Config::between(at(0), at(reducer))
    }
}

pub(super) fn here(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

pub(super) fn unix(path: impl AsRef<Path>) -> AdminAddress {
    AdminAddress::Unix(PathBuf::from(path.as_ref()))
}
