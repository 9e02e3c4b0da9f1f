//! The native watches against API servers that do what real ones do on bad days.
//!
//! Time is virtual: client and server live on one thread, so hours pass at once and
//! delays can be measured.

mod access;
mod differential;
mod endings;
mod flawed;
mod life;
mod lists;
mod recovery;
mod watched;
mod ways;
