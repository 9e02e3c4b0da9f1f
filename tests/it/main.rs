//! Every integration test of the crate, in one binary.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::wildcard_enum_match_arm,
    missing_docs,
    unreachable_pub
)]

mod admin;
mod announcer_scenarios;
mod chart;
mod cloud_metadata;
mod comparator;
mod compare;
mod compat;
mod demo;
mod deploy;
mod digest_vectors;
mod driver_watches;
mod enrich;
mod extra_properties;
mod feed_scenarios;
mod fuzz;
mod golden_relay;
mod ha;
mod handover;
#[path = "../../compat/harness/mod.rs"]
#[allow(dead_code, reason = "the rest of it is used by `compat/main.rs`")]
mod harness;
mod legacy_bounds;
mod legacy_grpc;
mod legacy_load;
mod legacy_source;
mod matcher_properties;
mod matcher_scenarios;
mod metadata;
mod migration;
mod mock_reducer;
mod native_chain;
mod native_scenarios;
mod native_watch;
mod net;
mod observability;
mod old_build;
mod plots;
mod process;
mod reannounce_scenarios;
mod reducer_ends;
mod reducer_link;
mod reducer_transport;
mod seeds;
mod sim_cluster;
mod sim_kube;
mod source_properties;
mod store_properties;
mod support;
mod surface;
mod switch_properties;
mod switch_scenarios;
mod tee;
mod thin_decoding;
mod tidy;
mod tls;
mod tools;
mod watcher;
mod wire_golden;
mod wire_properties;
