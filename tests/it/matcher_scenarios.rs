//! Which pods are live, and under which owner (D9, D10).

use insta::assert_snapshot;
use k8s_relay::{
    announce::{Announcer, Changeover, Watermarks, WindowConfig},
    feeds::Settings,
    matcher::{Escalate, Generation, Matcher, OwnerSort, Policy},
    model::{OwnerKind, OwnerRef, Uid},
};

use crate::support::{
    core::{Core, Recorder, a, custom, deployment, job, object, origin, pod, replica_set, secs},
    native::Native,
};

// --- effective owner ---

#[test]
fn a_pod_is_announced_under_the_controller_of_its_replica_set_or_job_and_of_no_other() {
    use OwnerKind::{CronJob, Deployment, Job, NoOwner, Other, ReplicaSet};
    let other = || Other("Rollout".into());
    for (direct, controller, sent) in [
        (ReplicaSet, Some(Deployment), Deployment),
        (ReplicaSet, Some(CronJob), ReplicaSet),
        (ReplicaSet, Some(ReplicaSet), ReplicaSet),
        (ReplicaSet, Some(NoOwner), ReplicaSet),
        (ReplicaSet, Some(other()), ReplicaSet), // a custom rollout controller
        (ReplicaSet, None, ReplicaSet),
        (Job, Some(CronJob), CronJob),
        (Job, Some(Deployment), Job),
        (Job, Some(other()), Job),
        (Job, None, Job),
        (Deployment, Some(Deployment), Deployment),
        (CronJob, None, CronJob),
        (NoOwner, Some(Deployment), NoOwner),
        (other(), Some(Deployment), other()),
    ] {
        let above = controller.map(|kind| a(kind, "above"));
        check_owner(Escalate::Known, &a(direct, "owner"), above, &sent);
    }
}

#[test]
fn with_escalate_any_a_pod_is_announced_under_whatever_controls_its_replica_set_or_job() {
    use OwnerKind::{CronJob, Deployment, Job, NoOwner, Other, ReplicaSet};
    let other = || Other("Rollout".into());
    for (direct, controller, sent) in [
        (ReplicaSet, Some(Deployment), Deployment),
        (ReplicaSet, Some(other()), other()),
        (ReplicaSet, Some(CronJob), CronJob),
        (ReplicaSet, Some(Job), Job), // one step only: what controls that is not asked for
        (ReplicaSet, Some(NoOwner), ReplicaSet),
        (ReplicaSet, None, ReplicaSet),
        (Job, Some(CronJob), CronJob),
        (Job, Some(other()), other()),
        (Job, None, Job),
        (Deployment, Some(other()), Deployment),
        (CronJob, Some(other()), CronJob),
        (NoOwner, Some(other()), NoOwner),
        (other(), Some(Deployment), other()),
    ] {
        let above = controller.map(|kind| a(kind, "above"));
        check_owner(Escalate::Any, &a(direct, "owner"), above, &sent);
    }
}

