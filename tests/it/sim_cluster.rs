//! The tool `cluster`, as somebody runs it who wants to try the relay.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    process::{Output, Stdio},
};

use futures_util::{StreamExt as _, pin_mut};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, Config,
    api::ListParams,
    config::{KubeConfigOptions, Kubeconfig},
    runtime::watcher::{self, Event, watcher},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, ChildStdout, Command},
};

use crate::support::must;

struct Cluster {
    child: Child,
    lines: tokio::io::Lines<BufReader<ChildStdout>>,
    dir: TempDir,
}

impl Cluster {
    fn start(args: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_k8s-relay"))
            .arg("cluster")
            .args(args)
            .arg("--kubeconfig-out")
            .arg(dir.path().join("sim.yaml"))
            .env_clear()
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines, dir }
    }

    async fn line(&mut self) -> String {
        must("a line", self.lines.next_line())
            .await
            .unwrap()
            .unwrap()
    }

    async fn client(&self) -> Client {
        let file = self.dir.path().join("sim.yaml");
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "there is a token in it");
        let kubeconfig = Kubeconfig::read_from(file).unwrap();
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
        Client::try_from(config.unwrap()).unwrap()
    }

    /// Ends it; what it says about it, and how it ended.
    async fn end(mut self) -> (Vec<String>, Option<i32>) {
        let pid = Pid::from_raw(self.child.id().unwrap().try_into().unwrap());
        kill(pid, Signal::SIGTERM).unwrap();
        let mut lines = Vec::new();
        while let Some(line) = must("a line", self.lines.next_line()).await.unwrap() {
            lines.push(line);
        }
        let ended = must("it ends", self.child.wait()).await.unwrap();
        (lines, ended.code())
    }
}

#[tokio::test]
async fn it_says_in_one_line_what_is_there_and_in_the_end_what_was_asked() {
    let mut cluster = Cluster::start(&["--pods=60", "--churn=0", "--tls", "--pod-bytes=0"]);
    let ready = cluster.line().await;
    assert!(
        ready.starts_with("serving 60 pods, 12 ReplicaSets and 0 Jobs at https://127.0.0.1:"),
        "{ready}"
    );
    let pods: Api<Pod> = Api::all(cluster.client().await);
    let list = pods.list(&ListParams::default().limit(50)).await.unwrap();
    assert_eq!(list.items.len(), 50);
    let (lines, code) = cluster.end().await;
    assert_eq!(code, Some(0));
    assert!(
        lines[0].starts_with("0 events; 1 requests over 1 connections; sent 50 objects in "),
        "{lines:?}"
    );
    assert_eq!(
        lines[1],
        "pods         1 lists, 0 further pages, 0 streamed lists, 0 watches"
    );
}

#[tokio::test]
async fn things_happen_in_it_at_the_rate_that_was_asked_for() {
    let mut cluster = Cluster::start(&["--pods=60", "--churn=500", "--mix=swaps", "--pod-bytes=0"]);
    cluster.line().await;
    let pods: Api<Pod> = Api::all(cluster.client().await);
    let events = watcher(pods, watcher::Config::default().streaming_lists());
    pin_mut!(events);
    let (mut came, mut went) = (0, 0);
    while came < 5 || went < 5 {
        match must("an event", events.next()).await.unwrap().unwrap() {
            Event::Apply(_) => came += 1,
            Event::Delete(_) => went += 1,
            Event::Init | Event::InitApply(_) | Event::InitDone => {}
        }
    }
    let (lines, _) = cluster.end().await;
    let events: u32 = lines[0].split(' ').next().unwrap().parse().unwrap();
    assert!(events >= 10, "{lines:?}");
}

#[tokio::test]
async fn what_cannot_be_done_is_said_in_one_line() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (args, why) in [
        (
            ["--listen", &*taken],
            format!("error: cannot listen on {taken} (Address already in use"),
        ),
        (
            ["--kubeconfig-out", "/no/such/place"],
            "error: cannot write the kubeconfig /no/such/place".into(),
        ),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_k8s-relay"));
        command.arg("cluster").args(args).env_clear();
        let Output { status, stderr, .. } = must("it ends", command.output()).await.unwrap();
        let said = String::from_utf8(stderr).unwrap();
        assert_eq!(
            (status.code(), said.lines().count()),
            (Some(1), 1),
            "{said}"
        );
        assert!(said.contains(&why), "{said}");
    }
}
