//! What replicas do as processes, with real signals.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::world::{World, clear, ended_by, holder, leads, pod, says};
use crate::support::must;

#[tokio::test]
async fn a_follower_writes_nothing_and_takes_over_everything_after_a_kill() {
    let world = World::new().await;
    let leader = world.leader().await;
    let follower = world.follower().await;
    assert_eq!(world.reducer.connections(), 1);
    let first = holder(&world.lease()).to_owned();
    assert_eq!(world.lease()["spec"]["leaseDurationSeconds"], 2);

    ended_by(leader, Signal::SIGKILL).await;
    world.api.apply(pod(100));
    leads(&follower).await;
    world.known(2).await;
    let lease = world.lease();
    assert_ne!(holder(&lease), first);
    assert_eq!(lease["spec"]["leaseTransitions"], 2);
    ended_by(follower, Signal::SIGKILL).await;
    world.end().await;
}

#[tokio::test]
async fn a_planned_hand_over_leaves_no_moment_in_which_a_pod_is_missing() {
    let world = World::new().await;
    let leader = world.leader().await;
    let follower = world.follower().await;
    leader.signal(Signal::SIGTERM);
    world.ended(1).await;
    // The successor had announced everything before its predecessor closed.
    assert!(world.reducer.with(|state| world.knows(state, 2)));
    let status = ended_by(leader, Signal::SIGCONT).await;
    assert!(status.success(), "{status}");
    let lease = world.lease();
    let annotations = &lease["metadata"]["annotations"];
    assert_eq!(annotations["k8s-relay/in-sync"], "2");
    assert_eq!(annotations.get("k8s-relay/handover"), None);

    world.api.apply(pod(100));
    world.known(2).await;
    ended_by(follower, Signal::SIGKILL).await;
    let state = world.end().await;
    let end = state.connection(1).unwrap().end.clone();
    assert_eq!(end, Some(k8s_relay::sim::reducer::End::Eof));
}

#[tokio::test]
async fn while_the_api_server_is_away_the_reducer_keeps_its_state_and_nothing_is_written() {
    let world = World::new().await;
    let leader = world.leader().await;
    world.api.refuse_leases(true);
    leader
        .logged("silence", |line| says(line, "this replica cannot renew"))
        .await;
    let before = world.pod_messages(1);
    world.api.apply(pod(100));
    world.beats(1).await;
    assert_eq!(world.pod_messages(1), before);

    world.api.refuse_leases(false);
    world.known(1).await;
    assert_eq!(world.reducer.connections(), 1);
    ended_by(leader, Signal::SIGKILL).await;
    world.end().await;
}

#[tokio::test]
async fn a_leader_that_was_stopped_writes_nothing_after_another_has_taken_over() {
    let world = World::new().await;
    let leader = world.leader().await;
    let follower = world.follower().await;
    leader.signal(Signal::SIGSTOP);
    leads(&follower).await;
    world.known(2).await;
    // It hears of this when it goes on.
    world.api.apply(pod(100));
    let before = world.pod_messages(1);
    leader.signal(Signal::SIGCONT);
    world.ended(1).await;
    assert_eq!(world.pod_messages(1), before);
    world.known(2).await;
    // It follows from here on, and may lead again.
    ended_by(follower, Signal::SIGKILL).await;
    world.known(3).await;
    ended_by(leader, Signal::SIGKILL).await;
    world.end().await;
}

#[tokio::test]
async fn a_lease_that_somebody_edits_or_deletes_changes_nothing_for_the_reducer() {
    let world = World::new().await;
    let leader = world.leader().await;
    let follower = world.follower().await;
    let identity = holder(&world.lease()).to_owned();
    let is_ours = |lease: Option<&Value>| lease.is_some_and(|lease| holder(lease) == identity);
    type Edit = fn(&mut Value);
    let shorten: Edit = |lease| lease["spec"]["leaseDurationSeconds"] = json!(1);
    for edit in [clear as Edit, shorten] {
        assert!(world.api.edit_lease("relays", "writer", edit));
        must(
            "the leader goes on",
            world.api.lease_until("relays", "writer", is_ours),
        )
        .await;
    }
    assert!(world.api.delete_lease("relays", "writer"));
    must(
        "the leader goes on",
        world.api.lease_until("relays", "writer", is_ours),
    )
    .await;
    world.api.apply(pod(100));
    world.known(1).await;
    assert_eq!(world.reducer.connections(), 1);
    for relay in [leader, follower] {
        ended_by(relay, Signal::SIGKILL).await;
    }
    world.end().await;
}

#[tokio::test]
async fn a_leader_closes_at_once_when_it_sees_another_holder() {
    let world = World::new().await;
    let leader = world.leader().await;
    world.api.edit_lease("relays", "writer", |lease| {
        lease["spec"]["holderIdentity"] = json!("client-go");
        lease["spec"]["leaseTransitions"] = json!(9);
    });
    world.ended(1).await;
    // Nobody renews it, so the replica has it again after a lease.
    world.known(2).await;
    assert_eq!(world.lease()["spec"]["leaseTransitions"], 10);
    ended_by(leader, Signal::SIGKILL).await;
    world.end().await;
}
