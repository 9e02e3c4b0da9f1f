//! SIGTERM, SIGINT and SIGHUP, in whatever state the relay is: calls end with UNAVAILABLE, what was
//! sent arrives, the reducer sees EOF, the exit status says whether all of it could be done.

use k8s_relay::sim::{
    cluster::Cluster,
    reducer::{End, MockReducer, Options, State},
    watcher::{Call, Outcome},
};
use nix::sys::signal::Signal;
use tokio::{io::AsyncWriteExt as _, net::TcpStream};
use tonic::Code;

use super::world::{World, connect, reducer};
use crate::support::{
    collect::Raw,
    must,
    relay::{Progress, Relay},
};

async fn unavailable(call: &mut Call) {
    let expected = Outcome {
        status: Code::Unavailable,
        details: "the relay is shutting down".into(),
        responses: 0,
    };
    assert_eq!(must("the call ends", call.ended()).await, expected);
}

/// All that was read, once every connection has ended.
async fn seen(reducer: MockReducer) -> State {
    let ended = |state: &State| state.connections.iter().all(|c| c.end.is_some());
    must("the connections end", reducer.wait_until(ended)).await;
    reducer.shutdown().await
}

#[tokio::test]
async fn everything_sent_arrives_and_then_eof() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let cluster = Cluster::new(50, 500);
        let mut world = World::start().await;
        let (mut call, mut idle) = (world.watcher.open(), world.watcher.open());
        let infos = World::send(&mut call, cluster.list()).await;
        // Whichever of the two was the first.
        let all = |p: &Progress| p.streams.values().sum::<u64>() == infos;
        world.relay.until("everything is applied", all).await;

        world.relay.signal(signal);
        unavailable(&mut call).await;
        unavailable(&mut idle).await;
        assert_eq!(world.relay.ended().await.code(), Some(0), "{signal}");
        let address = world.relay.address();
        assert!(TcpStream::connect(address).await.is_err(), "nobody listens");
        let state = seen(world.reducer).await;
        assert_eq!(state.connections.len(), 1);
        assert_eq!(state.connections[0].end, Some(End::Eof), "{signal}");
        assert!(warnings(&world.relay).is_empty());
        let log = world.relay.log();
        assert_eq!(log.last().unwrap()["message"], "stopped", "{signal}");
    }
}

#[tokio::test]
async fn a_stalled_reducer_does_not_keep_it_and_finds_eof_later() {
    let stalling = Options {
        receive_buffer: Some(16 << 10),
        ..Options::default()
    };
    let mut world = World::with(stalling, &[]).await;
    world.reducer.pause_reading();
    let mut call = world.watcher.open();
    let infos = World::send(&mut call, Cluster::new(100, 6_000).list()).await;
    let stuck = |p: &Progress| p.queued > 0 && p.streams.get(&1) == Some(&infos);
    world.relay.until("bytes wait", stuck).await;

    world.relay.signal(Signal::SIGTERM);
    unavailable(&mut call).await;
    assert_eq!(world.relay.ended().await.code(), Some(1));
    unsent_is_the_reason(&world.relay);
    ended_by_fin(world.reducer).await;
}

/// The last line says that bytes are left, and the status why it is not 0.
fn unsent_is_the_reason(relay: &Relay) {
    let warnings = warnings(relay);
    let unsent = "the relay ends before all is sent".to_owned();
    assert!(warnings.contains(&unsent), "{warnings:?}");
    let why = warnings.last().unwrap();
    assert!(why.starts_with("the relay did not end cleanly: "), "{why}");
    let (_, last) = why.rsplit_once([':', ';']).unwrap();
    let (count, rest) = last.trim().split_once(' ').unwrap();
    assert!(count.parse::<u64>().unwrap() > 0, "{why}");
    assert_eq!(rest, "bytes were not sent to the reducer");
}

/// What the kernel took ends anywhere, but it ends with FIN.
async fn ended_by_fin(reducer: MockReducer) {
    reducer.resume_reading();
    let state = seen(reducer).await;
    let end = state.connections[0].end.as_ref();
    assert!(matches!(end, Some(End::Eof | End::CutShort(_))), "{end:?}");
}

