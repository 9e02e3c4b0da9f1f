//! A relay that watches by itself, behind its admin listener.

use std::fs;

use k8s_relay::{
    admin::api::Findings,
    config::{Config, Lists, Retry, Source},
    model::{Kind, KindRow, KindTable},
    sim::kube::{Meta, Object, Options, Owner, Pod, Raw, SimApi},
};
use serde_json::json;
use tempfile::TempDir;

use super::world::{Answer, World};

/// Impatient watches of this API server.
pub(super) fn native(config: &mut Config, api: &SimApi, dir: &TempDir) {
    let kubeconfig = dir.path().join("kubeconfig");
    fs::write(&kubeconfig, api.kubeconfig().to_string()).unwrap();
    config.source = Source::Native;
    config.native.kubeconfig = Some(kubeconfig);
    config.native.retry = Retry {
        first: std::time::Duration::from_millis(10),
        slowest: std::time::Duration::from_millis(50),
    };
}

#[tokio::test]
async fn a_native_relay_is_ready_once_its_watches_have_listed() {
    let api = SimApi::start(Options::small()).await.unwrap();
    api.apply(Pod::new("shop", "web-1", "uid-1").address("10.0.0.1"));
    api.stop_listening().await;
    let dir = tempfile::tempdir().unwrap();
    let world = World::with(|config| native(config, &api, &dir)).await;
    let unhealthy = |answer: &Answer| {
        answer
            .body
            .contains("the native source is not synced: 3 of 3 watches are not healthy")
    };
    let not_yet = world.until("/readyz", unhealthy).await;
    assert_eq!(not_yet.code, 503, "{}", not_yet.body);
    assert_eq!(world.get("/livez").await.code, 200, "alive all the same");
    let why = |answer: &Answer| {
        let status = answer.json();
        let watches = status["native"]["watches"].as_array().unwrap();
        let fails = |watch: &serde_json::Value| {
            watch["state"] == "failing" && watch["last_error"]["reason"] == "unreachable"
        };
        watches.len() == 3 && watches.iter().all(fails)
    };
    let status = world.until("/statusz", why).await.json();
    assert_eq!(status["native"]["watches"][0]["resource"], "pods");
    assert_eq!(status["unfed"]["why"], "all native watches fail");
    let metrics = world.get("/metrics").await.body;
    let failing = "k8s_relay_watches_failing{resource=\"jobs\",reason=\"unreachable\"} 1.0\n";
    assert!(metrics.contains(failing), "{metrics}");
    api.start_listening().await.unwrap();
    let ready = world.until("/readyz", |answer| answer.code == 200).await;
    assert_eq!(ready.body, "ok");
    let verbose = world.get("/readyz?verbose").await.body;
    assert!(verbose.contains("[+]native-synced ok\n"), "{verbose}");
    let metrics = world.get("/metrics").await.body;
    for sample in [
        "k8s_relay_stage{stage=\"native\"} 1.0\n",
        "k8s_relay_source_synced{source=\"native\"} 1.0\n",
        "k8s_relay_source_pods{source=\"native\",state=\"live\"} 1.0\n",
        "k8s_relay_store_objects{source=\"native\",kind=\"pod\"} 1.0\n",
        "k8s_relay_watch_lists_total 3.0\n",
    ] {
        assert!(metrics.contains(sample), "{sample}{metrics}");
    }
    world.end().await;
}

#[tokio::test]
async fn a_further_kind_is_shown_and_counts_for_nothing() {
    let rollouts = KindRow::metadata_only("argoproj.io/v1alpha1", "Rollout", "rollouts");
    let kinds = KindTable::with([rollouts]).unwrap();
    let rollout = kinds.find("argoproj.io", "rollouts").unwrap();
    let options = Options {
        kinds: kinds.clone(),
        ..Options::small()
    };
    let api = SimApi::start(options).await.unwrap();
    api.deny(rollout);
    api.apply(Object::Plain(rollout, Meta::new("shop", "web", "uid-web")));
    let dir = tempfile::tempdir().unwrap();
    let world = World::with(|config| {
        native(config, &api, &dir);
        config.native.kinds = kinds;
    })
    .await;
    let row = |answer: &Answer| answer.json()["native"]["watches"][3].clone();
    let refused = |answer: &Answer| row(answer)["state"] == "not allowed";
    let status = world.until("/statusz", refused).await;
    assert_eq!(row(&status)["resource"], "rollouts");
    assert_eq!(row(&status)["last_error"]["reason"], "forbidden");
    // Neither readiness nor the loop's own account of its watches knows it.
    world.until("/readyz", |answer| answer.code == 200).await;
    let healthy = |answer: &Answer| answer.json()["native"]["unwell"] == 0;
    let status = world.until("/statusz", healthy).await.json();
    assert_eq!(status["native"]["sources"], 3);
    let metrics = world.get("/metrics").await.body;
    for sample in [
        "k8s_relay_watches{resource=\"jobs\",state=\"healthy\"} 1.0\n",
        "k8s_relay_watches{resource=\"rollouts\",state=\"not allowed\"} 1.0\n",
        "k8s_relay_watches_failing{resource=\"rollouts\",reason=\"forbidden\"} 1.0\n",
        "k8s_relay_store_objects{source=\"native\",kind=\"rollout\"} 0.0\n",
    ] {
        assert!(metrics.contains(sample), "{sample}{metrics}");
    }
    api.allow(rollout);
    let listed = |answer: &Answer| row(answer)["state"] == "healthy";
    let status = world.until("/statusz", listed).await.json();
    let stored = json!({"pods": 0, "replica_sets": 0, "jobs": 0, "rollouts": 1});
    assert_eq!(status["native"]["stored"], stored);
    assert_eq!(status["native"]["watches"].as_array().unwrap().len(), 4);
    let metrics = world.get("/metrics").await.body;
    for sample in [
        "k8s_relay_watches{resource=\"rollouts\",state=\"healthy\"} 1.0\n",
        "k8s_relay_watches{resource=\"rollouts\",state=\"not allowed\"} 0.0\n",
        "k8s_relay_store_objects{source=\"native\",kind=\"rollout\"} 1.0\n",
    ] {
        assert!(metrics.contains(sample), "{sample}{metrics}");
    }
    world.end().await;
}

