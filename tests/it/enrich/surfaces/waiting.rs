//! `wait_ms`: questions that wait for what is not known yet.

use std::time::Duration;

use k8s_relay::{
    enrich::{
        resource::Resource,
        view::{Sync, Trouble},
    },
    enrich_api::Limits,
};
use serde_json::json;
use tokio::time::Instant;

use super::{
    grpc::{Call, batch},
    world::{Relay, event, plain, pod, state},
};

const NDJSON: &str = "application/x-ndjson";

/// A relay whose waits end by a change, or not within a test.
async fn relay() -> Relay {
    Relay::new(plain()).await
}

#[tokio::test]
async fn a_lookup_waits_for_an_object_and_is_answered_when_it_comes() {
    let relay = relay().await;
    let waited = relay.get("/v1/lookup/pod/shop/web?wait_ms=5000");
    let came = async {
        super::world::until("a waiting lookup", || relay.is_waited_for()).await;
        relay.objects().apply(&pod("other"));
        relay.objects().apply(&pod("web"));
    };
    let begin = Instant::now();
    let (answer, ()) = tokio::join!(waited, came);
    assert_eq!(state(&answer), (200, "LIVE".to_owned()));
    assert!(
        begin.elapsed() < Duration::from_secs(4),
        "{:?}",
        begin.elapsed()
    );
    relay.stop().await;
}

#[tokio::test]
async fn a_question_waits_for_the_parts_of_its_answer_too() {
    let relay = Relay::new(json!({})).await;
    relay.objects().apply(&pod("web"));
    relay.objects().set_sync(Resource::Namespace, Sync::PENDING);
    let waited = relay.post("/v1/enrich/pod?wait_ms=5000", NDJSON, event("web"));
    let came = async {
        let objects = relay.objects();
        super::world::until("a waiting event", || relay.is_waited_for()).await;
        objects.apply(&json!({ "kind": "Node", "metadata": { "name": "n1", "uid": "n" } }));
        objects.set_sync(Resource::Namespace, Sync::LISTED);
        objects.apply(&json!({ "kind": "Namespace", "metadata": { "name": "shop", "uid": "s" } }));
    };
    let (answer, ()) = tokio::join!(waited, came);
    let line = answer.lines().remove(0);
    assert_eq!(
        (&line["state"], line.get("partial")),
        (&json!("LIVE"), None)
    );
    relay.stop().await;
}

#[tokio::test]
async fn the_answer_says_what_is_known_when_the_wait_is_over() {
    let relay = relay().await;
    let objects = relay.objects();
    objects.apply(&pod("web"));
    objects.set_sync(Resource::Job, Sync::PENDING);
    let refused = Sync {
        listed: false,
        trouble: Some(Trouble::Forbidden),
        age_ms: 0,
    };
    objects.set_sync(Resource::Service, refused);
    for (path, waits, expected) in [
        ("pod/shop/none", true, (404, "MISSING")),
        ("job/shop/none", true, (503, "SYNCING")),
        // Nothing would come of it.
        ("service/shop/none", false, (503, "SYNCING")),
        ("pod/shop/web", false, (200, "LIVE")),
    ] {
        let begin = Instant::now();
        let answer = relay.get(&format!("/v1/lookup/{path}?wait_ms=200")).await;
        assert_eq!(
            state(&answer),
            (expected.0, expected.1.to_owned()),
            "{path}"
        );
        let waited = begin.elapsed() >= Duration::from_millis(200);
        assert!(waited || !waits, "{path}: {:?}", begin.elapsed());
    }
    relay.stop().await;
}

#[tokio::test]
async fn who_asks_for_a_longer_wait_gets_the_longest_there_is() {
    let limits = Limits {
        wait: Duration::from_millis(50),
        ..Limits::default()
    };
    let relay = Relay::with(json!({}), limits).await;
    let path = "/v1/lookup/pod/shop/none?wait_ms=3600000";
    assert_eq!(state(&relay.get(path).await), (404, "MISSING".to_owned()));
    let hit: Vec<_> = relay
        .counters
        .limits()
        .filter(|(_, count)| *count > 0)
        .collect();
    assert_eq!(hit, [("wait", 1)]);
    relay.stop().await;
}

