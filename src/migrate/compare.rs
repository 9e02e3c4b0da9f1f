//! Compares what two feeds know, all the time: which pods differ, in what, since when, and the
//! digests of both.
//!
//! The owner of the feeds calls [`Comparison::refresh`] for each pod that an event of either may
//! have changed, with what both know of it now; it may be called once too often, never once too
//! few. When one of the feeds is replaced by another one it is called for every pod of the new
//! feed, and for every pod that is left here ([`Comparison::at_or_after`]).
//!
//! Invariants: the state depends on what was seen last of each pod, in no order, and on when
//! differences began. Both digests are equal exactly if nothing differs (but for collisions of 128
//! bits). Intended differences ([`Rule`]) are set aside first, and counted. Hold and ages are times
//! during which the comparison ran: a pause adds nothing and takes nothing away. An equal pod costs
//! one entry with one hash; nothing is allocated for a pod that is as it was.
//!
//! Absent here: the feeds, and which pods an event may have changed.

mod display;
mod divergences;
#[cfg(test)]
mod memory;
mod normalize;
mod rules;
mod seen;
mod set;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

pub use divergences::Turn;
pub use rules::{Field, Rule};
pub use seen::{Acquainted, Seen};

use crate::{
    digest::{Digests, PodHash},
    feeds::SourceKind,
    matcher::{Live, PodStatus, Reannounce},
    model::{HasUid, OwnerRef, PodMeta, Seed, Slot, Uid, UidMap},
    reducer::project,
};
use divergences::{Divergences, Turns};
use normalize::{Judging, Normal, Normalized};
pub use normalize::{kept, note_container};
use set::Set;

use super::{Row, Switch};

/// One of the two feeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// The newest `Collect` stream.
    Legacy,
    /// The native watches.
    Native,
}

/// How two feeds compare.
#[derive(Debug)]
pub struct Comparison {
    /// The pods that are live in one feed at least.
    entries: UidMap<Entry>,
    divergences: Divergences,
    expected: BTreeMap<Rule, u64>,
    legacy_only: u64,
    native_only: u64,
    /// Live in both and announced differently, whether expected or not.
    changed: u64,
    legacy: Digests,
    native: Digests,
    judging: Judging,
}

/// What there is to say about a comparison in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parity {
    /// Whether the clocks run.
    pub comparing: bool,
    /// How long no divergence has counted, pauses left out. Zero while one counts.
    pub held: Duration,
    /// Divergences that have stood for the settle window.
    pub counted: u64,
    /// Divergences that have not.
    pub unsettled: u64,
    /// Both together, of each field that has any.
    pub by_field: BTreeMap<Field, u64>,
    /// By rule, how many pods differ in something that it expects.
    pub expected: BTreeMap<Rule, u64>,
}

/// A pod that is live in a feed.
#[derive(Debug)]
struct Entry {
    /// As the native feed has it if it is live there, else as the legacy feed does.
    announced: Announced,
    state: State,
    differing: Option<Box<Differing>>,
}

/// What is kept of a pod that differs.
#[derive(Debug, Default)]
struct Differing {
    /// What the legacy feed would send, if the pod is live in both.
    legacy: Option<Announced>,
    turns: Turns,
}

/// A normalised pod as last seen. It shares the data of the feed.
#[derive(Clone, Debug)]
struct Announced {
    pod: PodMeta,
    owner: Option<OwnerRef>,
    hash: PodHash,
}

/// What was made of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    legacy: PodStatus,
    native: PodStatus,
    expected: Set<Rule>,
    fields: Set<Field>,
}

impl Comparison {
    /// Nothing is known yet, and the clocks stand still. `settle`: how long a divergence
    /// must stand until it counts.
    pub fn new(settle: Duration) -> Self {
        Self {
            entries: UidMap::new(Seed::FIXED),
            divergences: Divergences::new(settle),
            expected: BTreeMap::new(),
            legacy_only: 0,
            native_only: 0,
            changed: 0,
            legacy: Digests::default(),
            native: Digests::default(),
            judging: Judging::default(),
        }
    }

