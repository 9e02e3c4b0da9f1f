//! What the surfaces count, for metrics.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use crate::{
    enrich::{
        Missing, Part,
        answer::{Answer, State},
        resource::Metricset,
        view::Trouble,
    },
    net::PlaceCounts,
};

/// What clients asked for, and which limits they met.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections.
    pub connections: Arc<PlaceCounts>,
    /// Requests with a body.
    pub streams: Arc<PlaceCounts>,
    /// How often each limit was met.
    limits: [AtomicU64; LimitHit::ALL.len()],
    /// Answers, by question, state and reason.
    answers: [[[AtomicU64; REASONS.len()]; STATES.len()]; QUESTIONS],
    /// Parts that answers lacked, by question, part and reason.
    partial: [[[AtomicU64; MISSING.len()]; PARTS.len()]; QUESTIONS],
}

/// A limit that a client can meet. Full places of connections and streams are counted there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitHit {
    /// An event is too long or nests too deeply.
    Event,
    /// A message or array is too long, or has too many items.
    Batch,
    /// No more batches of a stream are read before some are answered.
    Unanswered,
    /// A longer wait was asked for than there is.
    Wait,
    /// Too many events and lookups wait already.
    Waiting,
    /// A client took nothing for too long.
    Stalled,
}

impl LimitHit {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Event,
        Self::Batch,
        Self::Unanswered,
        Self::Wait,
        Self::Waiting,
        Self::Stalled,
    ];

    /// The name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Batch => "batch",
            Self::Unanswered => "unanswered",
            Self::Wait => "wait",
            Self::Waiting => "waiting",
            Self::Stalled => "stalled",
        }
    }
}

/// What was asked: an event of a metricset, or a lookup.
pub type Question = Option<Metricset>;

/// Each metricset, and lookups.
const QUESTIONS: usize = Metricset::ALL.len() + 1;

const STATES: [State; 7] = [
    State::Live,
    State::Deleted,
    State::Missing,
    State::Syncing,
    State::Ambiguous,
    State::Disabled,
    State::Invalid,
];

const REASONS: [Option<Trouble>; 5] = [
    None,
    Some(Trouble::Pending),
    Some(Trouble::Listing),
    Some(Trouble::Forbidden),
    Some(Trouble::Unreachable),
];

const PARTS: [Part; 4] = [Part::Node, Part::Namespace, Part::ReplicaSet, Part::Job];

const MISSING: [Missing; 4] = [
    Missing::NotFound,
    Missing::Syncing,
    Missing::Forbidden,
    Missing::Unreachable,
];

impl Counters {
    /// A client has met a limit.
    pub(super) fn hit(&self, limit: LimitHit) {
        let at = LimitHit::ALL.iter().position(|one| *one == limit);
        if let Some(count) = at.and_then(|at| self.limits.get(at)) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// A question was answered.
    pub fn answered(&self, question: Question, answer: &Answer) {
        let question = question.map_or(Metricset::ALL.len(), |metricset| metricset as usize);
        let state = STATES.iter().position(|state| *state == answer.state);
        let reason = REASONS.iter().position(|reason| *reason == answer.reason);
        let count = self.answers.get(question);
        let count = count.and_then(|of| of.get(state?)?.get(reason?));
        if let Some(count) = count {
            count.fetch_add(1, Relaxed);
        }
        for (part, why) in &answer.partial {
            let part = PARTS.iter().position(|one| one == part);
            let why = MISSING.iter().position(|one| one == why);
            let count = self.partial.get(question);
            if let Some(count) = count.and_then(|of| of.get(part?)?.get(why?)) {
                count.fetch_add(1, Relaxed);
            }
        }
    }

    /// How often each limit was met, by its name.
    pub fn limits(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = LimitHit::ALL.iter().zip(&self.limits);
        counts.map(|(limit, count)| (limit.name(), count.load(Relaxed)))
    }

    /// How many answers there were: question, state and reason (may be empty) with the number,
    /// without those that never were.
    pub fn answers(&self) -> Vec<([&'static str; 3], u64)> {
        let reason = |reason: &Option<Trouble>| reason.map_or("", Trouble::as_str);
        let rows = table(&self.answers, &STATES, &REASONS);
        rows.map(|(question, state, why, count)| ([question, state.as_str(), reason(why)], count))
            .collect()
    }

    /// How many parts answers lacked: question, part and reason with the number, without those
    /// that never were.
    pub fn partial(&self) -> Vec<([&'static str; 3], u64)> {
        let rows = table(&self.partial, &PARTS, &MISSING);
        rows.map(|(question, part, why, count)| ([question, part.as_str(), why.as_str()], count))
            .collect()
    }
}

/// The counts that are not zero, with what they are of.
fn table<'a, A, B, const N: usize, const M: usize>(
    counts: &'a [[[AtomicU64; M]; N]; QUESTIONS],
    outer: &'a [A; N],
    inner: &'a [B; M],
) -> impl Iterator<Item = (&'static str, &'a A, &'a B, u64)> {
    let questions = Metricset::ALL.iter().map(|metricset| metricset.name());
    let questions = questions.chain(["lookup"]).zip(counts);
    questions
        .flat_map(move |(question, counts)| {
            outer.iter().zip(counts).flat_map(move |(one, counts)| {
                let counts = inner.iter().zip(counts);
                counts.map(move |(other, count)| (question, one, other, count.load(Relaxed)))
            })
        })
        .filter(|(.., count)| *count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_question_state_and_reason() {
        let counters = Counters::default();
        counters.answered(None, &Answer::of(State::Live));
        let mut syncing = Answer::of(State::Syncing);
        syncing.reason = Some(Trouble::Forbidden);
        counters.answered(Some(Metricset::StateJob), &syncing);
        let mut partial = Answer::of(State::Live);
        partial.partial.push((Part::Job, Missing::Unreachable));
        counters.answered(Some(Metricset::Pod), &partial);
        counters.answered(Some(Metricset::Pod), &partial);
        assert_eq!(
            counters.answers(),
            [
                (["pod", "LIVE", ""], 2),
                (["state_job", "SYNCING", "forbidden"], 1),
                (["lookup", "LIVE", ""], 1),
            ]
        );
        assert_eq!(counters.partial(), [(["pod", "job", "unreachable"], 2)]);
    }

    #[test]
    fn each_metricset_is_counted_in_its_own_place() {
        for (at, metricset) in Metricset::ALL.into_iter().enumerate() {
            assert_eq!(metricset as usize, at, "{metricset}");
        }
    }

    #[test]
    fn each_limit_is_counted_by_its_name() {
        let counters = Counters::default();
        counters.hit(LimitHit::Waiting);
        let hit: Vec<_> = counters.limits().filter(|(_, count)| *count > 0).collect();
        assert_eq!(hit, [("waiting", 1)]);
        assert_eq!(counters.limits().count(), LimitHit::ALL.len());
    }
}
