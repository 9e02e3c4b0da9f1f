//! A second relay that is slow, dead, wrong or back again: the first never notices.

use std::time::Duration;

use k8s_relay::{
    config::Reannounce,
    proto::info::Event,
    sim::cluster::{Cluster, sent_as},
    tools::ToolError,
};

use super::world::{World, send};
use crate::support::{gate::Way, must};

#[tokio::test]
async fn a_second_that_stalls_is_cut_and_sent_everything_when_it_is_back() {
    let world = World::start().await;
    world.compared().await;
    world.gate.set(Way::Stalled);
    let cluster = Cluster::new(100, 3_500);
    let mut call = world.tee.call().await;
    send(&mut call, cluster.list()).await;
    // The first has it all, whatever the second does.
    world.sent(3_500).await;
    world
        .tee
        .shows("it has fallen behind by more than 1 MiB and was cut")
        .await;
    send(
        &mut call,
        (0..100).map(|n| sent_as(Event::Deleted, cluster.pod(n))),
    )
    .await;
    world.sent(3_400).await;
    world.gate.set(Way::Open(world.second.address));
    world.compared().await;
    world.tee.equal(3_400).await;
    // What comes now goes both ways again.
    send(&mut call, (0..50).map(|n| cluster.pod(n))).await;
    world.tee.equal(3_450).await;
    world.tee.stop().await.0.unwrap();
}

#[tokio::test]
async fn a_second_that_dies_and_returns_is_sent_the_folded_state() {
    let world = World::start().await;
    world.compared().await;
    let cluster = Cluster::new(10, 100);
    let mut call = world.tee.call().await;
    send(&mut call, cluster.list()).await;
    world.tee.equal(100).await;

    world.gate.set(Way::Shut);
    world.tee.shows("second (127.0.0.1:").await;
    let out = world
        .tee
        .shows("is out of comparison: its stream has ended")
        .await;
    assert!(out.contains(" second ("), "{out}");
    // Meanwhile pods go and come; their owners are known from before.
    send(
        &mut call,
        (0..30).map(|n| sent_as(Event::Deleted, cluster.pod(n))),
    )
    .await;
    send(&mut call, (20..30).map(|n| cluster.pod(n))).await;
    world.sent(80).await;

    world.gate.set(Way::Open(world.second.address));
    world.compared().await;
    world.tee.equal(80).await;
    world.tee.stop().await.0.unwrap();
}

#[tokio::test]
async fn a_second_that_was_never_there_is_out_of_comparison_until_it_comes() {
    let world = World::start().await;
    world.compared().await;
    world.gate.set(Way::Shut);
    let mut call = world.tee.call().await;
    send(&mut call, Cluster::new(4, 40).list()).await;
    world.sent(40).await;
    world
        .tee
        .shows("is out of comparison: its stream has ended")
        .await;
    let lines = |shown: &str| shown.matches("out of comparison: its stream").count();
    assert_eq!(
        lines(&world.tee.shown()),
        1,
        "one line, however often it is tried"
    );
    world.gate.set(Way::Open(world.second.address));
    world.compared().await;
    world.tee.equal(40).await;
    world.tee.stop().await.0.unwrap();
}

#[tokio::test]
async fn a_second_that_is_away_at_the_end_could_not_be_compared() {
    let world = World::start().await;
    world.compared().await;
    world.gate.set(Way::Shut);
    let mut call = world.tee.call().await;
    send(&mut call, Cluster::new(1, 1).list()).await;
    world
        .tee
        .shows("is out of comparison: its stream has ended")
        .await;
    let (result, _) = world.tee.stop().await;
    let Err(ToolError::Different(why)) = result else {
        panic!("{result:?}");
    };
    assert!(why.contains("is out of comparison at the end"), "{why}");
}

