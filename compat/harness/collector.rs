//! Turns what the mock reducer hears into lines and sequences, as it comes.

use anyhow::{Context as _, Result};
use k8s_relay::sim::reducer::Entry;
use tokio::sync::{mpsc, watch};
use tokio_util::task::AbortOnDropHandle;

use super::{
    outcome::{Output, Sent, handshake_line, name, new_connection},
    sequences::Sequences,
};

/// Listens alongside the mock reducer.
pub struct Collector {
    heard: watch::Receiver<Heard>,
    _task: AbortOnDropHandle<()>,
}

/// What was sent up to some moment.
pub struct Collected {
    pub output: Output,
    pub sequences: Sequences,
    /// The handshake of each connection.
    pub handshakes: Vec<Vec<String>>,
}

#[derive(Clone, Default)]
struct Heard {
    messages: u64,
    sent: Sent,
    sequences: Option<Sequences>,
    handshakes: Vec<Vec<String>>,
    handshake_done: bool,
}

impl Collector {
    /// Keeps the sequences if they are wanted. Gives the tap for the reducer, too.
    pub fn start(sequences: bool) -> (Self, mpsc::Sender<Entry>) {
        let (tap, mut entries) = mpsc::channel(1_024);
        let (sender, heard) = watch::channel(Heard {
            sequences: sequences.then(Sequences::default),
            ..Heard::default()
        });
        let task = tokio::spawn(async move {
            while let Some(entry) = entries.recv().await {
                sender.send_modify(|heard| heard.take(entry));
            }
        });
        let task = AbortOnDropHandle::new(task);
        (Self { heard, _task: task }, tap)
    }

    /// How much of what counts was sent so far: no handshakes, no noise.
    pub fn sent(&self) -> usize {
        self.heard.borrow().sent.total()
    }

    /// Waits for more than that to be sent.
    pub async fn more_than(&self, sent: usize) {
        let mut heard = self.heard.clone();
        // The sender lives as long as the task, which lives as long as this.
        let _ = heard.wait_for(|heard| heard.sent.total() > sent).await;
    }

    /// Waits for this many messages in all.
    pub async fn up_to(&mut self, messages: u64) -> Result<Collected> {
        let all = self.heard.wait_for(|heard| heard.messages >= messages);
        let heard = all.await.context("the tap of the mock reducer")?.clone();
        Ok(Collected {
            output: heard.sent.output(),
            sequences: heard.sequences.unwrap_or_default(),
            handshakes: heard.handshakes,
        })
    }
}

impl Heard {
    fn take(&mut self, entry: Entry) {
        self.messages += 1;
        while self.handshakes.len() < entry.connection {
            self.handshakes.push(Vec::new());
            self.handshake_done = false;
            if self.handshakes.len() > 1 {
                self.record(new_connection(self.handshakes.len()));
            }
        }
        let name = name(&entry.message);
        if !self.handshake_done {
            self.handshake_done = name == "metadata_complete";
            let line = handshake_line(entry.message);
            if let Some(handshake) = self.handshakes.last_mut() {
                handshake.push(line);
            }
        } else if !is_noise(name) {
            self.record(entry.message);
        }
    }

    fn record(&mut self, message: serde_json::Map<String, serde_json::Value>) {
        if let Some(sequences) = &mut self.sequences {
            sequences.push(&message);
        }
        self.sent.push(message);
    }
}

/// Whether how often it comes depends on how long the case takes.
fn is_noise(name: &str) -> bool {
    ["heartbeat", "collector_health", "agent_resource_usage"].contains(&name)
}
