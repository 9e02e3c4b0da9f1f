//! Identifiers in their compact forms: 16 bytes for a UUID, 32 for a container hash.
//!
//! Law: parsing and showing an identifier gives back the same text, byte for byte.
//! Only the canonical spelling is packed; every other text is kept as it came.

use std::{fmt, sync::Arc};

/// The longest uid or container id that is valid, in bytes (D8).
pub const MAX_ID_LEN: usize = 1024;

/// `metadata.uid` of an object.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(UidRepr);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum UidRepr {
    /// `8-4-4-4-12` lower-case hex digits.
    Uuid([u8; 16]),
    Text(Arc<str>),
}

/// `status.containerStatuses[].containerID`: usually a runtime prefix and 64 hex digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(ContainerIdRepr);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum ContainerIdRepr {
    /// A known runtime's prefix and 64 lower-case hex digits.
    Hash(Runtime, [u8; 32]),
    Text(Arc<str>),
}

/// The container runtimes whose prefix is packed into one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Runtime {
    /// `containerd://`
    Containerd,
    /// `docker://`
    Docker,
    /// `cri-o://`
    CriO,
}

/// Room on the stack for the text of a packed identifier.
pub struct IdBuf([u8; IdBuf::LEN]);

impl Uid {
    /// Reads a uid; any text is one.
    pub fn new(text: &str) -> Self {
        Self(match parse_uuid(text.as_bytes()) {
            Some(bytes) => UidRepr::Uuid(bytes),
            None => UidRepr::Text(text.into()),
        })
    }

    /// The text, spelled out in `buf` if it is packed.
    pub fn text<'a>(&'a self, buf: &'a mut IdBuf) -> &'a str {
        match &self.0 {
            UidRepr::Uuid(bytes) => buf.uuid(bytes),
            UidRepr::Text(text) => text,
        }
    }

    /// Whether the text is empty.
    pub fn is_empty(&self) -> bool {
        match &self.0 {
            UidRepr::Uuid(_) => false,
            UidRepr::Text(text) => text.is_empty(),
        }
    }
}

impl ContainerId {
    /// Reads a container id; any text is one.
    pub fn new(text: &str) -> Self {
        let packed = Runtime::ALL.into_iter().find_map(|runtime| {
            let digits = text.strip_prefix(runtime.prefix())?;
            Some(ContainerIdRepr::Hash(
                runtime,
                parse_hash(digits.as_bytes())?,
            ))
        });
        Self(packed.unwrap_or_else(|| ContainerIdRepr::Text(text.into())))
    }

    /// The text, spelled out in `buf` if it is packed.
    pub fn text<'a>(&'a self, buf: &'a mut IdBuf) -> &'a str {
        match &self.0 {
            ContainerIdRepr::Hash(runtime, hash) => buf.hash(*runtime, hash),
            ContainerIdRepr::Text(text) => text,
        }
    }

    /// Whether the text is empty.
    pub fn is_empty(&self) -> bool {
        match &self.0 {
            ContainerIdRepr::Hash(..) => false,
            ContainerIdRepr::Text(text) => text.is_empty(),
        }
    }
}

impl Runtime {
    const ALL: [Self; 3] = [Self::Containerd, Self::Docker, Self::CriO];

    fn prefix(self) -> &'static str {
        match self {
            Self::Containerd => "containerd://",
            Self::Docker => "docker://",
            Self::CriO => "cri-o://",
        }
    }
}

impl IdBuf {
    /// The longest packed text: `containerd://` and 64 digits.
    const LEN: usize = 13 + 64;

    /// An empty buffer.
    pub fn new() -> Self {
        Self([0; Self::LEN])
    }

