//! How long to wait before the next attempt. Pure.
//!
//! Law: the delay doubles with each failure in a row, from the first to two thirds of the
//! slowest; up to half of it is added by chance, so that many relays do not come at once.

use std::time::Duration;

/// Counts failures in a row.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    slowest: Duration,
    failures: u32,
}

impl Backoff {
    /// Without a failure so far. No delay is longer than `slowest`.
    pub fn new(first: Duration, slowest: Duration) -> Self {
        Self {
            first,
            slowest,
            failures: 0,
        }
    }

    /// Whether nothing has failed since the last success.
    pub fn is_fresh(&self) -> bool {
        self.failures == 0
    }

    /// One more failure. `jitter` is a number of chance, at least 0 and less than 1.
    pub fn fail(&mut self, jitter: f64) -> Duration {
        let doubled = 2_u32.saturating_pow(self.failures);
        self.failures = self.failures.saturating_add(1);
        self.spread(self.first.saturating_mul(doubled), jitter)
    }

    /// The delay after many failures, without counting one.
    pub fn slowest(&self, jitter: f64) -> Duration {
        self.spread(self.slowest, jitter)
    }

    /// A success.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    fn spread(&self, delay: Duration, jitter: f64) -> Duration {
        let longest = self.slowest.mul_f64(2.0 / 3.0);
        delay
            .min(longest)
            .mul_f64(1.0 + jitter.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backoff() -> Backoff {
        Backoff::new(Duration::from_millis(800), Duration::from_secs(30))
    }

    #[test]
    fn delays_double_from_the_first_to_the_slowest_and_a_success_starts_anew() {
        let mut delays = backoff();
        let seconds = |delay: Duration| delay.as_secs_f64();
        let row: Vec<f64> = (0..7).map(|_| seconds(delays.fail(0.0))).collect();
        assert_eq!(row, [0.8, 1.6, 3.2, 6.4, 12.8, 20.0, 20.0]);
        delays.reset();
        assert!(delays.is_fresh());
        assert_eq!(seconds(delays.fail(0.0)), 0.8);
        assert!(!delays.is_fresh());
    }

    #[test]
    fn chance_adds_up_to_a_half_and_never_exceeds_the_slowest() {
        let mut delays = backoff();
        assert_eq!(delays.fail(0.5), Duration::from_secs(1));
        for _ in 0..100 {
            assert!(delays.fail(0.999) <= Duration::from_secs(30));
        }
        assert!(delays.slowest(0.999) > Duration::from_secs(29));
        assert_eq!(delays.slowest(0.0), Duration::from_secs(20));
    }
}
