//! The staged way from old watchers to watches of our own (D4, D14, D15): both feeds in one
//! process, compared all the time, and the switch between them.
//!
//! Laws: everything but [`state_file`] is pure. What the reducer is told never depends on a
//! comparison, only on the stage. A switch is a difference, never a resync.
//!
//! Absent here: sockets, HTTP, who asks.

pub mod compare;
pub mod stage;
pub mod status;

pub use stage::{Command, Stage};
pub use status::Status;
