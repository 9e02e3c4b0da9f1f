//! Metadata of Kubernetes objects for the metrics, logs and flows of other programs.
//!
//! An [`Enricher`] holds [profiles](profile::Profile) and answers from an
//! [`ObjectView`](view::ObjectView): what is said of an object, and events with that merged in.
//!
//! ```text
//! question ─► enricher ─► view: the object ─► join: the objects it names ─► cache ─► answer
//!                                                                            │ other inputs
//!                                                                            ▼
//!                                                                         document
//! ```
//!
//! Invariants: an answer says what the snapshots of the objects say that it was made from, and
//! a document from the cache says what a fresh one would. No question waits for a list, a watch
//! or another question. What an event has and no document says stays the same byte for byte.
//!
//! `R-18` and `D-3` anywhere in here are rules of docs/enrichment.md.
//!
//! Absent here: watches, sockets, clocks. All but [`service`] is pure.

pub mod answer;
mod cache;
pub mod cluster;
pub mod document;
mod enricher;
pub mod event;
pub mod filter;
pub mod go_regexp;
pub mod index;
mod join;
mod json;
mod merge;
pub mod node_name;
pub mod object;
pub mod plan;
pub mod profile;
pub mod quantity;
pub mod resource;
pub mod service;
pub mod view;

pub use cache::CacheUsage;
pub use enricher::{Enricher, ProfileId, Reference, Wish};
pub use join::{Missing, Part};
