//! Messages as people read them: the form in which the recordings of the legacy relay are kept.

use std::fmt::Write as _;

use serde_json::{Map, Value as Json, json};

use super::codec::Value;
use super::messages::Message;

/// `msg`, the fields in wire order, then the texts; an address stands among the fields as the
/// number it is on the wire (`ip_u32`) and once more at the end as people write it (`ip`).
/// A text that is no UTF-8 becomes `{"$bytes_hex": ".."}`, a byte array its hex digits.
pub fn to_json(message: &Message<'_>) -> Map<String, Json> {
    let mut entry = Map::new();
    let mut addresses = Vec::new();
    entry.insert("msg".to_owned(), message.row().name.into());
    message.visit(|name, value| {
        let (key, shown) = match value {
            Value::Number(number) => (name.to_owned(), number.into()),
            Value::Bytes(bytes) => (name.to_owned(), hex(bytes).into()),
            Value::Text(bytes) => (name.to_owned(), text(bytes)),
            Value::Address(ip) => {
                addresses.push((name.to_owned(), ip.to_string().into()));
                (
                    format!("{name}_u32"),
                    u32::from_le_bytes(ip.octets()).into(),
                )
            }
        };
        entry.insert(key, shown);
    });
    entry.extend(addresses);
    entry
}

/// A text, or its bytes if it is no UTF-8.
pub fn text(bytes: &[u8]) -> Json {
    match str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => json!({ "$bytes_hex": hex(bytes) }),
    }
}

/// Two hex digits for each byte.
pub fn hex(bytes: &[u8]) -> String {
    let mut digits = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a `String` cannot fail.
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}
