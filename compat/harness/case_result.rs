//! Compares what came of two peers.

use k8s_relay::sim::reducer_state::ReducerState;
use serde::Serialize;

use super::{
    case::{Case, Compared},
    exceptions::{self, Exception, Exceptions, Written},
    outcome::{Difference, Outcome},
    peers::Peer,
    player::Played,
    reducer_state, run,
};

/// A peer with what came of it: none of a recorded one.
#[derive(Clone, Copy)]
pub struct Side<'a> {
    pub peer: &'a Peer,
    pub result: Option<&'a run::Result>,
}

/// What is to be said of two peers and a case.
#[derive(Clone, Debug, PartialEq)]
pub enum CaseResult {
    Equal,
    /// They differ as `exceptions.toml` says.
    Exception {
        decision: String,
        reason: String,
    },
    Different(Difference),
    NotRun {
        why: String,
    },
}

/// A [`CaseResult`] in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    Equal,
    Exception,
    Different,
    NotRun,
}

impl CaseResult {
    pub fn word(&self) -> Word {
        match self {
            Self::Equal => Word::Equal,
            Self::Exception { .. } => Word::Exception,
            Self::Different(_) => Word::Different,
            Self::NotRun { .. } => Word::NotRun,
        }
    }

    /// Compares `right` with `left`.
    pub fn of(case: &Case, exceptions: &Exceptions, left: Side, right: Side) -> Self {
        match (left.result, right.result) {
            (Some(Err(why)), _) => Self::failed(left.peer, why),
            (_, Some(Err(why))) => Self::failed(right.peer, why),
            (None, Some(Ok(played))) => against_recording(case, exceptions, right.peer, played),
            (Some(Ok(played)), None) => against_recording(case, exceptions, left.peer, played),
            (Some(Ok(one)), Some(Ok(other))) => {
                let sides = [(left.peer, one), (right.peer, other)];
                against_each_other(case, exceptions, sides)
            }
            (None, None) => Self::NotRun {
                why: "two recorded peers".to_owned(),
            },
        }
    }

    fn failed(peer: &Peer, why: &str) -> Self {
        Self::Different(Difference {
            what: format!("{} failed", peer.name),
            expected: None,
            got: Some(why.to_owned()),
            report: format!("{}: {why}\n", peer.name),
        })
    }

    fn intended(decision: &str, reason: &str) -> Self {
        Self::Exception {
            decision: decision.to_owned(),
            reason: reason.trim().to_owned(),
        }
    }
}

/// To the letter, and in the order of the recording.
fn against_recording(
    case: &Case,
    exceptions: &Exceptions,
    peer: &Peer,
    played: &Played,
) -> CaseResult {
    let exception = exceptions::of_peer(&exceptions.recorded, &case.name, peer);
    match (
        recorded_difference(case, exception, peer, played),
        exception,
    ) {
        (Some(difference), _) => CaseResult::Different(difference),
        (None, Some(exception)) => CaseResult::intended(&exception.decision, &exception.reason),
        (None, None) => CaseResult::Equal,
    }
}

fn recorded_difference(
    case: &Case,
    exception: Option<&Exception>,
    peer: &Peer,
    played: &Played,
) -> Option<Difference> {
    let recorded = case.recorded.as_ref()?;
    let expected = match exception.map(|exception| exception.outcome(recorded)) {
        None => recorded.clone(),
        Some(Ok(expected)) => expected,
        Some(Err(error)) => {
            return Some(Difference {
                what: "the exception".to_owned(),
                expected: None,
                got: Some(error.to_string()),
                report: format!("exceptions.toml: {error}\n"),
            });
        }
    };
    let only_counts = case.has_fast_client() && exception.is_none();
    let shown = |outcome: Outcome| match only_counts {
        true => outcome.only_counts(),
        false => outcome,
    };
    let difference = shown(played.outcome.clone()).difference(&shown(expected));
    difference.map(|difference| explained(difference, [None, Some((peer, played))]))
}

