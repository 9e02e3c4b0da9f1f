#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use proptest::prelude::*;

use super::*;
use crate::migrate::gate::{LegacyFacts, NativeFacts, ParityFacts};
use crate::migrate::standstill::STANDSTILL;

const HOLD: Duration = Duration::from_secs(300);
const ROLLBACK_AFTER: Duration = Duration::from_secs(60);
const TIMEOUTS: Timeouts = Timeouts {
    hold: HOLD,
    rollback_after: ROLLBACK_AFTER,
};

/// A migration that is driven by nothing but its autopilot, on a clock moved by hand.
struct Scenario {
    autopilot: Autopilot,
    stage: Stage,
    facts: Facts,
    now: Instant,
    steps: Vec<Command>,
}

impl Scenario {
    fn new(stage: Stage) -> Self {
        Self {
            autopilot: Autopilot::new(TIMEOUTS, Auto::default()),
            stage,
            facts: facts(true, 0, Duration::ZERO),
            now: origin(),
            steps: Vec::new(),
        }
    }

    /// Lets time pass, in which parity holds, and looks whenever the autopilot wants to.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        self.look();
        while let Some(at) = self.autopilot.poll_timeout().filter(|at| *at <= end) {
            self.advance(at);
            self.look();
        }
        self.advance(end);
        self.look();
    }

    fn advance(&mut self, to: Instant) {
        let parity = self.facts.parity.as_mut().unwrap();
        parity.held += to - self.now;
        self.now = to;
    }

    fn look(&mut self) {
        if let Some(command) = self.autopilot.poll(self.stage, &self.facts, self.now) {
            let hold = self.autopilot.hold();
            let step = gate::step(self.stage, command, false, &self.facts, hold).unwrap();
            self.stage = step.to;
            self.steps.push(command);
        }
    }

    fn watches_fail(&mut self, unhealthy: u64) {
        self.facts.native.as_mut().unwrap().unhealthy = unhealthy;
        self.look();
    }

    fn operator(&mut self, command: Command) {
        let step = gate::step(self.stage, command, true, &self.facts, HOLD).unwrap();
        self.stage = step.to;
        self.autopilot.commanded(command);
        self.look();
    }
}

/// Facts of two listed feeds.
fn facts(watcher: bool, unhealthy: u64, held: Duration) -> Facts {
    Facts {
        legacy: Some(LegacyFacts {
            open: watcher,
            listed: true,
        }),
        native: Some(NativeFacts {
            listed: true,
            watches: 3,
            unhealthy,
        }),
        parity: Some(ParityFacts {
            comparing: true,
            held,
            ..ParityFacts::default()
        }),
        waits: None,
    }
}

/// Some moment; it is never compared with the real clock.
fn origin() -> Instant {
    Instant::now()
}

#[test]
fn it_cuts_over_as_soon_as_parity_has_held() {
    let mut s = Scenario::new(Stage::Shadow);
    s.pass(HOLD - Duration::from_nanos(1));
    assert_eq!(s.steps, []);
    s.pass(Duration::from_nanos(1));
    assert_eq!(s.steps, [Command::Cutover]);
    s.pass(HOLD * 100);
    assert_eq!(s.steps, [Command::Cutover], "finish is an operator's");
}

#[test]
fn in_legacy_and_native_it_does_nothing() {
    for stage in [Stage::Legacy, Stage::Native] {
        let mut s = Scenario::new(stage);
        s.pass(HOLD * 2);
        s.watches_fail(3);
        s.pass(HOLD * 2);
        assert_eq!(s.steps, []);
        assert_eq!(s.autopilot.poll_timeout(), None);
    }
}

#[test]
fn it_rolls_back_when_the_watches_are_not_well_for_too_long() {
    let mut s = Scenario::new(Stage::ShadowNative);
    s.watches_fail(1);
    s.pass(ROLLBACK_AFTER - Duration::from_nanos(1));
    s.watches_fail(0);
    s.watches_fail(2);
    s.pass(ROLLBACK_AFTER - Duration::from_nanos(1));
    assert_eq!(s.steps, [], "well in between");
    s.pass(Duration::from_nanos(1));
    assert_eq!(s.steps, [Command::Rollback]);
}

