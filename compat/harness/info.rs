//! Infos as people write them: protobuf's JSON form, as far as recordings and cases use it.

use anyhow::{Context as _, Result};
use bytes::Bytes;
use k8s_relay::proto::{self, info::Event, info::Type};

use serde::Deserialize;

/// The bytes that are written as hex digits.
pub fn unhex(digits: &str) -> Result<Bytes> {
    let byte = |pair: &[u8]| {
        let pair = str::from_utf8(pair).ok().filter(|pair| pair.len() == 2);
        pair.and_then(|pair| u8::from_str_radix(pair, 16).ok())
    };
    let bytes: Option<Bytes> = digits.as_bytes().chunks(2).map(byte).collect();
    bytes.with_context(|| format!("no pairs of hex digits: {digits:?}"))
}

/// An Info of a recording.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InfoJson {
    pub stream: Option<String>,
    pub raw_hex: Option<String>,
    r#type: Code,
    event: Code,
    pod_info: Option<PodJson>,
    rs_info: Option<ControlledJson>,
    job_info: Option<ControlledJson>,
}

/// An enum value: its name or its number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Code {
    Name(String),
    Number(i32),
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PodJson {
    uid: String,
    ip: String,
    owner: Option<OwnerJson>,
    #[serde(alias = "namespace")]
    ns: String,
    is_host_network: bool,
    name: String,
    containers_ids: Vec<String>,
    version: String,
    #[serde(alias = "containers")]
    container_infos: Vec<ContainerJson>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ControlledJson {
    uid: String,
    owner: Option<OwnerJson>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct OwnerJson {
    uid: String,
    name: String,
    kind: String,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ContainerJson {
    id: String,
    name: String,
    image: String,
}

impl Default for Code {
    fn default() -> Self {
        Self::Number(0)
    }
}

impl Code {
    fn number(&self, of: impl Fn(&str) -> Option<i32>) -> Result<i32> {
        match self {
            Self::Name(name) => of(name).with_context(|| format!("no such value: {name}")),
            Self::Number(number) => Ok(*number),
        }
    }
}

impl InfoJson {
    /// What it says.
    pub fn info(self) -> Result<proto::Info> {
        let type_of = |name: &str| Type::from_str_name(name).map(Into::into);
        let event_of = |name: &str| Event::from_str_name(name).map(Into::into);
        Ok(proto::Info {
            r#type: self.r#type.number(type_of)?,
            event: self.event.number(event_of)?,
            pod_info: self.pod_info.map(Into::into),
            rs_info: self.rs_info.map(Into::into),
            job_info: self.job_info.map(Into::into),
        })
    }
}

impl From<ControlledJson> for proto::ReplicaSetInfo {
    fn from(set: ControlledJson) -> Self {
        Self {
            uid: set.uid,
            owner: set.owner.map(Into::into),
        }
    }
}

impl From<ControlledJson> for proto::JobInfo {
    fn from(job: ControlledJson) -> Self {
        Self {
            uid: job.uid,
            owner: job.owner.map(Into::into),
        }
    }
}

impl From<PodJson> for proto::PodInfo {
    fn from(pod: PodJson) -> Self {
        Self {
            uid: pod.uid,
            ip: pod.ip,
            owner: pod.owner.map(Into::into),
            ns: pod.ns,
            is_host_network: pod.is_host_network,
            name: pod.name,
            containers_ids: pod.containers_ids,
            version: pod.version,
            container_infos: pod.container_infos.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<OwnerJson> for proto::OwnerInfo {
    fn from(owner: OwnerJson) -> Self {
        Self {
            uid: owner.uid,
            name: owner.name,
            kind: owner.kind,
        }
    }
}

impl From<ContainerJson> for proto::ContainerInfo {
    fn from(container: ContainerJson) -> Self {
        Self {
            id: container.id,
            name: container.name,
            image: container.image,
        }
    }
}
