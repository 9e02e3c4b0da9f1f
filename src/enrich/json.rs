//! Writes JSON text front to back, without a tree in between.

use std::mem;

/// A JSON object that is being written.
#[derive(Debug, Default)]
pub(super) struct JsonWriter {
    text: String,
    /// Something stands before the next member of the object that is open.
    comma: bool,
}

impl JsonWriter {
    /// Begins the outermost object, with room for `capacity` bytes.
    pub(super) fn new(capacity: usize) -> Self {
        let mut text = String::with_capacity(capacity);
        text.push('{');
        Self { text, comma: false }
    }

    /// Ends the outermost object.
    pub(super) fn finish(mut self) -> String {
        self.text.push('}');
        self.text
    }

    fn key(&mut self, key: &str) {
        self.key_of([key]);
    }

    /// A key that is these parts in a row.
    fn key_of<'a>(&mut self, parts: impl IntoIterator<Item = &'a str>) {
        if mem::replace(&mut self.comma, true) {
            self.text.push(',');
        }
        self.text.push('"');
        for part in parts {
            escape(part, &mut self.text);
        }
        self.text.push_str("\":");
    }

    /// Begins an object that is the value of `key`.
    pub(super) fn open(&mut self, key: &str) {
        self.key(key);
        self.text.push('{');
        self.comma = false;
    }

    /// Ends the object that was begun last.
    pub(super) fn close(&mut self) {
        self.text.push('}');
        self.comma = true;
    }

    /// A text.
    pub(super) fn field(&mut self, key: &str, value: &str) {
        self.key(key);
        quote(value, &mut self.text);
    }

    /// A text whose key is these parts in a row.
    pub(super) fn field_of<'a>(&mut self, key: impl IntoIterator<Item = &'a str>, value: &str) {
        self.key_of(key);
        quote(value, &mut self.text);
    }

    /// A text whose key has an underscore for each dot.
    pub(super) fn field_dedotted(&mut self, key: &str, value: &str) {
        if mem::replace(&mut self.comma, true) {
            self.text.push(',');
        }
        self.text.push('"');
        let mut rest = key;
        while let Some((part, behind)) = rest.split_once('.') {
            escape(part, &mut self.text);
            self.text.push('_');
            rest = behind;
        }
        escape(rest, &mut self.text);
        self.text.push_str("\":");
        quote(value, &mut self.text);
    }

    /// A list of texts.
    pub(super) fn list<'a>(&mut self, key: &str, items: impl IntoIterator<Item = &'a str>) {
        self.key(key);
        self.text.push('[');
        for (at, item) in items.into_iter().enumerate() {
            if at > 0 {
                self.text.push(',');
            }
            quote(item, &mut self.text);
        }
        self.text.push(']');
    }

    /// A value that is JSON already: a number, `null`, or a whole document.
    pub(super) fn raw(&mut self, key: &str, value: &str) {
        self.key(key);
        self.text.push_str(value);
    }
}

/// Writes a text with its quotes.
pub(super) fn quote(text: &str, into: &mut String) {
    into.push('"');
    escape(text, into);
    into.push('"');
}

fn escape(text: &str, into: &mut String) {
    let special = |byte: u8| byte < b' ' || byte == b'"' || byte == b'\\';
    // All bytes are looked at, which is faster than to stop at the first: there is none.
    if !text.bytes().fold(false, |any, byte| any | special(byte)) {
        into.push_str(text);
        return;
    }
    let mut rest = text;
    while let Some(at) = rest.bytes().position(special) {
        let (plain, from) = rest.split_at(at);
        into.push_str(plain);
        let mut chars = from.chars();
        match chars.next() {
            Some('"') => into.push_str("\\\""),
            Some('\\') => into.push_str("\\\\"),
            Some('\n') => into.push_str("\\n"),
            Some('\r') => into.push_str("\\r"),
            Some('\t') => into.push_str("\\t"),
            Some(control) => {
                into.push_str("\\u00");
                for digit in [u32::from(control) >> 4, u32::from(control) & 15] {
                    into.extend(char::from_digit(digit, 16));
                }
            }
            None => {}
        }
        rest = chars.as_str();
    }
    into.push_str(rest);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn an_object_is_written_front_to_back() {
        let mut json = JsonWriter::new(0);
        json.open("a");
        json.field_dedotted("x.y..z", "1");
        json.open("empty");
        json.close();
        json.close();
        json.list("list", ["p", "q"]);
        json.field_of(["k8s.", "b.c"], "2");
        json.raw("n", "1.10");
        assert_eq!(
            json.finish(),
            r#"{"a":{"x_y__z":"1","empty":{}},"list":["p","q"],"k8s.b.c":"2","n":1.10}"#
        );
    }

    proptest! {
        #[test]
        fn whatever_text_is_written_is_read_again(key in "\\PC*", value in any::<String>()) {
            let mut json = JsonWriter::new(0);
            json.field(&key, &value);
            let read: Value = serde_json::from_str(&json.finish()).unwrap();
            prop_assert_eq!(read, json!({ key: value }));
        }
    }
}
