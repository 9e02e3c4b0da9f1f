//! Documents with the names of Elastic's schema, as Beats' generators write them.

use smallvec::SmallVec;

use super::{Form, Style, Truncated};
use crate::{
    enrich::{
        filter::{self, Filters},
        join::{Join, Joined},
        json::JsonWriter,
        object::{Container, Object, Snapshot, split_container_id},
        profile::{Parity, Profile},
        resource::Resource,
    },
    model::{IdBuf, OwnerRef},
};

/// A controller that is named: its key, and its name. Beats names some `null`.
type Owner<'a> = (&'a str, Option<&'a str>);

/// Bytes of a document with a few labels.
const TYPICAL: usize = 768;

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
    };
    writer.json.open("kubernetes");
    match (object.resource, form) {
        (Resource::Namespace, Form::Object | Form::Container { .. }) => {
            writer.namespace(object, &style.profile.main);
        }
        _ => writer.object(object, form, joined),
    }
    if let Form::Container {
        container,
        named: true,
    } = form
    {
        writer.json.open("container");
        writer.json.field("name", &container.name);
        writer.json.close();
    }
    writer.json.close();
    if let Form::Container { container, .. } = form {
        writer.container(container);
    }
    let cluster = style.cluster;
    if !cluster.name.is_empty() || !cluster.url.is_empty() {
        writer.json.open("orchestrator");
        writer.json.open("cluster");
        writer.optional("name", &cluster.name);
        writer.optional("url", &cluster.url);
        writer.json.close();
        writer.json.close();
    }
    (writer.json.finish(), writer.truncated)
}

struct Writer<'a> {
    json: JsonWriter,
    truncated: Truncated,
    profile: &'a Profile,
}

impl Writer<'_> {
    /// Any object but a namespace in its flat form.
    fn object(&mut self, object: &Snapshot, form: Form<'_>, joined: &Joined) {
        let key = match form {
            Form::StateNamespace => "state_namespace",
            Form::Object | Form::Container { .. } => object.resource.key(),
        };
        let owners = owners(self.profile, object, joined);
        self.json.open(key);
        // A controller of the object's own kind takes the place of its name.
        let same_kind = owners.iter().find(|(owner, _)| *owner == key);
        let name = same_kind.and_then(|(_, name)| *name);
        self.json.field("name", name.unwrap_or(&object.name));
        self.json.field("uid", object.uid.text(&mut IdBuf::new()));
        if let Some(pod) = object.pod() {
            self.optional("ip", &pod.ip);
            if self.profile.pod_ips && pod.addresses().next().is_some() {
                self.json.list("ips", pod.addresses());
            }
        }
        if let Some(node) = object.node()
            && self.profile.parity == Parity::Relay
        {
            self.optional("hostname", &node.hostname);
        }
        self.json.close();
        match (joined.namespace.object(), self.profile.namespace.as_ref()) {
            (Some(namespace), Some(filters)) => self.namespace(namespace, filters),
            _ => self.optional("namespace", &object.namespace),
        }
        if let Some(pod) = object.pod() {
            self.node_of_pod(&pod.node, &joined.node);
        }
        for (owner, name) in owners.iter().filter(|(owner, _)| *owner != key) {
            self.json.open(owner);
            match name {
                Some(name) => self.json.field("name", name),
                None => self.json.raw("name", "null"),
            }
            self.json.close();
        }
        self.labels("labels", "annotations", object, &self.profile.main);
        if let Some(selector) = object.selector() {
            let all = selector.iter().collect();
            filter::write(
                &mut self.json,
                "selectors",
                &all,
                self.profile.main.dedot_labels,
            );
        }
    }

    /// The fields of a namespace, in their flat form.
    fn namespace(&mut self, namespace: &Snapshot, filters: &Filters) {
        self.json.field("namespace", &namespace.name);
        let mut uid = IdBuf::new();
        self.json
            .field("namespace_uid", namespace.uid.text(&mut uid));
        self.labels(
            "namespace_labels",
            "namespace_annotations",
            namespace,
            filters,
        );
    }

    fn node_of_pod(&mut self, name: &str, joined: &Join) {
        let Some(node) = joined.object() else {
            // Beats says an empty name of a pod that is on no node yet.
            if !name.is_empty() || self.profile.parity == Parity::Beats {
                self.json.open("node");
                self.json.field("name", name);
                self.json.close();
            }
            return;
        };
        self.json.open("node");
        self.json.field("name", &node.name);
        self.json.field("uid", node.uid.text(&mut IdBuf::new()));
        if let Some(details) = node.node() {
            self.optional("hostname", &details.hostname);
        }
        if let Some(filters) = &self.profile.node {
            self.labels("labels", "annotations", node, filters);
        }
        self.json.close();
    }

    fn labels(&mut self, labels: &str, annotations: &str, of: &Snapshot, filters: &Filters) {
        let said = filters.labels(&of.labels);
        self.truncated.note(&said, &of.labels);
        filter::write(&mut self.json, labels, &said, filters.dedot_labels);
        let said = filters.annotations(&of.annotations);
        self.truncated.note(&said, &of.annotations);
        filter::write(
            &mut self.json,
            annotations,
            &said,
            filters.dedot_annotations,
        );
    }

    /// What stands next to `kubernetes` in the document of a container.
    fn container(&mut self, container: &Container) {
        let mut buffer = IdBuf::new();
        let id = split_container_id(container.id.text(&mut buffer));
        let image = &*container.image;
        let says_image = self.profile.container_image && !image.is_empty();
        if id.is_none() && !says_image {
            return;
        }
        self.json.open("container");
        if let Some((runtime, id)) = id {
            self.json.field("id", id);
            self.json.field("runtime", runtime);
        }
        if says_image {
            self.json.open("image");
            self.json.field("name", image);
            self.json.close();
        }
        self.json.close();
    }

    fn optional(&mut self, key: &str, value: &str) {
        if !value.is_empty() {
            self.json.field(key, value);
        }
    }
}

