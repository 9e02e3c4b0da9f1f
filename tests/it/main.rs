//! Every integration test of the crate, in one binary.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    missing_docs,
    unreachable_pub
)]

//mod golden_relay;
mod deploy;
mod support;
mod surface;
mod tidy;
mod watcher;
mod wire_golden;
mod wire_laws;
