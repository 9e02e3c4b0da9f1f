//! The clock of the election: time since boot, suspended time included.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// The time since boot. It is never set, and goes on while the machine is suspended. Without such
/// a clock it is later than any deadline, so nobody writes.
pub fn boot() -> Duration {
    read().unwrap_or(Duration::MAX)
}

/// Whether there is such a clock.
///
/// # Errors
/// The system has none.
pub fn check() -> Result<(), nix::Error> {
    read().map(drop)
}

fn read() -> Result<Duration, nix::Error> {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from)
}
