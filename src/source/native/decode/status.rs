//! `Status`: how an API server says no.

use serde::de::{DeserializeSeed, MapAccess};

use super::{
    json::Reader,
    value::{Fields, Object, Value, skip},
};

/// A `Status` object: in the stream of a watch, in place of a list, or as the body of an
/// HTTP error. What is missing or of a wrong type is zero or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// As of HTTP; 0 if there is none.
    pub code: u16,
    /// One word, as `Expired`; cut at [`Status::MAX_TEXT_LEN`] bytes.
    pub reason: String,
    /// For people; cut at [`Status::MAX_TEXT_LEN`] bytes.
    pub message: String,
    /// `details.retryAfterSeconds`.
    pub retry_after_seconds: Option<u32>,
}

/// A `Status`, as it was read.
#[derive(Default)]
pub(super) struct StatusDraft<'de> {
    kind: Value<'de>,
    code: Value<'de>,
    reason: Value<'de>,
    message: Value<'de>,
    details: Details<'de>,
}

#[derive(Default)]
struct Details<'de> {
    retry_after_seconds: Value<'de>,
}

impl Status {
    /// The longest text that is kept, in bytes.
    pub const MAX_TEXT_LEN: usize = 1024;

    /// Reads the body of an HTTP error; none if it is no `Status`.
    pub fn decode(body: &[u8]) -> Option<Self> {
        let mut partial = StatusDraft::default();
        let mut reader = Reader::new(body);
        Object(&mut partial).deserialize(&mut reader).ok()?;
        partial.is_status().then(|| partial.finish())
    }
}

impl StatusDraft<'_> {
    /// Whether it says that it is one.
    pub(super) fn is_status(&self) -> bool {
        self.kind.text() == Some("Status")
    }

    pub(super) fn finish(&self) -> Status {
        let number = |value: &Value<'_>| match value {
            Value::Number(number) => Some(*number),
            Value::Null | Value::Bool(_) | Value::Text(_) | Value::Other => None,
        };
        let retry = number(&self.details.retry_after_seconds);
        Status {
            code: number(&self.code).map_or(0, |code| code.try_into().unwrap_or(0)),
            reason: cut(&self.reason),
            message: cut(&self.message),
            retry_after_seconds: retry.map(|seconds| seconds.try_into().unwrap_or(u32::MAX)),
        }
    }
}

fn cut(value: &Value<'_>) -> String {
    let text = value.text().unwrap_or_default();
    let end = text.floor_char_boundary(Status::MAX_TEXT_LEN);
    text.get(..end).unwrap_or_default().to_owned()
}

impl<'de> Fields<'de> for StatusDraft<'de> {
    fn field<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "kind" => self.kind = map.next_value()?,
            "code" => self.code = map.next_value()?,
            "reason" => self.reason = map.next_value()?,
            "message" => self.message = map.next_value()?,
            "details" => drop(map.next_value_seed(Object(&mut self.details))?),
            _ => skip(map)?,
        }
        Ok(())
    }
}

impl<'de> Fields<'de> for Details<'de> {
    fn field<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "retryAfterSeconds" => self.retry_after_seconds = map.next_value()?,
            _ => skip(map)?,
        }
        Ok(())
    }
}
