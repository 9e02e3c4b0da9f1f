//! What several test modules need.

pub mod core;
pub mod native;
pub mod truth;
pub mod wire;
