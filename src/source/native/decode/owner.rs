//! ReplicaSets and Jobs, as `PartialObjectMetadata`: a uid and a controller.

use serde::de::MapAccess;

use super::{
    Decoding, Dropped, ObjectError,
    metadata::Metadata,
    object::Partial,
    snapshot::Kept,
    value::{Fields, skip},
};
use crate::{
    enrich::object::{Details, Object},
    model::{Interner, ObjectMeta, Owner, SharedStr, Uid},
};

/// A ReplicaSet or Job, as it was read.
#[derive(Clone, Debug, Default)]
pub struct PartialOwner<'de> {
    metadata: Metadata<'de>,
}

impl PartialOwner<'_> {
    /// [`Metadata::uid`]
    pub(super) fn uid(&self) -> Result<Uid, ObjectError> {
        self.metadata.uid()
    }
}

impl<'de> Fields<'de> for PartialOwner<'de> {
    fn field<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "metadata" => self.metadata.of(map),
            _ => skip(map),
        }
    }
}

impl<'de> Partial<'de> for PartialOwner<'de> {
    type Object = ObjectMeta;

    fn new(decoding: &Decoding) -> Self {
        Self {
            metadata: Metadata::keeping(decoding.keep.clone()),
        }
    }

    fn metadata(&mut self) -> &mut Metadata<'de> {
        &mut self.metadata
    }

    fn finish(&self, texts: &mut Interner, _: &mut Dropped) -> Result<ObjectMeta, ObjectError> {
        Ok(ObjectMeta::new(Owner {
            uid: self.metadata.uid()?,
            controller: self.metadata.controller(texts)?,
        }))
    }

    fn bare(uid: Uid) -> ObjectMeta {
        ObjectMeta::new(Owner {
            uid,
            controller: None,
        })
    }
}

impl Kept<ObjectMeta> for PartialOwner<'_> {
    fn snapshot(
        &self,
        _: &ObjectMeta,
        texts: &mut Interner,
    ) -> Result<Option<Object>, ObjectError> {
        let Some(keep) = self.metadata.keep() else {
            return Ok(None);
        };
        let name = SharedStr::from(self.metadata.name()?);
        let object = self.metadata.snapshot(keep, name, Details::None, texts)?;
        Ok(Some(object))
    }
}
