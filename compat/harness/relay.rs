//! A relay that takes part: started as its peer says, or running already.

use std::{
    io::Write as _,
    net::{SocketAddr, TcpListener},
    process::Stdio,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Map, Value};
use tempfile::NamedTempFile;
use tokio::{net::TcpStream, process::Child, sync::watch, time::Instant};
use tokio_util::task::AbortOnDropHandle;

use super::{
    fault::Proxy,
    peers::{Command, Kind, Peer},
    window::{Log, Output, Progress, Window, follow},
};

/// Between two looks whether a port is open.
const LOOK: Duration = Duration::from_millis(20);
/// A relay that does not end by its stop signal is killed after this.
const STOP: Duration = Duration::from_secs(30);

/// A running relay. It is killed if it is dropped without [`Relay::stop`].
pub struct Relay {
    process: Option<Process>,
    address: String,
    _proxy: Option<Proxy>,
}

struct Process {
    child: Child,
    stop: Signal,
    /// Whether its status at the end is judged.
    ours: bool,
    window: watch::Receiver<Window>,
    log: Log,
    _reader: AbortOnDropHandle<()>,
    _config: NamedTempFile,
}

impl Relay {
    /// Starts it and waits until it listens.
    ///
    /// # Errors
    /// It does not, and why.
    pub async fn start(
        peer: &Peer,
        reducer: SocketAddr,
        labels: &Map<String, Value>,
    ) -> Result<Self, String> {
        let io = |error: std::io::Error| error.to_string();
        let (proxy, reducer) = match peer.fault {
            Some(fault) => {
                let proxy = Proxy::start(fault, reducer).await.map_err(io)?;
                let address = proxy.address();
                (Some(proxy), address)
            }
            None => (None, reducer),
        };
        let (process, address) = match &peer.kind {
            Kind::Recorded => return Err("a recording is not started".to_owned()),
            Kind::Running { address, .. } => {
                wait_for_port(address, peer.ready, || Ok(())).await?;
                (None, address.clone())
            }
            Kind::This { args } => {
                let config = config_file(labels).map_err(io)?;
                let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_k8s-relay"));
                command
                    .args(["--server-address", "127.0.0.1:0", "--admin-address", "none"])
                    .args(["--cloud", "none", "--log-format", "json", "--trace"])
                    .args(["--intake-host", "127.0.0.1", "--intake-port"])
                    .arg(reducer.port().to_string())
                    .arg("--config-file")
                    .arg(config.path())
                    .args(args)
                    .env_clear();
                let mut process = Process::spawn(command, config, Signal::SIGTERM, true)?;
                let address = process.address(peer.ready).await?;
                (Some(process), address.to_string())
            }
            Kind::Command(how) => {
                let config = config_file(labels).map_err(io)?;
                let listen = free_port().map_err(io)?;
                let command = command(how, listen, reducer, &config);
                let mut process = Process::spawn(command, config, how.stop, false)?;
                let listen = listen.to_string();
                wait_for_port(&listen, peer.ready, || match process.ended() {
                    None => Ok(()),
                    Some(how) => Err(format!("{how}; its log:\n{}", process.log.tail())),
                })
                .await?;
                (Some(process), listen)
            }
        };
        let pid = process.as_ref().and_then(Process::pid);
        if let (Some(proxy), Some(pid)) = (&proxy, pid) {
            proxy.relay_is(pid);
        }
        Ok(Self {
            process,
            address,
            _proxy: proxy,
        })
    }

    /// Where watchers find it.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Waits until the relay is at rest in this state, and says in which exactly; `None` if it
    /// ended before.
    pub async fn until(&self, reached: impl Fn(&Progress) -> bool) -> Option<Progress> {
        let mut window = self.process.as_ref()?.window.clone();
        let found = window.wait_for(|w| w.closed || reached(&w.progress)).await;
        let found = found.ok()?;
        reached(&found.progress).then(|| found.progress.clone())
    }

    /// Waits until it has ended; indefinitely if it is no process of ours.
    pub async fn ended(&self) {
        match &self.process {
            Some(process) => {
                let _ = process.window.clone().wait_for(|w| w.closed).await;
            }
            None => std::future::pending().await,
        }
    }

    /// How it ended, if it has.
    pub fn end(&mut self) -> Option<String> {
        self.process.as_mut().and_then(Process::ended)
    }

    /// The last lines it logged.
    pub fn log_tail(&self) -> String {
        let log = self.process.as_ref().map(|process| process.log.tail());
        log.unwrap_or_default()
    }

