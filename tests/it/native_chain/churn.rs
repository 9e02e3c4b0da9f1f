//! Whatever happens in a cluster, the reducer knows it at every quiet moment.

use std::time::Duration;

use fastrand::Rng;
use k8s_relay::{
    config::{Lists, Reannounce},
    model::Kind,
    sim::kube::{Container, Meta, Object, Owner, Pod, Report, SimApi},
};

use super::world::World;

const QUIET_MOMENTS: u32 = 6;
const CHANGES: u32 = 25;

/// A life by chance: few names, so that much happens to each.
struct Churn<'a> {
    api: &'a SimApi,
    chance: Rng,
    births: u32,
    /// Owners may change too.
    owners_change: bool,
    /// Owners may go: not while nobody looks, or nobody knows that there ever were any.
    owners_go: bool,
    /// Pods may come under owners that are not there.
    pods_stray: bool,
}

impl Churn<'_> {
    fn step(&mut self) {
        match self.chance.u8(..100) {
            0..45 => self.pod(),
            45..60 => self.kill(Kind::POD, "pod"),
            60..75 => self.owner(Kind::REPLICA_SET),
            75..88 => self.owner(Kind::JOB),
            88..92 if self.owners_go => self.kill(Kind::REPLICA_SET, "replicaset"),
            92..96 if self.owners_go => self.kill(Kind::JOB, "job"),
            96..98 => self.api.end_watches(),
            _ => self.api.send_bookmarks(),
        }
    }

    fn place(&mut self, of: &str) -> (String, String) {
        let namespace = ["a", "b"][self.chance.usize(..2)];
        (
            namespace.to_owned(),
            format!("{of}-{}", self.chance.u8(..6)),
        )
    }

    /// A pod is born, or anything that can change in it does.
    fn pod(&mut self) {
        let (namespace, name) = self.place("pod");
        let key = format!("{namespace}/{name}");
        let known = self.api.change(|store| {
            let stored = store.get(Kind::POD, &key)?;
            stored.object.pod().cloned()
        });
        self.births += 1;
        let mut pod = known.unwrap_or_else(|| {
            let uid = format!("uid-{}", self.births);
            let pod = Pod::new(&namespace, &name, &uid);
            match self.chance.u8(..6) {
                0 => pod,
                1 => pod.of(Owner::controller("StatefulSet", "db", "uid-db")),
                2 | 3 => pod.of(self.reference("Job", "job", &namespace)),
                _ => pod.of(self.reference("ReplicaSet", "replicaset", &namespace)),
            }
        });
        match self.chance.u8(..6) {
            0 | 1 => pod.addresses = vec![format!("10.0.0.{}", self.chance.u8(1..))],
            2 => pod.containers = self.containers("main"),
            3 => pod.init = self.containers("init"),
            4 => pod.ephemeral = self.containers("ephemeral"),
            _ if self.pods_stray && self.chance.bool() => {
                let kind = [("Job", "job"), ("ReplicaSet", "replicaset")][self.chance.usize(..2)];
                pod.meta.owners = vec![self.reference(kind.0, kind.1, &namespace)];
            }
            _ if self.owners_change => {
                // The object that adopts a pod is there.
                let adopters = self.api.change(|store| {
                    let all = [Kind::REPLICA_SET, Kind::JOB].map(|kind| store.all(kind));
                    let all = all.into_iter().flatten();
                    let adopters = all.filter_map(|(_, stored)| {
                        let meta = stored.object.meta()?;
                        let kind = format!("{:?}", stored.object.kind());
                        let near = *meta.namespace == *namespace;
                        near.then(|| Owner::controller(&kind, &meta.name, &meta.uid))
                    });
                    adopters.collect::<Vec<_>>()
                });
                pod.meta.owners = self.chance.choice(adopters).into_iter().collect();
            }
            _ => pod.containers = self.containers("main"),
        }
        self.api.apply(pod);
    }

    fn containers(&mut self, sort: &str) -> Vec<Container> {
        let count = self.chance.u8(..4);
        (0..count)
            .map(|number| {
                let image = format!("shop/{sort}:{}", self.chance.u8(..3));
                let id = format!("containerd://{}-{}", self.births, self.chance.u8(..3));
                Container {
                    report: match self.chance.u8(..4) {
                        0 => Report::None,
                        1 => Report::Waiting,
                        2 => Report::Ended(format!("{id}-{sort}-{number}")),
                        _ => Report::Running(format!("{id}-{sort}-{number}")),
                    },
                    ..Container::unreported(&format!("{sort}-{number}"), &image)
                }
            })
            .collect()
    }

    /// To an owner that may be there or not.
    fn reference(&mut self, kind: &str, of: &str, namespace: &str) -> Owner {
        let name = format!("{of}-{}", self.chance.u8(..6));
        Owner::controller(kind, &name, &format!("{namespace}-{name}"))
    }

    fn owner(&mut self, kind: Kind) {
        let (of, above) = match kind {
            Kind::JOB => ("job", ["CronJob", "Workflow"]),
            _ => ("replicaset", ["Deployment", "Rollout"]),
        };
        let (namespace, name) = self.place(of);
        let uid = format!("{namespace}-{name}");
        let is_there = self
            .api
            .change(|store| store.get(kind, &format!("{namespace}/{name}")).is_some());
        if is_there && !self.owners_change {
            return;
        }
        // Without a life of its own an owner always has the same controller.
        let choice = if self.owners_change {
            self.chance.usize(..3)
        } else {
            name.len() + usize::from(name.ends_with('1'))
        };
        let meta = Meta::new(&namespace, &name, &uid);
        let meta = match above.get(choice % 3) {
            Some(above) => meta.of(Owner::controller(above, "top", &format!("uid-{above}-top"))),
            None => meta,
        };
        self.api.apply(Object::Plain(kind, meta));
    }

    fn kill(&mut self, kind: Kind, of: &str) {
        let (namespace, name) = self.place(of);
        self.api.delete(kind, &namespace, &name);
    }
}