    /// Of feeds that reannounce like this; with the seed of its tables.
    #[must_use]
    pub fn of(self, reannounce: Reannounce, seed: Seed) -> Self {
        Self {
            entries: UidMap::new(seed),
            judging: Judging::new(reannounce, seed),
            ..self
        }
    }

    /// Both feeds are listed, and every pod was looked at: the clocks run, if they did not.
    pub fn start(&mut self, now: Instant) {
        self.divergences.start(now);
    }

    /// One of the feeds is not what it should be: the clocks stand still. Nothing is
    /// forgotten, and nothing starts over.
    pub fn pause(&mut self, now: Instant) {
        self.divergences.pause(now);
    }

    /// Nobody looked until now: the clocks go on from here, as if they had stood still.
    pub fn skip(&mut self, now: Instant) {
        self.divergences.skip(now);
    }

    /// What both feeds know of this pod now; a live pod must have this uid.
    pub fn refresh(&mut self, uid: &Uid, legacy: Seen<'_>, native: Seen<'_>, now: Instant) {
        self.refresh_late(uid, legacy, native, Duration::ZERO, now);
    }

    /// The same of a pod that has changed a while ago, so that what differs now has differed for
    /// so `long`.
    pub fn refresh_late(
        &mut self,
        uid: &Uid,
        legacy: Seen<'_>,
        native: Seen<'_>,
        long: Duration,
        now: Instant,
    ) {
        self.divergences.settle(now);
        let known = self.entries.find(uid);
        if let Some(slot) = known
            && let Some(entry) = self.entries.get(slot)
            && entry.is_still(&legacy, &native)
        {
            return;
        }
        let standing = (legacy.standing(), native.standing());
        let normalized = self.judging.judge(legacy, native);
        match (known, normalized.pod()) {
            (None, None) => {}
            (Some(slot), None) => self.forget(slot),
            (Some(slot), Some(_)) => self.update(slot, standing, normalized, long),
            (None, Some(pod)) => {
                let slot = self.entries.find_or_insert_with(uid, || Entry::new(pod));
                self.update(slot, standing, normalized, long);
            }
        }
    }

    /// The first pod at or after this slot of those that were live in a feed when last seen.
    pub fn at_or_after(&self, slot: Slot) -> Option<(Slot, Uid)> {
        let slot = self.entries.at_or_after(slot)?;
        Some((slot, self.entries.get(slot)?.uid().clone()))
    }

    /// The first divergence at or after this one, and its pod. What an owner object does to live
    /// pods is no event of these pods, so each that differs is to be refreshed again, and in
    /// less time than it takes to count.
    pub fn differing_at_or_after(&self, turn: Turn) -> Option<(Turn, Uid)> {
        let (turn, slot) = self.divergences.at_or_after(turn)?;
        Some((turn, self.entries.get(slot)?.uid().clone()))
    }

    /// A divergence that begins now would come after all others: here.
    pub fn next_divergence(&self) -> Turn {
        self.divergences.next()
    }

    /// Whether this pod differed in something when last seen.
    pub fn differs(&self, uid: &Uid) -> bool {
        let entry = || self.entries.by_uid(uid);
        !self.divergences.is_empty() && entry().is_some_and(|entry| entry.differing.is_some())
    }

