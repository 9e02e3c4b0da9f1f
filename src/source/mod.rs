//! Where facts come from. Every source speaks the one vocabulary of the core:
//! kube-rs [`Event`]s of three kinds, in order, as one *feed*.
//!
//! Absent here: who is active, what is told. A source does not know the matcher.

pub mod legacy;

use std::net::SocketAddr;

use kube::runtime::watcher::Event;
use tokio::sync::oneshot;

use crate::model::{OwnerMeta, PodMeta};

/// One fact of a feed.
#[derive(Clone, Debug)]
pub enum FeedEvent {
    /// A pod.
    Pod(Event<PodMeta>),
    /// A ReplicaSet.
    ReplicaSet(Event<OwnerMeta>),
    /// A Job.
    Job(Event<OwnerMeta>),
    /// The source has told its first lists completely (D4). Sent once, by sources
    /// that can tell otherwise than by `InitDone` of every kind.
    Listed,
}

/// Numbers the `Collect` streams of this process in the order of their calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// What a source tells the driver, over one bounded channel.
#[derive(Debug)]
pub enum SourceInput {
    /// A stream was opened. Always the first for its id.
    Opened {
        /// The stream.
        stream: StreamId,
        /// Where the watcher is.
        peer: Option<SocketAddr>,
        /// Ends the call; dropping it ends the call as [`CallEnd::Shutdown`].
        end: oneshot::Sender<CallEnd>,
    },
    /// What a stream told since the last batch, in order.
    Batch {
        /// The stream.
        stream: StreamId,
        /// The facts; may be empty when all Infos were dropped.
        events: Vec<FeedEvent>,
        /// How many Infos were read for this batch, dropped ones included.
        infos: u64,
    },
    /// The stream has ended, for whatever reason. Always the last for its id.
    Closed {
        /// The stream.
        stream: StreamId,
    },
}

/// Why the relay ends a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallEnd {
    /// The guard rail (spec 13.6): CANCELLED, no `Response`.
    Overflow,
    /// `--reconnect reset-watcher`: one `Response`, then CANCELLED.
    Reset,
    /// The relay ends: UNAVAILABLE.
    Shutdown,
}
