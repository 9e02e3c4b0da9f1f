//! Several replicas, one simulated API server, one mock reducer: one of them writes.

mod fence;
mod replicas;
mod world;
