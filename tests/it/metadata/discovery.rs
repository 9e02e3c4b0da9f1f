//! What is found out of the cluster: its identity, and the node of a profile.

use serde_json::json;

use super::world::{POD, Shop, World, config, profiles};

/// The `orchestrator` of a pod's document.
async fn cluster(world: &World) -> serde_json::Value {
    world.until("/readyz", |answer| answer.code == 200).await;
    let pod = world.get(&format!("/v1/lookup/pod/{POD}")).await.json();
    pod["metadata"]["orchestrator"]["cluster"].clone()
}

#[tokio::test]
async fn the_cluster_is_named_by_the_settings_before_the_kubeconfig() {
    let shop = Shop::open().await;
    let server = format!("http://{}", shop.api.addr());
    let name = shop.api.kubeconfig()["clusters"][0]["name"].clone();
    let by_kubeconfig = config(&shop);
    let world = World::of(shop, by_kubeconfig).await;
    assert_eq!(
        cluster(&world).await,
        json!({ "name": name, "url": server })
    );
    world.end().await;

    let world = World::start(|config| {
        config.enrich.block = profiles(&[("default", &[("cluster.name", "prod")])]);
    })
    .await;
    assert_eq!(cluster(&world).await["name"], "prod");
    world.end().await;
}

#[tokio::test]
async fn a_profile_of_a_node_watches_the_pods_of_that_node_alone() {
    let shop = Shop::open().await;
    let mut elsewhere = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": "far", "namespace": "shop", "uid": "far" },
        "spec": { "nodeName": "node-2", "containers": [] }, "status": {},
    });
    elsewhere["metadata"]["resourceVersion"] = "1".into();
    shop.put(elsewhere);
    let mut settings = config(&shop);
    settings.enrich.node_name = Some("node-1".to_owned());
    settings.enrich.block = profiles(&[("default", &[("metricsets", "pod")])]);
    let world = World::of(shop, settings).await;
    world.until("/readyz", |answer| answer.code == 200).await;
    let status = world.get("/v1/status").await.json();
    let scopes: Vec<_> = status["stores"]
        .as_array()
        .unwrap()
        .iter()
        .map(|store| format!("{} {}", store["kind"], store["scope"]).replace('"', ""))
        .collect();
    assert!(scopes.contains(&"pod node/node-1".to_owned()), "{scopes:?}");
    let state = async |name: &str| {
        world
            .get(&format!("/v1/lookup/pod/shop/{name}"))
            .await
            .json()
    };
    assert_eq!(state("web-5d4f8-x2x7p").await["state"], "LIVE");
    assert_eq!(state("far").await["state"], "MISSING");
    world.end().await;
}
