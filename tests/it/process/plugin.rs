//! Credential plugins that hang, in a relay that has other things to do.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use k8s_relay::sim::{cluster::Cluster, reducer::Options};
use nix::{errno::Errno, sys::signal::kill, unistd::Pid};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    process::Command,
};

use super::world::{ExpectedState, World, reducer, relay_to};
use crate::support::must;

/// A kubeconfig whose plugin hangs, and so does a child of its own.
struct Hanging(TempDir);

impl Hanging {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("plugin");
        let ids = dir.path().join("ids");
        let script = format!(
            "#!/bin/sh\nsleep 1000 &\necho $$ $! > {ids}.new\nmv {ids}.new {ids}\nwait\n",
            ids = ids.display()
        );
        // Written by another process, or one that forks here could keep it open for writing.
        let written = std::process::Command::new("sh")
            .args([
                "-c",
                "printf '%s' \"$2\" > \"$1\" && chmod 700 \"$1\"",
                "sh",
            ])
            .arg(&program)
            .arg(script)
            .status();
        assert!(written.unwrap().success());
        let kubeconfig = "current-context: c\n\
            clusters: [{name: k, cluster: {server: 'http://127.0.0.1:1'}}]\n\
            contexts: [{name: c, context: {cluster: k, user: u}}]\n\
            users: [{name: u, user: {exec: {apiVersion: client.authentication.k8s.io/v1, \
            command: ./plugin, interactiveMode: Never}}}]\n";
        fs::write(dir.path().join("kubeconfig"), kubeconfig).unwrap();
        Self(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn arguments(&self) -> [String; 4] {
        let text = |path: PathBuf| path.display().to_string();
        let admin = format!("unix:{}", text(self.path("admin")));
        let kubeconfig = text(self.path("kubeconfig"));
        [
            "--kubeconfig".to_owned(),
            kubeconfig,
            "--admin-address".to_owned(),
            admin,
        ]
    }

    /// The plugin and its child, once both run.
    async fn running(&self) -> Vec<i32> {
        must("the plugin runs", async {
            loop {
                if let Ok(ids) = fs::read_to_string(self.path("ids")) {
                    return ids
                        .split_whitespace()
                        .map(|id| id.parse().unwrap())
                        .collect();
                }
                tokio::task::yield_now().await;
            }
        })
        .await
    }
}

/// Waits until a process has ended.
async fn gone(id: i32) {
    must("the plugin is killed", async {
        loop {
            let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            let state = stat.rsplit(')').next().unwrap_or_default().trim();
            if kill(Pid::from_raw(id), None) == Err(Errno::ESRCH) || state.starts_with('Z') {
                return;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
}

async fn get(socket: &Path, path: &str) -> String {
    let mut stream = must("the admin listener", UnixStream::connect(socket))
        .await
        .unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    must("an answer", stream.read_to_string(&mut answer))
        .await
        .unwrap();
    answer
}

#[tokio::test]
async fn a_plugin_that_hangs_stops_nothing_else_in_a_relay_that_serves_streams() {
    let hanging = Hanging::new();
    let arguments = hanging.arguments();
    let [.., admin] = &arguments;
    let arguments = arguments.each_ref().map(String::as_str);
    let arguments = [&arguments[..], &["--heartbeat-interval-sec", "1"]].concat();
    let world = World::with(Options::default(), &arguments).await;
    let cluster = Cluster::new(10, 200);
    let mut call = world.watcher.open();
    let infos: Vec<_> = cluster.list().collect();
    let (first, rest) = infos.split_at(infos.len() / 2);
    World::send(&mut call, first.iter().cloned()).await;

    let mut shadow = Command::new(env!("CARGO_BIN_EXE_k8s-relay"));
    shadow
        .args(["migrate", "shadow", "--admin-address", admin])
        .env_clear()
        .stdout(Stdio::piped());
    let shadow = must("the step is taken", shadow.output()).await.unwrap();
    assert!(shadow.status.success(), "{shadow:?}");
    let ids = hanging.running().await;

    World::send(&mut call, rest.iter().cloned()).await;
    world.known(&ExpectedState::of(cluster, 0..200)).await;
    let beats = |state: &k8s_relay::sim::reducer::State| {
        state
            .log
            .iter()
            .filter(|e| e.message["msg"] == "heartbeat")
            .count()
    };
    let before = world.reducer.with(beats);
    must(
        "heartbeats go on",
        world
            .reducer
            .wait_until(move |state| beats(state) > before + 1),
    )
    .await;
    let alive = get(&hanging.path("admin"), "/livez").await;
    assert!(alive.starts_with("HTTP/1.1 200 "), "{alive}");
    for id in &ids {
        kill(Pid::from_raw(*id), None).expect("it hangs still");
    }
    assert_eq!(world.relay.stop().await.code(), Some(0));
    for id in ids {
        gone(id).await;
    }
}

#[tokio::test]
async fn a_plugin_that_hangs_at_the_start_does_not_outlive_the_relay() {
    let hanging = Hanging::new();
    let arguments = hanging.arguments();
    let arguments = arguments.each_ref().map(String::as_str);
    let arguments = [&arguments[..], &["--source", "native"]].concat();
    let reducer = reducer(Options::default()).await;
    let relay = relay_to(&reducer, "--trace", &arguments).await;
    let ids = hanging.running().await;
    assert_eq!(relay.stop().await.code(), Some(0));
    for id in ids {
        gone(id).await;
    }
}
