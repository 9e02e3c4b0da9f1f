//! Identifiers in their compact forms: 16 bytes for a UUID, 32 for a container hash.
//!
//! Invariant: parsing and showing an identifier gives back the same text, byte for byte. Only the
//! canonical spelling is packed; every other text is kept as it came.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

/// The longest uid or container id that is valid, in bytes (D8).
pub const MAX_ID_LEN: usize = 1024;

/// `metadata.uid` of an object.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(UidRepr);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum UidRepr {
    /// `8-4-4-4-12` lower-case hex digits.
    Uuid([u8; 16]),
    Text(Arc<str>),
}

/// `status.containerStatuses[].containerID`: usually a runtime prefix and 64 hex digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(ContainerIdRepr);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
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
        Self(match parse_uuid(text) {
            Some(bytes) => UidRepr::Uuid(bytes),
            None => UidRepr::Text(text.into()),
        })
    }

    /// The text, spelled out in `buf` if it is packed.
    pub fn text<'a>(&'a self, buf: &'a mut IdBuf) -> &'a str {
        match &self.0 {
            UidRepr::Uuid(bytes) => as_text(buf.uuid(bytes)),
            UidRepr::Text(text) => text,
        }
    }

    /// [`Uid::text`], as its bytes.
    pub fn bytes<'a>(&'a self, buf: &'a mut IdBuf) -> &'a [u8] {
        match &self.0 {
            UidRepr::Uuid(bytes) => buf.uuid(bytes),
            UidRepr::Text(text) => text.as_bytes(),
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
            Some(ContainerIdRepr::Hash(runtime, parse_hash(digits)?))
        });
        Self(packed.unwrap_or_else(|| ContainerIdRepr::Text(text.into())))
    }

    /// The text, spelled out in `buf` if it is packed.
    pub fn text<'a>(&'a self, buf: &'a mut IdBuf) -> &'a str {
        match &self.0 {
            ContainerIdRepr::Hash(runtime, hash) => as_text(buf.hash(*runtime, hash)),
            ContainerIdRepr::Text(text) => text,
        }
    }

    /// [`ContainerId::text`], as its bytes.
    pub fn bytes<'a>(&'a self, buf: &'a mut IdBuf) -> &'a [u8] {
        match &self.0 {
            ContainerIdRepr::Hash(runtime, hash) => buf.hash(*runtime, hash),
            ContainerIdRepr::Text(text) => text.as_bytes(),
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

    fn uuid(&mut self, bytes: &[u8; 16]) -> &[u8] {
        let mut digits = [0; 32];
        write_hex(bytes, &mut digits);
        let text = &mut self.0;
        text[..8].copy_from_slice(&digits[..8]);
        text[9..13].copy_from_slice(&digits[8..12]);
        text[14..18].copy_from_slice(&digits[12..16]);
        text[19..23].copy_from_slice(&digits[16..20]);
        text[24..36].copy_from_slice(&digits[20..]);
        [text[8], text[13], text[18], text[23]] = [b'-'; 4];
        &text[..36]
    }

    fn hash(&mut self, runtime: Runtime, hash: &[u8; 32]) -> &[u8] {
        let prefix = runtime.prefix().as_bytes();
        let len = prefix.len() + 64;
        let (head, tail) = self.0.split_at_mut(prefix.len());
        head.copy_from_slice(prefix);
        write_hex(hash, tail);
        self.0.get(..len).unwrap_or_default()
    }
}

impl Default for IdBuf {
    fn default() -> Self {
        Self::new()
    }
}

impl Hash for UidRepr {
    /// A UUID in one go: its bits are as good as random already.
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Uuid(bytes) => state.write_u128(u128::from_le_bytes(*bytes)),
            Self::Text(text) => text.hash(state),
        }
    }
}

impl Hash for ContainerIdRepr {
    /// Without the runtime: no two give their containers the same hash.
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Hash(_, hash) => state.write(hash),
            Self::Text(text) => text.hash(state),
        }
    }
}

