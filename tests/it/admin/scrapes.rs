//! What a running relay answers to a scrape, in every stage.

use k8s_relay::{
    config::Source,
    migrate::Stage,
    sim::kube::{Options, Pod, SimApi},
};

use super::{
    explained::pod,
    metrics::{check, samples},
    native::native,
    world::{Answer, World},
};

#[tokio::test]
async fn a_scrape_in_each_stage_has_the_documented_metrics_with_their_labels() {
    let api = SimApi::start(Options::small()).await.unwrap();
    api.apply(Pod::new("shop", "web-1", "uid-1").address("10.0.0.1"));
    let dir = tempfile::tempdir().unwrap();
    let world = World::with(|config| {
        native(config, &api, &dir);
        config.source = Source::Legacy;
        config.migrate.state_file = Some(dir.path().join("stage.json"));
    })
    .await;
    for (stage, step) in [
        (Stage::Legacy, None),
        (Stage::Shadow, Some("shadow")),
        (Stage::ShadowNative, Some("cutover?force=true")),
        (Stage::Native, Some("finish?force=true")),
    ] {
        if let Some(step) = step {
            let done = world.post(&format!("/migrate/{step}")).await;
            assert_eq!(done.code, 200, "{}", done.body);
        }
        let listed =
            |answer: &Answer| stage == Stage::Legacy || answer.json()["native"]["listed"] == true;
        world.until("/statusz", listed).await;
        let text = world.get("/metrics").await.body;
        check(&text);
        assert!(text.contains(&format!("k8s_relay_stage{{stage=\"{stage}\"}} 1.0\n")));
        let samples = samples(&text);
        for (name, is_there) in [
            ("k8s_relay_watches", stage != Stage::Legacy),
            ("k8s_relay_watch_list_seconds", true),
            ("k8s_relay_parity_comparing", stage.compares()),
            ("k8s_relay_stage_kept", true),
            ("k8s_relay_event_lag_seconds", true),
            ("process_cpu_seconds_total", true),
        ] {
            assert_eq!(samples.contains_key(name), is_there, "{stage}: {name}");
        }
    }
    world.knows("uid-1").await;
    // The first list of each of the three kinds, and at least one frame with an event in it.
    let text = world.get("/metrics").await.body;
    for resource in ["pods", "replicasets", "jobs"] {
        let listed = format!("k8s_relay_watch_list_seconds_count{{resource=\"{resource}\"}} 1\n");
        assert!(text.contains(&listed), "{text}");
    }
    world.end().await;
}

#[tokio::test]
async fn each_frame_with_events_in_it_is_one_observation_of_the_event_lag() {
    let world = World::start().await;
    let watcher = world.watcher().await;
    let mut call = watcher.open();
    let count = async || -> u64 {
        let text = world.get("/metrics").await.body;
        let count = text
            .lines()
            .find_map(|line| line.strip_prefix("k8s_relay_event_lag_seconds_count "));
        count.unwrap().parse().unwrap()
    };
    assert_eq!(count().await, 0, "the handshake is of no event");
    for (n, uid) in ["uid-1", "uid-2", "uid-3"].into_iter().enumerate() {
        call.send(pod(uid, uid, "10.0.0.1", None)).await.unwrap();
        world.knows(uid).await;
        assert_eq!(count().await, n as u64 + 1);
    }
    let text = world.get("/metrics").await.body;
    let resends = "k8s_relay_reducer_full_resends_total{reason=\"connection\"} 1.0\n";
    assert!(text.contains(resends), "{text}");
    world.end().await;
}
