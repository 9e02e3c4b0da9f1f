//! Splits the body of a watch into lines. Pure.
//!
//! Invariants: a line that lies in one chunk is borrowed from it; only what a chunk's end cuts is
//! copied. No more than the limit is ever kept: a longer line is skipped to its end and reported
//! once.

use bytes::Bytes;

/// The lines of one body.
#[derive(Debug)]
pub struct LineSplitter {
    chunk: Bytes,
    /// Of the chunk, so much has been looked at.
    read: usize,
    /// The start of a line whose end has not come yet.
    cut: Vec<u8>,
    /// That line was given out and is to be forgotten.
    given: bool,
    /// In the rest of a line that is too long.
    skipping: bool,
    longest: usize,
}

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub enum RawLine<'a> {
    /// A line, without its end.
    Line(&'a [u8]),
    /// A line that is too long. It is thrown away.
    TooLong,
}

impl LineSplitter {
    /// Lines of at most `longest` bytes, their end not counted.
    pub fn new(longest: usize) -> Self {
        Self {
            chunk: Bytes::new(),
            read: 0,
            cut: Vec::new(),
            given: false,
            skipping: false,
            longest,
        }
    }

    /// The next chunk of the body. The one before must have been read until
    /// [`Self::take`] gave `None`.
    pub fn push(&mut self, chunk: Bytes) {
        debug_assert!(
            self.read >= self.chunk.len(),
            "the last chunk has lines left"
        );
        self.chunk = chunk;
        self.read = 0;
    }

    /// The next line; empty ones are left out. `None` if another chunk is needed.
    pub fn take(&mut self) -> Option<RawLine<'_>> {
        if std::mem::take(&mut self.given) {
            self.cut.clear();
        }
        loop {
            let rest = self.chunk.get(self.read..).unwrap_or_default();
            let Some(length) = memchr::memchr(b'\n', rest) else {
                return self.keep_rest();
            };
            let start = self.read;
            self.read += length + 1;
            if std::mem::take(&mut self.skipping) {
                continue;
            }
            if self.cut.len() + length > self.longest {
                self.cut = Vec::new();
                return Some(RawLine::TooLong);
            }
            let piece = self.chunk.get(start..start + length).unwrap_or_default();
            if !self.cut.is_empty() {
                self.cut.extend_from_slice(piece);
                self.given = true;
                return Some(RawLine::Line(&self.cut));
            }
            if length > 0 {
                return self.chunk.get(start..start + length).map(RawLine::Line);
            }
        }
    }

    /// After the body's end: what stands behind the last end of a line.
    pub fn rest(&mut self) -> Option<&[u8]> {
        if std::mem::take(&mut self.given) {
            self.cut.clear();
        }
        (!self.cut.is_empty()).then_some(self.cut.as_slice())
    }

    /// Keeps the start of a line until its end comes.
    fn keep_rest(&mut self) -> Option<RawLine<'_>> {
        let rest = self.chunk.get(self.read..).unwrap_or_default();
        self.read = self.chunk.len();
        if self.skipping {
            return None;
        }
        if self.cut.len() + rest.len() > self.longest {
            self.cut = Vec::new();
            self.skipping = true;
            return Some(RawLine::TooLong);
        }
        self.cut.extend_from_slice(rest);
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LONGEST: usize = 5;

    /// The lines of a body that comes in these chunks; `…` stands for one that is too long.
    fn lines(chunks: &[&[u8]]) -> Vec<String> {
        let mut frames = LineSplitter::new(LONGEST);
        let mut lines = Vec::new();
        for chunk in chunks {
            frames.push(Bytes::copy_from_slice(chunk));
            while let Some(frame) = frames.take() {
                lines.push(match frame {
                    RawLine::Line(line) => String::from_utf8(line.to_vec()).unwrap(),
                    RawLine::TooLong => "…".to_owned(),
                });
            }
            assert!(frames.cut.len() <= LONGEST, "keeps {}", frames.cut.len());
        }
        let rest = frames
            .rest()
            .map(|rest| String::from_utf8(rest.to_vec()).unwrap());
        lines.extend(rest.map(|rest| format!("{rest}|")));
        lines
    }

    #[test]
    fn a_body_is_split_at_the_ends_of_its_lines() {
        for (chunks, expected) in [
            (&["a\nbc\n"][..], "a bc"),
            (&["a\nb", "c\nd"], "a bc d|"),
            (&["a", "b", "c\n", "\n\nd\n"], "abc d"),
            (&["", "\n"], ""),
            (&["12345\n", "1234", "5\n"], "12345 12345"),
            (&["123456\na\n"], "… a"),
            (&["1234", "56\na\n"], "… a"),
            (&["1234", "56", "789", "0\na", "b\n"], "… ab"),
            (&["1234", "56"], "…"),
        ] {
            let chunks: Vec<&[u8]> = chunks.iter().map(|chunk| chunk.as_bytes()).collect();
            assert_eq!(lines(&chunks).join(" "), expected, "{chunks:?}");
        }
    }

    #[test]
    fn a_line_in_one_chunk_is_not_copied() {
        let chunk = Bytes::from_static(b"abc\n");
        let mut frames = LineSplitter::new(LONGEST);
        frames.push(chunk.clone());
        let Some(RawLine::Line(line)) = frames.take() else {
            panic!("a line is there");
        };
        assert_eq!(line.as_ptr(), chunk.as_ptr());
    }

    proptest! {
        #[test]
        fn it_does_not_matter_where_a_body_is_cut(
            body in "[a-c\n]{0,60}",
            cuts in proptest::collection::vec(0_usize..60, 0..8),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|at| at.min(body.len())).collect();
            cuts.extend([0, body.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|at| &body.as_bytes()[at[0]..at[1]]).collect();
            prop_assert_eq!(lines(&chunks), lines(&[body.as_bytes()]));
        }
    }
}
