//! Turns what the mock reducer hears into lines, as it comes.

use k8s_relay::sim::reducer::Entry;
use tokio::sync::{mpsc, watch};
use tokio_util::task::AbortOnDropHandle;

use super::outcome::{Output, Told, greeting_line, new_connection};
use crate::support::must;

/// Listens beside the mock reducer.
pub struct Collector {
    heard: watch::Receiver<Heard>,
    _task: AbortOnDropHandle<()>,
}

/// What was told up to some moment.
pub struct Collected {
    pub output: Output,
    /// The greeting of each connection.
    pub handshakes: Vec<Vec<String>>,
}

#[derive(Clone, Default)]
struct Heard {
    messages: u64,
    told: Told,
    handshakes: Vec<Vec<String>>,
    greeted: bool,
}

impl Collector {
    /// Gives the tap for the reducer, too.
    pub fn start() -> (Self, mpsc::Sender<Entry>) {
        let (tap, mut entries) = mpsc::channel(1_024);
        let (sender, heard) = watch::channel(Heard::default());
        let task = tokio::spawn(async move {
            while let Some(entry) = entries.recv().await {
                sender.send_modify(|heard| heard.take(entry));
            }
        });
        let task = AbortOnDropHandle::new(task);
        (Self { heard, _task: task }, tap)
    }

    /// Waits for this many messages in all.
    pub async fn up_to(&mut self, messages: u64) -> Collected {
        let all = self.heard.wait_for(|heard| heard.messages >= messages);
        let heard = must("all that was read is heard", all).await;
        let heard = heard.unwrap().clone();
        Collected {
            output: heard.told.output(),
            handshakes: heard.handshakes,
        }
    }
}

impl Heard {
    fn take(&mut self, entry: Entry) {
        self.messages += 1;
        while self.handshakes.len() < entry.connection {
            self.handshakes.push(Vec::new());
            self.greeted = false;
            if self.handshakes.len() > 1 {
                self.told.push(new_connection(self.handshakes.len()));
            }
        }
        let name = entry.message["msg"].as_str().unwrap();
        if !self.greeted {
            self.greeted = name == "metadata_complete";
            let line = greeting_line(entry.message);
            self.handshakes.last_mut().unwrap().push(line);
        } else if !is_noise(name) {
            self.told.push(entry.message);
        }
    }
}

/// Whether how often it comes depends on how long the scenario takes.
fn is_noise(name: &str) -> bool {
    ["heartbeat", "collector_health", "agent_resource_usage"].contains(&name)
}
