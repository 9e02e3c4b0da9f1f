//! How often everything had to be sent again, and why.

/// Why everything is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResendReason {
    /// A connection was established: the reducer knows nothing.
    Connection,
    /// A change found the buffer full, so that the difference was not known (D6).
    BufferFull,
    /// A list has ended, under `--relist-resync`.
    List,
    /// Another stream is active, under `--stream-handover legacy` (D4).
    Stream,
}

impl ResendReason {
    /// Every reason there is.
    pub const ALL: [Self; 4] = [Self::Connection, Self::BufferFull, Self::List, Self::Stream];

    /// A word for labels.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::BufferFull => "buffer_full",
            Self::List => "list",
            Self::Stream => "stream",
        }
    }
}

/// How often each [`ResendReason`] occurred.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resends([u64; ResendReason::ALL.len()]);

impl Resends {
    pub(super) fn count(&mut self, reason: ResendReason) {
        if let Some(count) = self.0.get_mut(reason as usize) {
            *count += 1;
        }
    }

    /// How often it occurred.
    pub fn of(&self, reason: ResendReason) -> u64 {
        self.0.get(reason as usize).copied().unwrap_or_default()
    }
}
