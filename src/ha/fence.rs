//! What stands between the bytes of pods and the network: until when they may be written.
//!
//! The election sets it; the connection asks it before each write to the TCP socket. A cheap
//! handle. Nothing waits here: who moved the fence wakes the loop.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use super::clock;

/// See the module.
#[derive(Clone)]
pub struct Fence(Arc<Inner>);

struct Inner {
    clock: Box<dyn Fn() -> Duration + Send + Sync>,
    /// Nanoseconds on that clock.
    until: AtomicU64,
    quiet: AtomicBool,
    control: AtomicBool,
}

impl Default for Fence {
    /// A closed fence on the clock of the election.
    fn default() -> Self {
        Self::with_clock(clock::boot)
    }
}

impl Fence {
    /// A closed fence.
    pub fn with_clock(clock: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner {
            clock: Box::new(clock),
            until: AtomicU64::new(0),
            quiet: AtomicBool::new(false),
            control: AtomicBool::new(true),
        }))
    }

    /// Pods may be written before this time on its clock; zero closes it.
    pub fn allow_until(&self, until: Duration) {
        let nanos = u64::try_from(until.as_nanos()).unwrap_or(u64::MAX);
        self.0.until.store(nanos, SeqCst);
    }

    /// No further frame is begun; one that is half written may end while the fence is open.
    pub fn quiet(&self) {
        self.0.quiet.store(true, SeqCst);
    }

    /// Whether no further frame is begun.
    pub fn is_quiet(&self) -> bool {
        self.0.quiet.load(SeqCst)
    }

    /// Whether pods may be written now.
    pub fn is_open(&self) -> bool {
        let now = u64::try_from((self.0.clock)().as_nanos()).unwrap_or(u64::MAX);
        now < self.0.until.load(SeqCst)
    }

    /// Whether a frame of pods may be begun now.
    pub fn may_begin(&self) -> bool {
        !self.is_quiet() && self.is_open()
    }

    /// Says of what is written next whether it is of the session itself, which no fence holds up.
    pub fn set_control(&self, control: bool) {
        self.0.control.store(control, SeqCst);
    }

    /// Whether what is written next may pass.
    pub fn passes(&self) -> bool {
        self.0.control.load(SeqCst) || self.is_open()
    }
}

impl fmt::Debug for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fence")
            .field("is_open", &self.is_open())
            .field("is_quiet", &self.is_quiet())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_pass_before_the_time_and_words_of_the_session_always() {
        let time = Arc::new(AtomicU64::new(5));
        let clock = time.clone();
        let fence = Fence::with_clock(move || Duration::from_nanos(clock.load(SeqCst)));
        assert!(!fence.is_open(), "closed at first");
        for (until, control, is_open, passes) in [
            (6, false, true, true),
            (5, false, false, false),
            (5, true, false, true),
            (0, false, false, false),
        ] {
            fence.allow_until(Duration::from_nanos(until));
            fence.set_control(control);
            assert_eq!((fence.is_open(), fence.passes()), (is_open, passes));
        }
        fence.allow_until(Duration::from_nanos(6));
        fence.quiet();
        assert!(fence.is_open() && !fence.may_begin());
        time.store(6, SeqCst);
        assert!(!fence.is_open());
    }

    #[test]
    fn the_clock_of_the_election_is_there_and_goes_on() {
        assert_eq!(clock::check(), Ok(()));
        let fence = Fence::default();
        let now = clock::boot();
        assert!(now > Duration::ZERO && clock::boot() >= now);
        fence.allow_until(now);
        assert!(!fence.is_open());
        fence.allow_until(now + Duration::from_secs(3600));
        assert!(fence.is_open());
    }
}
