//! What the watchers sent that could not be used, and how much there was in all.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use crate::{
    net::{PlaceCounts, Seldom},
    source::RecentDrops,
};

/// Why something that a watcher sent was dropped, or was at least odd (D12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// An object without uid.
    NoUid,
    /// An object whose uid is longer than [`MAX_ID_LEN`](crate::model::MAX_ID_LEN) (D8).
    UidTooLong,
    /// An object whose owner's uid is longer than that.
    OwnerUidTooLong,
    /// A container whose id is longer than that; the rest of its pod is kept.
    ContainerIdTooLong,
    /// An Info without the payload that its type promises.
    NoPayload,
    /// An Info of event ERROR.
    ErrorEvent,
    /// An Info of an event that is not known.
    UnknownEvent,
    /// An Info of a type that is not known: it is taken for a pod's.
    UnknownType,
    /// Bytes that are no Info, text that is no UTF-8: the call ends.
    Undecodable,
    /// An Info over 4 MiB: the call ends.
    TooLarge,
}

impl Reason {
    /// Every reason there is.
    pub const ALL: [Self; 10] = [
        Self::NoUid,
        Self::UidTooLong,
        Self::OwnerUidTooLong,
        Self::ContainerIdTooLong,
        Self::NoPayload,
        Self::ErrorEvent,
        Self::UnknownEvent,
        Self::UnknownType,
        Self::Undecodable,
        Self::TooLarge,
    ];

    /// The name in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoUid => "no_uid",
            Self::UidTooLong => "uid_too_long",
            Self::OwnerUidTooLong => "owner_uid_too_long",
            Self::ContainerIdTooLong => "container_id_too_long",
            Self::NoPayload => "no_payload",
            Self::ErrorEvent => "error_event",
            Self::UnknownEvent => "unknown_event",
            Self::UnknownType => "unknown_type",
            Self::Undecodable => "undecodable",
            Self::TooLarge => "too_large",
        }
    }

    /// Whether a healthy watcher never causes it.
    pub fn is_fault(self) -> bool {
        match self {
            Self::ErrorEvent => false,
            Self::NoUid
            | Self::UidTooLong
            | Self::OwnerUidTooLong
            | Self::ContainerIdTooLong
            | Self::NoPayload
            | Self::UnknownEvent
            | Self::UnknownType
            | Self::Undecodable
            | Self::TooLarge => true,
        }
    }
}

/// How often each [`Reason`] occurred.
#[derive(Debug, Default)]
pub struct Tally([AtomicU64; Reason::ALL.len()]);

impl Tally {
    /// Counts one more; gives the count before.
    pub fn count(&self, reason: Reason) -> u64 {
        self.0
            .get(reason as usize)
            .map_or(0, |count| count.fetch_add(1, Relaxed))
    }

    /// The count of this reason.
    pub fn get(&self, reason: Reason) -> u64 {
        self.0
            .get(reason as usize)
            .map_or(0, |count| count.load(Relaxed))
    }

    /// The reasons that occurred, by name.
    pub fn snapshot(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Reason::ALL
            .into_iter()
            .map(|reason| (reason.name(), self.get(reason)))
            .filter(|(_, count)| *count > 0)
    }

    /// `no_uid=3 too_large=1`; empty if nothing occurred.
    pub fn summary(&self) -> String {
        let counts: Vec<_> = self
            .snapshot()
            .map(|(name, count)| format!("{name}={count}"))
            .collect();
        counts.join(" ")
    }
}

/// One [`Seldom`] for each [`Reason`].
#[derive(Debug, Default)]
pub(super) struct Logged([Seldom; Reason::ALL.len()]);

impl Logged {
    /// Whether a line about this reason is to be logged now.
    pub(super) fn permits(&self, reason: Reason) -> bool {
        self.0.get(reason as usize).is_some_and(Seldom::permits)
    }
}

/// What all streams of this process had in common, shared by the server and its readers.
#[derive(Debug, Default)]
pub struct Counters {
    /// Streams that were opened.
    pub opened: AtomicU64,
    /// Streams that were closed again.
    pub closed: AtomicU64,
    /// Streams that were refused because too many are open, and ones without an Info that gave
    /// way to a new one.
    pub streams: Arc<PlaceCounts>,
    /// Connections that are open, and ones that were closed at once because too many are.
    pub connections: Arc<PlaceCounts>,
    /// Infos that were read.
    pub infos: AtomicU64,
    /// Of these, how many nobody looked at because the native source alone counts.
    pub ignored: AtomicU64,
    /// What was dropped of them.
    pub dropped: Tally,
    /// When a line about each reason was logged last, for whatever stream.
    pub(super) logged: Logged,
    /// Which objects were dropped last.
    pub lost: RecentDrops,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_a_count_of_its_own() {
        let tally = Tally::default();
        for (n, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, n);
            for before in 0..=n as u64 {
                assert_eq!(tally.count(reason), before);
            }
        }
        let counts: Vec<_> = tally.snapshot().map(|(_, count)| count).collect();
        assert_eq!(counts, (1..=Reason::ALL.len() as u64).collect::<Vec<_>>());
        assert!(tally.summary().starts_with("no_uid=1 uid_too_long=2 "));
    }
}
