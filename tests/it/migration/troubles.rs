//! What may go wrong on the way.

use k8s_relay::{
    config::Source,
    migrate::{Command, Stage},
    model::Kind,
    sim::kube::{Fault, Sort, When},
};

use super::world::World;

#[tokio::test]
async fn of_two_steps_at_once_one_is_taken() {
    let world = World::new(Source::Legacy).await;
    let (one, other) = tokio::join!(world.step(Command::Shadow), world.step(Command::Shadow));
    for said in [one, other] {
        if let Err(refused) = said {
            assert!(refused.contains("already"), "{refused}");
        }
    }
    world.stage(Stage::Shadow).await;
    let mut world = world;
    world.stop().await;
}

#[tokio::test]
async fn without_a_way_to_the_api_server_no_step_is_taken() {
    let mut world = World::with(Source::Legacy, |config| {
        config.native.kubeconfig = Some("/nowhere/kubeconfig".into());
    })
    .await;
    let refused = world.step(Command::Shadow).await.unwrap_err();
    assert!(refused.contains("/nowhere/kubeconfig"), "{refused}");
    assert_eq!(world.status().await.stage, Stage::Legacy);
    world.watcher().await;
    world.known().await;
    world.stop().await;
}

#[tokio::test]
async fn a_cutover_while_the_reducer_is_away_is_sent_when_it_is_back() {
    let mut world = World::new(Source::Shadow).await;
    world.watcher().await;
    world.known().await;
    world.reducer.stop_listening().await;
    world.reducer.disconnect().await;
    world.cut_over().await;
    world.api.delete(Kind::POD, "shop", "c");
    world.reducer.start_listening().await.unwrap();
    world.known().await;
    world.stop().await;
}

#[tokio::test]
async fn a_cutover_while_native_watches_list_is_refused_and_a_forced_one_deletes_nothing() {
    let mut world = World::with(Source::Legacy, |_| ()).await;
    world.watcher().await;
    world.known().await;
    let messages = world.sent();
    // Our own list of pods never comes to its end.
    let lists = When::watch_list().or(Sort::List).of(Kind::POD);
    world.api.fault(lists, Fault::Silence);
    world.step(Command::Shadow).await.unwrap();
    let refused = world.step(Command::Cutover).await.unwrap_err();
    assert!(refused.contains("not synced yet"), "{refused}");
    world.force(Command::Cutover).await.unwrap();
    world.stage(Stage::ShadowNative).await;
    world.step(Command::Rollback).await.unwrap();
    world.goes_on("2").await;
    let sent = world.sent_since(messages);
    assert!(sent.iter().all(|line| line.ends_with(" uid-b")), "{sent:?}");
    world.stop().await;
}

#[tokio::test]
async fn a_rollback_without_a_watcher_keeps_the_reducer_state_until_one_is_there() {
    let mut world = World::new(Source::Shadow).await;
    world.watcher().await;
    world.cut_over().await;
    world.known().await;
    world.watcher_dies().await;
    let messages = world.sent();
    world.step(Command::Rollback).await.unwrap();
    let status = world.stage(Stage::Shadow).await;
    assert!(status.waiting_for_watcher);
    world.goes_on("2").await;
    world.watcher().await;
    let status = world.status().await;
    assert!(!status.waiting_for_watcher && status.legacy.unwrap().active);
    world.goes_on("3").await;
    let sent = world.sent_since(messages);
    assert!(
        sent.iter()
            .all(|line| line.ends_with(" uid-b") || line.ends_with(" uid-a")),
        "{sent:?}"
    );
    world.stop().await;
}

#[tokio::test]
async fn a_legacy_stream_that_breaks_leaves_the_gate_closed_and_a_forced_cutover_safe() {
    let mut world = World::new(Source::Shadow).await;
    world.watcher().await;
    world.known().await;
    let messages = world.sent();
    world.watcher_dies().await;
    let refused = world.step(Command::Cutover).await.unwrap_err();
    assert!(refused.contains("no watcher is connected"), "{refused}");
    world.force(Command::Cutover).await.unwrap();
    world.goes_on("2").await;
    let sent = world.sent_since(messages);
    assert!(sent.iter().all(|line| line.ends_with(" uid-b")), "{sent:?}");
    world.stop().await;
}
