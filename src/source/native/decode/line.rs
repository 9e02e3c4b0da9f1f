//! One line of a watch's stream.

use std::borrow::Cow;

use serde::{
    Deserialize,
    de::{DeserializeSeed, MapAccess},
};

use super::{
    Decoding, Dropped, MAX_OBJECT_LEN, ObjectError, SharedTexts, Status, WatchedKind,
    json::{Broken, Reader},
    metadata::valid_version,
    object::Reading,
    status::StatusDraft,
    value::{Fields, Object, Value, skip},
};
use crate::model::Uid;

/// What a line of a watch says.
#[derive(Clone, Debug, PartialEq)]
pub enum Line<'a, T> {
    /// The object is new, to this watch.
    Added {
        /// The object.
        object: T,
        /// Its `metadata.resourceVersion`: where the watch is now.
        version: Cow<'a, str>,
    },
    /// The object has changed.
    Modified {
        /// The object.
        object: T,
        /// Its `metadata.resourceVersion`.
        version: Cow<'a, str>,
    },
    /// The object is gone. Of it, everything but the uid may be lacking: whatever else is wrong
    /// with it, its end counts.
    Deleted {
        /// The object, as it was last.
        object: T,
        /// The version at which it was deleted.
        version: Cow<'a, str>,
    },
    /// Nothing but a version: everything before it has been sent.
    Bookmark {
        /// `metadata.resourceVersion`.
        version: Cow<'a, str>,
        /// Whether this is the end of a WatchList's initial events
        /// (annotation `k8s.io/initial-events-end`).
        initial_events_end: bool,
    },
    /// The server has given up; it ends the stream. Also a line that is a bare `Status`.
    Error(Status),
    /// An object that cannot be used. The watch goes on.
    Unusable {
        /// Its version, if it could be read: the watch is there all the same.
        version: Option<Cow<'a, str>>,
        /// Which object it is, if that could be read and it is there: what was known of it
        /// before is as good as ever.
        uid: Option<Uid>,
        /// What is wrong with it; counted already.
        why: ObjectError,
    },
    /// This is no JSON: the line was cut, or a stranger answers. The watch is over.
    InvalidJson,
}

/// Reads one line of a watch's stream, with or without its end of line.
///
/// What of it, or of a part of it, cannot be used is counted in `dropped`.
pub fn decode_line<'a, T: WatchedKind>(
    line: &'a [u8],
    decoding: &Decoding,
    texts: &mut impl SharedTexts,
    dropped: &mut Dropped,
) -> Line<'a, T::Object> {
    let mut means = Means {
        decoding,
        texts,
        dropped,
    };
    let read = if line.len() > MAX_OBJECT_LEN {
        Ok(Line::strange(ObjectError::TooLarge))
    } else {
        means.line::<T>(Reader::new(line))
    };
    let line = read.unwrap_or(Line::InvalidJson);
    if let Line::Unusable { why, .. } = line {
        dropped.count(why);
    }
    line
}

/// What it takes to read a line.
struct Means<'m, S> {
    decoding: &'m Decoding,
    texts: &'m mut S,
    dropped: &'m mut Dropped,
}

/// The `type` of an event of a watch.
#[derive(Clone, Copy)]
enum Verb {
    Change(Change),
    Bookmark,
    Error,
    Unknown,
}

#[derive(Clone, Copy)]
enum Change {
    Added,
    Modified,
    Deleted,
}

