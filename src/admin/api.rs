//! The answers of `/statusz`, `/explain` and `/digest`, as data: the loop fills them, the admin
//! listener sends them as JSON, the command line reads them back and writes them for people.
//! Times are seconds.
//!
//! Absent here: how they are found out, and how they are shown.

use std::{collections::BTreeMap, time::Instant};

use serde::{Deserialize, Serialize};

pub use super::leadership::Leadership;
pub use crate::migrate::{Auto, Parity, Row, Switch};
use crate::{
    feeds::Why,
    migrate::{Command, Stage},
    reducer::{Counters, SendCounters},
    source::WatchState,
};

/// The answer to `GET /statusz`. Every list in it is bounded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// The version of the program.
    pub version: String,
    /// How long the process has run.
    pub up_seconds: f64,
    /// `--source none`: a metadata service alone. All that follows but `enrichment` is left out.
    pub alone: bool,
    /// How questions about metadata are answered, if they are.
    pub enrichment: Option<Enrichment>,
    /// Where the migration stands.
    pub stage: Stage,
    /// How long it has stood there.
    pub stage_seconds: f64,
    /// The last cutover was forced.
    pub forced: bool,
    /// Rolled back while no watcher was connected: the native watches stay active until one is.
    pub waiting_for_watcher: bool,
    /// Why no watcher has taken over yet, if so.
    #[serde(default)]
    pub waits_for: Option<String>,
    /// The steps that lead to another stage from here; those that are there already are left out.
    #[serde(default)]
    pub steps: Vec<Offer>,
    /// `--migrate auto`: what it has done so far.
    pub auto: Option<Auto>,
    /// The step that is being taken, if there is one.
    #[serde(default)]
    pub step: Option<RunningStep>,
    /// The step before, whatever came of it.
    #[serde(default)]
    pub last_step: Option<EndedStep>,
    /// Whether a restart would go on with the stage; `None` without `--state-file`.
    #[serde(default)]
    pub kept: Option<Kept>,
    /// The side of the reducer.
    pub reducer: Reducer,
    /// Nobody feeds the reducer's state: it stays as it was.
    #[serde(default)]
    pub unfed: Option<Unfed>,
    /// The newest open `Collect` stream, or the ended one whose pods are still announced.
    pub legacy: Option<Feed>,
    /// The native watches.
    pub native: Option<Feed>,
    /// In stage `native`: `Collect` streams, ended ones included, whose Infos are counted and
    /// dropped; at most 20.
    #[serde(default)]
    pub ignored_streams: Vec<Stream>,
    /// How the two compare; `None` in stages that do not compare.
    pub parity: Option<Parity>,
    /// Why pods stay announced that may be gone, if some do (D4).
    #[serde(default)]
    pub deletes_pending: Option<DeletesPending>,
    /// Synced `Collect` streams that share less than half of their pods with the active one.
    #[serde(default)]
    pub streams_disagreeing: u64,
    /// What TLS uses, for each of its users.
    #[serde(default)]
    pub certificates: Vec<Certificates>,
    /// What this replica is among others; `None` without `--ha`.
    #[serde(default)]
    pub leadership: Option<Leadership>,
}

/// What TLS uses for one purpose.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Certificates {
    /// A label: `reducer`, `collect` or `admin`.
    pub r#use: String,
    /// Why the files as they stand cannot be used, so that the certificates before are kept.
    pub unusable_files: Option<String>,
    /// The first certificates of each file, at most 16.
    pub in_use: Vec<Certificate>,
}

/// A certificate in use.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// `chain` if it is of our own chain, or `authority`.
    pub part: String,
    /// Its subject.
    pub subject: String,
    /// DNS names and URIs, of a leaf.
    pub names: Vec<String>,
    /// How long it is still valid; negative once it is over.
    pub ends_in_seconds: Option<f64>,
}

/// How questions about metadata are answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Enrichment {
    /// Where they are taken.
    pub address: String,
    /// How often profiles have been loaded: 1 for those of the start.
    pub generation: u64,
    /// How many changes of the settings file had a mistake.
    pub reload_failures: u64,
    /// Why the profiles of the settings file are not those in effect, if so.
    pub reload_error: Option<String>,
    /// The names of the profiles that are in effect.
    pub profiles: Vec<String>,
    /// What is held of each kind.
    pub stores: Vec<MetadataStore>,
    /// The documents that can be given out again.
    pub cache: Cache,
}

