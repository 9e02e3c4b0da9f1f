//! Whatever a server answers, the state becomes right once it is healthy, or by a list if only its
//! watches are at fault.

use k8s_relay::source::native::ListMode;

use super::watched::Watched;
use crate::support::api::{Call, JSON, added, end_mark, event, object, page};

#[tokio::test(start_paused = true)]
async fn a_server_that_answers_each_request_with_another_code_in_turn_is_outlived() {
    let codes = [
        500, 429, 410, 403, 400, 503, 401, 504, 404, 502, 406, 307, 204,
    ];
    for list in [ListMode::Auto, ListMode::Pages, ListMode::WatchList] {
        let mut watched = Watched::start(list).await;
        for code in codes.into_iter().cycle().take(40) {
            watched.api.pods().await.refuse(code, "in turn").await;
        }
        let call = watched.api.pods().await;
        let mut open = None;
        if call.ask() == "stream" {
            let mut stream = call.stream().await;
            stream.lines(&[added("a", "1"), end_mark("5")]).await;
            open = Some(stream);
        } else {
            call.page(&[object("a", "1")], "5", None).await;
        }
        let sent = watched.until("healthy").await;
        assert!(sent.ends_with("init +a done healthy"), "{list:?}: {sent}");
        drop(open);
    }
}

#[derive(Clone, Copy, Debug)]
enum Bad {
    Empty,
    PlainText,
    Html,
    AList,
    BareStatus,
    ExpiredByReason,
    ExpiredAs500,
}

async fn answer(call: Call, bad: Bad) {
    let expired = r#"{"kind":"Status","status":"Failure","reason":"Expired","code":500}"#;
    match bad {
        Bad::Empty => call.answer(200, JSON, "").await,
        Bad::PlainText => {
            call.answer(200, "Content-Type: text/plain\r\n", "ok\n")
                .await
        }
        Bad::Html => {
            let html = "Content-Type: text/html\r\n";
            call.answer(200, html, "<html></html>").await;
        }
        Bad::AList => call.answer(200, JSON, &page(&[], "6", None)).await,
        Bad::BareStatus => {
            let status = r#"{"kind":"Status","status":"Failure","reason":"Gone"}"#;
            let mut stream = call.stream().await;
            stream.line(status.to_owned()).await;
            stream.end().await;
        }
        Bad::ExpiredByReason => {
            let mut stream = call.stream().await;
            stream.line(event("ERROR", expired)).await;
            stream.end().await;
        }
        Bad::ExpiredAs500 => call.answer(500, JSON, expired).await,
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_whose_watches_are_worth_nothing_is_listed() {
    for (bad, most) in [
        (Bad::Empty, 3),
        (Bad::PlainText, 3),
        (Bad::Html, 3),
        (Bad::AList, 3),
        (Bad::BareStatus, 1),
        (Bad::ExpiredByReason, 1),
        (Bad::ExpiredAs500, 1),
    ] {
        let (mut watched, mut stream) = Watched::following().await;
        // A list may follow at once.
        stream.line(added("x", "6")).await;
        assert_eq!(watched.until("apply-x").await, "apply-x");
        stream.end().await;
        let mut watches = 0;
        let list = loop {
            let call = watched.api.pods().await;
            match call.ask().as_str() {
                "version" => call.version("6").await,
                "watch 6" => {
                    watches += 1;
                    answer(call, bad).await;
                }
                _ => break call,
            }
        };
        assert_eq!(list.ask(), "page 500", "{bad:?}");
        assert!((1..=most).contains(&watches), "{bad:?}: {watches}");
        list.page(&[object("b", "8")], "9", None).await;
        let sent = watched.until("done").await;
        assert!(sent.ends_with("init +b done"), "{bad:?}: {sent}");
        let _open = watched.api.asked("watch 9").await;
    }
}