impl<S: SharedTexts> Means<'_, S> {
    fn line<'a, T: WatchedKind>(
        &mut self,
        mut reader: Reader<'a>,
    ) -> Result<Line<'a, T::Object>, Broken> {
        let start = reader.clone();
        let (mut verb, mut object, mut passed_by) = (None, None, None);
        let mut status = None;
        if let Some(mut event) = reader.entries()? {
            while let Some(key) = event.key()? {
                let value = event.reader();
                match (&*key, verb) {
                    ("type", _) => {
                        let text = Value::deserialize(value)?;
                        verb = Some(Verb::parse(text.text().unwrap_or_default()));
                    }
                    ("object", Some(verb)) => object = Some(self.object::<T>(verb, value)?),
                    ("object", None) => {
                        passed_by = Some(value.at());
                        value.skip()?;
                    }
                    (key, _) => {
                        let status: &mut StatusDraft<'_> = status.get_or_insert_default();
                        status.field(key, &mut &mut event)?;
                    }
                }
            }
        }
        reader.end()?;
        // Every known server sends the type first, but nothing says that it must.
        if let (None, Some(verb), Some(at)) = (&object, verb, passed_by) {
            object = Some(self.object::<T>(verb, &mut start.back_to(at))?);
        }
        // Some servers and proxies say no without the event around it.
        if let (None, Some(status)) = (verb, status.filter(StatusDraft::is_status)) {
            return Ok(Line::Error(status.finish()));
        }
        Ok(object.unwrap_or(Line::strange(ObjectError::UnknownEvent)))
    }

    /// Reads the object of an event of this type.
    fn object<'a, T: WatchedKind>(
        &mut self,
        verb: Verb,
        reader: &mut Reader<'a>,
    ) -> Result<Line<'a, T::Object>, Broken> {
        match verb {
            Verb::Change(change) => self.change::<T>(change, reader),
            Verb::Bookmark => bookmark(reader),
            Verb::Error => {
                let mut status = StatusDraft::default();
                Object(&mut status).deserialize(reader)?;
                Ok(Line::Error(status.finish()))
            }
            Verb::Unknown => {
                reader.skip()?;
                Ok(Line::strange(ObjectError::UnknownEvent))
            }
        }
    }

    fn change<'a, T: WatchedKind>(
        &mut self,
        change: Change,
        reader: &mut Reader<'a>,
    ) -> Result<Line<'a, T::Object>, Broken> {
        let mut reading = Reading::<T>::new(self.decoding);
        reading.deserialize(reader)?;
        let version = reading.take_version();
        let object = match change {
            Change::Added | Change::Modified => {
                reading.finish(&mut self.texts.texts(), self.dropped)
            }
            Change::Deleted => reading.finish_deleted(&mut self.texts.texts(), self.dropped),
        };
        Ok(match (object, version, change) {
            (Err(why), version, change) => Line::Unusable {
                version,
                uid: reading.uid().filter(|_| change.leaves_it()),
                why,
            },
            (Ok(_), None, change) => {
                reading.name(ObjectError::NoVersion, self.dropped);
                Line::Unusable {
                    version: None,
                    uid: reading.uid().filter(|_| change.leaves_it()),
                    why: ObjectError::NoVersion,
                }
            }
            (Ok(object), Some(version), Change::Added) => Line::Added { object, version },
            (Ok(object), Some(version), Change::Modified) => Line::Modified { object, version },
            (Ok(object), Some(version), Change::Deleted) => Line::Deleted { object, version },
        })
    }
}

impl Change {
    /// Whether the object is there after it.
    fn leaves_it(self) -> bool {
        match self {
            Self::Added | Self::Modified => true,
            Self::Deleted => false,
        }
    }
}

impl Verb {
    fn parse(text: &str) -> Self {
        match text {
            "ADDED" => Self::Change(Change::Added),
            "MODIFIED" => Self::Change(Change::Modified),
            "DELETED" => Self::Change(Change::Deleted),
            "BOOKMARK" => Self::Bookmark,
            "ERROR" => Self::Error,
            _ => Self::Unknown,
        }
    }
}

impl<'a, T> Line<'a, T> {
    /// The object that is there, but cannot be used.
    pub fn unusable(&self) -> Option<&Uid> {
        match self {
            Self::Unusable { uid, .. } => uid.as_ref(),
            Self::Added { .. }
            | Self::Modified { .. }
            | Self::Deleted { .. }
            | Self::Bookmark { .. }
            | Self::Error(_)
            | Self::InvalidJson => None,
        }
    }

    /// Nothing could be read of the object.
    fn strange(why: ObjectError) -> Self {
        let (version, uid) = (None, None);
        Self::Unusable { version, uid, why }
    }
}

fn bookmark<'a, T>(reader: &mut Reader<'a>) -> Result<Line<'a, T>, Broken> {
    let mut bookmark = Bookmark::default();
    Object(&mut bookmark).deserialize(reader)?;
    let Mark {
        version,
        annotations,
    } = bookmark.metadata;
    Ok(match valid_version(version) {
        Some(version) => Line::Bookmark {
            version,
            initial_events_end: annotations.initial_events_end.text() == Some("true"),
        },
        None => Line::strange(ObjectError::NoVersion),
    })
}

/// An object with nothing but a version and, perhaps, the mark.
#[derive(Default)]
struct Bookmark<'de> {
    metadata: Mark<'de>,
}

#[derive(Default)]
struct Mark<'de> {
    version: Value<'de>,
    annotations: Annotations<'de>,
}

#[derive(Default)]
struct Annotations<'de> {
    initial_events_end: Value<'de>,
}

impl<'de> Fields<'de> for Bookmark<'de> {
    fn field<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "metadata" => drop(map.next_value_seed(Object(&mut self.metadata))?),
            _ => skip(map)?,
        }
        Ok(())
    }
}

impl<'de> Fields<'de> for Mark<'de> {
    fn field<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "resourceVersion" => self.version = map.next_value()?,
            "annotations" => drop(map.next_value_seed(Object(&mut self.annotations))?),
            _ => skip(map)?,
        }
        Ok(())
    }
}

impl<'de> Fields<'de> for Annotations<'de> {
    fn field<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "k8s.io/initial-events-end" => self.initial_events_end = map.next_value()?,
            _ => skip(map)?,
        }
        Ok(())
    }
}