    /// Asks it to end, if it runs, and waits for that.
    ///
    /// # Errors
    /// It does not end, or is ours and ends in disorder.
    pub async fn stop(self) -> Result<(), String> {
        let Some(mut process) = self.process else {
            return Ok(());
        };
        if process.ended().is_some() {
            return Ok(());
        }
        if let Some(pid) = process.pid() {
            kill(pid, process.stop).map_err(|error| error.to_string())?;
        }
        let status = match tokio::time::timeout(STOP, process.child.wait()).await {
            Ok(status) => status.map_err(|error| error.to_string())?,
            Err(_) => {
                return Err(format!(
                    "did not end within {STOP:?} after {}",
                    process.stop
                ));
            }
        };
        match process.ours && !status.success() {
            true => Err(format!(
                "ended in disorder, {status}; its log:\n{}",
                process.log.tail()
            )),
            false => Ok(()),
        }
    }
}

impl Process {
    fn spawn(
        mut command: tokio::process::Command,
        config: NamedTempFile,
        stop: Signal,
        ours: bool,
    ) -> Result<Self, String> {
        let program = command
            .as_std()
            .get_program()
            .to_string_lossy()
            .into_owned();
        let spawned = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let mut child = spawned.map_err(|error| format!("{program}: {error}"))?;
        let (sender, window) = watch::channel(Window::default());
        let log = Log::default();
        let mut outputs: Vec<Output> = Vec::new();
        outputs.extend(child.stdout.take().map(|out| Box::new(out) as Output));
        outputs.extend(child.stderr.take().map(|err| Box::new(err) as Output));
        let reader = AbortOnDropHandle::new(tokio::spawn(follow(outputs, sender, log.clone())));
        Ok(Self {
            child,
            stop,
            ours,
            window,
            log,
            _reader: reader,
            _config: config,
        })
    }

    /// Where it listens, from its log.
    async fn address(&mut self, ready: Duration) -> Result<SocketAddr, String> {
        let known = self.window.wait_for(|w| w.address.is_some() || w.closed);
        let seen = tokio::time::timeout(ready, known).await;
        match seen.map(|seen| seen.ok().and_then(|w| w.address)) {
            Ok(Some(address)) => Ok(address),
            Ok(None) => {
                let _ = self.child.wait().await;
                let how = self.ended().unwrap_or_default();
                Err(format!("{how}; its log:\n{}", self.log.tail()))
            }
            Err(_) => Err(format!("did not listen within {ready:?}")),
        }
    }

    fn ended(&mut self) -> Option<String> {
        match self.child.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => Some(format!("ended, {status}")),
            Err(error) => Some(format!("was lost: {error}")),
        }
    }

    fn pid(&self) -> Option<Pid> {
        let id = self.child.id()?;
        id.try_into().ok().map(Pid::from_raw)
    }
}

/// Waits until something accepts connections there.
async fn wait_for_port(
    address: &str,
    ready: Duration,
    mut lives: impl FnMut() -> Result<(), String>,
) -> Result<(), String> {
    let limit = Instant::now() + ready;
    while tokio::time::timeout_at(limit, TcpStream::connect(address))
        .await
        .is_ok_and(|connected| connected.is_err())
    {
        lives()?;
        tokio::time::sleep_until(limit.min(Instant::now() + LOOK)).await;
    }
    match Instant::now() < limit {
        true => Ok(()),
        false => Err(format!("did not listen at {address} within {ready:?}")),
    }
}

fn command(
    how: &Command,
    listen: SocketAddr,
    reducer: SocketAddr,
    config: &NamedTempFile,
) -> tokio::process::Command {
    let config = config.path().to_string_lossy();
    let filled = |text: &String| {
        text.replace("{listen}", &listen.to_string())
            .replace("{listen_host}", &listen.ip().to_string())
            .replace("{listen_port}", &listen.port().to_string())
            .replace("{reducer_host}", &reducer.ip().to_string())
            .replace("{reducer_port}", &reducer.port().to_string())
            .replace("{config}", &config)
    };
    let mut command = tokio::process::Command::new(filled(&how.program));
    command.args(how.args.iter().map(filled)).env_clear();
    command.envs(how.env.iter().map(|(name, value)| (name, filled(value))));
    command
}

/// A port that was free a moment ago: a foreign relay cannot be asked which one it took.
pub fn free_port() -> std::io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

fn config_file(labels: &Map<String, Value>) -> std::io::Result<NamedTempFile> {
    let mut file = tempfile::Builder::new().suffix(".yaml").tempfile()?;
    writeln!(file, "labels:")?;
    for (key, value) in labels {
        writeln!(file, "  {key}: {value}")?;
    }
    Ok(file)
}
