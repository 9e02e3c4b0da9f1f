//! The world around a relay, played by ourselves: for the demo, the tools, tests and benches.
//!
//! | file | what it is | pure |
//! |---|---|---|
//! | [`reducer_state`] | what a reducer knows, from what was sent to it | yes |
//! | [`session`] | whether a reducer would go on listening | yes |
//! | [`reducer`] | a reducer on a real socket | no |
//! | [`kube`] | an API server on a real socket, and the cluster behind it | all but the server |
//! | [`cluster`] | a synthetic cluster, sent as a watcher's `Info`s | yes |
//! | [`load`] | floods, and the legacy watcher's local test | yes |
//! | [`scenario`] | a small cluster and a day in its life, for the demo | yes |
//! | [`legacy_watcher`] | a legacy watcher: from an API server to a relay | no |
//! | [`watcher`] | a watcher on a real socket | no |
//!
//! Invariant: what the mock reducer accepts, the real one accepts; it is stricter where the real
//! one would lose data silently. Absent here: anything the relay itself needs. No module but `tee`
//! and `tools` imports this one.

pub mod cluster;
pub mod kube;
pub mod legacy_watcher;
pub mod load;
mod port;
pub mod reducer;
pub mod reducer_state;
pub mod scenario;
pub mod session;
pub mod watcher;
