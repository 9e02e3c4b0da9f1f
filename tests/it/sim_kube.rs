//! The simulated cluster, asked over real sockets by the client that everybody uses.

mod churn;
mod faults;
mod raw;

use std::{collections::BTreeMap, pin::pin};

use futures_util::{Stream, StreamExt as _};
use k8s_openapi::api::{apps::v1::ReplicaSet, batch::v1::Job, core::v1::Pod as KubePod};
use k8s_relay::{
    model::Kind,
    sim::{
        cluster::Cluster,
        kube::{
            Container, Cut, Fault, Meta, Mix, Object, Options, Owner, Pod, Population, SimApi,
            Sizes, Sort, View, When, status::Status,
        },
    },
};
use kube::{
    Api, Client, Error, ResourceExt as _,
    api::{ListParams, PartialObjectMeta, WatchEvent, WatchParams},
    core::Expression,
    runtime::watcher::{self, Event, watcher},
};
use serde_json::Value;

use crate::support::must;

async fn started(options: Options) -> (SimApi, Client) {
    let api = SimApi::start(options).await.unwrap();
    let client = Client::try_from(api.config().await.unwrap()).unwrap();
    (api, client)
}

/// Twelve pods of four ReplicaSets.
async fn small() -> (SimApi, Client) {
    let (api, client) = started(Options::small()).await;
    api.populate(&Cluster::new(4, 12));
    (api, client)
}

fn pods(client: &Client) -> Api<KubePod> {
    Api::all(client.clone())
}

fn code<T>(result: Result<T, Error>) -> u16 {
    match result {
        Err(Error::Api(status)) => status.code,
        Err(error) => panic!("no answer of an API server: {error}"),
        Ok(_) => panic!("it was answered"),
    }
}

/// The events of one watch of pods from a version.
async fn watch(
    client: &Client,
    params: &WatchParams,
    version: u64,
) -> std::pin::Pin<Box<dyn Stream<Item = WatchEvent<KubePod>> + Send>> {
    let events = pods(client).watch(params, &version.to_string()).await;
    Box::pin(events.unwrap().map(Result::unwrap))
}

async fn next(events: &mut (impl Stream<Item = WatchEvent<KubePod>> + Unpin)) -> String {
    match must("an event", events.next()).await {
        Some(WatchEvent::Added(pod)) => format!("added {}", pod.name_any()),
        Some(WatchEvent::Modified(pod)) => format!("modified {}", pod.name_any()),
        Some(WatchEvent::Deleted(pod)) => format!("deleted {}", pod.name_any()),
        Some(WatchEvent::Bookmark(mark)) => {
            let initial_end = mark
                .metadata
                .annotations
                .contains_key("k8s.io/initial-events-end");
            let sort = if initial_end {
                "initial end"
            } else {
                "bookmark"
            };
            format!("{sort} at {}", mark.metadata.resource_version)
        }
        Some(WatchEvent::Error(status)) => format!("error {} {}", status.code, status.reason),
        None => "end".to_owned(),
    }
}

#[tokio::test]
async fn pages_add_up_to_the_list_at_the_version_of_the_first_while_the_cluster_lives_on() {
    let (api, client) = small().await;
    let whole = pods(&client).list(&ListParams::default()).await.unwrap();
    let (mut found, mut params) = (Vec::new(), ListParams::default().limit(5));
    loop {
        let page = pods(&client).list(&params).await.unwrap();
        assert_eq!(
            page.metadata.resource_version,
            whole.metadata.resource_version
        );
        found.extend(page.items.iter().map(KubePod::name_any));
        let Some(token) = page.metadata.continue_.filter(|token| !token.is_empty()) else {
            break;
        };
        api.apply(Pod::new("a", &format!("late-{}", found.len()), "u"));
        api.delete(
            Kind::POD,
            &whole.items[7].namespace().unwrap(),
            &whole.items[7].name_any(),
        );
        params = params.continue_token(&token);
    }
    let names: Vec<_> = whole.items.iter().map(KubePod::name_any).collect();
    assert_eq!(found, names);
    assert_eq!(api.requests(|book| book.count(Kind::POD, Sort::Page)), 2);
}

#[tokio::test]
async fn a_pod_arrives_with_all_that_the_model_says_of_it() {
    let (api, client) = started(Options::default()).await;
    api.apply(
        Pod::new("shop", "web-1", "uid-1")
            .of(Owner::controller("ReplicaSet", "web", "uid-rs"))
            .label("app", "web")
            .address("fd00::1")
            .address("10.0.0.7")
            .host_network()
            .container("app", "web:\"1\"<&>", "containerd://1")
            .init(Container::running("mesh", "envoy:1", "containerd://2"))
            .ephemeral(Container::unreported("debug", "busybox")),
    );
    let pod = Api::<KubePod>::namespaced(client, "shop")
        .get("web-1")
        .await
        .unwrap();
    let (spec, status) = (pod.spec.unwrap(), pod.status.unwrap());
    assert_eq!(pod.metadata.uid.as_deref(), Some("uid-1"));
    assert_eq!(pod.metadata.labels.unwrap()["app"], "web");
    assert_eq!(
        pod.metadata.owner_references.unwrap()[0].controller,
        Some(true)
    );
    assert_eq!(spec.host_network, Some(true));
    assert_eq!(spec.ephemeral_containers.unwrap().len(), 1);
    assert_eq!(status.pod_ip.as_deref(), Some("fd00::1"));
    assert_eq!(status.pod_ips.unwrap().len(), 2);
    assert_eq!(status.container_statuses.unwrap()[0].image, "web:\"1\"<&>");
    let sidecar = &status.init_container_statuses.unwrap()[0];
    assert_eq!(sidecar.container_id.as_deref(), Some("containerd://2"));
    assert_eq!(status.ephemeral_container_statuses, None);
}

