//! The staged way from legacy watchers to native watches (D4, D14, D15): both feeds in one
//! process, compared all the time, and the switch between them.
//!
//! Invariants: everything but [`state_file`] is pure. What is sent to the reducer never depends on
//! a comparison, only on the stage. A switch is a difference, never a resync.
//!
//! Absent here: sockets, HTTP, who asks.

pub mod auto;
pub mod comparator;
pub mod compare;
mod debounce;
pub mod gate;
pub mod migration;
mod report;
pub mod stage;
mod standstill;
pub mod state_file;

pub use auto::Autopilot;
pub use gate::{Action, Facts, Refusal, Step};
pub use migration::Migration;
pub use report::{Auto, Parity, Report, Row, Switch};
pub use stage::{Command, Stage};
pub use state_file::{Numbered, State, StateFile, StateFileError, Written};
