//! What stands between one watcher and two relays: the recording of its streams, their folded
//! state, the bounded backlog of a relay that falls behind, and the comparison of what both relays
//! send.
//!
//! | file | what it is |
//! |---|---|
//! | [`recording`] | streams with times, as bytes of a file and back |
//! | [`fold`] | what must be sent of a stream to a relay that comes late |
//! | [`backlog`] | messages that wait, within bounds |
//! | [`compare`] | where two reducer states differ, and since when |
//!
//! Invariants: all of it is pure. Messages are bytes; only the fold looks into them, and what it
//! cannot read it leaves alone.
//!
//! Absent here: sockets, files and clocks; they are in [`crate::tools`].

pub mod backlog;
pub mod compare;
pub mod fold;
pub mod recording;