#[tokio::test]
async fn a_difference_that_stands_is_shown_with_both_sides_and_so_is_its_end() {
    let world = World::with(
        |tee| tee.settle = Duration::from_millis(300),
        |second| second.reannounce = Reannounce::OnChange,
    )
    .await;
    world.compared().await;
    let cluster = Cluster::new(1, 2);
    let mut call = world.tee.call().await;
    send(&mut call, cluster.list()).await;
    world.tee.equal(2).await;
    let mut changed = sent_as(Event::Modified, cluster.pod(0));
    let pod = changed.pod_info.as_mut().unwrap();
    let (uid, before) = (pod.uid.clone(), pod.version.clone());
    pod.version = "'other:2'".to_owned();
    send(&mut call, [changed]).await;
    let line = world.tee.shows("DIFFERENT pod").await;
    assert!(line.contains(&uid), "{line}");
    assert!(line.contains("version: first ("), "{line}");
    assert!(
        line.contains(&format!("says {before:?}, second (")),
        "{line}"
    );
    assert!(line.contains(r#"says "'other:2'", for "#), "{line}");

    send(&mut call, [sent_as(Event::Deleted, cluster.pod(0))]).await;
    world.tee.shows("EQUAL AGAIN pod").await;
    world.tee.equal(1).await;
    world.tee.stop().await.0.unwrap();
}

#[tokio::test]
async fn a_difference_that_stands_at_the_end_is_the_exit_status() {
    let world = World::with(
        |tee| tee.settle = Duration::from_millis(50),
        |second| second.reannounce = Reannounce::OnChange,
    )
    .await;
    world.compared().await;
    let cluster = Cluster::new(1, 1);
    let mut call = world.tee.call().await;
    send(&mut call, cluster.list()).await;
    world.tee.equal(1).await;
    let mut changed = sent_as(Event::Modified, cluster.pod(0));
    changed.pod_info.as_mut().unwrap().version = "'other:2'".to_owned();
    send(&mut call, [changed]).await;
    world.tee.shows("DIFFERENT pod").await;
    let (result, shown) = world.tee.stop().await;
    assert_eq!(
        result.unwrap_err().to_string(),
        "1 differences stand at the end"
    );
    assert!(
        shown.contains("summary: 1 differences stand, 1 have appeared"),
        "{shown}"
    );
}

#[tokio::test]
async fn a_second_that_has_lost_several_streams_sends_on_the_newest_when_it_is_back() {
    let world = World::start().await;
    world.compared().await;
    let mut older = world.tee.call().await;
    send(&mut older, Cluster::new(10, 100).list()).await;
    world.tee.equal(100).await;
    let mut newer = world.tee.call().await;
    let cluster = Cluster::new(2, 20);
    send(&mut newer, cluster.list()).await;
    world.tee.equal(20).await;
    for gone in 0..3 {
        let mark = world.tee.mark();
        world.gate.set(Way::Shut);
        let lost = "is out of comparison: its stream has ended";
        world.tee.shows_after(mark, lost).await;
        world.gate.set(Way::Open(world.second.address));
        world.tee.shows_after(mark, "is in comparison").await;
        let deleted = sent_as(Event::Deleted, cluster.pod(gone));
        send(&mut newer, [deleted]).await;
        world.tee.equal(19 - gone as usize).await;
    }
    world.tee.stop().await.0.unwrap();
}

#[tokio::test]
async fn an_older_stream_that_is_lost_is_sent_again_when_the_newer_one_is_over() {
    let world = World::start().await;
    world.compared().await;
    let cluster = Cluster::new(10, 100);
    let mut older = world.tee.call().await;
    send(&mut older, cluster.list()).await;
    world.tee.equal(100).await;
    let mut newer = world.tee.call().await;
    send(&mut newer, Cluster::new(2, 20).list()).await;
    world.tee.equal(20).await;

    let mark = world.tee.mark();
    world.gate.cut(1);
    // It says more while the second does not hear it.
    let gone = [0, 1].map(|n| sent_as(Event::Deleted, cluster.pod(n)));
    send(&mut older, gone).await;
    send(&mut newer, [sent_as(Event::Deleted, cluster.pod(0))]).await;
    world.tee.equal(19).await;
    let shown = world.tee.shown();
    assert!(!shown[mark..].contains("comparison"), "{shown}");
    newer.cancel();
    let waited = "is out of comparison: all newer streams are over";
    world.tee.shows_after(mark, waited).await;
    world.compared().await;
    // The first takes its time to go back to the older one.
    must("the second announces from the older one", async {
        while !world.tee.digests().await[1].ends_with("/98") {
            tokio::task::yield_now().await;
        }
    })
    .await;
    world.tee.stop().await.0.unwrap();
}
