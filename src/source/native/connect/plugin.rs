//! Credential plugins as processes.
//!
//! Invariants: a plugin is a process group of its own without standard input. It is listened to
//! until its own process ends, whatever it has started, for a limited time and up to
//! [`MAX_OUTPUT`]; then its whole group is killed, and so it is when the caller gives up and when
//! this process ends. Nothing here blocks: even the start of the process, for which the system
//! reads a file, happens on a thread of its own.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read as _},
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::AsyncReadExt as _,
    net::unix::pipe,
    process::{Child, Command},
    task::spawn_blocking,
    time::timeout,
};

use super::{
    exec::{self, Answer},
    kubeconfig::one_line,
};

/// A plugin prints at most so many bytes.
pub const MAX_OUTPUT: usize = 1 << 20;

/// So much of what it complains about is kept, in bytes.
const MAX_COMPLAINT: usize = 4 << 10;

/// How a plugin is called.
#[derive(Clone, Debug)]
pub(super) struct Call {
    /// As the kubeconfig names it.
    pub(super) name: String,
    pub(super) program: PathBuf,
    pub(super) args: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    /// The value of `KUBERNETES_EXEC_INFO`.
    pub(super) info: String,
    /// The version of the protocol in which it must answer.
    pub(super) version: String,
}

/// Asks a plugin who we are.
///
/// # Errors
/// It cannot be started, does not end in time, fails, or what it says makes no sense. One line.
pub(super) async fn ask(call: &Call, limit: Duration) -> Result<Answer, String> {
    let answer = match timeout(limit, run(call)).await {
        Ok(output) => output.and_then(|output| exec::answer(&output, &call.version)),
        Err(_) => {
            let limit = humantime::format_duration(limit);
            Err(format!(
                "it was killed: it has not ended within {limit} (see --credentials-timeout)"
            ))
        }
    };
    answer.map_err(|why| format!("the credential plugin {}: {why}", call.name))
}

/// Kills what plugins are running, for the end of our process. None starts afterwards.
pub fn end_plugins() {
    let mut groups = groups();
    groups.is_over = true;
    for group in std::mem::take(&mut groups.running) {
        kill(group);
    }
}

async fn run(call: &Call) -> Result<Vec<u8>, String> {
    let mut running = start(call.clone()).await?;
    let (mut output, mut complaint) = (Vec::new(), Vec::new());
    let (mut chunk, mut other) = ([0; 8192], [0; 1024]);
    let (mut more, mut complains) = (true, true);
    let status = loop {
        tokio::select! {
            biased;
            ended = running.child.wait() => break ended,
            read = running.output.read(&mut chunk), if more => {
                more = take(read, &chunk, &mut output, MAX_OUTPUT + 1);
                if output.len() > MAX_OUTPUT {
                    return Err("it was killed: it prints more than 1 MiB".to_owned());
                }
            }
            read = running.complaint.read(&mut other), if complains => {
                complains = take(read, &other, &mut complaint, MAX_COMPLAINT);
            }
        }
    };
    let status = status.map_err(|error| format!("cannot wait for its end: {error}"))?;
    let Running {
        output: rest,
        complaint: more,
        group,
        ..
    } = running;
    // What it wrote before its end waits in the pipe. What it has started may hold the other end
    // open indefinitely, so nobody waits for that.
    drain(rest, &mut output, MAX_OUTPUT + 1);
    drain(more, &mut complaint, MAX_COMPLAINT);
    drop(group);
    if output.len() > MAX_OUTPUT {
        return Err("it prints more than 1 MiB".to_owned());
    }
    match status.success() {
        true => Ok(output),
        false => Err(failure(status, &complaint)),
    }
}

fn failure(status: ExitStatus, complaint: &[u8]) -> String {
    let complaint = one_line(&String::from_utf8_lossy(complaint));
    match complaint.as_str() {
        "" => format!("{status}"),
        complaint => format!("{status}: {complaint}"),
    }
}

/// Adds what was read, as far as there is room. Returns whether there is more to come.
fn take(read: io::Result<usize>, chunk: &[u8], into: &mut Vec<u8>, most: usize) -> bool {
    let Some(read) = read.ok().and_then(|length| chunk.get(..length)) else {
        return false;
    };
    let room = most.saturating_sub(into.len()).min(read.len());
    into.extend_from_slice(read.get(..room).unwrap_or_default());
    !read.is_empty()
}

/// Adds what is there, without waiting for more.
fn drain(pipe: pipe::Receiver, into: &mut Vec<u8>, most: usize) {
    let Ok(pipe) = pipe.into_nonblocking_fd() else {
        return;
    };
    let room = most.saturating_sub(into.len()) as u64;
    // Ends with an error when there is nothing more at the moment.
    let _ = File::from(pipe).take(room).read_to_end(into);
}

// === the process ===

struct Running {
    child: Child,
    output: pipe::Receiver,
    complaint: pipe::Receiver,
    group: Group,
}

async fn start(call: Call) -> Result<Running, String> {
    // The caller may give up: then what has started is dropped, and so killed, over there.
    let started = spawn_blocking(move || spawn(&call)).await;
    let started = started.unwrap_or_else(|error| Err(io::Error::other(error)));
    started.map_err(|error| format!("cannot be started: {error}"))
}

fn spawn(call: &Call) -> io::Result<Running> {
    let (into_output, output) = pipe::pipe()?;
    let (into_complaint, complaint) = pipe::pipe()?;
    let mut command = Command::new(&call.program);
    command
        .args(&call.args)
        .envs(call.env.iter().map(|(name, value)| (name, value)))
        .env("KUBERNETES_EXEC_INFO", &call.info)
        .stdin(Stdio::null())
        .stdout(Stdio::from(into_output.into_blocking_fd()?))
        .stderr(Stdio::from(into_complaint.into_blocking_fd()?))
        .process_group(0)
        .kill_on_drop(true);
    let child = command.spawn()?;
    // With it go our copies of the pipes' other ends.
    drop(command);
    let group = Group::of(&child)?;
    Ok(Running {
        child,
        output,
        complaint,
        group,
    })
}

/// A process group that is killed when this is dropped.
struct Group(Pid);

/// The groups that run.
struct Groups {
    running: BTreeSet<Pid>,
    /// No more may start.
    is_over: bool,
}

static GROUPS: Mutex<Groups> = Mutex::new(Groups {
    running: BTreeSet::new(),
    is_over: false,
});

impl Group {
    fn of(child: &Child) -> io::Result<Self> {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        let group = Pid::from_raw(id.ok_or(io::ErrorKind::NotFound)?);
        let mut groups = groups();
        if groups.is_over {
            kill(group);
            return Err(io::ErrorKind::Interrupted.into());
        }
        groups.running.insert(group);
        Ok(Self(group))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if groups().running.remove(&self.0) {
            kill(self.0);
        }
    }
}

fn groups() -> MutexGuard<'static, Groups> {
    GROUPS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn kill(group: Pid) {
    // That nobody is left in it is what is wanted.
    let _ = killpg(group, Signal::SIGKILL);
}

#[cfg(test)]
mod tests;
