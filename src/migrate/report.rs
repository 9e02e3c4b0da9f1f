//! How a migration stands, as data: for people, for programs, and its [`Auto`] for the state file.
//! Times are seconds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Stage;

/// How a migration stands.
#[derive(Clone, Debug)]
pub struct Report {
    /// Where it stands.
    pub stage: Stage,
    /// Seconds that it has stood there.
    pub stage_seconds: f64,
    /// The last cutover was forced.
    pub forced: bool,
    /// Rolled back while no watcher was connected.
    pub waiting_for_watcher: bool,
    /// Why no watcher has taken over yet, if so.
    pub waits_for: Option<String>,
    /// What `--migrate auto` has done, if it is set.
    pub auto: Option<Auto>,
    /// How both feeds compare; `None` in stages that do not compare.
    pub parity: Option<Parity>,
}

/// What `--migrate auto` has done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Auto {
    /// Rollbacks of its own so far.
    pub rollbacks: u32,
    /// Suspended, because it has rolled back too often: an operator decides.
    #[serde(rename = "given_up")]
    pub suspended: bool,
    /// Suspended, because an operator has rolled back: an operator decides.
    #[serde(default)]
    pub stopped_by_operator: bool,
}

impl Auto {
    /// Whether it takes no more steps until an operator takes one.
    pub fn is_suspended(&self) -> bool {
        self.suspended || self.stopped_by_operator
    }
}

/// How the two feeds compare.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Parity {
    /// Both are listed, and every pod has been looked at.
    pub comparing: bool,
    /// Why not, if not.
    pub paused: Option<String>,
    /// How long no divergence has counted, pauses left out.
    pub held_seconds: f64,
    /// How long that must be for an operator's cutover.
    pub hold_seconds: f64,
    /// How long that must be for the autopilot's, what held before a rollback of its own included;
    /// `None`: there is none, or it is suspended.
    #[serde(default)]
    pub auto_hold_seconds: Option<f64>,
    /// A divergence counts when it has stood for so long.
    pub settle_seconds: f64,
    /// Divergences that count.
    pub divergences: u64,
    /// Divergences that have not stood long enough to count.
    pub unsettled: u64,
    /// Pods of which one feed has sent something new a moment ago that the other feed has not sent
    /// yet; they are compared when it has, or after half of `settle_seconds`, 5 s at most.
    #[serde(default)]
    pub waiting: u64,
    /// Both together, by field.
    pub by_field: BTreeMap<String, u64>,
    /// Differences on purpose, by rule (`compat/exceptions.toml`).
    #[serde(rename = "excused")]
    pub expected: BTreeMap<String, u64>,
    /// The digest of the `Collect` feed, normalised.
    pub legacy_digest: String,
    /// The digest of the native watches, normalised.
    pub native_digest: String,
    /// The oldest divergences, at most 20.
    pub rows: Vec<Row>,
    /// What a switch to the other feed would send, as far as is known without doing it.
    pub switch: Switch,
}

/// One divergence.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The pod.
    pub uid: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What differs.
    pub field: String,
    /// What the `Collect` feed says.
    pub legacy: String,
    /// What the native watches say.
    pub native: String,
    /// How long it has stood.
    pub seconds: f64,
    /// Whether it counts.
    pub counts: bool,
}

/// What a switch would send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switch {
    /// Pods that only the other feed has.
    pub announce: u64,
    /// Pods that only the active feed has; D3 may carry some for a while.
    pub delete: u64,
    /// Pods that differ in anything else.
    pub change: u64,
}
