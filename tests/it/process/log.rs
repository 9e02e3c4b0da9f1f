//! What the relay logs of an ordinary life.

use std::{collections::BTreeSet, process::Stdio};

use k8s_relay::sim::{cluster::Cluster, reducer::Options, watcher::Watcher};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
};

use super::world::{World, connect, reducer, relay_to};
use crate::support::must;

#[tokio::test]
async fn a_whitelist_shows_its_part_in_full_and_no_other() {
    let reducer = reducer(Options::default()).await;
    let relay = relay_to(&reducer, "--info", &["--log-whitelist-channel=tcp"]).await;
    let mut call = connect(&relay).await.open();
    World::send(&mut call, Cluster::new(3, 10).list()).await;
    let says = |message: &'static str| move |line: &Value| line["message"] == message;
    relay.logged("the call", says("stream opened")).await;
    relay.logged("the reducer", says("reducer connected")).await;
    let log = relay.log();
    let detailed = log
        .iter()
        .filter(|l| l["level"] == "DEBUG" || l["level"] == "TRACE");
    let targets: BTreeSet<_> = detailed.map(|l| l["target"].as_str().unwrap()).collect();
    assert_eq!(targets, BTreeSet::from(["k8s_relay::reducer::link"]));
}

#[tokio::test]
async fn an_ordinary_life_is_a_few_lines_and_nothing_to_look_at() {
    let world = World::start().await;
    let mut call = world.watcher.open();
    let infos = World::send(&mut call, Cluster::new(3, 10).list()).await;
    world.announced(1, infos).await;
    call.half_close();
    must("the call ends", call.ended()).await;
    let mut relay = world.relay;
    relay.signal(Signal::SIGTERM);
    relay.ended().await;
    let lines: Vec<_> = relay
        .log()
        .iter()
        .filter(|line| line["level"] != "DEBUG" && line["level"] != "TRACE")
        .map(|line| {
            let text = |key: &str| line[key].as_str().unwrap().to_owned();
            format!("{} {}", text("level"), text("message"))
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r"
    INFO listening
    INFO reducer connected
    INFO stream opened
    INFO stream closed
    INFO received SIGTERM
    INFO the relay ends: first the sources, then the connection to the reducer
    INFO state
    INFO stopped
    ");
}

#[tokio::test]
async fn one_line_warns_of_an_address_that_other_machines_may_reach_and_none_of_loopback() {
    for (address, warns) in [
        ("0.0.0.0:0", true),
        ("[::1]:0", false),
        ("127.0.0.1:0", false),
    ] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_k8s-relay"))
            .args(["--server-address", address, "--log-format", "json"])
            .args(["--intake-host", "127.0.0.1", "--intake-port", "1"])
            .args(["--admin-address", "none", "--cloud", "none"])
            .env_clear()
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut warnings = 0;
        // Everything about the addresses is said before it ends.
        while let Some(line) = must("a line", lines.next_line()).await.unwrap() {
            let line: Value = serde_json::from_str(&line).unwrap();
            let text = line["message"].as_str().unwrap();
            if text == "listening" {
                let pid = Pid::from_raw(child.id().unwrap().try_into().unwrap());
                kill(pid, Signal::SIGTERM).unwrap();
            }
            warnings += usize::from(line["level"] == "WARN" && text.contains("without TLS"));
        }
        assert_eq!(warnings, usize::from(warns), "{address}");
    }
}

#[tokio::test]
async fn a_log_that_nobody_reads_stops_neither_the_relay_nor_its_end() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_k8s-relay"))
        .args(["--server-address", "127.0.0.1:0", "--log-format", "json"])
        .args(["--admin-address", "none", "--cloud", "none"])
        .env_clear()
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let first = must("the first line", log.next_line()).await.unwrap();
    let first: Value = serde_json::from_str(&first.unwrap()).unwrap();
    let watcher = Watcher::connect(first["address"].as_str().unwrap());
    let watcher = watcher.await.unwrap();
    // Nobody reads from here on. A stream is two lines; a pipe holds 64 KiB.
    for _ in 0..1_000 {
        let mut call = watcher.open();
        call.half_close();
        must("the call is served", call.ended()).await;
    }
    let pid = Pid::from_raw(child.id().unwrap().try_into().unwrap());
    kill(pid, Signal::SIGTERM).unwrap();
    let status = must("the relay ends", child.wait()).await.unwrap();
    assert_eq!(status.code(), Some(0));
}
