//! A JSON reader that loses one value, not the document.
//!
//! Invariants: numbers of any size and texts of any bytes are read; what is no UTF-8, or half a
//! surrogate pair, becomes U+FFFD, as Go reads it. A text without escapes is borrowed. Neither
//! depth nor length of what is skipped costs memory or stack.
//!
//! What is skipped is not validated: only its texts and brackets are counted. That, and
//! looking at eight bytes at a time, makes skipping twice as fast as serde_json's; and
//! skipping is most of the work.

use std::{borrow::Cow, fmt};

use serde::{
    de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor},
    forward_to_deserialize_any,
};

/// Reads values one after the other. As a [`serde::Deserializer`] it describes itself.
#[derive(Clone, Debug)]
pub(super) struct Reader<'de> {
    bytes: &'de [u8],
    at: usize,
}

/// The bytes do not go on as JSON does; the reader stands where they should.
#[derive(Debug)]
pub(super) struct Broken;

/// The entries of an object, being read.
pub(super) struct Entries<'r, 'de>(Members<'r, 'de>);

/// The elements of an array, being read.
pub(super) struct Elements<'r, 'de>(Members<'r, 'de>);

struct Members<'r, 'de> {
    reader: &'r mut Reader<'de>,
    close: u8,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Opened,
    Within,
    Closed,
}

impl<'de> Reader<'de> {
    pub(super) fn new(bytes: &'de [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The offset of the next byte.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// A reader of the same bytes that stands before the value at this offset.
    pub(super) fn back_to(&self, at: usize) -> Self {
        Self {
            bytes: self.bytes,
            at,
        }
    }

    /// The entries of the object that comes next; `None`, and it is skipped, if it is another
    /// value.
    pub(super) fn entries(&mut self) -> Result<Option<Entries<'_, 'de>>, Broken> {
        if self.peek()? != b'{' {
            return self.skip().map(|()| None);
        }
        self.at += 1;
        Ok(Some(Entries(Members::new(self, b'}'))))
    }

    /// Nothing but white space is left.
    pub(super) fn end(&mut self) -> Result<(), Broken> {
        match self.peek() {
            Ok(_) => Err(Broken),
            Err(Broken) => Ok(()),
        }
    }

    /// The first byte of the next value or mark.
    pub(super) fn peek(&mut self) -> Result<u8, Broken> {
        loop {
            match self.bytes.get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                Some(byte) => return Ok(*byte),
                None => return Err(Broken),
            }
        }
    }

    /// Passes by this mark, if it comes next. Returns whether it does.
    pub(super) fn mark(&mut self, mark: u8) -> Result<bool, Broken> {
        let comes = self.peek()? == mark;
        self.at += usize::from(comes);
        Ok(comes)
    }

    /// Whether the value before is known to end here: a number at the end of what is there may
    /// go on, unless all is there.
    pub(super) fn complete(&self, all: bool) -> Result<(), Broken> {
        if all || self.at < self.bytes.len() {
            Ok(())
        } else {
            Err(Broken)
        }
    }

    /// Passes by the next value.
    pub(super) fn skip(&mut self) -> Result<(), Broken> {
        match self.peek()? {
            b'{' | b'[' => self.skip_nested(),
            b'"' => {
                self.at += 1;
                self.skip_text()
            }
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            _ => self.number().map(drop),
        }
    }

    fn skip_nested(&mut self) -> Result<(), Broken> {
        let mut depth = 0_usize;
        loop {
            let byte = *self.bytes.get(self.at).ok_or(Broken)?;
            self.at += 1;
            match byte {
                b'"' => self.skip_text()?,
                b'{' | b'[' => depth += 1,
                b'}' | b']' => {
                    depth -= 1;
                    if depth == 0 {
                        return Ok(());
                    }
                }
                _ => {}
            }
        }
    }

    /// To behind the closing quote, from behind the opening one.
    fn skip_text(&mut self) -> Result<(), Broken> {
        while self.find_quote_or_escape()? == b'\\' {
            self.at += 2;
        }
        self.at += 1;
        Ok(())
    }

