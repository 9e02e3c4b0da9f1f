//! Time in which nobody looked, because the process or its machine stood still.

use std::time::{Duration, Instant};

/// A pause of this length between two looks is a standstill: nothing could be heard meanwhile.
pub(super) const STANDSTILL: Duration = Duration::from_secs(5);

/// Notices standstills. To be asked whenever the clock is read, several times in [`STANDSTILL`].
#[derive(Clone, Debug, Default)]
pub(super) struct Standstill {
    looked_at: Option<Instant>,
}

impl Standstill {
    /// When the clock was read last.
    pub(super) fn looked_at(&self) -> Option<Instant> {
        self.looked_at
    }

    /// The clock is read: how long nobody had looked, if that was a standstill.
    pub(super) fn look(&mut self, now: Instant) -> Option<Duration> {
        let looked_at = self.looked_at.replace(now)?;
        let passed = now.saturating_duration_since(looked_at);
        (passed >= STANDSTILL).then_some(passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_pause_between_two_looks_is_a_standstill_and_the_first_look_is_none() {
        let start = Instant::now();
        let mut standstill = Standstill::default();
        let mut look = |seconds| standstill.look(start + Duration::from_secs_f64(seconds));
        assert_eq!(look(100.0), None);
        assert_eq!(look(104.999), None);
        assert_eq!(look(109.999), Some(STANDSTILL));
        assert_eq!(look(110.0), None, "it is noted once");
        assert_eq!(look(170.0), Some(Duration::from_secs(60)));
        assert_eq!(look(165.0), None, "time does not go back");
    }
}
