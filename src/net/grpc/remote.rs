//! The far end of a connection, and whether a call is open there.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

use crate::net::{Peer, tls::session::Client};

/// The connection that a request came over. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Remote {
    peer: Peer,
    client: Client,
    calls: Arc<CallCounts>,
}

/// The calls of one connection.
#[derive(Debug, Default)]
struct CallCounts {
    begun: AtomicUsize,
    open: AtomicU64,
}

/// A part of a call that is open: its connection is not idle until this is dropped.
#[derive(Debug)]
pub(super) struct InUse(Arc<CallCounts>);

impl Remote {
    /// Without a call so far.
    pub(super) fn new(peer: Peer, client: Client) -> Self {
        let calls = Arc::default();
        Self {
            peer,
            client,
            calls,
        }
    }

    pub(super) fn peer(&self) -> Peer {
        self.peer
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// How many parts of calls have begun since the connection opened.
    pub(super) fn begun(&self) -> usize {
        self.calls.begun.load(Relaxed)
    }

    /// How many of them are open.
    pub(super) fn open(&self) -> u64 {
        self.calls.open.load(Relaxed)
    }

    /// A part of a call begins.
    pub(super) fn in_use(&self) -> InUse {
        self.calls.begun.fetch_add(1, Relaxed);
        self.calls.open.fetch_add(1, Relaxed);
        InUse(self.calls.clone())
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}
