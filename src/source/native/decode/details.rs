//! What enrichment keeps of `spec` and `status`. Nothing in here makes an object unusable: what
//! has a wrong type is as good as absent.

use serde::de::MapAccess;

use super::{
    keep::KeptPairs,
    value::{Array, Fields, Object, Objects, Shape, Value, skip},
};
use crate::enrich::{object::Amounts, quantity};

/// `resources.limits` or `allocatable`.
#[derive(Clone, Debug, Default)]
pub(super) struct PartialAmounts<'de> {
    cpu: Value<'de>,
    memory: Value<'de>,
}

/// The containers of one list of a pod's spec.
#[derive(Clone, Debug, Default)]
pub(super) struct SpecContainers<'de>(pub(super) Vec<SpecContainer<'de>>);

/// A container of a pod's spec.
#[derive(Clone, Debug, Default)]
pub(super) struct SpecContainer<'de> {
    pub(super) name: Value<'de>,
    pub(super) image: Value<'de>,
    resources: Resources<'de>,
}

#[derive(Clone, Debug, Default)]
struct Resources<'de> {
    limits: PartialAmounts<'de>,
}

/// `status` of a node.
#[derive(Clone, Debug, Default)]
pub(super) struct NodeStatus<'de> {
    addresses: NodeAddresses<'de>,
    pub(super) allocatable: PartialAmounts<'de>,
}

/// `status.addresses`: the first of type `Hostname`.
#[derive(Clone, Debug, Default)]
struct NodeAddresses<'de> {
    hostname: Option<Value<'de>>,
}

#[derive(Clone, Debug, Default)]
struct NodeAddress<'de> {
    sort: Value<'de>,
    address: Value<'de>,
}

/// `spec` of a service.
#[derive(Clone, Debug)]
pub(super) struct ServiceSpec<'de> {
    pub(super) selector: KeptPairs<'de>,
}

/// More in one list are no pod's; it bounds what a partial takes.
const MAX_CONTAINERS: usize = 8192;

impl PartialAmounts<'_> {
    pub(super) fn amounts(&self) -> Amounts {
        let read = |value: &Value<'_>| match value {
            Value::Text(text) => quantity::parse(text),
            Value::Number(number) => quantity::parse(&number.to_string()),
            Value::Null | Value::Bool(_) | Value::Other => None,
        };
        Amounts {
            cores: read(&self.cpu),
            bytes: read(&self.memory),
        }
    }
}

impl SpecContainer<'_> {
    pub(super) fn limits(&self) -> Amounts {
        self.resources.limits.amounts()
    }
}

impl<'de> SpecContainers<'de> {
    /// Reads the list.
    pub(super) fn read<A: MapAccess<'de>>(&mut self, map: &mut A) -> Result<(), A::Error> {
        self.0.clear();
        map.next_value_seed(Array(self)).map(drop)
    }
}

impl NodeStatus<'_> {
    /// The host name; empty if there is none.
    pub(super) fn hostname(&self) -> &str {
        let hostname = self.addresses.hostname.as_ref();
        hostname.map_or("", Value::any_text)
    }
}

impl Default for ServiceSpec<'_> {
    fn default() -> Self {
        Self {
            selector: KeptPairs::all(),
        }
    }
}

impl<'de> Fields<'de> for PartialAmounts<'de> {
    fn field<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "cpu" => self.cpu = map.next_value()?,
            "memory" => self.memory = map.next_value()?,
            _ => skip(map)?,
        }
        Ok(())
    }
}

impl<'de> Objects<'de> for SpecContainers<'de> {
    type Object = SpecContainer<'de>;

    fn add(&mut self, container: SpecContainer<'de>, shape: Shape) {
        if shape == Shape::Fits && self.0.len() < MAX_CONTAINERS {
            self.0.push(container);
        }
    }
}

impl<'de> Fields<'de> for SpecContainer<'de> {
    fn field<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "name" => self.name = map.next_value()?,
            "image" => self.image = map.next_value()?,
            "resources" => drop(map.next_value_seed(Object(&mut self.resources))?),
            _ => skip(map)?,
        }
        Ok(())
    }
}

impl<'de> Fields<'de> for Resources<'de> {
    fn field<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "limits" => map.next_value_seed(Object(&mut self.limits)).map(drop),
            _ => skip(map),
        }
    }
}

impl<'de> Fields<'de> for NodeStatus<'de> {
    fn field<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "addresses" => {
                self.addresses = NodeAddresses::default();
                map.next_value_seed(Array(&mut self.addresses)).map(drop)
            }
            "allocatable" => map.next_value_seed(Object(&mut self.allocatable)).map(drop),
            _ => skip(map),
        }
    }
}

impl<'de> Objects<'de> for NodeAddresses<'de> {
    type Object = NodeAddress<'de>;

    fn add(&mut self, address: NodeAddress<'de>, _: Shape) {
        if self.hostname.is_none() && address.sort.text() == Some("Hostname") {
            self.hostname = Some(address.address);
        }
    }
}

impl<'de> Fields<'de> for NodeAddress<'de> {
    fn field<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "type" => self.sort = map.next_value()?,
            "address" => self.address = map.next_value()?,
            _ => skip(map)?,
        }
        Ok(())
    }
}

impl<'de> Fields<'de> for ServiceSpec<'de> {
    fn field<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "selector" => self.selector.read(map),
            _ => skip(map),
        }
    }
}
