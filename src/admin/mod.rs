//! The listener for people and probes (D15).
//!
//! It asks the driver's loop by [`Question`]s, each O(1) or of at most 20 rows, and reads
//! objects from the stores. It knows nothing of matchers and ledgers.

pub mod question;

pub use question::Question;
