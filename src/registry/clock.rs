//! The time of day, which never goes back.

use tokio::time::Instant;

use crate::enrich::object::Timestamp;

/// Where the time enters the registry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    begun: Instant,
    at: Timestamp,
}

impl Clock {
    /// From now on.
    #[expect(clippy::disallowed_methods, reason = "where time enters the registry")]
    pub(super) fn begin() -> Self {
        let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let at = Timestamp::from_millis(0).after(since_1970.unwrap_or_default());
        Self {
            begun: Instant::now(),
            at,
        }
    }

    /// The time of day.
    pub(super) fn now(&self) -> Timestamp {
        self.at.after(instant() - self.begun)
    }
}

/// The time, for durations.
#[expect(clippy::disallowed_methods, reason = "where time enters the registry")]
pub(super) fn instant() -> Instant {
    Instant::now()
}