/// The objects of one kind, as far as they are held for questions about metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetadataStore {
    /// The key of the kind, such as `replicaset`.
    pub kind: String,
    /// What of the cluster it covers.
    pub scope: String,
    /// `PENDING`, `LISTING`, `READY`, `DEGRADED` or `STOPPED`.
    pub state: String,
    /// Why it is degraded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Objects that live.
    pub objects: u64,
    /// What they take of memory, about.
    pub bytes: u64,
    /// Deleted objects that still answer.
    pub buried: u64,
    /// How long ago the last event came, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_event_ms: Option<u64>,
    /// How long ago the API server was last heard of the kind, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_contact_ms: Option<u64>,
    /// Who uses it.
    pub users: Vec<String>,
}

/// How full the cache of documents is, and how well it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields of `/v1/status`")]
pub struct Cache {
    pub entries: u64,
    pub bytes: u64,
    pub hits: u64,
    pub misses: u64,
}

/// A step that may be asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Its command.
    pub command: String,
    /// Why it would be refused now, if it would be.
    pub blocked: Option<String>,
}

impl Offer {
    /// Of this command.
    pub fn of(command: Command, blocked: Option<String>) -> Self {
        let command = command.to_string();
        Self { command, blocked }
    }
}

/// Pods stay announced that may be gone: nobody vouches for them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DeletesPending {
    /// How many pods.
    pub pods: u64,
    /// Since when.
    pub since_seconds: f64,
    /// A word for labels: `no_stream`, `not_synced`, `does_not_fit` and so on.
    pub reason: String,
    /// Why, for people.
    pub why: String,
}

impl DeletesPending {
    /// Every word that [`Self::reason`] can be.
    pub fn reasons() -> impl Iterator<Item = &'static str> {
        Why::ALL.into_iter().map(Why::name)
    }
}

/// A step that is being taken.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunningStep {
    /// Its number, from 1 since the start of the process.
    pub number: u64,
    /// The command.
    pub command: String,
    /// Who asked for it.
    pub by: String,
    /// How long ago.
    pub seconds: f64,
    /// What it waits for.
    pub waits_for: String,
}

/// A step that was taken, or could not be.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EndedStep {
    /// Its number, from 1 since the start of the process.
    pub number: u64,
    /// The command.
    pub command: String,
    /// Who asked for it.
    pub by: String,
    /// How long ago it ended.
    pub seconds: f64,
    /// What was done; `None` if it failed, and nothing has changed.
    pub done: Option<String>,
    /// Why it failed.
    pub failed: Option<String>,
    /// Why a restart would not go on with it, although it should.
    pub not_kept: Option<String>,
    /// What it waited for to have its effect when it was done, if it did.
    #[serde(default)]
    pub waits_for: Option<String>,
}

/// What became of the stage in the state file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The file records what holds now, also over a loss of power.
    pub kept: bool,
    /// Why the last attempt to write it failed, if it did.
    pub error: Option<String>,
}

/// That nobody feeds the reducer's state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Unfed {
    /// For how long.
    pub seconds: f64,
    /// Why.
    pub why: String,
}

/// What went wrong last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LastError {
    /// In one word of a fixed list.
    pub reason: String,
    /// In one line.
    pub text: String,
    /// How long ago.
    pub seconds: f64,
}

impl Watch {
    /// A watch in this namespace, `None` for all, as it is seen now.
    pub fn of(resource: &str, namespace: Option<&str>, state: &WatchState, now: Instant) -> Self {
        let seconds = |at: Instant| now.saturating_duration_since(at).as_secs_f64();
        let failure = state.last_failure.as_ref();
        Self {
            resource: resource.to_owned(),
            namespace: namespace.map(str::to_owned),
            state: state.name().to_owned(),
            since_seconds: state.health.map(|(_, since)| seconds(since)),
            last_event_seconds: state.last_event.map(seconds),
            last_error: failure
                .map(|last| LastError::of(last.reason.label(), &last.text, last.at, now)),
        }
    }
}

