//! What a [`MockReducer`](super::MockReducer) has seen, and how to wait for more.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value};
use tokio::sync::{Notify, mpsc};

use super::connection::Command;
use crate::sim::reducer_state::ReducerState;
use crate::sim::session::{Session, Violation};
use crate::wire::lz4::Counters;

/// Everything that was seen so far.
#[derive(Debug, Default)]
pub struct State {
    /// Each connection, in the order in which they were accepted.
    pub connections: Vec<Connection>,
    /// Each message of all connections in the order in which they were read, if everything is
    /// kept.
    pub log: Vec<Entry>,
}

/// One accepted connection.
#[derive(Debug)]
pub struct Connection {
    /// Counts connections from 1.
    pub index: usize,
    /// The other end.
    pub peer: SocketAddr,
    /// How it ended, if it did.
    pub end: Option<End>,
    /// Messages that were read.
    pub messages: u64,
    /// The same by name.
    pub counts: BTreeMap<&'static str, u64>,
    /// Bytes that were read from the socket.
    pub bytes: u64,
    /// Bytes of all messages, uncompressed.
    pub plain_bytes: u64,
    /// What the LZ4 frames held.
    pub frames: Counters,
    /// Every byte that was read from the socket, if everything is kept.
    pub raw: Vec<u8>,
    pub(super) session: Session,
    commands: mpsc::UnboundedSender<Command>,
}

/// A message as it was received.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The connection, from 1.
    pub connection: usize,
    /// The message's timestamp: nanoseconds since the UNIX epoch.
    pub timestamp: u64,
    /// The message in the form of the recordings.
    pub message: Map<String, Value>,
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// The peer ended it in an orderly way; nothing was missing.
    Eof,
    /// The peer ended it in an orderly way, in the midst of a message or frame.
    CutShort(String),
    /// The peer reset it.
    Reset,
    /// Reading failed otherwise.
    Failed(String),
    /// It was closed here, as asked.
    Closed,
    /// It was closed here because of what the peer sent.
    Violation(Violation),
}

impl State {
    /// The connection with this index, from 1.
    pub fn connection(&self, index: usize) -> Option<&Connection> {
        self.connections.get(index.checked_sub(1)?)
    }

    /// The newest connection.
    pub fn latest(&self) -> Option<&Connection> {
        self.connections.last()
    }

    /// What the reducer knows of the newest connection's pods. The real one forgets them when
    /// the connection ends; here they can still be looked at.
    pub fn reducer_state(&self) -> Option<&ReducerState> {
        self.latest().map(Connection::reducer_state)
    }

    /// What was wrong, with the connection's index.
    pub fn violations(&self) -> impl Iterator<Item = (usize, &Violation)> {
        self.connections
            .iter()
            .filter_map(|connection| match &connection.end {
                Some(End::Violation(violation)) => Some((connection.index, violation)),
                Some(End::Eof | End::CutShort(_) | End::Reset | End::Failed(_) | End::Closed)
                | None => None,
            })
    }

    /// Connections that have not ended.
    pub(super) fn open(&mut self) -> impl Iterator<Item = &mut Connection> {
        self.connections
            .iter_mut()
            .filter(|connection| connection.end.is_none())
    }
}

impl Connection {
    /// What the reducer knows of this connection's pods, or knew when it ended.
    pub fn reducer_state(&self) -> &ReducerState {
        self.session.reducer_state()
    }

    /// Whether its handshake is complete.
    pub fn handshake_done(&self) -> bool {
        self.session.handshake_done()
    }

    /// How many messages of this name were read.
    pub fn count(&self, name: &str) -> u64 {
        self.counts.get(name).copied().unwrap_or_default()
    }

    pub(super) fn command(&self, command: Command) {
        // It fails if the connection is ending anyway.
        let _ = self.commands.send(command);
    }
}

/// The state behind its lock, and the bell that rings at each change.
#[derive(Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // A test that panics while it looks has not broken anything.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and rings the bell.
    pub(super) fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let result = change(&mut self.lock());
        self.changed.notify_waiters();
        result
    }

    pub(super) async fn wait_until(&self, done: &mut impl FnMut(&State) -> bool) {
        loop {
            let changed = self.changed.notified();
            let mut changed = std::pin::pin!(changed);
            // From here on no ring is missed.
            changed.as_mut().enable();
            if done(&self.lock()) {
                return;
            }
            changed.await;
        }
    }

    /// Adds a connection and returns its index.
    pub(super) fn opened(
        &self,
        peer: SocketAddr,
        commands: mpsc::UnboundedSender<Command>,
        keep_everything: bool,
    ) -> usize {
        self.change(|state| {
            if !keep_everything {
                let ended = state
                    .connections
                    .iter_mut()
                    .filter(|known| known.end.is_some());
                ended.for_each(|known| known.session.forget());
            }
            let index = state.connections.len() + 1;
            state.connections.push(Connection {
                index,
                peer,
                end: None,
                messages: 0,
                counts: BTreeMap::new(),
                bytes: 0,
                plain_bytes: 0,
                frames: Counters::default(),
                raw: Vec::new(),
                session: Session::new(),
                commands,
            });
            index
        })
    }

    pub(super) fn ended(&self, index: usize, end: End) {
        self.change(|state| {
            let connection = index
                .checked_sub(1)
                .and_then(|at| state.connections.get_mut(at));
            if let Some(connection) = connection {
                connection.end = Some(end);
            }
        });
    }
}