    /// How many pods were live in a feed when last seen.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Takes note of the time: divergences that have stood long enough count.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.divergences.settle(now);
    }

    /// When the next divergence begins to count.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.divergences.poll_timeout()
    }

    /// The numbers. O(1).
    pub fn parity(&mut self, now: Instant) -> Parity {
        self.divergences.settle(now);
        Parity {
            comparing: self.divergences.runs(),
            held: self.divergences.held(),
            counted: self.divergences.counted() as u64,
            unsettled: self.divergences.unsettled() as u64,
            by_field: self.divergences.by_field().clone(),
            expected: self.expected.clone(),
        }
    }

    /// The digests of a feed's live pods without intended differences: of containers main
    /// ones with an id; without pods that a rule lets be live in one feed alone.
    pub fn digests(&self, side: Side) -> &Digests {
        match side {
            Side::Legacy => &self.legacy,
            Side::Native => &self.native,
        }
    }

    /// The oldest divergences with both values, at most so many. O(`limit`).
    pub fn rows(&mut self, limit: usize, now: Instant) -> Vec<Row> {
        self.divergences.settle(now);
        let oldest = self.divergences.oldest().take(limit);
        let rows = oldest.filter_map(|(divergence, stood, counts)| {
            let entry = self.entries.get(divergence.slot)?;
            Some(display::row(
                entry,
                divergence.field,
                stood,
                counts,
                self.judging.seed(),
            ))
        });
        rows.collect()
    }

    /// What a switch to this source would send if the other one is active now, expected differences
    /// included. What kept pods spare, and what is sent once only, is not known here.
    pub fn switch(&self, to: SourceKind) -> Switch {
        let (announce, delete) = match to {
            SourceKind::Native => (self.native_only, self.legacy_only),
            SourceKind::Collect => (self.legacy_only, self.native_only),
        };
        Switch {
            announce,
            delete,
            change: self.changed,
        }
    }

    fn update(
        &mut self,
        slot: Slot,
        standing: (PodStatus, PodStatus),
        normalized: Normalized<'_>,
        long: Duration,
    ) {
        let Some(entry) = self.entries.get_mut(slot) else {
            return;
        };
        let before = entry.state;
        let state = State {
            legacy: standing.0,
            native: standing.1,
            expected: normalized.expected,
            fields: normalized.fields,
        };
        let was_live = before != State::NONE;
        let known = [was_live.then_some(&entry.announced), entry.legacy()];
        let judging = &mut self.judging;
        let mut form = |normal: Normal<'_>| Announced::new(normal, known, judging);
        let (announced, legacy) = match (normalized.native, normalized.legacy) {
            (Some(native), Some(legacy)) if !state.fields.is_empty() => {
                (form(native), Some(form(legacy)))
            }
            (Some(live), _) | (None, Some(live)) => (form(live), None),
            (None, None) => return,
        };
        let announced = std::mem::replace(&mut entry.announced, announced);
        let legacy = entry.differ(slot, state.fields, legacy, &mut self.divergences, long);
        entry.state = state;

        let [old_legacy, old_native] = before.digested(&announced, legacy.as_ref());
        let [new_legacy, new_native] = state.digested(&entry.announced, entry.legacy());
        replace(&mut self.legacy, old_legacy, new_legacy);
        replace(&mut self.native, old_native, new_native);
        self.count(before, state);
    }

    fn forget(&mut self, slot: Slot) {
        let Some(mut entry) = self.entries.remove(slot) else {
            return;
        };
        let [legacy, native] = entry.state.digested(&entry.announced, entry.legacy());
        replace(&mut self.legacy, legacy, None);
        replace(&mut self.native, native, None);
        let long = Duration::ZERO;
        entry.differ(slot, Set::EMPTY, None, &mut self.divergences, long);
        self.count(entry.state, State::NONE);
    }

    fn count(&mut self, before: State, now: State) {
        for rule in before.expected.without(now.expected).iter() {
            if let Some(count) = self.expected.get_mut(&rule) {
                *count -= 1;
                if *count == 0 {
                    self.expected.remove(&rule);
                }
            }
        }
        for rule in now.expected.without(before.expected).iter() {
            *self.expected.entry(rule).or_default() += 1;
        }
        if let Some(count) = self.counter(before) {
            *count -= 1;
        }
        if let Some(count) = self.counter(now) {
            *count += 1;
        }
    }

    /// Which of the counts of [`Self::switch`] such a pod is one of.
    fn counter(&mut self, state: State) -> Option<&mut u64> {
        match state.live() {
            (true, true) => (!state.is_equal()).then_some(&mut self.changed),
            (true, false) => Some(&mut self.legacy_only),
            (false, true) => Some(&mut self.native_only),
            (false, false) => None,
        }
    }
}

impl Entry {
    /// Of a pod of which nothing has been made yet.
    fn new(pod: &PodMeta) -> Self {
        Self {
            announced: Announced {
                pod: pod.clone(),
                owner: None,
                hash: PodHash::default(),
            },
            state: State::NONE,
            differing: None,
        }
    }

