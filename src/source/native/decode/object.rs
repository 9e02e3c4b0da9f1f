//! One object, from any format that serde reads.

use std::{borrow::Cow, marker::PhantomData};

use serde::{Deserializer, de::DeserializeSeed};

use super::{
    Decoding, Dropped, ObjectError, WatchedKind,
    metadata::Metadata,
    value::{Fields, Object, Shape},
};
use crate::model::{Interner, Uid};

/// What was read of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded<'de, T> {
    /// The object; or the first thing found that makes it unusable.
    pub object: Result<T, ObjectError>,
    /// `metadata.resourceVersion`, if there is one of at most
    /// [`MAX_ID_LEN`](crate::model::MAX_ID_LEN) bytes.
    pub version: Option<Cow<'de, str>>,
}

/// Reads one object: a seed for any deserializer that describes itself. It fails only where
/// that one fails.
#[derive(Debug)]
pub struct ObjectSeed<'a, T> {
    decoding: &'a Decoding,
    texts: &'a mut Interner,
    dropped: &'a mut Dropped,
    kind: PhantomData<T>,
}

impl<'a, T: WatchedKind> ObjectSeed<'a, T> {
    /// Shares texts by `texts`; counts the parts that are dropped in `dropped`, not the object.
    pub fn new(decoding: &'a Decoding, texts: &'a mut Interner, dropped: &'a mut Dropped) -> Self {
        Self {
            decoding,
            texts,
            dropped,
            kind: PhantomData,
        }
    }
}

impl<'de, T: WatchedKind> DeserializeSeed<'de> for ObjectSeed<'_, T> {
    type Value = Decoded<'de, T::Object>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let mut reading = Reading::<T>::new(self.decoding);
        reading.deserialize(deserializer)?;
        Ok(Decoded {
            version: reading.take_version(),
            object: reading.finish(self.texts, self.dropped),
        })
    }
}

/// An object that is being read, nothing judged yet.
pub(super) struct Reading<'de, T: WatchedKind> {
    partial: T::Partial<'de>,
    shape: Shape,
}

impl<'de, T: WatchedKind> Reading<'de, T> {
    pub(super) fn new(decoding: &Decoding) -> Self {
        Self {
            partial: T::Partial::new(decoding),
            shape: Shape::Null,
        }
    }

    /// Reads it; fails only where the deserializer does.
    pub(super) fn deserialize<D: Deserializer<'de>>(&mut self, from: D) -> Result<(), D::Error> {
        self.shape = Object(&mut self.partial).deserialize(from)?;
        Ok(())
    }

    /// [`Metadata::take_version`].
    pub(super) fn take_version(&mut self) -> Option<Cow<'de, str>> {
        self.partial.metadata().take_version()
    }

    /// Which object it is, if that can be read, whatever else is wrong with it.
    pub(super) fn uid(&mut self) -> Option<Uid> {
        self.partial.metadata().uid().ok()
    }

    /// The object.
    pub(super) fn finish(
        &mut self,
        texts: &mut Interner,
        dropped: &mut Dropped,
    ) -> Result<T::Object, ObjectError> {
        let object = self.judged(texts, dropped);
        if let Err(why) = object {
            self.name(why, dropped);
        }
        object
    }

    /// Says in `dropped` what the object is called that is of no use.
    pub(super) fn name(&mut self, why: ObjectError, dropped: &mut Dropped) {
        let metadata = self.partial.metadata();
        dropped.name(|| metadata.called(), why);
    }

    fn judged(
        &self,
        texts: &mut Interner,
        dropped: &mut Dropped,
    ) -> Result<T::Object, ObjectError> {
        match self.shape {
            Shape::Fits => self.partial.finish(texts, dropped),
            Shape::Null | Shape::Wrong => Err(ObjectError::NotAnObject),
        }
    }

    /// The object, of which nothing matters but that it is gone.
    pub(super) fn finish_deleted(
        &mut self,
        texts: &mut Interner,
        dropped: &mut Dropped,
    ) -> Result<T::Object, ObjectError> {
        let object = self.judged(texts, dropped);
        object.or_else(|why| match self.uid() {
            Some(uid) => Ok(T::Partial::bare(uid)),
            None => {
                self.name(why, dropped);
                Err(why)
            }
        })
    }
}

/// The fields that are needed of an object, as they were read.
pub trait Partial<'de>: Fields<'de> {
    /// What it becomes.
    type Object;

    /// Nothing read yet.
    fn new(decoding: &Decoding) -> Self;

    /// What every object has.
    fn metadata(&mut self) -> &mut Metadata<'de>;

    /// The object. Parts that are dropped are counted in `dropped`.
    ///
    /// # Errors
    /// If it cannot be used.
    fn finish(
        &self,
        texts: &mut Interner,
        dropped: &mut Dropped,
    ) -> Result<Self::Object, ObjectError>;

    /// The object of which only the uid is known.
    fn bare(uid: Uid) -> Self::Object;
}
