//! Why a pod is announced, or is not: asked of a relay between a watcher and a reducer.

use k8s_relay::{
    admin::api::{Explanation, Findings},
    proto::{
        ContainerInfo, Info, OwnerInfo, PodInfo, ReplicaSetInfo,
        info::{Event, Type},
    },
    sim::watcher::Call,
};

use super::world::World;

/// A pod `shop/NAME` with this address, of this ReplicaSet.
pub(super) fn pod(uid: &str, name: &str, ip: &str, set: Option<&str>) -> Info {
    Info {
        r#type: Type::K8sPod.into(),
        event: Event::Added.into(),
        pod_info: Some(PodInfo {
            uid: uid.to_owned(),
            ip: ip.to_owned(),
            name: name.to_owned(),
            ns: "shop".to_owned(),
            owner: set.map(|set| OwnerInfo {
                uid: format!("uid-{set}"),
                name: set.to_owned(),
                kind: "ReplicaSet".to_owned(),
            }),
            container_infos: vec![ContainerInfo {
                id: format!("containerd://{uid}"),
                name: "main".to_owned(),
                image: "nginx:1".to_owned(),
            }],
            ..PodInfo::default()
        }),
        ..Info::default()
    }
}

async fn sent(call: &mut Call, infos: impl IntoIterator<Item = Info>) {
    for info in infos {
        call.send(info).await.unwrap();
    }
}

async fn explained(world: &World, pod: &str) -> Findings {
    let answer = world.get(&format!("/explain?pod={pod}")).await;
    serde_json::from_value(answer.json()).unwrap()
}

async fn one(world: &World, pod: &str) -> Explanation {
    let mut findings = explained(world, pod).await;
    assert_eq!(findings.pods.len(), 1, "{findings:?}");
    findings.pods.remove(0)
}

#[tokio::test]
async fn each_reason_for_a_pod_not_to_be_announced_is_said() {
    let world = World::start().await;
    let watcher = world.watcher().await;
    let mut call = watcher.open();
    let too_long = "u".repeat(2000);
    let infos = [
        pod("none", "no-address", "", None),
        pod("waits", "waits", "10.0.0.1", Some("lost")),
        pod("", "no-uid", "10.0.0.2", None),
        pod(&too_long, "long-uid", "10.0.0.2", None),
        pod("told", "told", "10.0.0.3", None),
    ];
    sent(&mut call, infos).await;
    world.knows("told").await;

    let known = one(&world, "told").await;
    let as_sent = known.announced.unwrap();
    assert_eq!((as_sent.epoch, as_sent.containers), (0, 1));
    assert_eq!(
        (as_sent.kept, as_sent.outdated, known.not_announced),
        (None, false, None)
    );
    let [feed] = known.feeds.as_slice() else {
        panic!("one feed");
    };
    assert!(feed.active && feed.live);
    assert_eq!(feed.feed, "legacy");
    assert_eq!(feed.address.as_deref(), Some("10.0.0.3"));
    assert_eq!(feed.containers, ["main nginx:1 containerd://told"]);

    let none = one(&world, "shop/no-address").await;
    let why = "in the active feed: it has no address yet";
    assert_eq!(
        (none.announced, none.not_announced.as_deref()),
        (None, Some(why))
    );

    let waits = one(&world, "waits").await;
    let why = waits.not_announced.unwrap();
    assert!(
        why.starts_with("in the active feed: it has waited "),
        "{why}"
    );
    assert!(
        why.ends_with("for ReplicaSet/lost (uid-lost), which is not known"),
        "{why}"
    );
    assert!(waits.feeds[0].missing_seconds.is_some());

    for (asked, reason) in [
        ("shop/no-uid", "no_uid"),
        ("shop/long-uid", "uid_too_long"),
        (&too_long, "uid_too_long"),
    ] {
        let lost = explained(&world, asked).await;
        assert!(lost.pods.is_empty());
        let [dropped] = lost.dropped.as_slice() else {
            panic!("{lost:?}");
        };
        assert_eq!(
            (dropped.source.as_str(), dropped.reason.as_str()),
            ("legacy", reason)
        );
    }
    world.end().await;
}

