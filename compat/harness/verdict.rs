//! Compares what came of two peers.

use k8s_relay::sim::picture::Picture;
use serde::Serialize;

use super::{
    case::{Case, Compared},
    exceptions::Exception,
    outcome::{Difference, Outcome},
    peers::Peer,
    picture,
    player::Played,
    run,
};

/// A peer with what came of it: none of a recorded one.
#[derive(Clone, Copy)]
pub struct Side<'a> {
    pub peer: &'a Peer,
    pub result: Option<&'a run::Result>,
}

/// What is to be said of two peers and a case.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
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

/// A [`Verdict`] in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    Equal,
    Exception,
    Different,
    NotRun,
}

impl Verdict {
    pub fn word(&self) -> Word {
        match self {
            Self::Equal => Word::Equal,
            Self::Exception { .. } => Word::Exception,
            Self::Different(_) => Word::Different,
            Self::NotRun { .. } => Word::NotRun,
        }
    }

    /// Compares `right` with `left`.
    pub fn of(case: &Case, exception: Option<&Exception>, left: Side, right: Side) -> Self {
        match (left.result, right.result) {
            (Some(Err(why)), _) => Self::failed(left.peer, why),
            (_, Some(Err(why))) => Self::failed(right.peer, why),
            (None, Some(Ok(played))) => against_recording(case, exception, right.peer, played),
            (Some(Ok(played)), None) => against_recording(case, exception, left.peer, played),
            (Some(Ok(one)), Some(Ok(other))) => {
                let sides = [(left.peer, one), (right.peer, other)];
                against_each_other(case, exception, sides)
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

    fn by(difference: Option<Difference>, exception: Option<&Exception>) -> Self {
        match (difference, exception) {
            (Some(difference), _) => Self::Different(difference),
            (None, Some(exception)) => Self::Exception {
                decision: exception.decision.clone(),
                reason: exception.reason.trim().to_owned(),
            },
            (None, None) => Self::Equal,
        }
    }
}

/// To the letter, and in the order of the recording.
fn against_recording(
    case: &Case,
    exception: Option<&Exception>,
    peer: &Peer,
    played: &Played,
) -> Verdict {
    let exception = exception.filter(|_| peer.exceptions && !peer.legacy);
    Verdict::by(
        recorded_difference(case, exception, peer, played),
        exception,
    )
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
    exception: Option<&Exception>,
    sides: [(&Peer, &Played); 2],
) -> Verdict {
    let [(left, one), (right, other)] = sides;
    let compared = case.compared.min(left.compared).min(right.compared);
    let Some(difference) = live_difference(compared, one, other) else {
        return Verdict::Equal;
    };
    // One of them is the legacy relay, and each does what is known of it.
    let is_known = |(peer, played): (&Peer, &Played)| {
        let exception = exception.filter(|_| peer.exceptions && !peer.legacy);
        recorded_difference(case, exception, peer, played).is_none()
    };
    let intended = case.recorded.is_some() && left.legacy != right.legacy;
    if intended && exception.is_some() && sides.into_iter().all(is_known) {
        return Verdict::by(None, exception);
    }
    Verdict::Different(explained(difference, sides.map(Some)))
}

fn live_difference(compared: Compared, one: &Played, other: &Played) -> Option<Difference> {
    let (expected, got) = (&one.outcome, &other.outcome);
    let messages = || other.sequences.difference(&one.sequences);
    let left = || pictures(&one.picture, &other.picture);
    match compared {
        Compared::Pictures => got
            .difference_but(expected, &["connections", "handshakes"])
            .or_else(left),
        Compared::Sequences => got
            .difference_but(expected, &["streams", "connections", "handshakes"])
            .or_else(messages)
            .or_else(|| got.difference_but(expected, &[]))
            .or_else(left),
    }
}

fn pictures(expected: &Picture, got: &Picture) -> Option<Difference> {
    let digest = |picture: &Picture| picture.digests().total().to_string();
    let digests = [digest(expected), digest(got)];
    if expected == got && digests[0] == digests[1] {
        return None;
    }
    let all = |_: &[u8]| true;
    let lines = [expected, got].map(|picture| picture::lines(picture, all));
    let [expected, got] = &lines;
    let difference = Difference::between("the picture at the end", expected, got);
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