impl PartialEq<str> for Uid {
    /// Whether this is its text.
    fn eq(&self, other: &str) -> bool {
        match &self.0 {
            UidRepr::Uuid(bytes) => parse_uuid(other).is_some_and(|other| other == *bytes),
            UidRepr::Text(text) => **text == *other,
        }
    }
}

impl PartialEq<str> for ContainerId {
    /// Whether this is its text.
    fn eq(&self, other: &str) -> bool {
        match &self.0 {
            ContainerIdRepr::Hash(runtime, hash) => other
                .strip_prefix(runtime.prefix())
                .and_then(parse_hash)
                .is_some_and(|other| other == *hash),
            ContainerIdRepr::Text(text) => **text == *other,
        }
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

fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let text: &[u8; 36] = text.as_bytes().try_into().ok()?;
    if [text[8], text[13], text[18], text[23]] != [b'-'; 4] {
        return None;
    }
    let mut digits = [0; 32];
    digits[..8].copy_from_slice(&text[..8]);
    digits[8..12].copy_from_slice(&text[9..13]);
    digits[12..16].copy_from_slice(&text[14..18]);
    digits[16..20].copy_from_slice(&text[19..23]);
    digits[20..].copy_from_slice(&text[24..]);
    read_hex(&digits)
}

fn parse_hash(digits: &str) -> Option<[u8; 32]> {
    let digits: &[u8; 64] = digits.as_bytes().try_into().ok()?;
    read_hex(digits)
}

// Both directions go without a branch or a table: the compiler takes many digits at a time.

fn write_hex(bytes: &[u8], digits: &mut [u8]) {
    let digit = |nibble: u8| nibble + if nibble < 10 { b'0' } else { b'a' - 10 };
    let (pairs, _) = digits.as_chunks_mut();
    for (byte, pair) in bytes.iter().zip(pairs) {
        *pair = [digit(byte >> 4), digit(byte & 15)];
    }
}

/// Lower case only: the text must come back as it was.
fn read_hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let nibble = |digit: u8| {
        let (number, letter) = (digit.wrapping_sub(b'0'), digit.wrapping_sub(b'a'));
        let letter = if letter < 6 { letter + 10 } else { NO_DIGIT };
        if number < 10 { number } else { letter }
    };
    let mut bytes = [0; N];
    let mut seen = 0;
    let (pairs, _) = digits.as_chunks();
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        let (high, low) = (nibble(*high), nibble(*low));
        seen |= high | low;
        *byte = high << 4 | low & 15;
    }
    (seen & NO_DIGIT == 0).then_some(bytes)
}

/// A bit that no nibble has.
const NO_DIGIT: u8 = 0x80;

fn as_text(ascii: &[u8]) -> &str {
    std::str::from_utf8(ascii).unwrap_or_default()
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
            "d913487f-1ed0-1c4a-4327-4d7a97d33d3g",
            "d913487f-1ed0-1c4a-4327-4d7a97d33d3/",
            "d913487f-1ed0-1c4a-4327+4d7a97d33d36",
            &format!("containerd://{hash}"),
            &format!("docker://{hash}"),
            &format!("cri-o://{hash}"),
            &format!("other://{hash}"),
            &format!("containerd://{}", hash.to_uppercase()),
            "containerd://app",
            hash,
        ] {
            let (uid, id) = (Uid::new(text), ContainerId::new(text));
            assert_eq!([uid.to_string(), id.to_string()], [text, text]);
            let mut buf = IdBuf::new();
            assert_eq!(uid.bytes(&mut buf), text.as_bytes());
            assert_eq!(id.bytes(&mut buf), text.as_bytes());
            assert!(uid == *text && id == *text);
            for other in [&*format!("{text}0"), &text.to_uppercase(), "x"] {
                assert_eq!(
                    (uid == *other, id == *other),
                    (text == other, text == other)
                );
            }
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
