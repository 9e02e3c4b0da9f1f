//! Pods.
//!
//! Invariants: the version text is made of `containerStatuses` alone, of those without id too
//! (protocol 13.0). Containers that have an id are announced: the main ones, then init containers,
//! then ephemeral ones. A status or an entry of `podIPs` that has a wrong type inside costs itself
//! alone; a wrong type elsewhere costs the pod.

use std::{
    iter,
    net::{Ipv4Addr, Ipv6Addr},
};

use serde::de::MapAccess;
use smallvec::SmallVec;

use super::{
    Containers, Decoding, Dropped, ObjectError,
    details::SpecContainers,
    metadata::Metadata,
    object::Partial,
    snapshot::Kept,
    value::{Array, Fields, Object, Objects, Shape, Value, skip},
};
use crate::{
    enrich::object::{self, ContainerRole, Details, PodDetails, Timestamp},
    model::{ContainerId, ContainerMeta, Interner, MAX_ID_LEN, Pod, PodMeta, SharedStr, Uid},
    source::inet::inet_addr,
};

/// A pod, as it was read.
#[derive(Clone, Debug, Default)]
pub struct PartialPod<'de> {
    metadata: Metadata<'de>,
    spec: Spec<'de>,
    status: Status<'de>,
    /// `spec` or `status` has another type.
    wrong: bool,
}

#[derive(Clone, Debug, Default)]
struct Spec<'de> {
    host_network: Value<'de>,
    /// Enrichment keeps what follows.
    is_kept: bool,
    node: Value<'de>,
    hostname: Value<'de>,
    containers: [SpecContainers<'de>; 3],
}

#[derive(Clone, Debug, Default)]
struct Status<'de> {
    which: Containers,
    /// Enrichment keeps all containers, the phase and the time of the start.
    is_kept: bool,
    phase: Value<'de>,
    started: Value<'de>,
    pod_ip: Value<'de>,
    pod_ips: Addresses<'de>,
    main: Statuses<'de>,
    init: Statuses<'de>,
    ephemeral: Statuses<'de>,
    /// `podIPs` or a list of containers has another type.
    wrong: bool,
}

/// `status.podIPs`.
#[derive(Clone, Debug, Default)]
struct Addresses<'de> {
    ipv4: Option<Ipv4Addr>,
    /// Two of them are usual.
    all: SmallVec<[Value<'de>; 2]>,
    wrong: u32,
}

#[derive(Clone, Debug, Default)]
struct Address<'de> {
    ip: Value<'de>,
}

/// A list of container statuses.
#[derive(Clone, Debug, Default)]
struct Statuses<'de> {
    containers: SmallVec<[Container<'de>; 2]>,
    wrong: u32,
    too_many: bool,
}

#[derive(Clone, Debug, Default)]
struct Container<'de> {
    id: Value<'de>,
    name: Value<'de>,
    image: Value<'de>,
    image_id: Value<'de>,
}

/// More in one list are no pod's; it bounds what a partial takes.
const MAX_CONTAINERS: usize = 8192;

/// A pod has one of each family; it bounds what a partial takes.
const MAX_ADDRESSES: usize = 64;

impl<'de> Partial<'de> for PartialPod<'de> {
    type Object = PodMeta;

    fn new(decoding: &Decoding) -> Self {
        let mut partial = Self::default();
        partial.status.which = decoding.containers;
        partial.metadata = Metadata::keeping(decoding.keep.clone());
        let is_kept = decoding
            .keep
            .as_ref()
            .is_some_and(|keep| keep.needs.details);
        (partial.spec.is_kept, partial.status.is_kept) = (is_kept, is_kept);
        partial
    }

    fn metadata(&mut self) -> &mut Metadata<'de> {
        &mut self.metadata
    }

    fn finish(&self, texts: &mut Interner, dropped: &mut Dropped) -> Result<PodMeta, ObjectError> {
        let Self {
            metadata,
            spec,
            status,
            wrong,
        } = self;
        let uid = metadata.uid()?;
        let host_network = spec.host_network.switch();
        let (Some(host_network), Some(ip), false) =
            (host_network, status.pod_ip.text(), *wrong || status.wrong)
        else {
            return Err(ObjectError::WrongType);
        };
        let owner = metadata.controller(texts)?;
        let (name, namespace) = (metadata.name()?, metadata.namespace()?);
        let (containers, auxiliary) = status.announced(texts, dropped)?;
        Ok(PodMeta::new(Pod {
            uid,
            name: SharedStr::from(name),
            namespace: texts.text(namespace),
            version: status.main.version(texts),
            owner,
            address: status.pod_ips.address(ip, dropped),
            host_network,
            containers,
            auxiliary,
        }))
    }

    fn bare(uid: Uid) -> PodMeta {
        PodMeta::new(Pod {
            uid,
            name: SharedStr::default(),
            namespace: SharedStr::default(),
            version: SharedStr::default(),
            owner: None,
            address: None,
            host_network: false,
            containers: Box::default(),
            auxiliary: 0,
        })
    }
}

