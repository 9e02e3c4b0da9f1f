//! Profiles that are loaded again because the settings file has changed.

use std::{fs, os::unix::fs::symlink, path::Path, time::Duration};

use k8s_relay::enrich::profile::Setting;

use super::world::{Answer, POD, World};

const A: &str = "enrichment: {profiles: {default: {metricsets: [pod]}}}\n";
const B: &str =
    "enrichment: {profiles: {default: {metricsets: [pod]}, more: {metricsets: [node]}}}\n";

/// A service whose settings file holds [`A`].
async fn world(path: impl FnOnce(&Path)) -> World {
    let shop = super::world::Shop::open().await;
    path(shop.dir.path());
    let mut config = super::world::config(&shop);
    config.enrich.file = Some(shop.file("settings.yaml"));
    config.enrich.look_every = Duration::from_millis(5);
    config.enrich.block = block();
    World::of(shop, config).await
}

/// The block of [`A`].
fn block() -> Setting {
    let map = |key: &str, value| Setting::Map(vec![(key.to_owned(), value)]);
    let metricsets = Setting::List(vec![Setting::Text("pod".to_owned())]);
    map("profiles", map("default", map("metricsets", metricsets)))
}

fn generation(answer: &Answer) -> u64 {
    answer.json()["enrichment"]["generation"].as_u64().unwrap()
}

fn profiles(answer: &Answer) -> String {
    answer.json()["enrichment"]["profiles"].to_string()
}

#[tokio::test]
async fn a_file_that_changes_in_whatever_way_is_loaded_and_a_bad_one_changes_nothing() {
    let world = world(|dir| fs::write(dir.join("settings.yaml"), A).unwrap()).await;
    let file = world.shop.file("settings.yaml");
    world.until("/readyz", |answer| answer.code == 200).await;
    let first = world.admin("GET", "/statusz").await;
    assert_eq!(
        (generation(&first), profiles(&first).as_str()),
        (1, r#"["default"]"#)
    );

    // In place.
    fs::write(&file, B).unwrap();
    let both = world
        .until("/statusz", |answer| generation(answer) == 2)
        .await;
    assert_eq!(profiles(&both), r#"["default","more"]"#);
    let nodes = world.until("/statusz", |answer| {
        answer.body.contains(r#""kind":"node""#)
    });
    nodes.await;

    // Half written, wrong, removed: one after the other.
    for (number, content, why) in [
        (1, Some("enrichment: {profiles: {default"), "not YAML"),
        (
            2,
            Some("enrichment: {profiles: {default: {metricset: [pod]}}}\n"),
            "line 1: the profile",
        ),
        (3, Some("sorce: native\n"), "did you mean `source`?"),
        (4, None, "cannot read the config file"),
    ] {
        match content {
            Some(content) => fs::write(&file, content).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        let failures = |answer: &Answer| answer.json()["enrichment"]["reload_failures"].clone();
        let failed = world
            .until("/statusz", |answer| failures(answer) == number)
            .await;
        let error = failed.json()["enrichment"]["reload_error"].to_string();
        assert!(error.contains(why), "{error}");
        assert_eq!(
            (generation(&failed), profiles(&failed)),
            (2, profiles(&both))
        );
        let pod = world.get(&format!("/v1/lookup/pod/{POD}")).await.json();
        assert_eq!(pod["state"], "LIVE", "{pod}");
    }

    fs::write(&file, A).unwrap();
    let again = world
        .until("/statusz", |answer| generation(answer) == 3)
        .await;
    assert_eq!(profiles(&again), r#"["default"]"#);
    assert_eq!(
        again.json()["enrichment"]["reload_error"],
        serde_json::Value::Null
    );
    let status = world.get("/v1/status").await.json();
    assert_eq!(status["profiles"][0]["generation"], 3, "{status}");
    world.end().await;
}

#[tokio::test]
async fn a_mounted_config_map_is_loaded_when_its_link_is_switched() {
    let world = world(|dir| {
        // As the kubelet writes it: the file is a link through a link to a folder.
        fs::create_dir(dir.join("..one")).unwrap();
        fs::write(dir.join("..one/settings.yaml"), A).unwrap();
        symlink("..one", dir.join("..data")).unwrap();
        symlink("..data/settings.yaml", dir.join("settings.yaml")).unwrap();
    })
    .await;
    let dir = world.shop.dir.path();
    fs::create_dir(dir.join("..two")).unwrap();
    fs::write(dir.join("..two/settings.yaml"), B).unwrap();
    symlink("..two", dir.join("..data_tmp")).unwrap();
    fs::rename(dir.join("..data_tmp"), dir.join("..data")).unwrap();
    let both = world
        .until("/statusz", |answer| generation(answer) == 2)
        .await;
    assert_eq!(profiles(&both), r#"["default","more"]"#);
    world.end().await;
}
