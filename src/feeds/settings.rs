//! How the feeds are set up.

use std::time::Duration;

use clap::ValueEnum;

use crate::{
    announce::{Watermarks, WindowConfig},
    matcher::{Escalate, Reannounce},
    model::Seed,
};

/// What is sent after the connection to the reducer was lost and is back (D5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OnReconnect {
    /// Send every live pod again from memory; watchers notice nothing
    #[default]
    Replay,
    /// As the legacy relay: end all streams, forget the pods, and let the watchers list again
    ///
    /// Only if pod data was announced since the last reset. Goes with [`Handover::Legacy`] only.
    ResetWatcher,
}

/// How one stream of a legacy watcher follows another (D4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Handover {
    /// Send the difference, once the new stream is known to be complete
    ///
    /// A stream that opens is a standby; what was announced stays until a stream is trusted to
    /// know all there is.
    #[default]
    Seamless,
    /// As the legacy relay: send pod_resync, then whatever the new stream sends
    ///
    /// It is active at once, with nothing known.
    Legacy,
}

/// Which source the active feed comes from. What the other one sends is kept, and not announced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SourceKind {
    /// A `Collect` stream.
    #[default]
    Collect,
    /// The native watches.
    Native,
}

impl SourceKind {
    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Collect => Self::Native,
            Self::Native => Self::Collect,
        }
    }

    /// What its feed is called in answers.
    pub fn feed_name(self) -> &'static str {
        match self {
            Self::Collect => "legacy",
            Self::Native => "native",
        }
    }
}

/// The time limits of D4.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// [`Handover::Legacy`]: from the end of the active stream until an older one takes over.
    pub take_over: Duration,
    /// `--stream-silence`: how long nothing must have been heard before a stream is trusted, or no
    /// longer trusted, against the rules of a hand-over.
    pub silence: Duration,
    /// A stream that sent no pod is synced this long after its last Info, while nothing is
    /// announced.
    pub no_pods: Duration,
    /// How much longer than the active stream a standby must have been heard for the silence of
    /// that one to count.
    pub ahead: Duration,
    /// Deletes that are pending for so long are worth a warning.
    pub warn: Duration,
    /// Two streams that disagree for so long are worth a warning.
    pub disagree: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            take_over: Duration::from_secs(5),
            silence: Duration::from_secs(5 * 60),
            no_pods: Duration::from_secs(5 * 60),
            ahead: Duration::from_secs(10),
            warn: Duration::from_secs(5),
            disagree: Duration::from_secs(2),
        }
    }
}

/// How the core is set up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// See [`SourceKind`].
    pub active: SourceKind,
    /// See [`Handover`].
    pub handover: Handover,
    /// See [`OnReconnect`].
    pub on_reconnect: OnReconnect,
    /// See [`Watermarks`].
    pub marks: Watermarks,
    /// See [`WindowConfig`]. Its `owner_wait` is also how long pods of the native watches wait
    /// (D9), its `owner_retention` is for these alone.
    pub windows: WindowConfig,
    /// See [`Timeouts`].
    pub timeouts: Timeouts,
    /// The end of a re-list of pods sends `pod_resync` and everything, in place of the
    /// difference (D3).
    pub relist_resync: bool,
    /// See [`Escalate`]; for every feed.
    pub escalate: Escalate,
    /// See [`Reannounce`]; for every feed.
    pub reannounce: Reannounce,
    /// What the hashes of all tables depend on; nothing that is sent does.
    pub seed: Seed,
}