#[test]
fn lists_that_do_not_end_are_a_reason_to_roll_back() {
    let mut s = Scenario::new(Stage::ShadowNative);
    s.facts.native.as_mut().unwrap().listed = false;
    s.pass(ROLLBACK_AFTER);
    assert_eq!(s.steps, [Command::Rollback]);
}

#[test]
fn it_rolls_back_only_to_a_watcher_that_is_listed() {
    let mut s = Scenario::new(Stage::ShadowNative);
    s.facts.legacy = None;
    s.watches_fail(3);
    s.pass(ROLLBACK_AFTER * 2);
    for (open, listed) in [(true, false), (false, true)] {
        s.facts.legacy = Some(LegacyFacts { open, listed });
        s.look();
        assert_eq!(s.steps, []);
    }
    s.facts.legacy = facts(true, 0, HOLD).legacy;
    s.look();
    assert_eq!(s.steps, [Command::Rollback]);
}

#[test]
fn a_forced_cutover_to_failing_watches_gets_its_time() {
    let mut s = Scenario::new(Stage::Shadow);
    s.watches_fail(3);
    s.pass(ROLLBACK_AFTER * 2);
    s.operator(Command::Cutover);
    s.pass(ROLLBACK_AFTER - Duration::from_nanos(1));
    assert_eq!(s.steps, []);
    s.pass(Duration::from_nanos(1));
    assert_eq!(s.steps, [Command::Rollback]);
}

#[test]
fn each_rollback_of_its_own_doubles_the_hold_until_it_gives_up() {
    let mut s = Scenario::new(Stage::Shadow);
    for hold in [HOLD, HOLD * 2, HOLD * 4, HOLD * 8] {
        s.steps.clear();
        assert_eq!(s.autopilot.hold(), hold);
        // What had held before the rollback does not count.
        s.pass(hold - Duration::from_nanos(1));
        assert_eq!(s.steps, []);
        s.pass(Duration::from_nanos(1));
        assert_eq!(s.steps, [Command::Cutover]);
        s.watches_fail(1);
        s.pass(ROLLBACK_AFTER);
        assert_eq!(s.steps, [Command::Cutover, Command::Rollback]);
        s.watches_fail(0);
    }
    let record = Auto {
        rollbacks: MAX_ROLLBACKS,
        suspended: true,
        stopped_by_operator: false,
    };
    assert_eq!(s.autopilot.record(), &record);
    s.steps.clear();
    s.pass(HOLD * 1_000);
    assert_eq!((s.steps.len(), s.autopilot.poll_timeout()), (0, None));
}

#[test]
fn what_it_waits_for_includes_what_held_before_its_rollback() {
    let mut s = Scenario::new(Stage::Shadow);
    s.pass(HOLD);
    s.watches_fail(1);
    s.pass(ROLLBACK_AFTER);
    s.watches_fail(0);
    let held = |s: &Scenario| s.facts.parity.as_ref().unwrap().held;
    let due = s.autopilot.cuts_over_at(held(&s)).unwrap();
    assert_eq!(due, HOLD + ROLLBACK_AFTER + HOLD * 2);
    s.steps.clear();
    s.pass(due - held(&s) - Duration::from_nanos(1));
    assert_eq!(
        (&*s.steps, s.autopilot.cuts_over_at(held(&s))),
        (&[][..], Some(due))
    );
    assert_eq!(
        s.autopilot.cuts_over_at(Duration::ZERO),
        Some(HOLD * 2),
        "seen at once if parity has started over"
    );
    s.pass(Duration::from_nanos(1));
    assert_eq!(s.steps, [Command::Cutover]);
    s.operator(Command::Rollback);
    assert_eq!(s.autopilot.cuts_over_at(held(&s)), None, "it has given up");
}

