//! What a row of [`messages!`] becomes: a struct, its encoder and decoder, its variant of the
//! enum. The lengths a peer claims are checked before anything is read by them.
//!
//! [`messages!`]: super::messages

use std::net::Ipv4Addr;

use super::messages::Message;

/// Bytes of the timestamp before each body (protocol 2).
pub const TIMESTAMP: usize = 8;

/// The longest body that a length of 16 bits can hold.
pub const MAX_BODY: usize = u16::MAX as usize;

/// A message that can be written.
pub trait Encode {
    /// The number on the wire.
    const ID: u16;
    /// The name in the protocol.
    const NAME: &'static str;

    /// Bytes on the wire, the timestamp included.
    fn encoded_len(&self) -> usize;

    /// Appends the message, `timestamp` (nanoseconds since the UNIX epoch) in front.
    ///
    /// # Errors
    /// The body would be longer than [`MAX_BODY`]. Nothing is appended then.
    fn encode(&self, timestamp: u64, out: &mut Vec<u8>) -> Result<(), TooLong>;
}

/// A message is longer than the wire or the stream allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} takes {len} bytes, more than {limit}")]
pub struct TooLong {
    /// The message.
    pub name: &'static str,
    /// Its bytes on the wire, the timestamp included.
    pub len: usize,
    /// The most that is allowed.
    pub limit: usize,
}

/// Bytes that are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Without its size a message cannot even be skipped.
    #[error("unknown message id {0}")]
    UnknownId(u16),
    /// The length includes the fixed part, so it cannot be smaller.
    #[error("{name} claims {len} bytes, its fixed part alone has {fixed}")]
    ShorterThanFixed {
        /// The message.
        name: &'static str,
        /// The length it claims.
        len: usize,
        /// Bytes of its fixed part.
        fixed: usize,
    },
    /// The texts are longer than the message.
    #[error("{name} claims strings of {texts} bytes, its length leaves {room}")]
    TextsTooLong {
        /// The message.
        name: &'static str,
        /// The bytes the texts claim together.
        texts: usize,
        /// The bytes its length leaves for them.
        room: usize,
    },
}

/// What the table says about a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The number on the wire.
    pub id: u16,
    /// The name in the protocol.
    pub name: &'static str,
    /// Bytes of the fixed part, number and length included, the timestamp not.
    pub size: usize,
    /// How many texts follow the fixed part; 0 says that the message has no length.
    pub texts: usize,
    /// Where the lengths of all texts but the last begin.
    pub slots: usize,
    /// Whether it may come before `connect`.
    pub before_connect: bool,
}

