//! Where the states of two reducers differ, and since when.
//!
//! Invariants: pure, time is an argument and never goes back. A clock runs for each pod and
//! [`Field`] that is unequal; it starts when it becomes unequal and ends only when it is equal. A
//! difference counts when it has stood for the settle window: so delay that is honest is no
//! difference. While one side is not comparable nothing is judged, and afterwards the clocks of
//! what was not reported begin again.
//!
//! Absent here: why a side is comparable or not, and how a difference is shown.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use crate::{
    digest::Digest,
    model::Seed,
    sim::reducer_state::{Container, Pod, ReducerState},
    wire::Message,
};

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The relay whose answers the watcher gets.
    First,
    /// The other.
    Second,
}

/// What may differ about a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "they have the names of what they are")]
pub enum Field {
    /// Only one side knows it.
    Presence,
    Address,
    HostNetwork,
    Name,
    Namespace,
    Version,
    OwnerKind,
    OwnerName,
    OwnerUid,
    /// As a set: the order in which they were sent does not matter.
    Containers,
}

impl Field {
    const ALL: [Self; 10] = [
        Self::Presence,
        Self::Address,
        Self::HostNetwork,
        Self::Name,
        Self::Namespace,
        Self::Version,
        Self::OwnerKind,
        Self::OwnerName,
        Self::OwnerUid,
        Self::Containers,
    ];

    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Presence => "known",
            Self::Address => "address",
            Self::HostNetwork => "host network",
            Self::Name => "name",
            Self::Namespace => "namespace",
            Self::Version => "version",
            Self::OwnerKind => "owner kind",
            Self::OwnerName => "owner name",
            Self::OwnerUid => "owner uid",
            Self::Containers => "containers",
        }
    }
}

/// A difference that has appeared or vanished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The pod's uid.
    pub uid: Box<[u8]>,
    /// The pod's namespace and name, as either side knows them now; empty if none does.
    pub pod: String,
    /// What differs.
    pub field: Field,
    /// What both sides say now, the first one's first.
    pub values: [String; 2],
    /// Since when it differs, or did; always the time that has passed.
    pub stood: Duration,
    /// Whether it is there now, or gone.
    pub stands: bool,
}

/// Two reducer states, compared whenever either changes.
#[derive(Debug)]
pub struct Comparison {
    first: ReducerState,
    second: ReducerState,
    settle: Duration,
    /// Whether both sides are comparable.
    judged: bool,
    /// The clocks of each pod that is unequal or whose difference was reported.
    unequal: BTreeMap<Box<[u8]>, BTreeMap<Field, Clock>>,
    vanished: Vec<Change>,
    standing: usize,
    appeared: u64,
}

#[derive(Clone, Copy, Debug)]
struct Clock {
    since: Instant,
    reported: bool,
}

impl Comparison {
    /// Of two empty states. Nothing is judged before [`Self::resume`].
    pub fn new(settle: Duration, seed: Seed) -> Self {
        Self {
            first: ReducerState::seeded(seed),
            second: ReducerState::seeded(seed),
            settle,
            judged: false,
            unequal: BTreeMap::new(),
            vanished: Vec::new(),
            standing: 0,
            appeared: 0,
        }
    }

    /// A reducer was sent this.
    pub fn apply(&mut self, side: Side, message: &Message<'_>, now: Instant) {
        match message {
            Message::PodNewWithName(pod) => self.change(side, message, pod.uid, now),
            Message::PodNewLegacy(pod) => self.change(side, message, pod.uid, now),
            Message::PodNewLegacy2(pod) => self.change(side, message, pod.uid, now),
            Message::PodContainer(container) => self.change(side, message, container.uid, now),
            Message::PodDelete(pod) => self.change(side, message, pod.uid, now),
            Message::PodResync(_) => self.renew(side, now),
            Message::VersionInfo(_)
            | Message::Connect(_)
            | Message::ReportCpuCores(_)
            | Message::SetConfigLabel(_)
            | Message::CloudPlatform(_)
            | Message::CloudPlatformAccountInfo(_)
            | Message::SetNodeInfo(_)
            | Message::PrivateIpv4Addr(_)
            | Message::Ipv6Addr(_)
            | Message::PublicToPrivateIpv4(_)
            | Message::MetadataComplete(_)
            | Message::Heartbeat(_)
            | Message::CollectorHealth(_)
            | Message::AgentResourceUsage(_)
            | Message::LogMessage(_)
            | Message::HealthCheck(_)
            | Message::PodContainerLegacy(_) => {}
        }
    }

    /// A reducer forgets all it was sent: a new connection, or `pod_resync`.
    pub fn renew(&mut self, side: Side, now: Instant) {
        let reducer_states = [&self.first, &self.second];
        let pods = reducer_states.into_iter().flat_map(ReducerState::sorted);
        let touched: BTreeSet<Box<[u8]>> = pods.map(|(uid, _)| uid.into()).collect();
        self.side(side).forget();
        for uid in touched {
            self.recheck(&uid, now);
        }
    }

    /// One side is not comparable from now on.
    pub fn pause(&mut self) {
        self.judged = false;
    }

    /// Both sides are comparable from now on.
    pub fn resume(&mut self, now: Instant) {
        if self.judged {
            return;
        }
        self.judged = true;
        let clocks = self.unequal.values_mut().flat_map(BTreeMap::values_mut);
        for clock in clocks.filter(|clock| !clock.reported) {
            clock.since = now;
        }
    }

    /// Whether both sides are comparable.
    pub fn is_judged(&self) -> bool {
        self.judged
    }