#[tokio::test]
async fn an_old_pod_and_its_successor_of_one_name_are_both_shown() {
    let world = World::start().await;
    let watcher = world.watcher().await;
    let mut call = watcher.open();
    // More than one slice of the store is between them.
    let old = [pod("old", "db-0", "10.0.0.1", None)];
    let others = (0..700).map(|n| pod(&format!("u{n}"), &format!("n{n}"), "10.0.0.9", None));
    sent(&mut call, old.into_iter().chain(others)).await;
    sent(&mut call, [pod("new", "db-0", "10.0.0.2", None)]).await;
    world.knows("new").await;
    let both = explained(&world, "shop/db-0").await;
    let uids: Vec<_> = both.pods.iter().map(|pod| pod.uid.as_str()).collect();
    assert_eq!((uids, both.more), (vec!["old", "new"], false));
    // Of many of one name some are shown.
    let many = (0..30).map(|n| pod(&format!("m{n}"), "many", "10.0.0.9", None));
    sent(&mut call, many).await;
    world.knows("m29").await;
    let many = explained(&world, "shop/many").await;
    assert_eq!((many.pods.len(), many.more), (20, true));
    world.end().await;
}

#[tokio::test]
async fn what_has_changed_since_it_was_sent_shows_and_so_does_an_owner_that_comes() {
    let world = World::start().await;
    let watcher = world.watcher().await;
    let mut call = watcher.open();
    let set = Info {
        r#type: Type::K8sReplicaset.into(),
        event: Event::Added.into(),
        rs_info: Some(ReplicaSetInfo {
            uid: "uid-web-1".to_owned(),
            owner: Some(OwnerInfo {
                uid: "uid-web".to_owned(),
                name: "web".to_owned(),
                kind: "Deployment".to_owned(),
            }),
        }),
        ..Info::default()
    };
    sent(&mut call, [pod("a", "a", "10.0.0.1", Some("web-1")), set]).await;
    world.knows("a").await;
    let explained = one(&world, "a").await;
    let feed = &explained.feeds[0];
    assert_eq!(
        feed.direct_owner.as_deref(),
        Some("ReplicaSet/web-1 (uid-web-1)")
    );
    assert_eq!(
        feed.effective_owner.as_deref(),
        Some("Deployment/web (uid-web)")
    );
    assert_eq!(feed.missing_seconds, None);
    // An address is announced to the reducer once.
    sent(
        &mut call,
        [
            pod("a", "a", "10.0.0.7", Some("web-1")),
            pod("b", "b", "10.0.0.8", None),
        ],
    )
    .await;
    world.knows("b").await;
    assert!(one(&world, "a").await.announced.unwrap().outdated);
    world.end().await;
}

#[tokio::test]
async fn without_a_reducer_a_live_pod_waits_for_it() {
    let world = World::start().await;
    world.reducer.stop_listening().await;
    world.reducer.disconnect().await;
    let gone = |answer: &super::world::Answer| answer.json()["reducer"]["connected"] == false;
    world.until("/statusz", gone).await;
    let watcher = world.watcher().await;
    let mut call = watcher.open();
    sent(&mut call, [pod("a", "a", "10.0.0.1", None)]).await;
    let answer = world
        .until("/explain?pod=a", |answer| answer.code == 200)
        .await;
    let findings: Findings = serde_json::from_value(answer.json()).unwrap();
    let why = "the reducer is not connected; the relay announces the pod when it is back";
    assert_eq!(findings.pods[0].not_announced.as_deref(), Some(why));
    let undone = "the relay did not end cleanly: the reducer is not connected: \
                  1 of 1 pods were not announced to it";
    assert_eq!(world.end_undone().await, undone);
}
