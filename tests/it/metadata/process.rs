//! The program as it is deployed: its log, signals and end.

use std::{process::Stdio, time::Duration};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStderr, Command},
};

use super::world::{POD, Shop, ask};
use crate::support::must;

struct Service {
    child: Child,
    log: Lines<BufReader<ChildStderr>>,
}

impl Service {
    fn start(args: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_k8s-relay"))
            .env_clear()
            .args(args)
            .args(["--admin-address=none", "--no-log-file"])
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, log }
    }

    /// The next line of the log that has this in it.
    async fn says(&mut self, what: &str) -> String {
        let mut before = Vec::new();
        let found = tokio::time::timeout(crate::support::PATIENCE, async {
            while let Some(line) = self.log.next_line().await.unwrap() {
                if line.contains(what) {
                    return Some(line);
                }
                before.push(line);
            }
            None
        });
        match found.await {
            Ok(Some(line)) => line,
            _ => panic!("the log does not say {what:?}: {before:#?}"),
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().unwrap().try_into().unwrap());
        kill(pid, signal).unwrap();
    }

    async fn ended(mut self) -> Option<i32> {
        must("it ends", self.child.wait()).await.unwrap().code()
    }
}

#[tokio::test]
async fn a_hangup_loads_the_profiles_again_and_a_broken_file_changes_nothing() {
    let shop = Shop::open().await;
    let (file, kubeconfig) = (shop.file("settings.yaml"), shop.kubeconfig());
    let good = "enrichment: {profiles: {default: {metricsets: [pod]}}}\n";
    std::fs::write(&file, good).unwrap();
    let mut service = Service::start(&[
        "--source=none",
        "--enrich-address=127.0.0.1:0",
        &format!("--config-file={}", file.display()),
        &format!("--kubeconfig={}", kubeconfig.display()),
    ]);
    let line = service.says("enrichment listening").await;
    let address = line
        .split("address=")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap();
    let address = k8s_relay::net::BoundAddr::Tcp(address.parse().unwrap());
    let path = format!("/v1/lookup/pod/{POD}?wait_ms=5000");
    let known = super::world::until(&address, &path, |answer| answer.code == 200).await;
    assert_eq!(known.json()["state"], "LIVE");

    std::fs::write(
        &file,
        "enrichment: {profiles: {default: {metricset: [pod]}}}\n",
    )
    .unwrap();
    service.signal(Signal::SIGHUP);
    let line = service.says("the profiles stay as they were").await;
    assert!(line.contains("did you mean `metricsets`?"), "{line}");
    assert_eq!(ask(&address, "GET", &path).await.json()["state"], "LIVE");

    std::fs::write(&file, good).unwrap();
    service.signal(Signal::SIGHUP);
    let line = service.says("profiles loaded").await;
    assert!(line.contains("generation=2"), "{line}");

    service.signal(Signal::SIGTERM);
    service.says("stopped").await;
    assert_eq!(service.ended().await, Some(0));
    shop.api.shutdown().await;
}

#[tokio::test]
async fn a_hangup_ends_a_process_that_has_nothing_to_load() {
    let shop = Shop::open().await;
    let mut service = Service::start(&[
        "--source=none",
        "--enrich-address=127.0.0.1:0",
        &format!("--kubeconfig={}", shop.kubeconfig().display()),
    ]);
    service.says("enrichment listening").await;
    service.signal(Signal::SIGHUP);
    service.says("stopped").await;
    assert_eq!(service.ended().await, Some(0));
    shop.api.shutdown().await;
}

#[tokio::test]
async fn it_ends_at_once_while_the_api_server_does_not_answer() {
    // It takes connections, and that is all.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let kubeconfig = dir.path().join("kubeconfig");
    let text = format!(
        "current-context: a\ncontexts: [{{name: a, context: {{cluster: c}}}}]\n\
         clusters: [{{name: c, cluster: {{server: 'http://{}'}}}}]\n",
        silent.local_addr().unwrap()
    );
    std::fs::write(&kubeconfig, text).unwrap();
    let mut service = Service::start(&[
        "--source=none",
        "--enrich-address=127.0.0.1:0",
        &format!("--kubeconfig={}", kubeconfig.display()),
    ]);
    service.says("enrichment listening").await;
    service.signal(Signal::SIGTERM);
    let ended = tokio::time::timeout(Duration::from_secs(30), service.ended()).await;
    assert_eq!(ended.unwrap(), Some(0));
}
