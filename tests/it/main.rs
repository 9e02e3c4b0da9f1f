//! Every integration test of the crate, in one binary.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub
)]

//mod golden_relay;
mod support;
mod watcher;
mod wire_golden;
mod wire_laws;