impl Kept<PodMeta> for PartialPod<'_> {
    fn snapshot(
        &self,
        core: &PodMeta,
        texts: &mut Interner,
    ) -> Result<Option<object::Object>, ObjectError> {
        self.object(Some(core), texts)
    }
}

impl PartialPod<'_> {
    /// What enrichment keeps; its name is that of `core`, if there is one.
    pub(super) fn object(
        &self,
        core: Option<&PodMeta>,
        texts: &mut Interner,
    ) -> Result<Option<object::Object>, ObjectError> {
        let Some(keep) = self.metadata.keep() else {
            return Ok(None);
        };
        let name = match core {
            Some(core) => core.name.clone(),
            None => SharedStr::from(self.metadata.name()?),
        };
        let details = match keep.needs.details {
            true => Details::Pod(Box::new(self.details(keep.needs.otel, texts))),
            false => Details::None,
        };
        let object = self.metadata.snapshot(keep, name, details, texts)?;
        Ok(Some(object))
    }

    /// `otel`: with what only documents of that schema say.
    fn details(&self, otel: bool, texts: &mut Interner) -> PodDetails {
        let Self { spec, status, .. } = self;
        let roles = [
            (ContainerRole::Regular, &status.main),
            (ContainerRole::Init, &status.init),
            (ContainerRole::Ephemeral, &status.ephemeral),
        ];
        let mut containers = Vec::new();
        for (list, (role, statuses)) in spec.containers.iter().zip(roles) {
            containers.extend(list.0.iter().map(|container| {
                let name = container.name.any_text();
                let status = statuses.find(name);
                let id = status.map_or("", |status| status.id.any_text());
                let image_id = status.filter(|_| otel);
                object::Container {
                    name: texts.text(name),
                    image: texts.text(container.image.any_text()),
                    id: ContainerId::new(if id.len() <= MAX_ID_LEN { id } else { "" }),
                    image_id: texts.text(image_id.map_or("", |status| status.image_id.any_text())),
                    role,
                    limits: container.limits(),
                }
            }));
        }
        let ip = SharedStr::from(status.pod_ip.any_text());
        let others = status.pod_ips.all.iter().map(Value::any_text);
        let share = |other: &str| match *other == *ip {
            true => ip.clone(),
            false => SharedStr::from(other),
        };
        PodDetails {
            node: texts.text(spec.node.any_text()),
            hostname: match otel {
                true => SharedStr::from(spec.hostname.any_text()),
                false => SharedStr::default(),
            },
            host_network: spec.host_network.switch() == Some(true),
            ips: others.map(share).collect(),
            ip,
            finished: matches!(status.phase.any_text(), "Succeeded" | "Failed"),
            started: Timestamp::parse(status.started.any_text()),
            containers: containers.into(),
        }
    }
}

impl Status<'_> {
    /// The containers to announce, in their order, and how many at their end are not main ones.
    fn announced(
        &self,
        texts: &mut Interner,
        dropped: &mut Dropped,
    ) -> Result<(Box<[ContainerMeta]>, u16), ObjectError> {
        let all = [&self.main, &self.init, &self.ephemeral];
        let lists = match self.which {
            Containers::All => &all[..],
            Containers::Main => &all[..1],
        };
        if lists.iter().any(|list| list.too_many) {
            return Err(ObjectError::TooLarge);
        }
        for _ in 0..lists.iter().map(|list| list.wrong).sum() {
            dropped.count(ObjectError::ContainerWrongType);
        }
        let mut announced: SmallVec<[ContainerMeta; 4]> = SmallVec::new();
        let mut auxiliary = 0;
        for (nth, list) in lists.iter().enumerate() {
            for container in &list.containers {
                let [id, name, image] = container.texts().unwrap_or_default();
                match id.len() {
                    0 => {}
                    1..=MAX_ID_LEN => {
                        // Two lists of at most `MAX_CONTAINERS` fit.
                        auxiliary += u16::from(nth > 0);
                        announced.push(ContainerMeta {
                            id: ContainerId::new(id),
                            name: texts.text(name),
                            image: texts.text(image),
                        });
                    }
                    _ => dropped.count(ObjectError::ContainerIdTooLong),
                }
            }
        }
        Ok((announced.into_iter().collect(), auxiliary))
    }
}

impl Statuses<'_> {
    fn find(&self, name: &str) -> Option<&Container<'_>> {
        let mut all = self.containers.iter();
        all.find(|container| container.name.text() == Some(name))
    }

    /// The images, each in single quotes, in the order of their bytes, with commas between.
    fn version(&self, texts: &mut Interner) -> SharedStr {
        let images = self.containers.iter().filter_map(Container::texts);
        let mut images: SmallVec<[&str; 4]> = images.map(|[.., image]| image).collect();
        images.sort_unstable_by(|a, b| quoted(a).cmp(quoted(b)));
        let mut version: SmallVec<[u8; 256]> = SmallVec::new();
        for image in images {
            if !version.is_empty() {
                version.push(b',');
            }
            version.push(b'\'');
            version.extend_from_slice(image.as_bytes());
            version.push(b'\'');
        }
        texts.text(str::from_utf8(&version).unwrap_or_default())
    }
}

