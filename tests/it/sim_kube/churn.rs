//! The cluster as it lives, and what is true of it.

use super::*;

#[tokio::test]
async fn the_watcher_of_kube_keeps_step_with_a_cluster_that_lives() {
    for streamed in [false, true] {
        let (api, client) = small().await;
        let config = watcher::Config::default();
        let config = if streamed {
            config.streaming_lists()
        } else {
            config.page_size(5)
        };
        let mut events = pin!(watcher(pods(&client), config));
        let (mut seen, mut listed) = (BTreeMap::new(), false);
        for round in 0..200_u32 {
            let name = format!("pod-{}", round % 7);
            match round % 5 {
                4 => drop(api.delete(Kind::POD, "a", &name)),
                _ => drop(api.apply(Pod::new("a", &name, &format!("u-{round}")))),
            }
            if round == 100 {
                api.compact();
                api.end_watches();
            }
        }
        let all = pods(&client).list(&ListParams::default()).await.unwrap();
        let names = all.items.iter();
        let expected_state: BTreeMap<_, _> = names
            .map(|pod| (pod.name_any(), pod.uid().unwrap()))
            .collect();
        while !listed || seen != expected_state {
            match must("an event", events.next()).await.unwrap().unwrap() {
                Event::Init => seen.clear(),
                Event::InitDone => listed = true,
                Event::Apply(pod) | Event::InitApply(pod) => {
                    seen.insert(pod.name_any(), pod.uid().unwrap());
                }
                Event::Delete(pod) => drop(seen.remove(&pod.name_any())),
            }
        }
    }
}

#[tokio::test]
async fn who_watches_a_life_knows_the_expected_state_of_it_whenever_it_pauses() {
    let (api, client) = started(Options::small()).await;
    let cluster = Cluster::new(10, 60);
    api.begin(
        Population {
            namespaces: 3,
            ..Population::new(cluster)
        },
        Mix::default(),
    );
    let events = watcher(pods(&client), watcher::Config::default().page_size(7));
    let mut events = pin!(events);
    let (mut seen, mut listed) = (BTreeMap::new(), false);
    for round in 0..10 {
        assert_eq!(api.live(200), 200);
        if round == 5 {
            api.reset_connections();
        }
        let expected_state = || api.expected_state(View::default()).pods.into_iter();
        let expected_state: BTreeMap<_, _> = expected_state()
            .map(|(uid, pod)| (uid, pod.containers.len()))
            .collect();
        while !listed || seen != expected_state {
            // The reset is an error; the watcher goes on after it.
            match must("an event", events.next()).await.unwrap() {
                Ok(Event::Init) => seen.clear(),
                Ok(Event::InitDone) => listed = true,
                Ok(Event::Apply(pod) | Event::InitApply(pod)) => {
                    let status = pod.status.clone().unwrap();
                    let all = [
                        status.container_statuses,
                        status.init_container_statuses,
                        status.ephemeral_container_statuses,
                    ];
                    let containers = all.into_iter().flatten().flatten();
                    let with_id = containers.filter(|c| c.container_id.is_some()).count();
                    if status.pod_ip.is_some() {
                        seen.insert(pod.uid().unwrap(), with_id);
                    }
                }
                Ok(Event::Delete(pod)) => drop(seen.remove(&pod.uid().unwrap())),
                Err(_) => {}
            }
        }
    }
}

#[tokio::test]
async fn the_expected_state_names_the_workloads_behind_replica_sets_and_jobs() {
    let api = SimApi::start(Options {
        sizes: Sizes::SMALL,
        ..Options::default()
    })
    .await
    .unwrap();
    api.apply(Object::replica_set(
        Meta::new("shop", "web-1", "rs").of(Owner::controller("Deployment", "web", "d")),
    ));
    api.apply(Object::replica_set(Meta::new("shop", "blue-1", "rs-2").of(
        Owner::custom("argoproj.io/v1alpha1", "Rollout", "blue", "r"),
    )));
    let pod = |name: &str| Pod::new("shop", name, &format!("uid of {name}")).address("10.0.0.1");
    api.apply(pod("a").of(Owner::controller("ReplicaSet", "web-1", "rs")));
    api.apply(pod("b").of(Owner::controller("ReplicaSet", "blue-1", "rs-2")));
    api.apply(pod("c").of(Owner::custom("batch.volcano.sh/v1", "Job", "train", "j")));
    api.apply(pod("d"));
    api.apply(pod("e").of(Owner::controller("Job", "unknown", "j-2")));
    api.apply(Pod::new("shop", "f", "without address"));
    let owners = |view| {
        let pods = api.expected_state(view).pods.into_values();
        pods.map(|pod| (pod.owner_name, pod.waits))
            .collect::<Vec<_>>()
    };
    let known = |names: [&str; 5]| -> Vec<(String, bool)> {
        names
            .map(|name| (name.to_owned(), name == "unknown"))
            .into()
    };
    assert_eq!(
        owners(View::default()),
        known(["web", "blue-1", "train", "d", "unknown"])
    );
    let any = View {
        escalate_any: true,
        ..View::default()
    };
    assert_eq!(owners(any), known(["web", "blue", "train", "d", "unknown"]));
    api.delete(Kind::REPLICA_SET, "shop", "web-1");
    assert_eq!(
        owners(View::default()),
        known(["web", "blue-1", "train", "d", "unknown"])
    );
}
