//! How the connection stands, and what has happened to it, as others see it.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::Failure;

/// How far things are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The number of the present or last connection, from 1; 0 before the first.
    pub connection: u64,
    /// Whether it stands.
    pub connected: bool,
    /// Bytes that the network took on this connection.
    pub sent: u64,
    /// Bytes that wait.
    pub queued: usize,
}

/// What happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Connections that stood.
    pub connections: u64,
    /// Attempts that failed.
    pub failed_dials: u64,
    /// Connections that ended because the reducer took nothing (D6).
    pub stalls: u64,
    /// Connections that we ended although bytes waited, stalled ones included.
    pub unflushed_ends: u64,
    /// Bytes that the reducer said, all thrown away.
    pub discarded_bytes: u64,
    /// Recordings that ended early, because their disk was full, slow or gone.
    #[serde(default)]
    pub ended_recordings: u64,
}

/// How the connection stands, for people.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Where the reducer is looked for, as HOST:PORT.
    pub address: String,
    /// Since when it has stood, or has not.
    pub since: Instant,
    /// What went wrong last.
    pub last_failure: Option<Failure>,
    /// Attempts that failed since the last connection.
    pub failures: u64,
    /// When the next attempt is; `None` while one is under way, or it stands.
    pub retry_at: Option<Instant>,
}
