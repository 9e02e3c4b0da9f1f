//! One object, from any format that serde reads.

use std::{borrow::Cow, marker::PhantomData};

use super::{Decoding, Dropped, ObjectError, Thin};
use crate::model::Interner;

/// What was read of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded<'de, T> {
    /// The object; or the first thing found that makes it unusable.
    pub object: Result<T, ObjectError>,
    /// `metadata.resourceVersion`, if there is one.
    pub version: Option<Cow<'de, str>>,
}

/// Reads one object: a [`DeserializeSeed`](serde::de::DeserializeSeed) for any deserializer that describes itself.
#[derive(Debug)]
pub struct ObjectSeed<'a, T> {
    /// What is asked of it.
    pub decoding: &'a Decoding,
    /// Shares the texts.
    pub texts: &'a mut Interner,
    /// Counts parts of the object that were dropped; not the object itself.
    pub dropped: &'a mut Dropped,
    kind: PhantomData<T>,
}

impl<'a, T: Thin> ObjectSeed<'a, T> {
    /// A seed.
    pub fn new(decoding: &'a Decoding, texts: &'a mut Interner, dropped: &'a mut Dropped) -> Self {
        Self {
            decoding,
            texts,
            dropped,
            kind: PhantomData,
        }
    }
}
