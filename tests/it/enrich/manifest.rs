//! Objects from manifests, as a watch would decode them.

use k8s_relay::{
    enrich::{
        object::{
            Amounts, Container, ContainerRole, Details, NodeDetails, Object, PairLimits, Pairs,
            PodDetails, Snapshot, Timestamp,
        },
        quantity,
        resource::Resource,
    },
    model::{ContainerId, Controller, Interner, OwnerKind, OwnerRef, Seed, SharedStr, Uid},
};
use serde_json::Value;

/// The object of a manifest.
pub(super) fn object(manifest: &Value) -> Object {
    let resource = Resource::from_kind(text(&manifest["kind"])).expect("a kind");
    let metadata = &manifest["metadata"];
    let owners = list(&metadata["ownerReferences"]);
    let controllers = owners.filter(|owner| owner["controller"] == true);
    Object::new(Snapshot {
        resource,
        uid: Uid::new(text(&metadata["uid"])),
        name: text(&metadata["name"]).into(),
        namespace: text(&metadata["namespace"]).into(),
        resource_version: text(&metadata["resourceVersion"]).into(),
        created: Timestamp::parse(text(&metadata["creationTimestamp"])),
        labels: pairs(&metadata["labels"], PairLimits::LABELS),
        annotations: pairs(&metadata["annotations"], PairLimits::ANNOTATIONS),
        controllers: controllers.map(owner).collect(),
        details: match resource {
            Resource::Pod => Details::Pod(Box::new(pod(&manifest["spec"], &manifest["status"]))),
            Resource::Node => Details::Node(node(&manifest["status"])),
            Resource::Service => {
                Details::Service(pairs(&manifest["spec"]["selector"], PairLimits::LABELS))
            }
            _ => Details::None,
        },
    })
}

fn owner(reference: &Value) -> OwnerRef {
    let mut texts = Interner::new(Seed::FIXED);
    OwnerRef::new(Controller {
        uid: Uid::new(text(&reference["uid"])),
        name: text(&reference["name"]).into(),
        kind: OwnerKind::parse(text(&reference["kind"]), &mut texts),
        custom: false,
    })
}

fn pod(spec: &Value, status: &Value) -> PodDetails {
    let lists = [
        ("containers", "containerStatuses", ContainerRole::Regular),
        (
            "initContainers",
            "initContainerStatuses",
            ContainerRole::Init,
        ),
        (
            "ephemeralContainers",
            "ephemeralContainerStatuses",
            ContainerRole::Ephemeral,
        ),
    ];
    let containers = lists.into_iter().flat_map(|(spec_key, status_key, role)| {
        list(&spec[spec_key]).map(move |container| {
            let same = |of: &&Value| of["name"] == container["name"];
            let status = list(&status[status_key]).find(same);
            let of_status = |key: &str| status.map_or("", |status| text(&status[key]));
            Container {
                name: text(&container["name"]).into(),
                image: text(&container["image"]).into(),
                id: ContainerId::new(of_status("containerID")),
                image_id: of_status("imageID").into(),
                role,
                limits: amounts(&container["resources"]["limits"]),
            }
        })
    });
    PodDetails {
        node: text(&spec["nodeName"]).into(),
        hostname: text(&spec["hostname"]).into(),
        host_network: spec["hostNetwork"] == true,
        ip: text(&status["podIP"]).into(),
        ips: list(&status["podIPs"])
            .map(|ip| text(&ip["ip"]).into())
            .collect(),
        finished: ["Succeeded", "Failed"].contains(&text(&status["phase"])),
        started: Timestamp::parse(text(&status["startTime"])),
        containers: containers.collect(),
    }
}

fn node(status: &Value) -> NodeDetails {
    let hostname = list(&status["addresses"]).find(|address| address["type"] == "Hostname");
    NodeDetails {
        hostname: hostname
            .map_or("", |address| text(&address["address"]))
            .into(),
        allocatable: amounts(&status["allocatable"]),
    }
}

fn amounts(of: &Value) -> Amounts {
    Amounts {
        cores: quantity::parse(text(&of["cpu"])),
        bytes: quantity::parse(text(&of["memory"])),
    }
}

fn pairs(map: &Value, limits: PairLimits) -> Pairs {
    let members = map.as_object().into_iter().flatten();
    let texts = members.map(|(key, value)| (SharedStr::from(key.as_str()), text(value).into()));
    Pairs::new(texts, limits)
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
