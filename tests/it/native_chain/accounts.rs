//! What the relay says of its watches, and what it holds of what they sent.

use k8s_relay::{
    model::{ContainerMeta, Kind, SharedStr, Uid},
    sim::kube::{Meta, Object, Owner, Pod, SimApi},
};

use nix::sys::signal::Signal;
use serde_json::Value;

use super::world::{World, api, kubeconfig, reducer};
use crate::support::{must, relay::Relay};

fn bare(name: &str) -> Pod {
    Pod::new("shop", name, name).address("10.0.0.1")
}

/// The program itself between these two, saying more than it usually does.
async fn talkative(level: &str, kubeconfig: &str, port: u16, arguments: &[&str]) -> Relay {
    let port = port.to_string();
    let fixed = [
        ["--source", "native"],
        ["--kubeconfig", kubeconfig],
        ["--intake-host", "127.0.0.1"],
        ["--intake-port", &port],
    ];
    Relay::start_at(level, &[fixed.as_flattened(), arguments].concat()).await
}

#[tokio::test]
async fn it_says_how_far_each_kind_is_whenever_it_is_at_rest() {
    let (api, reducer, dir) = (api().await, reducer().await, tempfile::tempdir().unwrap());
    let path = kubeconfig(&dir, &api.kubeconfig());
    api.apply(bare("one"));
    api.apply(bare("two"));
    api.apply(Object::job(Meta::new("shop", "job", "job")));
    let port = reducer.addr().port();
    let relay = talkative("--trace", path.to_str().unwrap(), port, &[]).await;
    // The beginning and the end of each list count, too.
    let listed = relay.until("all lists", |progress| {
        progress.connected && progress.watches == "Pod:4 ReplicaSet:2 Job:3"
    });
    listed.await;
    api.apply(bare("three"));
    api.delete(Kind::JOB, "shop", "job").unwrap();
    let known = relay.until("two events more", |progress| {
        progress.watches == "Pod:5 ReplicaSet:2 Job:4"
    });
    known.await;
    assert_eq!(relay.stop().await.code(), Some(0));
}

#[tokio::test]
async fn at_its_end_it_says_how_many_watches_there_were_and_how_many_were_not_well() {
    for unhealthy in [0, 2] {
        let (api, reducer, dir) = (api().await, reducer().await, tempfile::tempdir().unwrap());
        let path = kubeconfig(&dir, &api.kubeconfig());
        if unhealthy > 0 {
            api.deny(Kind::JOB);
        }
        api.apply(bare("one"));
        let namespaces = ["--namespace", "shop", "--namespace", "other"];
        let port = reducer.addr().port();
        let mut relay = talkative("--info", path.to_str().unwrap(), port, &namespaces).await;
        for of in ["shop", "other"] {
            for kind in ["pods", "replicasets", "jobs"] {
                let said = |line: &Value| {
                    let message = line["message"].as_str().unwrap_or_default();
                    line["kind"] == kind && line["namespace"] == of && message.starts_with("watch ")
                };
                relay.logged("how a watch fares", said).await;
            }
        }
        let known =
            reducer.wait_until(|state| state.reducer_state().is_some_and(|p| p.pods() == 1));
        must("the pod", known).await;
        relay.signal(Signal::SIGTERM);
        assert_eq!(relay.ended().await.code(), Some(0));
        let log = relay.log();
        let state = log.iter().rfind(|line| line["message"] == "state").unwrap();
        let said = ["watches", "unhealthy", "pods", "streams"].map(|name| state[name].as_u64());
        assert_eq!(said, [6, unhealthy, 1, 0].map(Some), "{state}");
    }
}

/// Whether both handles lead to the same bytes.
fn one(texts: [&SharedStr; 2]) -> bool {
    texts[0].as_ptr() == texts[1].as_ptr()
}

#[tokio::test]
async fn texts_that_repeat_in_two_namespaces_are_held_once() {
    let fill = |api: &SimApi| {
        for namespace in ["a", "b"] {
            let owner = Owner::controller("StatefulSet", "a-stateful-set-of-some-length", "db");
            let pod = Pod::new(namespace, namespace, namespace).address("10.0.0.1");
            let (name, image) = ("a-container-of-some-length", "registry.example/shop/main:1");
            api.apply(
                pod.of(owner)
                    .container(name, image, &format!("id-{namespace}")),
            );
        }
    };
    let world = World::with(fill, |config| {
        config.native.namespaces = vec!["a".to_owned(), "b".to_owned()];
    })
    .await;
    let held = |uid: &str| world.objects.pod(&Uid::new(uid));
    let both = || Some([held("a")?, held("b")?]);
    must("both pods", async {
        while both().is_none() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let [a, b] = both().unwrap();
    let container =
        |pod: &k8s_relay::model::PodMeta| -> ContainerMeta { pod.containers[0].clone() };
    let (in_a, in_b) = (container(&a), container(&b));
    assert!(one([&in_a.name, &in_b.name]));
    assert!(one([&in_a.image, &in_b.image]));
    assert!(one([&a.version, &b.version]));
    let owner = |pod: &k8s_relay::model::PodMeta| pod.owner.clone().unwrap();
    assert!(one([&owner(&a).name, &owner(&b).name]));
    assert!(!one([&a.namespace, &b.namespace]));
    world.end().await;
}
