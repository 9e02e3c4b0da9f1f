//! The window into a spawned relay: its log, and in ours what it says about its own progress.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::future::join_all;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader},
    sync::watch,
};

/// How many of the last log lines are shown.
const LOG_TAIL: usize = 40;

/// What was seen so far.
#[derive(Clone, Debug, Default)]
pub struct Window {
    /// Where it listens, if it is one of ours.
    pub address: Option<SocketAddr>,
    pub progress: Progress,
    /// The log has ended, and so has the relay.
    pub closed: bool,
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
    /// The `Collect` streams whose end the relay has not applied; `None` if the build does not
    /// report them.
    pub open: Option<BTreeSet<u64>>,
    /// How many events of each kind the native watches sent, as it is said: `Pod:12 Job:3`.
    pub watches: String,
}

/// All lines but those about progress.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<String>>>);

/// What a relay logs to.
pub type Output = Box<dyn AsyncRead + Send + Unpin>;

/// Reads the log to its end.
pub async fn follow(outputs: Vec<Output>, window: watch::Sender<Window>, log: Log) {
    join_all(
        outputs
            .into_iter()
            .map(|output| read(output, &window, &log)),
    )
    .await;
    window.send_modify(|w| w.closed = true);
}

async fn read(output: Output, window: &watch::Sender<Window>, log: &Log) {
    let mut lines = BufReader::new(output).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        let line = String::from_utf8_lossy(&line).into_owned();
        if line.contains("k8s_relay::progress")
            && let Some(progress) = Progress::read(&line)
        {
            window.send_modify(|w| w.progress = progress);
            continue;
        }
        if line.contains("k8s_relay::app") && line.contains("\"listening\"") {
            let entry: Option<Value> = serde_json::from_str(&line).ok();
            let address = entry.as_ref().and_then(|e| e.get("address")?.as_str());
            // Of `Collect`, and of the admin listener after that.
            if let Some(address) = address.and_then(|address| address.parse().ok()) {
                window.send_modify(|w| w.address = Some(address));
            }
        }
        log.push(line);
        window.send_modify(|_| ());
    }
}

impl Progress {
    /// `None` if the line is none of progress.
    fn read(line: &str) -> Option<Self> {
        let entry: Value = serde_json::from_str(line).ok()?;
        let number = |name: &str| entry.get(name)?.as_u64();
        let stream = |stream: &str| {
            let (id, infos) = stream.split_once(':')?;
            Some((id.parse().ok()?, infos.parse().ok()?))
        };
        Some(Self {
            connection: number("connection")?,
            connected: entry.get("connected")?.as_bool()?,
            sent: number("sent")?,
            queued: number("queued")?,
            streams: entry
                .get("streams")?
                .as_str()?
                .split_whitespace()
                .map(stream)
                .collect::<Option<_>>()?,
            open: entry.get("open").and_then(Value::as_str).map(|open| {
                let ids = open.split_whitespace();
                ids.filter_map(|id| id.parse().ok()).collect()
            }),
            watches: entry.get("watches")?.as_str()?.to_owned(),
        })
    }
}

impl Log {
    fn push(&self, line: String) {
        self.lines(|lines| lines.push(line));
    }

    /// The lines from this one on, of which there are more the next time.
    pub fn since(&self, seen: &mut usize) -> Vec<String> {
        self.lines(|lines| {
            let new = lines.get(*seen..).unwrap_or_default().to_vec();
            *seen = lines.len();
            new
        })
    }

    /// The last lines.
    pub fn tail(&self) -> String {
        self.lines(|lines| {
            let tail = lines.iter().skip(lines.len().saturating_sub(LOG_TAIL));
            tail.map(|line| format!("  {line}\n")).collect()
        })
    }

    fn lines<T>(&self, look: impl FnOnce(&mut Vec<String>) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
