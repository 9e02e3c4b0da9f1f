//! `--source none`: a process that only answers questions about metadata.

use k8s_relay::{
    app::{AppError, MetadataService},
    model::Kind,
};

use super::world::{POD, Shop, World, config, profiles};

#[tokio::test]
async fn a_service_alone_says_what_it_is_and_has_nothing_to_migrate() {
    let world = World::start(|_| ()).await;
    let live = world.admin("GET", "/livez").await;
    assert_eq!((live.code, live.body.as_str()), (200, "ok"));
    world.until("/readyz", |answer| answer.code == 200).await;
    let status = world.admin("GET", "/statusz").await.json();
    let keys: Vec<_> = status.as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys, ["version", "up_seconds", "alone", "enrichment"]);
    assert_eq!(status["alone"], true);
    assert_eq!(status["enrichment"]["address"], world.address.to_string());
    let kinds = status["enrichment"]["stores"].as_array().unwrap().len();
    assert_eq!(kinds, 13, "{status}");
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
    let ready = "k8s_relay_enrichment_store_ready{kind=\"pod\"} 1.0\n";
    assert!(metrics.contains(ready), "{metrics}");
    assert!(!metrics.contains("k8s_relay_reducer"), "{metrics}");
    world.end().await;
}

#[tokio::test]
async fn it_is_ready_when_each_kind_is_listed_or_refused() {
    let shop = Shop::open().await;
    let listing = shop.api.fault(
        k8s_relay::sim::kube::When::any().of(Kind::POD),
        k8s_relay::sim::kube::Fault::code(503),
    );
    let nodes = k8s_relay::enrich::resource::Resource::Node;
    let nodes = nodes
        .find(&k8s_relay::enrich::resource::Resource::kinds())
        .unwrap();
    shop.api.deny(nodes);
    let config = config(&shop);
    let world = World::of(shop, config).await;
    let says = |answer: &super::world::Answer| answer.body.contains("[-]stores failed: pod is ");
    let not_ready = world.until("/readyz?verbose", says).await;
    assert_eq!(not_ready.code, 503);
    world.shop.api.cancel(listing);
    let ready = world
        .until("/readyz?verbose", |answer| answer.code == 200)
        .await;
    assert!(ready.body.contains("[+]stores ok\n"), "{ready:?}");
    let pod = world.get(&format!("/v1/lookup/pod/{POD}")).await.json();
    assert_eq!(pod["state"], "LIVE", "{pod}");
    assert_eq!(pod["partial"][0]["reason"], "forbidden", "{pod}");
    world.end().await;
}

#[tokio::test]
async fn a_pod_is_explained_by_each_profile() {
    let world = World::start(|config| {
        config.enrich.block = profiles(&[
            ("default", &[("add_resource_metadata.deployment", "true")]),
            ("otel", &[("output_schema", "otel")]),
            ("nodes", &[("metricsets", "node")]),
        ]);
    })
    .await;
    world.until("/readyz", |answer| answer.code == 200).await;
    let explained = world.admin("GET", &format!("/explain?pod={POD}")).await;
    let profiles = explained.json()["profiles"].take();
    let states: Vec<_> = profiles
        .as_array()
        .unwrap()
        .iter()
        .map(|of| {
            format!(
                "{} {}",
                of["profile"].as_str().unwrap(),
                of["state"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(states, ["default LIVE", "otel LIVE", "nodes DISABLED"]);
    let owner = &profiles[0]["metadata"]["kubernetes"]["deployment"]["name"];
    assert_eq!(owner, "web", "{profiles}");
    assert_eq!(profiles[1]["metadata"]["k8s.deployment.name"], "web");
    let one = world
        .admin("GET", &format!("/explain?pod={POD}&profile=otel"))
        .await;
    assert_eq!(one.json()["profiles"].as_array().unwrap().len(), 1);
    for (query, code, error) in [
        (
            "pod=shop/web-0",
            404,
            "no source knows a pod of the name shop/web-0",
        ),
        ("pod=shop/web-0&profile=a", 404, "there is no profile a"),
    ] {
        let refused = world.admin("GET", &format!("/explain?{query}")).await;
        assert_eq!(refused.code, code, "{refused:?}");
        assert!(refused.body.contains(error), "{refused:?}");
    }
    world.end().await;
}

#[tokio::test]
async fn settings_that_lead_to_no_api_server_stop_a_service_alone() {
    let shop = Shop::open().await;
    let mut config = config(&shop);
    config.native.kubeconfig = Some(shop.file("nowhere"));
    let error = MetadataService::start(config).await.err().unwrap();
    assert!(matches!(error, AppError::Watches(_)), "{error}");
    let text = error.to_string();
    assert!(text.starts_with("cannot use the kubeconfig "), "{text}");
}