impl LastError {
    /// As it is seen now.
    pub fn of(reason: &str, text: &str, at: Instant, now: Instant) -> Self {
        Self {
            reason: reason.to_owned(),
            text: text.to_owned(),
            seconds: now.saturating_duration_since(at).as_secs_f64(),
        }
    }
}

/// The side of the reducer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reducer {
    /// Whether it is connected and the handshake is sent.
    pub connected: bool,
    /// Where it is looked for, as HOST:PORT.
    #[serde(default)]
    pub address: String,
    /// How long it has been connected, or not.
    #[serde(default)]
    pub since_seconds: f64,
    /// Why the last connection ended, or the last attempt failed.
    #[serde(default)]
    pub last_error: Option<LastError>,
    /// Attempts that failed since the last connection.
    #[serde(default)]
    pub failures: u64,
    /// When the next attempt is; `None` while one is under way, or it is connected.
    #[serde(default)]
    pub next_attempt_seconds: Option<f64>,
    /// The number of the present epoch of the announcements.
    pub epoch: u64,
    /// Pods sent on the present connection.
    pub pods: u64,
    /// Different containers sent on the present connection.
    pub containers: u64,
    /// Whether the reducer is up to date: nothing is queued or left to announce.
    pub settled: bool,
    /// Bytes that wait to be sent.
    pub queued_bytes: u64,
    /// How many may wait; above that the relay does without and sends everything again later.
    #[serde(default)]
    pub queue_limit_bytes: u64,
    /// How often everything had to be sent again, by the reason.
    #[serde(default)]
    pub full_resends: BTreeMap<String, u64>,
    /// What was sent and what happened since the start.
    pub totals: Totals,
}

/// What was sent to the reducer on all connections, and what became of them, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Of the connections.
    #[serde(flatten)]
    pub link: Counters,
    /// Of the messages.
    #[serde(flatten)]
    pub sent: SendCounters,
}

/// One feed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Feed {
    /// Its number.
    pub generation: u64,
    /// Whether it is the active one.
    pub active: bool,
    /// Its source still speaks.
    pub open: bool,
    /// Whether its first lists are complete.
    pub listed: bool,
    /// How long it has been open.
    pub since_seconds: f64,
    /// How long ago its last event was; `None`: none yet.
    pub last_event_seconds: Option<f64>,
    /// Pods known, live or not.
    pub pods: u64,
    /// Live pods.
    pub live: u64,
    /// Pods that wait for their ReplicaSet or Job.
    pub waiting: u64,
    /// ReplicaSets and Jobs.
    pub owners: u64,
    /// `Collect` streams that are open, or watches that run.
    pub sources: u64,
    /// Of those, how many are not well.
    #[serde(rename = "unwell")]
    pub unhealthy: u64,
    /// Watches that are refused what they were allowed before: what they have reported is kept, and
    /// grows old.
    #[serde(default)]
    pub revoked: u64,
    /// Pods announced so far under their direct owner because they had waited long enough.
    pub given_up: u64,
    /// How many objects its stores hold, by kind: `pods`, `replica_sets`, `jobs`, and with native
    /// watches each further kind that is watched.
    pub stored: BTreeMap<String, u64>,
    /// Each `Collect` stream, ended ones included; at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub streams: Vec<Stream>,
    /// Each native watch; at most 96.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub watches: Vec<Watch>,
}

/// One `Collect` stream.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stream {
    /// Its number, from 1 since the start of the process.
    pub stream: u64,
    /// Where the watcher is.
    pub peer: Option<String>,
    /// `active`, `standby`, `shadow`, `ignored` or `ended`.
    pub role: String,
    /// It has not ended.
    pub open: bool,
    /// Its first lists are complete.
    pub synced: bool,
    /// How long it has been open, or ended.
    pub since_seconds: f64,
    /// How long ago its last Info came.
    pub last_event_seconds: Option<f64>,
    /// Infos so far.
    pub infos: u64,
}

