//! `--source none`: a process that only answers questions about metadata.

use super::world::World;

#[tokio::test]
async fn a_service_alone_says_what_it_is_and_has_nothing_to_migrate() {
    let world = World::start(|_| ()).await;
    let live = world.admin("GET", "/livez").await;
    assert_eq!((live.code, live.body.as_str()), (200, "ok"));
    let status = world.admin("GET", "/statusz").await.json();
    let keys: Vec<_> = status.as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys, ["version", "up_seconds", "alone", "enrichment"]);
    assert_eq!(status["alone"], true);
    for step in ["shadow", "cutover", "finish", "rollback"] {
        let refused = world.admin("POST", &format!("/migrate/{step}")).await;
        assert_eq!(refused.code, 409, "{refused:?}");
        let why = refused.json()["error"].take();
        assert_eq!(
            why, "no source: with --source none there is nothing to migrate",
            "{step}"
        );
    }
    assert_eq!(world.admin("GET", "/digest").await.body, "[]");
    let metrics = world.admin("GET", "/metrics").await.body;
    assert!(metrics.contains("k8s_relay_uptime_seconds "), "{metrics}");
    assert!(!metrics.contains("k8s_relay_reducer"), "{metrics}");
    world.end().await;
}
