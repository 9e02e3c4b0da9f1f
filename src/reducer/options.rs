//! What a [`Reducer`](super::Reducer) must know before it starts, with documented defaults.

use std::path::PathBuf;

use super::{Identity, Layer, Resolver, Tcp, Times, cloud::CloudNews};
use crate::ha::Fence;

/// What to connect to, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The reducer's name or address.
    pub host: String,
    /// The reducer's port.
    pub port: u16,
    /// What the handshake says.
    pub handshake: Identity,
    /// What the cloud says of this machine; the first connection may have to wait for it.
    pub cloud: CloudNews,
    /// Where to record everything that is sent.
    pub record: Option<PathBuf>,
    /// Intervals and limits of the session.
    pub times: Times,
    /// Limits and options of the socket.
    pub tcp: Tcp,
    /// What lies between TCP and the protocol.
    pub layer: Layer,
    /// Until when pods may be written. With a fence there is no connection before
    /// [`Reducer::serve`](super::Reducer::serve).
    pub fence: Option<Fence>,
    /// How names are resolved.
    pub resolver: Resolver,
    /// [`Drained`](super::ReducerEvent::Drained) says that no more than this waits, in bytes. Default 1 MiB.
    pub low_mark: usize,
    /// Neither heartbeat nor health are added while this waits, in bytes. Default 4 MiB.
    pub high_mark: usize,
}

impl Options {
    /// Defaults for everything but where to connect and what to say of us.
    pub fn new(host: impl Into<String>, port: u16, handshake: Identity) -> Self {
        Self {
            host: host.into(),
            port,
            handshake,
            cloud: CloudNews::default(),
            record: None,
            times: Times::default(),
            tcp: Tcp::default(),
            layer: Layer::default(),
            fence: None,
            resolver: Resolver::default(),
            low_mark: 1 << 20,
            high_mark: 4 << 20,
        }
    }
}
