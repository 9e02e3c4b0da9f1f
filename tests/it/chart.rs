//! The pod of the `opentelemetry-ebpf` chart, unchanged, with this program in one of its
//! containers or in both: the command lines and variables of protocol 15.7.
//!
//! The same lines on the ports that they name, in an empty root: `compat/deploy`.

use std::{
    collections::BTreeSet,
    fs,
    process::{ExitStatus, Stdio},
};

use k8s_relay::sim::{
    cluster::Cluster,
    kube::{self, SimApi},
    reducer::{MockReducer, Options, State},
    watcher::Watcher,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    process::{Child, ChildStderr, Command},
};

use crate::{
    support::{must, relay::Relay},
    surface::{effective, run},
};

/// What the chart gives its watcher, with the default of `log.level`.
const WATCHER: [&str; 2] = ["--log-console", "--log-level=warning"];

/// The relay's side of the chart's pod, with the mounted config file in a folder of the test.
struct RelaySlot {
    dir: TempDir,
    port: String,
}

impl RelaySlot {
    fn new(port: u16) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = "labels:\n  environment: my-cluster\n";
        fs::write(dir.path().join("config.yaml"), config).unwrap();
        let port = port.to_string();
        Self { dir, port }
    }

    fn args(&self) -> Vec<String> {
        let file = self.dir.path().join("config.yaml");
        vec![
            format!("--config-file={}", file.display()),
            "--log-console".into(),
            "--warning".into(),
        ]
    }

    /// In the place of the name of the reducer's Service stands its address.
    fn env(&self) -> Vec<(&str, &str)> {
        vec![
            ("EBPF_NET_CLUSTER_NAME", "my-cluster"),
            ("EBPF_NET_INTAKE_HOST", "127.0.0.1"),
            ("EBPF_NET_INTAKE_PORT", &self.port),
        ]
    }

    /// Starts the relay with these additional arguments, and a log that the test can follow.
    async fn start(&self, additional: &[&str]) -> Relay {
        let args = self.args();
        let args = args
            .iter()
            .map(String::as_str)
            .chain(additional.iter().copied());
        let args: Vec<&str> = args.collect();
        Relay::start_in(&self.env(), "--trace", &args).await
    }

    fn effective(&self, env: &[(&str, &str)], additional: &[&str]) -> Vec<(String, String)> {
        let args = self.args();
        let args = args
            .iter()
            .map(String::as_str)
            .chain(additional.iter().copied());
        let args: Vec<&str> = args.collect();
        let env: Vec<_> = self.env().into_iter().chain(env.iter().copied()).collect();
        effective(&env, &args).into_iter().collect()
    }
}

/// A process in the watcher's container.
struct Companion {
    child: Child,
    stderr: BufReader<ChildStderr>,
}

impl Companion {
    /// Starts it, and gives the line that it logs once it waits for signals.
    async fn start(name: &str, args: &[&str]) -> (Self, String) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_k8s-relay"))
            .arg0(name)
            .args(args)
            .env_clear()
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        must("a line", stderr.read_line(&mut line)).await.unwrap();
        (Self { child, stderr }, line)
    }

    fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// Sends the signal; gives the status, and what else was logged.
    async fn ends_by(mut self, signal: Signal) -> (ExitStatus, String) {
        let pid = Pid::from_raw(self.pid().try_into().unwrap());
        kill(pid, signal).unwrap();
        let status = must("the companion ends", self.child.wait()).await.unwrap();
        let mut rest = String::new();
        must("the log ends", self.stderr.read_to_string(&mut rest))
            .await
            .unwrap();
        (status, rest)
    }

    /// The sockets that others could connect or send to.
    fn bound(&self) -> BTreeSet<String> {
        let folder = format!("/proc/{}/fd", self.pid());
        let links = fs::read_dir(folder).unwrap();
        let links = links.map(|entry| fs::read_link(entry.unwrap().path()).unwrap());
        let own: BTreeSet<String> = links
            .filter_map(|link| {
                let inode = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
                Some(inode.to_owned())
            })
            .collect();
        // The column of the inode in each table; a Unix socket has a path there if it is bound.
        let inet = ["tcp", "tcp6", "udp", "udp6"].map(|table| (table, 9, 10));
        let tables = inet.into_iter().chain([("unix", 6, 8)]);
        let mut found = BTreeSet::new();
        for (table, inode, columns) in tables {
            let text = fs::read_to_string(format!("/proc/{}/net/{table}", self.pid())).unwrap();
            for line in text.lines().skip(1) {
                let fields: Vec<&str> = line.split_whitespace().collect();
                if fields.len() >= columns && own.contains(fields[inode]) {
                    found.insert(format!("{table}: {line}"));
                }
            }
        }
        found
    }
}

async fn reducer() -> MockReducer {
    let at = ([127, 0, 0, 1], 0).into();
    MockReducer::bind(at, Options::default()).await.unwrap()
}

async fn announced(reducer: &MockReducer, pods: usize) {
    let all = |state: &State| state.reducer_state().is_some_and(|it| it.pods() == pods);
    must("the pods are announced", reducer.wait_until(all)).await;
}

