//! Does to a relay what was done to the legacy one.
//!
//! Where the recording paused, this waits for the relay's own counters: every Info sent has
//! been applied, every byte it wrote has reached the reducer.

use std::io::Write as _;

use k8s_relay::sim::{
    cluster::Cluster,
    reducer::{MockReducer, Options, State},
    traffic,
    watcher::{Call, Message, Watcher},
};
use prost::Message as _;
use tonic::Code;

use super::{
    collector::Collector,
    outcome::Outcome,
    recording::{Control, FastClient, Generator, Recording, Step},
};
use crate::support::{
    must,
    relay::{Progress, Relay},
};

/// What the relay does after a reconnect to the reducer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reconnect {
    Replay,
    ResetWatcher,
}

const CLIENT_HALF_CLOSE: &str = "client half-close";
const AT_END: &str = "client half-close at end of scenario";
const CLIENT_CANCEL: &str = "client cancel";
const RELAY: &str = "relay";

/// A fast client is never further ahead of the reducer than this many bytes of protobuf,
/// which is well below the relay's outgoing buffer: what happens when that is full
/// depends on the machine, and has tests of its own.
const FAST_CLIENT_LEAD: usize = 1 << 20;

/// Plays the recording against a relay of its own; `ends` is how the streams should end.
/// Gives what came of it, and the end of the relay's log.
pub async fn play(
    recording: &Recording,
    reconnect: Reconnect,
    ends: &[String],
) -> (Outcome, String) {
    let (told, tap) = Collector::start();
    let options = Options {
        keep_everything: false,
        tap: Some(tap),
        ..Options::default()
    };
    let any_port = "127.0.0.1:0".parse().unwrap();
    let reducer = MockReducer::bind(any_port, options).await.unwrap();
    if !recording.reducer_listens_at_first() {
        reducer.stop_listening().await;
    }
    let config = config_file(recording);
    let port = reducer.addr().port().to_string();
    let mut arguments = vec!["--intake-host", "127.0.0.1", "--intake-port", &port];
    arguments.extend(["--config-file", config.path().to_str().unwrap()]);
    if reconnect == Reconnect::ResetWatcher {
        arguments.extend(["--reconnect", "reset-watcher"]);
    }
    let relay = Relay::start(&arguments).await;
    let mut player = Player {
        reducer,
        told,
        relay,
        streams: Vec::new(),
        current: "A".to_owned(),
    };
    if recording.reducer_listens_at_first() {
        player.wait_connections(1).await;
    }
    for step in &recording.steps {
        player.step(step).await;
    }
    player.settle().await;
    player.finish(ends).await
}

struct Player {
    reducer: MockReducer,
    told: Collector,
    relay: Relay,
    streams: Vec<Stream>,
    /// The stream that steps without a stream mean.
    current: String,
}

struct Stream {
    name: String,
    call: Call,
    /// The relay counts calls from 1.
    id: u64,
    /// Infos sent.
    sent: u64,
    ended_by: Option<&'static str>,
}

impl Player {
    async fn step(&mut self, step: &Step) {
        match step {
            Step::Send { stream, message } => {
                let stream = stream.clone().unwrap_or(self.current.clone());
                self.send(&stream, (**message).clone()).await;
            }
            Step::Control(control) => self.control(control).await,
        }
    }

    async fn control(&mut self, control: &Control) {
        match control {
            Control::Settle | Control::Wait {} => self.settle().await,
            Control::OpenStream { stream } => {
                self.open(stream).await;
            }
            Control::NewStream { stream } => {
                let current = self.current.clone();
                self.stream(&current).await.half_close().await;
                self.open(stream).await;
                self.current.clone_from(stream);
            }
            Control::HalfClose { stream } => self.stream(stream).await.half_close().await,
            Control::CancelStream { stream } => self.stream(stream).await.cancel().await,
            Control::ReducerDisconnect => {
                self.reducer.disconnect().await;
                self.relay_noticed().await;
            }
            Control::ReducerReset => {
                self.reducer.reset().await;
                self.relay_noticed().await;
            }
            Control::ReducerStopListening => self.reducer.stop_listening().await,
            Control::ReducerStartListening => self.reducer.start_listening().await.unwrap(),
            Control::WaitConnections { n } => self.wait_connections(*n).await,
            Control::Generate {
                stream,
                generator,
                count,
                same_owner,
            } => {
                let stream = stream.clone().unwrap_or(self.current.clone());
                for info in generate(*generator, *count, *same_owner) {
                    self.send(&stream, info.into()).await;
                }
            }
            Control::FastClient(client) => self.fast_client(client).await,
        }
    }

    async fn send(&mut self, stream: &str, message: Message) {
        let stream = self.stream(stream).await;
        // A call that has ended takes no more; how it ended is compared.
        if must("the relay takes a message", stream.call.send(message))
            .await
            .is_ok()
        {
            stream.sent += 1;
        }
    }

    /// The stream of this name, opened if it is new.
    async fn stream(&mut self, name: &str) -> &mut Stream {
        match self.streams.iter().position(|s| s.name == name) {
            Some(at) => &mut self.streams[at],
            None => self.open(name).await,
        }
    }

    /// Opens a stream on a connection of its own and waits until the relay knows it.
    async fn open(&mut self, name: &str) -> &mut Stream {
        let watcher = Watcher::connect(&self.relay.address().to_string()).await;
        let call = watcher.unwrap().open();
        let id = self.streams.len() as u64 + 1;
        self.relay
            .until("the call is known", |p| p.streams.contains_key(&id))
            .await;
        self.streams.push(Stream {
            name: name.to_owned(),
            call,
            id,
            sent: 0,
            ended_by: None,
        });
        self.streams.last_mut().unwrap()
    }