#[tokio::test]
async fn a_pod_that_the_watches_cannot_use_or_that_lost_its_owner_is_explained() {
    for list in [Lists::Pages, Lists::WatchList] {
        let api = SimApi::start(Options::small()).await.unwrap();
        let bad = |name: &str, metadata| {
            Object::Raw(Raw {
                kind: Kind::POD,
                namespace: "shop".into(),
                name: name.to_owned(),
                json: json!({"metadata": metadata, "status": {"podIP": 7}}),
            })
        };
        api.apply(bad(
            "bad",
            json!({"namespace": "shop", "name": "bad", "uid": "uid-bad"}),
        ));
        let lost = Owner::controller("ReplicaSet", "lost", "uid-lost");
        api.apply(
            Pod::new("shop", "orphan", "uid-orphan")
                .address("10.0.0.2")
                .of(lost),
        );
        let dir = tempfile::tempdir().unwrap();
        let world = World::with(|config| {
            native(config, &api, &dir);
            config.native.list = list;
            config.native.owner_wait = std::time::Duration::from_millis(20);
        })
        .await;
        // It is announced at last under the ReplicaSet that nobody knows.
        world.knows("uid-orphan").await;
        let read = |answer: Answer| -> Findings { serde_json::from_value(answer.json()).unwrap() };
        let orphan = read(world.get("/explain?pod=shop/orphan").await)
            .pods
            .remove(0);
        let feed = &orphan.feeds[0];
        assert!(orphan.announced.is_some() && feed.live && feed.feed == "native");
        assert!(feed.missing_seconds.is_some_and(|seconds| seconds >= 0.02));
        for asked in ["shop/bad", "uid-bad"] {
            let path = format!("/explain?pod={asked}");
            let found = read(world.until(&path, |answer| answer.code == 200).await);
            assert!(found.pods.is_empty());
            let dropped = &found.dropped[0];
            assert_eq!(
                (&*dropped.source, &*dropped.uid, &*dropped.reason),
                ("native", "uid-bad", "wrong_type")
            );
        }
        world.end().await;
    }
}

#[tokio::test]
async fn a_running_relay_goes_into_shadow_and_back_when_it_is_asked_to() {
    let api = SimApi::start(Options::small()).await.unwrap();
    api.apply(Pod::new("shop", "web-1", "uid-1").address("10.0.0.1"));
    let dir = tempfile::tempdir().unwrap();
    let world = World::with(|config| {
        native(config, &api, &dir);
        config.source = Source::Legacy;
    })
    .await;
    let shadow = world.post("/migrate/shadow").await;
    assert_eq!(shadow.code, 200, "{}", shadow.body);
    let listed = |answer: &Answer| answer.json()["native"]["listed"] == true;
    let status = world.until("/statusz", listed).await.json();
    assert_eq!(status["stage"], "shadow");
    assert!(status["parity"].is_object(), "{status}");
    let metrics = world.get("/metrics").await.body;
    assert!(metrics.contains("k8s_relay_stage{stage=\"shadow\"} 1.0\n"));
    assert!(metrics.contains("k8s_relay_parity_comparing "));
    let refused = world.post("/migrate/cutover").await;
    assert_eq!(refused.code, 409, "{}", refused.body);
    let back = world.post("/migrate/rollback").await;
    assert_eq!(back.code, 200, "{}", back.body);
    let status = world.get("/statusz").await.json();
    assert_eq!(
        (&status["stage"], &status["native"]),
        (&json!("legacy"), &json!(null))
    );
    world.end().await;
}
