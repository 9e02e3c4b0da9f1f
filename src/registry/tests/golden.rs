//! The recorded life cycles of Beats' watches, and what it keeps of an object.

use std::{collections::BTreeMap, fs, path::PathBuf, sync::Arc};

use serde::de::DeserializeSeed;
use serde_json::Value;
use tokio::task::JoinHandle;

use super::{
    super::{Registry, Scope, WatchHandle},
    fake::{Fake, Watch, quiet},
    labels, registry,
};
use crate::{
    enrich::{
        Enricher, Reference, Wish,
        cluster::ClusterIdentity,
        filter::Filters,
        object::Details,
        plan::{Joins, Needs, Plan},
        profile::Profile,
        resource::{Metricset, Resource},
        service::Objects,
        view::ObjectView,
    },
    model::{Interner, Seed},
    source::native::decode::{Decoding, Dropped, Keep, ObjectSeed, Snapshots},
};

/// The node of users of node scope.
const NODE: &str = "n1";

fn cases(kind: &str) -> Vec<(String, Value)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("compat/golden/enrichment");
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path());
    let mut cases: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|end| end == "json"))
        .map(|path| {
            let case: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
            (
                path.file_stem().unwrap().to_string_lossy().into_owned(),
                case,
            )
        })
        .filter(|(_, case)| case["kind"] == kind)
        .collect();
    cases.sort_by(|(one, _), (other, _)| one.cmp(other));
    cases
}

/// A registry on which a case is played.
struct Play {
    case: String,
    registry: Registry,
    fake: Fake,
    /// By their ids.
    users: BTreeMap<String, User>,
    /// What watches are called, by their numbers.
    names: BTreeMap<usize, String>,
    forbidden: Vec<Resource>,
    waiting: BTreeMap<String, JoinHandle<bool>>,
    order: Vec<String>,
}

struct User {
    /// Those of the extras first.
    handles: Vec<Arc<WatchHandle>>,
    metricset: Metricset,
    joins: Joins,
}

impl Play {
    async fn step(&mut self, step: &Value) {
        let text = |key: &str| step[key].as_str().unwrap_or_default();
        let id = text("id").to_owned();
        match text("op") {
            "subscribe" => self.subscribe(&id, step),
            "start" => {
                self.begin(&id, step).await;
                let user = &self.users[&id];
                let main = user.handles.last().unwrap();
                assert_eq!(main.ready().await, step["result"] == true, "{}", self.case);
            }
            "start_async" => {
                self.begin(&id, step).await;
                let main = Arc::clone(self.users[&id].handles.last().unwrap());
                let ready = tokio::spawn(async move { main.ready().await });
                self.waiting.insert(id, ready);
            }
            "ready" => {
                let main = self.users[&id].handles.last().unwrap().resource;
                self.fake.last(main).list();
            }
            "unsubscribe" => {
                let begun = tokio::time::Instant::now();
                for handle in self
                    .users
                    .remove(&id)
                    .map_or(Vec::new(), |user| user.handles)
                {
                    // Somebody may still wait for it.
                    handle.release();
                }
                quiet().await;
                let within = step["within_ms"].as_u64().unwrap_or(0);
                assert!(begun.elapsed().as_millis() <= u128::from(within));
            }
            "lookup" => self.lookup(&id, step),
            "api_apply" => {
                let (_, name) = text("key").split_once('/').unwrap();
                let facts = serde_json::json!({ "labels": step["labels"], "node": NODE });
                self.fake.put(Resource::Pod, name, facts);
                for watch in self.fake.all() {
                    if watch.resource == Resource::Pod && !watch.is_stopped() {
                        watch.apply(name);
                    }
                }
            }
            "expect" => self.expect(step).await,
            other => panic!("{}: unknown step {other}", self.case),
        }
        quiet().await;
        self.note_ends();
    }

    fn subscribe(&mut self, id: &str, step: &Value) {
        let Some(metricset) = Metricset::from_name(step["metricset"].as_str().unwrap()) else {
            assert_eq!(step["result"], "error", "{}", self.case);
            return;
        };
        assert_eq!(step["result"], "ok", "{}", self.case);
        let flag = |key: &str| step["flags"][key] == true;
        let joins = Joins {
            node: flag("node"),
            namespace: flag("namespace"),
            deployment: flag("deployment"),
            cronjob: flag("cronjob"),
        };
        for kind in step["forbid"].as_array().into_iter().flatten() {
            let kind = Resource::from_key(kind.as_str().unwrap()).unwrap();
            self.forbidden.push(kind);
        }
        let plan = Plan::of(metricset, joins);
        let main = match step["node_scope"] == true {
            true => Scope::Node(NODE.to_owned()),
            false => Scope::Cluster,
        };
        let extras = plan.extras.iter().map(|extra| (*extra, Scope::Cluster));
        let uses = extras.chain([(plan.main, main)]);
        let uses = uses.map(|(kind, scope)| self.registry.subscribe(kind, scope, labels(), id));
        let handles = uses.map(Arc::new).collect();
        let user = User {
            handles,
            metricset,
            joins,
        };
        self.users.insert(id.to_owned(), user);
    }

