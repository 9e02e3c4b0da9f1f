use std::collections::BTreeMap;

use super::*;
use crate::{
    admin::api::{Kept, Offer, Parity, Row, RunningStep, Switch, Unfed},
    migrate::Command,
};

/// As on no terminal.
fn plain(status: &Status) -> String {
    anstream::adapter::strip_str(&super::status(status)).to_string()
}

fn feed() -> Feed {
    Feed {
        generation: 3,
        active: true,
        open: true,
        listed: true,
        since_seconds: 11_460.0,
        last_event_seconds: Some(0.42),
        pods: 1200,
        live: 1190,
        waiting: 4,
        owners: 300,
        sources: 1,
        ..Feed::default()
    }
}

fn watch(resource: &str, state: &str, error: Option<&str>) -> Watch {
    Watch {
        resource: resource.to_owned(),
        namespace: None,
        state: state.to_owned(),
        since_seconds: Some(95.0),
        last_event_seconds: (state == "healthy").then_some(0.42),
        last_error: error.map(|text| LastError {
            reason: "unreachable".to_owned(),
            text: text.to_owned(),
            seconds: 2.0,
        }),
    }
}

fn stream(stream: u64, role: &str, open: bool) -> Stream {
    Stream {
        stream,
        peer: Some(format!("127.0.0.1:{stream}")),
        role: role.to_owned(),
        open,
        synced: true,
        since_seconds: 11_460.0,
        last_event_seconds: Some(0.42),
        infos: 1500,
    }
}

fn base() -> Status {
    Status {
        version: "1.2.3".to_owned(),
        up_seconds: 11_520.0,
        stage_seconds: 725.0,
        reducer: Reducer {
            address: "reducer.otel:7000".to_owned(),
            connected: true,
            since_seconds: 11_500.0,
            pods: 1190,
            containers: 2380,
            settled: true,
            ..Reducer::default()
        },
        ..Status::default()
    }
}

/// What may be asked for, and why not.
fn steps<const N: usize>(steps: [(Command, Option<&str>); N]) -> Vec<Offer> {
    let offer = |(command, blocked): (_, Option<&str>)| Offer::of(command, blocked.map(Into::into));
    steps.into_iter().map(offer).collect()
}

