//! Decides which pods the reducer should know, and under which owner.

mod output;

pub use output::{Epoch, Generation, Sink};
