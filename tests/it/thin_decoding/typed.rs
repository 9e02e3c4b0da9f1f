//! The same pod, thin and as `k8s_openapi` has it: the second opinion.

use std::{collections::BTreeMap, net::Ipv4Addr};

use k8s_openapi::{
    api::core::v1::{ContainerStatus, Pod, PodIP, PodSpec, PodStatus},
    apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta, OwnerReference},
};
use k8s_relay::model::PodMeta;
use proptest::{collection::vec, option, prelude::*};

use super::containers;

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z0-9:/.-]{0,12}", ".{0,6}"]
}

fn ip() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        any::<Ipv4Addr>().prop_map(|ip| ip.to_string()),
        Just("fd00::17".to_owned()),
    ]
}

prop_compose! {
    fn reference()(
        uid in text(), name in text(), controller in option::of(any::<bool>()),
        kind in prop_oneof!["ReplicaSet|Deployment|Job|CronJob|NoOwner|DaemonSet", text()],
        api_version in prop_oneof!["apps/v1|batch/v1|v1|example.com/v1", text()],
    ) -> OwnerReference {
        OwnerReference { api_version, block_owner_deletion: None, controller, kind, name, uid }
    }
}

prop_compose! {
    fn metadata()(
        uid in "[a-f0-9-]{1,36}", name in option::of(text()), namespace in option::of(text()),
        version in "[1-9][0-9]{0,9}", owner_references in option::of(vec(reference(), 0..4)),
        labels in option::of(vec((text(), text()), 0..4)), manager in option::of(text()),
    ) -> ObjectMeta {
        ObjectMeta {
            uid: Some(uid), name, namespace, resource_version: Some(version), owner_references,
            labels: labels.map(BTreeMap::from_iter),
            managed_fields: Some(vec![ManagedFieldsEntry { manager, ..Default::default() }]),
            ..Default::default()
        }
    }
}

prop_compose! {
    fn status_of_a_container()(id in option::of(text()), name in text(), image in text(), ready in any::<bool>()) -> ContainerStatus {
        ContainerStatus { container_id: id, name, image, ready, ..Default::default() }
    }
}

prop_compose! {
    fn status()(
        pod_ip in option::of(ip()), pod_ips in option::of(vec(ip(), 0..3)),
        main in option::of(vec(status_of_a_container(), 0..4)),
        init in option::of(vec(status_of_a_container(), 0..3)),
        ephemeral in option::of(vec(status_of_a_container(), 0..3)),
    ) -> PodStatus {
        PodStatus {
            pod_ip,
            pod_ips: pod_ips.map(|ips| ips.into_iter().map(|ip| PodIP { ip }).collect()),
            container_statuses: main, init_container_statuses: init, ephemeral_container_statuses: ephemeral,
            phase: Some("Running".into()),
            ..Default::default()
        }
    }
}

prop_compose! {
    fn pod()(metadata in metadata(), status in option::of(status()), host_network in option::of(option::of(any::<bool>()))) -> Pod {
        let spec = host_network.map(|host_network| PodSpec { host_network, ..Default::default() });
        Pod { metadata, spec, status }
    }
}

/// What a pod is, read from the thin form and from the typed one.
#[derive(Debug, PartialEq)]
struct Facts {
    texts: [String; 4],
    owner: Option<(String, String, String, bool)>,
    address: Option<Ipv4Addr>,
    host_network: bool,
    containers: Vec<String>,
}

fn of_thin(pod: &PodMeta) -> Facts {
    let owner = pod.owner.as_ref().map(|owner| {
        (
            owner.uid.to_string(),
            owner.name.to_string(),
            owner.kind.as_str().to_owned(),
            owner.custom,
        )
    });
    Facts {
        texts: [
            pod.uid.to_string(),
            pod.name.to_string(),
            pod.namespace.to_string(),
            pod.version.to_string(),
        ],
        owner,
        address: pod.address,
        host_network: pod.host_network,
        containers: containers(pod),
    }
}

fn of_typed(pod: &Pod) -> Facts {
    let (meta, status) = (pod.metadata.clone(), pod.status.clone().unwrap_or_default());
    let main = status.container_statuses.unwrap_or_default();
    let mut images: Vec<String> = main
        .iter()
        .map(|status| format!("'{}'", status.image))
        .collect();
    images.sort();
    let references = meta.owner_references.unwrap_or_default();
    let owner = references
        .into_iter()
        .find(|owner| owner.controller == Some(true));
    let owner = owner.map(|owner| {
        let (group, _) = owner.api_version.split_once('/').unwrap_or_default();
        let custom = match &*owner.kind {
            "ReplicaSet" | "Deployment" => group != "apps",
            "Job" | "CronJob" => group != "batch",
            _ => false,
        };
        (owner.uid, owner.name, owner.kind, custom)
    });
    let ips = status.pod_ips.unwrap_or_default();
    let address = match status.pod_ip.unwrap_or_default() {
        ip if ip.is_empty() => None,
        ip => {
            let of_many = ips.iter().find_map(|ip| ip.ip.parse().ok());
            Some(ip.parse().ok().or(of_many).unwrap_or(Ipv4Addr::BROADCAST))
        }
    };
    let others = [
        status.init_container_statuses,
        status.ephemeral_container_statuses,
    ];
    let all = main
        .into_iter()
        .chain(others.into_iter().flatten().flatten());
    let containers = all.filter_map(|status| {
        let id = status.container_id.filter(|id| !id.is_empty())?;
        Some(format!("{id} {} {}", status.name, status.image))
    });
    let text = |text: Option<String>| text.unwrap_or_default();
    Facts {
        texts: [
            text(meta.uid),
            text(meta.name),
            text(meta.namespace),
            images.join(","),
        ],
        owner,
        address,
        host_network: pod
            .spec
            .as_ref()
            .and_then(|spec| spec.host_network)
            .unwrap_or(false),
        containers: containers.collect(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_thin_pod_is_what_the_whole_one_says(pod in pod()) {
        let thin = super::pod(&serde_json::to_value(&pod).unwrap()).unwrap();
        prop_assert_eq!(of_thin(&thin), of_typed(&pod));
    }
}
