//! Replicas as processes, between a simulated API server and a mock reducer.

use std::{fs, net::SocketAddr};

use k8s_relay::sim::{
    kube::{Options, Pod, SimApi},
    reducer::{self, MockReducer, State},
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{must, relay::Relay};

/// Short ones: a lease of 2 s, of which a leader may use 1 s without a renewal.
const DURATIONS: [&str; 8] = [
    "--ha-lease=2s",
    "--ha-renew-deadline=600ms",
    "--ha-retry=100ms",
    "--ha-fin-allowance=500ms",
    "--heartbeat-interval-sec=1",
    "--health-interval=1h",
    "--ha-namespace=relays",
    "--ha-name=writer",
];

pub(super) struct World {
    pub(super) api: SimApi,
    pub(super) reducer: MockReducer,
    dir: TempDir,
}

impl World {
    /// A cluster of a few pods, and a reducer. No replica yet.
    pub(super) async fn new() -> Self {
        let api = SimApi::start(Options::small()).await.unwrap();
        for number in 0..20 {
            api.apply(pod(number));
        }
        let dir = tempfile::tempdir().unwrap();
        let kubeconfig = api.kubeconfig().to_string();
        fs::write(dir.path().join("kubeconfig"), kubeconfig).unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let reducer = MockReducer::bind(any, reducer::Options::default());
        let reducer = reducer.await.unwrap();
        Self { api, reducer, dir }
    }

    /// A replica that has synced, whatever it is.
    pub(super) async fn replica(&self, more: &[&str]) -> Relay {
        let kubeconfig = self.dir.path().join("kubeconfig");
        let kubeconfig = format!("--kubeconfig={}", kubeconfig.display());
        let port = format!("--intake-port={}", self.reducer.addr().port());
        let own = ["--source=native", "--ha=lease", &kubeconfig, &port];
        let arguments = [&own, &DURATIONS[..], more].concat();
        Relay::start_at("--info", &arguments).await
    }

    /// A replica that leads, and whose reducer knows the whole cluster.
    pub(super) async fn leader(&self) -> Relay {
        let relay = self.replica(&[]).await;
        leads(&relay).await;
        self.known(1).await;
        relay
    }

    /// A replica that follows.
    pub(super) async fn follower(&self) -> Relay {
        let relay = self.replica(&[]).await;
        let says = |line: &Value| says(line, "this replica follows");
        relay.logged("a follower", says).await;
        relay
    }

    /// Waits until the reducer knows every pod of the cluster from this connection.
    pub(super) async fn known(&self, connection: usize) {
        let known = |state: &State| self.knows(state, connection);
        must("the reducer knows all pods", self.reducer.wait_until(known)).await;
    }

    /// Whether the reducer knows exactly the pods of the cluster from this connection.
    pub(super) fn knows(&self, state: &State, connection: usize) -> bool {
        let view = k8s_relay::sim::kube::View::default();
        let expected = self.api.expected_state(view);
        let strictness = k8s_relay::sim::kube::Strictness::Everything;
        state.connection(connection).is_some_and(|connection| {
            let known = connection.reducer_state();
            expected.difference(known, strictness).is_none()
        })
    }

    /// Waits until this connection has ended.
    pub(super) async fn ended(&self, connection: usize) {
        let ended = |state: &State| {
            let connection = state.connection(connection);
            connection.is_some_and(|connection| connection.end.is_some())
        };
        must("a connection ends", self.reducer.wait_until(ended)).await;
    }

    /// Waits until a heartbeat has come over this connection that is sent from now on.
    pub(super) async fn beats(&self, connection: usize) {
        let beats = |state: &State| state.connection(connection).unwrap().counts["heartbeat"];
        let before = self.reducer.with(|state| {
            let counts = &state.connection(connection).unwrap().counts;
            counts.get("heartbeat").copied().unwrap_or_default()
        });
        // The first may have been on its way.
        let later = |state: &State| {
            let counts = &state.connection(connection).unwrap().counts;
            counts.contains_key("heartbeat") && beats(state) > before + 1
        };
        must("heartbeats go on", self.reducer.wait_until(later)).await;
    }

    /// How many messages of pods have come over this connection.
    pub(super) fn pod_messages(&self, connection: usize) -> u64 {
        self.reducer.with(|state| {
            let counts = &state.connection(connection).unwrap().counts;
            let pods = counts.iter().filter(|(name, _)| name.starts_with("pod_"));
            pods.map(|(_, count)| count).sum()
        })
    }

    /// The Lease as it is.
    pub(super) fn lease(&self) -> Value {
        self.api.lease("relays", "writer").unwrap()
    }

    /// Ends everything. Nothing was malformed, and no replica wrote after another had begun.
    pub(super) async fn end(self) -> State {
        let state = self.reducer.shutdown().await;
        assert_eq!(state.violations().next(), None);
        let of_pods = state.log.iter().filter(|entry| {
            let name = entry.message["msg"].as_str().unwrap();
            name.starts_with("pod_")
        });
        let writers: Vec<usize> = of_pods.map(|entry| entry.connection).collect();
        assert!(writers.is_sorted(), "two replicas wrote: {writers:?}");
        state
    }
}

pub(super) fn pod(number: u32) -> Pod {
    let name = format!("web-{number}");
    let uid = format!("uid-{number}");
    let [a, b] = u16::try_from(number).unwrap().to_be_bytes();
    Pod::new("shop", &name, &uid).address(&format!("10.0.{a}.{b}"))
}

/// Waits until it leads.
pub(super) async fn leads(relay: &Relay) {
    let leads = |line: &Value| says(line, "this replica leads");
    relay.logged("a leader", leads).await;
}

pub(super) fn says(line: &Value, what: &str) -> bool {
    line["message"]
        .as_str()
        .is_some_and(|text| text.starts_with(what))
}

/// How the program ends at this signal.
pub(super) async fn ended_by(mut relay: Relay, signal: Signal) -> std::process::ExitStatus {
    relay.signal(signal);
    relay.ended().await
}

/// The holder of a Lease.
pub(super) fn holder(lease: &Value) -> &str {
    lease["spec"]["holderIdentity"].as_str().unwrap_or_default()
}

/// As `kubectl edit` clears it.
pub(super) fn clear(lease: &mut Value) {
    lease["spec"]["holderIdentity"] = json!("");
}
