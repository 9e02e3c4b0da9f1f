//! `metadata`: what every object has.

use std::{borrow::Cow, mem, sync::Arc};

use serde::de::MapAccess;

use super::{
    Keep, ObjectError,
    keep::KeptPairs,
    value::{Array, Fields, Objects, Shape, Value, skip},
};
use crate::{
    enrich::object::{Details, Object, PairLimits, Snapshot, Timestamp},
    model::{Interner, MAX_ID_LEN, OwnerKind, OwnerRef, SharedStr, Uid},
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
    /// What enrichment keeps; of the following fields nothing is read without it.
    keep: Option<Arc<Keep>>,
    created: Value<'de>,
    labels: KeptPairs<'de>,
    annotations: KeptPairs<'de>,
    /// `metadata` itself, or its list of owners, has another type.
    wrong: bool,
}

/// `metadata.ownerReferences`: the first one that says `controller: true`.
#[derive(Clone, Debug, Default)]
struct References<'de> {
    controller: Option<Reference<'de>>,
    /// Further ones that say so. The API server lets no object have any.
    more: Vec<Reference<'de>>,
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
    /// Nothing read yet, of an object of which this is kept.
    pub(super) fn keeping(keep: Option<Arc<Keep>>) -> Self {
        Self {
            labels: KeptPairs::labels(keep.as_deref()),
            annotations: KeptPairs::annotations(keep.as_ref()),
            keep,
            ..Self::default()
        }
    }

    /// What enrichment keeps of the object.
    pub(super) fn keep(&self) -> Option<&Arc<Keep>> {
        self.keep.as_ref()
    }

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
        valid_version(match self.keep {
            Some(_) => self.resource_version.clone(),
            None => mem::take(&mut self.resource_version),
        })
    }

    /// What enrichment keeps of every object, and what it keeps of this kind.
    pub(super) fn snapshot(
        &self,
        keep: &Keep,
        name: SharedStr,
        details: Details,
        texts: &mut Interner,
    ) -> Result<Object, ObjectError> {
        if self.wrong || self.owners.wrong {
            return Err(ObjectError::WrongType);
        }
        let owners = self.owners.controller.iter().chain(&self.owners.more);
        let controllers: Result<_, _> = owners.map(|owner| owner.share(texts)).collect();
        Ok(Object::new(Snapshot {
            resource: keep.resource,
            uid: self.uid()?,
            name,
            namespace: texts.text(self.namespace()?),
            resource_version: SharedStr::from(self.resource_version.any_text()),
            created: Timestamp::parse(self.created.any_text()),
            labels: self.labels.pairs(PairLimits::LABELS, texts),
            annotations: self.annotations.pairs(PairLimits::ANNOTATIONS, texts),
            controllers: controllers?,
            details,
        }))
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
/// ([`Controller::custom`](crate::model::Controller::custom)). Kinds that nothing waits for and
/// that are nobody's controller of a controller have no namesake to be distinguished from.
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
            "creationTimestamp" if self.keep.is_some() => self.created = map.next_value()?,
            "labels" => self.labels.read(map)?,
            "annotations" => self.annotations.read(map)?,
            _ => skip(map)?,
        }
        Ok(())
    }
}

impl<'de> Objects<'de> for References<'de> {
    type Object = Reference<'de>;

    fn add(&mut self, owner: Reference<'de>, shape: Shape) {
        if self.controller.is_some() {
            if owner.controller.switch() == Some(true) {
                self.more.push(owner);
            }
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
