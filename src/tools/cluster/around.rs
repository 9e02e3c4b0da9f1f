//! What a cluster has around its pods: nodes, namespaces, and the owners of owners.

use std::collections::BTreeMap;

use serde_json::json;

use crate::{
    enrich::resource::Resource,
    model::{Kind, KindTable},
    sim::kube::{Meta, Object, Raw, store::Store},
};

/// Adds the nodes, namespaces, Deployments and CronJobs that pods, ReplicaSets and Jobs name.
/// Which there are does not change while pods come and go.
pub(super) fn furnish(store: &mut Store) {
    let kinds = store.kinds().clone();
    let mut found = Found::default();
    for kind in Kind::MATCHED {
        for (_, stored) in store.all(kind) {
            found.look_at(&stored.object);
        }
    }
    for (uid, (name, zone)) in found.nodes {
        let node = json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": name,
                "uid": uid,
                "labels": { "topology.kubernetes.io/zone": zone },
            },
            "status": {
                "addresses": [{ "type": "Hostname", "address": format!("{name}.example") }],
                "allocatable": { "cpu": "7500m", "memory": "30Gi" },
            },
        });
        put(store, &kinds, Resource::Node, |kind| {
            Object::Manifest(Raw {
                kind,
                namespace: "".into(),
                name,
                json: node,
            })
        });
    }
    for (name, uid) in found.namespaces {
        let meta = Meta::new("", &name, &uid).label("kubernetes.io/metadata.name", &name);
        put(store, &kinds, Resource::Namespace, |kind| {
            Object::Plain(kind, meta)
        });
    }
    for (uid, (resource, namespace, name)) in found.owners {
        let meta = Meta::new(&namespace, &name, &uid).label("app", &name);
        put(store, &kinds, resource, |kind| Object::Plain(kind, meta));
    }
}

/// What objects name, in an order that is the same in every run.
#[derive(Default)]
struct Found {
    /// By uid: name and zone.
    nodes: BTreeMap<String, (String, String)>,
    /// By name: the uid.
    namespaces: BTreeMap<String, String>,
    /// By uid: kind, namespace and name.
    owners: BTreeMap<String, (Resource, String, String)>,
}

impl Found {
    fn look_at(&mut self, object: &Object) {
        let namespace = object.namespace().to_owned();
        let of_namespace = format!("uid-of-{namespace}");
        self.namespaces
            .entry(namespace.clone())
            .or_insert(of_namespace);
        if let Some(pod) = object.pod() {
            let (name, zone) = (
                format!("node-{}", pod.node),
                format!("zone-{}", pod.node % 3),
            );
            self.nodes.insert(format!("uid-of-{name}"), (name, zone));
        }
        let owners = object.meta().map(|meta| meta.owners.as_slice());
        for owner in owners.unwrap_or_default() {
            if let Some(resource) = Resource::from_kind(&owner.kind)
                && !matches!(resource, Resource::ReplicaSet | Resource::Job)
            {
                let row = (resource, namespace.clone(), owner.name.clone());
                self.owners.insert(owner.uid.clone(), row);
            }
        }
    }
}

fn put(
    store: &mut Store,
    kinds: &KindTable,
    resource: Resource,
    object: impl FnOnce(Kind) -> Object,
) {
    if let Some(kind) = resource.find(kinds) {
        store.apply(object(kind));
    }
}
