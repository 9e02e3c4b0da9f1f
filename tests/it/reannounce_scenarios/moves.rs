//! Announced pods that move to an owner that is not known.

use insta::assert_snapshot;
use k8s_relay::{announce::Watermarks, matcher::OwnerSort};

use super::reannouncing;
use crate::support::{
    core::{deployment, job, pod, replica_set, secs},
    native::Native,
};

#[test]
fn a_live_pod_that_moves_to_an_owner_that_is_not_known_stays_under_the_last_one_until_that_turns_up()
 {
    let mut native = moving();
    native.pass(secs(59));
    native.pod(pod("web").version("2").owned_by(replica_set("unknown")));
    assert_snapshot!(native.sent(), @"pod_new web v2 Deployment/shop");
    native.replica_set("unknown", Some(deployment("new")));
    native.replica_set("rs", Some(deployment("left")));
    native.pass(secs(3600));
    assert_snapshot!(native.sent(), @"pod_new web v2 Deployment/new");
}

#[test]
fn if_that_does_not_turn_up_in_time_the_pod_is_announced_under_it_and_again_once_it_is_known() {
    let mut native = moving();
    native.pass(secs(40));
    native.pod(pod("web").version("2").owned_by(replica_set("unknown")));
    native.sent();
    native.pass(secs(20));
    native.replica_set("rs", Some(deployment("left")));
    native.pod(pod("web").version("3").owned_by(replica_set("unknown")));
    native.reconnect();
    assert_snapshot!(native.sent(), @r"
    pod_new web v2 ReplicaSet/unknown
    pod_new web v3 ReplicaSet/unknown
    pod_new web v3 ReplicaSet/unknown
    ");
    assert_eq!((native.counts().live, native.counts().given_up), (1, 1));
    native.replica_set("unknown", Some(deployment("new")));
    native.replica_set("unknown", Some(deployment("newer")));
    assert_snapshot!(native.sent(), @r"
    pod_new web v3 Deployment/new
    pod_new web v3 Deployment/newer
    ");
    native.pod_gone("web");
    native.sent();
    assert_eq!(native.matcher().poll_timeout(), None);
}

#[test]
fn its_time_begins_again_with_each_unknown_owner_and_ends_with_a_known_one_or_none() {
    for (what, last) in [
        ("known", pod("web").owned_by(replica_set("rs"))),
        ("none", pod("web")),
        ("not waited for", pod("web").owned_by(deployment("shop"))),
    ] {
        let mut native = moving();
        native.pass(secs(59));
        native.pod(pod("web").owned_by(job("other")));
        native.pass(secs(59));
        assert_eq!(native.sent(), "", "{what}");
        native.pod(last);
        native.sent();
        native.pass(secs(3600));
        assert_eq!(native.sent(), "", "{what}");
    }
    let mut native = moving();
    native.pod_gone("web");
    assert_eq!(native.matcher().poll_timeout(), None);
}

#[test]
fn sent_once_or_by_a_stream_it_stays_under_the_last_one_indefinitely() {
    let mut native = Native::new(Watermarks::default());
    native.replica_set("rs", Some(deployment("shop")));
    native.pod(pod("web").owned_by(replica_set("rs")));
    native.sent();
    native.pod(pod("web").owned_by(replica_set("unknown")));
    native.pass(secs(3600));
    native.pod(pod("web").owned_by(replica_set("unknown")));
    assert_snapshot!(native.sent(), @"");

    let (mut core, feed) = reannouncing();
    core.replica_set(feed, "rs", Some(deployment("shop")));
    core.pod(feed, pod("web").owned_by(replica_set("rs")));
    core.sent();
    core.pod(feed, pod("web").owned_by(replica_set("unknown")));
    core.pass(secs(3600));
    core.pod(feed, pod("web").owned_by(replica_set("unknown")));
    assert_snapshot!(core.sent(), @"");
}

#[test]
fn a_live_pod_whose_owner_is_forgotten_has_not_moved() {
    let mut native = Native::reannouncing(Watermarks::default());
    native.replica_set("rs", Some(deployment("shop")));
    native.pod(pod("web").owned_by(replica_set("rs")));
    native.owner_gone(OwnerSort::ReplicaSet, "rs");
    native.pass(secs(60));
    native.pod(pod("web").version("2").owned_by(replica_set("rs")));
    native.pass(secs(3600));
    assert_snapshot!(native.sent(), @r"
    pod_new web v1 Deployment/shop
    pod_new web v2 Deployment/shop
    ");
}

/// A pod that was announced under a Deployment and has moved to a ReplicaSet that is not known.
fn moving() -> Native {
    let mut native = Native::reannouncing(Watermarks::default());
    native.replica_set("rs", Some(deployment("shop")));
    native.pod(pod("web").owned_by(replica_set("rs")));
    native.pod(pod("web").owned_by(replica_set("unknown")));
    assert_eq!(native.sent(), "pod_new web v1 Deployment/shop");
    native
}