    /// Starts a user's watches, which do what the step says.
    async fn begin(&mut self, id: &str, step: &Value) {
        let given = step["store"].as_array();
        let default = [Value::from("default/obj")];
        for key in given.map_or(&default[..], Vec::as_slice) {
            let (_, name) = key.as_str().unwrap().split_once('/').unwrap();
            let facts = serde_json::json!({ "node": NODE });
            self.fake.put(Resource::Pod, name, facts);
        }
        let known = self.fake.all().len();
        for handle in &self.users[id].handles {
            handle.start();
        }
        quiet().await;
        let main = self.users[id].handles.last().unwrap().resource;
        for watch in self.fake.all().into_iter().skip(known) {
            let is_main = watch.resource == main;
            let name = step["watch"].as_str().filter(|_| is_main);
            let name = name.map_or_else(|| watch.resource.key().to_owned(), str::to_owned);
            self.names.insert(watch.number, name.clone());
            match () {
                () if self.forbidden.contains(&watch.resource) => watch.denied(),
                () if is_main && step["fails"] == true => watch.failing(),
                () if is_main && step["state"] == "listing" => {
                    watch.begin();
                }
                () => {
                    self.order.push(format!("{name} ready"));
                    watch.list();
                    if known > 0 && is_main && Some(watch.number) == self.active(watch.resource) {
                        self.order.push("swap".to_owned());
                    }
                }
            }
            quiet().await;
            self.note_ends();
        }
    }

    fn note_ends(&mut self) {
        for watch in self.fake.all() {
            if let Some(name) = self.names.get(&watch.number).filter(|_| watch.is_stopped()) {
                let stopped = format!("{name} stopped");
                if !self.order.contains(&stopped) {
                    self.order.push(stopped);
                }
            }
        }
    }

    /// The watch whose word counts: what it says is found.
    fn active(&self, resource: Resource) -> Option<usize> {
        let all = self.fake.all();
        let mut of_kind = all.iter().filter(|watch| watch.resource == resource);
        let is_heard = |watch: &&Watch| {
            let facts = serde_json::json!({ "node": NODE });
            self.fake.put(resource, "probe", facts);
            watch.apply("probe");
            let found = self.registry.view().live(resource, "default", "probe");
            watch.delete("probe");
            found.is_some()
        };
        of_kind.find(is_heard).map(|watch| watch.number)
    }

    fn lookup(&self, id: &str, step: &Value) {
        let User {
            metricset, joins, ..
        } = &self.users[id];
        let on = |on: bool| on.then(Filters::default);
        let profile = Profile {
            metricsets: vec![*metricset],
            node: on(joins.node),
            namespace: on(joins.namespace),
            deployment: joins.deployment,
            cronjob: joins.cronjob,
            ..Profile::default()
        };
        let enricher = Enricher::new(
            [("p".to_owned(), profile)],
            ClusterIdentity::default(),
            Seed::FIXED,
            1 << 20,
        );
        let (namespace, name) = step["key"].as_str().unwrap().split_once('/').unwrap();
        let about = Reference::Named {
            resource: metricset.resource(),
            namespace,
            name,
            container: None,
            uid: None,
        };
        let wish = Wish::of(enricher.find_profile("p").unwrap());
        let answer = enricher.lookup(&self.registry.view(), about, wish);
        let found = if answer.object.is_some() {
            "found"
        } else {
            "missing"
        };
        assert_eq!(step["expect"], found, "{}", self.case);
        let partial: Vec<_> = answer
            .partial
            .iter()
            .map(|(part, _)| part.as_str())
            .collect();
        let expected = step.get("partial").cloned();
        let expected = expected.unwrap_or_else(|| Value::Array(Vec::new()));
        assert_eq!(Value::from(partial), expected, "{}", self.case);
        let document = answer.document.map(|document| document.json().to_owned());
        let document: Value = serde_json::from_str(&document.unwrap_or_default()).unwrap();
        for (path, value) in step["expect_fields"].as_object().into_iter().flatten() {
            let pointer = format!("/{}", path.replace('.', "/"));
            assert_eq!(document.pointer(&pointer), Some(value), "{}", self.case);
        }
    }

