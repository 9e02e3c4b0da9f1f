//! The matcher's watches as those of enrichment, too.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kube::runtime::watcher::Event;
use serde_json::json;
use tokio::{sync::mpsc, time::timeout};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    super::{Lent, Registry},
    profile_of, profiles,
    server::{World, options, until},
};
use crate::{
    enrich::{
        profile::Profile,
        resource::Resource,
        service::{Objects, StoreState},
        view::ObjectView,
    },
    model::Kind,
    source::{
        FeedEvent, WatchMessage,
        native::{self, Counters, Limits, Unmatched},
    },
};

/// Watches of the matcher, which are lent.
struct Matcher {
    inputs: mpsc::Receiver<WatchMessage>,
    stop: CancellationToken,
    watches: AbortOnDropHandle<()>,
    lent: Lent,
    /// Ends of lists of pods.
    lists: u32,
}

impl Matcher {
    async fn start(world: &World, registry: &Registry) -> Self {
        let server = native::connect(&world.access(), Limits::default())
            .await
            .unwrap();
        let (sender, inputs) = mpsc::channel(16);
        let stop = CancellationToken::new();
        let (lent, sinks) = registry.lend(&Kind::MATCHED);
        assert_eq!(sinks.len(), 3);
        let options = options();
        let unmatched = Arc::new(Unmatched::of(&options));
        let counters = Arc::new(Counters::new(&options.kinds));
        let watching = native::watch_shared(
            server,
            options,
            sender,
            (unmatched, sinks),
            stop.clone(),
            counters,
        );
        let watches = tokio::spawn(async move { watching.await.unwrap() });
        Self {
            inputs,
            stop,
            watches: AbortOnDropHandle::new(watches),
            lent,
            lists: 0,
        }
    }

    /// Waits until the loop has this pod; looks at everything that it gets before.
    async fn hears(&mut self, name: &str, mut look: impl FnMut(&str)) {
        let heard = async {
            loop {
                let WatchMessage::Batch { events, .. } = self.inputs.recv().await.unwrap() else {
                    continue;
                };
                let mut heard = false;
                for event in events {
                    match event {
                        FeedEvent::Pod(Event::InitDone) => self.lists += 1,
                        FeedEvent::Pod(Event::Apply(pod) | Event::InitApply(pod)) => {
                            look(&pod.name);
                            heard |= *pod.name == *name;
                        }
                        _ => {}
                    }
                }
                if heard {
                    return;
                }
            }
        };
        timeout(Duration::from_secs(60), heard).await.expect(name);
    }

    async fn end(self) {
        self.stop.cancel();
        self.watches.await.unwrap();
        drop(self.lent);
    }
}

fn is_there(registry: &Registry, name: &str) -> bool {
    registry
        .view()
        .live(Resource::Pod, "default", name)
        .is_some()
}

fn lists(world: &World) -> BTreeMap<&'static str, u64> {
    let kinds = [Resource::Pod, Resource::ReplicaSet, Resource::Job];
    world.api.requests(|requests| {
        let counted = kinds.map(|resource| {
            let kind = resource.find(&Resource::kinds()).unwrap();
            (resource.key(), requests.lists(kind))
        });
        counted.into()
    })
}

#[tokio::test]
async fn one_watch_serves_both_and_the_store_has_an_object_before_the_loop() {
    let world = World::new().await;
    world.put(
        Resource::Pod,
        "first",
        json!({ "labels": { "app": "web" } }),
    );
    let registry = world.registry();
    let profile = Profile {
        deployment: true,
        cronjob: true,
        ..profile_of(&["state_pod"])
    };
    let mut matcher = Matcher::start(&world, &registry).await;
    registry.apply(&profiles(&[("default", profile)]));
    let look = |name: &str| assert!(is_there(&registry, name), "{name} came to the loop first");
    matcher.hears("first", |_| ()).await;
    until(&registry, "it is listed", |registry| {
        registry.view().sync(Resource::Pod).listed && is_there(registry, "first")
    })
    .await;
    for name in ["second", "third"] {
        world.put(Resource::Pod, name, json!({}));
        matcher.hears(name, look).await;
    }
    let row = |registry: &Registry, resource: Resource| {
        let stores = registry.stores();
        stores
            .into_iter()
            .find(|row| row.kind == resource.key())
            .unwrap()
    };
    for resource in [Resource::Pod, Resource::ReplicaSet, Resource::Job] {
        let mut users = row(&registry, resource).users;
        users.sort();
        assert_eq!(users, ["default", "matcher"]);
    }
    // The matcher ends: what it knew stays, and what comes then comes, too.
    matcher.end().await;
    assert!(is_there(&registry, "first") && registry.view().sync(Resource::Pod).listed);
    world.put(Resource::Pod, "fourth", json!({}));
    until(&registry, "a watch of our own", |registry| {
        is_there(registry, "fourth")
    })
    .await;
    assert_eq!(row(&registry, Resource::Pod).users, ["default"]);
    registry.stop().await;
}

#[tokio::test]
async fn a_profile_that_comes_later_lists_for_itself_and_never_for_the_matcher() {
    let world = World::new().await;
    for name in ["first", "gone"] {
        world.put(Resource::Pod, name, json!({ "labels": { "app": "web" } }));
    }
    let registry = world.registry();
    let mut matcher = Matcher::start(&world, &registry).await;
    matcher.hears("gone", |_| ()).await;
    world.put(Resource::Pod, "second", json!({}));
    matcher.hears("second", |_| ()).await;
    // Nobody enriches: nothing is kept, and nothing else is listed.
    // First lists take turns, so that of the Jobs may come after the pods.
    until(&registry, "each kind was listed once", |_| {
        lists(&world) == [("pod", 1), ("replicaset", 1), ("job", 1)].into()
    })
    .await;
    assert!(!is_there(&registry, "first") && registry.stores().is_empty());
    let profile = Profile {
        watch_linger: Duration::ZERO,
        ..profile_of(&["state_pod"])
    };
    registry.apply(&profiles(&[("default", profile)]));
    until(&registry, "it was listed alongside the watch", |registry| {
        registry.view().sync(Resource::Pod).listed
    })
    .await;
    let first = registry
        .view()
        .live(Resource::Pod, "default", "first")
        .unwrap();
    assert_eq!(first.labels.get("app"), Some(("app", "web")));
    world.api.delete(Kind::POD, "default", "gone");
    world.put(Resource::Pod, "third", json!({}));
    matcher.hears("third", |_| ()).await;
    assert!(!is_there(&registry, "gone") && is_there(&registry, "third"));
    assert_eq!(matcher.lists, 1, "the matcher has had one list");
    assert_eq!(lists(&world)["pod"], 2);
    // The profile goes: the stores are empty, and the matcher goes on.
    registry.apply(&profiles(&[]));
    until(&registry, "nothing is kept", |registry| {
        !is_there(registry, "first")
    })
    .await;
    world.put(Resource::Pod, "fourth", json!({}));
    matcher.hears("fourth", |_| ()).await;
    let rows = registry.stores();
    assert!(
        rows.iter()
            .all(|row| row.state == StoreState::Stopped && row.objects == 0)
    );
    matcher.end().await;
    registry.stop().await;
}
