//! How objects are listed, and when they are listed again.

use k8s_relay::source::native::ListMode;

use super::watched::{SECOND, Watched};
use crate::support::api::{added, deleted, end_mark, error, modified, object};

const FORBIDDEN: &str = "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for \
                         watch unless the WatchList feature gate is enabled";

#[tokio::test(start_paused = true)]
async fn a_server_that_cannot_stream_lists_is_asked_once_by_each_and_then_for_pages() {
    let mut watched = Watched::start(ListMode::Auto).await;
    let call = watched.api.asked("stream").await;
    call.refuse(422, FORBIDDEN).await;
    let call = watched.api.asked("page 500").await;
    call.page(&[object("a", "1")], "5", None).await;
    assert_eq!(watched.until("healthy").await, "init +a done healthy");
    let mut stream = watched.api.asked("watch 5").await.stream().await;
    stream.lines(&[added("b", "6"), error(410)]).await;
    let _unanswered = watched.api.asked("page 500").await;
    // Another kind that fails now knows it, too.
    let jobs = watched.api.call("jobs").await;
    assert_eq!(jobs.ask(), "stream", "had begun before");
    jobs.refuse(500, "not now").await;
    assert_eq!(watched.api.call("jobs").await.ask(), "page 500");
    assert!(
        watched
            .logged()
            .iter()
            .all(|line| !line.starts_with("WARN"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ignores_the_wish_for_a_streamed_list_is_found_out_without_a_gap() {
    let mut watched = Watched::start(ListMode::Auto).await;
    let call = watched.api.asked("stream").await;
    let asked = call.at;
    let mut stream = call.stream().await;
    stream.lines(&[added("a", "1"), added("b", "2")]).await;
    assert_eq!(watched.until("+b").await, "init +a +b");
    // What happens now is no first event.
    stream.line(deleted("b", "3")).await;
    stream.line(modified("a", "4")).await;
    let call = watched.api.asked("page 500").await;
    let waited = call.at - asked;
    assert!(waited <= SECOND, "{waited:?}");
    call.page(&[object("a", "11"), object("c", "7")], "12", None)
        .await;
    let sent = watched.until("healthy").await;
    assert!(sent.ends_with("init +a +c done healthy"), "{sent}");
    assert!(!sent.contains("delete"), "{sent}");
}

#[tokio::test(start_paused = true)]
async fn an_expired_version_leads_to_a_list_at_once_and_is_not_asked_for_again() {
    for (start, message) in [(true, "at the start"), (false, "within the stream")] {
        let (mut watched, mut stream) = Watched::following().await;
        stream.line(added("x", "6")).await;
        watched.until("apply-x").await;
        if start {
            stream.end().await;
            watched.api.pods().await.version("6").await;
            let call = watched.api.asked("watch 6").await;
            call.refuse(410, "too old resource version").await;
        } else {
            stream.line(error(410)).await;
        }
        let call = watched.api.asked("page 500").await;
        call.page(&[object("b", "8")], "9", None).await;
        assert_eq!(watched.until("done").await, "init +b done", "{message}");
        watched.api.asked("watch 9").await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_expired_page_begins_the_list_again() {
    let mut watched = Watched::start(ListMode::Pages).await;
    let call = watched.api.asked("page 500").await;
    call.page(&[object("a", "1")], "5", Some("t")).await;
    let call = watched.api.asked("page 500 after t").await;
    call.refuse(410, "the provided continue parameter is too old")
        .await;
    // Fewer pages expire more seldom.
    let call = watched.api.asked("page 1000").await;
    call.page(&[object("b", "1")], "6", None).await;
    assert_eq!(watched.until("done").await, "init +a healthy init +b done");
}

#[tokio::test(start_paused = true)]
async fn a_server_on_which_every_version_expires_is_not_listed_in_a_loop() {
    let (mut watched, mut stream) = Watched::following().await;
    let mut lists = Vec::new();
    for _ in 0..6 {
        stream.line(error(410)).await;
        let call = watched.api.asked("page 500").await;
        lists.push(call.at);
        call.page(&[object("a", "3")], "5", None).await;
        stream = watched.api.asked("watch 5").await.stream().await;
    }
    let pauses: Vec<f64> = lists
        .windows(2)
        .map(|at| (at[1] - at[0]).as_secs_f64())
        .collect();
    assert!(pauses.iter().all(|pause| *pause >= 30.0), "{pauses:?}");
}

#[tokio::test(start_paused = true)]
async fn a_restored_store_is_noticed_when_a_watch_is_opened_again() {
    let (mut watched, mut stream) = Watched::following().await;
    stream.line(added("b", "1000")).await;
    assert_eq!(watched.until("apply-b").await, "apply-b");
    stream.reset();
    watched.api.pods().await.version("700").await;
    let call = watched.api.asked("page 500").await;
    call.page(&[object("a", "3")], "701", None).await;
    assert_eq!(watched.until("done").await, "init +a done");
    watched.api.asked("watch 701").await;
    let logged = watched.logged();
    let line = logged.last().unwrap();
    assert!(line.contains("at version 700, before 1000"), "{line}");
}

#[tokio::test(start_paused = true)]
async fn a_streamed_list_that_is_cut_is_tried_more_and_more_seldom() {
    let mut watched = Watched::start(ListMode::WatchList).await;
    let mut asked = Vec::new();
    for n in 0..7 {
        let call = watched.api.asked("stream").await;
        asked.push(call.at);
        let mut stream = call.stream().await;
        stream.line(added("a", "1")).await;
        match n % 3 {
            0 => stream.cut().await,
            1 => stream.end().await,
            _ => stream.reset(),
        }
    }
    assert_slower_and_slower(&asked);
    let mut stream = watched.api.asked("stream").await.stream().await;
    stream.lines(&[added("b", "1"), end_mark("5")]).await;
    let sent = watched.until("healthy").await;
    assert!(sent.ends_with("init +b done healthy"), "{sent}");
    assert_eq!(sent.matches("failing").count(), 1);
    assert_eq!(watched.logged().len(), 2, "failing, and healthy again");
}

/// Pauses that double from 0.8 s to at most 30 s, with up to a half of chance.
pub fn assert_slower_and_slower(asked: &[tokio::time::Instant]) {
    let mut least = 0.8;
    for at in asked.windows(2) {
        let pause = (at[1] - at[0]).as_secs_f64();
        assert!(
            pause >= least - 0.01 && pause <= least * 1.5 + 0.01,
            "{pause} {least}"
        );
        least = f64::min(least * 2.0, 20.0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_that_is_cut_twice_comes_in_pages_and_pages_that_fail_twice_lead_back() {
    let mut watched = Watched::start(ListMode::Auto).await;
    for _ in 0..2 {
        for _ in 0..2 {
            let mut stream = watched.api.asked("stream").await.stream().await;
            stream.line(added("a", "1")).await;
            stream.cut().await;
        }
        for _ in 0..2 {
            let call = watched.api.asked("page 500").await;
            call.refuse(500, "no pages").await;
        }
    }
    let mut stream = watched.api.asked("stream").await.stream().await;
    stream.lines(&[added("b", "1"), end_mark("5")]).await;
    let sent = watched.until("healthy").await;
    assert!(sent.ends_with("init +b done healthy"), "{sent}");
}

#[tokio::test(start_paused = true)]
async fn an_end_mark_that_comes_before_the_page_alongside_it_counts() {
    let mut watched = Watched::start(ListMode::Auto).await;
    let mut stream = watched.api.asked("stream").await.stream().await;
    stream.line(added("a", "1")).await;
    let alongside = watched.api.asked("page 500").await;
    stream.line(end_mark("5")).await;
    assert_eq!(watched.until("healthy").await, "init +a done healthy");
    alongside.page(&[object("b", "1")], "5", None).await;
    stream.line(added("c", "6")).await;
    assert_eq!(watched.until("apply-c").await, "apply-c");
}

#[tokio::test(start_paused = true)]
async fn a_page_alongside_a_stream_that_fails_changes_nothing() {
    let mut watched = Watched::start(ListMode::Auto).await;
    let mut stream = watched.api.asked("stream").await.stream().await;
    stream.line(added("a", "1")).await;
    let alongside = watched.api.asked("page 500").await;
    alongside.refuse(503, "busy").await;
    tokio::time::sleep(SECOND).await;
    stream.lines(&[added("b", "1"), end_mark("5")]).await;
    assert_eq!(watched.until("healthy").await, "init +a +b done healthy");
    assert_eq!(watched.rest(), "");
}

#[tokio::test(start_paused = true)]
async fn three_errors_from_one_version_lead_to_a_list_and_it_gives_way_to_the_watch() {
    let (mut watched, mut stream) = Watched::following().await;
    stream.line(added("x", "6")).await;
    watched.until("apply-x").await;
    for _ in 0..2 {
        stream.line(error(500)).await;
        stream = watched.reopened("6").await.1;
    }
    stream.line(error(500)).await;
    let call = watched.api.asked("page 500").await;
    call.refuse(403, "pods is forbidden").await;
    stream = watched.reopened("6").await.1;
    stream.line(added("y", "7")).await;
    let sent = watched.until("apply-y").await;
    assert!(!sent.contains("init"), "{sent}");
}