/// The controllers that are named, each key once.
fn owners<'a>(
    profile: &'a Profile,
    object: &'a Snapshot,
    joined: &'a Joined,
) -> SmallVec<[Owner<'a>; 4]> {
    let mut owners: SmallVec<[Owner<'a>; 4]> = SmallVec::new();
    let mut add = |key, name| match owners.iter_mut().find(|(known, _)| *known == key) {
        Some(known) => known.1 = name,
        None => owners.push((key, name)),
    };
    for owner in &object.controllers {
        if let Some(key) = owner_key(profile, owner) {
            add(key, Some(&owner.name));
        }
    }
    let layers = [
        (&joined.replicaset, Resource::Deployment),
        (&joined.job, Resource::CronJob),
    ];
    for (parent, above) in layers {
        let (parent, is_asked) = match parent {
            Join::Unasked => (None, false),
            Join::Found(parent) => (Some(parent), true),
            Join::Missing(_) => (None, true),
        };
        let mut is_named = false;
        for owner in parent.into_iter().flat_map(|parent| &parent.controllers) {
            let key = owner_key(profile, owner);
            let is_above = owner.kind.as_str() == above.kind();
            if let Some(key) = key.filter(|key| is_above || is_extra(profile, key)) {
                add(key, Some(&owner.name));
                is_named |= is_above;
            }
        }
        // Beats says `null` of a parent that is not known, or that has no such controller.
        if is_asked && !is_named && profile.parity == Parity::Beats {
            add(above.key(), None);
        }
    }
    owners
}

/// Under which key a controller is named, if it is.
pub(super) fn owner_key<'a>(profile: &'a Profile, owner: &OwnerRef) -> Option<&'a str> {
    let kind = owner.kind.as_str();
    let built_in = Resource::from_kind(kind).filter(|resource| resource.is_owner());
    built_in.map(Resource::key).or_else(|| {
        let mut extra = profile.extra_owner_kinds.iter();
        let setting = extra.find(|extra| extra.kind == kind)?;
        Some(setting.key.as_str())
    })
}

pub(super) fn is_extra(profile: &Profile, key: &str) -> bool {
    profile
        .extra_owner_kinds
        .iter()
        .any(|extra| extra.key == key)
}
