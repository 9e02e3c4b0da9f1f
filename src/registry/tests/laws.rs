//! Whatever the order of object and subscription events, the answer after quiet is the same, and
//! an object that exists throughout is found throughout.

use proptest::prelude::*;
use serde_json::json;

use super::{
    super::{Scope, WatchHandle},
    fake::{Fake, Seen, Watch, quiet},
    registry,
};
use crate::enrich::{plan::Needs, resource::Resource, service::Objects, view::ObjectView};

/// Something that happens.
#[derive(Clone, Debug)]
enum Step {
    /// A user comes, and wants its objects.
    Come { wide: bool, labels: bool },
    /// The n-th user goes.
    Go(usize),
    /// A pod is made or changes.
    Put(u8),
    /// A pod goes.
    Remove(u8),
    /// The n-th watch that runs does one thing.
    Work(usize),
    /// It loses its connection, and lists again.
    Relist(usize),
    /// It is refused.
    Deny(usize),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (any::<bool>(), any::<bool>()).prop_map(|(wide, labels)| Step::Come { wide, labels }),
        1 => (0..4_usize).prop_map(Step::Go),
        3 => (0..8_u8).prop_map(Step::Put),
        2 => (0..8_u8).prop_map(Step::Remove),
        10 => (0..4_usize).prop_map(Step::Work),
        1 => (0..4_usize).prop_map(Step::Relist),
        1 => (0..4_usize).prop_map(Step::Deny),
    ]
}

/// A watch with what it has read and not written.
struct Working {
    watch: Watch,
    todo: std::collections::VecDeque<Todo>,
    listed: bool,
}

enum Todo {
    Begin,
    Item(Seen),
    End,
    Change(Seen),
    Gone(Seen),
}

impl Working {
    /// Its list is of this moment; what happens later it hears later.
    fn list(&mut self) {
        self.todo.clear();
        self.todo.push_back(Todo::Begin);
        for name in self.watch.names() {
            self.todo.push_back(Todo::Item(self.watch.seen(&name)));
        }
        self.todo.push_back(Todo::End);
        self.listed = true;
    }

    fn work(&mut self) {
        if !self.listed {
            return self.list();
        }
        match self.todo.pop_front() {
            None => {}
            Some(Todo::Begin) => self.watch.begin(),
            Some(Todo::Item(seen)) => self.watch.tell_item(seen),
            Some(Todo::End) => self.watch.end(),
            Some(Todo::Change(seen)) => self.watch.write(seen),
            Some(Todo::Gone(seen)) => self.watch.tell_gone(seen),
        }
    }
}

fn name(pod: u8) -> String {
    format!("pod-{pod}")
}

/// Every other pod is on the node that is looked at.
fn node(pod: u8) -> &'static str {
    if pod.is_multiple_of(2) { "n1" } else { "n2" }
}

struct World {
    fake: Fake,
    working: Vec<Working>,
    number: u32,
}

impl World {
    fn put(&mut self, name: &str, node: &str) {
        self.number += 1;
        let labels = json!({ "number": self.number.to_string() });
        let facts = json!({ "node": node, "labels": labels });
        self.fake.put(Resource::Pod, name, facts);
        for one in &mut self.working {
            if one.listed && one.watch.names().iter().any(|mine| mine == name) {
                one.todo.push_back(Todo::Change(one.watch.seen(name)));
            }
        }
    }

    fn remove(&mut self, name: &str) {
        for one in &mut self.working {
            if one.listed && one.watch.names().iter().any(|mine| mine == name) {
                one.todo.push_back(Todo::Gone(one.watch.seen(name)));
            }
        }
        self.fake.remove(Resource::Pod, name);
    }

    /// Looks for watches that have started or ended.
    async fn look(&mut self) {
        quiet().await;
        let known = self.working.iter().map(|one| one.watch.number).max();
        for watch in self.fake.all() {
            if known.is_none_or(|known| watch.number > known) {
                self.working.push(Working {
                    watch,
                    todo: Default::default(),
                    listed: false,
                });
            }
        }
        self.working.retain(|one| !one.watch.is_stopped());
    }

    fn of(&mut self, number: usize) -> Option<&mut Working> {
        let running = self.working.len();
        self.working.get_mut(number % running.max(1))
    }
}

async fn play(steps: Vec<Step>) {
    let (registry, fake) = registry();
    let mut world = World {
        fake,
        working: Vec::new(),
        number: 0,
    };
    // It exists throughout.
    world.put("pod-for-ever", "n1");
    let mut users: Vec<(WatchHandle, bool, bool)> = Vec::new();
    let mut was_found = false;
    for step in steps {
        match step {
            Step::Come { wide, labels } => {
                let scope = match wide {
                    true => Scope::Cluster,
                    false => Scope::Node("n1".to_owned()),
                };
                let needs = Needs {
                    labels,
                    details: true,
                    ..Needs::default()
                };
                let user = registry.subscribe(Resource::Pod, scope, needs, "user");
                user.start();
                users.push((user, wide, labels));
            }
            Step::Go(number) if number < users.len() => drop(users.remove(number)),
            Step::Go(_) => {}
            Step::Put(pod) => world.put(&name(pod), node(pod)),
            Step::Remove(pod) => world.remove(&name(pod)),
            Step::Work(number) => {
                if let Some(one) = world.of(number) {
                    one.work();
                }
            }
            Step::Relist(number) => {
                if let Some(one) = world.of(number) {
                    one.list();
                }
            }
            Step::Deny(number) => {
                if let Some(one) = world.of(number) {
                    one.watch.denied();
                }
            }
        }
        world.look().await;
        was_found &= !users.is_empty();
        let view = registry.view();
        let found = view.live(Resource::Pod, "default", "pod-for-ever");
        assert!(found.is_some() || !was_found, "it was lost");
        was_found |= found.is_some();
    }
    // Whoever was given up is tried again, and every watch writes what it has.
    for _ in 0..4 {
        tokio::time::advance(std::time::Duration::from_secs(31)).await;
        // A watch that ends makes room for the next one.
        for _ in 0..4 {
            world.look().await;
            for one in &mut world.working {
                one.work();
                while !one.todo.is_empty() {
                    one.work();
                }
            }
        }
    }
    world.look().await;
    let is_wide = users.iter().any(|(_, wide, _)| *wide);
    let labels = users.iter().any(|(_, _, labels)| *labels);
    for pod in (0..8).map(name).chain(["pod-for-ever".to_owned()]) {
        let found = registry.view().live(Resource::Pod, "default", &pod);
        let manifest = world.fake.manifest(Resource::Pod, &pod);
        let wanted = manifest.filter(|manifest| {
            !users.is_empty() && (is_wide || manifest["spec"]["nodeName"] == "n1")
        });
        let Some(wanted) = wanted else {
            // A watch that was widened stays wide.
            let exists = world.fake.manifest(Resource::Pod, &pod).is_some();
            assert!(
                found.is_none() || (exists && !users.is_empty()),
                "{pod} is gone"
            );
            continue;
        };
        let found = found.expect("it exists");
        assert_eq!(
            *found.resource_version,
            *wanted["metadata"]["resourceVersion"].as_str().unwrap()
        );
        if labels {
            let (_, number) = found.labels.get("number").expect("its label");
            assert_eq!(
                number,
                wanted["metadata"]["labels"]["number"].as_str().unwrap()
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn after_quiet_the_stores_are_what_the_cluster_is_whatever_the_order_of_events(
        steps in proptest::collection::vec(any_step(), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(play(steps));
    }
}
