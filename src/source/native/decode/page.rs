//! One answer to a list request, decoded while it arrives.
//!
//! Invariant: however a page is cut into chunks, the same comes of it. Of its text no more is
//! kept than one object and [`READ_AT`]; what was decoded is forgotten.

use std::borrow::Cow;

use serde::de::{DeserializeSeed, MapAccess};
use thiserror::Error;

use super::{
    Decoding, Dropped, MAX_OBJECT_LEN, ObjectError, SharedTexts, Status, WatchedKind,
    json::{Broken, Reader},
    metadata::valid_version,
    object::Reading,
    status::StatusDraft,
    value::{Fields, Object, Value, skip},
};
use crate::model::Uid;

/// So many bytes are collected before they are read: objects are much smaller, so few of them
/// are cut by the end of what is there and read twice.
const READ_AT: usize = 128 << 10;

/// What a page of a list says apart from its objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageEnd {
    /// `metadata.resourceVersion`: a watch may start there after the last page. Never empty.
    pub version: String,
    /// `metadata.continue`: how to ask for the next page; `None` after the last one.
    pub continue_token: Option<String>,
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
    #[error("the answer is not JSON from byte {at} on")]
    InvalidJson {
        /// The offset of the first byte that does not fit.
        at: usize,
    },
    /// It is JSON, but no list: `items`, `metadata.resourceVersion` or `metadata.continue`
    /// is missing or of a wrong type.
    #[error("the answer is not a list")]
    NotAList,
}

/// Reads a page of a list that is there as a whole; `each` gets the objects, in their order.
///
/// # Errors
/// If it is no list, as a whole. An item that cannot be used is no error.
pub fn decode_page<T: WatchedKind>(
    page: &[u8],
    decoding: &Decoding,
    texts: &mut impl SharedTexts,
    each: impl FnMut(T::Object),
) -> Result<PageEnd, PageError> {
    let mut reader = PageReader::default();
    reader.rest.extend_from_slice(page);
    reader.end::<T>(decoding, texts, each)
}

/// A page of a list that arrives in chunks.
#[derive(Debug)]
pub struct PageReader {
    /// What has arrived and is not read.
    rest: Vec<u8>,
    /// Reading goes on when `rest` is so long.
    read_at: usize,
    /// The length of what stood before `rest`.
    read: usize,
    place: Place,
    /// All that is no item.
    frame: Vec<u8>,
    dropped: Dropped,
    unusable: Vec<Uid>,
}

/// Between which values reading goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Start,
    /// In the list's own object, before its first entry or behind another one.
    Entries {
        first: bool,
    },
    /// In the array of items, before its first one or behind another one.
    Items {
        first: bool,
    },
    End,
}

/// What a value is, once it was read.
enum Piece {
    Frame,
    Item,
}

impl Default for PageReader {
    fn default() -> Self {
        Self {
            rest: Vec::new(),
            read_at: READ_AT,
            read: 0,
            place: Place::default(),
            frame: Vec::new(),
            dropped: Dropped::default(),
            unusable: Vec::new(),
        }
    }
}

impl PageReader {
    /// The next chunk; `each` gets the objects that can be read so far, in their order.
    pub fn push<T: WatchedKind>(
        &mut self,
        chunk: &[u8],
        decoding: &Decoding,
        texts: &mut impl SharedTexts,
        each: impl FnMut(T::Object),
    ) {
        self.rest.extend_from_slice(chunk);
        if self.rest.len() >= self.read_at {
            // What cannot be read yet may be cut. If it is wrong, the end will show it.
            let _ = self.read_on::<T>(false, decoding, texts, each);
            // Twice as much as is left: a long value is read from its start again, but seldom.
            self.read_at = READ_AT.max(self.rest.len() * 2);
        }
    }

    /// The page is complete: `each` gets the rest of the objects.
    ///
    /// # Errors
    /// If it is no list, as a whole. An item that cannot be used is no error.
    pub fn end<T: WatchedKind>(
        mut self,
        decoding: &Decoding,
        texts: &mut impl SharedTexts,
        each: impl FnMut(T::Object),
    ) -> Result<PageEnd, PageError> {
        let read = self.read_on::<T>(true, decoding, texts, each);
        read.map_err(|at| PageError::InvalidJson { at })?;
        let mut reader = Reader::new(&self.frame);
        let frame = Frame::read(&mut reader);
        let frame = frame.map_err(|Broken| PageError::InvalidJson { at: reader.at() })?;
        frame.end(self.dropped, self.unusable)
    }

