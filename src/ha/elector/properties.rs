//! Never two writers, whatever happens; and one again as soon as it can be.

use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner},
};

use super::{
    super::Settings,
    world::{Mutant, Op, World},
};

const REPLICAS: usize = 3;

/// A seed of the network, the rates of the clocks, and what happens.
type History = (u64, Vec<u64>, Vec<Op>);

fn op() -> impl Strategy<Value = Op> {
    let replica = 0..REPLICAS;
    prop_oneof![
        6 => (1..20_000_u32).prop_map(Op::Wait),
        4 => (1..2_500_u32).prop_map(Op::Wait),
        2 => (replica.clone(), 1..30_000_u32).prop_map(|(one, ms)| Op::Pause(one, ms)),
        2 => (replica.clone(), any::<bool>())
            .prop_map(|(replica, same_name)| Op::Crash { replica, same_name }),
        2 => (replica.clone(), 1..40_000_u32).prop_map(|(one, ms)| Op::Cut(one, ms)),
        2 => (1..4_000_u32, 0..60_u8).prop_map(|(slow, lost)| Op::Network { slow, lost }),
        1 => Just(Op::Delete),
        1 => Just(Op::Clear),
        1 => prop_oneof![Just(1_u32), Just(0), Just(1_000_000), 1..60_u32].prop_map(Op::Duration),
        1 => prop_oneof![Just(0), Just(i32::MAX), Just(-7), 1..9].prop_map(Op::Transitions),
        1 => Just(Op::Steal),
        1 => replica.clone().prop_map(Op::Leave),
        1 => replica.prop_map(Op::InSync),
    ]
}

fn history() -> impl Strategy<Value = History> {
    (
        any::<u64>(),
        prop::collection::vec(800..=1200_u64, REPLICAS),
        prop::collection::vec(op(), 1..40),
    )
}

fn played((seed, rates, ops): &History, mutant: Option<Mutant>) -> Result<World, String> {
    let mut world = World::new(*seed, rates, &Settings::new("set per replica"), mutant);
    world.play(Op::Wait(20_000))?;
    for op in ops {
        world.play(*op)?;
    }
    Ok(world)
}

proptest! {
    #![proptest_config(Config { failure_persistence: None, ..Config::with_cases(600) })]

    #[test]
    fn two_replicas_never_write_at_the_same_time(history in history()) {
        prop_assert_eq!(played(&history, None).err(), None);
    }

    #[test]
    fn one_replica_leads_again_when_all_is_well_and_goes_on(history in history()) {
        let mut world = played(&history, None).map_err(TestCaseError::fail)?;
        world.play(Op::Network { slow: 5, lost: 0 }).unwrap();
        // Who has left is replaced, and nobody else is left stopped or cut off.
        for replica in 0..REPLICAS {
            world.play(Op::Crash { replica, same_name: false }).unwrap();
        }
        // The longest lease that anybody may have had, and the slowest clock.
        world.play(Op::Wait(200_000)).unwrap();
        let leader = world.leader();
        prop_assert!(leader.is_some());
        let terms = world.terms;
        for _ in 0..60 {
            world.play(Op::Wait(1_000)).unwrap();
            prop_assert_eq!(world.leader(), leader);
        }
        prop_assert_eq!(world.terms, terms);
    }
}

#[test]
fn each_wrong_replica_is_found_out_by_the_same_histories() {
    for mutant in [
        Mutant::TermFromTheAnswer,
        Mutant::WholeLease,
        Mutant::NoPrecondition,
        Mutant::BelievesItsName,
        Mutant::ClearedIsHandedOver,
        Mutant::WaitsOnce,
        Mutant::ClockStops,
    ] {
        let config = Config {
            cases: 20_000,
            max_shrink_iters: 0,
            failure_persistence: None,
            ..Config::default()
        };
        let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        let mut runner = TestRunner::new_with_rng(config, rng);
        let found = runner.run(&history(), |history| {
            played(&history, Some(mutant))
                .map(drop)
                .map_err(TestCaseError::fail)
        });
        assert!(
            matches!(found, Err(TestError::Fail(..))),
            "{mutant:?}: {found:?}"
        );
    }
}
