//! The recordings once more, through the other source: what each sends is put into a simulated
//! cluster, a whole relay watches that, and the reducer ends with the recording's state.
//! `compat/native.toml` says which recordings cannot be played so. See `compat/README.md`.

mod list;
mod play;
mod reducer_state;
mod script;

use std::{collections::BTreeMap, sync::Arc};

use tokio::{sync::Semaphore, task::JoinSet};

use self::{list::Lists, reducer_state::Expected, script::Script};
use crate::harness::{
    exceptions::{self, Exception, Native},
    outcome::first_difference,
    peers::Handover,
    recording,
};

/// So many relays run at once: most of the time each waits for a watch that backs off.
const AT_ONCE: usize = 8;

#[test]
fn every_recording_is_sent_natively_too_or_there_is_a_reason() {
    let lists = Lists::read();
    let all = lists.played().chain(lists.not_expressible());
    let mut times: BTreeMap<&str, u32> = BTreeMap::new();
    all.for_each(|case| *times.entry(case).or_default() += 1);
    assert!(times.values().all(|times| *times == 1), "twice: {times:?}");
    assert_eq!(
        Vec::from_iter(times.into_keys().map(str::to_owned)),
        recording::names().unwrap()
    );
    assert!(lists.every_reason_is_given());
}

#[test]
fn only_what_no_cluster_can_say_is_left_out() {
    for case in Lists::read().not_expressible() {
        let script = Script::of(&recording::read(case).unwrap());
        assert!(script.is_err(), "{case} can be played natively");
    }
}

#[test]
fn every_native_exception_has_a_reason_and_a_real_difference() {
    let exceptions = exceptions::read().unwrap();
    let natives = exceptions::read_native().unwrap();
    for (at, native) in natives.iter().enumerate() {
        let case = &native.case;
        assert!(
            Lists::read().played().any(|played| played == case),
            "{case}?"
        );
        assert!(
            natives[..at].iter().all(|n| n.case != *case),
            "{case} twice"
        );
        assert!(!native.reason.trim().is_empty(), "{case}: no reason");
        assert!(exceptions::is_a_decision(&native.decision), "{case}");
        let otherwise = expected(case, &exceptions, &[]);
        let ours = expected(case, &exceptions, &natives);
        assert_ne!(ours, otherwise, "{case}: no difference");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_recording_sent_natively_ends_in_its_reducer_state() {
    let exceptions = exceptions::read().unwrap();
    let natives = exceptions::read_native().unwrap();
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut plays = JoinSet::new();
    for case in Lists::read().played().map(str::to_owned) {
        let expected = expected(&case, &exceptions, &natives).unwrap();
        let places = Arc::clone(&places);
        plays.spawn(async move {
            let _place = places.acquire_owned().await.unwrap();
            check(&case, &expected).await
        });
    }
    let reports = plays.join_all().await;
    let mut differences: Vec<String> = reports.into_iter().flatten().collect();
    differences.sort();
    assert!(differences.is_empty(), "\n{}", differences.join("\n"));
}

/// What a reducer should know at the end: the native exception's state, or else that of what the
/// relay makes of a `Collect` stream, which is the recording's unless there is an exception.
fn expected(case: &str, exceptions: &[Exception], natives: &[Native]) -> Option<Expected> {
    if let Some(native) = natives.iter().find(|native| native.case == case) {
        return Some(Expected::of(native));
    }
    let recorded = recording::read(case).unwrap().recorded.unwrap();
    let exception = exceptions::find(exceptions, case, Handover::Legacy);
    let outcome = exception.map_or(recorded.clone(), |e| e.outcome(&recorded).unwrap());
    Expected::at_the_end_of(&outcome.output)
}

/// Plays one recording; says what differs.
async fn check(case: &str, expected: &Expected) -> Option<String> {
    let recording = recording::read(case).unwrap();
    let script = match Script::of(&recording) {
        Ok(script) => script,
        Err(why) => return Some(format!("{case} cannot be played natively: {why}")),
    };
    let got = expected.seen_in(&play::play(case, script).await);
    (got != *expected).then(|| {
        let difference = first_difference(&expected.shown(), &got.shown());
        format!(
            "{case}: {}\nthe reducer's state differs (- expected, + got){difference}",
            recording.description
        )
    })
}
