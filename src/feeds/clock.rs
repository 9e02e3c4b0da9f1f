//! Time in which the loop turned. What a stopped process did not hear is nobody's silence.

use std::time::{Duration, Instant};

/// The longest step: a late one counts as this much.
const STEP: Duration = Duration::from_secs(1);

/// Counts time in steps while somebody waits for it. Otherwise it stands still.
#[derive(Debug, Default)]
pub(super) struct Clock {
    counted: Duration,
    /// When it was read last; `None` while it stands still.
    read_at: Option<Instant>,
}

impl Clock {
    /// What it shows now.
    pub(super) fn read(&mut self, now: Instant) -> Duration {
        if let Some(before) = &mut self.read_at {
            let step = now.saturating_duration_since(*before).min(STEP);
            self.counted += step;
            *before = now;
        }
        self.counted
    }

    /// What it showed when it was read last.
    pub(super) fn counted(&self) -> Duration {
        self.counted
    }

    /// Whether it goes on from now.
    pub(super) fn run(&mut self, runs: bool, now: Instant) {
        match runs {
            true => self.read_at = self.read_at.or(Some(now)),
            false => self.read_at = None,
        }
    }

    /// When it is to be read next.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        Some(self.read_at? + STEP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_step_counts_as_one_second() {
        #[allow(clippy::disallowed_methods)]
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut clock = Clock::default();
        assert_eq!(clock.read(at(500)), Duration::ZERO);
        assert_eq!(clock.poll_timeout(), None);
        clock.run(true, at(500));
        assert_eq!(clock.poll_timeout(), Some(at(1_500)));
        assert_eq!(clock.read(at(900)), Duration::from_millis(400));
        assert_eq!(clock.read(at(1_900)), Duration::from_millis(1_400));
        // Thirty seconds of a stopped process.
        assert_eq!(clock.read(at(31_900)), Duration::from_millis(2_400));
        clock.run(true, at(32_000));
        assert_eq!(clock.read(at(32_100)), Duration::from_millis(2_600));
        clock.run(false, at(32_100));
        assert_eq!(clock.read(at(40_000)), Duration::from_millis(2_600));
    }
}
