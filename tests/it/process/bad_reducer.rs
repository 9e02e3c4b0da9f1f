//! Reducers as they should not be. The relay tries again, ever more slowly, and in the end the
//! reducer has the expected state.

use std::time::Duration;

use k8s_relay::sim::{cluster::Cluster, reducer::Options, watcher::Call};
use serde_json::Value;

use super::world::{ExpectedState, World, reducer};

/// Far more than a few attempts cost, far less than a loop without a pause would.
const IDLE: Duration = Duration::from_millis(500);

fn says(message: &str) -> impl Fn(&Value) -> bool {
    move |line| line["message"] == message
}

fn count(world: &World, message: &str) -> usize {
    let log = world.relay.log();
    log.iter().filter(|line| says(message)(line)).count()
}

/// A world in which the reducer knows this cluster.
async fn sent(cluster: Cluster) -> (World, Call) {
    let world = World::start().await;
    let mut call = world.watcher.open();
    let infos = World::send(&mut call, cluster.list()).await;
    world.announced(1, infos).await;
    (world, call)
}

#[tokio::test]
async fn one_that_refuses_is_sent_everything_once_it_listens() {
    let reducer = reducer(Options::default()).await;
    reducer.stop_listening().await;
    let world = World::not_yet_connected(reducer, &[]).await;
    let cluster = Cluster::new(10, 200);
    let mut call = world.watcher.open();
    let infos = World::send(&mut call, cluster.list()).await;
    world.applied(1, infos).await;
    let busy = world.relay.busy();
    let second = |line: &Value| line["failures"] == 2;
    let line = world.relay.logged("a second failure", second).await;
    assert!(
        line["error"].as_str().unwrap().contains("refused"),
        "{line}"
    );
    let spent = world.relay.busy() - busy;
    assert!(spent < IDLE, "{spent:?}");
    world.reducer.start_listening().await.unwrap();
    world.known(&ExpectedState::of(cluster, 0..200)).await;
    let lines = count(
        &world,
        "cannot connect to the reducer; the relay tries again",
    );
    assert!((1..=3).contains(&lines), "{lines}");
}

#[tokio::test]
async fn one_that_vanishes_or_resets_is_sent_everything_again() {
    for reset in [false, true] {
        let cluster = Cluster::new(10, 200);
        let (world, call) = sent(cluster).await;
        if reset {
            world.reducer.reset().await;
        } else {
            world.reducer.disconnect().await;
        }
        world.handshake_done(2).await;
        world.known(&ExpectedState::of(cluster, 0..200)).await;
        let line = says("reducer disconnected");
        let line = world.relay.logged("it has noticed", line).await;
        let reason = line["reason"].as_str().unwrap();
        let expected = if reset {
            "the connection broke: Connection reset by peer (os error 104)"
        } else {
            "the reducer closed the connection"
        };
        assert_eq!(reason, expected);
        assert_eq!(call.outcome(), None, "no watcher notices");
    }
}

#[tokio::test]
async fn one_that_talks_is_read_and_not_listened_to() {
    let cluster = Cluster::new(10, 200);
    let (world, mut call) = sent(cluster).await;
    let memory = world.relay.memory();
    for _ in 0..64 {
        world.reducer.send_garbage(&[0xa5; 64 << 10]);
    }
    let noticed = says("the reducer sends bytes; the relay drops them");
    world.relay.logged("it has noticed", noticed).await;
    let more = Cluster::new(10, 210);
    World::send(&mut call, (200..210).map(|n| more.pod(n))).await;
    world.known(&ExpectedState::of(more, 0..210)).await;
    assert_eq!(world.reducer.connections(), 1);
    assert!(world.relay.memory() < memory + (2 << 20));
}

#[tokio::test]
async fn one_that_rejects_every_connection_is_connected_to_ever_more_slowly() {
    let rejecting = Options {
        close_after_handshake: true,
        ..Options::default()
    };
    let world = World::with(rejecting, &[]).await;
    let busy = world.relay.busy();
    world.handshake_done(3).await;
    let third = |line: &Value| line["connection"] == 3 && line["reason"].is_string();
    world.relay.logged("the third end", third).await;
    let spent = world.relay.busy() - busy;
    assert!(spent < IDLE, "{spent:?}");
    let log = world.relay.log();
    let waits: Vec<Duration> = log
        .iter()
        .filter(|line| says("reducer disconnected")(line))
        .map(|line| humantime_of(line["retry_in"].as_str().unwrap()))
        .collect();
    // 1 s, 2 s, 4 s, each a fifth more or less.
    assert!(waits.is_sorted(), "{waits:?}");
    assert!(waits[2] > 2 * waits[0], "{waits:?}");
}

/// What `{:?}` makes of a duration of at least 100 ms.
fn humantime_of(text: &str) -> Duration {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 1e-3),
        None => (text.strip_suffix('s').unwrap(), 1.0),
    };
    Duration::from_secs_f64(number.parse::<f64>().unwrap() * unit)
}
