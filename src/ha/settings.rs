//! Names and durations of the election, and which of them fit together.

use std::time::Duration;

/// What a replica must know of an election before it takes part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Who this process is: no other process has ever had this name.
    pub identity: String,
    /// How long the Lease is another's after it last changed; whole seconds, at most
    /// [`Settings::LONGEST_LEASE`].
    pub lease: Duration,
    /// Within this time after a renewal the next one should have succeeded.
    pub renew_deadline: Duration,
    /// Between the beginnings of two renewals.
    pub retry: Duration,
    /// What the end of a connection may take; the leader falls silent by so much earlier.
    pub fin_allowance: Duration,
    /// How long a silent replica keeps its connection while nobody else has the Lease.
    pub hold: Duration,
    /// How long a replica that has handed over waits for its successor.
    pub handover: Duration,
}

impl Settings {
    /// No replica has a longer lease than this; what another record claims beyond it is not
    /// waited for.
    pub const LONGEST_LEASE: Duration = Duration::from_secs(120);

    /// The default durations for a replica of this name.
    pub fn new(identity: impl Into<String>) -> Self {
        Self {
            identity: identity.into(),
            lease: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(8),
            retry: Duration::from_secs(2),
            fin_allowance: Duration::from_secs(2),
            hold: Duration::from_secs(5 * 60),
            handover: Duration::from_secs(10),
        }
    }

    /// How long a replica may write after the beginning of a renewal that succeeded.
    pub fn term(&self) -> Duration {
        (self.lease * 3 / 4).saturating_sub(self.fin_allowance)
    }

    /// How long one request to the API server may take: two attempts at least fit between a
    /// renewal and the renew deadline.
    pub fn request_limit(&self) -> Duration {
        (self.renew_deadline / 3).max(Self::SHORTEST_LIMIT)
    }

    /// Whether a leader that renews in time never falls silent.
    pub fn fits(&self) -> bool {
        self.term() >= self.renew_deadline && self.renew_deadline > self.retry
    }

    const SHORTEST_LIMIT: Duration = Duration::from_millis(250);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_fit_and_leave_time_for_three_attempts_to_renew() {
        let settings = Settings::new("a");
        assert!(settings.fits());
        assert_eq!(settings.term(), Duration::from_millis(9_250));
        assert!(settings.request_limit() * 2 + settings.retry < settings.renew_deadline);
    }

    #[test]
    fn a_term_below_the_renew_deadline_does_not_fit() {
        for (lease, renew, retry, fits) in [
            (15, 9, 2, true),
            (13, 8, 2, false), // 7.75 s
            (14, 8, 2, true),  // 8.5 s
            (2, 1, 0, false),
            (15, 2, 2, false), // never a second attempt
        ] {
            let settings = Settings {
                lease: Duration::from_secs(lease),
                renew_deadline: Duration::from_secs(renew),
                retry: Duration::from_secs(retry),
                ..Settings::new("a")
            };
            assert_eq!(settings.fits(), fits, "{lease} {renew} {retry}");
        }
    }
}
