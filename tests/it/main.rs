//! All integration tests: one binary, one module for each part.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod legacy_load;
mod legacy_source;
mod support;
