//! A spawned relay between a mock reducer and a watcher.

use std::{collections::BTreeMap, ops::Range};

use k8s_relay::{
    proto::{Info, PodInfo},
    sim::{
        cluster::Cluster,
        reducer::{MockReducer, Options, State},
        reducer_state::ReducerState,
        watcher::{Call, Watcher},
    },
};

use crate::support::{must, relay::Relay};

pub(super) const MIB: u64 = 1 << 20;

/// Nothing is sent that no watcher sent, but one heartbeat.
const QUIET: [&str; 4] = ["--heartbeat-interval-sec", "0", "--health-interval", "1h"];

/// A reducer, a relay that is connected to it, and a watcher that is connected to that.
pub(super) struct World {
    pub(super) reducer: MockReducer,
    pub(super) relay: Relay,
    pub(super) watcher: Watcher,
}

impl World {
    pub(super) async fn start() -> Self {
        Self::with(Options::default(), &[]).await
    }

    pub(super) async fn with(options: Options, arguments: &[&str]) -> Self {
        let world = Self::not_yet_connected(reducer(options).await, arguments).await;
        world.handshake_done(1).await;
        world
    }

    /// The reducer may not listen yet.
    pub(super) async fn not_yet_connected(reducer: MockReducer, arguments: &[&str]) -> Self {
        let relay = relay_to(&reducer, "--trace", arguments).await;
        let watcher = connect(&relay).await;
        Self {
            reducer,
            relay,
            watcher,
        }
    }

    /// Waits until the relay has applied so many Infos of a stream.
    pub(super) async fn applied(&self, stream: u64, infos: u64) {
        let what = format!("{infos} Infos of stream {stream} are applied");
        self.relay
            .until(&what, |p| p.streams.get(&stream) == Some(&infos))
            .await;
    }

    /// Waits until that is so, and the reducer has read all that came of it.
    pub(super) async fn announced(&self, stream: u64, infos: u64) {
        let what = format!("{infos} Infos of stream {stream} are announced");
        let announced = self
            .relay
            .until(&what, |p| {
                p.connected && p.streams.get(&stream) == Some(&infos)
            })
            .await;
        let connection = usize::try_from(announced.connection).unwrap();
        let read = |state: &State| {
            let connection = state.connection(connection);
            connection.is_some_and(|c| c.bytes >= announced.sent + announced.queued)
        };
        must(&what, self.reducer.wait_until(read)).await;
    }

    /// Waits until this many connections have completed the handshake.
    pub(super) async fn handshake_done(&self, connections: usize) {
        let handshake_done = |state: &State| {
            state
                .connection(connections)
                .is_some_and(|c| c.handshake_done())
        };
        must("a handshake", self.reducer.wait_until(handshake_done)).await;
    }

    /// Waits until the reducer knows exactly this.
    pub(super) async fn known(&self, expected_state: &ExpectedState) {
        let known = |state: &State| {
            state
                .reducer_state()
                .is_some_and(|reducer_state| *expected_state == *reducer_state)
        };
        let in_time =
            tokio::time::timeout(crate::support::PATIENCE, self.reducer.wait_until(known));
        if in_time.await.is_err() {
            let pods = self
                .reducer
                .with(|s| s.reducer_state().map(ReducerState::pods));
            panic!(
                "the reducer should know {} pods, but knows {pods:?}; log:\n{}",
                expected_state.0.len(),
                self.relay.log_tail()
            );
        }
    }

    /// Sends everything on a call.
    pub(super) async fn send(call: &mut Call, infos: impl IntoIterator<Item = Info>) -> u64 {
        let mut sent = 0;
        for info in infos {
            must("the relay reads", call.send(info)).await.unwrap();
            sent += 1;
        }
        sent
    }
}

pub(super) async fn reducer(options: Options) -> MockReducer {
    MockReducer::bind(([127, 0, 0, 1], 0).into(), options)
        .await
        .unwrap()
}

pub(super) async fn relay_to(reducer: &MockReducer, level: &str, arguments: &[&str]) -> Relay {
    let to = to(reducer);
    let to: Vec<_> = to.iter().map(String::as_str).collect();
    Relay::start_at(level, &[&to, arguments].concat()).await
}

/// The arguments of a relay to this reducer.
pub(super) fn to(reducer: &MockReducer) -> Vec<String> {
    let port = reducer.addr().port().to_string();
    let intake = ["--intake-host", "127.0.0.1", "--intake-port", &port];
    let all = intake.into_iter().chain(QUIET);
    all.map(ToOwned::to_owned).collect()
}

pub(super) async fn connect(relay: &Relay) -> Watcher {
    let address = relay.address().to_string();
    must("the relay accepts", Watcher::connect(&address))
        .await
        .unwrap()
}

/// What a reducer should know of each pod by its uid: namespace, name, name of the owner, and
/// ids of the containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ExpectedState(BTreeMap<String, Row>);

type Row = (String, String, String, Vec<String>);

impl ExpectedState {
    /// These pods of a cluster whose ReplicaSets are known.
    pub(super) fn of(cluster: Cluster, pods: Range<u32>) -> Self {
        let pods = pods.map(|n| cluster.pod(n).pod_info.unwrap());
        Self(pods.map(|pod| (pod.uid.clone(), row(&pod))).collect())
    }

    /// Other pods in addition to these.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }
}

/// As [`Cluster`] makes them: the pods of `service-7-x` belong to the Deployment `service-7`.
fn row(pod: &PodInfo) -> Row {
    let set = &pod.owner.as_ref().unwrap().name;
    let ids = pod.container_infos.iter().map(|c| c.id.clone());
    (
        pod.ns.clone(),
        pod.name.clone(),
        set.rsplit_once('-').unwrap().0.to_owned(),
        ids.collect(),
    )
}

impl PartialEq<ReducerState> for ExpectedState {
    fn eq(&self, reducer_state: &ReducerState) -> bool {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_owned()).unwrap();
        // Looked at after each read: first at what costs nothing.
        reducer_state.pods() == self.0.len()
            && reducer_state.containers() == self.0.values().map(|row| row.3.len()).sum::<usize>()
            && self.0.iter().all(|(uid, row)| {
                reducer_state.pod(uid.as_bytes()).is_some_and(|pod| {
                    let ids = pod.containers().iter().map(|c| text(c.received_id()));
                    let owner = text(pod.owner_name());
                    *row == (text(pod.ns()), text(pod.pod_name()), owner, ids.collect())
                })
            })
    }
}
