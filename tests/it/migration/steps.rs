//! Stage by stage: what each step does, and what the reducer hears of it.

use k8s_relay::{
    config::Source,
    migrate::{Command, Stage},
    model::Kind,
    sim::kube::{Fault, Meta, Object, When},
};

use super::world::{World, pod};

#[tokio::test]
async fn the_way_to_our_own_watches_and_back_never_blinks() {
    let mut world = World::new(Source::Legacy).await;
    world.watcher().await;
    world.known().await;
    let before = world.sent();
    world.step(Command::Shadow).await.unwrap();
    world.stage(Stage::Shadow).await;
    world.goes_on("2").await;
    world.cut_over().await;
    let status = world.stage(Stage::ShadowNative).await;
    assert!(!status.forced && status.native.unwrap().active);
    world.goes_on("3").await;
    world.step(Command::Finish).await.unwrap();
    world.stage(Stage::Native).await;
    world.goes_on("4").await;
    world.step(Command::Rollback).await.unwrap();
    world.stage(Stage::Shadow).await;
    // The watcher lists again. A change that comes after its list shows that it has sent all.
    let mut version = 5;
    loop {
        world.goes_on(&version.to_string()).await;
        version += 1;
        let status = world.status().await;
        if status.legacy.is_some_and(|feed| feed.active) && !status.waiting_for_watcher {
            break;
        }
    }
    world.step(Command::Rollback).await.unwrap();
    let status = world.stage(Stage::Legacy).await;
    assert!(status.native.is_none() && status.parity.is_none());
    world.goes_on(&version.to_string()).await;
    // `b` has another image each time, which is a delete, the pod, and its container (D14).
    let sent = world.sent_since(before);
    assert!(
        sent.iter().all(|line| line.ends_with(" uid-b")),
        "no resync, and of no other pod a word: {sent:?}"
    );
    world.stop().await;
}

#[tokio::test]
async fn the_gate_opens_when_parity_has_held_and_says_until_then_why_it_is_closed() {
    let mut world = World::with(Source::Shadow, |config| {
        config.migrate.parity_hold = std::time::Duration::from_secs(300);
    })
    .await;
    let refused = world.step(Command::Cutover).await.unwrap_err();
    assert!(refused.contains("no watcher is connected"), "{refused}");
    world.watcher().await;
    world
        .until("they are compared", |status| {
            status
                .parity
                .as_ref()
                .is_some_and(|parity| parity.comparing)
        })
        .await;
    let refused = world.step(Command::Cutover).await.unwrap_err();
    assert!(refused.contains(" of 5m"), "{refused}");
    assert!(world.step(Command::Finish).await.is_err());
    world.force(Command::Cutover).await.unwrap();
    let status = world.stage(Stage::ShadowNative).await;
    assert!(status.forced);
    world.goes_on("2").await;
    world.stop().await;
}

#[tokio::test]
async fn equal_feeds_have_equal_digests_and_the_reducer_has_the_same() {
    let mut world = World::new(Source::Shadow).await;
    world.watcher().await;
    world.known().await;
    let sent = world.reducer.with(|state| {
        let reducer_state = state.reducer_state().unwrap();
        reducer_state.digests().total().to_string()
    });
    world
        .until("the same digest three times", |status| {
            let parity = status.parity.as_ref().filter(|parity| parity.comparing);
            parity
                .is_some_and(|parity| parity.legacy_digest == sent && parity.native_digest == sent)
        })
        .await;
    assert_eq!(world.expected_state().digests().total().to_string(), sent);
    let counted = world.digests().await;
    let counted: Vec<_> = counted
        .iter()
        .map(|one| (one.feed.as_str(), one.exact, one.total.as_str()))
        .collect();
    assert_eq!(
        counted,
        [("legacy", true, &*sent), ("native", true, &*sent)]
    );
    world.stop().await;
}

#[tokio::test]
async fn a_watcher_that_reconnects_pauses_the_comparison_and_the_hold_goes_on_where_it_was() {
    let mut world = World::new(Source::Shadow).await;
    world.watcher().await;
    let held = |status: &k8s_relay::admin::api::Status| {
        status.parity.as_ref().map(|parity| parity.held_seconds)
    };
    let before = world
        .until("parity holds", |status| held(status) > Some(0.2))
        .await;
    world.watcher_dies().await;
    let paused = world.status().await.parity.unwrap();
    assert!(!paused.comparing);
    assert_eq!(paused.paused.as_deref(), Some("no watcher is connected"));
    world.watcher().await;
    let after = world
        .until("they are compared again", |status| {
            status
                .parity
                .as_ref()
                .is_some_and(|parity| parity.comparing)
        })
        .await;
    assert!(held(&after) >= held(&before), "{after:#?}");
    world.stop().await;
}

