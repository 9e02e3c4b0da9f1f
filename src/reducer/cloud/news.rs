//! How the reducer's side learns what the cloud says, which may be later than its first connection.

use std::sync::Arc;

use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use super::CloudFacts;

/// What is known: nothing yet, or what the last collection came to.
pub type Known = Option<Arc<CloudFacts>>;

/// The facts, as they become known. The default knows at once that there is no cloud.
#[derive(Clone, Debug)]
pub struct CloudNews {
    known: watch::Receiver<Known>,
    /// A connection waits for the first of them until then; `None`: as long as it takes.
    until: Option<Instant>,
}

impl CloudNews {
    /// What this channel says; a connection that is wanted before it says anything waits until
    /// then, or until nobody can say anything any more.
    pub fn new(known: watch::Receiver<Known>, until: Option<Instant>) -> Self {
        Self { known, until }
    }

    /// Does this when something is known, or need not be waited for.
    pub(in crate::reducer) async fn before<T>(mut self, work: impl Future<Output = T>) -> T {
        let known = self.known.wait_for(Option::is_some);
        // Whoever collects may have ended, and the time be over: a handshake goes out all the same.
        match self.until {
            Some(until) => drop(timeout_at(until, known).await),
            None => drop(known.await),
        }
        work.await
    }

    /// What is known now.
    pub(in crate::reducer) fn now(&self) -> Arc<CloudFacts> {
        self.known.borrow().clone().unwrap_or_default()
    }
}

impl Default for CloudNews {
    fn default() -> Self {
        Self::new(watch::channel(Some(Arc::default())).1, None)
    }
}