#[tokio::test]
async fn objects_have_the_size_of_real_ones() {
    let (api, _) = started(Options::default()).await;
    api.populate(&Cluster::new(100, 200));
    for (path, metadata, size) in [
        ("/api/v1/pods", false, 5_700..6_300),
        ("/api/v1/pods", true, 2_200..3_000),
        ("/apis/apps/v1/replicasets", true, 1_350..1_650),
    ] {
        let (head, body) = raw::get(&api, path, metadata).await;
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        let list: Value = serde_json::from_slice(&body).unwrap();
        let each = body.len() / list["items"].as_array().unwrap().len();
        assert!(size.contains(&each), "{path}: {each} bytes");
    }
}

#[tokio::test]
async fn owners_are_sent_as_metadata_alone_to_who_asks_for_it() {
    let (api, client) = small().await;
    api.apply(Object::job(
        Meta::new("shop", "nightly-1", "uid-j")
            .of(Owner::controller("CronJob", "nightly", "uid-c")),
    ));
    let sets: Api<PartialObjectMeta<ReplicaSet>> = Api::all(client.clone());
    let all = Api::<ReplicaSet>::all(client.clone());
    let partial = all.list_metadata(&ListParams::default()).await.unwrap();
    assert_eq!(partial.items.len(), 4);
    let kinds = partial
        .items
        .iter()
        .map(|set| set.types.as_ref().unwrap().kind.as_str());
    assert!(kinds.eq(["PartialObjectMetadata"; 4]));
    assert_eq!(
        sets.list(&ListParams::default()).await.unwrap().items.len(),
        4
    );
    let full = Api::<ReplicaSet>::all(client.clone())
        .list(&ListParams::default())
        .await
        .unwrap();
    assert_eq!(full.items[0].spec.replicas, Some(1));
    let job = Api::<Job>::namespaced(client, "shop")
        .get_metadata("nightly-1")
        .await
        .unwrap();
    assert_eq!(job.owner_references()[0].kind, "CronJob");
}

#[tokio::test]
async fn a_watch_sends_what_changes_after_its_version_in_order() {
    let (api, client) = small().await;
    let mut events = watch(&client, &WatchParams::default(), api.version()).await;
    api.apply(Pod::new("a", "one", "u"));
    api.apply(Object::replica_set(Meta::new("a", "not-asked-for", "r")));
    api.apply(Pod::new("a", "one", "u").address("10.0.0.1"));
    api.delete(Kind::POD, "a", "one");
    for event in ["added one", "modified one", "deleted one"] {
        assert_eq!(next(&mut events).await, event);
    }
    api.end_watches();
    assert_eq!(next(&mut events).await, "end");
}

