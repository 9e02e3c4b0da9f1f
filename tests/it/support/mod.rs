//! What tests of several modules share.

pub mod api;
pub mod certs;
pub mod collect;
pub mod core;
pub mod expected_state;
pub mod gate;
pub mod history;
pub mod holds;
pub mod lists;
pub mod native;
pub mod peer;
pub mod reducer;
pub mod relay;
pub mod wire;
pub mod wired;

use std::{future::Future, time::Duration};

/// How long a test waits for what must happen before it fails: never reached when all is
/// well, and long enough for a machine that does much else.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Awaits what must happen.
///
/// # Panics
/// It did not happen within [`PATIENCE`]; `what` is in the message.
pub async fn must<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("waited in vain: {what}"))
}