    /// To the first `"` or `\` from here on, and which it is.
    fn find_quote_or_escape(&mut self) -> Result<u8, Broken> {
        loop {
            let rest = self.bytes.get(self.at..).ok_or(Broken)?;
            if let Some(eight) = rest.first_chunk() {
                let word = u64::from_le_bytes(*eight);
                let found = zeros(word ^ QUOTES) | zeros(word ^ ESCAPES);
                if found == 0 {
                    self.at += 8;
                    continue;
                }
                self.at += (found.trailing_zeros() / 8) as usize;
            }
            match self.bytes.get(self.at) {
                Some(byte @ (b'"' | b'\\')) => return Ok(*byte),
                Some(_) => self.at += 1,
                None => return Err(Broken),
            }
        }
    }

    /// The text whose opening quote has been read.
    fn text(&mut self) -> Result<Cow<'de, str>, Broken> {
        let start = self.at;
        let first = self.find_quote_or_escape()?;
        let plain = self.bytes.get(start..self.at).unwrap_or_default();
        if first == b'"' {
            self.at += 1;
            // The lossy reading alone is several times slower.
            let text = str::from_utf8(plain).map(Cow::Borrowed);
            return Ok(text.unwrap_or_else(|_| String::from_utf8_lossy(plain)));
        }
        let mut text = plain.to_vec();
        while self.find_quote_or_escape()? == b'\\' {
            self.at += 1;
            self.escape(&mut text)?;
            let start = self.at;
            self.find_quote_or_escape()?;
            text.extend_from_slice(self.bytes.get(start..self.at).unwrap_or_default());
        }
        self.at += 1;
        Ok(Cow::Owned(String::from_utf8_lossy(&text).into_owned()))
    }

    /// What stands behind a `\`.
    fn escape(&mut self, text: &mut Vec<u8>) -> Result<(), Broken> {
        let byte = *self.bytes.get(self.at).ok_or(Broken)?;
        self.at += 1;
        let plain = match byte {
            b'"' | b'\\' | b'/' => byte,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let char = self.utf16()?;
                text.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => return Err(Broken),
        };
        text.push(plain);
        Ok(())
    }

    /// One character of one or two `\uXXXX`, from behind the first `\u`.
    fn utf16(&mut self) -> Result<char, Broken> {
        let unit = self.hex()?;
        if let Some(char) = char::from_u32(unit.into()) {
            return Ok(char);
        }
        let behind = self.at;
        if self
            .bytes
            .get(behind..)
            .is_some_and(|rest| rest.starts_with(b"\\u"))
        {
            self.at += 2;
            let pair = [unit, self.hex()?];
            if let Some(Ok(char)) = char::decode_utf16(pair).next() {
                return Ok(char);
            }
            self.at = behind;
        }
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn hex(&mut self) -> Result<u16, Broken> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let digits = rest.first_chunk::<4>().ok_or(Broken)?;
        let mut unit = 0;
        for digit in digits {
            let digit = char::from(*digit).to_digit(16).ok_or(Broken)?;
            unit = unit << 4 | digit as u16;
        }
        self.at += 4;
        Ok(unit)
    }

    fn word(&mut self, word: &[u8]) -> Result<(), Broken> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        if !rest.starts_with(word) {
            return Err(Broken);
        }
        self.at += word.len();
        Ok(())
    }

    fn number(&mut self) -> Result<&'de str, Broken> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let len = rest.iter().take_while(|byte| is_part(byte)).count();
        let number = rest.get(..len).unwrap_or_default();
        if !matches!(number.first(), Some(b'0'..=b'9' | b'-')) {
            return Err(Broken);
        }
        self.at += len;
        str::from_utf8(number).map_err(|_| Broken)
    }
}

// === impl Members ===

impl<'r, 'de> Members<'r, 'de> {
    fn new(reader: &'r mut Reader<'de>, close: u8) -> Self {
        Self {
            reader,
            close,
            state: State::Opened,
        }
    }

    /// Whether there is one more; if so, the reader stands before it.
    fn advance(&mut self) -> Result<bool, Broken> {
        let byte = self.reader.peek()?;
        match self.state {
            State::Opened | State::Within if byte == self.close => {
                self.reader.at += 1;
                self.state = State::Closed;
            }
            State::Opened => self.state = State::Within,
            State::Within if byte == b',' => self.reader.at += 1,
            State::Within => return Err(Broken),
            State::Closed => {}
        }
        Ok(self.state != State::Closed)
    }

