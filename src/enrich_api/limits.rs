//! How much clients may ask for.

use std::time::Duration;

use crate::{enrich::event::MAX_EVENT_BYTES, net};

/// What clients may ask for, and how long they are waited for.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The longest event, in bytes; never more than [`MAX_EVENT_BYTES`].
    pub event_bytes: usize,
    /// Events, or lookups, of one message or array.
    pub batch_items: usize,
    /// The longest message or array, in bytes, inflated.
    pub batch_bytes: usize,
    /// The longest answer to a message of gRPC, in bytes: documents may be many times longer than
    /// what asks for them.
    pub answer_bytes: usize,
    /// Batches of one stream that are read and not answered. No more are read.
    pub unanswered: usize,
    /// Requests with a body that are answered at once, of all connections together.
    pub streams: usize,
    /// The longest wait for objects that are not known yet. Who asks for more gets this.
    pub wait: Duration,
    /// Events and lookups that wait at once, of all requests together.
    pub waiting: usize,
    /// How long a client may take nothing of an answer; then its stream is ended.
    pub stall: Duration,
    /// How a request's body may pause where all of it is needed for the answer.
    pub body: Duration,
    /// How connections are held.
    pub connections: net::http::Options,
}

impl Default for Limits {
    fn default() -> Self {
        let connections = net::http::Options::default();
        Self {
            event_bytes: MAX_EVENT_BYTES,
            batch_items: 10_000,
            batch_bytes: 4 << 20,
            answer_bytes: 64 << 20,
            unanswered: 16,
            streams: 256,
            wait: Duration::from_secs(5),
            waiting: 10_000,
            stall: connections.stall,
            body: Duration::from_secs(30),
            connections,
        }
    }
}
