//! How much may wait to be sent, for how long differences may stand, and what a pause leaves.

use std::time::Duration;

/// How full the sink may become, in bytes of [`Sink::queued`](super::Sink::queued) (D6). What is
/// not in the order `low < high <= limit` is raised until it is.
#[derive(Clone, Copy, Debug)]
pub struct Watermarks {
    /// A paused full resend goes on, and a resync that is due is sent, at or below this.
    pub low: usize,
    /// A full resend pauses at or above this; what is between here and `limit` is for changes.
    pub high: usize,
    /// At or above this nothing is announced: a resync is due.
    pub limit: usize,
}

impl Default for Watermarks {
    fn default() -> Self {
        Self {
            low: 1 << 20,
            high: 3 << 20,
            limit: 4 << 20,
        }
    }
}

impl Watermarks {
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

/// For how long a change of feed leaves differences alone (D3), and how long deleted owners count.
#[derive(Clone, Copy, Debug)]
pub struct WindowConfig {
    /// The hand-over window.
    pub handover: Duration,
    /// For how long an announced pod is kept while the new feed has it waiting.
    pub owner_wait: Duration,
    /// For how long a deleted ReplicaSet or Job of the native source resolves pods (D9).
    pub owner_retention: Duration,
}

impl Default for WindowConfig {
    fn default() -> Self {
        Self {
            handover: Duration::from_secs(10),
            owner_wait: Duration::from_secs(60),
            owner_retention: Duration::from_secs(60),
        }
    }
}

/// What [`Announcer::resume`](super::Announcer::resume) leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CatchUp {
    /// Everything wanted is announced.
    Done,
    /// There is more to send and room for it: call again soon.
    More,
    /// There is more to send: call again when the sink has drained to the low mark.
    Full,
}