/// The bytes of an image from behind its opening quote on.
fn quoted(image: &str) -> impl Iterator<Item = u8> {
    image.bytes().chain(iter::once(b'\''))
}

impl Container<'_> {
    /// Id, name and image, unless one has a wrong type.
    fn texts(&self) -> Option<[&str; 3]> {
        let [Some(id), Some(name), Some(image)] =
            [&self.id, &self.name, &self.image].map(Value::text)
        else {
            return None;
        };
        Some([id, name, image])
    }
}

impl Addresses<'_> {
    /// The address of a pod whose `podIP` this is: the wire carries only IPv4.
    fn address(&self, pod_ip: &str, dropped: &mut Dropped) -> Option<Ipv4Addr> {
        for _ in 0..self.wrong {
            dropped.count(ObjectError::AddressWrongType);
        }
        match (pod_ip, self.ipv4) {
            ("", _) => None,
            (text, Some(ipv4)) if text.parse::<Ipv6Addr>().is_ok() => Some(ipv4),
            (text, _) => Some(inet_addr(text)),
        }
    }
}

impl<'de> Fields<'de> for PartialPod<'de> {
    fn field<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        let shape = match key {
            "metadata" => return self.metadata.of(map),
            "spec" => map.next_value_seed(Object(&mut self.spec))?,
            "status" => map.next_value_seed(Object(&mut self.status))?,
            _ => return skip(map),
        };
        self.wrong |= shape.is_wrong();
        Ok(())
    }
}

impl<'de> Fields<'de> for Spec<'de> {
    fn field<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        let [regular, init, ephemeral] = &mut self.containers;
        match key {
            "hostNetwork" => self.host_network = map.next_value()?,
            _ if !self.is_kept => skip(map)?,
            "nodeName" => self.node = map.next_value()?,
            "hostname" => self.hostname = map.next_value()?,
            "containers" => regular.read(map)?,
            "initContainers" => init.read(map)?,
            "ephemeralContainers" => ephemeral.read(map)?,
            _ => skip(map)?,
        }
        Ok(())
    }
}

impl<'de> Fields<'de> for Status<'de> {
    fn field<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        let shape = match key {
            "initContainerStatuses" | "ephemeralContainerStatuses"
                if self.which == Containers::Main && !self.is_kept =>
            {
                return skip(map);
            }
            "phase" if self.is_kept => {
                self.phase = map.next_value()?;
                return Ok(());
            }
            "startTime" if self.is_kept => {
                self.started = map.next_value()?;
                return Ok(());
            }
            "podIP" => {
                self.pod_ip = map.next_value()?;
                return Ok(());
            }
            "podIPs" => {
                self.pod_ips = Addresses::default();
                map.next_value_seed(Array(&mut self.pod_ips))?
            }
            "containerStatuses" => self.main.read(map)?,
            "initContainerStatuses" => self.init.read(map)?,
            "ephemeralContainerStatuses" => self.ephemeral.read(map)?,
            _ => return skip(map),
        };
        self.wrong |= shape.is_wrong();
        Ok(())
    }
}

impl<'de> Statuses<'de> {
    fn read<A: MapAccess<'de>>(&mut self, map: &mut A) -> Result<Shape, A::Error> {
        *self = Self::default();
        map.next_value_seed(Array(self))
    }
}

impl<'de> Objects<'de> for Statuses<'de> {
    type Object = Container<'de>;

    fn add(&mut self, container: Container<'de>, shape: Shape) {
        if shape.is_wrong() || container.texts().is_none() {
            self.wrong = self.wrong.saturating_add(1);
        } else if self.containers.len() < MAX_CONTAINERS {
            self.containers.push(container);
        } else {
            self.too_many = true;
        }
    }
}

impl<'de> Fields<'de> for Container<'de> {
    fn field<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "containerID" => self.id = map.next_value()?,
            "name" => self.name = map.next_value()?,
            "image" => self.image = map.next_value()?,
            "imageID" => self.image_id = map.next_value()?,
            _ => skip(map)?,
        }
        Ok(())
    }
}

impl<'de> Objects<'de> for Addresses<'de> {
    type Object = Address<'de>;

    fn add(&mut self, address: Address<'de>, shape: Shape) {
        match address.ip.text() {
            Some(ip) if !shape.is_wrong() => {
                self.ipv4 = self.ipv4.or_else(|| ip.parse().ok());
                if self.all.len() < MAX_ADDRESSES {
                    self.all.push(address.ip);
                }
            }
            Some(_) | None => self.wrong = self.wrong.saturating_add(1),
        }
    }
}

impl<'de> Fields<'de> for Address<'de> {
    fn field<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "ip" => self.ip = map.next_value()?,
            _ => skip(map)?,
        }
        Ok(())
    }
}