    async fn expect(&mut self, step: &Value) {
        let case = self.case.clone();
        for (key, expected) in step.as_object().unwrap() {
            match key.as_str() {
                "op" => {}
                key if key.ends_with("_beats") => {}
                "registry" => {
                    let kinds = self.registry.kinds().into_iter();
                    let mut kinds: Vec<_> = kinds.map(Resource::key).collect();
                    kinds.sort_unstable();
                    assert_eq!(Value::from(kinds), *expected, "{case}");
                }
                "start_result" => {
                    for (id, result) in expected.as_object().unwrap() {
                        let waiting = self.waiting.remove(id).unwrap();
                        assert_eq!(Value::from(waiting.await.unwrap()), *result, "{case}");
                    }
                }
                "order" => assert_eq!(self.order_from(expected), *expected, "{case}"),
                key => {
                    for (of, value) in expected.as_object().unwrap() {
                        let is = self.shown(key, of);
                        assert_eq!(is, *value, "{case}: {key} of {of}");
                    }
                }
            }
        }
    }

    /// What was noted, from the first thing that is expected on.
    fn order_from(&self, expected: &Value) -> Value {
        let first = expected[0].as_str().unwrap();
        let from = self.order.iter().position(|one| one == first).unwrap();
        Value::from(self.order[from..].to_vec())
    }

    fn shown(&self, key: &str, of: &str) -> Value {
        let state = self.registry.inner.state();
        let record = Resource::from_key(of).and_then(|kind| state.record(kind));
        let users = || record.unwrap().users.values();
        match key {
            "users" => {
                let mut names: Vec<_> = users().map(|user| user.name.clone()).collect();
                names.sort();
                names.into()
            }
            "user_node_scope" => users()
                .map(|user| (user.name.clone(), user.area.to_string() != "cluster"))
                .collect(),
            "node_scope" => {
                let active = record.unwrap().active.as_ref().unwrap();
                (active.area.to_string() != "cluster").into()
            }
            "pending" => record.unwrap().is_widening().into(),
            "active" => {
                drop(state);
                let kind = Resource::from_key(of).unwrap();
                self.names[&self.active(kind).unwrap()].clone().into()
            }
            "starts" | "stops" => {
                let all = self.fake.all();
                let named = |watch: &&Watch| {
                    let name = self.names.get(&watch.number);
                    watch.resource.key() == of || name.is_some_and(|name| name == of)
                };
                let counted = |watch: &&Watch| key == "starts" || watch.is_stopped();
                all.iter().filter(named).filter(counted).count().into()
            }
            other => panic!("{}: unknown expectation {other}", self.case),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_recorded_life_cycle_goes_as_it_was_recorded() {
    let cases = cases("lifecycle");
    assert_eq!(cases.len(), 13);
    for (case, recorded) in cases {
        let (registry, fake) = registry();
        let mut play = Play {
            case,
            registry,
            fake,
            users: BTreeMap::new(),
            names: BTreeMap::new(),
            forbidden: Vec::new(),
            waiting: BTreeMap::new(),
            order: Vec::new(),
        };
        for step in recorded["steps"].as_array().unwrap() {
            play.step(step).await;
        }
    }
}

#[test]
fn of_an_object_that_is_only_joined_nothing_is_kept_but_identity_and_controllers() {
    let cases = cases("transform");
    assert_eq!(cases.len(), 1);
    for (case, recorded) in cases {
        let resource = Resource::from_kind(recorded["resource"]["kind"].as_str().unwrap()).unwrap();
        let keep = Keep {
            resource,
            needs: Needs::default(),
            number: 1,
        };
        let decoding = Decoding {
            keep: Some(keep.into()),
            ..Decoding::default()
        };
        let (mut texts, mut dropped) = (Interner::new(Seed::FIXED), Dropped::default());
        let seed = ObjectSeed::<Snapshots>::new(&decoding, &mut texts, &mut dropped);
        let object = seed
            .deserialize(&recorded["objects"][0])
            .unwrap()
            .object
            .unwrap();
        let mut buffers = [(); 2].map(|()| crate::model::IdBuf::new());
        let [of_object, of_owner] = &mut buffers;
        let owner = &object.controllers[0];
        let kept = serde_json::json!({
            "apiVersion": "apps/v1",
            "kind": object.resource.kind(),
            "metadata": {
                "name": &*object.name,
                "namespace": &*object.namespace,
                "resourceVersion": &*object.resource_version,
                "uid": object.uid.text(of_object),
                "ownerReferences": [{
                    "apiVersion": "apps/v1", "kind": owner.kind.as_str(), "name": &*owner.name,
                    "uid": owner.uid.text(of_owner), "controller": true,
                }],
            },
        });
        assert_eq!(kept, recorded["expected"], "{case}");
        assert!(object.labels.is_empty() && object.annotations.is_empty());
        assert!(matches!(object.details, Details::None));
    }
}