    fn uuid(&mut self, bytes: &[u8; 16]) -> &str {
        let mut end = 0;
        for (at, byte) in bytes.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                end = self.put(end, b'-');
            }
            end = self.put_hex(end, *byte);
        }
        self.shown(end)
    }

    fn hash(&mut self, runtime: Runtime, hash: &[u8; 32]) -> &str {
        let mut end = 0;
        for byte in runtime.prefix().bytes() {
            end = self.put(end, byte);
        }
        for byte in hash {
            end = self.put_hex(end, *byte);
        }
        self.shown(end)
    }

    fn put_hex(&mut self, at: usize, byte: u8) -> usize {
        let digit = |nibble: u8| nibble + if nibble < 10 { b'0' } else { b'a' - 10 };
        let at = self.put(at, digit(byte >> 4));
        self.put(at, digit(byte & 15))
    }

    fn put(&mut self, at: usize, byte: u8) -> usize {
        if let Some(place) = self.0.get_mut(at) {
            *place = byte;
        }
        at + 1
    }

    fn shown(&self, end: usize) -> &str {
        self.0
            .get(..end)
            .and_then(|text| std::str::from_utf8(text).ok())
            .unwrap_or_default()
    }
}

impl Default for IdBuf {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.text(&mut IdBuf::new()))
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.text(&mut IdBuf::new()), f)
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.text(&mut IdBuf::new()))
    }
}

impl fmt::Debug for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.text(&mut IdBuf::new()), f)
    }
}

fn parse_uuid(text: &[u8]) -> Option<[u8; 16]> {
    if text.len() != 36 {
        return None;
    }
    let mut bytes = [0; 16];
    let mut digits = text;
    for (at, byte) in bytes.iter_mut().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            digits = digits.strip_prefix(b"-")?;
        }
        (*byte, digits) = hex_byte(digits)?;
    }
    Some(bytes)
}

fn parse_hash(mut digits: &[u8]) -> Option<[u8; 32]> {
    if digits.len() != 64 {
        return None;
    }
    let mut bytes = [0; 32];
    for byte in &mut bytes {
        (*byte, digits) = hex_byte(digits)?;
    }
    Some(bytes)
}

fn hex_byte(digits: &[u8]) -> Option<(u8, &[u8])> {
    let ([high, low], rest) = digits.split_first_chunk()?;
    Some((nibble(*high)? << 4 | nibble(*low)?, rest))
}

/// Lower case only: the text must come back as it was.
fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "d913487f-1ed0-1c4a-4327-4d7a97d33d36";

    #[test]
    fn an_identifier_shows_the_text_it_was_read_from() {
        let hash = "7e18ef31b82c48cbeb5a20c3a7dcb4975fe021503ac285829b379df49d9e0f68";
        for text in [
            "",
            "p1",
            "ünïcode",
            UUID,
            &UUID.to_uppercase(),
            &UUID.replace('-', "0"),
            "d913487f-1ed0-1c4a-4327-4d7a97d33d3",
            &format!("containerd://{hash}"),
            &format!("docker://{hash}"),
            &format!("cri-o://{hash}"),
            &format!("other://{hash}"),
            &format!("containerd://{}", hash.to_uppercase()),
            "containerd://app",
            hash,
        ] {
            assert_eq!(Uid::new(text).to_string(), text);
            assert_eq!(ContainerId::new(text).to_string(), text);
        }
    }

    #[test]
    fn ordinary_identifiers_are_packed_and_small() {
        let hash = "7e18ef31b82c48cbeb5a20c3a7dcb4975fe021503ac285829b379df49d9e0f68";
        assert!(matches!(Uid::new(UUID).0, UidRepr::Uuid(_)));
        assert!(matches!(
            ContainerId::new(&format!("containerd://{hash}")).0,
            ContainerIdRepr::Hash(Runtime::Containerd, _)
        ));
        assert_eq!(size_of::<Uid>(), 24);
        assert_eq!(size_of::<ContainerId>(), 40);
    }

    #[test]
    fn equal_texts_are_equal_identifiers_and_others_are_not() {
        assert_eq!(Uid::new(UUID), Uid::new(UUID));
        assert_ne!(Uid::new(UUID), Uid::new(&UUID.to_uppercase()));
        assert!(Uid::new("").is_empty() && !Uid::new(UUID).is_empty());
        assert!(ContainerId::new("").is_empty() && !ContainerId::new("a").is_empty());
    }
}
