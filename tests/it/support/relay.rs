//! The program itself, spawned, with its log as the window into it.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStderr, Command},
    sync::watch,
};
use tokio_util::task::AbortOnDropHandle;

use super::must;

/// How many of the last log lines a failed test shows.
const LOG_TAIL: usize = 40;

/// A running `k8s-relay`. It is killed if the test ends without [`Relay::stop`].
pub struct Relay {
    child: Child,
    address: SocketAddr,
    window: watch::Receiver<Window>,
    log: Log,
    _reader: AbortOnDropHandle<()>,
}

/// What the relay says about itself whenever it comes to rest.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// The number of the reducer connection; 0 before the first.
    pub connection: u64,
    /// Whether that connection stands.
    pub connected: bool,
    /// Bytes handed to its socket so far.
    pub sent: u64,
    /// Bytes that wait for its socket.
    pub queued: u64,
    /// How many Infos of each `Collect` stream were applied; ended streams stay for a while.
    pub streams: BTreeMap<u64, u64>,
}

#[derive(Clone, Debug, Default)]
struct Window {
    address: Option<SocketAddr>,
    progress: Progress,
    /// The log has ended, and so has the relay.
    closed: bool,
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<VecDeque<String>>>);

impl Relay {
    /// Starts the program on a free port, with these arguments beside those for the log,
    /// and waits until it listens.
    pub async fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_k8s-relay"))
            .args(["--server-address", "127.0.0.1:0"])
            .args(["--log-format", "json", "--trace"])
            .args(arguments)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (sender, mut window) = watch::channel(Window::default());
        let log = Log::default();
        let reader = read_log(child.stderr.take().unwrap(), sender, log.clone());
        let reader = AbortOnDropHandle::new(tokio::spawn(reader));
        let seen = must(
            "the relay listens",
            window.wait_for(|w| w.address.is_some() || w.closed),
        )
        .await
        .map(|w| w.address);
        let Ok(Some(address)) = seen else {
            panic!("the relay did not start:\n{}", log.tail());
        };
        Self {
            child,
            address,
            window,
            log,
            _reader: reader,
        }
    }

    /// Where watchers find it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until the relay is at rest in this state, and says in which exactly.
    pub async fn until(&self, what: &str, reached: impl Fn(&Progress) -> bool) -> Progress {
        let mut window = self.window.clone();
        let found = tokio::time::timeout(
            super::PATIENCE,
            window.wait_for(|w| w.closed || reached(&w.progress)),
        )
        .await
        .map(|found| found.map(|w| w.clone()));
        match found {
            Ok(Ok(window)) if reached(&window.progress) => window.progress,
            _ => panic!(
                "waited in vain: {what}; last progress {:?}; log:\n{}",
                self.window.borrow().progress,
                self.log.tail()
            ),
        }
    }

    /// Whether the process runs.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// The last lines it logged.
    pub fn log_tail(&self) -> String {
        self.log.tail()
    }

    /// Asks it to end, as Kubernetes does, and waits for that.
    pub async fn stop(mut self) -> ExitStatus {
        if let Some(id) = self.child.id() {
            let id = Pid::from_raw(id.try_into().unwrap());
            kill(id, Signal::SIGTERM).unwrap();
        }
        must("the relay ends", self.child.wait()).await.unwrap()
    }
}

impl Log {
    fn push(&self, line: String) {
        let mut lines = self.0.lock().unwrap();
        if lines.len() == LOG_TAIL {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    fn tail(&self) -> String {
        let lines = self.0.lock().unwrap();
        lines.iter().map(|line| format!("  {line}\n")).collect()
    }
}

async fn read_log(stderr: ChildStderr, window: watch::Sender<Window>, log: Log) {
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if line.contains("k8s_relay::progress") {
            let progress = Progress::read(&line);
            window.send_modify(|w| w.progress = progress);
            continue;
        }
        if line.contains("k8s_relay::app") && line.contains("\"listening\"") {
            let entry: Value = serde_json::from_str(&line).unwrap();
            let address = entry["address"].as_str().unwrap().parse();
            window.send_modify(|w| w.address = Some(address.unwrap()));
        }
        log.push(line);
    }
    window.send_modify(|w| w.closed = true);
}

impl Progress {
    fn read(line: &str) -> Self {
        let entry: Value = serde_json::from_str(line).unwrap();
        let number = |name: &str| entry[name].as_u64().unwrap();
        Self {
            connection: number("connection"),
            connected: entry["connected"].as_bool().unwrap(),
            sent: number("sent"),
            queued: number("queued"),
            streams: entry["streams"]
                .as_str()
                .unwrap()
                .split_whitespace()
                .map(|stream| {
                    let (id, infos) = stream.split_once(':').unwrap();
                    (id.parse().unwrap(), infos.parse().unwrap())
                })
                .collect(),
        }
    }
}
