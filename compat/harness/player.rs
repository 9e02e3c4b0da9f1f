//! Does a case to one relay, with a mock reducer of its own behind it.
//!
//! Where a case settles, this waits for the relay's own counters: every Info sent has been applied,
//! every byte it wrote has reached the reducer. A foreign relay has none that we could read; it has
//! settled when it has sent nothing for a while, and that while is longer if it has sent less than
//! the others.

use std::{net::SocketAddr, time::Duration};

use k8s_relay::sim::{
    cluster::Cluster,
    reducer::{MockReducer, Options, State},
    reducer_state::ReducerState,
    watcher::{Call, Message, Watcher},
};
use prost::Message as _;
use tokio::time::Instant;
use tonic::Code;

use super::{
    case::{Case, Control, FastClient, Step, generate},
    collector::Collector,
    outcome::Outcome,
    peers::{Kind, Peer},
    relay::Relay,
    sequences::Sequences,
    window::Progress,
};

/// What a player is asked to do.
#[derive(Clone, Copy)]
pub enum Act<'a> {
    Step(&'a Step),
    /// Waits until its relay is at rest. The others have sent so much.
    Settle {
        others: usize,
    },
    /// Ends all calls; these should be ended by the relay.
    End(&'a [String]),
}

/// What came of a case.
pub struct Played {
    pub outcome: Outcome,
    pub sequences: Sequences,
    /// What the reducer knows at the end.
    pub reducer_state: ReducerState,
    /// For how long this peer was waited for, without what is waited for quiet.
    pub took: Duration,
    /// How the relay ended, if it did not survive.
    pub end: Option<String>,
    pub log: String,
}

/// One relay and the world around it.
pub struct Player {
    peer: Peer,
    reducer: MockReducer,
    collector: Collector,
    relay: Relay,
    streams: Vec<Stream>,
    /// The stream that steps without a stream mean.
    current: String,
    /// Whether the reducer reads.
    reading: bool,
    waits_for: &'static str,
    took: Duration,
    /// What of the present act was waiting for quiet.
    idle: Duration,
}

struct Stream {
    name: String,
    /// None if the relay was not there.
    call: Option<Call>,
    /// The relay counts calls from 1.
    id: u64,
    /// Infos sent.
    sent: u64,
    ended_by: Option<&'static str>,
}

const CLIENT_HALF_CLOSE: &str = "client half-close";
const AT_END: &str = "client half-close at end of scenario";
const CLIENT_CANCEL: &str = "client cancel";
const RELAY: &str = "relay";

/// A fast client is never further ahead of the reducer than this many bytes of protobuf,
/// which is well below the relay's outgoing buffer: what happens when that is full
/// depends on the machine, and has tests of its own.
const FAST_CLIENT_LEAD: usize = 1 << 20;

impl Player {
    /// Starts the reducer and the peer, but waits for no connection between them.
    ///
    /// # Errors
    /// The peer does not start, and why.
    pub async fn start(peer: &Peer, case: &Case, sequences: bool) -> Result<Self, String> {
        let (collector, tap) = Collector::start(sequences);
        let options = Options {
            keep_everything: false,
            tap: Some(tap),
            ..Options::default()
        };
        let address = match &peer.kind {
            Kind::Running { reducer, .. } => *reducer,
            Kind::Recorded | Kind::This { .. } | Kind::Command(_) => {
                SocketAddr::from(([127, 0, 0, 1], 0))
            }
        };
        let reducer = MockReducer::bind(address, options).await;
        let reducer = reducer.map_err(|error| format!("its reducer at {address}: {error}"))?;
        if !case.reducer_listens_at_first() {
            reducer.stop_listening().await;
        }
        let relay = Relay::start(peer, reducer.addr(), &case.labels).await;
        Ok(Self {
            peer: peer.clone(),
            relay: relay.map_err(|why| format!("did not start: {why}"))?,
            reducer,
            collector,
            streams: Vec::new(),
            current: "A".to_owned(),
            reading: true,
            waits_for: "",
            took: Duration::ZERO,
            idle: Duration::ZERO,
        })
    }

    /// Does it.
    ///
    /// # Errors
    /// The case cannot go on with this peer.
    pub async fn act(&mut self, act: Act<'_>) -> Result<(), String> {
        let began = Instant::now();
        self.idle = Duration::ZERO;
        match act {
            Act::Step(step) => self.step(step).await?,
            Act::Settle { others } => self.settle(others).await,
            Act::End(ends) => self.end(ends).await,
        }
        self.took += began.elapsed().saturating_sub(self.idle);
        Ok(())
    }

    /// What was awaited last, for a case that hangs.
    pub fn waits_for(&self) -> String {
        let refused = self.reducer.with(refused);
        match refused.first() {
            Some(why) => format!("{} (its reducer has closed: {why})", self.waits_for),
            None => self.waits_for.to_owned(),
        }
    }

    /// Whether its own counters say when it is at rest.
    pub fn reports_its_progress(&self) -> bool {
        self.peer.reports_its_progress()
    }

    /// How much its reducer was sent so far.
    pub fn sent(&self) -> usize {
        self.collector.sent()
    }

    /// The calls that the relay has ended by now.
    pub fn ended_by_relay(&self) -> Vec<String> {
        let streams = self.streams.iter().filter(|s| s.ended_by.is_none());
        let ended = streams.filter_map(|stream| {
            let outcome = stream.call.as_ref()?.outcome()?;
            Some(stream.end(RELAY, outcome.status))
        });
        ended.collect()
    }

    /// Ends everything and returns what came of it.
    ///
    /// # Errors
    /// The relay did not end in order.
    pub async fn close(mut self) -> Result<Played, String> {
        let read = |state: &State| state.connections.iter().map(|c| c.messages).sum();
        let all = self.collector.up_to(self.reducer.with(read)).await;
        let all = all.map_err(|error| error.to_string())?;
        let end = self.relay.end();
        let log = self.relay.log_tail();
        let outcome = Outcome {
            output: all.output,
            handshakes: all.handshakes,
            streams: self.streams.iter().map(Stream::shown).collect(),
            alive: end.is_none(),
            refused: self.reducer.with(refused),
        };
        let reducer_state = |state: &State| state.reducer_state().cloned().unwrap_or_default();
        let reducer_state = self.reducer.with(reducer_state);
        self.relay.stop().await?;
        self.reducer.shutdown().await;
        Ok(Played {
            outcome,
            sequences: all.sequences,
            reducer_state,
            took: self.took,
            end,
            log,
        })
    }

    async fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Send { stream, message } => {
                let stream = stream.clone().unwrap_or(self.current.clone());
                self.send(&stream, (**message).clone()).await?;
            }
            Step::Control(control) => return self.control(control).await,
        }
        Ok(())
    }

    async fn control(&mut self, control: &Control) -> Result<(), String> {
        match control {
            Control::Settle | Control::Wait {} => self.settle(0).await,
            Control::OpenStream { stream } => self.open(stream).await?,
            Control::NewStream { stream } => {
                let current = self.current.clone();
                self.end_stream(&current, CLIENT_HALF_CLOSE, Call::half_close)
                    .await?;
                self.open(stream).await?;
                self.current.clone_from(stream);
            }
            Control::HalfClose { stream } => {
                self.end_stream(stream, CLIENT_HALF_CLOSE, Call::half_close)
                    .await?;
            }
            Control::CancelStream { stream } => {
                self.end_stream(stream, CLIENT_CANCEL, Call::cancel).await?;
            }
            Control::ReducerDisconnect => {
                self.reducer.disconnect().await;
                self.relay_noticed().await;
            }
            Control::ReducerReset => {
                self.reducer.reset().await;
                self.relay_noticed().await;
            }
            Control::ReducerStopListening => self.reducer.stop_listening().await,
            Control::ReducerStartListening => {
                let listens = self.reducer.start_listening().await;
                listens.map_err(|error| format!("its reducer: {error}"))?;
            }
            Control::ReducerStopReading => {
                self.reading = false;
                self.reducer.pause_reading();
            }
            Control::ReducerStartReading => {
                self.reading = true;
                self.reducer.resume_reading();
            }
            Control::WaitConnections { n } => self.wait_connections(*n).await,
            Control::Generate {
                stream,
                generator,
                count,
                same_owner,
            } => {
                let stream = stream.clone().unwrap_or(self.current.clone());
                for info in generate(*generator, *count, *same_owner) {
                    self.send(&stream, info.into()).await?;
                }
            }
            Control::FastClient(client) => {
                self.list(client).await?;
                self.end_stream(&client.stream, CLIENT_HALF_CLOSE, Call::half_close)
                    .await?;
            }
            Control::List(client) => self.list(client).await?,
        }
        Ok(())
    }

    async fn send(&mut self, stream: &str, message: Message) -> Result<(), String> {
        self.waits_for = "the relay takes a message";
        let stream = self.stream(stream).await?;
        if let Some(call) = &mut stream.call
            // A call that has ended takes no more; how it ended is compared.
            && call.send(message).await.is_ok()
        {
            stream.sent += 1;
        }
        Ok(())
    }

    /// The stream of this name, opened if it is new.
    async fn stream(&mut self, name: &str) -> Result<&mut Stream, String> {
        if !self.streams.iter().any(|s| s.name == name) {
            self.open(name).await?;
        }
        let stream = self.streams.iter_mut().find(|s| s.name == name);
        stream.ok_or_else(|| format!("no stream {name}"))
    }

    /// Opens a stream on a connection of its own and waits until the relay knows it.
    async fn open(&mut self, name: &str) -> Result<(), String> {
        self.waits_for = "a call is known";
        let watcher = Watcher::connect(self.relay.address()).await;
        if let Err(error) = &watcher
            && self.relay.end().is_none()
        {
            return Err(format!("stream {name}: {error}"));
        }
        let id = self.streams.len() as u64 + 1;
        self.streams.push(Stream {
            name: name.to_owned(),
            call: watcher.ok().map(|watcher| watcher.open()),
            id,
            sent: 0,
            ended_by: None,
        });
        if self.reports_its_progress() {
            self.relay.until(|p| p.streams.contains_key(&id)).await;
        } else {
            self.quiet(0).await;
        }
        Ok(())
    }

    async fn end_stream(
        &mut self,
        name: &str,
        who: &'static str,
        how: impl FnOnce(&mut Call),
    ) -> Result<(), String> {
        self.waits_for = "a call ends";
        self.stream(name).await?.end_by(who, how).await;
        Ok(())
    }

    /// Waits until all that was sent is applied and all that was written is received.
    async fn settle(&mut self, others: usize) {
        self.waits_for = "all is applied, sent and read";
        if !self.reports_its_progress() {
            let others = if self.reading { others } else { 0 };
            return self.quiet(others).await;
        }
        for stream in &mut self.streams {
            let (id, sent) = (stream.id, stream.sent);
            let Some(call) = &mut stream.call else {
                continue;
            };
            tokio::select! {
                _ = self.relay.until(|p| applied(p, id) >= sent) => (),
                _ = call.ended() => (),
            }
        }
        let is_open = |s: &&Stream| s.call.as_ref().is_some_and(|call| call.outcome().is_none());
        let open = self.streams.iter().filter(is_open);
        let open: Vec<(u64, u64)> = open.map(|s| (s.id, s.sent)).collect();
        let over = self
            .streams
            .iter()
            .filter(|s| s.call.is_some() && !is_open(s));
        let over: Vec<u64> = over.map(|s| s.id).collect();
        let reading = self.reading;
        let at_rest = self.relay.until(|p| {
            over.iter().all(|id| has_ended(p, *id))
                && (!p.connected || p.queued == 0 || !reading)
                && open.iter().all(|(id, sent)| applied(p, *id) >= *sent)
        });
        if let Some(at_rest) = at_rest.await
            && at_rest.connected
            && reading
        {
            let number = usize::try_from(at_rest.connection).unwrap_or_default();
            let received = self.reducer.wait_until(|state| {
                let connection = state.connection(number);
                connection.is_some_and(|c| c.bytes >= at_rest.sent || c.end.is_some())
            });
            received.await;
        }
    }

    /// Waits until the relay has sent nothing for a while.
    async fn quiet(&mut self, others: usize) {
        let mut last = Instant::now();
        loop {
            let so_far = self.sent();
            let patience = match so_far < others {
                true => self.peer.behind,
                false => self.peer.quiet,
            };
            tokio::select! {
                () = self.collector.more_than(so_far) => last = Instant::now(),
                () = tokio::time::sleep_until(last + patience) => break,
            }
        }
        self.idle += last.elapsed();
    }

    async fn relay_noticed(&mut self) {
        self.waits_for = "the relay notices that its reducer went";
        if !self.reports_its_progress() {
            return self.quiet(0).await;
        }
        let number = self.reducer.connections() as u64;
        let noticed = |p: &Progress| !p.connected || p.connection > number;
        self.relay.until(noticed).await;
    }

    /// Waits until both sides have this connection, and its handshake is through.
    async fn wait_connections(&mut self, n: usize) {
        self.waits_for = "the relay completes its handshake";
        let handshake_done = self
            .reducer
            .wait_until(|state| state.connection(n).is_some_and(|c| c.handshake_done()));
        tokio::select! {
            () = handshake_done => {}
            () = self.relay.ended() => return,
        }
        if self.reports_its_progress() {
            let connected = |p: &Progress| p.connected && p.connection >= n as u64;
            self.relay.until(connected).await;
        }
    }

    async fn list(&mut self, client: &FastClient) -> Result<(), String> {
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
            self.send(&client.stream, info.into()).await?;
            if lead >= FAST_CLIENT_LEAD && self.reading {
                self.settle(0).await;
                lead = 0;
            }
        }
        self.settle(0).await;
        Ok(())
    }

    async fn end(&mut self, ends: &[String]) {
        // A reset reaches its watcher after the relay is done with it: wait for what should
        // come. What should not come is seen below.
        self.waits_for = "the relay ends a call";
        for stream in &mut self.streams {
            let end = stream.end(RELAY, Code::Cancelled);
            if let Some(call) = &mut stream.call
                && ends.contains(&end)
            {
                let _ = tokio::time::timeout(self.peer.behind, call.ended()).await;
            }
        }
        self.waits_for = "a half-closed call ends";
        for stream in &mut self.streams {
            if stream.ended_by.is_none() {
                stream.end_by(AT_END, Call::half_close).await;
                // The next one ends after the relay has acted on this end.
                if stream.call.is_some() && self.peer.reports_its_progress() {
                    let id = stream.id;
                    self.relay.until(|p| has_ended(p, id)).await;
                }
            }
        }
        if self.relay.end().is_some() {
            self.waits_for = "the connections of a dead relay end";
            let ended = |state: &State| state.connections.iter().all(|c| c.end.is_some());
            self.reducer.wait_until(ended).await;
        }
    }
}

