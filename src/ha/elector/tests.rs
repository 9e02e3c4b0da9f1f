//! What a replica does, as scenarios.

use super::*;

const LEASE: Duration = Duration::from_secs(15);

/// One replica, and the API server's answers by hand.
struct Scene {
    now: Duration,
    elector: Elector,
    lease: Option<Observed>,
    resource: u64,
    wall: i64,
}

impl Scene {
    fn new() -> Self {
        Self {
            now: Duration::from_secs(1000),
            elector: Elector::new(Settings::new("a")),
            lease: None,
            resource: 10,
            wall: 1_000_000,
        }
    }

    /// A replica that leads since now.
    fn leading() -> Self {
        let mut scene = Self::new();
        scene.answer_all();
        scene.wait(LEASE);
        scene.answer_all();
        assert_eq!(scene.role(), Role::Leader);
        scene
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.elector.handle_timeout(self.now);
    }

    fn role(&self) -> Role {
        self.elector.role(self.now)
    }

    fn writes(&self) -> bool {
        let duty = self.elector.duty();
        duty.connect && self.now < duty.write_until
    }

    fn put(&mut self, record: Record) {
        self.resource += 1;
        let version = Version {
            uid: "u1".to_owned(),
            resource: self.resource.to_string(),
        };
        self.lease = Some(Observed { version, record });
    }

    /// Somebody changes the Lease, and the watch sees it.
    fn edit(&mut self, change: impl FnOnce(&mut Record)) {
        let mut record = self.lease.clone().unwrap().record;
        change(&mut record);
        self.put(record);
        self.elector.watched(self.lease.clone().unwrap(), self.now);
    }

    fn call(&mut self) -> Option<ApiCall> {
        self.wall += 1000;
        self.elector.call(self.now, self.wall)
    }

    fn serve(&mut self, call: ApiCall) -> Answer {
        match (call, &self.lease) {
            (ApiCall::Get, Some(lease)) => return Answer::Is(lease.clone()),
            (ApiCall::Get | ApiCall::Put(..), None) => return Answer::Missing,
            (ApiCall::Create(_), Some(_)) => return Answer::Conflict,
            (ApiCall::Put(base, _), Some(lease)) if lease.version != base => {
                return Answer::Conflict;
            }
            (ApiCall::Create(record), None) | (ApiCall::Put(_, record), Some(_)) => {
                self.put(record);
            }
        }
        Answer::Is(self.lease.clone().unwrap())
    }

    /// Answers at once whatever is asked now; says what was.
    fn answer_all(&mut self) -> Vec<&'static str> {
        let mut calls = Vec::new();
        while let Some(call) = self.call() {
            calls.push(match &call {
                ApiCall::Get => "get",
                ApiCall::Create(record) if record.is_free() => "create",
                ApiCall::Create(_) => "create held",
                ApiCall::Put(_, record) if record.is_free() => "release",
                ApiCall::Put(..) => "put",
            });
            let answer = self.serve(call);
            self.elector.answered(answer, self.now, 0.5);
            assert!(calls.len() < 10, "{calls:?}");
        }
        calls
    }

    fn record(&self) -> Record {
        self.lease.clone().unwrap().record
    }
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn a_lease_that_is_missing_is_created_held_by_nobody_and_waited_for() {
    let mut scene = Scene::new();
    assert_eq!(scene.role(), Role::Starting);
    assert_eq!(scene.answer_all(), ["get", "create"]);
    assert_eq!(scene.role(), Role::Follower);
    assert_eq!(scene.record().duration, 15);
    scene.wait(LEASE - Duration::from_millis(1));
    assert_eq!(scene.answer_all(), [""; 0]);
    scene.wait(Duration::from_millis(1));
    assert_eq!(scene.answer_all(), ["put"]);
    assert_eq!(
        (scene.role(), scene.record().transitions),
        (Role::Leader, 1)
    );
    assert_eq!(scene.record().holder, "a");
    assert!(scene.writes());
}

