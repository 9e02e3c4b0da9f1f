//! Metadata of Kubernetes objects for the metrics, logs and flows of other programs.
//!
//! Absent here: watches, sockets, clocks.

pub mod go_regexp;
