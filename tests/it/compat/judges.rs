//! Results, from what came of two peers.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::harness::{
    case_result::{CaseResult, Side, Word},
    exceptions::{self, Exceptions},
    outcome::new_connection,
    peers::Peers,
    player::Played,
    recording, reducer_state, run,
    sequences::Sequences,
};

#[test]
fn a_recording_is_compared_to_the_letter() {
    assert_eq!(judged("name_300_bytes", |_| ()), CaseResult::Equal);
    let CaseResult::Different(difference) = judged("name_300_bytes", |played| {
        played.outcome.streams[0] = "A: relay, CANCELLED".into();
    }) else {
        panic!("not different");
    };
    assert_eq!(difference.what, "streams");
    assert_eq!(difference.got.as_deref(), Some("A: relay, CANCELLED"));
}

#[test]
fn what_an_exception_says_is_the_only_difference_it_allows() {
    let exceptions = exceptions::read().unwrap();
    let exception = exceptions
        .iter()
        .find(|e| e.case == "reducer_down_two_streams");
    let exception = exception.unwrap();
    let ours = |played: &mut Played| played.outcome = exception.outcome(&played.outcome).unwrap();
    let result = judged(&exception.case, ours);
    assert!(matches!(result, CaseResult::Exception { decision, .. } if decision == "D5"));
    // As the legacy relay does it, it is none of ours.
    assert_eq!(judged(&exception.case, |_| ()).word(), Word::Different);
}

#[test]
fn a_dead_relay_explains_everything_else() {
    let CaseResult::Different(difference) = judged("name_300_bytes", |played| {
        played.outcome.alive = false;
        played.outcome.streams.clear();
        played.end = Some("ended, signal: 9 (SIGKILL)".into());
    }) else {
        panic!("not different");
    };
    assert_eq!(difference.what, "alive");
    assert_eq!(difference.got.unwrap(), "this ended, signal: 9 (SIGKILL)");
}

/// A recording against a relay that did the same, but for a change.
fn judged(name: &str, change: impl FnOnce(&mut Played)) -> CaseResult {
    let case = recording::read(name).unwrap();
    let mut played = Played {
        outcome: case.recorded.clone().unwrap(),
        sequences: Sequences::default(),
        reducer_state: k8s_relay::sim::reducer_state::ReducerState::new(),
        took: Duration::ZERO,
        end: None,
        log: String::new(),
    };
    change(&mut played);
    let peers = Peers::read(None).unwrap();
    let (recorded, this) = (peers.get("recorded").unwrap(), peers.get("this").unwrap());
    let result: run::Result = Ok(played);
    let exceptions = Exceptions::read().unwrap();
    let side = |peer, result| Side { peer, result };
    CaseResult::of(
        &case,
        &exceptions,
        side(&recorded, None),
        side(&this, Some(&result)),
    )
}

#[test]
fn only_the_order_within_a_pod_and_around_a_mark_matters() {
    let a = ["new p", "new q", "container p", "resync", "new q"];
    for (b, what) in [
        (
            vec!["new q", "new p", "container p", "resync", "new q"],
            None,
        ),
        (
            vec!["container p", "new p", "new q", "resync", "new q"],
            Some("messages of pod \"p\""),
        ),
        (
            vec!["new p", "new q", "resync", "container p", "new q"],
            Some("messages of pod \"p\""),
        ),
        (
            vec!["new p", "new q", "container p", "resync"],
            Some("messages of pod \"q\" after pod_resync"),
        ),
        (
            vec!["new p", "new q", "container p", "connection", "new q"],
            Some("the order of connections and resyncs"),
        ),
    ] {
        let difference = sent(&b).difference(&sent(&a));
        assert_eq!(difference.map(|d| d.what).as_deref(), what, "{b:?}");
    }
}

fn sent(messages: &[&str]) -> Sequences {
    let mut sequences = Sequences::default();
    for message in messages {
        let fields: Map<String, Value> = match message.split_once(' ') {
            Some((name, uid)) => [("msg".into(), name.into()), ("uid".into(), uid.into())]
                .into_iter()
                .collect(),
            None if *message == "resync" => {
                [("msg".into(), "pod_resync".into())].into_iter().collect()
            }
            None => new_connection(2),
        };
        sequences.push(&fields);
    }
    sequences
}

#[test]
fn a_reducer_state_is_shown_as_the_messages_that_send_it() {
    let mut reducer_state = k8s_relay::sim::reducer_state::ReducerState::new();
    let container = k8s_relay::wire::messages::PodContainer {
        uid: b"p",
        container_id: b"c\xff",
        container_name: b"app",
        container_image: b"app:1",
    };
    let pod = k8s_relay::wire::messages::PodNewWithName {
        ip: [10, 0, 0, 1].into(),
        owner_kind: 254,
        is_host_network: 0,
        uid: b"p",
        owner_name: b"one",
        pod_name: b"one",
        owner_uid: b"",
        ns: b"shop",
        version: b"1",
    };
    reducer_state.apply(&pod.into());
    reducer_state.apply(&container.into());
    insta::assert_snapshot!(reducer_state::lines(&reducer_state, |_| true).join("\n"), @r#"
    pod_new_with_name owner_kind=254 is_host_network=0 uid="p" owner_name="one" pod_name="one" owner_uid="" ns="shop" version="1" ip=10.0.0.1
    pod_container uid="p" container_id={"$bytes_hex":"63ff"} container_name="app" container_image="app:1"
    "#);
    assert_eq!(
        reducer_state::lines(&reducer_state, |ns| ns != b"shop"),
        [""; 0]
    );
}