#[tokio::test]
async fn who_asks_for_some_objects_sees_them_come_and_go_as_they_begin_and_cease_to_match() {
    let (api, client) = small().await;
    let params =
        WatchParams::default().labels_from(&Expression::Equal("app".into(), "web".into()).into());
    let mut events = watch(&client, &params, api.version()).await;
    let mut inside = Box::pin(
        Api::<KubePod>::namespaced(client.clone(), "b")
            .watch(&WatchParams::default(), &api.version().to_string())
            .await
            .unwrap()
            .map(Result::unwrap),
    );
    api.apply(Pod::new("a", "one", "u"));
    api.apply(Pod::new("a", "one", "u").label("app", "web"));
    api.apply(Pod::new("a", "one", "u").label("app", "api"));
    api.apply(Pod::new("b", "two", "u"));
    assert_eq!(next(&mut events).await, "added one");
    assert_eq!(next(&mut events).await, "deleted one");
    assert_eq!(next(&mut inside).await, "added two");
    let selected = ListParams::default().labels("app in (api,web)");
    assert_eq!(pods(&client).list(&selected).await.unwrap().items.len(), 1);
    let selected = ListParams::default().fields("metadata.name=two");
    assert_eq!(pods(&client).list(&selected).await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn bookmarks_send_how_far_a_watch_is_and_only_those_who_want_them() {
    let (api, client) = small().await;
    let mut events = watch(&client, &WatchParams::default(), api.version()).await;
    let mut without = watch(
        &client,
        &WatchParams::default().disable_bookmarks(),
        api.version(),
    )
    .await;
    api.wait_until(|book| book.open_watches == 2).await;
    let version = api.apply(Object::job(Meta::new("a", "moves-the-version", "j")));
    api.send_bookmarks();
    assert_eq!(next(&mut events).await, format!("bookmark at {version}"));
    // Nothing has changed since: there is nothing to mark.
    api.send_bookmarks();
    api.apply(Pod::new("a", "one", "u"));
    assert_eq!(next(&mut events).await, "added one");
    assert_eq!(next(&mut without).await, "added one");
}

#[tokio::test]
async fn a_streamed_list_is_all_objects_and_then_the_mark_of_their_end() {
    let (api, client) = small().await;
    let version = api.version();
    let params = WatchParams::default().initial_events();
    let mut events = watch(&client, &params, 0).await;
    for _ in 0..12 {
        assert!(next(&mut events).await.starts_with("added "));
    }
    assert_eq!(next(&mut events).await, format!("initial end at {version}"));
    api.apply(Pod::new("a", "one", "u"));
    assert_eq!(next(&mut events).await, "added one");
    assert_eq!(api.requests(|book| book.lists(Kind::POD)), 1);
}

#[tokio::test]
async fn what_history_no_longer_holds_is_gone() {
    let (api, client) = small().await;
    let page = pods(&client)
        .list(&ListParams::default().limit(5))
        .await
        .unwrap();
    let token = page.metadata.continue_.unwrap();
    let version: u64 = page.metadata.resource_version.unwrap().parse().unwrap();
    api.apply(Pod::new("a", "one", "u"));
    api.compact();
    let mut events = watch(&client, &WatchParams::default(), version).await;
    assert_eq!(next(&mut events).await, "error 410 Expired");
    assert_eq!(next(&mut events).await, "end");
    let rest = pods(&client)
        .list(&ListParams::default().continue_token(&token))
        .await;
    assert_eq!(code(rest), 410);
    let exact = ListParams::default()
        .at(&version.to_string())
        .matching(kube::api::VersionMatch::Exact);
    assert_eq!(code(pods(&client).list(&exact).await), 410);
}

#[tokio::test]
async fn after_a_restore_versions_go_back_and_a_watch_from_the_future_stays_silent() {
    let (api, client) = small().await;
    let old = api.version();
    let mut before = watch(&client, &WatchParams::default(), old).await;
    api.reset_to_version(3);
    assert_eq!(next(&mut before).await, "end");
    let mut future = watch(&client, &WatchParams::default(), old).await;
    let mut present = watch(&client, &WatchParams::default(), 3).await;
    api.apply(Pod::new("a", "one", "u"));
    api.send_bookmarks();
    assert_eq!(next(&mut present).await, "added one");
    api.end_watches();
    assert_eq!(next(&mut future).await, "end");
    let (head, body) = raw::get(&api, &format!("/api/v1/pods?resourceVersion={old}"), false).await;
    assert!(head.starts_with("HTTP/1.1 504"), "{head}");
    let status: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        status["details"]["causes"][0]["reason"],
        "ResourceVersionTooLarge"
    );
}

#[tokio::test]
async fn over_tls_only_the_token_lets_in() {
    let (api, client) = started(Options {
        tls: true,
        token: Some("sesame".to_owned()),
        ..Options::small()
    })
    .await;
    api.populate(&Cluster::new(4, 12));
    assert_eq!(
        pods(&client)
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .len(),
        12
    );
    assert_eq!(client.apiserver_version().await.unwrap().minor, "35");
    api.set_token(Some("abracadabra"));
    assert_eq!(code(pods(&client).list(&ListParams::default()).await), 401);
    assert_eq!(code(client.apiserver_version().await), 401);
    let known = Client::try_from(api.config().await.unwrap()).unwrap();
    let mut events = watch(&known, &WatchParams::default(), api.version()).await;
    api.apply(Pod::new("a", "one", "u"));
    assert_eq!(next(&mut events).await, "added one");
}

#[tokio::test]
async fn what_a_list_or_a_refusal_says_about_itself_is_what_real_servers_say() {
    let (api, _) = small().await;
    let (_, body) = raw::get(&api, "/apis/batch/v1/jobs", true).await;
    assert!(body.ends_with(b"\"items\":null}\n"), "metadata alone");
    let (_, body) = raw::get(&api, "/apis/batch/v1/jobs", false).await;
    assert!(body.ends_with(b"\"items\":[]}\n"));
    for (path, code, header) in [
        ("/api/v1/pods?resourceVersion=999", "504", "retry-after: 1"),
        ("/api/v1/things", "404", "content-type: application/json"),
        (
            "/apis/batch/v9/jobs",
            "404",
            "content-type: application/json",
        ),
        ("/apis/none/v1/jobs", "404", "content-type: text/plain"),
    ] {
        let (head, _) = raw::get(&api, path, false).await;
        assert!(head.contains(code), "{path}: {head}");
        assert!(head.to_lowercase().contains(header), "{path}: {head}");
    }
}
