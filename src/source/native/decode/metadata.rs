//! `metadata`: what every object has.

use std::{borrow::Cow, mem};

use serde::de::MapAccess;

use super::{
    ObjectError,
    value::{Array, Fields, Objects, Shape, Value, skip},
};
use crate::{
    model::{Interner, MAX_ID_LEN, OwnerKind, OwnerRef, Uid},
    source::ObjectName,
};

/// `metadata`, as it was read.
#[derive(Clone, Debug, Default)]
pub struct Metadata<'de> {
    uid: Value<'de>,
    name: Value<'de>,
    namespace: Value<'de>,
    resource_version: Value<'de>,
    owners: References<'de>,
    /// `metadata` itself, or its list of owners, has another type.
    wrong: bool,
}

/// `metadata.ownerReferences`: the first one that says `controller: true`.
#[derive(Clone, Debug, Default)]
struct References<'de> {
    controller: Option<Reference<'de>>,
    /// What stands there leaves open which one is the controller.
    wrong: bool,
}

#[derive(Clone, Debug, Default)]
struct Reference<'de> {
    uid: Value<'de>,
    name: Value<'de>,
    kind: Value<'de>,
    api_version: Value<'de>,
    controller: Value<'de>,
}

impl<'de> Metadata<'de> {
    /// Reads the value of the key `metadata`.
    pub(super) fn of<A: MapAccess<'de>>(&mut self, map: &mut A) -> Result<(), A::Error> {
        self.wrong = map.next_value_seed(super::value::Object(self))?.is_wrong();
        Ok(())
    }

    /// The uid; it is there, not empty and not too long (D2, D8).
    pub(super) fn uid(&self) -> Result<Uid, ObjectError> {
        let uid = self.uid.text().ok_or(ObjectError::WrongType)?;
        match uid.len() {
            0 => Err(ObjectError::NoUid),
            1..=MAX_ID_LEN => Ok(Uid::new(uid)),
            _ => Err(ObjectError::UidTooLong),
        }
    }

    /// What the object is called, as far as it can be read.
    pub(super) fn called(&self) -> ObjectName {
        let texts = [&self.uid, &self.namespace, &self.name];
        let [uid, namespace, name] = texts.map(|text| text.text().unwrap_or_default());
        ObjectName::new(uid, namespace, name)
    }

    /// The name; may be empty.
    pub(super) fn name(&self) -> Result<&str, ObjectError> {
        self.name.text().ok_or(ObjectError::WrongType)
    }

    /// The namespace; may be empty.
    pub(super) fn namespace(&self) -> Result<&str, ObjectError> {
        self.namespace.text().ok_or(ObjectError::WrongType)
    }

    /// Takes out the version, if there is one of a length that is not absurd.
    pub(super) fn take_version(&mut self) -> Option<Cow<'de, str>> {
        valid_version(mem::take(&mut self.resource_version))
    }

    /// The controller.
    pub(super) fn controller(&self, texts: &mut Interner) -> Result<Option<OwnerRef>, ObjectError> {
        if self.wrong || self.owners.wrong {
            return Err(ObjectError::WrongType);
        }
        let controller = self.owners.controller.as_ref();
        controller.map(|owner| owner.share(texts)).transpose()
    }
}

impl Reference<'_> {
    fn share(&self, texts: &mut Interner) -> Result<OwnerRef, ObjectError> {
        let fields = [&self.uid, &self.name, &self.kind, &self.api_version];
        let [Some(uid), Some(name), Some(kind), Some(api_version)] = fields.map(Value::text) else {
            return Err(ObjectError::WrongType);
        };
        if uid.len() > MAX_ID_LEN {
            return Err(ObjectError::OwnerUidTooLong);
        }
        let kind = OwnerKind::parse(kind, texts);
        let custom = is_custom(&kind, api_version);
        Ok(texts.controller(Uid::new(uid), name, kind, custom))
    }
}

/// A version is opaque text, but neither empty nor of absurd length.
pub(super) fn valid_version(version: Value<'_>) -> Option<Cow<'_, str>> {
    match version {
        Value::Text(version) if (1..=MAX_ID_LEN).contains(&version.len()) => Some(version),
        Value::Text(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::Other => None,
    }
}

/// Whether it shares no more than its kind text with the built-in kind
/// ([`Controller::custom`](crate::model::Controller::custom)). Kinds that nothing waits for
/// and that are nobody's controller of a controller have no namesake to be told from.
fn is_custom(kind: &OwnerKind, api_version: &str) -> bool {
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    match kind {
        OwnerKind::ReplicaSet | OwnerKind::Deployment => group != "apps",
        OwnerKind::Job | OwnerKind::CronJob => group != "batch",
        OwnerKind::NoOwner | OwnerKind::Other(_) => false,
    }
}

impl<'de> Fields<'de> for Metadata<'de> {
    fn field<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "uid" => self.uid = map.next_value()?,
            "name" => self.name = map.next_value()?,
            "namespace" => self.namespace = map.next_value()?,
            "resourceVersion" => self.resource_version = map.next_value()?,
            "ownerReferences" => {
                self.owners = References::default();
                let shape = map.next_value_seed(Array(&mut self.owners))?;
                self.owners.wrong |= shape.is_wrong();
            }
            _ => skip(map)?,
        }
        Ok(())
    }
}

impl<'de> Objects<'de> for References<'de> {
    type Object = Reference<'de>;

    fn add(&mut self, owner: Reference<'de>, shape: Shape) {
        if self.controller.is_some() {
            return;
        }
        match owner.controller.switch() {
            Some(true) => self.controller = Some(owner),
            Some(false) => self.wrong |= shape.is_wrong(),
            None => self.wrong = true,
        }
    }
}

impl<'de> Fields<'de> for Reference<'de> {
    fn field<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "uid" => self.uid = map.next_value()?,
            "name" => self.name = map.next_value()?,
            "kind" => self.kind = map.next_value()?,
            "apiVersion" => self.api_version = map.next_value()?,
            "controller" => self.controller = map.next_value()?,
            _ => skip(map)?,
        }
        Ok(())
    }
}
