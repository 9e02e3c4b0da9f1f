//! Objects that cannot be used, and lines that cannot be read.

use k8s_relay::source::native::{
    ListMode,
    decode::{MAX_OBJECT_LEN, ObjectError},
};

use super::{
    lists::assert_slower_and_slower,
    watched::{SECOND, Watched},
};
use crate::support::api::{JSON, added, bookmark, end_mark, event, object};

/// It can be seen which one it is, and no more.
fn flawed(uid: &str) -> String {
    format!(r#"{{"metadata":{{"uid":"{uid}","resourceVersion":"1"}},"status":17}}"#)
}

#[tokio::test(start_paused = true)]
async fn a_list_says_of_an_object_that_it_cannot_be_used_but_is_there() {
    let mut watched = Watched::start(ListMode::Pages).await;
    let call = watched.api.asked("page 500").await;
    call.page(&[flawed("a")], "5", Some("t")).await;
    let call = watched.api.asked("page 500 after t").await;
    let nameless = "{}".to_owned();
    call.page(&[flawed("b"), nameless, object("c", "2")], "5", None)
        .await;
    let sent = watched.until("done").await;
    assert_eq!(sent, "init seen-a healthy +c seen-b done");

    let mut watched = Watched::start(ListMode::WatchList).await;
    let mut stream = watched.api.asked("stream").await.stream().await;
    let flawed = |sort: &str, uid: &str| event(sort, &flawed(uid));
    stream
        .lines(&[flawed("ADDED", "a"), added("b", "2"), end_mark("5")])
        .await;
    assert_eq!(watched.until("done").await, "init seen-a +b done");
    stream.lines(&[flawed("DELETED", "a"), bookmark("6")]).await;
    assert_eq!(watched.until("delete-").await, "healthy delete-");
    assert_eq!(watched.counters.dropped(ObjectError::WrongType), 1);
}

#[tokio::test(start_paused = true)]
async fn a_line_that_is_too_long_is_passed_by_and_moves_no_version() {
    let (mut watched, mut stream) = Watched::following().await;
    let mut asked = vec![tokio::time::Instant::now()];
    for _ in 0..4 {
        stream.line("x".repeat(MAX_OBJECT_LEN + 1)).await;
        stream.end().await;
        // Nothing is known of what stood there, so it is asked for again, but more and more seldom.
        let at;
        (at, stream) = watched.reopened("5").await;
        asked.push(at);
    }
    assert_slower_and_slower(&asked);
    assert_eq!(watched.counters.dropped(ObjectError::TooLarge), 4);
    stream.line("x".repeat(MAX_OBJECT_LEN + 1)).await;
    stream.line(added("b", "7")).await;
    assert_eq!(watched.until("healthy").await, "failing apply-b healthy");
    stream.end().await;
    // What comes behind it does move it.
    let before = tokio::time::Instant::now();
    let _open = watched.reopened("7").await;
    assert!(before.elapsed() < SECOND);
    assert_eq!(watched.rest(), "");
}

#[tokio::test(start_paused = true)]
async fn a_streamed_list_goes_on_behind_a_line_that_is_too_long() {
    let mut watched = Watched::start(ListMode::WatchList).await;
    let mut stream = watched.api.asked("stream").await.stream().await;
    stream.line(added("a", "1")).await;
    stream.line("x".repeat(MAX_OBJECT_LEN + 1)).await;
    stream.lines(&[added("b", "2"), end_mark("5")]).await;
    assert_eq!(watched.until("done").await, "init +a +b done");
    stream.end().await;
    watched.api.pods().await.version("5").await;
    let _open = watched.api.asked("watch 5").await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_encoded_unasked_is_one_line_that_says_so() {
    let mut watched = Watched::start(ListMode::Pages).await;
    let gzip = format!("{JSON}Content-Encoding: gzip\r\n");
    for code in [200, 500, 200] {
        let call = watched.api.asked("page 500").await;
        assert_eq!(call.headers["accept-encoding"], "identity");
        call.answer(code, &gzip, "\u{1f}\u{8b}garbage").await;
    }
    let call = watched.api.asked("page 500").await;
    call.page(&[object("a", "1")], "5", None).await;
    assert_eq!(
        watched.until("healthy").await,
        "failing init +a done healthy"
    );
    let logged = watched.logged();
    let warnings = logged.iter().filter(|line| line.starts_with("WARN"));
    let warnings: Vec<_> = warnings.collect();
    assert_eq!(warnings.len(), 1, "{logged:?}");
    assert!(
        warnings[0].contains("Content-Encoding: gzip"),
        "{warnings:?}"
    );

    // A watch that is encoded is as bad.
    let call = watched.api.asked("watch 5").await;
    call.answer(200, &gzip, "\u{1f}\u{8b}garbage").await;
    assert_eq!(watched.until("failing").await, "failing");
    let logged = watched.logged();
    assert!(logged[0].contains("Content-Encoding: gzip"), "{logged:?}");
}
