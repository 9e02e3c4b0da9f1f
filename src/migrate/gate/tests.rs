#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use Action::{Activate, Compare, StartWatches, StopWatches};

use super::*;

const HOLD: Duration = Duration::from_secs(300);

/// Both feeds are well, and parity has held for long enough.
fn all_is_well() -> Facts {
    Facts {
        legacy: Some(LegacyFacts {
            open: true,
            listed: true,
        }),
        native: Some(NativeFacts {
            listed: true,
            watches: 3,
            unhealthy: 0,
        }),
        parity: Some(ParityFacts {
            comparing: true,
            held: HOLD,
            counted: 0,
            by_field: BTreeMap::new(),
        }),
        waits: None,
    }
}

fn refusal(facts: &Facts) -> String {
    let step = step(Stage::Shadow, Command::Cutover, false, facts, HOLD);
    step.unwrap_err().to_string()
}

#[test]
fn every_command_leads_somewhere_from_every_stage_or_says_why_not() {
    let collect = Activate(SourceKind::Collect);
    let native = Activate(SourceKind::Native);
    let already = |stage| Ok((stage, vec![]));
    let table = [
        (
            Stage::Legacy,
            [
                Ok((Stage::Shadow, vec![StartWatches, Compare(true)])),
                Err(
                    "the stage is legacy, nothing has been compared: run `k8s-relay migrate shadow` first",
                ),
                Err(
                    "the stage is legacy, the legacy source is active: run `k8s-relay migrate shadow` first",
                ),
                already(Stage::Legacy),
            ],
        ),
        (
            Stage::Shadow,
            [
                already(Stage::Shadow),
                Ok((Stage::ShadowNative, vec![native])),
                Err(
                    "the stage is shadow, the legacy source is active: run `k8s-relay migrate cutover` first",
                ),
                Ok((Stage::Legacy, vec![Compare(false), StopWatches])),
            ],
        ),
        (
            Stage::ShadowNative,
            [
                already(Stage::ShadowNative),
                already(Stage::ShadowNative),
                Ok((Stage::Native, vec![Compare(false)])),
                Ok((Stage::Shadow, vec![collect])),
            ],
        ),
        (
            Stage::Native,
            [
                Ok((Stage::ShadowNative, vec![Compare(true)])),
                already(Stage::Native),
                already(Stage::Native),
                Ok((Stage::Shadow, vec![collect, Compare(true)])),
            ],
        ),
    ];
    assert_eq!(table.each_ref().map(|(stage, _)| *stage), Stage::ALL);
    for (stage, row) in table {
        for (command, expected) in Command::ALL.into_iter().zip(row) {
            let taken = step(stage, command, false, &all_is_well(), HOLD);
            let taken = taken
                .map(|step| (step.to, step.actions.to_vec()))
                .map_err(|refusal| refusal.to_string());
            let expected = expected.map_err(str::to_owned);
            assert_eq!(taken, expected, "{command} in {stage}");
        }
    }
}

/// Follows the actions of every step and looks whether they make what the new stage is.
#[test]
fn the_actions_of_a_step_make_what_its_stage_promises() {
    for from in Stage::ALL {
        for command in Command::ALL {
            for facts in [Facts::default(), all_is_well()] {
                let Ok(step) = step(from, command, true, &facts, HOLD) else {
                    continue;
                };
                let (mut watches, mut compares, mut active) =
                    (from.watches(), from.compares(), from.active());
                for action in step.actions {
                    match action {
                        StartWatches => watches = true,
                        StopWatches => watches = false,
                        Activate(source) => active = *source,
                        Compare(on) => compares = *on,
                    }
                }
                assert_eq!(
                    (watches, compares, active),
                    (step.to.watches(), step.to.compares(), step.to.active()),
                    "{command} in {from}"
                );
                assert_eq!(step.is_new(), !step.actions.is_empty());
            }
        }
    }
}

