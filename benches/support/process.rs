//! A server in a process of its own: the relay, the bare server or the lower bound.

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use serde_json::Value;

use super::{PATIENCE, bare_server, lower_bound};

/// What Linux counts processor time in, on every machine of today.
const TICKS_PER_SECOND: u64 = 100;

const RELAY: &str = env!("CARGO_BIN_EXE_k8s-relay");

/// A running server; killed when it is dropped.
pub struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    /// The relay, announcing to the reducer at this address.
    pub fn relay(reducer: SocketAddr) -> Self {
        let mut command = Command::new(RELAY);
        connect_to(&mut command, reducer);
        without_admin(&mut command);
        Self::start(command)
    }

    /// The relay with this `--source`, announcing to the reducer at this address; its admin
    /// listener is this socket file.
    pub fn of_source(
        source: &str,
        reducer: SocketAddr,
        kubeconfig: Option<&Path>,
        admin: &Path,
    ) -> Self {
        let mut command = Command::new(RELAY);
        connect_to(&mut command, reducer);
        command
            .args(["--source", source, "--admin-address"])
            .arg(format!("unix:{}", admin.display()));
        if let Some(kubeconfig) = kubeconfig {
            command.arg("--kubeconfig").arg(kubeconfig);
        }
        Self::start(command)
    }

    /// The relay with watches of its own, announcing to the reducer at this address.
    pub fn native(reducer: SocketAddr, kubeconfig: &Path) -> Self {
        let mut command = Command::new(RELAY);
        connect_to(&mut command, reducer);
        without_admin(&mut command);
        watch(&mut command, kubeconfig);
        Self::start(command)
    }

    /// The same, with lists in pages.
    pub fn native_in_pages(reducer: SocketAddr, kubeconfig: &Path) -> Self {
        let mut command = Command::new(RELAY);
        connect_to(&mut command, reducer);
        without_admin(&mut command);
        watch(&mut command, kubeconfig);
        command.args(["--list", "pages"]);
        Self::start(command)
    }

    /// The same in a memory cgroup (v1) from its first page on.
    pub fn native_within(cgroup: &Path, reducer: SocketAddr, kubeconfig: &Path) -> Self {
        let mut command = Command::new("/bin/sh");
        let enter = r#"echo $$ > "$0"/cgroup.procs && exec "$@""#;
        command.args(["-c", enter]).arg(cgroup).arg(RELAY);
        connect_to(&mut command, reducer);
        without_admin(&mut command);
        watch(&mut command, kubeconfig);
        Self::start(command)
    }

    /// The tee, to these two relays.
    pub fn tee(relays: [SocketAddr; 2]) -> Self {
        let mut command = Command::new(RELAY);
        command.args(["tee", "--listen", "127.0.0.1:0"]);
        for relay in relays {
            command.args(["--to", &relay.to_string()]);
        }
        Self::start(command)
    }

    /// The lower bound: this very program, as [`lower_bound::watch_if_asked`].
    pub fn lower_bound(kubeconfig: &Path) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.arg(lower_bound::MODE).arg(kubeconfig);
        Self::start(command)
    }

    /// The bare server: this very program, as [`bare_server::serve`].
    pub fn bare() -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.arg(bare_server::MODE);
        Self::start(command)
    }

    /// Where it listens: for the relay, where `Collect` is served.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Resident memory now, in KiB.
    pub fn resident_kib(&self) -> u64 {
        self.status_kib("VmRSS:")
    }

    /// The most resident memory that it ever had, in KiB.
    pub fn peak_kib(&self) -> u64 {
        self.status_kib("VmHWM:")
    }

    fn status_kib(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kib = line.and_then(|rest| rest.split_whitespace().next());
        kib.and_then(|kib| kib.parse().ok()).expect("a number")
    }

    /// Processor time used so far, in user and kernel mode together.
    pub fn cpu_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // The name before the last parenthesis may hold anything; utime is the 14th field.
        let (_, fields) = stat.rsplit_once(") ").expect("a name in parentheses");
        let ticks = fields.split(' ').skip(11).take(2);
        let ticks: u64 = ticks.map(|ticks| ticks.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND)
    }

    /// Waits until the server says in its log where it listens.
    fn start(mut command: Command) -> Self {
        let mut child = command
            .env_clear()
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let (found, address) = mpsc::channel();
        // Reads to the end, so that the server never waits for its log to be read.
        thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                match listening_at(&line) {
                    Some(address) => found.send(address).unwrap_or_default(),
                    None if line.contains("ERROR") => eprintln!("{line}"),
                    None => {}
                }
            }
        });
        let address = address.recv_timeout(PATIENCE).expect("the server listens");
        Self { child, address }
    }
}

fn connect_to(command: &mut Command, reducer: SocketAddr) {
    command
        .args(["--server-address", "127.0.0.1:0", "--log-format", "json"])
        .args(["--cloud", "none"])
        .args(["--intake-host", &reducer.ip().to_string()])
        .args(["--intake-port", &reducer.port().to_string()]);
}

fn without_admin(command: &mut Command) {
    command.args(["--admin-address", "none"]);
}

fn watch(command: &mut Command, kubeconfig: &Path) {
    command
        .args(["--source", "native", "--kubeconfig"])
        .arg(kubeconfig);
}

fn listening_at(line: &str) -> Option<SocketAddr> {
    // As tools say it.
    if let Some(address) = line.strip_prefix("listening on ") {
        return address.parse().ok();
    }
    let entry: Value = serde_json::from_str(line).ok()?;
    if entry["message"] != "listening" {
        return None;
    }
    entry["address"].as_str()?.parse().ok()
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