    /// Reads all values that are complete, and forgets their text. Fails with the offset in the
    /// page at which it cannot be read on.
    fn read_on<T: WatchedKind>(
        &mut self,
        ended: bool,
        decoding: &Decoding,
        texts: &mut impl SharedTexts,
        mut each: impl FnMut(T::Object),
    ) -> Result<(), usize> {
        let rest = std::mem::take(&mut self.rest);
        let mut start = 0;
        let result = loop {
            let mut reader = Reader::new(&rest).back_to(start);
            if self.place == Place::End {
                break reader.end().map_err(|Broken| reader.at());
            }
            let piece = self.value::<T>(&mut reader, ended, decoding, texts, &mut each);
            let value = rest.get(start..reader.at()).unwrap_or_default();
            match piece {
                Ok(Piece::Item) => {}
                Ok(Piece::Frame) => self.frame.extend_from_slice(value),
                Err(Broken) => break Err(reader.at()),
            }
            start += value.len();
        };
        let result = result.map_err(|at| self.read + at);
        self.read += start;
        self.rest = rest;
        self.rest.drain(..start);
        // After an object of several megabytes.
        self.rest.shrink_to(2 * READ_AT);
        result
    }

    /// Reads the next value with the marks before it. If that fails, nothing has changed.
    fn value<T: WatchedKind>(
        &mut self,
        reader: &mut Reader<'_>,
        ended: bool,
        decoding: &Decoding,
        texts: &mut impl SharedTexts,
        each: &mut impl FnMut(T::Object),
    ) -> Result<Piece, Broken> {
        match self.place {
            Place::Start => {
                self.place = if reader.mark(b'{')? {
                    Place::Entries { first: true }
                } else {
                    reader.skip()?;
                    reader.complete(ended)?;
                    Place::End
                };
                Ok(Piece::Frame)
            }
            Place::Entries { first } => {
                self.place = if reader.mark(b'}')? {
                    Place::End
                } else if !first && !reader.mark(b',')? {
                    return Err(Broken);
                } else if reader.key()? == "items" && reader.mark(b'[')? {
                    Place::Items { first: true }
                } else {
                    reader.skip()?;
                    reader.complete(ended)?;
                    Place::Entries { first: false }
                };
                Ok(Piece::Frame)
            }
            Place::Items { .. } if reader.mark(b']')? => {
                self.place = Place::Entries { first: false };
                Ok(Piece::Frame)
            }
            Place::Items { first } => {
                if !first && !reader.mark(b',')? {
                    return Err(Broken);
                }
                self.item::<T>(reader, ended, decoding, texts, each)?;
                self.place = Place::Items { first: false };
                Ok(Piece::Item)
            }
            Place::End => Err(Broken),
        }
    }

    fn item<T: WatchedKind>(
        &mut self,
        reader: &mut Reader<'_>,
        ended: bool,
        decoding: &Decoding,
        texts: &mut impl SharedTexts,
        each: &mut impl FnMut(T::Object),
    ) -> Result<(), Broken> {
        reader.peek()?;
        let start = reader.at();
        let mut reading = Reading::<T>::new(decoding);
        reading.deserialize(&mut *reader)?;
        reader.complete(ended)?;
        let dropped = &mut self.dropped;
        let object = if reader.at() - start > MAX_OBJECT_LEN {
            reading.name(ObjectError::TooLarge, dropped);
            Err(ObjectError::TooLarge)
        } else {
            reading.finish(&mut texts.texts(), dropped)
        };
        match object {
            Ok(object) => each(object),
            Err(why) => {
                self.dropped.count(why);
                self.unusable.extend(reading.uid());
            }
        }
        Ok(())
    }
}

/// What stands on a page apart from its items.
#[derive(Default)]
struct Frame<'a> {
    /// It may be a `Status` instead.
    status: StatusDraft<'a>,
    metadata: ListMeta<'a>,
    /// There is a list of items; `null` is an empty one.
    has_items: bool,
}

#[derive(Default)]
struct ListMeta<'a> {
    version: Value<'a>,
    continue_token: Value<'a>,
}

