//! What is sent of a pod that the reducer knows and that changes (D14), and of one whose owner
//! changes or is forgotten.

mod moves;

use insta::assert_snapshot;
use k8s_relay::{
    announce::Watermarks,
    feeds::Settings,
    matcher::{Generation, OwnerSort, Reannounce},
    model::{OwnerKind, PodMeta, Uid},
};

use crate::support::{
    core::{
        Core, MESSAGE, PodDraft, a, custom, deployment, job, legacy, object, pod, replica_set, secs,
    },
    native::Native,
};

// --- what is announced ---

#[test]
fn a_pod_moves_with_what_owns_it_and_with_what_owns_that_from_orphan_to_adopted_and_back() {
    let mut native = Native::reannouncing(Watermarks::default());
    let (mut stream, feed) = reannouncing();
    let mut report = |owner: Option<_>, controller: Option<_>| {
        let mut web = pod("web");
        web.0.owner = owner;
        native.replica_set("rs", Clone::clone(&controller));
        native.pod(web.clone());
        stream.replica_set(feed, "rs", controller);
        stream.pod(feed, web);
        let sent = native.sent();
        assert_eq!(stream.sent(), sent, "both feeds send the same");
        sent
    };
    let (rs, shop) = (|| Some(replica_set("rs")), || Some(deployment("shop")));
    assert_eq!(report(rs(), shop()), "pod_new web v1 Deployment/shop");
    assert_eq!(report(rs(), None), "pod_new web v1 ReplicaSet/rs");
    assert_eq!(report(rs(), shop()), "pod_new web v1 Deployment/shop");
    assert_eq!(report(None, shop()), "pod_new web v1");
    assert_eq!(report(None, None), "");
    assert_eq!(report(rs(), None), "pod_new web v1 ReplicaSet/rs");
}

#[test]
fn a_pod_is_announced_again_with_its_containers_when_anything_that_was_announced_is_another() {
    type Edit = fn(&mut PodDraft);
    let changes: [(&str, Edit); 6] = [
        ("name", |draft| draft.0.name = "other".into()),
        ("namespace", |draft| draft.0.namespace = "other".into()),
        ("version", |draft| draft.0.version = "other".into()),
        ("address", |draft| {
            draft.0.address = Some([10, 0, 0, 9].into())
        }),
        ("network", |draft| draft.0.host_network = true),
        ("owner", |draft| draft.0.owner = Some(deployment("other"))),
    ];
    for (what, change) in changes {
        let mut native = Native::reannouncing(Watermarks::default());
        let mut draft = pod("web")
            .owned_by(deployment("shop"))
            .running(&["c1", "c2"]);
        native.pod(draft.clone());
        native.sent();
        change(&mut draft);
        let (version, owner) = (draft.0.version.clone(), draft.0.owner.clone().unwrap());
        native.pod(draft.clone());
        native.pod(draft);
        let expected = format!(
            "pod_new web v{version} Deployment/{}\npod_container web c1\npod_container web c2",
            owner.name
        );
        assert_eq!(native.sent(), expected, "{what}");
    }
}

