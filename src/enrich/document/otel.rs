//! Documents as resource attributes of OpenTelemetry: one level of names, original keys.

use super::{
    Form, Style, Truncated, ecs,
    image::{Image, repo_digest},
};
use crate::{
    enrich::{
        filter::{Filters, Selected},
        join::Joined,
        json::JsonWriter,
        object::{Container, ContainerRole, Object, PodDetails, Snapshot, split_container_id},
        profile::{Profile, Semconv},
        resource::Resource,
    },
    model::{IdBuf, OwnerRef},
};

/// Bytes of a document with a few labels.
const TYPICAL: usize = 1536;

pub(super) fn render(
    style: Style<'_>,
    object: &Object,
    form: Form<'_>,
    joined: &Joined,
) -> (String, Truncated) {
    let mut writer = Writer {
        json: JsonWriter::new(TYPICAL),
        truncated: Truncated::default(),
        profile: style.profile,
        semconv: style.semconv,
    };
    writer.object(object, joined);
    match form {
        Form::Container { container, .. } => writer.container(container),
        Form::Object | Form::StateNamespace => {
            if let Some(only) = object.pod().and_then(only_container) {
                writer.container(only);
            }
        }
    }
    writer.optional("k8s.cluster.name", &style.cluster.name);
    if let Some(cluster) = joined.cluster.object() {
        writer
            .json
            .field("k8s.cluster.uid", cluster.uid.text(&mut IdBuf::new()));
    }
    (writer.json.finish(), writer.truncated)
}

/// The container that a pod without further words stands for, as the Collector has it.
fn only_container(pod: &PodDetails) -> Option<&Container> {
    let counts = |container: &&Container| container.role != ContainerRole::Ephemeral;
    let mut containers = pod.containers.iter().filter(counts);
    containers.next().filter(|_| containers.next().is_none())
}

struct Writer<'a> {
    json: JsonWriter,
    truncated: Truncated,
    profile: &'a Profile,
    semconv: Semconv,
}

impl Writer<'_> {
    fn object(&mut self, object: &Snapshot, joined: &Joined) {
        let key = object.resource.key();
        self.identity(key, &object.name, object);
        self.labels(key, object, &self.profile.main);
        self.optional("k8s.namespace.name", &object.namespace);
        let namespaces = (joined.namespace.object(), self.profile.namespace.as_ref());
        if let (Some(namespace), Some(filters)) = namespaces {
            self.labels("namespace", namespace, filters);
        }
        if let Some(pod) = object.pod() {
            self.optional("k8s.pod.ip", &pod.ip);
            self.optional("k8s.pod.hostname", &pod.hostname);
            if let Some(created) = object.created {
                self.json.field("k8s.pod.start_time", &created.to_string());
            }
            match joined.node.object() {
                Some(node) => {
                    self.identity("node", &node.name, node);
                    if let Some(filters) = &self.profile.node {
                        self.labels("node", node, filters);
                    }
                }
                None => self.optional("k8s.node.name", &pod.node),
            }
        }
        self.owners(object, joined);
    }

    fn identity(&mut self, key: &str, name: &str, of: &Snapshot) {
        self.json.field_of(["k8s.", key, ".name"], name);
        let mut uid = IdBuf::new();
        self.json
            .field_of(["k8s.", key, ".uid"], of.uid.text(&mut uid));
    }

    /// All controllers, up to the second layer, with the labels of those that are held.
    fn owners(&mut self, object: &Snapshot, joined: &Joined) {
        let mut said: Vec<&str> = vec![object.resource.key()];
        let layers = [
            (&joined.replicaset, Resource::Deployment),
            (&joined.job, Resource::CronJob),
        ];
        let direct = object.controllers.iter().map(|owner| (owner, None));
        let above = layers.into_iter().flat_map(|(parent, above)| {
            let parents = parent.object().into_iter();
            let owners = parents.flat_map(|parent| &parent.controllers);
            owners.map(move |owner| (owner, Some(above)))
        });
        for (owner, only) in direct.chain(above) {
            let Some(key) = ecs::owner_key(self.profile, owner) else {
                continue;
            };
            let is_expected = only.is_none_or(|only| only.kind() == owner.kind.as_str());
            if said.contains(&key) || !(is_expected || ecs::is_extra(self.profile, key)) {
                continue;
            }
            said.push(key);
            self.owner(key, owner);
            let is_it = |held: &&Object| held.resource.key() == key && held.name == owner.name;
            if let Some(held) = joined.owners.iter().find(is_it) {
                self.labels(key, held, &self.profile.main);
            }
        }
    }

    fn owner(&mut self, key: &str, owner: &OwnerRef) {
        self.json.field_of(["k8s.", key, ".name"], &owner.name);
        if !owner.uid.is_empty() {
            let mut uid = IdBuf::new();
            self.json
                .field_of(["k8s.", key, ".uid"], owner.uid.text(&mut uid));
        }
    }

    fn labels(&mut self, key: &str, of: &Snapshot, filters: &Filters) {
        let said = filters.labels(&of.labels);
        self.truncated.note(&said, &of.labels);
        self.pairs(key, ".label", &said);
        let said = filters.annotations(&of.annotations);
        self.truncated.note(&said, &of.annotations);
        self.pairs(key, ".annotation", &said);
    }

    fn pairs(&mut self, of: &str, what: &str, said: &Selected<'_>) {
        for (key, value) in said {
            if self.has_v1() {
                self.json.field_of(["k8s.", of, what, ".", key], value);
            }
            if self.has_v0() {
                self.json.field_of(["k8s.", of, what, "s.", key], value);
            }
        }
    }

    fn container(&mut self, container: &Container) {
        self.json.field("k8s.container.name", &container.name);
        let mut buffer = IdBuf::new();
        if let Some((runtime, id)) = split_container_id(container.id.text(&mut buffer)) {
            self.json.field("container.id", id);
            if self.has_v1() {
                self.json.field("container.runtime.name", runtime);
            }
            if self.has_v0() {
                self.json.field("container.runtime", runtime);
            }
        }
        if !self.profile.container_image || container.image.is_empty() {
            return;
        }
        let image = Image::split(&container.image);
        self.json.field("container.image.name", image.name);
        if self.has_v1() {
            self.json.list("container.image.tags", [image.tag]);
        }
        if self.has_v0() {
            self.json.field("container.image.tag", image.tag);
        }
        if let Some(digest) = repo_digest(&container.image_id) {
            self.json.list("container.image.repo_digests", [digest]);
        }
    }

    fn has_v1(&self) -> bool {
        matches!(self.semconv, Semconv::V1 | Semconv::Both)
    }

    fn has_v0(&self) -> bool {
        matches!(self.semconv, Semconv::V0 | Semconv::Both)
    }

    fn optional(&mut self, key: &str, value: &str) {
        if !value.is_empty() {
            self.json.field(key, value);
        }
    }
}
