//! Lines of a request, as its pieces come in.
//!
//! Rules: a line ends with LF or CR LF, and the last one also with the request; a mark of the
//! byte order before the first line is no part of it; blank lines are no lines, but they are
//! counted. A line that is too long is read to its end and not kept.

use bytes::{Bytes, BytesMut};

/// The mark of the byte order that some programs write before a text.
const BOM: &[u8] = b"\xef\xbb\xbf";

/// What may stand around a line that is not of it: the mark before, CR behind.
const AROUND: usize = BOM.len() + 1;

/// Finds lines.
#[derive(Debug)]
pub(super) struct Lines {
    /// The longest line, in bytes.
    limit: usize,
    /// The number of the line that is being read, from 1.
    number: u64,
    /// Its beginning, if it came in an earlier piece.
    begun: BytesMut,
    /// It is too long: its bytes are not kept.
    is_long: bool,
}

/// A line that is not blank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Its number in the request, from 1.
    pub(super) number: u64,
    /// Its bytes without its end; `None` if it is too long.
    pub(super) text: Option<Bytes>,
}

impl Lines {
    /// No line is longer than `limit` bytes, without its end.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            number: 1,
            begun: BytesMut::new(),
            is_long: false,
        }
    }

    /// The number of the line that is being read.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Takes a piece, and appends the lines that it ends.
    pub(super) fn push(&mut self, mut piece: Bytes, into: &mut Vec<Line>) {
        while let Some(at) = memchr::memchr(b'\n', &piece) {
            let part = piece.split_to(at);
            // Its end.
            let _ = piece.split_to(1);
            let whole = if self.begun.is_empty() {
                part
            } else {
                self.keep(&part);
                self.begun.split().freeze()
            };
            self.end(whole, into);
        }
        self.keep(&piece);
    }

    /// The request has ended: so has its last line.
    pub(super) fn finish(&mut self, into: &mut Vec<Line>) {
        if !self.begun.is_empty() || self.is_long {
            let last = self.begun.split().freeze();
            self.end(last, into);
        }
    }

    fn keep(&mut self, part: &[u8]) {
        self.is_long |= self.begun.len() + part.len() > self.limit + AROUND;
        if self.is_long {
            self.begun.clear();
        } else {
            self.begun.extend_from_slice(part);
        }
    }

    fn end(&mut self, mut line: Bytes, into: &mut Vec<Line>) {
        let number = self.number;
        self.number += 1;
        if number == 1 && line.starts_with(BOM) {
            let _ = line.split_to(BOM.len());
        }
        if line.ends_with(b"\r") {
            line.truncate(line.len() - 1);
        }
        let is_long = std::mem::take(&mut self.is_long) || line.len() > self.limit;
        if is_long || !line.iter().all(|byte| byte.is_ascii_whitespace()) {
            let text = (!is_long).then_some(line);
            into.push(Line { number, text });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: usize = 8;

    fn lines(pieces: &[&[u8]]) -> Vec<(u64, Option<String>)> {
        let (mut lines, mut found) = (Lines::new(LIMIT), Vec::new());
        for piece in pieces {
            lines.push(Bytes::copy_from_slice(piece), &mut found);
        }
        lines.finish(&mut found);
        let text = |text: Bytes| String::from_utf8_lossy(&text).into_owned();
        let shown = found.into_iter();
        shown
            .map(|line| (line.number, line.text.map(text)))
            .collect()
    }

    #[test]
    fn lines_end_with_lf_or_cr_lf_or_the_request_and_blank_ones_are_none() {
        for (pieces, expected) in [
            (&[&b"a\nb\n"[..]][..], &[(1, Some("a")), (2, Some("b"))][..]),
            (&[b"a\r\n\r\n \t\r\n\nb"], &[(1, Some("a")), (5, Some("b"))]),
            (
                &[b"a", b"b\nc", b"", b"d"],
                &[(1, Some("ab")), (2, Some("cd"))],
            ),
            (
                &[b"\xef\xbb\xbfa\n\xef\xbb\xbfb"],
                &[(1, Some("a")), (2, Some("\u{feff}b"))],
            ),
            (&[b"\xef", b"\xbb", b"\xbf\r\na"], &[(2, Some("a"))]),
            (&[b"a\r"], &[(1, Some("a"))]),
            (&[b"a\rb\r\r\n"], &[(1, Some("a\rb\r"))]),
            (&[b""], &[]),
            (&[b"\n\n"], &[]),
            (
                &[b"12345678\n123456789\r\nx"],
                &[(1, Some("12345678")), (2, None), (3, Some("x"))],
            ),
            (&[b"\xef\xbb\xbf12345678\r\n"], &[(1, Some("12345678"))]),
            (
                &[b"1234567890", b"1234567890", b"12\n3"],
                &[(1, None), (2, Some("3"))],
            ),
            (&[b"123456789012345"], &[(1, None)]),
        ] {
            let expected: Vec<_> = expected
                .iter()
                .map(|(number, text)| (*number, text.map(str::to_owned)))
                .collect();
            assert_eq!(lines(pieces), expected, "{pieces:?}");
        }
    }

    #[test]
    fn a_line_without_end_is_not_kept() {
        let (mut lines, mut found) = (Lines::new(LIMIT), Vec::new());
        for _ in 0..1000 {
            lines.push(Bytes::from_static(&[b'x'; 100]), &mut found);
            assert!(lines.begun.len() <= LIMIT + AROUND);
        }
    }

    proptest! {
        #[test]
        fn the_lines_are_the_same_however_a_request_is_cut(
            text in "[ab\r\n\u{feff} ]{0,40}",
            cuts in prop::collection::vec(0_usize..120, 0..6),
        ) {
            let bytes = text.as_bytes();
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            prop_assert_eq!(lines(&pieces), lines(&[bytes]));
        }
    }
}