impl<'a> Frame<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Broken> {
        let mut page = Self::default();
        if let Some(mut entries) = reader.entries()? {
            while let Some(key) = entries.key()? {
                match &*key {
                    "items" => {
                        let items = entries.reader();
                        page.has_items = matches!(items.peek()?, b'[' | b'n');
                        items.skip()?;
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

    fn end(self, dropped: Dropped, unusable: Vec<Uid>) -> Result<PageEnd, PageError> {
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
            version: version.into_owned(),
            continue_token: continue_token.map(Cow::into_owned),
            dropped,
            unusable,
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::MetadataOnly, *};
    use crate::model::{Interner, ObjectMeta, Seed};

    fn whole(page: &[u8]) -> (Vec<ObjectMeta>, Result<PageEnd, PageError>) {
        let mut owners = Vec::new();
        let (decoding, mut texts) = (Decoding::default(), Interner::new(Seed::FIXED));
        let end = decode_page::<MetadataOnly>(page, &decoding, &mut texts, |one| owners.push(one));
        (owners, end)
    }

    /// Read as soon as anything is there.
    fn in_chunks(chunks: &[&[u8]]) -> (Vec<ObjectMeta>, Result<PageEnd, PageError>) {
        let mut owners = Vec::new();
        let (decoding, mut texts) = (Decoding::default(), Interner::new(Seed::FIXED));
        let mut page = PageReader::default();
        for chunk in chunks {
            page.read_at = 0;
            page.push::<MetadataOnly>(chunk, &decoding, &mut texts, |one| owners.push(one));
        }
        let end = page.end::<MetadataOnly>(&decoding, &mut texts, |one| owners.push(one));
        (owners, end)
    }

    fn any_page() -> impl Strategy<Value = String> {
        let item = prop_oneof![
            Just(r#"{"metadata":{"uid":"a","name":"x\"]}"}}"#),
            Just(r#" {"spec" : [1, [2]], "metadata":{"uid":"b"}} "#),
            Just(r#"{"metadata":{"uid":7}}"#),
            Just("null"),
            Just("12"),
            Just("{"),
        ];
        let items = proptest::collection::vec(item, 0..5).prop_map(|items| items.join(","));
        let entry = prop_oneof![
            items
                .clone()
                .prop_map(|items| format!(r#""items":[{items}]"#)),
            items.prop_map(|items| format!(r#" "it\u0065ms" : [ {items} ] "#)),
            Just(r#""metadata":{"resourceVersion":"12","continue":"more"}"#.to_owned()),
            Just(r#""metadata":{"resourceVersion":"12"}"#.to_owned()),
            Just(r#""kind":"Status","code":410"#.to_owned()),
            Just(r#""code": 12"#.to_owned()),
            Just(r#""items":null"#.to_owned()),
        ];
        let entries = proptest::collection::vec(entry, 0..4).prop_map(|all| all.join(","));
        (entries, "[{ ]?", "[}\\] ]{0,2}").prop_map(|(all, open, close)| open + &all + &close)
    }

    proptest! {
        #[test]
        fn it_does_not_matter_where_a_page_is_cut(
            sound in "\\{|",
            page in any_page(),
            cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..6),
        ) {
            let page = format!("{sound}{page}}}");
            let mut cuts: Vec<usize> = cuts.iter().map(|at| at.index(page.len() + 1)).collect();
            cuts.extend([0, page.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|at| &page.as_bytes()[at[0]..at[1]]).collect();
            prop_assert_eq!(in_chunks(&chunks), whole(page.as_bytes()));
        }
    }

    #[test]
    fn no_more_of_a_page_is_kept_than_what_is_not_read() {
        let (decoding, mut texts) = (Decoding::default(), Interner::new(Seed::FIXED));
        let mut page = PageReader::default();
        let mut owners = 0;
        page.push::<MetadataOnly>(br#"{"items":["#, &decoding, &mut texts, |_| ());
        let item = format!(
            r#"{{"metadata":{{"uid":"a","name":"{}"}}}},"#,
            "n".repeat(1_000)
        );
        for _ in 0..10_000 {
            page.push::<MetadataOnly>(item.as_bytes(), &decoding, &mut texts, |_| owners += 1);
            assert!(page.rest.capacity() + page.frame.capacity() <= 3 * READ_AT);
        }
        page.push::<MetadataOnly>(b"{}],", &decoding, &mut texts, |_| owners += 1);
        let end = br#""metadata":{"resourceVersion":"9"}}"#;
        page.push::<MetadataOnly>(end, &decoding, &mut texts, |_| owners += 1);
        let end = page.end::<MetadataOnly>(&decoding, &mut texts, |_| owners += 1);
        assert_eq!(
            (owners, end.map(|end| end.version)),
            (10_000, Ok("9".to_owned()))
        );
    }
}
