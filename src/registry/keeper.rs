//! What is to be done later: watches that nobody uses end, widenings that failed are tried again,
//! deleted objects are let go.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

use super::{Inner, clock};
use crate::enrich::resource::Resource;

/// Deleted objects are let go that often.
const ROUND: Duration = Duration::from_secs(5);

/// So many at once: readers wait no longer than that takes.
const AT_ONCE: usize = 32;

/// Does what is due, for as long as there is a registry.
pub(super) async fn run(inner: Weak<Inner>) {
    loop {
        let Some(wake) = inner.upgrade().map(|inner| Arc::clone(&inner.wake)) else {
            return;
        };
        let Some(next) = inner.upgrade().map(|inner| inner.do_what_is_due()) else {
            return;
        };
        tokio::select! {
            () = sleep_until(next) => {}
            () = wake.notified() => {}
        }
    }
}

impl Inner {
    /// Returns when it is to be called again.
    fn do_what_is_due(self: Arc<Self>) -> Instant {
        let now = clock::instant();
        let mut next = now + ROUND;
        let mut state = self.state();
        for resource in Resource::ALL {
            let Some(record) = state.record_mut(resource) else {
                continue;
            };
            if record.retry_at.is_some_and(|at| at <= now) {
                self.widen(record, resource);
            }
            match record.ends_at {
                Some(at) if at <= now => {
                    self.evict(&mut state, resource);
                    continue;
                }
                Some(at) => next = next.min(at),
                None => {}
            }
            if let Some(at) = record.retry_at {
                next = next.min(at);
            }
        }
        drop(state);
        let now = self.clock.now();
        for store in &self.stores {
            while store.write().index.expire_some(now, AT_ONCE) {}
        }
        next
    }
}
