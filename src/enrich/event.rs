//! Events: how one is read, and whom it is about.
//!
//! An event is never turned into a tree: its members stay the text that they came as, so that
//! what nobody changes is the same byte for byte.

use std::{borrow::Cow, fmt};

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use smallvec::SmallVec;

use super::resource::{Metricset, Subject};

/// The longest event, in bytes.
pub const MAX_EVENT_BYTES: usize = 256 * 1024;
/// The deepest nesting of an event; a flat object has one level.
pub const MAX_EVENT_DEPTH: usize = 64;

/// Why a text is not an event.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// It is too long.
    #[error("longer than {MAX_EVENT_BYTES} bytes")]
    TooLong,
    /// It nests too deeply.
    #[error("nested deeper than {MAX_EVENT_DEPTH} levels")]
    TooDeep,
    /// It is not text.
    #[error("not UTF-8")]
    Encoding,
    /// It is not one JSON object.
    #[error("not a JSON object: {0}")]
    Json(#[from] serde_json::Error),
}

/// An event at the level of its metricset.
#[derive(Debug)]
pub struct Event<'a> {
    pub(super) object: RawObject<'a>,
}

/// Whom an event is about. Empty parts find nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventId<'a> {
    /// The namespace; empty for objects that are in none.
    pub namespace: Cow<'a, str>,
    /// The name of the object; of the pod for a container.
    pub name: Cow<'a, str>,
    /// The name of the container.
    pub container: Option<Cow<'a, str>>,
}

/// A JSON object with its members as texts.
#[derive(Debug, Default)]
pub(super) struct RawObject<'a> {
    /// All of it, without blanks around it.
    pub(super) text: &'a str,
    /// In their order, duplicates included.
    pub(super) members: SmallVec<[(Cow<'a, str>, &'a str); 12]>,
}

impl<'a> Event<'a> {
    /// Reads an event.
    ///
    /// # Errors
    /// It is not a JSON object, or over one of the limits.
    pub fn parse(text: &'a [u8]) -> Result<Self, EventError> {
        if text.len() > MAX_EVENT_BYTES {
            return Err(EventError::TooLong);
        }
        let text = std::str::from_utf8(text).map_err(|_| EventError::Encoding)?;
        if is_too_deep(text) {
            return Err(EventError::TooDeep);
        }
        Ok(Self {
            object: RawObject::parse(text)?,
        })
    }

    /// Its text, without blanks around it.
    pub fn text(&self) -> &'a str {
        self.object.text
    }

    /// Whom it is about.
    pub fn id(&self, metricset: Metricset) -> EventId<'a> {
        let name = self.object.text_of("name");
        let module = self.object.object_of("_module");
        let namespace = module.text_of("namespace");
        match metricset.subject() {
            Subject::Container => EventId {
                namespace,
                name: module.object_of("pod").text_of("name"),
                container: Some(name),
            },
            Subject::Object => EventId::of_object(namespace, name),
        }
    }
}

impl<'a> EventId<'a> {
    /// The id of an object is `namespace/name`, or the one part that there is. An id of one part
    /// is a name, and one of two parts is a namespace and a name, however they came about.
    fn of_object(namespace: Cow<'a, str>, name: Cow<'a, str>) -> Self {
        let only = match (namespace.is_empty(), name.is_empty()) {
            (false, false) => {
                return Self {
                    namespace,
                    name,
                    container: None,
                };
            }
            (false, true) => namespace,
            (true, _) => name,
        };
        let (namespace, name) = match only.split_once('/') {
            Some((namespace, name)) if !name.contains('/') => (
                Cow::Owned(namespace.to_owned()),
                Cow::Owned(name.to_owned()),
            ),
            _ => (Cow::Borrowed(""), only),
        };
        Self {
            namespace,
            name,
            container: None,
        }
    }
}

impl fmt::Display for EventId<'_> {
    /// Its parts, joined by slashes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.container.is_some() || !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)?;
        match &self.container {
            Some(container) => write!(f, "/{container}"),
            None => Ok(()),
        }
    }
}

/// The store key of an event's id, as Beats calls it: `namespace/name` or `name`, for a
/// container that of its pod.
pub fn store_key(id: &str) -> &str {
    match id.match_indices('/').nth(1) {
        Some((at, _)) => id.get(..at).unwrap_or(id),
        None => id,
    }
}