/// Lives a while, with or without the API server in reach, and looks at every quiet moment.
async fn live(seed: u64, reannounce: Reannounce, strays: bool) {
    let world = World::with(
        |_| (),
        |config| {
            config.reannounce = reannounce;
            if strays {
                config.native.owner_wait = Duration::from_millis(1);
            }
            config.native.list = [Lists::Pages, Lists::WatchList][(seed % 2) as usize];
        },
    )
    .await;
    let mut churn = Churn {
        api: &world.api,
        chance: Rng::with_seed(seed),
        births: 0,
        owners_change: reannounce == Reannounce::OnChange,
        owners_go: !strays,
        pods_stray: strays,
    };
    for moment in 0..QUIET_MOMENTS {
        if moment == QUIET_MOMENTS / 2 {
            world
                .missed(|_| (0..CHANGES).for_each(|_| churn.step()))
                .await;
        }
        for _ in 0..CHANGES {
            churn.step();
            if churn.chance.u8(..4) == 0 {
                tokio::task::yield_now().await;
            }
        }
        world.quiet().await;
        if strays {
            // What is known of them is true once they have waited.
            world.known().await;
        }
        let wrong = world.wrong();
        assert_eq!(wrong, None, "seed {seed}, moment {moment}, {reannounce}");
    }
    world.end().await;
}

#[tokio::test]
async fn sent_on_change_everything_is_true_at_every_quiet_moment() {
    for seed in 1..=6 {
        live(seed, Reannounce::OnChange, false).await;
    }
}

#[tokio::test]
async fn pods_that_come_under_owners_that_are_not_there_are_announced_so_in_time() {
    for seed in 1..=6 {
        live(seed, Reannounce::OnChange, true).await;
    }
}

#[tokio::test]
async fn sent_once_the_same_pods_are_known_and_what_cannot_change_is_true() {
    for seed in 1..=6 {
        live(seed, Reannounce::Never, false).await;
    }
}
