//! Every integration test of the crate, in one binary.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub
)]

mod feed_scenarios;
mod matcher_laws;
mod matcher_scenarios;
mod support;
mod telling_scenarios;
mod wire_golden;
mod wire_laws;