#[test]
fn a_leader_renews_and_falls_silent_when_it_cannot_and_goes_on_where_it_was() {
    let mut scene = Scene::leading();
    scene.wait(secs(2));
    assert_eq!(scene.answer_all(), ["put"]);
    let renewed = scene.now;
    for _ in 0..4 {
        scene.wait(secs(2));
        assert!(matches!(scene.call(), Some(ApiCall::Put(..))));
        scene.elector.answered(Answer::Failed, scene.now, 0.5);
    }
    assert!(scene.writes());
    assert_eq!(
        scene.elector.duty().write_until,
        renewed + Duration::from_millis(9_250)
    );
    scene.wait(Duration::from_millis(1_250));
    assert_eq!((scene.role(), scene.writes()), (Role::Silent, false));
    assert!(scene.elector.duty().connect);
    scene.wait(secs(60));
    assert_eq!(scene.answer_all(), ["put"]);
    assert_eq!((scene.role(), scene.elector.terms()), (Role::Leader, 2));
}

#[test]
fn a_silent_replica_closes_after_the_hold_and_leads_again_if_nobody_else_did() {
    let mut scene = Scene::leading();
    scene.wait(Duration::from_millis(9_250) + secs(300) - Duration::from_millis(1));
    assert_eq!(scene.role(), Role::Silent);
    scene.wait(Duration::from_millis(1));
    assert_eq!(
        (scene.role(), scene.elector.duty().connect),
        (Role::Follower, false)
    );
    assert_eq!(scene.answer_all(), ["put"]);
    assert_eq!(
        (scene.role(), scene.elector.duty().connect),
        (Role::Leader, true)
    );
}

#[test]
fn another_holder_ends_the_connection_at_once_and_is_waited_for() {
    let mut scene = Scene::leading();
    scene.edit(|record| {
        record.holder = "b".to_owned();
        record.transitions += 1;
    });
    assert_eq!(
        (scene.role(), scene.elector.duty()),
        (Role::Follower, Duty::default())
    );
    assert_eq!(scene.answer_all(), [""; 0]);
    scene.wait(LEASE);
    assert_eq!(scene.answer_all(), ["put"]);
    assert_eq!(scene.record().transitions, 3);
}

#[test]
fn a_lease_that_somebody_cleared_or_deleted_is_taken_back_within_the_term_only() {
    for is_late in [false, true] {
        let mut scene = Scene::leading();
        if is_late {
            scene.wait(secs(10));
        }
        scene.edit(|record| record.holder.clear());
        let taken = if is_late { vec![] } else { vec!["put"] };
        assert_eq!(scene.answer_all(), taken);
        assert_eq!(scene.role() == Role::Silent, is_late);
        scene.wait(LEASE);
        assert_eq!(scene.answer_all(), ["put"]);

        let mut scene = Scene::leading();
        if is_late {
            scene.wait(secs(10));
        }
        scene.lease = None;
        scene.elector.lost_sight();
        let taken: &[_] = if is_late {
            &["get", "create"]
        } else {
            &["get", "create", "put"]
        };
        assert_eq!(scene.answer_all(), taken);
    }
}

#[test]
fn a_lost_answer_is_a_success_once_the_lease_shows_it_and_counts_from_the_request() {
    let mut scene = Scene::leading();
    scene.wait(secs(2));
    let start = scene.now;
    let call = scene.call().unwrap();
    scene.serve(call);
    scene.wait(secs(3));
    scene.elector.answered(Answer::Failed, scene.now, 0.5);
    scene.wait(secs(2));
    assert!(matches!(scene.call(), Some(ApiCall::Put(..))));
    scene.elector.answered(Answer::Conflict, scene.now, 0.5);
    let call = scene.call().unwrap();
    assert_eq!(call, ApiCall::Get);
    let answer = scene.serve(call);
    scene.elector.answered(answer, scene.now, 0.5);
    let until = start + scene.elector.settings().term();
    assert_eq!(scene.elector.duty().write_until, until);
}

#[test]
fn the_wait_is_for_the_longest_lease_that_was_seen_and_a_wrong_one_has_an_end() {
    for (before, after, wait) in [(15, 1, 15), (40, 1, 40), (1, 40, 40), (1_000_000, 1, 120)] {
        let mut scene = Scene::new();
        scene.put(Record {
            holder: "b".to_owned(),
            duration: before,
            ..Record::default()
        });
        assert_eq!(scene.answer_all(), ["get"]);
        scene.edit(|record| record.duration = after);
        scene.edit(|record| record.duration = after);
        scene.wait(secs(wait) - Duration::from_millis(1));
        assert_eq!(scene.answer_all(), [""; 0], "{before} {after}");
        scene.wait(Duration::from_millis(1));
        assert_eq!(scene.answer_all(), ["put"]);
    }
}

