//! How long to wait before the next attempt. Pure: chance is an argument.
//!
//! Invariants: the delay doubles with each failure in a row, from the first up to the slowest;
//! chance spreads it ([`Jitter`]), so that many relays do not come at once; no delay is longer
//! than the slowest.

use std::time::Duration;

/// Counts failures in a row.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    slowest: Duration,
    jitter: Jitter,
    failures: u32,
}

/// How chance spreads a delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jitter {
    /// Up to half of it is added; without that no delay is longer than two thirds of the slowest.
    Above,
    /// A fifth of it, at most, is added or taken away.
    Around,
}

impl Backoff {
    /// Without a failure so far.
    pub fn new(first: Duration, slowest: Duration, jitter: Jitter) -> Self {
        Self {
            first,
            slowest,
            jitter,
            failures: 0,
        }
    }

    /// Whether nothing has failed since the last success.
    pub fn is_fresh(&self) -> bool {
        self.failures == 0
    }

    /// One more failure: the delay before the next attempt. `chance` is at least 0 and less
    /// than 1.
    pub fn fail(&mut self, chance: f64) -> Duration {
        let doubled = 2_u32.saturating_pow(self.failures);
        self.failures = self.failures.saturating_add(1);
        self.spread(self.first.saturating_mul(doubled), chance)
    }

    /// The delay after many failures, without counting one.
    pub fn slowest(&self, chance: f64) -> Duration {
        self.spread(self.slowest, chance)
    }

    /// A success.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    fn spread(&self, delay: Duration, chance: f64) -> Duration {
        let chance = chance.clamp(0.0, 1.0);
        let (longest, factor) = match self.jitter {
            Jitter::Above => (self.slowest.mul_f64(2.0 / 3.0), 1.0 + chance / 2.0),
            Jitter::Around => (self.slowest, 0.8 + 0.4 * chance),
        };
        delay.min(longest).mul_f64(factor).min(self.slowest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backoff() -> Backoff {
        Backoff::new(
            Duration::from_millis(800),
            Duration::from_secs(30),
            Jitter::Above,
        )
    }

    #[test]
    fn delays_double_from_the_first_to_the_slowest_and_a_success_starts_again() {
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

    #[test]
    fn chance_around_a_delay_takes_away_or_adds_a_fifth_and_never_exceeds_the_slowest() {
        let limits = (Duration::from_secs(1), Duration::from_secs(30));
        for (chance, expected) in [
            (0.0, [800, 1_600, 3_200, 6_400, 12_800, 24_000, 24_000]),
            (0.5, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]),
            (1.0, [1_200, 2_400, 4_800, 9_600, 19_200, 30_000, 30_000]),
        ] {
            let mut delays = Backoff::new(limits.0, limits.1, Jitter::Around);
            let row = expected.map(|_| delays.fail(chance).as_secs_f64());
            assert_eq!(row.map(|delay| (delay * 1000.0).round() as u64), expected);
        }
    }
}