#[test]
fn a_relay_that_reaches_nobody_says_whom_since_when_and_why() {
    let alone = Status {
        stage: Stage::Native,
        steps: steps([(Command::Shadow, None), (Command::Rollback, None)]),
        reducer: Reducer {
            address: "reducer.otel:7000".to_owned(),
            since_seconds: 12.0,
            failures: 5,
            next_attempt_seconds: Some(3.2),
            last_error: Some(LastError {
                reason: "refused".to_owned(),
                text: "cannot connect to 10.0.0.1:7000: Connection refused (os error 111)"
                    .to_owned(),
                seconds: 2.0,
            }),
            ..Reducer::default()
        },
        native: Some(Feed {
            listed: false,
            sources: 3,
            unhealthy: 3,
            last_event_seconds: None,
            watches: vec![
                watch(
                    "pods",
                    "failing",
                    Some("cannot connect to 10.0.0.2:6443\u{1b}[2J: refused"),
                ),
                watch("replicasets", "healthy", None),
                watch(
                    "jobs",
                    "not allowed",
                    Some("403 Forbidden: jobs.batch is forbidden"),
                ),
            ],
            ..feed()
        }),
        unfed: Some(Unfed {
            seconds: 12.0,
            why: "all native watches fail".to_owned(),
        }),
        ..base()
    };
    insta::assert_snapshot!(plain(&alone), @r"
    k8s-relay 1.2.3, up 3h 12m; stage native, for 12m 5s
    The native source is active; nothing is compared.
    Nobody has fed the reducer's state for 12.0s: all native watches fail. It stays as it was.

    REDUCER             STATE           SINCE   ANNOUNCED   QUEUED
    reducer.otel:7000   not connected   12.0s   nothing     0 B
    last error 2.0s ago: cannot connect to 10.0.0.1:7000: Connection refused (os error 111), 5 failed attempts so far
    next attempt in 3.2s

    SOURCE   ROLE     STATE        PODS   LIVE   NO OWNER YET   OWNERS   FED BY           LAST EVENT
    legacy   none
    native   active   not synced   1200   1190   4              300      0 of 3 watches   none

    WATCH         NAMESPACE   STATE         SINCE    LAST EVENT   LAST ERROR
    pods          all         failing       1m 35s   none         2.0s ago: cannot connect to 10.0.0.2:6443\u{1b}[2J: refused
    jobs          all         not allowed   1m 35s   none         2.0s ago: 403 Forbidden: jobs.batch is forbidden
    replicasets   all         healthy       1m 35s   0.4s ago

    Next:  nothing; the native source needs no watcher   Undo:  k8s-relay migrate rollback
    ");
}

#[test]
fn a_relay_in_shadow_shows_how_the_sources_compare() {
    let row = |counts| Row {
        uid: "uid-1".to_owned(),
        namespace: "shop".to_owned(),
        name: "web-1".to_owned(),
        field: "owner".to_owned(),
        legacy: "Deployment/web".to_owned(),
        native: "ReplicaSet/web-5d4f\u{1b}[2J\n".to_owned(),
        seconds: 75.0,
        counts,
    };
    let shadow = Status {
        stage: Stage::Shadow,
        steps: steps([
            (
                Command::Cutover,
                Some("parity has held for 5m of 5m; 30 divergences are confirmed"),
            ),
            (Command::Finish, Some("the legacy source is active")),
            (Command::Rollback, None),
        ]),
        auto: Some(Auto {
            rollbacks: 4,
            suspended: true,
            stopped_by_operator: false,
        }),
        legacy: Some(Feed {
            streams: vec![
                stream(1, "active", true),
                stream(2, "standby", true),
                stream(3, "standby", false),
            ],
            ..feed()
        }),
        native: Some(Feed {
            generation: 1,
            active: false,
            sources: 3,
            watches: vec![watch("pods", "healthy", None)],
            ..feed()
        }),
        parity: Some(parity(|parity| {
            parity.divergences = 30;
            parity.unsettled = 1;
            parity.waiting = 2;
            parity.by_field = BTreeMap::from([("owner".to_owned(), 30), ("version".to_owned(), 1)]);
            parity.expected = BTreeMap::from([("init-containers".to_owned(), 12)]);
            parity.native_digest = "3:11ee".to_owned();
            parity.rows = vec![row(true), row(false)];
            parity.switch = Switch {
                announce: 1,
                delete: 0,
                change: 30,
            };
        })),
        ..base()
    };
    insta::assert_snapshot!(plain(&shadow), @r"
    k8s-relay 1.2.3, up 3h 12m; stage shadow, for 12m 5s
    The legacy source is active; the native source is compared with it.
    The autopilot is suspended after 4 rollbacks of its own: an operator decides.

    REDUCER             STATE        SINCE        ANNOUNCED                    QUEUED
    reducer.otel:7000   up to date   3h 11m 40s   1190 pods, 2380 containers   0 B

    SOURCE   ROLE     STATE    PODS   LIVE   NO OWNER YET   OWNERS   FED BY           LAST EVENT
    legacy   active   synced   1200   1190   4              300      1 stream         0.4s ago
    native   shadow   synced   1200   1190   4              300      3 of 3 watches   0.4s ago

    STREAM   FROM          ROLE      STATE    SINCE    INFOS   LAST EVENT
    1        127.0.0.1:1   active    synced   3h 11m   1500    0.4s ago
    2        127.0.0.1:2   standby   synced   3h 11m   1500    0.4s ago
    3        127.0.0.1:3   standby   ended    3h 11m   1500    0.4s ago

    WATCH   NAMESPACE   STATE     SINCE    LAST EVENT   LAST ERROR
    pods    all         healthy   1m 35s   0.4s ago

    PARITY    held for 5m 10s of 5m: cutover is blocked by confirmed divergences
              digests are different
                legacy 2:00ff
                native 3:11ee
              30 divergences, confirmed after 10.0s; 1 unconfirmed: owner 30, version 1
              2 pods changed in one source a moment ago, to be compared
              12 expected differences: init-containers 12
              a cutover would announce 1 pod and delete 0; of 30 pods that differ, what the reducer lacks
              the oldest 2 of 31:
              shop/web-1 (uid-1): owner, for 1m 15s
                legacy Deployment/web
                native ReplicaSet/web-5d4f\u{1b}[2J\n
              shop/web-1 (uid-1): owner, for 1m 15s, unconfirmed
                legacy Deployment/web
                native ReplicaSet/web-5d4f\u{1b}[2J\n

    Next:  `cutover` is blocked: parity has held for 5m of 5m; 30 divergences are confirmed
    Undo:  k8s-relay migrate rollback
    ");
}

fn parity(set: impl FnOnce(&mut Parity)) -> Parity {
    let mut parity = Parity {
        comparing: true,
        held_seconds: 310.0,
        hold_seconds: 300.0,
        settle_seconds: 10.0,
        legacy_digest: "2:00ff".to_owned(),
        native_digest: "2:00ff".to_owned(),
        ..Parity::default()
    };
    set(&mut parity);
    parity
}

#[test]
fn nothing_contradicts_anything_after_a_rollback_without_a_watcher() {
    let rolled_back = Status {
        stage: Stage::Shadow,
        waiting_for_watcher: true,
        waits_for: Some("no legacy watcher is connected".to_owned()),
        steps: steps([
            (Command::Cutover, Some("no watcher is connected")),
            (Command::Finish, Some("a rollback is in progress")),
            (Command::Rollback, None),
        ]),
        auto: Some(Auto {
            stopped_by_operator: true,
            ..Auto::default()
        }),
        native: Some(Feed {
            sources: 3,
            ..feed()
        }),
        parity: Some(parity(|parity| {
            parity.comparing = false;
            parity.paused = Some("no watcher is connected".to_owned());
        })),
        last_step: Some(EndedStep {
            command: "rollback".to_owned(),
            by: "the Unix socket, user 0, process 17".to_owned(),
            seconds: 3.0,
            done: Some("from shadow-native to shadow".to_owned()),
            not_kept: Some("No space left on device".to_owned()),
            ..EndedStep::default()
        }),
        kept: Some(Kept {
            kept: false,
            error: Some("No space left on device".to_owned()),
        }),
        ..base()
    };
    let text = plain(&rolled_back);
    for contradiction in [
        "The legacy source is active",
        "digests are equal",
        "given up",
    ] {
        assert!(!text.contains(contradiction), "{text}");
    }
    insta::assert_snapshot!(text, @r"
    k8s-relay 1.2.3, up 3h 12m; stage shadow, for 12m 5s
    Rolled back, but no legacy watcher is connected: the native source stays active until one is synced.
    The autopilot is suspended, because an operator has rolled back: `migrate shadow` or `migrate cutover` resumes it.
    Last step: `rollback`, 3.0s ago, by the Unix socket, user 0, process 17: done, not kept (No space left on device).
    A restart would not know the stage: No space left on device.

    REDUCER             STATE        SINCE        ANNOUNCED                    QUEUED
    reducer.otel:7000   up to date   3h 11m 40s   1190 pods, 2380 containers   0 B

    SOURCE   ROLE     STATE    PODS   LIVE   NO OWNER YET   OWNERS   FED BY           LAST EVENT
    legacy   none
    native   active   synced   1200   1190   4              300      3 of 3 watches   0.4s ago

    PARITY    paused: no watcher is connected; until then held for 5m 10s of 5m: long enough for a cut-over
              nothing is compared meanwhile; what was found before goes on from there

    Next:  connect a legacy watcher: when it is synced, it takes over
    Undo:  k8s-relay migrate cutover --force   (the native source stays)
    ");
}

#[test]
fn a_watcher_that_has_gone_leaves_a_state_whose_age_is_said() {
    let gone = Status {
        steps: steps([
            (Command::Shadow, Some("`shadow` is being taken")),
            (Command::Rollback, None),
        ]),
        legacy: Some(Feed {
            open: false,
            sources: 0,
            streams: vec![stream(1, "active", false)],
            ..feed()
        }),
        unfed: Some(Unfed {
            seconds: 184.0,
            why: "the watcher's stream has ended".to_owned(),
        }),
        step: Some(RunningStep {
            number: 1,
            command: "shadow".to_owned(),
            by: "127.0.0.1:5000".to_owned(),
            seconds: 6.0,
            waits_for: "the native watches start".to_owned(),
        }),
        ..base()
    };
    insta::assert_snapshot!(plain(&gone), @r"
    k8s-relay 1.2.3, up 3h 12m; stage legacy, for 12m 5s
    The legacy source is active; the native source does not run.
    Nobody has fed the reducer's state for 3m 4s: the watcher's stream has ended. It stays as it was.
    `shadow`, asked for by 127.0.0.1:5000, is in progress for 6.0s: the native watches start.

    REDUCER             STATE        SINCE        ANNOUNCED                    QUEUED
    reducer.otel:7000   up to date   3h 11m 40s   1190 pods, 2380 containers   0 B

    SOURCE   ROLE     STATE   PODS   LIVE   NO OWNER YET   OWNERS   FED BY   LAST EVENT
    legacy   active   ended   1200   1190   4              300      nobody   0.4s ago
    native   none

    STREAM   FROM          ROLE     STATE   SINCE    INFOS   LAST EVENT
    1        127.0.0.1:1   active   ended   3h 11m   1500    0.4s ago

    Next:  wait for `shadow`
    Undo:  k8s-relay migrate rollback
    ");
}

#[test]
fn what_is_left_until_a_cutover_is_said_in_numbers() {
    let line = |parity: &Parity, stage| parity::held(parity, stage).1;
    let held = parity(|_| ());
    assert_eq!(
        line(&held, Stage::Shadow),
        "held for 5m 10s of 5m: long enough for a cut-over"
    );
    assert_eq!(line(&held, Stage::ShadowNative), "held for 5m 10s");
    let young = parity(|parity| parity.held_seconds = 100.0);
    assert_eq!(
        line(&young, Stage::Shadow),
        "held for 1m 40s of 5m: cutover is blocked for 3m 20s more"
    );
    let rolled_back = parity(|parity| parity.auto_hold_seconds = Some(910.0));
    assert_eq!(
        parity::autopilot(&rolled_back, Stage::Shadow).unwrap(),
        "the autopilot cuts over when it has held for 15m 10s, in 10m"
    );
    assert_eq!(parity::autopilot(&rolled_back, Stage::ShadowNative), None);
    assert_eq!(parity::autopilot(&held, Stage::Shadow), None);
}

#[test]
fn a_watcher_that_is_connected_although_the_native_source_stands_alone_is_shown() {
    let ignored = Stream {
        synced: false,
        ..stream(4, "ignored", true)
    };
    let alone = Status {
        stage: Stage::Native,
        steps: steps([(Command::Shadow, None), (Command::Rollback, None)]),
        native: Some(Feed {
            sources: 3,
            watches: vec![watch("pods", "healthy", Some("cannot connect: refused"))],
            ..feed()
        }),
        ignored_streams: vec![ignored, stream(3, "ended", false)],
        ..base()
    };
    let text = plain(&alone);
    let (_, sources) = text.split_once("SOURCE ").unwrap();
    insta::assert_snapshot!(format!("SOURCE {sources}"), @r"
    SOURCE   ROLE      STATE    PODS   LIVE   NO OWNER YET   OWNERS   FED BY           LAST EVENT
    legacy   ignored   -        -      -      -              -        1 stream         0.4s ago
    native   active    synced   1200   1190   4              300      3 of 3 watches   0.4s ago

    STREAM   FROM          ROLE      STATE   SINCE    INFOS   LAST EVENT
    4        127.0.0.1:4   ignored   open    3h 11m   1500    0.4s ago
    3        127.0.0.1:3   ended     ended   3h 11m   1500    0.4s ago

    WATCH   NAMESPACE   STATE     SINCE    LAST EVENT   LAST ERROR
    pods    all         healthy   1m 35s   0.4s ago     over; 2.0s ago: cannot connect: refused

    Next:  end the legacy watcher: what it sends is ignored   Undo:  k8s-relay migrate rollback
    ");
}

#[test]
fn what_would_be_refused_is_not_offered_and_what_would_not_is() {
    let next = |status: &Status| {
        let text = plain(status);
        let at = text.find("Next:").unwrap();
        text.get(at..).unwrap().replace('\n', " | ")
    };
    let at = |stage, steps| Status {
        stage,
        legacy: Some(feed()),
        steps,
        ..base()
    };
    let mut said = String::new();
    for status in [
        at(Stage::Legacy, steps([(Command::Shadow, None)])),
        at(
            Stage::Shadow,
            steps([(Command::Cutover, None), (Command::Rollback, None)]),
        ),
        at(
            Stage::ShadowNative,
            steps([(Command::Finish, None), (Command::Rollback, None)]),
        ),
        at(
            Stage::Shadow,
            steps([
                (Command::Cutover, Some("no watcher is connected")),
                (Command::Rollback, Some("something else")),
            ]),
        ),
    ] {
        said += &format!("{}: {}\n", status.stage, next(&status));
    }
    insta::assert_snapshot!(said, @r"
    legacy: Next:  k8s-relay migrate shadow | 
    shadow: Next:  k8s-relay migrate cutover   Undo:  k8s-relay migrate rollback | 
    shadow-native: Next:  k8s-relay migrate finish   Undo:  k8s-relay migrate rollback | 
    shadow: Next:  `cutover` is blocked: no watcher is connected | 
    ");
}