impl Stream {
    async fn end_by(&mut self, who: &'static str, how: impl FnOnce(&mut Call)) {
        let Some(call) = &mut self.call else { return };
        self.ended_by = match call.outcome() {
            Some(_) => Some(RELAY),
            None => Some(who),
        };
        how(call);
        call.ended().await;
    }

    fn shown(&self) -> String {
        match self.call.as_ref().map(|call| call.outcome()) {
            Some(Some(outcome)) => self.end(self.ended_by.unwrap_or(RELAY), outcome.status),
            Some(None) => format!("{}: open", self.name),
            None => format!("{}: connect failed", self.name),
        }
    }

    fn end(&self, who: &str, status: Code) -> String {
        format!("{}: {who}, {}", self.name, status_name(status))
    }
}

fn applied(progress: &Progress, stream: u64) -> u64 {
    progress.streams.get(&stream).copied().unwrap_or(0)
}

/// Whether the relay has applied the end of the stream; also if its build does not say so.
fn has_ended(progress: &Progress, stream: u64) -> bool {
    let open = progress.open.as_ref();
    open.is_none_or(|open| !open.contains(&stream))
}

/// What a reducer would have closed the connection for.
fn refused(state: &State) -> Vec<String> {
    let violations = state.violations();
    let shown = violations.map(|(index, why)| format!("connection {index}: {why}"));
    shown.collect()
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
