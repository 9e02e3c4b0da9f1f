//! What the benches share: the relay, the bare server and the lower bound as processes of their
//! own, the watcher and the API server that feed them, the reducer that listens, and the table that
//! says how it went.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "each bench uses a part; a bench reads clocks, prints, and dies of what it does not expect"
)]

pub mod admin;
pub mod api_server;
pub mod bare_server;
pub mod both_ways;
pub mod lower_bound;
pub mod process;
pub mod reducer;
pub mod report;
pub mod varied;
pub mod watcher;

use std::time::Duration;

use k8s_relay::sim::cluster::Cluster;

/// The cluster of the figures: 20,000 ReplicaSets, 100,000 pods with two containers each.
pub const CLUSTER: Cluster = Cluster {
    seed: 1,
    replica_sets: 20_000,
    pods: 100_000,
    containers: 2,
};

/// Messages that announce all pods of [`CLUSTER`] and their containers.
pub const MESSAGES: u64 = CLUSTER.pods as u64 * (1 + CLUSTER.containers as u64);

/// How often each thing is measured in one run.
pub const ROUNDS: usize = 5;

/// Nothing here takes this long unless something is broken.
pub const PATIENCE: Duration = Duration::from_secs(120);