#[test]
fn a_pod_that_has_no_owner_any_longer_is_announced_without() {
    let mut native = Native::reannouncing(Watermarks::default());
    native.pod(pod("web").owned_by(deployment("shop")));
    native.pod(pod("web"));
    assert_snapshot!(native.sent(), @r"
    pod_new web v1 Deployment/shop
    pod_new web v1
    ");
}

#[test]
fn an_event_that_changes_nothing_sends_in_a_native_feed_nothing_and_in_a_stream_its_containers() {
    let web = || pod("web").running(&["c1", "c1", "c2"]);
    let mut native = Native::reannouncing(Watermarks::default());
    native.pod(web());
    native.sent();
    native.pod(web());
    assert_snapshot!(native.sent(), @"");

    let (mut core, feed) = reannouncing();
    core.pod(feed, web());
    core.sent();
    core.pod(feed, web());
    assert_snapshot!(core.sent(), @r"
    pod_container web c1
    pod_container web c2
    ");
}

#[test]
fn the_api_group_of_an_owner_is_not_sent_and_a_change_of_it_neither() {
    let mut native = Native::reannouncing(Watermarks::default());
    native.replica_set("rs", None);
    native.pod(pod("web").owned_by(replica_set("rs")));
    native.sent();
    native.pod(pod("web").owned_by(custom(OwnerKind::ReplicaSet, "rs")));
    native.replica_set("rs", Some(deployment("shop")));
    assert_snapshot!(native.sent(), @"");
    native.pod(pod("web").owned_by(replica_set("rs")));
    assert_snapshot!(native.sent(), @"pod_new web v1 Deployment/shop");
}

// --- containers ---

#[test]
fn a_pod_is_deleted_and_sent_again_when_a_sent_container_is_gone_or_another_one() {
    for (what, now) in [
        ("gone", pod("web").running(&["c2"])),
        ("replaced", pod("web").running(&["c2", "c3"])),
        ("none left", pod("web").running(&[])),
        (
            "another image",
            pod("web").running(&["c1", "c2"]).image("nginx:2"),
        ),
        ("another name", renamed(pod("web").running(&["c1", "c2"]))),
        (
            "gone, and another version",
            pod("web").version("2").running(&["c1"]),
        ),
    ] {
        let mut native = Native::reannouncing(Watermarks::default());
        native.pod(pod("web").running(&["c1", "c2"]));
        native.sent();
        let mut expected = vec![
            "pod_delete web".to_owned(),
            format!("pod_new web v{}", now.0.version),
        ];
        expected.extend(now.0.containers.iter().map(|one| match &*one.image {
            "nginx:1" => format!("pod_container web {}", one.id),
            image => format!("pod_container web {} {image}", one.id),
        }));
        native.pod(now.clone());
        native.pod(now);
        assert_eq!(native.sent(), expected.join("\n"), "{what}");
    }
}

#[test]
fn a_new_container_is_sent_alone() {
    let mut native = Native::reannouncing(Watermarks::default());
    native.pod(pod("web").running(&["c1"]));
    native.sent();
    native.pod(pod("web").running(&["c0", "c1"]));
    assert_snapshot!(native.sent(), @"pod_container web c0");
}

#[test]
fn of_containers_with_one_id_the_first_counts_as_it_does_for_the_reducer() {
    let of_images = |images: [&str; 2]| {
        let mut draft = pod("web").running(&["c1", "c1"]);
        for (container, image) in draft.0.containers.iter_mut().zip(images) {
            container.image = image.into();
        }
        draft
    };
    let mut native = Native::reannouncing(Watermarks::default());
    for images in [["a", "b"], ["a", "c"], ["a", "a"], ["b", "a"]] {
        native.pod(of_images(images));
    }
    assert_snapshot!(native.sent(), @r"
    pod_new web v1
    pod_container web c1 a
    pod_delete web
    pod_new web v1
    pod_container web c1 b
    ");
}

#[test]
fn a_pod_of_a_hundred_containers_is_sent_again_when_one_of_them_goes() {
    let ids: Vec<_> = (0..100).map(|n| format!("c{n}")).collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    let mut native = Native::reannouncing(Watermarks::default());
    for n in [33, 100, 100] {
        native.pod(pod("p").running(&ids[..n]));
    }
    assert_eq!(native.sent().lines().count(), 1 + 100);
    native.pod(pod("p").running(&ids[1..]));
    assert_eq!(native.sent().lines().count(), 2 + 99);
    assert_eq!(native.feeds.ledger().containers(), 99);
}

// --- owners that change ---

#[test]
fn pods_follow_their_replica_set_or_job_from_one_controller_to_another_and_to_none() {
    let mut native = Native::reannouncing(Watermarks::default());
    native.replica_set("rs", Some(deployment("old")));
    native.replica_set("rs2", Some(deployment("old")));
    let of_rs = || pod("web").owned_by(replica_set("rs")).running(&["c1"]);
    native.pod(of_rs());
    native.pod(pod("other").owned_by(replica_set("rs2")));
    native.pod(pod("moved").owned_by(replica_set("rs")));
    native.pod(pod("moved").owned_by(replica_set("rs2")));
    native.pod(pod("gone").owned_by(replica_set("rs")));
    native.pod_gone("gone");
    native.sent();
    for controller in [
        Some(deployment("new")),
        None,
        None,
        Some(a(OwnerKind::CronJob, "no")),
    ] {
        native.replica_set("rs", controller);
    }
    assert_snapshot!(native.sent(), @r"
    pod_new web v1 Deployment/new
    pod_container web c1
    pod_new web v1 ReplicaSet/rs
    pod_container web c1
    ");
    native.owner_event(OwnerSort::Job, applied("j", None));
    native.pod(pod("batch").owned_by(job("j")));
    native.owner_event(OwnerSort::Job, applied("j", Some("nightly")));
    assert_snapshot!(native.sent(), @r"
    pod_new batch v1 Job/j
    pod_new batch v1 CronJob/nightly
    ");
}

#[test]
fn sent_once_a_pod_does_not_follow_its_replica_set() {
    let mut native = Native::new(Watermarks::default());
    native.replica_set("rs", Some(deployment("old")));
    native.pod(pod("web").owned_by(replica_set("rs")).running(&["c1"]));
    native.sent();
    native.replica_set("rs", Some(deployment("new")));
    native.pod(pod("web").version("2").owned_by(replica_set("rs")));
    assert_snapshot!(native.sent(), @"");
}

#[test]
fn the_pods_of_a_stream_follow_their_replica_set_too() {
    let (mut core, feed) = reannouncing();
    core.pod(
        feed,
        pod("web").owned_by(replica_set("rs")).running(&["c1"]),
    );
    core.replica_set(feed, "rs", None);
    core.sent();
    core.replica_set(feed, "rs", Some(deployment("adopter")));
    assert_snapshot!(core.sent(), @r"
    pod_new web v1 Deployment/adopter
    pod_container web c1
    ");
}

#[test]
fn a_live_pod_that_loses_its_address_stays_with_the_last_one_and_is_announced_otherwise_as_it_is() {
    let mut native = Native::reannouncing(Watermarks::default());
    native.replica_set("rs", Some(deployment("shop")));
    let of_rs = || pod("web").address(7).owned_by(replica_set("rs"));
    native.pod(of_rs());
    native.sent();
    native.pod(of_rs().without_address());
    assert_snapshot!(native.sent(), @"");
    native.pod(of_rs().version("2").without_address());
    native.replica_set("rs", Some(deployment("new")));
    assert_snapshot!(native.sent(), @r"
    pod_new web v2 Deployment/shop
    pod_new web v2 Deployment/new
    ");
    let known = &native.reducer.reducer_state.pods[&Uid::new("web")];
    assert_eq!(known.pod.address, Some([10, 0, 0, 7].into()));
}

// --- owners that are forgotten ---

#[test]
fn when_its_owner_is_forgotten_a_pod_is_replayed_under_the_controller_that_this_had_at_last() {
    for (native, sent) in [
        (
            Native::reannouncing(Watermarks::default()),
            "pod_new web v1 Deployment/new",
        ),
        // Announced once, what became of the ReplicaSet since the pod's last event is forgotten
        // with it.
        (
            Native::new(Watermarks::default()),
            "pod_new web v1 Deployment/old",
        ),
    ] {
        let mut native = native;
        let web = PodMeta::from(pod("web").owned_by(replica_set("rs")));
        native.replica_set("rs", Some(deployment("old")));
        native.pod(web.clone());
        native.replica_set("rs", Some(deployment("new")));
        native.sent();
        native.owner_gone(OwnerSort::ReplicaSet, "rs");
        native.pass(secs(61));
        assert_eq!(native.counts().owners, 0);
        native.pod(web); // the very same
        assert_eq!(native.sent(), "");
        native.reconnect();
        assert_eq!(native.sent(), sent);
    }
}

#[test]
fn sent_once_any_change_of_a_pod_brings_the_owner_up_to_date_that_a_replay_reports_it() {
    let mut native = Native::new(Watermarks::default());
    let web = || pod("web").owned_by(replica_set("rs"));
    native.replica_set("rs", Some(deployment("old")));
    native.pod(web());
    native.replica_set("rs", Some(deployment("new")));
    native.pod(web().version("2"));
    native.owner_gone(OwnerSort::ReplicaSet, "rs");
    native.pass(secs(61));
    native.sent();
    native.reconnect();
    assert_snapshot!(native.sent(), @"pod_new web v2 Deployment/new");
}

#[test]
fn an_owner_that_is_back_after_it_was_forgotten_is_followed_again() {
    let mut native = Native::reannouncing(Watermarks::default());
    native.replica_set("rs", Some(deployment("old")));
    native.pod(pod("web").owned_by(replica_set("rs")));
    native.owner_gone(OwnerSort::ReplicaSet, "rs");
    native.pass(secs(61));
    native.sent();
    native.replica_set("rs", Some(deployment("old")));
    assert_snapshot!(native.sent(), @"");
    native.replica_set("rs", None);
    assert_snapshot!(native.sent(), @"pod_new web v1 ReplicaSet/rs");
}

// --- pods that waited too long (D9) ---

#[test]
fn a_pod_announced_under_its_direct_owner_is_announced_again_only_if_the_owner_that_turns_up_makes_a_difference()
 {
    for (native, controller, sent) in [
        (Native::reannouncing(Watermarks::default()), None, ""),
        (
            Native::reannouncing(Watermarks::default()),
            Some(deployment("shop")),
            "pod_new a v2 Deployment/shop\npod_container a c1",
        ),
        (
            Native::new(Watermarks::default()),
            None,
            "pod_new a v2 ReplicaSet/rs",
        ),
    ] {
        let mut native = native;
        let of_rs = || pod("a").owned_by(replica_set("rs")).running(&["c1"]);
        native.pod(of_rs());
        native.pass(secs(60));
        native.pod(of_rs().version("2"));
        native.sent();
        native.replica_set("rs", controller);
        assert_eq!(native.sent(), sent);
        native.replica_set("rs", Some(deployment("later")));
        let follows = native.feeds.ledger().reannounce() == Reannounce::OnChange;
        assert_eq!(native.sent().contains("Deployment/later"), follows);
    }
}

#[test]
fn a_pod_announced_under_its_direct_owner_changes_that_as_any_other() {
    let mut native = Native::reannouncing(Watermarks::default());
    native.pod(pod("a").owned_by(replica_set("unknown")));
    native.pass(secs(60));
    native.pod(pod("a").owned_by(replica_set("unknown2")));
    native.replica_set("unknown", Some(deployment("wrong")));
    native.replica_set("unknown2", Some(deployment("right")));
    assert_snapshot!(native.sent(), @r"
    pod_new a v1 ReplicaSet/unknown
    pod_new a v1 ReplicaSet/unknown2
    pod_new a v1 Deployment/right
    ");
}

// --- differences, replays, full sinks ---

#[test]
fn a_list_reports_a_known_pod_what_has_changed_meanwhile() {
    let mut native = Native::reannouncing(Watermarks::default());
    let pods = ["same", "new-version", "lost-container"];
    native.list_pods(pods.map(|name| pod(name).running(&["c1", "c2"]).into()));
    native.sent();
    native.list_pods([
        pod("same").running(&["c1", "c2"]).into(),
        pod("new-version")
            .version("2")
            .running(&["c1", "c2"])
            .into(),
        pod("lost-container").running(&["c2"]).into(),
    ]);
    assert_snapshot!(native.sent(), @r"
    pod_new new-version v2
    pod_container new-version c1
    pod_container new-version c2
    pod_delete lost-container
    pod_new lost-container v1
    pod_container lost-container c2
    ");
}

#[test]
fn a_take_over_sends_again_the_pods_that_the_other_stream_knows_otherwise() {
    for (reannounce, sent) in [
        (
            Reannounce::OnChange,
            "pod_new web v1 Deployment/older\npod_delete api\npod_new api v1\npod_container api c1",
        ),
        (Reannounce::Never, ""),
    ] {
        let mut core = Core::new(Settings {
            reannounce,
            ..legacy()
        });
        let (older, newer) = (core.open(), core.open());
        core.listed(older);
        for (feed, owner) in [(older, "older"), (newer, "newer")] {
            core.replica_set(feed, "rs", Some(deployment(owner)));
            core.pod(feed, pod("web").owned_by(replica_set("rs")));
        }
        core.pod(older, pod("api").running(&["c1"]));
        core.pod(newer, pod("api").running(&["c1", "c2"]));
        core.close(newer);
        core.sent();
        core.pass(secs(5));
        assert_eq!(core.sent(), sent, "{reannounce:?}");
    }
}

#[test]
fn ahead_of_the_cursor_of_a_replay_there_and_back_again_is_no_change() {
    let (mut core, feed) = holding(&["p1", "p2", "p3", "p4", "p5", "p6"]);
    core.connect();
    core.sent();
    core.pod(feed, pod("p1").version("2"));
    core.pod(feed, pod("p6").version("2"));
    core.pod(feed, pod("p6"));
    core.rest();
    assert_snapshot!(core.sent(), @r"
    pod_new p1 v2
    pod_new p5 v1
    pod_new p6 v1
    ");
}

#[test]
fn a_pod_interrupted_between_its_containers_is_sent_again_if_it_loses_one_that_was_announced() {
    let (mut core, feed) = holding(&[]);
    core.pod(feed, pod("p").running(&["c1", "c2", "c3", "c4", "c5"]));
    core.connect();
    assert_eq!(core.sent().lines().last(), Some("pod_container p c3"));
    core.pod(feed, pod("p").running(&["c1", "c3", "c5"]));
    core.rest();
    assert_snapshot!(core.sent(), @r"
    pod_delete p
    pod_new p v1
    pod_container p c1
    pod_container p c3
    pod_container p c5
    ");
}

#[test]
fn a_change_that_finds_no_room_is_sent_by_a_resync_or_within_a_difference_by_another_pass() {
    let (mut core, feed) = holding(&["p1"]);
    core.connect();
    core.sent();
    core.reducer.queued = SMALL.limit;
    core.pod(feed, pod("p1")); // nothing new, nothing owed
    core.pod(feed, pod("p1").version("2"));
    core.rest();
    assert_snapshot!(core.sent(), @r"
    pod_resync 2
    pod_new p1 v2
    ");

    let (mut core, feed) = holding(&["p1", "p2", "p3", "p4", "p5"]);
    core.replica_set(feed, "rs", None);
    core.pod(feed, pod("p1").owned_by(replica_set("rs")).running(&["c1"]));
    core.connect();
    core.sent();
    core.reducer.queued = SMALL.limit;
    core.replica_set(feed, "rs", Some(deployment("new")));
    core.pod(feed, pod("p2").version("2"));
    core.rest();
    assert_snapshot!(core.sent(), @r"
    pod_new p4 v1
    pod_new p5 v1
    pod_new p1 v1 Deployment/new
    pod_container p1 c1
    pod_new p2 v2
    ");
}

// --- helpers ---

/// Room for four messages in a replay, for eight altogether; a replay goes on at two.
const SMALL: Watermarks = Watermarks {
    low: 2 * MESSAGE,
    high: 4 * MESSAGE,
    limit: 8 * MESSAGE,
};

fn reannouncing() -> (Core, Generation) {
    let (mut core, feed) = holding(&[]);
    core.connect();
    (core, feed)
}

/// A stream that has sent these pods before the reducer is there.
fn holding(pods: &[&str]) -> (Core, Generation) {
    let mut core = Core::offline(Settings {
        marks: SMALL,
        reannounce: Reannounce::OnChange,
        ..legacy()
    });
    let feed = core.open();
    for name in pods {
        core.pod(feed, pod(name));
    }
    (core, feed)
}

fn renamed(mut draft: PodDraft) -> PodDraft {
    for container in &mut draft.0.containers {
        container.name = "other".into();
    }
    draft
}

fn applied(
    job: &str,
    cron_job: Option<&str>,
) -> kube::runtime::watcher::Event<k8s_relay::model::ObjectMeta> {
    let controller = cron_job.map(|name| a(OwnerKind::CronJob, name));
    kube::runtime::watcher::Event::Apply(object(job, controller))
}
