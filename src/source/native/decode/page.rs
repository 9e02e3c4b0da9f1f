//! One answer to a list request.

use std::borrow::Cow;

use serde::de::{DeserializeSeed, MapAccess};
use thiserror::Error;

use super::{
    Decoding, Dropped, MAX_OBJECT_LEN, ObjectError, SharedTexts, Status, Thin,
    json::{Broken, Reader},
    metadata::valid_version,
    object::Reading,
    status::StatusDraft,
    value::{Fields, Object, Value, skip},
};
use crate::model::Uid;

/// What a page of a list says beside its objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageEnd<'a> {
    /// `metadata.resourceVersion`: a watch may start there after the last page. Never empty.
    pub version: Cow<'a, str>,
    /// `metadata.continue`: how to ask for the next page; `None` after the last one.
    pub continue_token: Option<Cow<'a, str>>,
    /// The objects, and parts of objects, that could not be used.
    pub dropped: Dropped,
    /// Such objects, as far as their uids could be read: what was known of them before is as
    /// good as ever.
    pub unusable: Vec<Uid>,
}

/// Why a page is no page. Objects before the error may have been given out already.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PageError {
    /// The server says no, in a body that is a `Status`.
    #[error("the server answers {} {}: {}", .0.code, .0.reason, .0.message)]
    Refused(Status),
    /// The body was cut, or is no JSON.
    #[error("the answer is no JSON from byte {at} on")]
    Garbled {
        /// The offset of the first byte that does not fit.
        at: usize,
    },
    /// It is JSON, but no list: `items`, `metadata.resourceVersion` or `metadata.continue`
    /// is missing or of a wrong type.
    #[error("the answer is no list")]
    NotAList,
}

/// Reads a page of a list; `each` gets the objects, in their order.
///
/// # Errors
/// If it is no list, as a whole. An item that cannot be used is no error.
pub fn decode_page<'a, T: Thin>(
    page: &'a [u8],
    decoding: &Decoding,
    texts: &mut impl SharedTexts,
    each: impl FnMut(T::Object),
) -> Result<PageEnd<'a>, PageError> {
    let mut reader = Reader::new(page);
    let read = Page::read::<T>(&mut reader, decoding, texts, each);
    let read = read.map_err(|Broken| PageError::Garbled { at: reader.at() });
    read?.end()
}

/// What stands on a page, its items counted only.
#[derive(Default)]
struct Page<'a> {
    /// It may be a `Status` instead.
    status: StatusDraft<'a>,
    metadata: ListMeta<'a>,
    /// There is a list of items; `null` is an empty one.
    has_items: bool,
    dropped: Dropped,
    unusable: Vec<Uid>,
}

#[derive(Default)]
struct ListMeta<'a> {
    version: Value<'a>,
    continue_token: Value<'a>,
}

impl<'a> Page<'a> {
    fn read<T: Thin>(
        reader: &mut Reader<'a>,
        decoding: &Decoding,
        texts: &mut impl SharedTexts,
        mut each: impl FnMut(T::Object),
    ) -> Result<Self, Broken> {
        let mut page = Self::default();
        if let Some(mut entries) = reader.entries()? {
            while let Some(key) = entries.key()? {
                match &*key {
                    "items" => {
                        let items = entries.reader();
                        page.has_items = matches!(items.peek()?, b'[' | b'n');
                        page.items::<T>(items, decoding, texts, &mut each)?;
                    }
                    "metadata" => {
                        Object(&mut page.metadata).deserialize(entries.reader())?;
                    }
                    key => page.status.field(key, &mut &mut entries)?,
                }
            }
        }
        reader.end()?;
        Ok(page)
    }

    fn items<T: Thin>(
        &mut self,
        reader: &mut Reader<'a>,
        decoding: &Decoding,
        texts: &mut impl SharedTexts,
        each: &mut impl FnMut(T::Object),
    ) -> Result<(), Broken> {
        let Some(mut items) = reader.elements()? else {
            return Ok(());
        };
        while let Some(item) = items.element()? {
            let start = item.at();
            let mut reading = Reading::<T>::new(decoding);
            reading.deserialize(&mut *item)?;
            let object = if item.at() - start > MAX_OBJECT_LEN {
                reading.name(ObjectError::TooLarge, &mut self.dropped);
                Err(ObjectError::TooLarge)
            } else {
                reading.finish(&mut texts.texts(), &mut self.dropped)
            };
            match object {
                Ok(object) => each(object),
                Err(why) => {
                    self.dropped.count(why);
                    self.unusable.extend(reading.uid());
                }
            }
        }
        Ok(())
    }

    fn end(self) -> Result<PageEnd<'a>, PageError> {
        if self.status.is_status() {
            return Err(PageError::Refused(self.status.finish()));
        }
        let version = valid_version(self.metadata.version).ok_or(PageError::NotAList)?;
        let continue_token = match self.metadata.continue_token {
            Value::Null => None,
            Value::Text(token) => Some(token).filter(|token| !token.is_empty()),
            Value::Bool(_) | Value::Number(_) | Value::Other => return Err(PageError::NotAList),
        };
        if !self.has_items {
            return Err(PageError::NotAList);
        }
        Ok(PageEnd {
            version,
            continue_token,
            dropped: self.dropped,
            unusable: self.unusable,
        })
    }
}

impl<'de> Fields<'de> for ListMeta<'de> {
    fn field<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "resourceVersion" => self.version = map.next_value()?,
            "continue" => self.continue_token = map.next_value()?,
            _ => skip(map)?,
        }
        Ok(())
    }
}