    /// Waits until all that was sent is applied and all that was written is received.
    async fn settle(&mut self) {
        for stream in &mut self.streams {
            let (id, sent) = (stream.id, stream.sent);
            tokio::select! {
                _ = self.relay.until("Infos are applied", |p| applied(p, id) >= sent) => (),
                _ = stream.call.ended() => (),
            }
        }
        let open: Vec<(u64, u64)> = self
            .streams
            .iter()
            .filter(|s| s.call.outcome().is_none())
            .map(|s| (s.id, s.sent))
            .collect();
        let at_rest = self
            .relay
            .until("all is applied and written", |p| {
                (!p.connected || p.queued == 0)
                    && open.iter().all(|(id, sent)| applied(p, *id) >= *sent)
            })
            .await;
        if at_rest.connected {
            let number = at_rest.connection as usize;
            let received = self.reducer.wait_until(|state| {
                let connection = state.connection(number);
                connection.is_some_and(|c| c.bytes >= at_rest.sent || c.end.is_some())
            });
            must("the reducer has read it all", received).await;
        }
    }

    async fn relay_noticed(&self) {
        let number = self.reducer.connections() as u64;
        self.relay
            .until("the relay noticed that the reducer went", |p| {
                !p.connected || p.connection > number
            })
            .await;
    }

    /// Waits until both sides have this connection, and its greeting is through.
    async fn wait_connections(&self, n: usize) {
        let greeted = self
            .reducer
            .wait_until(|state| state.connection(n).is_some_and(|c| c.greeted()));
        must("the reducer has the greeting", greeted).await;
        self.relay
            .until("the relay is connected", |p| {
                p.connected && p.connection >= n as u64
            })
            .await;
    }

    async fn fast_client(&mut self, client: &FastClient) {
        let cluster = Cluster {
            containers: client.containers,
            ..Cluster::new(client.replica_sets, client.pods)
        };
        let infos: Box<dyn Iterator<Item = _> + Send> = match client.pods_first {
            true => Box::new(cluster.list_pods_first()),
            false => Box::new(cluster.list()),
        };
        let mut lead = 0;
        for info in infos {
            lead += info.encoded_len();
            self.send(&client.stream, info.into()).await;
            if lead >= FAST_CLIENT_LEAD {
                self.settle().await;
                lead = 0;
            }
        }
        self.settle().await;
        self.stream(&client.stream).await.half_close().await;
    }

    async fn finish(mut self, ends: &[String]) -> (Outcome, String) {
        // A reset reaches its watcher after the relay is done with it: wait for what should
        // come. What should not come is seen below.
        for stream in &mut self.streams {
            if ends.contains(&stream.end(RELAY, Code::Cancelled)) {
                must("the relay ends the call", stream.call.ended()).await;
            }
        }
        let read = |state: &State| state.connections.iter().map(|c| c.messages).sum();
        let told = self.told.up_to(self.reducer.with(read)).await;
        let alive = self.relay.is_alive();
        let mut streams = Vec::new();
        for stream in &mut self.streams {
            streams.push(stream.finish().await);
        }
        let log = self.relay.log_tail();
        if alive {
            let status = self.relay.stop().await;
            assert!(
                status.success(),
                "the relay ended with {status}; log:\n{log}"
            );
        }
        let seen = self.reducer.shutdown().await;
        assert_eq!(seen.violations().next(), None);
        let outcome = Outcome {
            output: told.output,
            handshakes: told.handshakes,
            streams,
            alive,
        };
        (outcome, log)
    }
}

impl Stream {
    async fn half_close(&mut self) {
        self.end_by(CLIENT_HALF_CLOSE, Call::half_close).await;
    }

    async fn cancel(&mut self) {
        self.end_by(CLIENT_CANCEL, Call::cancel).await;
    }

    async fn finish(&mut self) -> String {
        if self.ended_by.is_none() {
            self.end_by(AT_END, Call::half_close).await;
        }
        let outcome = self.call.outcome().unwrap();
        self.end(self.ended_by.unwrap(), outcome.status)
    }

    async fn end_by(&mut self, who: &'static str, how: impl FnOnce(&mut Call)) {
        self.ended_by = match self.call.outcome() {
            Some(_) => Some(RELAY),
            None => Some(who),
        };
        how(&mut self.call);
        must("the call ends", self.call.ended()).await;
    }

    fn end(&self, who: &str, status: Code) -> String {
        format!("{}: {who}, {}", self.name, status_name(status))
    }
}

fn applied(progress: &Progress, stream: u64) -> u64 {
    progress.streams.get(&stream).copied().unwrap_or(0)
}

/// The Infos of a generator.
pub fn generate(
    generator: Generator,
    count: u32,
    same_owner: bool,
) -> Box<dyn Iterator<Item = k8s_relay::proto::Info> + Send> {
    match (generator, same_owner) {
        (Generator::WaitingPods, false) => Box::new(traffic::waiting_pods(count)),
        (Generator::WaitingPods, true) => Box::new(traffic::waiting_pods_of_one_set(count)),
        (Generator::WaitingUpdates, _) => Box::new(traffic::waiting_updates(count)),
        (Generator::RsAddDelete, _) => Box::new(traffic::replica_sets_that_go(count)),
    }
}

fn config_file(recording: &Recording) -> tempfile::NamedTempFile {
    let mut file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    writeln!(file, "labels:").unwrap();
    for (key, value) in &recording.labels {
        writeln!(file, "  {key}: {value}").unwrap();
    }
    file
}

/// The name of the status in the gRPC specification.
fn status_name(status: Code) -> String {
    let mut name = String::new();
    for c in format!("{status:?}").chars() {
        if c.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(c.to_ascii_uppercase());
    }
    name
}