#[test]
fn an_owner_of_another_api_group_is_neither_waited_for_nor_escalated() {
    use Escalate::{Any, Known};
    use OwnerKind::{CronJob, Deployment, Job, ReplicaSet};
    let (own, foreign) = (a, custom);
    for (escalate, direct, controller, sent) in [
        (
            Known,
            foreign(ReplicaSet, "owner"),
            own(Deployment, "above"),
            ReplicaSet,
        ),
        (
            Any,
            foreign(ReplicaSet, "owner"),
            own(Deployment, "above"),
            ReplicaSet,
        ),
        (Known, foreign(Job, "owner"), own(CronJob, "above"), Job), // of Volcano
        (Any, foreign(Job, "owner"), own(CronJob, "above"), Job),
        (
            Known,
            own(ReplicaSet, "owner"),
            foreign(Deployment, "above"),
            ReplicaSet,
        ),
        (Known, own(Job, "owner"), foreign(CronJob, "above"), Job),
        (
            Any,
            own(ReplicaSet, "owner"),
            foreign(Deployment, "above"),
            Deployment,
        ),
        (Any, own(Job, "owner"), foreign(CronJob, "above"), CronJob),
    ] {
        check_owner(escalate, &direct, Some(controller), &sent);
    }
    let (mut core, feed) = listening();
    for kind in [ReplicaSet, Job, Deployment, CronJob] {
        let name = format!("of-{}", kind.as_str());
        core.pod(feed, pod(&name).owned_by(custom(kind, "unknown")));
    }
    assert_snapshot!(core.sent(), @r"
    pod_new of-ReplicaSet v1 ReplicaSet/unknown
    pod_new of-Job v1 Job/unknown
    pod_new of-Deployment v1 Deployment/unknown
    pod_new of-CronJob v1 CronJob/unknown
    ");
}

/// By the rule itself, and in both orders of arrival.
fn check_owner(
    escalate: Escalate,
    direct: &OwnerRef,
    controller: Option<OwnerRef>,
    sent: &OwnerKind,
) {
    let case = format!("{escalate:?}: {direct:?} under {controller:?}");
    let effective = escalate.effective(direct, controller.as_ref());
    assert_eq!(effective.kind, *sent, "{case}");
    for pod_first in [true, false] {
        let mut core = Core::new(Settings {
            escalate,
            ..Settings::default()
        });
        let feed = core.open();
        if pod_first {
            core.pod(feed, pod("p").owned_by(direct.clone()));
        }
        core.replica_set(feed, "owner", controller.clone());
        if !pod_first {
            core.pod(feed, pod("p").owned_by(direct.clone()));
        }
        let owner = core.reducer.reducer_state.pods[&Uid::new("p")]
            .owner
            .clone();
        let kind = owner.map(|owner| owner.kind.clone());
        assert_eq!(kind, Some(sent.clone()), "{case}, pod first: {pod_first}");
        assert_eq!(core.reducer.announced_again, 0, "{case}");
    }
}

// --- orders of arrival ---

#[test]
fn a_pod_without_owner_is_announced_at_once_with_its_containers() {
    let (mut core, feed) = listening();
    core.pod(feed, pod("web").running(&["c1", "c2"]));
    assert_snapshot!(core.sent(), @r"
    pod_new web v1
    pod_container web c1
    pod_container web c2
    ");
}

#[test]
fn a_pod_seen_before_its_replica_set_is_announced_once_the_set_arrives() {
    let (mut core, feed) = listening();
    let waiting = pod("web").owned_by(replica_set("rs"));
    core.pod(feed, waiting.clone().running(&["c1"]));
    core.pod(feed, waiting.version("2").running(&["c2"])); // again, while waiting
    assert_snapshot!(core.sent(), @"");
    core.replica_set(feed, "rs", Some(deployment("shop")));
    assert_snapshot!(core.sent(), @r"
    pod_new web v2 Deployment/shop
    pod_container web c2
    ");
    core.replica_set(feed, "rs", Some(deployment("shop")));
    assert_snapshot!(core.sent(), @"");
}

#[test]
fn a_pod_that_gets_its_address_later_is_announced_then() {
    let (mut core, feed) = listening();
    core.pod(feed, pod("web").without_address());
    core.pod(
        feed,
        pod("api").owned_by(replica_set("rs")).without_address(),
    );
    core.replica_set(feed, "rs", None);
    assert_snapshot!(core.sent(), @"");
    core.pod(feed, pod("api").owned_by(replica_set("rs")));
    core.pod(feed, pod("web"));
    assert_snapshot!(core.sent(), @r"
    pod_new api v1 ReplicaSet/rs
    pod_new web v1
    ");
}

#[test]
fn pods_that_wait_for_one_owner_are_released_in_the_order_of_their_waiting() {
    let (mut core, feed) = listening();
    for name in ["c", "a", "b"] {
        core.pod(feed, pod(name).owned_by(job("j")));
    }
    core.pod(feed, pod("c").owned_by(job("j"))); // keeps its turn
    core.pod(feed, pod("other").owned_by(job("j2")));
    core.owner(
        feed,
        OwnerSort::Job,
        object("j", Some(a(OwnerKind::CronJob, "nightly"))),
    );
    assert_snapshot!(core.sent(), @r"
    pod_new c v1 CronJob/nightly
    pod_new a v1 CronJob/nightly
    pod_new b v1 CronJob/nightly
    ");
    assert_eq!(core.feeds.counts().waiting, 1);
}

#[test]
fn a_waiting_pod_that_changes_its_owner_waits_for_the_new_one_only() {
    let (mut core, feed) = listening();
    core.pod(feed, pod("web").owned_by(replica_set("old")));
    core.pod(feed, pod("web").owned_by(replica_set("new")));
    core.replica_set(feed, "old", Some(deployment("old")));
    assert_snapshot!(core.sent(), @"");
    core.replica_set(feed, "new", Some(deployment("new")));
    assert_snapshot!(core.sent(), @"pod_new web v1 Deployment/new");
}

#[test]
fn a_waiting_pod_that_loses_its_address_or_its_owner_no_longer_waits() {
    let (mut core, feed) = listening();
    core.pod(feed, pod("web").owned_by(replica_set("rs")));
    core.pod(feed, pod("api").owned_by(replica_set("rs")));
    core.pod(
        feed,
        pod("web").owned_by(replica_set("rs")).without_address(),
    );
    core.pod(feed, pod("api"));
    assert_eq!(core.feeds.counts().waiting, 0);
    core.replica_set(feed, "rs", None);
    assert_snapshot!(core.sent(), @"pod_new api v1");
}

// --- live pods ---

#[test]
fn an_update_of_a_live_pod_sends_all_containers_of_that_event_and_nothing_else() {
    let (mut core, feed) = listening();
    core.pod(feed, pod("web").running(&["c1"]));
    core.sent();
    core.pod(feed, pod("web").version("2").running(&["c1", "c2"]));
    core.pod(
        feed,
        pod("web").owned_by(deployment("new")).running(&["c2"]),
    );
    core.pod(feed, pod("web").without_address());
    assert_snapshot!(core.sent(), @r"
    pod_container web c1
    pod_container web c2
    pod_container web c2
    ");
}

#[test]
fn only_a_live_pod_is_deleted_and_only_once() {
    let (mut core, feed) = listening();
    core.pod(feed, pod("live"));
    core.pod(feed, pod("waiting").owned_by(replica_set("rs")));
    core.pod(feed, pod("pending").without_address());
    core.sent();
    for name in ["live", "live", "waiting", "pending", "unknown"] {
        core.pod_gone(feed, name);
    }
    assert_snapshot!(core.sent(), @"pod_delete live");
    core.replica_set(feed, "rs", None);
    assert_snapshot!(core.sent(), @"");
}

#[test]
fn a_pod_that_was_deleted_is_announced_again_with_its_containers() {
    let (mut core, feed) = listening();
    core.pod(feed, pod("web").running(&["c1"]));
    core.pod_gone(feed, "web");
    core.pod(feed, pod("web").running(&["c1"]));
    assert_snapshot!(core.sent(), @r"
    pod_new web v1
    pod_container web c1
    pod_delete web
    pod_new web v1
    pod_container web c1
    ");
}

#[test]
fn a_pod_that_lost_its_address_is_announced_again_with_its_last_one() {
    let (mut core, feed) = listening();
    core.pod(feed, pod("web"));
    core.pod(feed, pod("web").version("2").without_address());
    core.sent();
    core.disconnect();
    core.connect();
    assert_snapshot!(core.sent(), @"pod_new web v2");
    let known = &core.reducer.reducer_state.pods[&Uid::new("web")];
    assert_eq!(known.pod.address, Some([10, 0, 0, 1].into()));
}

// --- deleted owners ---

#[test]
fn a_deleted_owner_goes_on_resolving_pods() {
    let (mut core, feed) = listening();
    core.replica_set(feed, "rs", Some(deployment("shop")));
    core.owner_gone(feed, RS, "rs");
    core.pass(secs(3600));
    core.pod(feed, pod("late").owned_by(replica_set("rs")));
    assert_snapshot!(core.sent(), @"pod_new late v1 Deployment/shop");
}

#[test]
fn of_more_than_10000_deleted_owners_the_oldest_is_forgotten_first() {
    let (mut core, feed) = listening();
    let names: Vec<_> = (0..10_002).map(|n| format!("rs{n}")).collect();
    for name in &names {
        core.replica_set(feed, name, None);
        core.owner_gone(feed, RS, name);
        core.owner_gone(feed, RS, name); // counts once
    }
    assert_eq!(core.feeds.counts().owners, 10_000);
    for name in ["rs0", "rs1", "rs2", "rs10001"] {
        core.pod(feed, pod(&format!("of-{name}")).owned_by(replica_set(name)));
    }
    assert_snapshot!(core.sent(), @r"
    pod_new of-rs2 v1 ReplicaSet/rs2
    pod_new of-rs10001 v1 ReplicaSet/rs10001
    ");
}

#[test]
fn an_owner_that_was_added_again_is_not_deleted() {
    let (mut core, feed) = listening();
    core.replica_set(feed, "back", None);
    core.owner_gone(feed, RS, "back");
    core.replica_set(feed, "back", None);
    for n in 0..10_001 {
        core.replica_set(feed, &format!("rs{n}"), None);
        core.owner_gone(feed, RS, &format!("rs{n}"));
    }
    assert_eq!(core.feeds.counts().owners, 10_001);
    core.pod(feed, pod("web").owned_by(replica_set("back")));
    assert_snapshot!(core.sent(), @"pod_new web v1 ReplicaSet/back");
}

#[test]
fn the_delete_of_an_unknown_owner_does_not_strand_the_pods_that_wait_for_it() {
    let (mut core, feed) = listening();
    core.pod(feed, pod("web").owned_by(replica_set("rs")));
    core.owner_gone(feed, RS, "rs");
    core.replica_set(feed, "rs", Some(deployment("shop")));
    assert_snapshot!(core.sent(), @"pod_new web v1 Deployment/shop");
}

#[test]
fn a_live_pod_keeps_its_owner_when_that_is_forgotten_or_replaced_by_an_unknown_one() {
    let mut native = Native::new(Watermarks::default());
    native.replica_set("rs", Some(deployment("shop")));
    native.pod(pod("a").owned_by(replica_set("rs")));
    native.pod(pod("b").owned_by(replica_set("rs")));
    native.pod(pod("b").owned_by(replica_set("unknown")));
    native.owner_gone(RS, "rs");
    native.pass(secs(61));
    native.sent();
    native.reconnect();
    assert_snapshot!(native.sent(), @r"
    pod_new a v1 Deployment/shop
    pod_new b v1 Deployment/shop
    ");
}

#[test]
fn a_replay_sends_the_owner_that_is_known_by_then() {
    let (mut core, feed) = listening();
    core.replica_set(feed, "rs", None);
    core.pod(feed, pod("web").owned_by(replica_set("rs")));
    core.replica_set(feed, "rs", Some(deployment("adopter")));
    assert_snapshot!(core.sent(), @"pod_new web v1 ReplicaSet/rs");
    core.disconnect();
    core.connect();
    assert_snapshot!(core.sent(), @"pod_new web v1 Deployment/adopter");
}

// --- the guard rail ---

#[test]
fn the_10000th_waiting_pod_ends_the_feed_and_nothing_is_heard_of_it_any_more() {
    let (mut core, feed) = listening();
    for n in 0..9_999 {
        core.pod(feed, pod(&format!("p{n}")).owned_by(replica_set("rs")));
        core.pod(feed, pod(&format!("p{n}")).owned_by(replica_set("rs"))); // counts once
    }
    assert_snapshot!(core.sent(), @"");
    core.pod(feed, pod("last").owned_by(replica_set("rs2")));
    core.pod(feed, pod("more").owned_by(replica_set("rs2")));
    core.replica_set(feed, "rs", None);
    core.pod(feed, pod("free"));
    assert_snapshot!(core.sent(), @"feed_overflow 1");
}

#[test]
fn the_guard_rail_of_a_shadow_ends_the_shadow() {
    let (mut core, shadow) = listening();
    let active = core.open();
    for n in 0..10_000 {
        core.pod(shadow, pod(&format!("p{n}")).owned_by(replica_set("rs")));
    }
    core.pod(active, pod("web"));
    assert_snapshot!(core.sent(), @r"
    feed_overflow 1
    pod_new web v1
    ");
}

// --- the native policy ---

#[test]
fn a_native_feed_forgets_a_deleted_owner_after_a_minute_by_its_timer() {
    let mut native = Native::new(Watermarks::default());
    native.replica_set("rs", Some(deployment("shop")));
    native.replica_set("back", Some(deployment("shop")));
    native.owner_gone(RS, "rs");
    native.owner_gone(RS, "back");
    native.pass(secs(59));
    native.replica_set("back", Some(deployment("shop")));
    native.pod(pod("late").owned_by(replica_set("rs")));
    native.pass(secs(1));
    assert_eq!(native.counts().owners, 1);
    native.pod(pod("later").owned_by(replica_set("rs")));
    native.pod(pod("in-time").owned_by(replica_set("back")));
    assert_snapshot!(native.sent(), @r"
    pod_new late v1 Deployment/shop
    pod_new in-time v1 Deployment/shop
    ");
}

#[test]
fn a_native_pod_that_waited_too_long_is_announced_under_its_direct_owner_and_again_when_that_turns_up()
 {
    let mut native = Native::new(Watermarks::default());
    native.pod(pod("a").owned_by(replica_set("rs")).running(&["c1"]));
    native.pass(secs(30));
    native.pod(pod("a").owned_by(replica_set("rs")).running(&["c1"])); // waits since its first event
    native.pod(pod("b").owned_by(replica_set("rs")));
    native.pass(secs(29));
    assert_snapshot!(native.sent(), @"");
    native.pass(secs(1));
    assert_snapshot!(native.sent(), @r"
    pod_new a v1 ReplicaSet/rs
    pod_container a c1
    ");
    assert_eq!((native.counts().waiting, native.counts().given_up), (1, 1));
    native.pod(pod("a").owned_by(replica_set("rs")).running(&["c1", "c2"]));
    assert_snapshot!(native.sent(), @"pod_container a c2");
    native.replica_set("rs", Some(deployment("shop")));
    assert_snapshot!(native.sent(), @r"
    pod_new a v1 Deployment/shop
    pod_new b v1 Deployment/shop
    ");
    native.replica_set("rs", Some(deployment("shop")));
    native.pass(secs(600));
    assert_snapshot!(native.sent(), @"");
    assert_eq!(native.counts().given_up, 1);
}

#[test]
fn a_pod_announced_under_its_direct_owner_is_announced_again_when_it_comes_under_a_known_one() {
    let mut native = Native::new(Watermarks::default());
    native.replica_set("known", Some(deployment("shop")));
    native.pod(pod("a").owned_by(replica_set("unknown")));
    native.pass(secs(60));
    native.pod(pod("a").owned_by(replica_set("unknown2")));
    native.replica_set("unknown", Some(deployment("wrong")));
    native.pod(pod("a").owned_by(replica_set("known")));
    assert_snapshot!(native.sent(), @r"
    pod_new a v1 ReplicaSet/unknown
    pod_new a v1 Deployment/shop
    ");
}

#[test]
fn a_second_announcement_that_finds_no_room_or_no_turn_is_not_lost() {
    for (queued, owner_first) in [(0, true), (u64::MAX as usize / 2, false)] {
        let (start, mut reducer) = (origin(), Recorder::default());
        let now = start + secs(60);
        let mut matcher = Matcher::new(Policy::native(secs(60), secs(60)));
        let mut announcer = Announcer::new(Watermarks::default(), WindowConfig::default(), start);
        reducer.link(true);
        announcer.connected();
        let pod = pod("a").owned_by(replica_set("rs"));
        matcher.apply_pod(pod.into(), start, &mut |_| {});
        matcher.handle_timeout(now, &mut |_| {});
        announcer.resume(Some(&matcher), now, &mut reducer);
        assert_eq!(reducer.take(), "pod_new a v1 ReplicaSet/rs");
        // The same feed takes over from itself: a difference that has not begun.
        let change = Changeover {
            old: None,
            new: &matcher,
            holds: false,
            compares: false,
        };
        announcer.change_feed(change, now);
        if !owner_first {
            reducer.queued = queued;
            announcer.resume(Some(&matcher), now, &mut reducer);
        }
        let owner = object("rs", Some(deployment("shop")));
        matcher.apply_owner(&owner, &mut |change| {
            announcer.change(change, false, now, &mut reducer);
        });
        reducer.drain(usize::MAX);
        announcer.resume(Some(&matcher), now, &mut reducer);
        let sent = reducer.take();
        assert!(sent.ends_with("pod_new a v1 Deployment/shop"), "{sent}");
    }
}

#[test]
fn an_update_of_a_live_native_pod_sends_only_containers_that_the_reducer_lacks() {
    let mut native = Native::new(Watermarks::default());
    native.pod(pod("a").running(&["c1"]));
    native.pod(pod("a").running(&["c1", "c2"]));
    native.pod(pod("a").running(&["c2"]));
    assert_snapshot!(native.sent(), @r"
    pod_new a v1
    pod_container a c1
    pod_container a c2
    ");
}

// --- helpers ---

const RS: OwnerSort = OwnerSort::ReplicaSet;

fn listening() -> (Core, Generation) {
    let mut core = Core::new(Settings::default());
    let feed = core.open();
    (core, feed)
}