#[test]
fn the_same_name_after_a_crash_is_another_holder() {
    let mut scene = Scene::leading();
    scene.elector = Elector::new(Settings::new("a"));
    assert_eq!(scene.answer_all(), ["get"]);
    assert_eq!((scene.role(), scene.writes()), (Role::Follower, false));
    scene.wait(LEASE);
    assert_eq!(scene.answer_all(), ["put"]);
    assert_eq!(scene.record().transitions, 2);
}

#[test]
fn a_planned_hand_over_makes_nobody_wait_and_ends_when_the_successor_is_in_sync() {
    let mut scene = Scene::leading();
    let mut successor = Elector::new(Settings::new("b"));
    assert_eq!(successor.call(scene.now, 0), Some(ApiCall::Get));
    let answer = scene.serve(ApiCall::Get);
    successor.answered(answer, scene.now, 0.5);
    scene.elector.leave(scene.now);
    assert_eq!((scene.role(), scene.writes()), (Role::HandingOver, false));
    assert_eq!(scene.answer_all(), ["release"]);
    assert_eq!(scene.record().handover.as_deref(), Some("a/1"));
    assert!(
        scene.elector.duty().connect,
        "until the successor has announced everything"
    );

    successor.watched(scene.lease.clone().unwrap(), scene.now);
    for is_in_sync in [false, true] {
        successor.set_in_sync(is_in_sync);
        let call = successor.call(scene.now, 0).unwrap();
        let answer = scene.serve(call);
        successor.answered(answer, scene.now, 0.5);
        assert_eq!(successor.role(scene.now), Role::Leader);
        scene
            .elector
            .watched(scene.lease.clone().unwrap(), scene.now);
        assert_eq!(scene.elector.duty().connect, !is_in_sync);
        assert_eq!(scene.elector.has_left(), is_in_sync);
    }
    assert_eq!(scene.record().in_sync.as_deref(), Some("2"));
}

#[test]
fn who_hands_over_to_nobody_ends_after_a_while_and_asks_meanwhile() {
    let mut scene = Scene::leading();
    scene.elector.leave(scene.now);
    assert_eq!(scene.answer_all(), ["release"]);
    for _ in 0..4 {
        scene.wait(secs(2));
        assert_eq!(scene.answer_all(), ["get"]);
        assert!(!scene.elector.has_left());
    }
    scene.wait(secs(2));
    assert!(scene.elector.has_left());
    assert_eq!(scene.answer_all(), [""; 0]);
}

#[test]
fn a_hand_over_that_the_api_server_does_not_take_ends_with_the_term() {
    let mut scene = Scene::leading();
    scene.elector.leave(scene.now);
    while let Some(call) = scene.call() {
        assert!(matches!(call, ApiCall::Put(..)));
        scene.elector.answered(Answer::Failed, scene.now, 0.5);
        scene.wait(scene.elector.settings().retry);
    }
    assert!(scene.elector.has_left());
    assert_eq!(scene.now, secs(1015) + secs(10));
}

#[test]
fn a_server_that_was_restored_to_an_older_version_is_believed_when_asked() {
    let mut scene = Scene::leading();
    scene.wait(secs(2));
    scene.resource = 3;
    scene.put(Record {
        holder: "b".to_owned(),
        duration: 15,
        ..Record::default()
    });
    scene
        .elector
        .watched(scene.lease.clone().unwrap(), scene.now);
    assert_eq!(scene.role(), Role::Leader, "an old event of the watch");
    assert_eq!(scene.answer_all(), ["put", "get"]);
    assert_eq!(scene.role(), Role::Follower);
}

#[test]
fn a_server_that_always_says_conflict_is_not_asked_without_a_pause() {
    let mut scene = Scene::leading();
    scene.wait(secs(2));
    let mut calls = 0;
    while let Some(call) = scene.call() {
        calls += 1;
        let answer = match call {
            ApiCall::Get => scene.serve(ApiCall::Get),
            ApiCall::Put(..) | ApiCall::Create(_) => Answer::Conflict,
        };
        scene.elector.answered(answer, scene.now, 0.5);
    }
    assert_eq!(calls, 3, "put, get, put");
}
