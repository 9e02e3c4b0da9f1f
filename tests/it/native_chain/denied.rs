//! Kinds that our role may not read.

use std::time::Duration;

use k8s_relay::{
    model::Kind,
    sim::kube::{Meta, Object, Owner, Pod, Requests, SimApi},
};

use super::{
    end::spawned,
    world::{World, api, reducer},
};
use crate::support::must;

fn bare(name: &str) -> Pod {
    Pod::new("shop", name, name).address("10.0.0.1")
}

/// Pods of a Job, of a Job of a CronJob, of a ReplicaSet, and of nobody.
fn cluster(api: &SimApi) {
    let (night, web) = (
        Owner::controller("CronJob", "night", "night"),
        Owner::controller("Deployment", "web", "web"),
    );
    api.apply(Object::job(
        Meta::new("shop", "night-1", "night-1").of(night),
    ));
    api.apply(Object::job(Meta::new("shop", "once", "once")));
    api.apply(Object::replica_set(Meta::new("shop", "set", "set").of(web)));
    for (name, kind, owner) in [
        ("night-pod", "Job", "night-1"),
        ("once-pod", "Job", "once"),
        ("web-pod", "ReplicaSet", "set"),
    ] {
        api.apply(bare(name).of(Owner::controller(kind, owner, owner)));
    }
    api.apply(bare("bare"));
}

fn owner(world: &World, pod: &str) -> Option<String> {
    world.reducer.with(|state| {
        let pod = state.reducer_state()?.pod(pod.as_bytes())?;
        Some(String::from_utf8(pod.owner_name().to_owned()).unwrap())
    })
}

/// Waits until the reducer knows this owner of a pod.
async fn under(world: &World, pod: &str, wanted: &str) {
    let known = world.reducer.wait_until(|state| {
        let pod = state
            .reducer_state()
            .and_then(|known| known.pod(pod.as_bytes()));
        pod.is_some_and(|pod| pod.owner_name() == wanted.as_bytes())
    });
    must(&format!("{pod} under {wanted}"), known).await;
}

#[tokio::test]
async fn pods_of_jobs_wait_for_them_and_all_others_do_not() {
    let fill = |api: &SimApi| {
        api.deny(Kind::JOB);
        cluster(api);
    };
    let world = World::with(fill, |config| {
        config.native.owner_wait = Duration::from_secs(3600);
    })
    .await;
    let lists = |book: &Requests| book.lists(Kind::JOB) >= 2;
    must("Jobs are refused", world.api.wait_until(lists)).await;
    under(&world, "web-pod", "web").await;
    under(&world, "bare", "bare").await;
    world.api.apply(bare("last"));
    world.knows(&["last"]).await;
    assert_eq!(owner(&world, "night-pod"), None);
    world.api.allow(Kind::JOB);
    world.known().await;
    assert_eq!(owner(&world, "night-pod").unwrap(), "night");
    assert_eq!(world.wrong(), None);
}

#[tokio::test]
async fn pods_of_jobs_are_announced_under_their_job_in_time_and_under_the_cron_job_once_it_is_granted()
 {
    let fill = |api: &SimApi| {
        api.deny(Kind::JOB);
        cluster(api);
    };
    let world = World::with(fill, |config| {
        config.native.owner_wait = Duration::from_millis(50);
    })
    .await;
    under(&world, "night-pod", "night-1").await;
    under(&world, "once-pod", "once").await;
    under(&world, "web-pod", "web").await;
    let before = world.messages();
    world.api.allow(Kind::JOB);
    under(&world, "night-pod", "night").await;
    world.quiet().await;
    assert_eq!(world.wrong(), None);
    let sent = world.sent_since(before);
    assert!(
        !sent.iter().any(|sent| sent.contains("web-pod")),
        "{sent:?}"
    );
    assert!(!sent.iter().any(|sent| sent.contains("delete")), "{sent:?}");
}

#[tokio::test]
async fn a_permission_that_is_taken_keeps_what_is_known_and_goes_on_when_it_is_back() {
    let world = World::of(cluster).await;
    world.quiet().await;
    let before = world.messages();
    for kind in [Kind::POD, Kind::JOB] {
        world.api.deny(kind);
        let lists = world.api.requests(Requests::total);
        world.api.end_watches();
        let refused = |book: &Requests| {
            let mut refused = book.kept.iter().filter(|r| r.code == Some(403));
            book.total() > lists && refused.any(|request| request.kind == Some(kind))
        };
        must("it is refused", world.api.wait_until(refused)).await;
    }
    world.api.apply(bare("new"));
    world.api.delete(Kind::POD, "shop", "bare").unwrap();
    assert_eq!(world.sent_since(before), [""; 0]);
    world.api.allow(Kind::POD);
    world.api.allow(Kind::JOB);
    world.quiet().await;
    let mut sent = world.sent_since(before);
    sent.sort_unstable();
    assert_eq!(sent, ["pod_delete bare", "pod_new_with_name new"]);
}

#[tokio::test]
async fn without_pods_there_is_nothing_to_send_until_they_are_granted() {
    let fill = |api: &SimApi| {
        api.deny(Kind::POD);
        cluster(api);
    };
    let world = World::of(fill).await;
    let lists = |book: &Requests| book.lists(Kind::POD) >= 3;
    must("pods are asked for", world.api.wait_until(lists)).await;
    assert_eq!(world.sent_since(0), [""; 0]);
    world.api.allow(Kind::POD);
    world.known().await;
    assert_eq!(world.lists()[1..], [1, 1], "nobody else is delayed");
}

#[tokio::test]
async fn one_line_says_what_to_grant() {
    let api = api().await;
    api.deny(Kind::JOB);
    cluster(&api);
    let (relay, reducer, _dir) = spawned(&api, reducer().await, &["--owner-wait", "10ms"]).await;
    let known = reducer.wait_until(|state| {
        state
            .reducer_state()
            .is_some_and(|reducer_state| reducer_state.pods() == 4)
    });
    must("all pods", known).await;
    let urgent = |line: &serde_json::Value| line["level"] == "WARN";
    relay.logged("a warning", urgent).await;
    let lines: Vec<String> = relay
        .log()
        .iter()
        .filter(|line| urgent(line))
        .map(ToString::to_string)
        .collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].contains(r#"grant list and watch on jobs in API group \"batch\""#),
        "{lines:?}"
    );
    assert_eq!(relay.stop().await.code(), Some(0));
}