#[tokio::test]
async fn in_both_containers_one_relay_announces_and_the_other_process_is_idle() {
    let api = SimApi::start(kube::Options::default()).await.unwrap();
    api.populate(&Cluster::new(10, 50));
    let reducer = reducer().await;
    let slot = RelaySlot::new(reducer.addr().port());
    let kubeconfig = slot.dir.path().join("kubeconfig");
    fs::write(&kubeconfig, api.kubeconfig().to_string()).unwrap();
    let kubeconfig = format!("--kubeconfig={}", kubeconfig.display());

    let (companion, line) = Companion::start("/srv/k8s-relay", &WATCHER).await;
    let relay = slot.start(&["--source=native", &kubeconfig]).await;
    announced(&reducer, 50).await;

    assert!(line.contains(" INFO "), "{line}");
    assert!(
        line.contains("this container is an idle companion"),
        "{line}"
    );
    assert_eq!(companion.bound(), BTreeSet::new());
    let (status, rest) = companion.ends_by(Signal::SIGTERM).await;
    assert_eq!((status.code(), rest.as_str()), (Some(0), ""));
    assert_eq!(relay.stop().await.code(), Some(0));
}

#[tokio::test]
async fn in_the_relays_container_alone_it_serves_the_watcher_of_the_pod() {
    let reducer = reducer().await;
    let slot = RelaySlot::new(reducer.addr().port());
    let relay = slot.start(&[]).await;
    let address = relay.address().to_string();
    let watcher = must("the relay accepts", Watcher::connect(&address)).await;
    let mut call = watcher.unwrap().open();
    for info in Cluster::new(5, 20).list() {
        must("the relay reads", call.send(info)).await.unwrap();
    }
    announced(&reducer, 20).await;
    assert_eq!(relay.stop().await.code(), Some(0));
}

#[tokio::test]
async fn a_companion_ends_with_0_at_every_signal_and_logs_one_line() {
    for (name, args, signal) in [
        ("/srv/k8s-relay", &WATCHER[..], Signal::SIGTERM),
        ("/srv/k8s-watcher", &[], Signal::SIGINT),
        ("k8s-watcher", &["-log-level", "trace"], Signal::SIGHUP),
    ] {
        let (companion, line) = Companion::start(name, args).await;
        assert!(line.contains("idle companion"), "{line}");
        let (status, rest) = companion.ends_by(signal).await;
        assert_eq!((status.code(), rest.as_str()), (Some(0), ""), "{signal}");
    }
}

#[test]
fn the_cluster_name_of_the_chart_reaches_the_reducer_as_a_label_alone() {
    let slot = RelaySlot::new(7000);
    let named = slot.effective(&[("EBPF_NET_CLUSTER_NAME", "another")], &[]);
    assert_eq!(named, slot.effective(&[], &[]));
    let label = ("labels.environment".to_owned(), "my-cluster".to_owned());
    assert!(named.contains(&label), "{named:?}");
}

#[test]
fn what_the_chart_sets_for_debuggers_and_dumps_changes_nothing() {
    let slot = RelaySlot::new(7000);
    for variable in [
        ("EBPF_NET_DEBUG_MODE", "true"),
        ("EBPF_NET_RUN_UNDER_GDB", "gdb"),
        (
            "EBPF_NET_MINIDUMP_DIR",
            "/hostfs/var/run/network-explorer/minidump",
        ),
        ("EBPF_NET_CRASH_METRIC_HOST", "metrics"),
        ("EBPF_NET_CRASH_METRIC_PORT", "4317"),
    ] {
        assert_eq!(slot.effective(&[variable], &[]), slot.effective(&[], &[]));
    }
}

#[test]
fn the_log_goes_to_standard_error_and_to_no_file_unless_one_is_named() {
    let slot = RelaySlot::new(7000);
    let effective = slot.effective(&[], &[]);
    assert!(effective.contains(&("log-file".to_owned(), String::new())));
    let file = slot.dir.path().join("relay.log");
    let file = file.to_str().unwrap();
    let named = slot.effective(&[("EBPF_NET_LOG_FILE_PATH", file)], &[]);
    assert!(named.contains(&("log-file".to_owned(), file.to_owned())));

    // A start that ends with a line, because its address is taken.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("--server-address={}", taken.local_addr().unwrap());
    for console in [&["--log-console"][..], &[]] {
        let args: Vec<&str> = [console, &["--warning", &taken]].concat();
        let ended = run(&slot.env(), &args);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
        assert!(
            ended.stderr.contains("cannot listen on"),
            "{}",
            ended.stderr
        );
    }
}

#[test]
fn a_watchers_command_line_without_a_log_level_is_not_taken_for_a_companions() {
    // The chart gives its watcher this if `log.level` is taken out of the values.
    let ended = run(&[], &["--log-console", "--check-config"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let relay = effective(&[], &["--log-console"]);
    assert_eq!(relay["server-address"], "localhost:8712");
}

#[test]
fn a_wrong_flag_ends_with_2_and_a_flag_that_only_the_chart_knows_is_accepted() {
    let slot = RelaySlot::new(7000);
    let taken = slot.effective(&[], &["--log-whitelist-component=k8s"]);
    let component = ("log-whitelist-component".to_owned(), "k8s".to_owned());
    assert!(taken.contains(&component), "{taken:?}");
    let ended = run(&slot.env(), &["--warning", "--log-whitelist-pods=all"]);
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
}