    /// Reads to the end what nobody has read.
    fn close(mut self) -> Result<(), Broken> {
        if self.state != State::Closed {
            while self.advance()? {
                if self.close == b'}' {
                    self.reader.key()?;
                }
                self.reader.skip()?;
            }
        }
        Ok(())
    }
}

impl<'de> Reader<'de> {
    /// A key and its colon.
    pub(super) fn key(&mut self) -> Result<Cow<'de, str>, Broken> {
        if self.peek()? != b'"' {
            return Err(Broken);
        }
        self.at += 1;
        let key = self.text()?;
        if self.peek()? != b':' {
            return Err(Broken);
        }
        self.at += 1;
        Ok(key)
    }
}

impl<'de> Entries<'_, 'de> {
    /// The next key; `None` after the last one. Its value has to be read before the next one.
    pub(super) fn key(&mut self) -> Result<Option<Cow<'de, str>>, Broken> {
        match self.0.advance()? {
            true => self.0.reader.key().map(Some),
            false => Ok(None),
        }
    }

    /// Stands before the value.
    pub(super) fn reader(&mut self) -> &mut Reader<'de> {
        self.0.reader
    }
}

impl<'de> Elements<'_, 'de> {
    /// Stands before the next element, which has to be read; `None` after the last one.
    pub(super) fn element(&mut self) -> Result<Option<&mut Reader<'de>>, Broken> {
        Ok(self.0.advance()?.then_some(&mut *self.0.reader))
    }
}

// === serde ===

impl<'de> de::Deserializer<'de> for &mut Reader<'de> {
    type Error = Broken;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Broken> {
        match self.peek()? {
            b'"' => {
                self.at += 1;
                match self.text()? {
                    Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
                    Cow::Owned(text) => visitor.visit_string(text),
                }
            }
            b'{' => {
                self.at += 1;
                let mut entries = Entries(Members::new(self, b'}'));
                let value = visitor.visit_map(&mut entries)?;
                entries.0.close()?;
                Ok(value)
            }
            b'[' => {
                self.at += 1;
                let mut elements = Elements(Members::new(self, b']'));
                let value = visitor.visit_seq(&mut elements)?;
                elements.0.close()?;
                Ok(value)
            }
            b't' => {
                self.word(b"true")?;
                visitor.visit_bool(true)
            }
            b'f' => {
                self.word(b"false")?;
                visitor.visit_bool(false)
            }
            b'n' => {
                self.word(b"null")?;
                visitor.visit_unit()
            }
            _ => {
                let number = self.number()?;
                if let Ok(number) = number.parse() {
                    visitor.visit_u64(number)
                } else if let Ok(number) = number.parse() {
                    visitor.visit_i64(number)
                } else {
                    visitor.visit_f64(number.parse().map_err(|_| Broken)?)
                }
            }
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Broken> {
        self.skip()?;
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier
    }
}

/// A key that was read already.
struct Key<'de>(Cow<'de, str>);

impl<'de> de::Deserializer<'de> for Key<'de> {
    type Error = Broken;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Broken> {
        match self.0 {
            Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
            Cow::Owned(text) => visitor.visit_string(text),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de> MapAccess<'de> for &mut Entries<'_, 'de> {
    type Error = Broken;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Broken> {
        let key = self.key()?;
        key.map(|key| seed.deserialize(Key(key))).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Broken> {
        seed.deserialize(self.reader())
    }
}

impl<'de> SeqAccess<'de> for &mut Elements<'_, 'de> {
    type Error = Broken;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Broken> {
        let element = self.element()?;
        element.map(|reader| seed.deserialize(reader)).transpose()
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this is not JSON")
    }
}

impl std::error::Error for Broken {}

impl de::Error for Broken {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

const ONES: u64 = u64::MAX / 0xff;
const QUOTES: u64 = ONES * b'"' as u64;
const ESCAPES: u64 = ONES * b'\\' as u64;

/// Sets the highest bit of the lowest byte that is zero; bytes above it may be wrong.
fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & (ONES << 7)
}