/// A field's value, to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A number, code or flag.
    Number(u64),
    /// An address of IPv4.
    Address(Ipv4Addr),
    /// A byte array of fixed size.
    Bytes(&'a [u8]),
    /// A text, UTF-8 as a rule.
    Text(&'a [u8]),
}

/// Reads the message at the start of `bytes`: its timestamp, itself, and the bytes it takes.
/// `None` says that more bytes are needed.
///
/// # Errors
/// What stands there is no message, however many bytes follow.
pub fn decode(bytes: &[u8]) -> Result<Option<(u64, Message<'_>, usize)>, DecodeError> {
    let Some(len) = measure(bytes)? else {
        return Ok(None);
    };
    let Some((timestamp, body)) = bytes.get(..len).and_then(<[u8]>::split_first_chunk) else {
        return Ok(None);
    };
    let message = Message::from_body(body)?;
    Ok(Some((u64::from_le_bytes(*timestamp), message, len)))
}

/// Bytes that the message at the start of `bytes` takes, if all of them are there.
///
/// # Errors
/// No message has this id, or its length is impossible.
pub fn measure(bytes: &[u8]) -> Result<Option<usize>, DecodeError> {
    let u16_at = |at: usize| {
        let rest = bytes.get(TIMESTAMP + at..)?;
        rest.first_chunk().map(|&word| u16::from_le_bytes(word))
    };
    let Some(id) = u16_at(0) else {
        return Ok(None);
    };
    let row = Row::of(id).ok_or(DecodeError::UnknownId(id))?;
    let body = if row.texts == 0 {
        row.size
    } else {
        let Some(len) = u16_at(2) else {
            return Ok(None);
        };
        usize::from(len)
    };
    if body < row.size {
        let (name, fixed) = (row.name, row.size);
        return Err(DecodeError::ShorterThanFixed {
            name,
            len: body,
            fixed,
        });
    }
    let len = TIMESTAMP + body;
    Ok((bytes.len() >= len).then_some(len))
}

/// Turns rows into messages; see [`super::messages`] for how to read them.
macro_rules! messages {
    (@flag) => { false };
    (@flag before_connect) => { true };
    ($message:ident<$any:lifetime>: $(
        $(#[$doc:meta])*
        $id:literal $name:ident $(<$life:lifetime>)? = $called:literal ($size:literal) $($flag:ident)? {
            $(@ $at:literal $field:ident: $kind:ty),*
            $(; tail $slots:literal => $($text:ident),+)?
        }
    )+) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            pub struct $name $(<$life>)? {
                $(#[doc = concat!("At byte ", $at, " of the body.")] pub $field: $kind,)*
                $($(#[doc = concat!("The text `", stringify!($text), "`, as its bytes.")]
                    pub $text: &$life [u8],)+)?
            }

            impl $(<$life>)? $name $(<$life>)? {
                /// The row of the table.
                pub const ROW: $crate::wire::codec::Row = $crate::wire::codec::Row {
                    id: $id,
                    name: $called,
                    size: $size,
                    texts: <[&str]>::len(&[$($(stringify!($text)),+)?]),
                    slots: 0 $(+ $slots)?,
                    before_connect: messages!(@flag $($flag)?),
                };

                fn from_body(body: &$($life)? [u8]) -> Result<Self, $crate::wire::codec::DecodeError> {
                    let _ = body; // the heartbeat has nothing to read
                    $(let [$($text),+] =
                        $crate::wire::codec::read_texts(&Self::ROW, $slots, body)?;)?
                    Ok(Self {
                        $($field: $crate::wire::codec::Field::get(body, $at),)*
                        $($($text,)+)?
                    })
                }
            }

            // A row whose fields leave its fixed part does not compile.
            const _: () = {
                $(assert!($at + <$kind as $crate::wire::codec::Field>::SIZE <= $size);)*
                let row = <$name>::ROW;
                assert!(row.texts == 0 || row.slots + 2 * (row.texts - 1) <= row.size);
            };

            impl $(<$life>)? $crate::wire::codec::Encode for $name $(<$life>)? {
                const ID: u16 = $id;
                const NAME: &'static str = $called;

                #[inline]
                fn encoded_len(&self) -> usize {
                    $crate::wire::codec::TIMESTAMP + $size $($(+ self.$text.len())+)?
                }

                #[inline]
                fn encode(&self, timestamp: u64, out: &mut Vec<u8>) -> Result<(), $crate::wire::codec::TooLong> {
                    let len = self.encoded_len();
                    let body: &mut [u8; $size] = &mut $crate::wire::codec::start_body(&Self::ROW, len)?;
                    $($crate::wire::codec::Field::put(self.$field, body, $at);)*
                    $($crate::wire::codec::write_slots(body, $slots, &[$(self.$text.len()),+]);)?
                    out.reserve(len);
                    out.extend_from_slice(&timestamp.to_le_bytes());
                    out.extend_from_slice(body);
                    $($(out.extend_from_slice(self.$text);)+)?
                    Ok(())
                }
            }

            impl<$any> From<$name $(<$life>)?> for $message<$any> {
                fn from(message: $name $(<$life>)?) -> Self {
                    Self::$name(message)
                }
            }
        )+

        /// Any message, its texts borrowed from the bytes it was read from.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $message<$any> {
            $($(#[$doc])* $name($name $(<$life>)?),)+
        }

        impl<$any> $message<$any> {
            /// The row of the table.
            pub fn row(&self) -> &'static $crate::wire::codec::Row {
                match self {
                    $(Self::$name(_) => &$name::ROW,)+
                }
            }

            /// Bytes on the wire, the timestamp included.
            pub fn encoded_len(&self) -> usize {
                match self {
                    $(Self::$name(message) => $crate::wire::codec::Encode::encoded_len(message),)+
                }
            }

            /// Appends the message; see [`Encode::encode`](crate::wire::Encode::encode).
            ///
            /// # Errors
            /// The body would be too long. Nothing is appended then.
            pub fn encode(&self, timestamp: u64, out: &mut Vec<u8>) -> Result<(), $crate::wire::codec::TooLong> {
                match self {
                    $(Self::$name(message) => $crate::wire::codec::Encode::encode(message, timestamp, out),)+
                }
            }

            /// Shows each field by its name, in wire order, texts last.
            pub fn visit(&self, mut visit: impl FnMut(&'static str, $crate::wire::codec::Value<'_>)) {
                match self {
                    $(Self::$name(message) => {
                        let _ = message; // the heartbeat has nothing to show
                        $(visit(stringify!($field), $crate::wire::codec::Field::value(&message.$field));)*
                        $($(visit(stringify!($text), $crate::wire::codec::Value::Text(message.$text));)+)?
                    })+
                }
            }

            /// Reads a body whose length [`measure`](crate::wire::codec::measure) has checked.
            pub(super) fn from_body(body: &$any [u8]) -> Result<Self, $crate::wire::codec::DecodeError> {
                match $crate::wire::codec::Field::get(body, 0) {
                    $($id => $name::from_body(body).map(Self::$name),)+
                    id => Err($crate::wire::codec::DecodeError::UnknownId(id)),
                }
            }
        }

        impl $crate::wire::codec::Row {
            /// Every row of the table.
            pub const ALL: &'static [Self] = &[$($name::ROW),+];

            /// The row of the message with this number.
            #[inline]
            pub fn of(id: u16) -> Option<&'static Self> {
                match id {
                    $($id => Some(&$name::ROW),)+
                    _ => None,
                }
            }
        }
    };
}
pub(super) use messages;