#[tokio::test]
async fn a_restart_goes_on_with_the_stage_of_the_state_file() {
    let file = tempfile::tempdir().unwrap();
    let path = file.path().join("state");
    let mut world = World::with(Source::Shadow, |config| {
        config.migrate.state_file = Some(path.clone());
    })
    .await;
    world.watcher().await;
    world.cut_over().await;
    world.goes_on("2").await;
    world.watcher_dies().await;
    world.stop().await;
    world.start().await;
    let status = world.status().await;
    assert_eq!(status.stage, Stage::ShadowNative);
    world.goes_on("3").await;
    world.stop().await;
}

#[tokio::test]
async fn the_autopilot_cuts_over_by_itself_and_rolls_back_when_native_watches_fail() {
    let mut world = World::with(Source::Shadow, |config| {
        config.migrate.mode = k8s_relay::config::Migrate::Auto;
        config.native.list = k8s_relay::config::Lists::WatchList;
    })
    .await;
    world.watcher().await;
    world.stage(Stage::ShadowNative).await;
    world.goes_on("2").await;
    let messages = world.sent();
    // Both must list again. Ours asks for streamed lists, which fail; the legacy watcher does not.
    world.api.fault(When::watch_list(), Fault::code(500));
    world.api.end_watches();
    world.api.apply(pod("b", "3"));
    world.api.compact();
    world
        .until("it rolls back", |status| {
            // Something changes all the time, by which the watcher's new stream is listed.
            world.api.apply(pod("a", &status.up_seconds.to_string()));
            status.stage == Stage::Shadow
        })
        .await;
    let status = world.stage(Stage::Shadow).await;
    assert_eq!(status.auto.unwrap().rollbacks, 1);
    world.known().await;
    let sent = world.sent_since(messages);
    assert!(
        !sent.iter().any(|line| line.ends_with(" uid-c")),
        "{sent:?}"
    );
    assert!(
        !sent.iter().any(|line| line.starts_with("pod_resync")),
        "{sent:?}"
    );
    world.stop().await;
}

#[tokio::test]
async fn the_autopilot_rolls_back_when_rights_are_taken_that_native_watches_had() {
    let mut world = World::with(Source::Shadow, |config| {
        config.migrate.mode = k8s_relay::config::Migrate::Auto;
        config.native.list = k8s_relay::config::Lists::WatchList;
    })
    .await;
    world.watcher().await;
    world.stage(Stage::ShadowNative).await;
    // An event of each kind since its list: when all versions are gone, one may follow at once.
    world
        .api
        .apply(Object::replica_set(Meta::new("shop", "set", "uid-set")));
    world
        .api
        .apply(Object::job(Meta::new("shop", "job", "uid-job")));
    world.goes_on("2").await;
    let messages = world.sent();
    // Only ours asks for streamed lists: the legacy watcher may read pods, and lists again.
    let taken = world
        .api
        .fault(When::watch_list().of(Kind::POD), Fault::code(403));
    world.api.end_watches();
    world.api.apply(pod("b", "3"));
    world.api.compact();
    let status = world
        .until("it rolls back", |status| {
            // Something changes all the time, by which the watcher's new stream is listed.
            world.api.apply(pod("a", &status.up_seconds.to_string()));
            status.stage == Stage::Shadow
        })
        .await;
    assert_eq!(status.auto.unwrap().rollbacks, 1);
    let native = status.native.unwrap();
    assert_eq!((native.revoked, native.unhealthy), (1, 1));
    assert_eq!(native.live, 3, "what it knew is kept");
    let refused = world.step(Command::Cutover).await.unwrap_err();
    assert!(
        refused.contains("1 of 3 watches are failing, or are refused what they were allowed"),
        "{refused}"
    );
    world.known().await;
    let sent = world.sent_since(messages);
    let of_c = |line: &String| line.ends_with(" uid-c") || line.starts_with("pod_resync");
    assert!(!sent.iter().any(of_c), "{sent:?}");
    world.api.cancel(taken);
    world
        .until("its rights are back", |status| {
            let native = status.native.as_ref();
            native.is_some_and(|native| native.unhealthy == 0 && native.revoked == 0)
        })
        .await;
    world.stop().await;
}