#[test]
fn an_answer_says_where_the_migration_stands_now() {
    let facts = all_is_well();
    let mut said = String::new();
    for stage in Stage::ALL {
        for command in Command::ALL {
            if let Ok(step) = step(stage, command, false, &facts, HOLD) {
                said += &format!("{command}: {step}\n");
            }
        }
    }
    insta::assert_snapshot!(said, @r"
    shadow: from legacy to shadow: the legacy source is active, the native source is compared
    rollback: already legacy: the legacy source is active, the native source does not run
    shadow: already shadow: the legacy source is active, the native source is compared
    cutover: from shadow to shadow-native: the native source is active, the legacy source is compared
    rollback: from shadow to legacy: the legacy source is active, the native source does not run
    shadow: already shadow-native: the native source is active, the legacy source is compared
    cutover: already shadow-native: the native source is active, the legacy source is compared
    finish: from shadow-native to native: the native source is active, nothing is compared
    rollback: from shadow-native to shadow: the legacy source is active, the native source is compared
    shadow: from native to shadow-native: the native source is active, the legacy source is compared
    cutover: already native: the native source is active, nothing is compared
    finish: already native: the native source is active, nothing is compared
    rollback: from native to shadow: the legacy source is active, the native source is compared
    ");
}

#[test]
fn the_gate_opens_when_both_feeds_are_well_and_parity_has_held() {
    let cutover = step(Stage::Shadow, Command::Cutover, false, &all_is_well(), HOLD).unwrap();
    assert_eq!(
        (cutover.to, cutover.overridden),
        (Stage::ShadowNative, None)
    );
}

#[test]
fn a_closed_gate_says_why_in_numbers() {
    let see = "; see `k8s-relay status`";
    for (change, why) in [
        (
            (|facts| facts.legacy = None) as fn(&mut Facts),
            "no watcher is connected",
        ),
        (
            |facts| facts.legacy.as_mut().unwrap().open = false,
            "no watcher is connected",
        ),
        (
            |facts| facts.legacy.as_mut().unwrap().listed = false,
            "the legacy source is not synced yet: its first lists are not complete",
        ),
        (
            |facts| {
                facts.native = Some(NativeFacts {
                    listed: false,
                    watches: 3,
                    unhealthy: 2,
                });
            },
            "the native source is not synced yet: its first lists are not complete, 2 of 3 watches are failing",
        ),
        (
            |facts| facts.native.as_mut().unwrap().unhealthy = 1,
            "the native source is failing: 1 of 3 watches are failing, or are refused what they were allowed",
        ),
        (
            |facts| {
                facts.legacy = None;
                facts.native.as_mut().unwrap().unhealthy = 3;
            },
            "the native source is failing: 3 of 3 watches are failing, or are refused what they were allowed; no watcher is connected",
        ),
        (
            |facts| facts.parity = None,
            "the sources are not compared yet: not every pod has been checked",
        ),
        (
            |facts| facts.parity.as_mut().unwrap().comparing = false,
            "the sources are not compared yet: not every pod has been checked",
        ),
        (
            |facts| facts.parity.as_mut().unwrap().held = Duration::from_millis(190_999),
            "parity has held for 3m 10s of 5m",
        ),
        (
            |facts| facts.parity.as_mut().unwrap().held = HOLD - Duration::from_nanos(1),
            "parity has held for 4m 59s of 5m",
        ),
        (
            |facts| {
                let parity = facts.parity.as_mut().unwrap();
                parity.held = Duration::from_secs(190);
                parity.counted = 12;
                parity.by_field = [("missing", 5), ("name", 0), ("owner", 7)].into();
            },
            "parity has held for 3m 10s of 5m; 12 divergences are confirmed: 7 owner, 5 missing",
        ),
        (
            |facts| {
                let parity = facts.parity.as_mut().unwrap();
                parity.held = Duration::ZERO;
                parity.counted = 1;
                parity.by_field = [("extra", 1)].into();
            },
            "parity has held for 0s of 5m; 1 divergence is confirmed: 1 extra",
        ),
        (
            // Whatever has held: what counts now counts.
            |facts| facts.parity.as_mut().unwrap().counted = 2,
            "parity has held for 5m of 5m; 2 divergences are confirmed",
        ),
    ] {
        let mut facts = all_is_well();
        change(&mut facts);
        assert_eq!(refusal(&facts), format!("{why}{see}"));
        let forced = step(Stage::Shadow, Command::Cutover, true, &facts, HOLD).unwrap();
        assert_eq!(
            forced.to_string(),
            format!(
                "from shadow to shadow-native: the native source is active, \
                 the legacy source is compared; forced, although {why}"
            )
        );
    }
}

#[test]
fn force_waives_nothing_at_an_open_gate() {
    let cutover = step(Stage::Shadow, Command::Cutover, true, &all_is_well(), HOLD).unwrap();
    assert_eq!(cutover.overridden, None);
}

#[test]
fn nothing_forces_a_cutover_to_a_feed_that_does_not_exist() {
    let facts = Facts {
        native: None,
        ..all_is_well()
    };
    for force in [false, true] {
        assert_eq!(
            step(Stage::Legacy, Command::Cutover, force, &all_is_well(), HOLD),
            Err(Refusal::NothingCompared)
        );
        assert_eq!(
            step(Stage::Shadow, Command::Cutover, force, &facts, HOLD),
            Err(Refusal::NoWatches)
        );
    }
}

#[test]
fn a_rollback_is_never_refused_and_waits_for_a_watcher_if_there_is_none() {
    let ended = LegacyFacts {
        open: false,
        listed: true,
    };
    let mut said = String::new();
    for legacy in [None, Some(ended)] {
        said.clear();
        for stage in Stage::ALL {
            let facts = Facts {
                legacy,
                ..Facts::default()
            };
            let step = step(stage, Command::Rollback, false, &facts, HOLD).unwrap();
            let waits = matches!(stage, Stage::ShadowNative | Stage::Native);
            assert_eq!(step.waits, waits.then_some(Waits::NoWatcher));
            said += &format!("{step}\n");
        }
    }
    insta::assert_snapshot!(said, @r"
    already legacy: no legacy watcher is connected; the reducer's state stays as it is until one connects
    from shadow to legacy: no legacy watcher is connected; the reducer's state stays as it is until one connects
    from shadow-native to shadow: no legacy watcher is connected; the native source stays active until one is synced
    from native to shadow: no legacy watcher is connected; the native source stays active until one is synced
    ");
}

#[test]
fn while_a_rollback_waits_for_a_watcher_no_answer_says_that_the_legacy_source_is_active() {
    let mut said = String::new();
    for (legacy, waits) in [
        (None, Waits::NoWatcher),
        (Some((true, false)), Waits::NotSynced),
        (Some((true, true)), Waits::DoesNotFit),
    ] {
        let facts = Facts {
            legacy: legacy.map(|(open, listed)| LegacyFacts { open, listed }),
            waits: Some(waits),
            ..all_is_well()
        };
        for stage in [Stage::Legacy, Stage::Shadow] {
            for command in [Command::Shadow, Command::Finish, Command::Rollback] {
                let answer = match step(stage, command, false, &facts, HOLD) {
                    Ok(step) => step.to_string(),
                    Err(refusal) => format!("refused: {refusal}"),
                };
                said += &format!("{command} in {stage}: {answer}\n");
            }
        }
    }
    assert!(!said.contains("the legacy source is active"), "{said}");
    insta::assert_snapshot!(said, @r"
    shadow in legacy: from legacy to shadow: no legacy watcher is connected; what the native source announced stays until one is synced
    finish in legacy: refused: a rollback is in progress: no legacy watcher is connected; what the native source announced stays until one is synced
    rollback in legacy: already legacy: no legacy watcher is connected; what the native source announced stays until one is synced
    shadow in shadow: already shadow: no legacy watcher is connected; the native source stays active until one is synced
    finish in shadow: refused: a rollback is in progress: no legacy watcher is connected; the native source stays active until one is synced. `k8s-relay migrate cutover --force` calls the rollback off
    rollback in shadow: from shadow to legacy: no legacy watcher is connected; what the native source announced stays until one is synced
    shadow in legacy: from legacy to shadow: the legacy watcher's stream is not synced yet; what the native source announced stays until one is synced
    finish in legacy: refused: a rollback is in progress: the legacy watcher's stream is not synced yet; what the native source announced stays until one is synced
    rollback in legacy: already legacy: the legacy watcher's stream is not synced yet; what the native source announced stays until one is synced
    shadow in shadow: already shadow: the legacy watcher's stream is not synced yet; the native source stays active until one is synced
    finish in shadow: refused: a rollback is in progress: the legacy watcher's stream is not synced yet; the native source stays active until one is synced. `k8s-relay migrate cutover --force` calls the rollback off
    rollback in shadow: from shadow to legacy: the legacy watcher's stream is not synced yet; what the native source announced stays until one is synced
    shadow in legacy: from legacy to shadow: the legacy watcher knows less than half of what is announced; what the native source announced stays until one is synced
    finish in legacy: refused: a rollback is in progress: the legacy watcher knows less than half of what is announced; what the native source announced stays until one is synced
    rollback in legacy: already legacy: the legacy watcher knows less than half of what is announced; what the native source announced stays until one is synced
    shadow in shadow: already shadow: the legacy watcher knows less than half of what is announced; the native source stays active until one is synced
    finish in shadow: refused: a rollback is in progress: the legacy watcher knows less than half of what is announced; the native source stays active until one is synced. `k8s-relay migrate cutover --force` calls the rollback off
    rollback in shadow: from shadow to legacy: the legacy watcher knows less than half of what is announced; what the native source announced stays until one is synced
    ");
}
