//! Where facts come from. Every source speaks the one vocabulary of the core:
//! kube-rs [`Event`]s of three kinds, in order, as one *feed*.
//!
//! Absent here: which feed is active, what is announced. A source does not know the matcher.

mod health;
mod inet;
pub mod legacy;
pub mod native;
mod recent_drops;

use std::{net::SocketAddr, time::Instant};

pub use health::WatchState;
use kube::runtime::watcher::Event;
pub use native::error::Reason;
pub use recent_drops::{DroppedObject, ObjectName, RecentDrops};
use tokio::sync::oneshot;

use crate::model::{Kind, ObjectMeta, PodMeta, Scope, Uid};

/// One fact of a feed.
#[derive(Clone, Debug)]
pub enum FeedEvent {
    /// A pod.
    Pod(Event<PodMeta>),
    /// A ReplicaSet.
    ReplicaSet(Event<ObjectMeta>),
    /// A Job.
    Job(Event<ObjectMeta>),
    /// Within a list: the object is there, but in a form that cannot be used. What is known of
    /// it stays. Boxed, for it is rare and the others are small.
    Seen(Kind, Box<Uid>),
    /// The source has sent its first lists completely (D4). Sent by sources that know this
    /// otherwise than by `InitDone` of every kind.
    Listed,
}

/// Numbers the `Collect` streams of this process in the order of their calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// The health of a watch, reported at each change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchHealth {
    /// It lists or follows.
    Healthy,
    /// Refused with 403 or 404: if it has never listed, it counts as listed and empty (D4).
    Denied,
    /// It fails otherwise, and is tried again and again.
    Failing,
}

/// What `Collect` streams send the driver, over one bounded channel.
#[derive(Debug)]
pub enum CollectMessage {
    /// A stream was opened. Always the first for its id.
    Opened {
        /// The stream.
        stream: StreamId,
        /// Where the watcher is.
        peer: Option<SocketAddr>,
        /// Ends the call; dropping it ends the call as [`CallEnd::Shutdown`].
        end: oneshot::Sender<CallEnd>,
    },
    /// What a stream sent since the last batch, in order.
    Batch {
        /// The stream.
        stream: StreamId,
        /// The facts; may be empty when all Infos were dropped.
        events: Vec<FeedEvent>,
        /// How many Infos were read for this batch, dropped ones included.
        infos: u64,
        /// When the first of them had come completely.
        read: Instant,
    },
    /// The stream has ended, for whatever reason. Always the last for its id.
    Closed {
        /// The stream.
        stream: StreamId,
    },
}

/// What the native watches of the kinds that the matcher uses send the driver, over one bounded
/// channel.
#[derive(Debug)]
pub enum WatchMessage {
    /// What a watch reported since the last batch, in order. All of one kind.
    Batch {
        /// What the watch covers.
        scope: Scope,
        /// The facts; never [`FeedEvent::Listed`].
        events: Vec<FeedEvent>,
        /// When the bytes of the first of them were read.
        read: Instant,
    },
    /// The health of a watch has changed, or it is not healthy and fails for another reason now.
    Health {
        /// What is watched.
        kind: Kind,
        /// What the watch covers.
        scope: Scope,
        /// Its health now.
        health: WatchHealth,
        /// Since when it has this health.
        since: Instant,
        /// How its last request failed, before or after that; `None` if none has.
        last_failure: Option<WatchFailure>,
    },
}

/// How a request of a watch has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchFailure {
    /// For metrics: one of a few.
    pub reason: Reason,
    /// For people: one line of at most about 250 bytes.
    pub text: String,
    /// When it failed.
    pub at: Instant,
}

/// Why the relay ends a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallEnd {
    /// The guard rail (protocol 13.6): CANCELLED, no `Response`.
    Overflow,
    /// `--reconnect reset-watcher`: one `Response`, then CANCELLED.
    Reset,
    /// The relay ends: UNAVAILABLE.
    Shutdown,
}
