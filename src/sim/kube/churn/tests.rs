use std::collections::BTreeMap;

use super::*;
use crate::sim::kube::expected_state::{ExpectedState, View};

fn churn(mix: Mix) -> (Churn, Store) {
    let mut store = Store::new(1_000_000);
    let mut shape = Population::new(Cluster::new(100, 500));
    (shape.namespaces, shape.cron_jobs) = (7, 5);
    let churn = Churn::begin(shape, mix, &mut store);
    (churn, store)
}

/// What happened to pods, by the word a watch would say, and whether anything had changed.
fn happened(store: &Store, since: u64) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for change in store.changes(Kind::POD, since).unwrap() {
        let word = match (&change.before, &change.after) {
            (None, _) => "added",
            (_, None) => "deleted",
            (Some(before), Some(after)) if before.object == *after => "idle",
            _ => "changed",
        };
        *counts.entry(word).or_default() += 1;
    }
    counts
}

#[test]
fn the_same_seed_lives_the_same_life() {
    let (mut first, mut second) = (churn(Mix::default()), churn(Mix::default()));
    for _ in 0..5_000 {
        first.0.step(&mut first.1);
        second.0.step(&mut second.1);
    }
    let view = View::default();
    assert_eq!(
        ExpectedState::of(&first.1, view),
        ExpectedState::of(&second.1, view)
    );
}

#[test]
fn each_step_is_one_change() {
    let (mut churn, mut store) = churn(Mix::default());
    for _ in 0..5_000 {
        let before = store.version();
        assert!(churn.step(&mut store));
        assert_eq!(store.version(), before + 1);
    }
}

#[test]
fn a_long_life_neither_fills_nor_empties_a_cluster() {
    let (mut churn, mut store) = churn(Mix {
        idle: 0,
        ..Mix::default()
    });
    assert_eq!(Kind::MATCHED.map(|kind| store.count(kind)), [500, 100, 0]);
    for _ in 0..100_000 {
        assert!(churn.step(&mut store));
    }
    let [pods, sets, jobs] = Kind::MATCHED.map(|kind| store.count(kind));
    assert!((480..540).contains(&pods), "{pods} pods");
    assert!((100..400).contains(&sets), "{sets} ReplicaSets");
    assert!((1..=15).contains(&jobs), "{jobs} Jobs");
}

#[test]
fn everything_happens_and_most_of_it_changes_nothing() {
    let (mut churn, mut store) = churn(Mix::default());
    let since = store.version();
    for _ in 0..20_000 {
        churn.step(&mut store);
    }
    let counts = happened(&store, since);
    let idle = counts["idle"];
    assert!((15_000..17_000).contains(&idle), "{counts:?}");
    assert!(
        counts["added"] > 500 && counts["deleted"] > 500,
        "{counts:?}"
    );
    let expected_state = ExpectedState::of(&store, View::default());
    let kinds: std::collections::BTreeSet<_> = expected_state
        .pods
        .values()
        .map(|pod| pod.owner_kind.as_deref())
        .collect();
    assert!(expected_state.pods.values().all(|pod| !pod.waits));
    let all = [
        "CloneSet",
        "CronJob",
        "DaemonSet",
        "Deployment",
        "StatefulSet",
    ];
    assert!(kinds.into_iter().flatten().eq(all));
}

#[test]
fn swaps_are_adds_and_deletes_alone() {
    let (mut churn, mut store) = churn(Mix::swaps());
    let since = store.version();
    for _ in 0..10_000 {
        churn.step(&mut store);
    }
    let counts = happened(&store, since);
    assert_eq!(counts.get("changed"), None);
    assert!((900..1_100).contains(&counts["added"]), "{counts:?}");
    assert!((900..1_100).contains(&counts["deleted"]), "{counts:?}");
}

#[test]
fn where_nobody_lives_nothing_happens() {
    let mut store = Store::new(10);
    let shape = Population::new(Cluster::new(0, 0));
    let mut churn = Churn::begin(shape, Mix::default(), &mut store);
    assert!(!churn.step(&mut store));
    assert_eq!(store.version(), 1);
}
