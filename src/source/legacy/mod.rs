//! The `collector.Collector/Collect` service: unchanged watchers stream to it (protocol 12).
//!
//! Invariants: each call is one stream with a number and a merged state of its own; the driver
//! hears `Opened` first and `Closed` last of it. A slow reader holds back the watcher, by HTTP/2
//! flow control: here nothing is thrown away and nothing grows. A call's end is obeyed also while
//! the driver does not listen.
//!
//! Absent here: which stream is active, what is sent to the reducer.

mod call;
mod codec;
mod counters;
mod elsewhere;
pub mod info;
pub mod merge;
mod server;

pub use call::{MAX_INFO, refusal};
pub use codec::service::collector_server::Collector;
pub use counters::{Counters, Reason, Tally};
pub use elsewhere::Elsewhere;
use server::StreamIds;
pub use server::{Options, serve, service};