/// One native watch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Watch {
    /// `pods`, `replicasets`, `jobs`, or a further resource that is watched.
    pub resource: String,
    /// Where; `None`: in all namespaces.
    pub namespace: Option<String>,
    /// `starting`, `healthy`, `failing`, `not allowed`, or `refused` what it was allowed before.
    pub state: String,
    /// Since when; `None` while it starts.
    pub since_seconds: Option<f64>,
    /// How long ago its last event came.
    pub last_event_seconds: Option<f64>,
    /// How its last request failed, if one has.
    pub last_error: Option<LastError>,
}

/// The answer to `GET /digest`: what one feed has live, in a number for each namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FeedDigest {
    /// `legacy` or `native`.
    pub feed: String,
    /// The number of the feed.
    pub generation: u64,
    /// Whether it is the active one.
    pub active: bool,
    /// Nothing came in while it was counted.
    pub exact: bool,
    /// Of all its live pods; `k8s-relay reducer --state` shows the same for what was sent.
    pub total: String,
    /// Of each namespace.
    pub namespaces: BTreeMap<String, String>,
}

/// The answer to `GET /explain`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Findings {
    /// The pods: one, or all that have the name. At most 20.
    pub pods: Vec<Explanation>,
    /// Whether there are more of that name.
    pub more: bool,
    /// Objects that match and were dropped lately, latest first. At most 20.
    pub dropped: Vec<Dropped>,
    /// What each profile of the metadata service would add to an event about the pod, or the one
    /// that was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub profiles: Vec<Addition>,
}

/// What a profile would add to an event about a pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Addition {
    /// The profile.
    pub profile: String,
    /// What is known of the pod: `LIVE`, `DELETED`, `MISSING`, `SYNCING`, `AMBIGUOUS`, `DISABLED`
    /// or `INVALID`.
    pub state: String,
    /// Why it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What would be added.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<serde_json::Value>,
    /// What belongs to it and is not known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<MissingPart>,
}

/// An object that belongs to what is said of a pod, and is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingPart {
    /// `node`, `namespace`, `replicaset` or `job`.
    pub part: String,
    /// `not_found`, `syncing`, `forbidden` or `unreachable`.
    pub reason: String,
}

/// An object that could not be used, or a part of which could not.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Dropped {
    /// Which source dropped it: `legacy` or `native`.
    pub source: String,
    /// Its uid; the beginning of it, if it is long.
    pub uid: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Why.
    pub reason: String,
    /// How long ago.
    pub seconds: f64,
}

/// What is known of one pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The pod.
    pub uid: String,
    /// Whether the reducer knows it now, and as what.
    #[serde(rename = "told")]
    pub announced: Option<Announced>,
    /// Why it is not announced, if it is not.
    #[serde(rename = "untold")]
    pub not_announced: Option<String>,
    /// What is known of it in each feed, active one first.
    pub feeds: Vec<Known>,
}

/// What was sent of a pod on the present connection.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Announced {
    /// In which epoch it was announced.
    pub epoch: u64,
    /// Different containers sent.
    pub containers: u64,
    /// Why it stays announced although it is not live in the active feed, if so.
    #[serde(rename = "carried")]
    pub kept: Option<String>,
    /// Whether something has changed since that was not sent to the reducer (D14).
    pub outdated: bool,
}

/// What one feed knows of a pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Known {
    /// `legacy` or `native`.
    pub feed: String,
    /// The number of the feed.
    pub generation: u64,
    /// Whether this feed is the active one.
    pub active: bool,
    /// Whether the pod is live there.
    pub live: bool,
    /// If not, why: no address, waiting for which owner since when, not known.
    pub why: Option<String>,
    /// How long its ReplicaSet or Job has been missed. Of a live pod: it is announced under that
    /// because it had waited long enough.
    pub missing_seconds: Option<f64>,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: Option<String>,
    /// Its direct owner, as `ReplicaSet/web-5d4f (uid)`.
    pub direct_owner: Option<String>,
    /// Its effective owner, as far as known.
    pub effective_owner: Option<String>,
    /// The version text.
    pub version: String,
    /// Whether it shares its node's network.
    pub host_network: bool,
    /// Its containers, as `name image id`; the first 20.
    pub containers: Vec<String>,
    /// How many containers it has.
    pub container_count: u64,
}
