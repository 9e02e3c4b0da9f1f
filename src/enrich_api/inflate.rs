//! The bodies of requests, inflated piece by piece.
//!
//! Invariant: whatever a client sends, a piece becomes at most so many bytes at a time.

use std::io::Write as _;

use bytes::Bytes;
use flate2::write::MultiGzDecoder;

/// What is given to the decoder at once, in bytes. Gzip makes at most about 1032 bytes of one.
const AT_ONCE: usize = 64;

/// Reads what a client sends, compressed or not.
#[derive(Debug)]
pub(super) enum Inflater {
    /// As it is.
    Plain,
    /// With gzip.
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
}

/// The data is not what its header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the gzip data is damaged or cut")]
pub(super) struct Damaged;

impl Inflater {
    /// For a `Content-Encoding`; `None` if it is not known.
    pub(super) fn of(encoding: Option<&[u8]>) -> Option<Self> {
        match encoding.map(<[u8]>::trim_ascii) {
            None | Some(b"" | b"identity") => Some(Self::Plain),
            Some(encoding) if encoding.eq_ignore_ascii_case(b"gzip") => {
                Some(Self::Gzip(Box::new(MultiGzDecoder::new(Vec::new()))))
            }
            Some(_) => None,
        }
    }

    /// Takes some of a piece, and returns what that is; a piece has been taken whole when it is
    /// empty.
    ///
    /// # Errors
    /// The data is damaged.
    pub(super) fn take(&mut self, piece: &mut Bytes) -> Result<Bytes, Damaged> {
        match self {
            Self::Plain => Ok(std::mem::take(piece)),
            Self::Gzip(decoder) => {
                while !piece.is_empty() && decoder.get_ref().len() < AT_ONCE * 1024 {
                    let some = piece.split_to(piece.len().min(AT_ONCE));
                    decoder.write_all(&some).map_err(|_| Damaged)?;
                }
                Ok(std::mem::take(decoder.get_mut()).into())
            }
        }
    }

    /// The request has ended; returns what was left.
    ///
    /// # Errors
    /// The data is cut.
    pub(super) fn finish(&mut self) -> Result<Bytes, Damaged> {
        match self {
            Self::Plain => Ok(Bytes::new()),
            Self::Gzip(decoder) => {
                decoder.try_finish().map_err(|_| Damaged)?;
                Ok(std::mem::take(decoder.get_mut()).into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn inflate(data: &[u8], at_once: usize) -> Result<Vec<u8>, Damaged> {
        let mut inflater = Inflater::of(Some(b" GZIP ")).unwrap();
        let mut text = Vec::new();
        for piece in data.chunks(at_once) {
            let mut piece = Bytes::copy_from_slice(piece);
            while !piece.is_empty() {
                let some = inflater.take(&mut piece)?;
                assert!(some.len() <= 256 << 10, "{} bytes at a time", some.len());
                text.extend_from_slice(&some);
            }
        }
        text.extend_from_slice(&inflater.finish()?);
        Ok(text)
    }

    #[test]
    fn what_was_compressed_is_read_again_however_it_is_cut() {
        let text = "{\"name\":\"web\"}\n".repeat(1000).into_bytes();
        for at_once in [1, 7, 1000, 100_000] {
            assert_eq!(inflate(&gzip(&text), at_once).as_ref(), Ok(&text));
        }
        let two = [gzip(b"a\n"), gzip(b"b\n")].concat();
        assert_eq!(inflate(&two, 5), Ok(b"a\nb\n".to_vec()), "two members");
    }

    #[test]
    fn a_bomb_comes_out_in_small_pieces() {
        let zeroes = vec![0; 8 << 20];
        assert_eq!(
            inflate(&gzip(&zeroes), 1 << 20).unwrap().len(),
            zeroes.len()
        );
    }

    #[test]
    fn data_that_is_damaged_or_cut_says_so() {
        let whole = gzip(b"some text that is long enough");
        assert_eq!(inflate(&whole[..whole.len() - 9], 100), Err(Damaged));
        assert_eq!(inflate(b"no gzip at all", 100), Err(Damaged));
    }

    #[test]
    fn only_gzip_is_known() {
        for (encoding, is_known) in [
            (None, true),
            (Some(&b"identity"[..]), true),
            (Some(b"gzip"), true),
            (Some(b"deflate"), false),
            (Some(b"zstd"), false),
            (Some(b"gzip, gzip"), false),
        ] {
            assert_eq!(Inflater::of(encoding).is_some(), is_known);
        }
    }
}
