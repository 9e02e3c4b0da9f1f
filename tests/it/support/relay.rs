//! The program itself, spawned, with its log as the window into it.

use std::{
    fs,
    net::SocketAddr,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tokio::{
    process::{Child, Command},
    sync::watch,
};
use tokio_util::task::AbortOnDropHandle;

use super::must;
pub use crate::harness::window::Progress;
use crate::harness::window::{Log, Window, follow};

/// A running `k8s-relay`. It is killed if the test ends without [`Relay::stop`].
pub struct Relay {
    child: Child,
    address: SocketAddr,
    window: watch::Receiver<Window>,
    log: Log,
    _reader: AbortOnDropHandle<()>,
}

impl Relay {
    /// Starts the program on a free port, with these arguments in addition to those for the log,
    /// and waits until it listens.
    pub async fn start(arguments: &[&str]) -> Self {
        Self::start_at("--trace", arguments).await
    }

    /// As [`Self::start`], with this level of the log. Progress is seen with `--trace` only.
    pub async fn start_at(level: &str, arguments: &[&str]) -> Self {
        Self::start_in(&[], level, arguments).await
    }

    /// As [`Self::start_at`], with these variables and no others.
    pub async fn start_in(env: &[(&str, &str)], level: &str, arguments: &[&str]) -> Self {
        let mut program = Command::new(env!("CARGO_BIN_EXE_k8s-relay"));
        program.env_clear().envs(env.iter().copied());
        Self::run(program, level, arguments).await
    }

    /// As [`Self::start_at`]; it may have up to `most` descriptors open.
    pub async fn with_descriptors(most: u32, level: &str, arguments: &[&str]) -> Self {
        let mut shell = Command::new("/bin/sh");
        let limited = format!("ulimit -n {most}; exec \"$0\" \"$@\"");
        shell.args(["-c", &limited, env!("CARGO_BIN_EXE_k8s-relay")]);
        shell.env_clear();
        Self::run(shell, level, arguments).await
    }

    async fn run(mut program: Command, level: &str, arguments: &[&str]) -> Self {
        let mut child = program
            .args(["--server-address", "127.0.0.1:0", "--admin-address", "none"])
            .args(["--cloud", "none", "--log-format", "json", level])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (sender, mut window) = watch::channel(Window::default());
        let log = Log::default();
        let stderr = Box::new(child.stderr.take().unwrap());
        let reader = follow(vec![stderr], sender, log.clone());
        let reader = AbortOnDropHandle::new(tokio::spawn(reader));
        let seen = must(
            "the relay listens",
            window.wait_for(|w| w.address.is_some() || w.closed),
        )
        .await
        .map(|w| w.address);
        let Ok(Some(address)) = seen else {
            panic!("the relay did not start:\n{}", log.tail());
        };
        Self {
            child,
            address,
            window,
            log,
            _reader: reader,
        }
    }

    /// Where watchers find it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until the relay is at rest in this state, and says in which exactly.
    pub async fn until(&self, what: &str, reached: impl Fn(&Progress) -> bool) -> Progress {
        let mut window = self.window.clone();
        let found = tokio::time::timeout(
            super::PATIENCE,
            window.wait_for(|w| w.closed || reached(&w.progress)),
        )
        .await
        .map(|found| found.map(|w| w.clone()));
        match found {
            Ok(Ok(window)) if reached(&window.progress) => window.progress,
            _ => panic!(
                "waited in vain: {what}; last progress {:?}; log:\n{}",
                self.window.borrow().progress,
                self.log.tail()
            ),
        }
    }

    /// Waits for a line of the log; gives the first such line.
    pub async fn logged(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let mut window = self.window.clone();
        let found = tokio::time::timeout(super::PATIENCE, async {
            let mut seen = 0;
            loop {
                let closed = window.borrow_and_update().closed;
                let lines = since(&self.log, &mut seen);
                if let Some(line) = lines.into_iter().find(&is) {
                    return Some(line);
                }
                if closed || window.changed().await.is_err() {
                    return None;
                }
            }
        });
        match found.await {
            Ok(Some(line)) => line,
            _ => panic!("waited in vain: {what}; log:\n{}", self.log.tail()),
        }
    }

    /// Everything that was logged by now, but for the progress.
    pub fn log(&self) -> Vec<Value> {
        since(&self.log, &mut 0)
    }

    /// The memory that it has now, in bytes.
    pub fn memory(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most memory that it ever had, in bytes.
    pub fn memory_peak(&self) -> u64 {
        self.status("VmHWM:")
    }

    fn status(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kib * 1024
    }

    /// The time for which it has kept processors busy.
    pub fn busy(&self) -> Duration {
        /// The unit in which Linux reports times, since long ago.
        const TICKS_PER_SECOND: u64 = 100;
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let after_name = stat.rsplit_once(')').unwrap().1;
        let fields = after_name.split_whitespace().skip(11).take(2);
        let ticks: u64 = fields.map(|field| field.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
    }

    fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// Whether the process runs.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// The last lines it logged.
    pub fn log_tail(&self) -> String {
        self.log.tail()
    }

    /// Asks it to end, as Kubernetes does, and waits for that.
    pub async fn stop(mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.ended().await
    }

    /// Sends it a signal, if it still runs.
    pub fn signal(&self, signal: Signal) {
        if let Some(id) = self.child.id() {
            let id = Pid::from_raw(id.try_into().unwrap());
            kill(id, signal).unwrap();
        }
    }

    /// Waits until it and its log have ended.
    pub async fn ended(&mut self) -> ExitStatus {
        let status = must("the relay ends", self.child.wait()).await.unwrap();
        // Without the sender the log has ended as well.
        let _ = must("its log ends", self.window.wait_for(|w| w.closed)).await;
        status
    }
}

/// The lines from this one on, of which there are more the next time.
fn since(log: &Log, seen: &mut usize) -> Vec<Value> {
    let entry =
        |line: String| serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON: {line}"));
    log.since(seen).into_iter().map(entry).collect()
}
