//! `--record-intake-output`, and what `k8s-relay decode` makes of it.

use std::process::Command;

use k8s_relay::sim::{cluster::Cluster, reducer::Options};
use serde_json::Value;

use super::world::{ExpectedState, World};

#[tokio::test]
async fn a_recording_decodes_to_exactly_what_the_reducer_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("relay.rec");
    let path = path.to_str().unwrap();
    let cluster = Cluster::new(20, 300);
    let world = World::with(Options::default(), &["--record-intake-output", path]).await;
    let mut call = world.watcher.open();
    let infos = World::send(&mut call, cluster.list()).await;
    world.announced(1, infos).await;
    world.reducer.disconnect().await;
    world.handshake_done(2).await;
    world.known(&ExpectedState::of(cluster, 0..300)).await;
    assert_eq!(world.relay.stop().await.code(), Some(0));

    let state = world.reducer.shutdown().await;
    assert_eq!(state.connections.len(), 2);
    let output = Command::new(env!("CARGO_BIN_EXE_k8s-relay"))
        .args(["decode", path])
        .output()
        .unwrap();
    assert!(output.status.success());
    let decoded = String::from_utf8(output.stdout).unwrap();
    let mut connection = 1;
    let mut messages = Vec::new();
    for line in decoded.lines() {
        let mut line: Value = serde_json::from_str(line).unwrap();
        if line["marker"] == "new_connection" {
            connection = line["index"].as_u64().unwrap();
            continue;
        }
        let fields = line.as_object_mut().unwrap();
        let timestamp = fields.remove("timestamp").unwrap().as_u64().unwrap();
        messages.push((connection, timestamp, line));
    }
    let read: Vec<_> = state
        .log
        .into_iter()
        .map(|e| (e.connection as u64, e.timestamp, Value::Object(e.message)))
        .collect();
    assert_eq!(messages.len(), read.len());
    assert!(messages == read);
}

#[tokio::test]
async fn a_recording_on_a_full_disk_ends_with_one_line_and_the_relay_goes_on() {
    let args = ["--record-intake-output", "/dev/full"];
    let world = World::with(Options::default(), &args).await;
    let cluster = Cluster::new(20, 1_000);
    let mut call = world.watcher.open();
    let infos = World::send(&mut call, cluster.list()).await;
    world.announced(1, infos).await;
    world.known(&ExpectedState::of(cluster, 0..1_000)).await;
    let log = world.relay.log();
    let errors: Vec<_> = log.iter().filter(|l| l["level"] == "ERROR").collect();
    assert_eq!(errors.len(), 1);
    assert_eq!(
        errors[0]["message"],
        "recording is off: its file cannot be written"
    );
    assert_eq!(world.relay.stop().await.code(), Some(0));
}