#[tokio::test]
async fn a_second_signal_waits_for_no_flush_and_the_reducer_still_finds_eof() {
    let stalling = Options {
        receive_buffer: Some(16 << 10),
        ..Options::default()
    };
    let mut world = World::with(stalling, &[]).await;
    world.reducer.pause_reading();
    let mut call = world.watcher.open();
    let infos = World::send(&mut call, Cluster::new(100, 6_000).list()).await;
    let stuck = |p: &Progress| p.queued > 0 && p.streams.get(&1) == Some(&infos);
    world.relay.until("bytes wait", stuck).await;

    world.relay.signal(Signal::SIGTERM);
    let first = |line: &serde_json::Value| line["message"] == "received SIGTERM";
    world.relay.logged("the first signal", first).await;
    let before = std::time::Instant::now();
    world.relay.signal(Signal::SIGINT);
    assert_eq!(world.relay.ended().await.code(), Some(1));
    // The flush alone would take until the end of the 4.5 s.
    assert!(before.elapsed() < std::time::Duration::from_secs(3));
    unsent_is_the_reason(&world.relay);
    ended_by_fin(world.reducer).await;
}

#[tokio::test]
async fn without_a_reducer_there_is_nothing_to_wait_for_and_what_was_not_announced_is_said() {
    let reducer = reducer(Options::default()).await;
    reducer.stop_listening().await;
    let mut world = World::not_yet_connected(reducer, &[]).await;
    let mut call = world.watcher.open();
    let infos = World::send(&mut call, Cluster::new(5, 50).list()).await;
    world.applied(1, infos).await;
    world.relay.signal(Signal::SIGTERM);
    unavailable(&mut call).await;
    assert_eq!(world.relay.ended().await.code(), Some(1));
    let said = warnings(&world.relay);
    let why = said.last().unwrap();
    let away = "the relay did not end cleanly: the reducer is not connected: ";
    assert!(
        why.starts_with(away) && why.ends_with(" pods were not announced to it"),
        "{why}"
    );
}

#[tokio::test]
async fn a_watcher_that_reads_nothing_does_not_keep_it() {
    let mut world = World::start().await;
    let mut raw = Raw::connect(world.relay.address()).await;
    let _call = raw.call().await.unwrap();
    world.applied(1, 0).await;
    // From here on nobody reads its socket.
    raw.connection.abort();
    // And this one never even sends a handshake.
    let mut mute = TcpStream::connect(world.relay.address()).await.unwrap();
    mute.write_all(b"PRI * HTTP").await.unwrap();

    world.relay.signal(Signal::SIGTERM);
    assert_eq!(world.relay.ended().await.code(), Some(0));
    let state = seen(world.reducer).await;
    assert_eq!(state.connections[0].end, Some(End::Eof));
}

/// In the zone of an interface that is not there, so that nobody is asked.
fn never_resolves() -> String {
    "fe80::1%no-such-zone".to_owned()
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_asked_for_again_and_again() {
    let mut relay = Relay::start(&["--intake-host", &never_resolves()]).await;
    let failed = |line: &serde_json::Value| line["failures"] == 2;
    let line = relay.logged("a second failure", failed).await;
    let error = line["error"].as_str().unwrap();
    assert!(error.starts_with("cannot resolve fe80"), "{error}");
    let mut call = connect(&relay).await.open();
    let infos = World::send(&mut call, Cluster::new(1, 1).list().take(1)).await;
    let all = |p: &Progress| p.streams.values().sum::<u64>() == infos;
    relay.until("the call is open", all).await;
    relay.signal(Signal::SIGINT);
    unavailable(&mut call).await;
    assert_eq!(relay.ended().await.code(), Some(0));
}

/// What it logged that a person should look at.
fn warnings(relay: &Relay) -> Vec<String> {
    let log = relay.log();
    let urgent = log
        .iter()
        .filter(|l| l["level"] == "WARN" || l["level"] == "ERROR");
    urgent
        .map(|line| line["message"].as_str().unwrap().to_owned())
        .collect()
}
