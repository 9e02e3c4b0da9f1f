//! How much may wait to be sent, for how long differences may stand, and what a pause leaves.

use std::time::Duration;

/// How full the sink may become, in bytes of [`Sink::queued`](super::Sink::queued) (D6). What is not in the
/// order `low < high <= limit` is raised until it is.
#[derive(Clone, Copy, Debug)]
pub struct Marks {
    /// A paused replay goes on, and an owed resync is sent, at or below this.
    pub low: usize,
    /// A replay pauses at or above this; what is between here and `limit` is for changes.
    pub high: usize,
    /// At or above this nothing is told: a resync is owed.
    pub limit: usize,
}

impl Default for Marks {
    fn default() -> Self {
        Self {
            low: 1 << 20,
            high: 3 << 20,
            limit: 4 << 20,
        }
    }
}

impl Marks {
    pub(super) fn in_order(self) -> Self {
        let high = self.high.max(self.low.saturating_add(1));
        let limit = self.limit.max(high);
        Self {
            high,
            limit,
            ..self
        }
    }
}

/// For how long a change of feed leaves differences alone (D3), and what our own watches told.
#[derive(Clone, Copy, Debug)]
pub struct Windows {
    /// The settle window.
    pub settle: Duration,
    /// For how long a told pod is carried while the new feed has it waiting.
    pub owner_wait: Duration,
    /// For how long a deleted ReplicaSet or Job of our own watches resolves pods (D9).
    pub owner_retention: Duration,
}

impl Default for Windows {
    fn default() -> Self {
        Self {
            settle: Duration::from_secs(10),
            owner_wait: Duration::from_secs(60),
            owner_retention: Duration::from_secs(60),
        }
    }
}

/// What [`Telling::resume`](super::Telling::resume) leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// Everything wanted is told.
    Done,
    /// There is more to tell and room for it: call again soon.
    More,
    /// There is more to tell: call again when the sink has drained to the low mark.
    Full,
}