impl<'a> RawObject<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, serde_json::Error> {
        let text = text.trim_matches([' ', '\t', '\r', '\n']);
        let Members(members) = serde_json::from_str(text)?;
        Ok(Self { text, members })
    }

    /// The value of a member; of the last one if there are several, as every reader has it.
    fn get(&self, key: &str) -> Option<&'a str> {
        let mut same = self.members.iter().rev().filter(|(known, _)| known == key);
        same.next().map(|(_, value)| *value)
    }

    /// The text of a member; empty if it is none.
    fn text_of(&self, key: &str) -> Cow<'a, str> {
        let text = self.get(key).filter(|value| value.starts_with('"'));
        let read = text.and_then(|value| serde_json::from_str::<Key<'_>>(value).ok());
        read.map(|Key(text)| text).unwrap_or_default()
    }

    /// The object of a member; empty if it is none.
    fn object_of(&self, key: &str) -> Self {
        let object = self.get(key).filter(|value| value.starts_with('{'));
        object
            .and_then(|value| Self::parse(value).ok())
            .unwrap_or_default()
    }
}

/// Whether a text nests deeper than an event may. It may be no JSON at all.
fn is_too_deep(text: &str) -> bool {
    let bytes = text.as_bytes();
    // Most events have fewer brackets than that in all.
    if memchr::memchr2_iter(b'{', b'[', bytes).count() <= MAX_EVENT_DEPTH {
        return false;
    }
    let (mut depth, mut in_text, mut escaped) = (0usize, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                depth += 1;
                if depth > MAX_EVENT_DEPTH {
                    return true;
                }
            }
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

struct Members<'a>(SmallVec<[(Cow<'a, str>, &'a str); 12]>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members_<'a>(std::marker::PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for Members_<'a> {
            type Value = Members<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = SmallVec::new();
                while let Some((Key(key), value)) = map.next_entry::<Key<'a>, &'a RawValue>()? {
                    members.push((key, value.get()));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Members_(std::marker::PhantomData))
    }
}

/// A text that is borrowed where it has no escapes.
struct Key<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text<'a>(std::marker::PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for Text<'a> {
            type Value = Key<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Text(std::marker::PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(metricset: Metricset, event: &str) -> String {
        Event::parse(event.as_bytes())
            .unwrap()
            .id(metricset)
            .to_string()
    }

    #[test]
    fn an_id_is_made_of_name_and_module_fields() {
        for (metricset, event, expected) in [
            (
                Metricset::Pod,
                r#"{"name":"a","_module":{"namespace":"n"}}"#,
                "n/a",
            ),
            (
                Metricset::StateNamespace,
                r#"{"_module":{"namespace":"n"}}"#,
                "n",
            ),
            (Metricset::Node, r#"{"name":"a"}"#, "a"),
            (Metricset::Pod, r#"{"name":"n/a"}"#, "n/a"),
            (
                Metricset::Pod,
                r#"{"name":7,"_module":{"namespace":["n"]}}"#,
                "",
            ),
            (Metricset::Pod, r#"{"name":"a","_module":"n"}"#, "a"),
            (
                Metricset::Pod,
                r#"{"name":"b","name":"\u0061","\u006eame":"c"}"#,
                "c",
            ),
            (
                Metricset::Container,
                r#"{"name":"c","_module":{"namespace":"n","pod":{"name":"p"}}}"#,
                "n/p/c",
            ),
            (Metricset::StateContainer, r#"{"name":"c"}"#, "//c"),
            (Metricset::Container, "{}", "//"),
        ] {
            assert_eq!(id(metricset, event), expected, "{event}");
        }
    }

    #[test]
    fn what_is_no_event_says_why() {
        let deep = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
        let list =
            |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        let long = |bytes: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8));
        for (event, is_event) in [
            ("{}".to_owned(), true),
            (" \t{\"a\":1} \r\n".to_owned(), true),
            (deep(64), true),
            (deep(65), false),
            (list(63), true),
            (list(64), false),
            ("[".repeat(100_000), false),
            (format!("{{\"a\":\"{}\"}}", "{\\\"".repeat(200)), true),
            (long(MAX_EVENT_BYTES), true),
            (long(MAX_EVENT_BYTES + 1), false),
            ("[]".to_owned(), false),
            ("{".to_owned(), false),
            ("{} {}".to_owned(), false),
            ("{\"a\":01}".to_owned(), false),
            ("{\"a\":\"\n\"}".to_owned(), false),
            ("\u{feff}{}".to_owned(), false),
            (String::new(), false),
        ] {
            let short: String = event.chars().take(40).collect();
            assert_eq!(Event::parse(event.as_bytes()).is_ok(), is_event, "{short}");
        }
        let error = Event::parse(b"{\"a\":\"\xff\"}").unwrap_err();
        assert_eq!(error.to_string(), "not UTF-8");
    }
}