    /// What the legacy feed would send, if the pod is live in both and differs.
    fn legacy(&self) -> Option<&Announced> {
        self.differing.as_ref()?.legacy.as_ref()
    }

    /// For so `long` the pod in this slot has differed in these fields, those included that it did
    /// not differ in before, and the legacy feed has this of it. Returns what that feed had before,
    /// if it was kept.
    fn differ(
        &mut self,
        slot: Slot,
        fields: Set<Field>,
        legacy: Option<Announced>,
        divergences: &mut Divergences,
        long: Duration,
    ) -> Option<Announced> {
        if fields.is_empty() && self.differing.is_none() {
            return None;
        }
        let differing = self.differing.get_or_insert_default();
        divergences.change(slot, &mut differing.turns, fields, long);
        let before = std::mem::replace(&mut differing.legacy, legacy);
        if fields.is_empty() {
            self.differing = None;
        }
        before
    }

    /// Whether the pod was equal in both feeds and is in both what it was.
    fn is_still(&self, legacy: &Seen<'_>, native: &Seen<'_>) -> bool {
        let (Seen::Live(legacy, _), Seen::Live(native, _)) = (legacy, native) else {
            return false;
        };
        let same = |live: &Live<'_>| {
            live.pod.ptr_eq(&self.announced.pod) && live.owner == self.announced.owner.as_ref()
        };
        self.state.is_equal() && same(legacy) && same(native)
    }
}

impl HasUid for Entry {
    fn uid(&self) -> &Uid {
        &self.announced.pod.uid
    }
}

impl Announced {
    /// Hashes the pod, unless it is one of the known.
    fn new(normal: Normal<'_>, known: [Option<&Self>; 2], judging: &mut Judging) -> Self {
        let is_same =
            |known: &&Self| known.owner.as_ref() == normal.owner && known.pod == *normal.pod;
        let known = known.into_iter().flatten().find(is_same);
        let hash = known.map_or_else(
            || judging.hash(&normal.pod, normal.owner),
            |known| known.hash,
        );
        Self {
            pod: normal.pod.into_owned(),
            owner: normal.owner.cloned(),
            hash,
        }
    }

    /// The namespace as it is sent.
    fn namespace(&self) -> &[u8] {
        project::namespace(&self.pod, self.owner.as_ref())
    }
}

/// One form of a pod leaves the digests, another one joins them.
fn replace(digests: &mut Digests, old: Option<&Announced>, new: Option<&Announced>) {
    match (old, new) {
        (Some(old), Some(new)) if old.hash == new.hash => {}
        (Some(old), Some(new)) if old.namespace() == new.namespace() => {
            digests.replace(new.namespace(), old.hash, new.hash);
        }
        (old, new) => {
            if let Some(old) = old {
                digests.remove(old.namespace(), old.hash);
            }
            if let Some(new) = new {
                digests.add(new.namespace(), new.hash);
            }
        }
    }
}

impl State {
    /// Of a pod that is in no feed.
    const NONE: Self = Self {
        legacy: PodStatus::Unknown,
        native: PodStatus::Unknown,
        expected: Set::EMPTY,
        fields: Set::EMPTY,
    };

    /// Whether it is live in the legacy feed, and in the native one.
    fn live(self) -> (bool, bool) {
        let live = PodStatus::Live;
        (self.legacy == live, self.native == live)
    }

    /// Live in both, and nothing had to be set aside.
    fn is_equal(self) -> bool {
        self.live() == (true, true) && self.expected.is_empty() && self.fields.is_empty()
    }

    /// What the digest of the legacy feed has of the pod, and that of the native one.
    fn digested<'a>(
        self,
        announced: &'a Announced,
        apart: Option<&'a Announced>,
    ) -> [Option<&'a Announced>; 2] {
        let differs = !self.fields.is_empty();
        match self.live() {
            (true, true) => [Some(apart.unwrap_or(announced)), Some(announced)],
            (true, false) => [differs.then_some(announced), None],
            (false, true) => [None, differs.then_some(announced)],
            (false, false) => [None, None],
        }
    }
}
