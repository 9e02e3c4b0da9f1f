//! Whatever the reducer does, the watches go on, and nothing is listed again because of it.

use k8s_relay::{
    model::{Kind, Uid},
    sim::{
        cluster::Cluster,
        kube::{Meta, Object, Owner, Pod, SimApi},
        reducer::Options,
    },
};
use tokio::sync::mpsc;

use super::world::{World, api, reducer, reducer_with};
use crate::support::must;

const ONE_LIST_OF_EACH: [usize; 3] = [1, 1, 1];

fn bare(name: &str) -> Pod {
    Pod::new("shop", name, name).address("10.0.0.1")
}

fn cluster(api: &SimApi) {
    api.populate(&Cluster::new(5, 40));
    let web = Owner::controller("Deployment", "web", "web");
    api.apply(Object::replica_set(Meta::new("shop", "set", "set").of(web)));
    let set = Owner::controller("ReplicaSet", "set", "set");
    api.apply(bare("gone").of(set.clone()));
    api.apply(bare("stays").of(set));
}

#[tokio::test]
async fn a_reducer_that_comes_an_hour_later_gets_everything() {
    let (api, reducer) = (api().await, reducer().await);
    cluster(&api);
    reducer.stop_listening().await;
    let world = World::between(api, reducer, |_| ()).await;
    world.watching(3).await;
    world
        .held(|held| held.pod(&Uid::new("gone")).is_some())
        .await;
    world.api.delete(Kind::POD, "shop", "gone").unwrap();
    world.api.delete(Kind::REPLICA_SET, "shop", "set").unwrap();
    world.api.apply(bare("new"));
    world
        .held(|held| held.pod(&Uid::new("new")).is_some() && held.pod(&Uid::new("gone")).is_none())
        .await;
    world.reducer.start_listening().await.unwrap();
    world.known().await;
    assert_eq!(world.lists(), ONE_LIST_OF_EACH);
    let state = world.end().await;
    assert_eq!(
        state.connections[0].count("pod_delete"),
        0,
        "never announced"
    );
}

#[tokio::test]
async fn a_reducer_that_stalls_holds_nothing_up_and_catches_up() {
    let stalling = Options {
        receive_buffer: Some(64 << 10),
        ..Options::default()
    };
    let world = World::between(api().await, reducer_with(stalling).await, |_| ()).await;
    world.handshake_done(1).await;
    world.reducer.pause_reading();
    world.api.populate(&Cluster::new(100, 3_000));
    world.api.apply(bare("gone"));
    world.api.apply(bare("last"));
    world
        .held(|held| held.pod(&Uid::new("last")).is_some())
        .await;
    world.api.delete(Kind::POD, "shop", "gone").unwrap();
    world
        .held(|held| held.pod(&Uid::new("gone")).is_none())
        .await;
    assert!(
        world
            .reducer
            .with(|state| state.reducer_state().unwrap().pods())
            < 3_000,
        "it does stall"
    );
    world.reducer.resume_reading();
    world.known().await;
    assert_eq!(world.lists(), ONE_LIST_OF_EACH);
    assert_eq!(world.reducer.connections(), 1);
}

#[tokio::test]
async fn a_reducer_that_reads_message_by_message_loses_nothing() {
    let (tap, mut taken) = mpsc::channel(1);
    let slow = Options {
        tap: Some(tap),
        ..Options::default()
    };
    let world = World::between(api().await, reducer_with(slow).await, |_| ()).await;
    cluster(&world.api);
    let mut number = 0;
    // Each message that it takes is answered by a change in the cluster.
    while number < 60 {
        must("a message", taken.recv()).await.unwrap();
        number += 1;
        world.api.apply(bare(&format!("pod-{}", number % 7)));
        world
            .api
            .delete(Kind::POD, "shop", &format!("pod-{}", (number + 3) % 7));
    }
    let rest = async { while taken.recv().await.is_some() {} };
    tokio::select! {
        () = rest => panic!("the reducer has ended"),
        () = world.quiet() => {}
    }
    assert_eq!(world.wrong(), None);
    assert_eq!(world.lists(), ONE_LIST_OF_EACH);
}

#[tokio::test]
async fn a_reducer_that_comes_and_goes_knows_the_expected_state_whenever_it_is_there() {
    let world = World::of(cluster).await;
    for round in 1..=3 {
        world.handshake_done(round).await;
        world.known().await;
        world.api.apply(bare(&format!("before-{round}")));
        match round {
            1 => world.reducer.reset().await,
            _ => world.reducer.disconnect().await,
        }
        world.api.apply(bare(&format!("while-{round}")));
        world
            .api
            .delete(Kind::POD, "shop", &format!("before-{}", round - 1));
    }
    world.handshake_done(4).await;
    world.known().await;
    assert_eq!(world.lists(), ONE_LIST_OF_EACH);
}

#[tokio::test]
async fn owners_that_are_gone_still_name_their_pods_to_a_reducer_that_comes_back() {
    let world = World::of(cluster).await;
    world.known().await;
    world.api.delete(Kind::REPLICA_SET, "shop", "set").unwrap();
    world.quiet().await;
    world.reducer.reset().await;
    world.handshake_done(2).await;
    world.known().await;
    world.reducer.with(|state| {
        let pod = state.reducer_state().unwrap().pod(b"stays").unwrap();
        assert_eq!(pod.owner_name(), b"web");
    });
}
