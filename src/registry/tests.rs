//! The registry with watches that do what a test says.

mod fake;
mod golden;
mod laws;
mod lending;
mod server;

use std::time::Duration;

use fake::{Fake, quiet};
use serde_json::json;

use super::*;
use crate::enrich::{
    profile::{Profile, ProfileSet, ScopeSetting},
    service::{Objects, StoreState},
    view::{ObjectView, Trouble},
};

/// What most users need.
fn labels() -> Needs {
    Needs {
        labels: true,
        details: true,
        ..Needs::default()
    }
}

fn settings() -> Settings {
    Settings {
        linger: Duration::ZERO,
        retry: Duration::from_secs(30),
        retention: Retention {
            grace: Duration::from_secs(120),
            capacity: 10_000,
        },
        namespaces: Vec::new(),
        seed: Seed::FIXED,
    }
}

fn registry() -> (Registry, Fake) {
    let fake = Fake::default();
    (Registry::new(settings(), fake.clone()), fake)
}

fn state(registry: &Registry, resource: Resource) -> Option<StoreState> {
    let stores = registry.stores();
    let row = stores.iter().find(|row| row.kind == resource.key())?;
    Some(row.state)
}

fn is_there(registry: &Registry, resource: Resource, name: &str) -> bool {
    let namespace = if resource.namespaced() { "default" } else { "" };
    registry.view().live(resource, namespace, name).is_some()
}

/// The value of a label of a pod, if the pod is there and the label is.
fn label(registry: &Registry, name: &str, key: &str) -> Option<String> {
    let pod = registry.view().live(Resource::Pod, "default", name)?;
    Some(pod.labels.get(key)?.1.to_owned())
}

fn profiles(profiles: &[(&str, Profile)]) -> ProfileSet {
    let named = profiles.iter();
    ProfileSet {
        address: None,
        default_profile: "default".to_owned(),
        profiles: named
            .map(|(name, profile)| ((*name).to_owned(), profile.clone()))
            .collect(),
    }
}

