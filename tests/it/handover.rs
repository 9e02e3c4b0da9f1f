//! Streams hand over without a gap (D4): histories, each with what the reducer receives, and what
//! holds after every history.

mod cost;
mod histories;
mod migration;
mod properties;
mod reconnects;
mod rules;
mod world;