fn against_each_other(
    case: &Case,
    exceptions: &Exceptions,
    sides: [(&Peer, &Played); 2],
) -> CaseResult {
    let [(left, one), (right, other)] = sides;
    let compared = case.compared.min(left.compared).min(right.compared);
    let difference = live_difference(compared, one, other);
    // One of them is the legacy relay, and each does what is known of it.
    if left.legacy != right.legacy && compared == Compared::Sequences {
        let known = |(peer, _): &(&Peer, &Played)| {
            exceptions::written_of_peer(&exceptions.written, &case.name, peer)
        };
        if let Some(written) = sides.iter().find_map(known) {
            return by_written(written, difference.is_none(), sides);
        }
    }
    let Some(difference) = difference else {
        return CaseResult::Equal;
    };
    let recorded = |peer: &Peer| exceptions::of_peer(&exceptions.recorded, &case.name, peer);
    let is_known = |(peer, played): (&Peer, &Played)| {
        recorded_difference(case, recorded(peer), peer, played).is_none()
    };
    let intended = case.recorded.is_some() && left.legacy != right.legacy;
    match recorded(left).or_else(|| recorded(right)) {
        Some(exception) if intended && sides.into_iter().all(is_known) => {
            CaseResult::intended(&exception.decision, &exception.reason)
        }
        Some(_) | None => CaseResult::Different(explained(difference, sides.map(Some))),
    }
}

/// Both must do what the exception says of them, and nothing else may differ.
fn by_written(written: &Written, equal: bool, sides: [(&Peer, &Played); 2]) -> CaseResult {
    if equal {
        let what = "the exception makes no difference";
        return CaseResult::Different(Difference {
            what: what.to_owned(),
            expected: None,
            got: None,
            report: format!("exceptions.toml: {}: {what}\n", written.case),
        });
    }
    let [(_, one), (_, other)] = sides;
    let otherwise = sides.into_iter().find_map(|(peer, played)| {
        let sent = if peer.legacy {
            &written.legacy
        } else {
            &written.ours
        };
        let difference = sent.difference(&played.sequences, &played.outcome.streams)?;
        Some(Difference {
            report: format!(
                "not as exceptions.toml says of {}: {}",
                peer.name, difference.report
            ),
            ..difference
        })
    });
    // That depends on neither's way to hand over or to re-send.
    let rest = || other.outcome.difference_but(&one.outcome, &["streams"]);
    match otherwise.or_else(rest) {
        Some(difference) => CaseResult::Different(explained(difference, sides.map(Some))),
        None => CaseResult::intended(&written.decision, &written.reason),
    }
}

fn live_difference(compared: Compared, one: &Played, other: &Played) -> Option<Difference> {
    let (expected, got) = (&one.outcome, &other.outcome);
    let messages = || other.sequences.difference(&one.sequences);
    let left = || reducer_states(&one.reducer_state, &other.reducer_state);
    match compared {
        Compared::ReducerStates => got
            .difference_but(expected, &["connections", "handshakes"])
            .or_else(left),
        Compared::Sequences => got
            .difference_but(expected, &["streams", "connections", "handshakes"])
            .or_else(messages)
            .or_else(|| got.difference_but(expected, &[]))
            .or_else(left),
    }
}

fn reducer_states(expected: &ReducerState, got: &ReducerState) -> Option<Difference> {
    let digest = |reducer_state: &ReducerState| reducer_state.digests().total().to_string();
    let digests = [digest(expected), digest(got)];
    if expected == got && digests[0] == digests[1] {
        return None;
    }
    let all = |_: &[u8]| true;
    let lines = [expected, got].map(|reducer_state| reducer_state::lines(reducer_state, all));
    let [expected, got] = &lines;
    let difference = Difference::between("the reducer's state at the end", expected, got);
    let [expected, got] = digests.map(|digest| vec![digest]);
    difference.or_else(|| Difference::between("the digest at the end", &expected, &got))
}

/// How a relay ended that should not have, and the end of its log.
fn explained(mut difference: Difference, sides: [Option<(&Peer, &Played)>; 2]) -> Difference {
    for (peer, played) in sides.into_iter().flatten() {
        if let Some(end) = &played.end {
            difference.report += &format!("{} {end}\n", peer.name);
            if difference.what == "alive" {
                difference.got = Some(format!("{} {end}", peer.name));
            }
        }
        if !played.log.is_empty() {
            difference.report += &format!("the log of {}:\n{}", peer.name, played.log);
        }
    }
    difference
}
