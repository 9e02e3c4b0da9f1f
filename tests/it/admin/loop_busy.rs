//! A loop that has no time for questions.

use std::time::Duration;

use k8s_relay::admin::{Connections, Limits};

use super::connections::Alone;

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
            "the loop is busy: it has not answered within 20ms\n"
        );
    }
    let ready = alone.get("/readyz").await;
    assert_eq!(
        (ready.code, ready.body.starts_with("not ready: ")),
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
