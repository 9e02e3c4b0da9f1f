//! The ingest protocol, byte for byte, in both directions.
//!
//! | file | what it is |
//! |---|---|
//! | [`messages`] | THE table: every message, its number, size and offsets |
//! | [`codec`] | what the table's rows become: structs, encoder, decoder, names |
//! | [`lz4`] | LZ4 frames over block compression |
//! | [`stream`] | one connection's bytes: a plain handshake, then frames |
//! | [`json`] | messages as people read them |
//!
//! Invariants: decoding inverts encoding; no input makes a decoder panic, hang or grow beyond a few
//! blocks; bytes that are no UTF-8 and codes nobody knows pass unchanged. Absent here: sockets,
//! clocks, pods. Nothing of this crate is imported.

pub mod codec;
pub mod json;
pub mod lz4;
pub mod messages;
pub mod stream;

pub use codec::{DecodeError, Encode, Row, TooLong, Value, decode};
pub use messages::Message;
pub use stream::{PlainReader, Reader, StreamError, Writer};
