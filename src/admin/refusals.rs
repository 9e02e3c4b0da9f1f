//! Which refusals are logged.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How many refusals are logged in [`MINUTE`]: a client that may not ask must not fill the log.
const REFUSALS_LOGGED: u64 = 10;
const MINUTE: Duration = Duration::from_secs(60);

/// Which refusals are worth a line.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<Option<Minute>>);

/// The refusals since a moment.
#[derive(Debug)]
struct Minute {
    since: Instant,
    refused: u64,
}

impl Refusals {
    /// Counts one. `None`: it gets no line; else how many before it got none.
    pub(super) fn line(&self, now: Instant) -> Option<u64> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match held.as_mut() {
            Some(minute) if now.saturating_duration_since(minute.since) < MINUTE => {
                minute.refused += 1;
                (minute.refused <= REFUSALS_LOGGED).then_some(0)
            }
            before => {
                let refused = before.map_or(0, |minute| minute.refused);
                *held = Some(Minute {
                    since: now,
                    refused: 1,
                });
                Some(refused.saturating_sub(REFUSALS_LOGGED))
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "any moment will do")]
mod tests {
    use super::*;

    #[test]
    fn ten_refusals_a_minute_are_logged_and_the_others_counted() {
        let (refusals, start) = (Refusals::default(), Instant::now());
        let at = |seconds| refusals.line(start + Duration::from_secs(seconds));
        let lines: Vec<_> = (0..25).filter_map(at).collect();
        assert_eq!(lines, [0; 10]);
        assert_eq!(at(59), None);
        assert_eq!(at(60), Some(16));
        assert_eq!(at(61), Some(0));
        assert_eq!(at(200), Some(0), "none was left out");
    }
}