    /// What has changed since the last call: what vanished, then what has stood for the settle
    /// window by now. At most `limit` changes of each kind are given, the others only counted.
    pub fn changes(&mut self, now: Instant, limit: usize) -> Vec<Change> {
        let mut changes = std::mem::take(&mut self.vanished);
        changes.truncate(limit);
        if !self.judged {
            return changes;
        }
        let (mut appeared, settle) = (Vec::new(), self.settle);
        for (uid, clocks) in &mut self.unequal {
            for (field, clock) in clocks {
                let stood = now.saturating_duration_since(clock.since);
                if clock.reported || stood < settle {
                    continue;
                }
                clock.reported = true;
                self.standing += 1;
                self.appeared += 1;
                if appeared.len() < limit {
                    appeared.push((uid.clone(), *field, stood));
                }
            }
        }
        changes.extend(
            appeared
                .into_iter()
                .map(|(uid, field, stood)| self.describe(uid, field, stood, true)),
        );
        changes
    }

    /// Differences that were reported and still stand.
    pub fn standing(&self) -> usize {
        self.standing
    }

    /// Differences that ever stood for the settle window.
    pub fn appeared(&self) -> u64 {
        self.appeared
    }

    /// Pods that are unequal at this moment, for however short a time.
    pub fn unequal(&self) -> usize {
        self.unequal.len()
    }

    /// The digest of each state, computed at each call.
    pub fn digests(&self) -> [Digest; 2] {
        [&self.first, &self.second].map(|reducer_state| reducer_state.digests().total())
    }

    fn change(&mut self, side: Side, message: &Message<'_>, uid: &[u8], now: Instant) {
        self.side(side).apply(message);
        self.recheck(uid, now);
    }

    /// Starts and ends the clocks of a pod.
    fn recheck(&mut self, uid: &[u8], now: Instant) {
        let pods = [&self.first, &self.second].map(|reducer_state| reducer_state.pod(uid));
        if pods == [None, None] || pods[0] == pods[1] {
            if !self.unequal.is_empty()
                && let Some(clocks) = self.unequal.remove(uid)
            {
                for (field, clock) in clocks {
                    self.ended(uid, field, clock, now);
                }
            }
            return;
        }
        let mut clocks = self.unequal.remove(uid).unwrap_or_default();
        for field in Field::ALL {
            if differs(field, pods) {
                let clock = Clock {
                    since: now,
                    reported: false,
                };
                clocks.entry(field).or_insert(clock);
            }
        }
        let ended: Vec<_> = clocks
            .extract_if(.., |field, _| !differs(*field, pods))
            .collect();
        if !clocks.is_empty() {
            self.unequal.insert(uid.into(), clocks);
        }
        for (field, clock) in ended {
            self.ended(uid, field, clock, now);
        }
    }

    fn ended(&mut self, uid: &[u8], field: Field, clock: Clock, now: Instant) {
        if clock.reported {
            self.standing -= 1;
            let stood = now.saturating_duration_since(clock.since);
            let change = self.describe(uid.into(), field, stood, false);
            // A late call gets the first ones only.
            if self.vanished.len() < MAX_VANISHED {
                self.vanished.push(change);
            }
        }
    }

    fn describe(&self, uid: Box<[u8]>, field: Field, stood: Duration, stands: bool) -> Change {
        let pods = [&self.first, &self.second].map(|reducer_state| reducer_state.pod(&uid));
        let pod = pods.into_iter().flatten().next();
        Change {
            pod: pod.map_or_else(String::new, |pod| {
                format!("{}/{}", lossy(pod.ns()), lossy(pod.pod_name()))
            }),
            field,
            values: pods.map(|pod| value(field, pod)),
            stood,
            stands,
            uid,
        }
    }

    fn side(&mut self, side: Side) -> &mut ReducerState {
        match side {
            Side::First => &mut self.first,
            Side::Second => &mut self.second,
        }
    }
}

/// How many vanished differences wait to be asked for.
const MAX_VANISHED: usize = 10_000;

fn differs(field: Field, pods: [Option<&Pod>; 2]) -> bool {
    let [Some(a), Some(b)] = pods else {
        let [a, b] = pods.map(|pod| pod.is_some());
        return field == Field::Presence && a != b;
    };
    match field {
        Field::Presence => false,
        Field::Address => a.ip != b.ip,
        Field::HostNetwork => a.is_host_network != b.is_host_network,
        Field::Name => a.pod_name() != b.pod_name(),
        Field::Namespace => a.ns() != b.ns(),
        Field::Version => a.version() != b.version(),
        Field::OwnerKind => a.owner_kind != b.owner_kind,
        Field::OwnerName => a.owner_name() != b.owner_name(),
        Field::OwnerUid => a.owner_uid() != b.owner_uid(),
        Field::Containers => a.containers() != b.containers() && containers(a) != containers(b),
    }
}

fn value(field: Field, pod: Option<&Pod>) -> String {
    let Some(pod) = pod else {
        return "no".to_owned();
    };
    match field {
        Field::Presence => "yes".to_owned(),
        Field::Address => pod.ip.to_string(),
        Field::HostNetwork => pod.is_host_network.to_string(),
        Field::Name => lossy(pod.pod_name()),
        Field::Namespace => lossy(pod.ns()),
        Field::Version => lossy(pod.version()),
        Field::OwnerKind => pod.owner_kind.to_string(),
        Field::OwnerName => lossy(pod.owner_name()),
        Field::OwnerUid => lossy(pod.owner_uid()),
        Field::Containers => {
            let each = containers(pod).into_iter();
            let each = each.map(|[id, name, image]| format!("{name}={image} {id}"));
            format!("[{}]", each.collect::<Vec<_>>().join(", "))
        }
    }
}

fn containers(pod: &Pod) -> BTreeSet<[String; 3]> {
    let parts = |known: &Container| [known.received_id(), known.name(), known.image()].map(lossy);
    pod.containers().iter().map(parts).collect()
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests;
