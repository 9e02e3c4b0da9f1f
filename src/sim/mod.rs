//! The world around a relay, played by ourselves: for the demo, the tests and the benches.
//!
//! Absent here: anything the relay itself needs. No room but `tools` imports this one.

pub mod cluster;
pub mod traffic;
pub mod watcher;
