//! Watches of a cluster that is a table, which say what and when a test wants.

use std::{
    collections::BTreeMap,
    future::pending,
    sync::{Arc, Mutex, MutexGuard},
};

use kube::runtime::watcher::Event;
use serde::de::DeserializeSeed;
use serde_json::{Value, json};

use super::super::{Edge, Scope, Task};
use crate::{
    enrich::{object::Object, resource::Resource},
    model::{self, Interner, Seed},
    source::{
        WatchHealth,
        native::{
            Sink,
            decode::{Decoding, Dropped, ObjectSeed, Snapshots},
        },
    },
};

/// The edge.
#[derive(Clone, Default)]
pub(super) struct Fake(Arc<Mutex<Cluster>>);

#[derive(Default)]
struct Cluster {
    objects: BTreeMap<(Resource, String), Value>,
    version: u64,
    watches: Vec<Watch>,
    stopped: Vec<usize>,
}

/// A watch that was started.
#[derive(Clone)]
pub(super) struct Watch {
    fake: Fake,
    pub(super) number: usize,
    pub(super) resource: Resource,
    pub(super) scope: Scope,
    part: model::Scope,
    sink: Arc<dyn Sink>,
}

/// Something that a watch has read, and has not written yet.
pub(super) struct Seen {
    object: Object,
    kept: u64,
}

/// Lets every task do what it can do.
pub(super) async fn quiet() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

impl Fake {
    fn cluster(&self) -> MutexGuard<'_, Cluster> {
        self.0.lock().unwrap()
    }

    /// An object, with its `labels` and `node`, as it is now. Its uid is its name.
    pub(super) fn put(&self, resource: Resource, name: &str, facts: Value) {
        let mut cluster = self.cluster();
        cluster.version += 1;
        let manifest = json!({
            "metadata": {
                "uid": format!("{resource}-{name}"), "name": name,
                "namespace": if resource.namespaced() { "default" } else { "" },
                "resourceVersion": cluster.version.to_string(),
                "labels": facts["labels"],
            },
            "spec": { "nodeName": facts["node"] },
        });
        cluster
            .objects
            .insert((resource, name.to_owned()), manifest);
    }

    pub(super) fn remove(&self, resource: Resource, name: &str) {
        self.cluster().objects.remove(&(resource, name.to_owned()));
    }

    /// An object as it is now.
    pub(super) fn manifest(&self, resource: Resource, name: &str) -> Option<Value> {
        let key = (resource, name.to_owned());
        self.cluster().objects.get(&key).cloned()
    }

    /// All watches, in the order in which they were started.
    pub(super) fn all(&self) -> Vec<Watch> {
        self.cluster().watches.clone()
    }

    pub(super) fn started(&self) -> Vec<Resource> {
        self.all().iter().map(|watch| watch.resource).collect()
    }

    /// How many watches of a kind were started.
    pub(super) fn count(&self, resource: Resource) -> usize {
        let all = self.all();
        all.iter().filter(|one| one.resource == resource).count()
    }

    /// The watch of a kind that was started last.
    pub(super) fn last(&self, resource: Resource) -> Watch {
        let all = self.all();
        let mut of_kind = all.into_iter().filter(|one| one.resource == resource);
        of_kind.next_back().expect("a watch")
    }
}

impl Watch {
    fn manifest(&self, name: &str) -> Value {
        self.fake.manifest(self.resource, name).expect("an object")
    }

    fn read(&self, manifest: &Value) -> Seen {
        let decoding = Decoding {
            keep: self.sink.keep(),
            ..Decoding::default()
        };
        let (mut texts, mut dropped) = (Interner::new(Seed::FIXED), Dropped::default());
        let seed = ObjectSeed::<Snapshots>::new(&decoding, &mut texts, &mut dropped);
        let read = seed.deserialize(manifest).unwrap();
        Seen {
            object: read.object.unwrap(),
            kept: decoding.keep.map_or(0, |keep| keep.number),
        }
    }

    /// Reads an object without writing it.
    pub(super) fn seen(&self, name: &str) -> Seen {
        self.read(&self.manifest(name))
    }

    fn take(&self, event: Event<Object>, kept: u64) {
        self.sink.take(self.part, event, kept);
        self.sink.heard(self.part, 1);
    }

    fn kept(&self) -> u64 {
        self.sink.keep().map_or(0, |keep| keep.number)
    }

    /// A change.
    pub(super) fn write(&self, Seen { object, kept }: Seen) {
        self.take(Event::Apply(object), kept);
    }

    /// Something in a list.
    pub(super) fn tell_item(&self, Seen { object, kept }: Seen) {
        self.take(Event::InitApply(object), kept);
    }

    /// An end.
    pub(super) fn tell_gone(&self, Seen { object, kept }: Seen) {
        self.take(Event::Delete(object), kept);
    }

    pub(super) fn apply(&self, name: &str) {
        self.write(self.seen(name));
    }

    pub(super) fn delete(&self, name: &str) {
        let Seen { object, kept } = self.seen(name);
        self.fake.remove(self.resource, name);
        self.take(Event::Delete(object), kept);
    }

    /// A list begins.
    pub(super) fn begin(&self) {
        self.take(Event::Init, self.kept());
    }

    pub(super) fn item(&self, name: &str) {
        self.tell_item(self.seen(name));
    }

    /// A list ends.
    pub(super) fn end(&self) {
        self.take(Event::InitDone, self.kept());
        self.well();
    }

    /// What it would list.
    pub(super) fn names(&self) -> Vec<String> {
        let cluster = self.fake.cluster();
        let all = cluster.objects.iter();
        let mine = all.filter(|((resource, name), manifest)| {
            let is_in = match &self.scope {
                Scope::Cluster => true,
                Scope::Node(node) if *resource == Resource::Pod => {
                    manifest["spec"]["nodeName"] == node.as_str()
                }
                Scope::Node(other) => name == other,
                Scope::Namespace(namespace) => {
                    manifest["metadata"]["namespace"] == namespace.as_str()
                }
            };
            *resource == self.resource && is_in
        });
        mine.map(|((_, name), _)| name.clone()).collect()
    }

    /// A whole list.
    pub(super) fn list(&self) {
        self.begin();
        self.names().iter().for_each(|name| self.item(name));
        self.end();
    }

    pub(super) fn well(&self) {
        self.sink.changed(self.part, WatchHealth::Healthy, None);
    }

    pub(super) fn denied(&self) {
        self.sink.changed(self.part, WatchHealth::Denied, None);
    }

    pub(super) fn failing(&self) {
        self.sink.changed(self.part, WatchHealth::Failing, None);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.fake.cluster().stopped.contains(&self.number)
    }
}

/// Notes the end of a watch's task.
struct End(Fake, usize);

impl Drop for End {
    fn drop(&mut self) {
        self.0.cluster().stopped.push(self.1);
    }
}

impl Edge for Fake {
    fn watch(
        &self,
        resource: Resource,
        scope: &Scope,
        part: model::Scope,
        sink: Arc<dyn Sink>,
    ) -> Task<'static> {
        let mut cluster = self.cluster();
        let number = cluster.watches.len();
        cluster.watches.push(Watch {
            fake: self.clone(),
            number,
            resource,
            scope: scope.clone(),
            part,
            sink,
        });
        let end = End(self.clone(), number);
        Box::pin(async move {
            let _end = end;
            pending().await
        })
    }
}
