//! The end of the process, and a `Collect` stream alongside the watches.

use std::time::{Duration, Instant};

use k8s_relay::{
    config::Reannounce,
    proto::info::Event,
    sim::{
        cluster::{Cluster, sent_as},
        kube::{Fault, Pod, Requests, SimApi, When},
        reducer::{End, MockReducer, State},
        watcher::Watcher,
    },
};
use nix::sys::signal::Signal;
use tempfile::TempDir;
use tonic::Code;

use super::world::{World, api, kubeconfig, reducer};
use crate::support::{must, relay::Relay};

/// The program itself between these two.
pub(super) async fn spawned(
    api: &SimApi,
    reducer: MockReducer,
    arguments: &[&str],
) -> (Relay, MockReducer, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let path = kubeconfig(&dir, &api.kubeconfig());
    let relay = spawned_with(path.to_str().unwrap(), &reducer, arguments).await;
    (relay, reducer, dir)
}

pub(super) async fn spawned_with(
    kubeconfig: &str,
    reducer: &MockReducer,
    arguments: &[&str],
) -> Relay {
    let port = reducer.addr().port().to_string();
    let fixed = [
        ["--source", "native"],
        ["--kubeconfig", kubeconfig],
        ["--intake-host", "127.0.0.1"],
        ["--intake-port", &port],
        ["--heartbeat-interval-sec", "0"],
        ["--health-interval", "1h"],
    ];
    let arguments = [fixed.as_flattened(), arguments].concat();
    Relay::start_at("--debug", &arguments).await
}

fn bare(name: &str) -> Pod {
    Pod::new("shop", name, name).address("10.0.0.1")
}

#[tokio::test]
async fn a_collect_stream_alongside_the_watches_is_read_and_adds_nothing() {
    let mut of_the_watches = Cluster::new(3, 20);
    of_the_watches.seed = 7;
    let world = World::with(
        |api| api.populate(&of_the_watches),
        |config| config.reannounce = Reannounce::OnChange,
    )
    .await;
    world.quiet().await;
    let before = world.messages();
    let watcher = Watcher::connect(&world.address.to_string()).await.unwrap();
    let mut call = watcher.open();
    let other = Cluster::new(4, 2_000);
    // It knows of one of the same pods, and says that it is gone.
    let same = sent_as(Event::Deleted, of_the_watches.pod(0));
    // More than the channels hold: it must have been read.
    for info in other.list().chain([same]) {
        must("the relay reads", call.send(info)).await.unwrap();
    }
    world.quiet().await;
    assert_eq!(world.sent_since(before), [""; 0]);
    assert_eq!(world.wrong(), None);
    assert_eq!(call.outcome(), None, "it stays open");
    let state = world.end().await;
    assert_eq!(state.connections[0].count("pod_resync"), 0);
    let outcome = must("the call ends", call.ended()).await;
    assert_eq!(outcome.status, Code::Unavailable);
}

/// All is sent before a signal; after it the relay ends in time, and the reducer sees FIN.
async fn ends_in_time(mut relay: Relay, reducer: MockReducer) {
    let from = Instant::now();
    relay.signal(Signal::SIGTERM);
    assert_eq!(relay.ended().await.code(), Some(0));
    let took = from.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    let over = |state: &State| state.latest().is_some_and(|c| c.end.is_some());
    must("the connection ends", reducer.wait_until(over)).await;
    let state = reducer.shutdown().await;
    assert_eq!(state.connections[0].end, Some(End::Eof));
    let urgent = relay
        .log()
        .into_iter()
        .find(|line| line["level"] == "ERROR");
    assert_eq!(urgent, None);
}

#[tokio::test]
async fn sigterm_ends_the_watches_and_the_reducer_sees_fin() {
    let api = api().await;
    api.apply(bare("one"));
    let (relay, reducer, _dir) = spawned(&api, reducer().await, &[]).await;
    let known = |state: &State| state.reducer_state().is_some_and(|p| p.pods() == 1);
    must("the pod", reducer.wait_until(known)).await;
    ends_in_time(relay, reducer).await;
    let closed = |book: &Requests| book.open_watches == 0;
    must("the watches end", api.wait_until(closed)).await;
}

#[tokio::test]
async fn sigterm_ends_it_in_time_while_the_api_server_hangs() {
    let api = api().await;
    api.fault(When::any(), Fault::Silence);
    let (relay, reducer, _dir) = spawned(&api, reducer().await, &[]).await;
    let handshake_done = |state: &State| state.latest().is_some_and(|c| c.handshake_done());
    must("a handshake", reducer.wait_until(handshake_done)).await;
    must("two hang", api.wait_until(|book| book.total() >= 2)).await;
    ends_in_time(relay, reducer).await;
}

#[tokio::test]
async fn sigterm_ends_it_in_time_while_a_list_is_being_read() {
    let api = api().await;
    api.populate(&Cluster::new(5, 200));
    api.fault(
        When::any(),
        Fault::Cut(4_000, k8s_relay::sim::kube::Cut::Stall),
    );
    let (relay, reducer, _dir) = spawned(&api, reducer().await, &["--list", "watch-list"]).await;
    let known = |state: &State| state.reducer_state().is_some_and(|p| p.pods() > 0);
    must("some pods", reducer.wait_until(known)).await;
    ends_in_time(relay, reducer).await;
}