#[test]
fn time_in_which_the_process_stood_still_does_not_count_against_the_watches() {
    let mut s = Scenario::new(Stage::ShadowNative);
    s.watches_fail(1);
    s.pass(ROLLBACK_AFTER / 2);
    for _ in 0..3 {
        s.advance(s.now + ROLLBACK_AFTER * 10);
        s.look();
    }
    assert_eq!(s.steps, []);
    s.pass(ROLLBACK_AFTER / 2 - Duration::from_nanos(1));
    assert_eq!(s.steps, [], "what counted before goes on");
    s.pass(Duration::from_nanos(1));
    assert_eq!(s.steps, [Command::Rollback]);
}

#[test]
fn a_look_that_is_a_little_late_counts_as_any_other() {
    let mut s = Scenario::new(Stage::ShadowNative);
    s.watches_fail(1);
    let late = STANDSTILL - Duration::from_nanos(1);
    for _ in 0..ROLLBACK_AFTER.as_secs() / STANDSTILL.as_secs() {
        assert_eq!(s.steps, []);
        s.advance(s.now + late);
        s.look();
    }
    s.pass(Duration::from_secs(1));
    assert_eq!(s.steps, [Command::Rollback]);
}

#[test]
fn a_hold_that_starts_over_after_a_rollback_counts_from_nothing() {
    let mut s = Scenario::new(Stage::Shadow);
    s.pass(HOLD);
    s.watches_fail(1);
    s.pass(ROLLBACK_AFTER);
    s.watches_fail(0);
    s.facts.parity.as_mut().unwrap().held = Duration::ZERO;
    s.steps.clear();
    s.pass(HOLD * 2 - Duration::from_nanos(1));
    assert_eq!(s.steps, []);
    s.pass(Duration::from_nanos(1));
    assert_eq!(s.steps, [Command::Cutover]);
}

#[test]
fn after_an_operators_rollback_it_keeps_still_until_it_is_started_afresh() {
    for command in [Command::Shadow, Command::Cutover] {
        let mut s = Scenario::new(Stage::ShadowNative);
        s.pass(HOLD * 2);
        s.operator(Command::Rollback);
        s.pass(HOLD * 100);
        assert_eq!(s.steps, []);
        let record = Auto {
            stopped_by_operator: true,
            ..Auto::default()
        };
        assert_eq!(s.autopilot.record(), &record, "it has given nothing up");
        s.operator(command);
        assert_eq!(s.autopilot.record(), &Auto::default());
        if command == Command::Shadow {
            s.pass(HOLD - Duration::from_nanos(1));
            assert_eq!(s.steps, [], "parity has to hold again");
            s.pass(Duration::from_nanos(1));
            assert_eq!(s.steps, [Command::Cutover]);
        }
        assert_eq!(s.stage, Stage::ShadowNative);
    }
}

#[test]
fn what_it_has_done_counts_after_a_restart() {
    for (rollbacks, times) in [(0, 1), (1, 2), (3, 8), (4, 8), (u32::MAX, 8)] {
        let record = Auto {
            rollbacks,
            suspended: false,
            stopped_by_operator: false,
        };
        let autopilot = Autopilot::new(TIMEOUTS, record);
        assert_eq!(autopilot.hold(), HOLD * times);
    }
    let record = Auto {
        rollbacks: 4,
        suspended: true,
        stopped_by_operator: false,
    };
    let mut autopilot = Autopilot::new(TIMEOUTS, record);
    let due = facts(true, 0, HOLD * 100);
    assert_eq!(autopilot.poll(Stage::Shadow, &due, origin()), None);
}

/// What happens between two looks.
#[derive(Clone, Debug)]
enum Event {
    Facts(Facts),
    Operator(Command),
}

