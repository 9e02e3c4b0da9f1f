//! What can go wrong with a request, below HTTP and in it.

use std::sync::atomic::Ordering::Relaxed;

use k8s_relay::{
    model::Kind,
    source::{
        Reason, WatchHealth,
        native::{ListMode, Options},
    },
};
use tokio::{net::TcpListener, time::Instant};

use super::{
    lists::assert_slower_and_slower,
    watched::{SECOND, Watched},
};
use crate::support::api::{Api, JSON, added, bookmark, error, object, page};

#[derive(Clone, Copy, Debug)]
enum How {
    Ends,
    IsCut,
    IsReset,
    IsGarbage,
    IsAnError,
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_without_news_is_no_loop() {
    for how in [How::Ends, How::IsCut, How::IsReset, How::IsAnError] {
        let (mut watched, mut stream) = Watched::following().await;
        watched.logged();
        let mut asked = vec![Instant::now()];
        // What is the server's own fault calls for a list in the end.
        let times = match how {
            How::Ends | How::IsAnError => 4,
            How::IsCut | How::IsReset | How::IsGarbage => 7,
        };
        for _ in 0..times {
            match how {
                How::Ends => stream.end().await,
                How::IsCut => stream.cut().await,
                How::IsReset => stream.reset(),
                How::IsGarbage | How::IsAnError => stream.line(error(500)).await,
            }
            let at;
            (at, stream) = watched.reopened("5").await;
            asked.push(at);
        }
        assert_slower_and_slower(&asked);
        assert_eq!(watched.rest(), "failing", "{how:?}");
        stream.line(bookmark("6")).await;
        assert_eq!(watched.until("healthy").await, "healthy", "{how:?}");
        assert_eq!(
            watched.logged().len(),
            2,
            "{how:?}: failing, and healthy again"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_sent_something_is_opened_again_at_once_however_it_ends() {
    for how in [How::Ends, How::IsCut, How::IsReset, How::IsGarbage] {
        let (mut watched, mut stream) = Watched::following().await;
        for n in 6..12 {
            stream.line(added("b", &n.to_string())).await;
            assert_eq!(watched.until("apply-b").await, "apply-b");
            let ended = Instant::now();
            match how {
                How::Ends | How::IsAnError => stream.end().await,
                How::IsCut => stream.cut().await,
                How::IsReset => stream.reset(),
                // A line without its end.
                How::IsGarbage => {
                    stream.chunk("{\"type\":\"ADD").await;
                    stream.end().await;
                }
            }
            let at;
            (at, stream) = watched.reopened(&n.to_string()).await;
            assert!(at - ended < SECOND, "{how:?}");
        }
        assert_eq!(watched.rest(), "", "{how:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failing_list_is_tried_more_and_more_seldom() {
    for (how, list, ask) in [
        (How::Ends, ListMode::Pages, "page 500"),
        (How::IsCut, ListMode::Pages, "page 500"),
        (How::IsReset, ListMode::Auto, "stream"),
        (How::IsGarbage, ListMode::Pages, "page 500"),
        (How::IsAnError, ListMode::WatchList, "stream"),
    ] {
        let mut watched = Watched::start(list).await;
        let mut asked = Vec::new();
        for _ in 0..8 {
            let mut call = watched.api.asked(ask).await;
            asked.push(call.at);
            match how {
                How::Ends => drop(call),
                How::IsCut => {
                    call.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"kind\":")
                        .await;
                }
                How::IsReset => call.reset(),
                How::IsGarbage => call.answer(200, JSON, "{\"items\":[{]}").await,
                How::IsAnError => call.refuse(500, "etcd is gone").await,
            }
        }
        assert_slower_and_slower(&asked);
        assert_eq!(watched.until("failing").await, "failing", "{how:?}");
        assert_eq!(watched.rest(), "", "{how:?}: no `init`, no second word");
        assert_eq!(watched.logged().len(), 1, "{how:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_that_never_answers_is_given_up() {
    let head = format!("HTTP/1.1 200 OK\r\n{JSON}Content-Length: 9999\r\n\r\n");
    for text in ["", "HTTP/1.1 200", &head, &format!("{head}{{\"items\":[")] {
        let mut watched = Watched::start(ListMode::Pages).await;
        let mut call = watched.api.asked("page 500").await;
        call.raw(text.as_bytes()).await;
        let again = watched.api.asked("page 500").await;
        let waited = again.at - call.at;
        assert!(waited >= 65 * SECOND && waited < 67 * SECOND, "{waited:?}");
        assert_eq!(watched.until("failing").await, "failing");
        again.page(&[object("a", "1")], "5", None).await;
        assert_eq!(watched.until("healthy").await, "init +a done healthy");
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_watch_is_opened_again_without_an_error_or_a_list() {
    let (mut watched, stream) = Watched::following().await;
    let opened = Instant::now();
    let call = watched.api.pods().await;
    let waited = call.at - opened;
    assert!(waited >= 65 * SECOND && waited < 66 * SECOND, "{waited:?}");
    call.version("5").await;
    let call = watched.api.asked("watch 5").await;
    assert_eq!(call.query["timeoutSeconds"], "60");
    drop(stream);
    assert_eq!(watched.rest(), "");
}

#[tokio::test(start_paused = true)]
async fn a_server_in_need_of_rest_is_left_alone() {
    let date = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
                Retry-After: Sun, 06 Nov 1994 08:50:07 GMT\r\n";
    for (code, headers, seconds) in [
        (429, "Retry-After: 7\r\n", 7),
        (503, "Retry-After: 7\r\n", 7),
        (504, "Retry-After: 7\r\n", 7),
        (503, date, 30),
        (429, "Retry-After: 86400\r\n", 300),
    ] {
        let mut watched = Watched::start(ListMode::Pages).await;
        let call = watched.api.asked("page 500").await;
        let asked = call.at;
        call.answer(code, headers, "busy").await;
        let again = watched.api.asked("page 500").await;
        let waited = (again.at - asked).as_secs_f64();
        let wanted = f64::from(seconds);
        assert!(
            (wanted..wanted + 0.5).contains(&waited),
            "{waited} {wanted}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_not_there_is_waited_for() {
    // A port that nobody listens on, and then somebody does.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut watched = Watched::with(Api::elsewhere(address), Options::default(), "").await;
    assert_eq!(watched.until("failing").await, "failing");
    tokio::time::sleep(3_600 * SECOND).await;
    assert_eq!(watched.rest(), "");
    let logged = watched.logged();
    assert_eq!(logged.len(), 1, "{logged:?}");
    assert!(logged[0].contains("refused"), "{logged:?}");
    let requests = watched.counters.requests.load(Relaxed);
    assert!(
        (350..600).contains(&requests),
        "{requests} in an hour, of three"
    );
    watched.api = Api::on(TcpListener::bind(address).await.unwrap());
    let mut stream = watched.api.asked("stream").await.stream().await;
    stream.line(crate::support::api::end_mark("1")).await;
    assert_eq!(watched.until("healthy").await, "init done healthy");
}

#[tokio::test(start_paused = true)]
async fn a_failing_watch_delays_no_other() {
    let mut watched = Watched::start(ListMode::Pages).await;
    for _ in 0..5 {
        watched
            .api
            .call("jobs")
            .await
            .refuse(500, "no jobs today")
            .await;
    }
    let replica_sets = watched.api.call("replicasets").await;
    // Silent all the time.
    let before = Instant::now();
    let call = watched.api.asked("page 500").await;
    call.page(&[object("a", "1")], "5", None).await;
    let mut stream = watched.api.asked("watch 5").await.stream().await;
    stream.line(added("b", "6")).await;
    assert_eq!(
        watched.until("apply-b").await,
        "init +a done healthy apply-b"
    );
    assert!(before.elapsed() < SECOND);
    drop(replica_sets);
}

#[tokio::test(start_paused = true)]
async fn words_of_a_server_are_one_bounded_line() {
    let mut watched = Watched::start(ListMode::Pages).await;
    let call = watched.api.asked("page 500").await;
    let body = format!("{}\nsecond line\u{1b}[31m", "y".repeat(100_000));
    call.answer(500, "", &body).await;
    watched.until("failing").await;
    let logged = watched.logged();
    assert_eq!(logged.len(), 1, "{logged:?}");
    assert!(logged[0].len() < 500, "{}", logged[0].len());
    assert!(logged[0].contains("500: yyy"), "{}", logged[0]);
}

#[tokio::test(start_paused = true)]
async fn a_stranger_that_answers_is_named_and_asked_again() {
    let html = "Content-Type: text/html; charset=utf-8\r\n";
    for (code, headers, body) in [
        (200, html, "<html>Welcome to nginx!</html>"),
        (404, html, "<html>Not Found</html>"),
        (200, JSON, "{\"hello\":\"world\"}"),
        (200, JSON, "hello"),
        (200, JSON, ""),
        (200, JSON, "[]"),
    ] {
        let mut watched = Watched::start(ListMode::Pages).await;
        let call = watched.api.asked("page 500").await;
        call.answer(code, headers, body).await;
        assert_eq!(watched.until("failing").await, "failing");
        let logged = watched.logged();
        assert!(
            logged[0].contains("not a Kubernetes API server"),
            "{body:?}: {logged:?}"
        );
        let call = watched.api.asked("page 500").await;
        call.answer(200, JSON, &page(&[], "5", None)).await;
        assert_eq!(watched.until("healthy").await, "init done healthy");
        watched.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_driver_learns_why_and_since_when_a_watch_fails_and_of_each_new_reason() {
    let mut watched = Watched::start(ListMode::Pages).await;
    let call = watched.api.asked("page 500").await;
    call.refuse(500, "etcd is away").await;
    assert_eq!(watched.until("failing").await, "failing");
    let (health, since, first) = watched.health.clone().unwrap();
    let first = first.unwrap();
    assert_eq!(health, WatchHealth::Failing);
    assert_eq!(first.reason, Reason::ServerError);
    assert!(first.text.contains("500: etcd is away"), "{}", first.text);
    assert!(first.at <= since);
    watched.api.asked("page 500").await.reset();
    watched.api.asked("page 500").await.reset();
    let call = watched.api.asked("page 500").await;
    assert_eq!(watched.rest(), "", "its health is what it was");
    let (_, still, second) = watched.health.clone().unwrap();
    let second = second.unwrap();
    assert_eq!(still, since);
    assert!(second.at > first.at);
    assert_ne!(second.reason, first.reason);
    call.page(&[object("a", "1")], "5", None).await;
    assert_eq!(watched.until("healthy").await, "init +a done healthy");
    let (_, well_since, last) = watched.health.clone().unwrap();
    assert!(well_since > since);
    assert_eq!(
        last.unwrap().reason,
        second.reason,
        "what was, is still known"
    );
    let restarts = |reason| watched.counters.restarts(Kind::POD, reason);
    assert_eq!(restarts(Reason::ServerError), 1);
    assert_eq!(restarts(second.reason), 2);
    assert_eq!(restarts(Reason::Ended), 0);
}
