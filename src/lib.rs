//! k8s-relay announces to an OpenTelemetry eBPF *reducer* which Kubernetes pods exist, which
//! workload effectively owns each and which containers they run.
//!
//! Data goes one way:
//!
//! ```text
//! source ──► feeds ──► matcher ──► reducer ──► wire ──► TCP
//! (Collect)  (which    (which      (messages,  (bytes)
//!            feed is   pods, under connection)
//!            active)   which owner)
//! ```
//!
//! | module | what it is | pure |
//! |---|---|---|
//! | [`model`] | pods, owners, containers: compact and shared | yes |
//! | [`source`] | where events come from; [`source::legacy`] serves `Collect`, [`source::native`] watches | merging, decoding, the watch's states |
//! | [`feeds`] | each feed's stores and matcher, and which feed is active | yes |
//! | [`stores`] | a feed's objects, the list protocol, and the readers of both | yes |
//! | [`matcher`] | what a feed knows, and which of its pods are live | yes |
//! | [`announce`] | what the reducer was sent, and what is left to send | yes |
//! | [`reducer`] | projection to messages, handshake, the connection | projection, handshake |
//! | [`wire`] | the ingest protocol, byte for byte, both directions | yes |
//! | [`digest`] | one number for a set of live pods | yes |
//! | [`migrate`] | both sources in one process, compared; the stages from one to the other, and the gate between them | all but the state file |
//! | [`ha`] | which of several replicas writes to the reducer | the election |
//! | [`admin`] | the listener for people and probes, which asks the loop | who may, metrics, readiness |
//! | [`net`] | what all servers share: listeners, who connects, bounds, gRPC | who connects |
//! | [`driver`] | the one loop that owns all of the above | no |
//! | [`app`] | builds the modules, joins every task, ends in order | no |
//! | [`config`] | flags, variables and YAML in their final types | no |
//! | [`cli`] | the command line: the relay, or a tool | no |
//! | [`command`] | the process: the command line in, logging, the exit status out | no |
//! | [`companion`] | what the program is in the container of the legacy watcher | no |
//! | [`enrich`] | what enrichment adds to events and answers to lookups | yes |
//! | [`enrich_api`] | the surfaces of enrichment: HTTP and gRPC at one port | references, lines |
//! | [`registry`] | the watches of enrichment, who uses them, and the stores that they fill | stores |
//! | [`backoff`] | how long to wait before the next attempt | yes |
//! | [`late`] | work that may block, on threads of its own; its late answers | no |
//! | [`logging`] | lines on standard error and in a rotated file | no |
//! | [`sim`] | mock reducer, synthetic watcher, stand-in of the old one, simulated cluster, for demo, trials, tests and benches | all but the sockets |
//! | [`tee`] | recorded streams, and what stands between one watcher and two relays | yes |
//! | [`tools`] | the subcommands other than the relay | no |
//!
//! *Pure* modules do no IO, read no clock and are not async: time is an argument.

#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        clippy::wildcard_enum_match_arm,
        reason = "tests read the clock, spawn tasks and look for one variant freely"
    )
)]

pub mod admin;
pub mod announce;
pub mod app;
pub mod backoff;
pub mod cli;
pub mod command;
pub mod companion;
pub mod config;
pub mod digest;
pub mod driver;
pub mod enrich;
pub mod enrich_api;
pub mod feeds;
pub mod ha;
pub mod late;
pub mod logging;
pub mod matcher;
pub mod migrate;
pub mod model;
mod nearest;
pub mod net;
pub mod notable;
pub mod reducer;
pub mod registry;
pub mod seed;
pub mod sim;
pub mod source;
pub mod stores;
pub mod tee;
pub mod tools;
pub mod wire;

/// The generated `collector` package: messages and service of `proto/`.
pub mod proto {
    #![allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
    tonic::include_proto!("collector");

    /// The generated `grpc.health.v1` package.
    pub mod health {
        tonic::include_proto!("grpc.health.v1");
    }

    /// The generated `k8smeta.v1` package.
    pub mod k8smeta {
        tonic::include_proto!("k8smeta.v1");

        /// The types of this package and of `grpc.health.v1`, for reflection.
        pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("k8smeta");
    }
}