/// A field of the fixed part. The table's rows are checked when they are compiled, so `at` is
/// always inside of `body`.
pub(super) trait Field: Sized {
    const SIZE: usize;
    fn put(self, body: &mut [u8], at: usize);
    fn get(body: &[u8], at: usize) -> Self;
    fn value(&self) -> Value<'_>;
}

macro_rules! numbers {
    ($($number:ty),+) => {$(
        impl Field for $number {
            const SIZE: usize = size_of::<$number>();

            #[inline]
            fn put(self, body: &mut [u8], at: usize) {
                self.to_le_bytes().put(body, at);
            }

            #[inline]
            fn get(body: &[u8], at: usize) -> Self {
                Self::from_le_bytes(Field::get(body, at))
            }

            fn value(&self) -> Value<'_> {
                Value::Number(u64::from(*self))
            }
        }
    )+};
}
numbers!(u8, u16, u32, u64);

impl Field for Ipv4Addr {
    const SIZE: usize = 4;

    #[inline]
    fn put(self, body: &mut [u8], at: usize) {
        self.octets().put(body, at);
    }

    #[inline]
    fn get(body: &[u8], at: usize) -> Self {
        Self::from(<[u8; 4]>::get(body, at))
    }

    fn value(&self) -> Value<'_> {
        Value::Address(*self)
    }
}

impl<const N: usize> Field for [u8; N] {
    const SIZE: usize = N;

    #[inline]
    fn put(self, body: &mut [u8], at: usize) {
        if let Some(place) = body.get_mut(at..at + N) {
            place.copy_from_slice(&self);
        }
    }

    #[inline]
    fn get(body: &[u8], at: usize) -> Self {
        let place = body.get(at..).and_then(<[u8]>::first_chunk);
        place.copied().unwrap_or([0; N])
    }

    fn value(&self) -> Value<'_> {
        Value::Bytes(self)
    }
}

/// A fixed part with its number and, if it has texts, its length.
#[inline]
pub(super) fn start_body<const SIZE: usize>(row: &Row, len: usize) -> Result<[u8; SIZE], TooLong> {
    let limit = TIMESTAMP + MAX_BODY;
    let (name, body_len) = (row.name, u16::try_from(len - TIMESTAMP));
    let body_len = body_len.map_err(|_| TooLong { name, len, limit })?;
    let mut body = [0; SIZE];
    row.id.put(&mut body, 0);
    if row.texts > 0 {
        body_len.put(&mut body, 2);
    }
    Ok(body)
}

/// Writes the lengths of all texts but the last. The whole body was found to fit into a length
/// of 16 bits, so each text does.
#[inline]
pub(super) fn write_slots<const N: usize>(body: &mut [u8], slots: usize, lens: &[usize; N]) {
    for (n, &len) in lens.iter().take(N - 1).enumerate() {
        (len as u16).put(body, slots + 2 * n);
    }
}

/// Cuts the texts out of a body that is at least as long as its fixed part.
#[inline]
pub(super) fn read_texts<'a, const N: usize>(
    row: &Row,
    slots: usize,
    body: &'a [u8],
) -> Result<[&'a [u8]; N], DecodeError> {
    let mut rest = body.get(row.size..).unwrap_or_default();
    let room = rest.len();
    let mut texts = [rest; N];
    for (n, text) in texts.iter_mut().enumerate() {
        let len = if n + 1 < N {
            usize::from(u16::get(body, slots + 2 * n))
        } else {
            rest.len()
        };
        (*text, rest) = rest
            .split_at_checked(len)
            .ok_or_else(|| DecodeError::TextsTooLong {
                name: row.name,
                texts: (0..N - 1)
                    .map(|n| usize::from(u16::get(body, slots + 2 * n)))
                    .sum(),
                room,
            })?;
    }
    Ok(texts)
}
