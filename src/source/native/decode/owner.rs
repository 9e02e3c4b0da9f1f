//! ReplicaSets and Jobs, as `PartialObjectMetadata`: a uid and a controller.

use serde::de::MapAccess;

use super::{
    Decoding, Dropped, ObjectError,
    metadata::Metadata,
    object::Partial,
    value::{Fields, skip},
};
use crate::model::{Interner, ObjectMeta, Owner, Uid};

/// A ReplicaSet or Job, as it was read.
#[derive(Clone, Debug, Default)]
pub struct PartialOwner<'de> {
    metadata: Metadata<'de>,
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

    fn new(_: &Decoding) -> Self {
        Self::default()
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