fn profile_of(metricsets: &[&str]) -> Profile {
    let named = metricsets.iter();
    Profile {
        metricsets: named
            .map(|name| crate::enrich::resource::Metricset::from_name(name).unwrap())
            .collect(),
        watch_linger: Duration::from_secs(30),
        ..Profile::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_kind_is_pending_then_listing_then_ready_and_forbidden_alone() {
    let (registry, fake) = registry();
    fake.put(Resource::Pod, "a", json!({}));
    let pods = registry.subscribe(Resource::Pod, Scope::Cluster, labels(), "p");
    let nodes = registry.subscribe(Resource::Node, Scope::Cluster, labels(), "p");
    assert_eq!(state(&registry, Resource::Pod), Some(StoreState::Pending));
    pods.start();
    nodes.start();
    quiet().await;
    let (pod, node) = (fake.last(Resource::Pod), fake.last(Resource::Node));
    pod.begin();
    assert_eq!(state(&registry, Resource::Pod), Some(StoreState::Listing));
    node.denied();
    let forbidden = StoreState::Degraded(Trouble::Forbidden);
    assert_eq!(state(&registry, Resource::Node), Some(forbidden));
    assert!(!nodes.ready().await);
    pod.list();
    assert!(pods.ready().await);
    assert_eq!(state(&registry, Resource::Pod), Some(StoreState::Ready));
    // The rights come back.
    node.list();
    assert!(nodes.ready().await);
    assert_eq!(state(&registry, Resource::Node), Some(StoreState::Ready));
    // They are taken again: what was known stays.
    fake.put(Resource::Node, "n", json!({}));
    node.apply("n");
    node.denied();
    assert_eq!(state(&registry, Resource::Node), Some(forbidden));
    assert!(is_there(&registry, Resource::Node, "n"));
    let sync = registry.view().sync(Resource::Node);
    assert_eq!(
        (sync.listed, sync.trouble),
        (true, Some(Trouble::Forbidden))
    );
}

#[tokio::test(start_paused = true)]
async fn a_watch_outlives_its_last_user_by_the_linger_and_who_comes_meanwhile_shares_it() {
    let fake = Fake::default();
    let linger = Duration::from_secs(30);
    let registry = Registry::new(
        Settings {
            linger,
            ..settings()
        },
        fake.clone(),
    );
    fake.put(Resource::Pod, "a", json!({}));
    let first = registry.subscribe(Resource::Pod, Scope::Cluster, labels(), "first");
    first.start();
    quiet().await;
    fake.last(Resource::Pod).list();
    drop(first);
    tokio::time::advance(Duration::from_secs(29)).await;
    quiet().await;
    let second = registry.subscribe(Resource::Pod, Scope::Cluster, labels(), "second");
    second.start();
    assert!(second.ready().await);
    tokio::time::advance(Duration::from_secs(120)).await;
    quiet().await;
    assert!(is_there(&registry, Resource::Pod, "a"));
    assert_eq!(fake.count(Resource::Pod), 1);
    drop(second);
    tokio::time::advance(Duration::from_secs(31)).await;
    quiet().await;
    assert!(fake.last(Resource::Pod).is_stopped());
    assert!(registry.kinds().is_empty());
    assert!(!is_there(&registry, Resource::Pod, "a"));
}

#[tokio::test(start_paused = true)]
async fn who_needs_more_has_it_listed_beside_the_watch_and_nothing_is_missing_meanwhile() {
    let (registry, fake) = registry();
    for name in ["a", "b", "gone"] {
        fake.put(Resource::Pod, name, json!({ "labels": { "app": name } }));
    }
    let less = registry.subscribe(Resource::Pod, Scope::Cluster, Needs::default(), "less");
    less.start();
    quiet().await;
    let watch = fake.last(Resource::Pod);
    watch.list();
    assert_eq!(label(&registry, "a", "app"), None);
    let more = registry.subscribe(Resource::Pod, Scope::Cluster, labels(), "more");
    more.start();
    quiet().await;
    assert_eq!(fake.count(Resource::Pod), 2, "a list alongside the watch");
    let list = fake.last(Resource::Pod);
    list.begin();
    list.item("a");
    assert_eq!(label(&registry, "a", "app").as_deref(), Some("a"));
    assert!(is_there(&registry, Resource::Pod, "b"));
    // The list is of a moment before these: it must not undo them.
    let old = list.seen("b");
    fake.put(Resource::Pod, "b", json!({ "labels": { "app": "newer" } }));
    watch.apply("b");
    list.tell_item(old);
    assert_eq!(label(&registry, "b", "app").as_deref(), Some("newer"));
    let gone = list.seen("gone");
    watch.delete("gone");
    list.tell_item(gone);
    assert!(!is_there(&registry, Resource::Pod, "gone"));
    list.end();
    assert!(more.ready().await);
    quiet().await;
    assert!(list.is_stopped() && !watch.is_stopped());
    assert_eq!(fake.count(Resource::Pod), 2);
}

#[tokio::test(start_paused = true)]
async fn what_a_watch_is_to_keep_too_late_is_listed_once_more() {
    let (registry, fake) = registry();
    fake.put(Resource::Pod, "a", json!({ "labels": { "app": "a" } }));
    let less = registry.subscribe(Resource::Pod, Scope::Cluster, Needs::default(), "less");
    less.start();
    quiet().await;
    let watch = fake.last(Resource::Pod);
    watch.list();
    // A line that is decoded before the need is known, and written after the list has passed it.
    fake.put(
        Resource::Pod,
        "late",
        json!({ "labels": { "app": "late" } }),
    );
    let poor = watch.seen("late");
    let more = registry.subscribe(Resource::Pod, Scope::Cluster, labels(), "more");
    more.start();
    quiet().await;
    let first = fake.last(Resource::Pod);
    first.begin();
    first.item("a");
    watch.write(poor);
    first.end();
    quiet().await;
    assert_eq!(label(&registry, "late", "app"), None);
    assert_eq!(fake.count(Resource::Pod), 3);
    fake.last(Resource::Pod).list();
    assert!(more.ready().await);
    assert_eq!(label(&registry, "late", "app").as_deref(), Some("late"));
}

#[tokio::test(start_paused = true)]
async fn a_list_anew_replaces_one_by_one_and_buries_at_its_end_what_is_gone() {
    let (registry, fake) = registry();
    for name in ["a", "b"] {
        fake.put(Resource::Pod, name, json!({}));
    }
    let pods = registry.subscribe(Resource::Pod, Scope::Cluster, labels(), "p");
    pods.start();
    quiet().await;
    let watch = fake.last(Resource::Pod);
    watch.list();
    fake.remove(Resource::Pod, "b");
    watch.begin();
    watch.item("a");
    assert!(is_there(&registry, Resource::Pod, "a") && is_there(&registry, Resource::Pod, "b"));
    // The list begins again, and is only then heard to its end.
    watch.begin();
    assert!(is_there(&registry, Resource::Pod, "a") && is_there(&registry, Resource::Pod, "b"));
    watch.item("a");
    watch.end();
    assert!(is_there(&registry, Resource::Pod, "a") && !is_there(&registry, Resource::Pod, "b"));
    assert!(
        registry
            .view()
            .buried(Resource::Pod, "default", "b")
            .is_some()
    );
    tokio::time::advance(Duration::from_secs(130)).await;
    quiet().await;
    let buried: Vec<u64> = registry.stores().iter().map(|row| row.buried).collect();
    assert_eq!(buried, [0]);
}

#[tokio::test(start_paused = true)]
async fn a_widening_that_failed_is_tried_again_by_itself() {
    let (registry, fake) = registry();
    let scope = Scope::Node("n1".to_owned());
    let narrow = registry.subscribe(Resource::Pod, scope, labels(), "narrow");
    narrow.start();
    quiet().await;
    fake.last(Resource::Pod).list();
    let wide = registry.subscribe(Resource::Pod, Scope::Cluster, labels(), "wide");
    wide.start();
    quiet().await;
    fake.last(Resource::Pod).denied();
    assert!(!wide.ready().await);
    quiet().await;
    assert!(fake.last(Resource::Pod).is_stopped());
    assert_eq!(state(&registry, Resource::Pod), Some(StoreState::Ready));
    tokio::time::advance(Duration::from_secs(31)).await;
    quiet().await;
    assert_eq!(fake.count(Resource::Pod), 3);
    fake.last(Resource::Pod).list();
    assert!(wide.ready().await);
    assert!(!registry.is_widening(Resource::Pod));
}

#[tokio::test(start_paused = true)]
async fn a_kind_whose_users_have_gone_is_stopped_until_the_next_one_comes() {
    let (registry, fake) = registry();
    fake.put(Resource::Pod, "a", json!({}));
    assert_eq!(
        state(&registry, Resource::Pod),
        None,
        "nobody has asked for it"
    );
    for _ in 0..2 {
        let pods = registry.subscribe(Resource::Pod, Scope::Cluster, labels(), "p");
        assert_eq!(state(&registry, Resource::Pod), Some(StoreState::Pending));
        pods.start();
        quiet().await;
        fake.last(Resource::Pod).list();
        assert_eq!(state(&registry, Resource::Pod), Some(StoreState::Ready));
        drop(pods);
        let row = registry.stores().remove(0);
        assert_eq!((row.state, row.objects), (StoreState::Stopped, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_warm_profile_of_a_node_has_nothing_to_list_when_the_cluster_is_wanted() {
    let (registry, fake) = registry();
    for (name, node) in [("near", "n1"), ("far", "n2")] {
        fake.put(Resource::Pod, name, json!({ "node": node }));
    }
    let of_a_node = |warm| Profile {
        scope: ScopeSetting::Node("n1".to_owned()),
        warm_cluster_scope: warm,
        ..profile_of(&["pod"])
    };
    let leading = || ("state", profile_of(&["state_pod"]));
    for (warm, lists) in [(false, 2), (true, 1)] {
        let before = fake.count(Resource::Pod);
        registry.apply(&profiles(&[("default", of_a_node(warm))]));
        quiet().await;
        fake.all().iter().for_each(fake::Watch::list);
        assert!(is_there(&registry, Resource::Pod, "near"));
        assert_eq!(is_there(&registry, Resource::Pod, "far"), warm);
        registry.apply(&profiles(&[("default", of_a_node(warm)), leading()]));
        quiet().await;
        assert_eq!(fake.count(Resource::Pod) - before, lists, "warm: {warm}");
        registry.apply(&profiles(&[]));
        tokio::time::advance(Duration::from_secs(31)).await;
        quiet().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_superseded_watch_still_says_is_not_heard() {
    let (registry, fake) = registry();
    fake.put(Resource::Pod, "a", json!({ "node": "n1" }));
    let scope = Scope::Node("n1".to_owned());
    let narrow = registry.subscribe(Resource::Pod, scope, labels(), "narrow");
    narrow.start();
    quiet().await;
    let old = fake.last(Resource::Pod);
    old.list();
    let wide = registry.subscribe(Resource::Pod, Scope::Cluster, labels(), "wide");
    wide.start();
    quiet().await;
    fake.last(Resource::Pod).list();
    old.delete("a");
    old.begin();
    old.end();
    old.denied();
    assert!(is_there(&registry, Resource::Pod, "a"));
    assert_eq!(state(&registry, Resource::Pod), Some(StoreState::Ready));
    assert!(wide.ready().await && narrow.ready().await);
}

#[tokio::test(start_paused = true)]
async fn new_profiles_share_the_watches_of_the_old_ones_and_what_nobody_needs_ends() {
    let (registry, fake) = registry();
    fake.put(Resource::Pod, "a", json!({}));
    registry.apply(&profiles(&[(
        "default",
        profile_of(&["state_pod", "state_service"]),
    )]));
    quiet().await;
    let order: Vec<_> = fake.started().into_iter().map(Resource::key).collect();
    assert_eq!(order, ["node", "namespace", "pod", "service"]);
    fake.all().iter().for_each(fake::Watch::list);
    let pods = fake.last(Resource::Pod);
    registry.apply(&profiles(&[
        ("default", profile_of(&["state_pod"])),
        ("other", profile_of(&["state_container"])),
    ]));
    quiet().await;
    assert!(is_there(&registry, Resource::Pod, "a") && !pods.is_stopped());
    let users = |resource: Resource| {
        let stores = registry.stores();
        let row = stores.iter().find(|row| row.kind == resource.key());
        row.map(|row| row.users.clone())
    };
    assert_eq!(users(Resource::Pod).unwrap(), ["default", "other"]);
    assert_eq!(users(Resource::Service).unwrap(), Vec::<String>::new());
    tokio::time::advance(Duration::from_secs(31)).await;
    quiet().await;
    assert_eq!(users(Resource::Service).unwrap(), Vec::<String>::new());
    assert_eq!(
        state(&registry, Resource::Service),
        Some(StoreState::Stopped)
    );
    assert_eq!(fake.count(Resource::Pod), 1);
}

#[tokio::test(start_paused = true)]
async fn to_stop_takes_no_time_whatever_the_watches_do() {
    let (registry, fake) = registry();
    registry.apply(&profiles(&[("default", Profile::default())]));
    quiet().await;
    fake.last(Resource::Pod).begin();
    fake.last(Resource::Node).denied();
    let begun = tokio::time::Instant::now();
    registry.stop().await;
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert!(fake.all().iter().all(fake::Watch::is_stopped));
    assert!(
        registry
            .stores()
            .iter()
            .all(|row| row.state == StoreState::Stopped)
    );
    let late = registry.subscribe(Resource::Pod, Scope::Cluster, labels(), "late");
    late.start();
    assert!(!late.ready().await);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_of_a_registry_ends_its_watches() {
    let (registry, fake) = registry();
    registry.apply(&profiles(&[("default", profile_of(&["state_pod"]))]));
    quiet().await;
    let other = registry.clone();
    drop(registry);
    quiet().await;
    assert!(!fake.last(Resource::Pod).is_stopped());
    drop(other);
    quiet().await;
    assert!(fake.all().iter().all(fake::Watch::is_stopped));
}