fn any_facts() -> impl Strategy<Value = Facts> {
    let legacy = proptest::option::weighted(0.9, (any::<bool>(), any::<bool>()));
    let native = proptest::option::weighted(0.9, (prop::bool::weighted(0.8), 0..3_u64));
    let parity =
        proptest::option::weighted(0.9, (prop::bool::weighted(0.8), 0..4_000_u64, 0..2_u64));
    (legacy, native, parity).prop_map(|(legacy, native, parity)| Facts {
        legacy: legacy.map(|(open, listed)| LegacyFacts { open, listed }),
        native: native.map(|(listed, unhealthy)| NativeFacts {
            listed,
            watches: 3,
            unhealthy,
        }),
        parity: parity.map(|(comparing, held, counted)| ParityFacts {
            comparing,
            held: Duration::from_secs(held),
            counted,
            by_field: [("owner", counted)].into(),
        }),
        waits: None,
    })
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        20 => any_facts().prop_map(Event::Facts),
        1 => prop::sample::select(&Command::ALL[..]).prop_map(Event::Operator),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_it_keeps_its_invariants(
        first in prop::sample::select(&Stage::ALL[..]),
        history in prop::collection::vec((any_event(), 0..200_u64, any::<bool>()), 1..120),
    ) {
        let mut stage = first;
        let mut now = origin();
        let mut facts = Facts::default();
        let mut autopilot = Autopilot::new(TIMEOUTS, Auto::default());
        let mut own_rollbacks = 0;
        // How long there has been a reason to roll back, standstills left out.
        let mut unhealthy = Duration::ZERO;
        for (event, seconds, stands_still) in history {
            let end = now + Duration::from_secs(seconds);
            // While nothing happens it looks when it wants to, if it can.
            while !stands_still
                && let Some(at) = autopilot.poll_timeout().filter(|at| *at < end)
                && at - now < STANDSTILL
                && autopilot.clone().poll(stage, &facts, at).is_none()
            {
                unhealthy += at - now;
                now = at;
                prop_assert_eq!(autopilot.poll(stage, &facts, now), None);
            }
            if end - now < STANDSTILL {
                unhealthy += end - now;
            }
            now = end;
            match event {
                Event::Facts(next) => facts = next,
                Event::Operator(command) => {
                    if let Ok(step) = gate::step(stage, command, true, &facts, HOLD) {
                        stage = step.to;
                        autopilot.commanded(command);
                        own_rollbacks = match command {
                            Command::Shadow | Command::Cutover => 0,
                            Command::Finish | Command::Rollback => own_rollbacks,
                        };
                    }
                }
            }
            let well = facts.native.is_some_and(|native| native.listed && native.unhealthy == 0);
            if well || stage != Stage::ShadowNative {
                unhealthy = Duration::ZERO;
            }
            let (hold, suspended) = (autopilot.hold(), autopilot.record().is_suspended());
            let command = autopilot.poll(stage, &facts, now);
            prop_assert!(autopilot.poll_timeout().is_none_or(|at| at > now));
            let Some(command) = command else { continue };
            prop_assert!(!suspended);
            let step = gate::step(stage, command, false, &facts, hold);
            prop_assert!(step.is_ok(), "{command} in {stage}: {step:?}");
            match command {
                Command::Cutover => prop_assert_eq!(stage, Stage::Shadow),
                Command::Rollback => {
                    own_rollbacks += 1;
                    prop_assert_eq!(stage, Stage::ShadowNative);
                    prop_assert!(unhealthy >= ROLLBACK_AFTER);
                    prop_assert!(facts.legacy.is_some_and(|legacy| legacy.open && legacy.listed));
                }
                Command::Shadow | Command::Finish => prop_assert!(false, "{command} is an operator's"),
            }
            stage = step.unwrap().to;
            prop_assert!(own_rollbacks <= MAX_ROLLBACKS);
            prop_assert_eq!(own_rollbacks, autopilot.record().rollbacks);
        }
    }

    #[test]
    fn while_the_clock_stands_still_nothing_is_rolled_back(
        first in prop::sample::select(&Stage::ALL[..]),
        history in prop::collection::vec(any_facts(), 1..60),
    ) {
        let now = origin();
        let mut stage = first;
        let mut autopilot = Autopilot::new(TIMEOUTS, Auto::default());
        let mut steps = Vec::new();
        for facts in history {
            if let Some(command) = autopilot.poll(stage, &facts, now) {
                steps.push(command);
                stage = gate::step(stage, command, false, &facts, HOLD).unwrap().to;
            }
        }
        prop_assert!(steps.len() <= 1);
        prop_assert!(!steps.contains(&Command::Rollback));
    }
}
