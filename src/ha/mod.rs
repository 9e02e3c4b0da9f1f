//! High availability: which of several replicas writes to the reducer (D19).
//!
//! All replicas watch and are warm; the holder of one Lease writes. Leadership is decided by what a
//! replica itself observed, on a clock that nobody sets and that goes on in suspend
//! (`CLOCK_BOOTTIME`); wall clocks of different machines are never compared.
//!
//! | file | what it is | pure |
//! |---|---|---|
//! | [`record`] | what a Lease says, and in which version | yes |
//! | [`settings`] | names and durations, and which of them fit together | yes |
//! | [`elector`] | the state machine: when to ask what, and who may write until when | yes |
//! | [`fence`] | until when the connection may write | no |
//! | [`clock`] | time since boot | no |
//! | `lease` | the Lease as an object | yes |
//! | `unacknowledged` | whether the reducer has acknowledged everything | no |
//! | [`task`] | talks to the API server | no |
//!
//! Invariants: a replica writes only after a PUT of its own has succeeded in this process, and
//! until [`Settings::term`] after that request began. Whoever takes the Lease has waited at least
//! a whole lease since the Lease last changed, and its PUT fails if it has changed since. So two
//! replicas never write at the same time while no clock runs a third faster than another.
//!
//! Absent here: pods, the reducer, and what a follower serves.

pub mod clock;
pub mod elector;
pub mod fence;
mod lease;
pub mod record;
pub mod settings;
pub mod task;
mod unacknowledged;

pub use elector::{Answer, ApiCall, Duty, Elector, Role};
pub use fence::Fence;
pub use record::{Observed, Record, Version};
pub use settings::Settings;
pub use task::{Election, Order, Report, Standing};
