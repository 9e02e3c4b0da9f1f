//! Documents that are given out again.

use k8s_relay::enrich::{Reference, cluster::ClusterIdentity};
use serde_json::{Value, json};

use super::world::{World, document};

const PODS: usize = 2000;

/// The cache of such a world holds about a fifth of its documents.
fn world(cache_bytes: usize) -> World {
    let mut world = World::with_cache(&json!({}), ClusterIdentity::default(), cache_bytes);
    for number in 0..PODS {
        world.apply(&pod(number, 0));
    }
    world
}

fn pod(number: usize, version: usize) -> Value {
    json!({
        "kind": "Pod",
        "metadata": {
            "name": uid(number), "namespace": "shop", "uid": uid(number),
            "labels": { "version": version.to_string(), "text": "x".repeat(300) },
        },
    })
}

fn uid(number: usize) -> String {
    format!("pod-{number}")
}

fn ask(world: &World, number: usize) -> Value {
    document(&world.ask(Reference::PodUid(&uid(number))))
}

#[test]
fn the_bytes_of_the_cache_are_bounded() {
    let bytes = 512 << 10;
    let world = world(bytes);
    for number in 0..PODS {
        ask(&world, number);
        assert!(world.enricher.cache_usage().bytes <= bytes);
    }
    let usage = world.enricher.cache_usage();
    assert!(usage.entries > 200 && usage.entries < PODS / 2, "{usage:?}");
    assert!(usage.bytes > bytes / 2, "{usage:?}");
}

#[test]
fn a_walk_over_all_objects_does_not_drive_out_what_is_asked_for_all_the_time() {
    let world = world(512 << 10);
    let favourites = [1, 700, 1400, 1999];
    for number in 0..PODS {
        for favourite in favourites {
            ask(&world, favourite);
        }
        ask(&world, number);
    }
    let usage = world.enricher.cache_usage();
    assert_eq!(
        usage.misses as usize, PODS,
        "each document was written once"
    );
    assert_eq!(usage.hits as usize, favourites.len() * PODS);
}

#[test]
fn a_new_version_takes_the_place_of_the_one_before() {
    let mut world = world(4 << 20);
    for version in 0..50 {
        world.apply(&pod(0, version));
        let said = ask(&world, 0);
        assert_eq!(said["kubernetes"]["labels"]["version"], version.to_string());
    }
    let usage = world.enricher.cache_usage();
    assert_eq!((usage.entries, usage.misses), (1, 50));
}

#[test]
fn without_room_every_document_is_written_again() {
    let world = world(0);
    assert_eq!(ask(&world, 7), ask(&world, 7));
    let usage = world.enricher.cache_usage();
    assert_eq!(
        (usage.entries, usage.bytes, usage.hits, usage.misses),
        (0, 0, 0, 2)
    );
}

#[test]
fn any_number_of_threads_ask_at_once() {
    let world = world(512 << 10);
    let expected: Vec<_> = (0..PODS).map(|number| ask(&world, number)).collect();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (world, expected) = (&world, &expected);
            scope.spawn(move || {
                for step in 0..PODS {
                    let number = (step * (2 * thread + 1)) % PODS;
                    assert_eq!(ask(world, number), expected[number]);
                }
            });
        }
    });
}
