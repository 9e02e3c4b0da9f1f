//! The ordinary life: what is asked for, what is sent, and how it ends.

use std::sync::atomic::Ordering::Relaxed;

use k8s_relay::source::native::{ListMode, Options, Timeouts, decode::ObjectError};

use tokio::time::sleep;

use super::watched::{ROOM, SECOND, Watched};
use crate::support::api::{
    Api, JSON, added, bookmark, deleted, end_mark, error, event, modified, object, page,
};

const METADATA: &str =
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";

#[tokio::test(start_paused = true)]
async fn each_kind_and_namespace_has_a_watch_of_its_own() {
    let options = Options {
        namespaces: vec!["a".to_owned(), "b".to_owned()],
        selector: Some("app in (x, y)".to_owned()),
        ..Options::default()
    };
    let mut watched = Watched::with(Api::start().await, options, "").await;
    for (resource, group, accept) in [
        ("pods", "/api/v1", "application/json"),
        ("replicasets", "/apis/apps/v1", METADATA),
        ("jobs", "/apis/batch/v1", METADATA),
    ] {
        let mut paths = Vec::new();
        for _ in 0..2 {
            let call = watched.api.call(resource).await;
            assert_eq!(call.ask(), "stream");
            assert!(!call.query.contains_key("resourceVersion"));
            assert_eq!(call.headers["accept"], accept);
            let agent = format!("k8s-relay/{}", env!("CARGO_PKG_VERSION"));
            assert_eq!(call.headers["user-agent"], agent);
            let selector = call.query.get("labelSelector").map(String::as_str);
            assert_eq!(selector, (resource == "pods").then_some("app in (x, y)"));
            paths.push(call.path.clone());
        }
        paths.sort();
        let expected = ["a", "b"].map(|name| format!("{group}/namespaces/{name}/{resource}"));
        assert_eq!(paths, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn first_lists_are_taken_two_at_a_time_and_later_ones_wait_for_nobody() {
    let options = Options {
        list: ListMode::Pages,
        timeouts: Timeouts {
            turn: 20 * SECOND,
            ..Timeouts::default()
        },
        ..Options::default()
    };
    let mut watched = Watched::in_turns(Api::start().await, options, "").await;
    let pods = watched.api.asked("page 500").await;
    let sets = watched.api.call("replicasets").await;
    let begun = pods.at;
    // A list is one turn, however many pages it has; one that fails gives its turn away.
    sleep(5 * SECOND).await;
    pods.page(&[object("a", "1")], "5", Some("more")).await;
    let pods = watched.api.asked("page 500 after more").await;
    sleep(5 * SECOND).await;
    sets.refuse(500, "not now").await;
    let jobs = watched.api.call("jobs").await;
    let waited = jobs.at - begun;
    assert!((10 * SECOND..11 * SECOND).contains(&waited), "{waited:?}");
    // The ReplicaSets come again when one of both is through.
    sleep(5 * SECOND).await;
    jobs.page(&[], "5", None).await;
    let sets = watched.api.call("replicasets").await;
    let waited = sets.at - begun;
    assert!((15 * SECOND..16 * SECOND).contains(&waited), "{waited:?}");
    // Both turns are taken, and a watch that has listed does not care.
    let jobs = watched.api.call("jobs").await;
    assert_eq!(jobs.ask(), "watch 5");
    jobs.stream().await.line(error(410)).await;
    let again = watched.api.call("jobs").await;
    assert_eq!(again.ask(), "page 500");
    drop((pods, sets));
}

#[tokio::test(start_paused = true)]
async fn first_lists_that_hang_hold_back_no_other_one_for_long() {
    let options = Options {
        list: ListMode::Pages,
        ..Options::default()
    };
    let mut watched = Watched::in_turns(Api::start().await, options, "").await;
    let pods = watched.api.asked("page 500").await;
    let sets = watched.api.call("replicasets").await;
    let begun = pods.at;
    let jobs = watched.api.call("jobs").await;
    let waited = jobs.at - begun;
    assert!((3 * SECOND..4 * SECOND).contains(&waited), "{waited:?}");
    // What comes late counts all the same.
    jobs.page(&[], "5", None).await;
    assert_eq!(watched.api.call("jobs").await.ask(), "watch 5");
    pods.page(&[object("a", "1")], "5", None).await;
    assert_eq!(watched.api.call("pods").await.ask(), "watch 5");
    drop(sets);
}

#[tokio::test(start_paused = true)]
async fn owners_are_listed_as_metadata() {
    let mut watched = Watched::start(ListMode::Pages).await;
    let call = watched.api.call("jobs").await;
    let list = METADATA.replace("Metadata;", "MetadataList;");
    assert_eq!(call.headers["accept"], list);
    call.page(&[object("j", "1")], "1", None).await;
    let call = watched.api.call("jobs").await;
    assert_eq!(call.ask(), "watch 1");
    assert_eq!(call.headers["accept"], METADATA);
}

#[tokio::test(start_paused = true)]
async fn a_streamed_list_and_what_follows_is_sent_as_it_comes() {
    let mut watched = Watched::start(ListMode::Auto).await;
    let mut stream = watched.api.asked("stream").await.stream().await;
    stream.line(added("a", "2")).await;
    assert_eq!(
        watched.until("+a").await,
        "init +a",
        "before the list has ended"
    );
    stream.lines(&[added("b", "1"), end_mark("5")]).await;
    assert_eq!(watched.until("healthy").await, "+b done healthy");
    stream.line(modified("a", "6")).await;
    stream.line(deleted("b", "7")).await;
    assert_eq!(watched.until("delete-b").await, "apply-a delete-b");
    stream.line(bookmark("9")).await;
    stream.end().await;
    watched.api.pods().await.version("9").await;
    watched.api.asked("watch 9").await;
    assert_eq!(watched.counters.lists.load(Relaxed), 1);
    assert_eq!(watched.counters.failures.load(Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn lines_may_be_cut_anywhere_by_the_network() {
    let (mut watched, mut stream) = Watched::following().await;
    let text = format!("{}\n{}\n", added("b", "6"), deleted("a", "7"));
    for chunk in text.as_bytes().chunks(3) {
        stream.chunk(std::str::from_utf8(chunk).unwrap()).await;
    }
    assert_eq!(watched.until("delete-a").await, "apply-b delete-a");
}

#[tokio::test(start_paused = true)]
async fn a_long_list_comes_in_many_batches() {
    let mut watched = Watched::start(ListMode::Pages).await;
    let items: Vec<String> = (0..700).map(|n| object(&format!("p{n}"), "1")).collect();
    let call = watched.api.asked("page 500").await;
    call.page(&items[..500], "5", Some("t/1=")).await;
    let call = watched.api.asked("page 500 after t/1=").await;
    call.page(&items[500..], "5", None).await;
    let sent = watched.until("done").await;
    assert_eq!(sent.matches('+').count(), 700);
    assert_eq!(sent.matches("init").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_line_that_is_too_long_is_skipped_and_counted() {
    let (mut watched, mut stream) = Watched::following().await;
    let long = "x".repeat(1 << 20);
    stream.chunk("{\"type\":\"ADDED\",\"object\":\"").await;
    for _ in 0..5 {
        stream.chunk(&long).await;
    }
    stream.chunk("\"}\n").await;
    stream.line(added("b", "7")).await;
    assert_eq!(watched.until("apply-b").await, "apply-b");
    assert_eq!(watched.counters.dropped(ObjectError::TooLarge), 1);
}

#[tokio::test(start_paused = true)]
async fn an_object_that_cannot_be_used_costs_itself_alone_and_is_logged_once() {
    let (mut watched, mut stream) = Watched::following().await;
    watched.logged();
    let nameless = r#"{"metadata":{"resourceVersion":"6"}}"#;
    for _ in 0..3 {
        stream.line(event("ADDED", nameless)).await;
    }
    stream.line(added("b", "7")).await;
    assert_eq!(watched.until("apply-b").await, "apply-b");
    assert_eq!(watched.counters.dropped(ObjectError::NoUid), 3);
    assert_eq!(watched.logged().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_slow_listener_holds_back_the_watch_and_costs_it_nothing() {
    let (mut watched, mut stream) = Watched::following().await;
    // More batches than the channel takes.
    for n in 0..ROOM + 20 {
        stream
            .line(added(&format!("p{n}"), &format!("{}", 10 + n)))
            .await;
        tokio::time::sleep(SECOND).await;
    }
    tokio::time::sleep(3_600 * SECOND).await;
    let sent = watched.until(&format!("apply-p{}", ROOM + 19)).await;
    assert_eq!(sent.matches("apply").count(), ROOM + 20, "{sent}");
    assert_eq!(watched.rest(), "", "no failure, no list");
}

#[tokio::test(start_paused = true)]
async fn the_end_closes_every_connection_and_the_channel() {
    let (mut watched, stream) = Watched::following().await;
    watched.stop.cancel();
    stream.closed().await;
    watched.task.await.unwrap().unwrap();
    while watched.inputs.recv().await.is_some() {}
}

#[tokio::test(start_paused = true)]
async fn the_watches_end_when_nobody_listens() {
    let mut watched = Watched::start(ListMode::Pages).await;
    drop(std::mem::replace(
        &mut watched.inputs,
        tokio::sync::mpsc::channel(1).1,
    ));
    for resource in ["pods", "replicasets", "jobs"] {
        let call = watched.api.call(resource).await;
        call.answer(200, JSON, &page(&[], "5", None)).await;
    }
    watched.task.await.unwrap().unwrap();
}
