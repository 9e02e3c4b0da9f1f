//! A reducer on a real socket: it listens, reads, decodes, checks and remembers, and never
//! writes. What it saw can be looked at and waited for; how it treats its peers can be changed
//! while it runs.
//!
//! Invariants: nothing is polled, every read wakes those who wait; a violation is remembered and
//! ends the connection; [`MockReducer::shutdown`] joins every task.

mod connection;
mod state;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::connection::{Command, serve};
use self::state::Shared;
pub use self::state::{Connection, End, Entry, State};
use super::port::Port;
use crate::net::tls::ServerTls;

/// Waits so long after a failed accept; without file handles it would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How a [`MockReducer`] behaves and what it keeps.
#[derive(Clone, Debug)]
pub struct Options {
    /// Keep every message in [`State::log`], and every byte in [`Connection::raw`]. Without it
    /// counters and reducer states are kept, and the states of ended connections only until the
    /// next connection: for long runs.
    pub keep_everything: bool,
    /// Where each message is sent as it comes; a full channel holds back the reading.
    pub tap: Option<mpsc::Sender<Entry>>,
    /// Close each connection as soon as its handshake is complete.
    pub close_after_handshake: bool,
    /// Accept so many connections, then listen no more.
    pub connections: Option<usize>,
    /// Bytes of the sockets' receive buffer, so that a stalled reducer is felt soon.
    pub receive_buffer: Option<usize>,
    /// Speak TLS.
    pub tls: Option<ServerTls>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            keep_everything: true,
            tap: None,
            close_after_handshake: false,
            connections: None,
            receive_buffer: None,
            tls: None,
        }
    }
}

/// A reducer that listens on a socket of this machine.
///
/// Dropping it ends its tasks too, but does not wait for them.
pub struct MockReducer {
    port: Port,
    options: Arc<Options>,
    shared: Arc<Shared>,
    accepting: Mutex<Option<Accepting>>,
    tasks: TaskTracker,
    stop: CancellationToken,
    paused: watch::Sender<bool>,
}

struct Accepting {
    task: JoinHandle<()>,
    stop: CancellationToken,
}

impl MockReducer {
    /// Listens on `addr`; port 0 takes a free one.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn bind(addr: SocketAddr, options: Options) -> io::Result<Self> {
        let reducer = Self {
            port: Port::take(addr)?,
            options: Arc::new(options),
            shared: Arc::default(),
            accepting: Mutex::new(None),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            paused: watch::Sender::new(false),
        };
        reducer.start_listening().await?;
        Ok(reducer)
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// How many connections were accepted so far.
    pub fn connections(&self) -> usize {
        self.with(|state| state.connections.len())
    }

    /// Looks at what was seen so far.
    pub fn with<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        look(&self.shared.lock())
    }

    /// Waits until `done` says so; it is asked at once and after each change.
    pub async fn wait_until(&self, mut done: impl FnMut(&State) -> bool) {
        self.shared.wait_until(&mut done).await;
    }

    /// Closes all open connections in an orderly way, and returns when that is done.
    pub async fn disconnect(&self) {
        self.end_all(Command::Close).await;
    }

    /// Resets all open connections (RST), and returns when that is done.
    pub async fn reset(&self) {
        self.end_all(Command::Reset).await;
    }

    /// Writes `bytes` to all open connections, which no reducer does.
    pub fn send_garbage(&self, bytes: &[u8]) {
        let mut state = self.shared.lock();
        for connection in state.open() {
            connection.command(Command::Write(bytes.to_vec()));
        }
    }

    /// Refuses new connections from now on; open ones stay.
    pub async fn stop_listening(&self) {
        if let Some(accepting) = self.accepting.lock().await.take() {
            accepting.stop.cancel();
            // A panic in there has been printed, and nothing depends on its end.
            let _ = accepting.task.await;
        }
    }

    /// Accepts connections again, on the same port.
    ///
    /// # Errors
    /// The port cannot be listened on.
    pub async fn start_listening(&self) -> io::Result<()> {
        let mut accepting = self.accepting.lock().await;
        if accepting.is_none() {
            let listener = self.port.listen(self.options.receive_buffer)?;
            let stop = self.stop.child_token();
            let accept = accept(
                listener,
                Arc::clone(&self.shared),
                Arc::clone(&self.options),
                self.tasks.clone(),
                self.stop.clone(),
                self.paused.subscribe(),
            );
            let stopped = stop.clone().cancelled_owned();
            let task = self.tasks.spawn(async move {
                tokio::select! { () = accept => {} () = stopped => {} }
            });
            *accepting = Some(Accepting { task, stop });
        }
        Ok(())
    }

    /// Stops reading from all connections, as a stalled reducer does. What a task is just
    /// reading is read to its end.
    pub fn pause_reading(&self) {
        self.paused.send_replace(true);
    }

    /// Reads again.
    pub fn resume_reading(&self) {
        self.paused.send_replace(false);
    }

    /// Ends everything, waits for every task and returns what was seen.
    pub async fn shutdown(self) -> State {
        self.stop_listening().await;
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        std::mem::take(&mut *self.shared.lock())
    }

    async fn end_all(&self, command: Command) {
        let mut ended = Vec::new();
        for connection in self.shared.lock().open() {
            connection.command(command.clone());
            ended.push(connection.index);
        }
        self.wait_until(|state| {
            let open = |&index: &usize| state.connection(index).is_some_and(|c| c.end.is_none());
            !ended.iter().any(open)
        })
        .await;
    }
}

impl Drop for MockReducer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn accept(
    listener: TcpListener,
    shared: Arc<Shared>,
    options: Arc<Options>,
    tasks: TaskTracker,
    stop: CancellationToken,
    paused: watch::Receiver<bool>,
) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let (commands, inbox) = mpsc::unbounded_channel();
                let index = shared.opened(peer, commands, options.keep_everything);
                let task = serve(
                    index,
                    stream,
                    inbox,
                    Arc::clone(&shared),
                    Arc::clone(&options),
                    paused.clone(),
                );
                let stop = stop.clone();
                let shared = Arc::clone(&shared);
                tasks.spawn(async move {
                    let end = tokio::select! {
                        end = task => end,
                        () = stop.cancelled() => End::Closed,
                    };
                    shared.ended(index, end);
                });
                if options.connections == Some(index) {
                    return;
                }
            }
            // Such as a peer that went away before it was accepted, or no file handles left.
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
