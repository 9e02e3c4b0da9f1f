//! The digest is the same number in every language: `compat/digest.json` holds ours, and the Go
//! one of `compat/cluster`, to the same values.

use std::{collections::BTreeMap, fs};

use k8s_relay::{
    digest::{Digest, PodHasher},
    wire::messages::PodNewWithName,
};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    name: String,
    digest: String,
    pods: Vec<Pod>,
}

/// A pod as `k8s-relay reducer` shows it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pod {
    pod: String,
    ip: String,
    owner_kind: u8,
    is_host_network: u8,
    owner_name: String,
    owner_uid: String,
    pod_name: String,
    ns: String,
    version: String,
    containers: Vec<Container>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Container {
    id: String,
    name: String,
    image: String,
}

#[test]
fn the_digest_is_the_same_in_both_languages() {
    let text = fs::read("compat/digest.json").unwrap();
    let vectors: Vec<Vector> = serde_json::from_slice(&text).unwrap();
    let (mut found, mut expected) = (BTreeMap::new(), BTreeMap::new());
    for vector in &vectors {
        let mut digest = Digest::default();
        for pod in &vector.pods {
            let containers = pod.containers.iter();
            let parts = containers.map(|c| [&c.id, &c.name, &c.image].map(|text| text.as_bytes()));
            digest += PodHasher::default().hash(&sent(pod), parts);
        }
        found.insert(&vector.name, digest.to_string());
        expected.insert(&vector.name, vector.digest.clone());
    }
    assert_eq!(found, expected);
    assert!(found.len() > 10, "each name stands once");
}

fn sent(pod: &Pod) -> PodNewWithName<'_> {
    PodNewWithName {
        ip: pod.ip.parse().unwrap(),
        owner_kind: pod.owner_kind,
        is_host_network: pod.is_host_network,
        uid: pod.pod.as_bytes(),
        owner_name: pod.owner_name.as_bytes(),
        pod_name: pod.pod_name.as_bytes(),
        owner_uid: pod.owner_uid.as_bytes(),
        ns: pod.ns.as_bytes(),
        version: pod.version.as_bytes(),
    }
}
