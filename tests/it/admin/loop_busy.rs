//! A loop that has no time for queries.

use std::time::Duration;

use k8s_relay::{
    admin::{Connections, Limits},
    driver::query::DriverQuery,
};
use tokio::io::AsyncWriteExt as _;

use super::connections::Alone;
use crate::support::must;

#[tokio::test]
async fn a_loop_that_does_not_answer_in_time_is_reported_and_waited_for_no_longer() {
    let limits = Limits {
        probe: Duration::from_millis(20),
        answer: Duration::from_millis(50),
    };
    let alone = Alone::with(Connections::default(), limits, false).await;
    // More than fit in its queue.
    for _ in 0..10 {
        let live = alone.get("/livez").await;
        assert_eq!(live.code, 503);
        assert_eq!(
            live.body,
            "[-]loop failed: the loop is busy: it has not answered within 20ms\nlivez check failed\n"
        );
    }
    let ready = alone.get("/readyz").await;
    assert_eq!(
        (ready.code, ready.body.starts_with("[-]loop failed: ")),
        (503, true)
    );
    assert_eq!(alone.get("/metrics").await.code, 503);
    for path in ["/statusz", "/explain?pod=a", "/explain?pod=a/b"] {
        let answer = alone.get(path).await;
        assert_eq!(answer.code, 503, "{path}");
        assert_eq!(
            answer.error(),
            "the loop is busy: it has not answered within 50ms"
        );
    }
}

#[tokio::test]
async fn a_step_that_no_loop_takes_in_time_is_answered_and_never_taken_later() {
    let limits = Limits {
        answer: Duration::from_millis(20),
        ..Limits::default()
    };
    let (alone, mut queries) = Alone::unanswered(limits).await;
    let answer = alone.post("/migrate/shadow").await;
    assert_eq!(answer.code, 503);
    assert_eq!(
        answer.error(),
        "the loop is busy: it has not answered within 20ms"
    );
    let Some(DriverQuery::Migrate(late)) = queries.recv().await else {
        panic!("the step");
    };
    assert!(late.begin(1).is_none());
}

#[tokio::test]
async fn a_step_that_goes_on_for_longer_is_in_progress_and_says_where_to_look() {
    let limits = Limits {
        answer: Duration::from_millis(20),
        ..Limits::default()
    };
    let (alone, mut queries) = Alone::unanswered(limits).await;
    let taken = async {
        match queries.recv().await {
            Some(DriverQuery::Migrate(request)) => request.begin(7).unwrap(),
            other => panic!("{other:?}"),
        }
    };
    let (answer, _done) = tokio::join!(alone.post("/migrate/shadow"), taken);
    assert_eq!(answer.code, 202, "{}", answer.body);
    let answer = answer.json();
    assert_eq!(
        (&answer["number"], &answer["see"]),
        (&7.into(), &"/statusz".into())
    );
    assert!(answer["in_progress"].as_str().unwrap().contains("`shadow`"));
}

#[tokio::test]
async fn a_step_whose_asker_has_hung_up_is_not_taken() {
    let (alone, mut queries) = Alone::unanswered(Limits::default()).await;
    let mut asker = alone.connect().await;
    asker
        .write_all(b"POST /migrate/shadow HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
    let Some(DriverQuery::Migrate(request)) = queries.recv().await else {
        panic!("the step");
    };
    assert!(request.is_wanted());
    drop(asker);
    must("it is noticed", async {
        while request.is_wanted() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(request.begin(1).is_none());
}