#[tokio::test]
async fn at_most_so_many_questions_wait() {
    let limits = Limits {
        waiting: 2,
        ..Limits::default()
    };
    let relay = Relay::with(json!({}), limits).await;
    let holds = relay.get("/v1/lookup/pod/shop/web?wait_ms=5000");
    let others = async {
        super::world::until("a waiting lookup", || relay.is_waited_for()).await;
        let refs = json!({ "wait_ms": 5000, "refs": [{ "uid": "a" }, { "uid": "b" }] });
        let refused = relay
            .post("/v1/lookup", "application/json", refs.to_string())
            .await;
        assert_eq!(
            (refused.code.as_u16(), refused.header("retry-after")),
            (429, Some("1"))
        );
        let events = format!("[{0},{0}]", event("none"));
        let refused = relay
            .post("/v1/enrich/pod?wait_ms=5000", "application/json", events)
            .await;
        assert_eq!(refused.code, 429);
        // Where the answer has begun there is only what is known now.
        let lines = format!("{0}\n{0}\n", event("none"));
        let answer = relay
            .post("/v1/enrich/pod?wait_ms=5000", NDJSON, lines)
            .await;
        assert!(answer.lines().iter().all(|line| line["state"] == "MISSING"));
        let mut call = Call::open(&relay).await.unwrap();
        let mut asked = batch(1, &[&event("none"), &event("none")]);
        asked.wait_ms = 5000;
        call.requests.send(asked).await.unwrap();
        assert_eq!(call.next().await.unwrap().unwrap().items.len(), 2);
        relay.objects().apply(&pod("web"));
        relay
            .objects()
            .apply(&json!({ "kind": "Node", "metadata": { "name": "n1", "uid": "n" } }));
        relay
            .objects()
            .apply(&json!({ "kind": "Namespace", "metadata": { "name": "shop", "uid": "s" } }));
    };
    let begin = Instant::now();
    let (answer, ()) = tokio::join!(holds, others);
    assert_eq!(state(&answer), (200, "LIVE".to_owned()));
    assert!(
        begin.elapsed() < Duration::from_secs(4),
        "{:?}",
        begin.elapsed()
    );
    let hit: Vec<_> = relay
        .counters
        .limits()
        .filter(|(_, count)| *count > 0)
        .collect();
    assert_eq!(hit, [("waiting", 4)]);
    relay.stop().await;
}

#[tokio::test]
async fn batches_wait_side_by_side_and_are_answered_in_their_order() {
    let relay = relay().await;
    relay.objects().apply(&pod("web"));
    let mut call = Call::open(&relay).await.unwrap();
    for seq in 0..16 {
        // The first one waits, and the others behind it.
        let name = if seq == 0 { "late" } else { "web" };
        let mut asked = batch(seq, &[&event(name)]);
        asked.wait_ms = 5000;
        call.requests.send(asked).await.unwrap();
    }
    super::world::until("a waiting batch", || relay.is_waited_for()).await;
    relay.objects().apply(&pod("late"));
    for seq in 0..16 {
        let answer = call.next().await.unwrap().unwrap();
        assert_eq!((answer.seq, answer.items[0].state), (seq, 1));
    }
    relay.stop().await;
}

#[tokio::test]
async fn who_waits_is_answered_when_the_relay_ends() {
    let relay = relay().await;
    let waited = relay.get("/v1/lookup/pod/shop/web?wait_ms=5000");
    let end = async {
        super::world::until("a waiting lookup", || relay.is_waited_for()).await;
        relay.shutdown.cancel();
    };
    let begin = Instant::now();
    let (answer, ()) = tokio::join!(waited, end);
    assert_eq!(state(&answer), (404, "MISSING".to_owned()));
    assert!(
        begin.elapsed() < Duration::from_secs(4),
        "{:?}",
        begin.elapsed()
    );
    relay.stop().await;
}
