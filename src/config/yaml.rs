//! The text of a config file, as far as settings need it: keys, values and their lines.
//!
//! Invariants: a scalar is the text that was written, whatever it looks like (`1.10` stays
//! `1.10`); the work is bounded by the length of the text; nesting is bounded.
//!
//! Absent here: which keys there are and what their values mean.

use std::{collections::HashMap, str};

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError};

/// The longest file that is read, in bytes: the most that fits a ConfigMap.
pub(super) const MAX_FILE_BYTES: usize = 1 << 20;
/// The deepest nesting that is read. A file needs two levels.
const MAX_DEPTH: usize = 64;

/// Why a text is not a map of settings.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum YamlError {
    /// Longer than [`MAX_FILE_BYTES`].
    #[error("longer than {MAX_FILE_BYTES} bytes")]
    TooLong,
    /// Not text.
    #[error("not UTF-8: {0}")]
    Encoding(#[from] str::Utf8Error),
    /// Not YAML.
    #[error("line {}: not YAML: {}", .0.marker().line(), .0.info())]
    Syntax(ScanError),
    /// Deeper than anything that is meant.
    #[error("line {line}: nested deeper than {MAX_DEPTH} levels")]
    TooDeep {
        /// Counted from 1.
        line: usize,
    },
    /// An alias to something with parts, or to what is not finished.
    #[error("line {line}: an alias must name a plain, short value that stands before it")]
    Alias {
        /// Counted from 1.
        line: usize,
    },
    /// A scalar or a list where the settings should be.
    #[error("line {line}: the document is not a map of settings")]
    Document {
        /// Counted from 1.
        line: usize,
    },
    /// Something after the first document.
    #[error("line {line}: a second document; all settings belong in one")]
    SecondDocument {
        /// Counted from 1.
        line: usize,
    },
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// As written; a null is `null`. `None`: the key has parts.
    pub(super) key: Option<String>,
    /// Where the key stands, counted from 1.
    pub(super) line: usize,
    /// What belongs to it.
    pub(super) value: Node,
}

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// Nothing, `~` or `null`, neither quoted nor tagged.
    Null,
    /// A scalar as it was written.
    Text(String),
    /// Its items in order.
    List(Vec<Node>),
    /// In the order of the text, duplicates included.
    Map(Vec<Entry>),
}

impl Node {
    /// The text that a scalar is taken as; a null is `null` (protocol 15.3).
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Null => Some("null"),
            Self::Text(text) => Some(text),
            Self::List(_) | Self::Map(_) => None,
        }
    }
}

/// Reads the settings of a file; an empty one has none.
///
/// # Errors
///
/// When it is not YAML, not a map, or larger than anything that is meant.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<Entry>, YamlError> {
    // The length first: a file that was read only in part may end within a character.
    if bytes.len() > MAX_FILE_BYTES {
        return Err(YamlError::TooLong);
    }
    let text = str::from_utf8(bytes)?;
    let mut builder = Builder::default();
    let mut parser = Parser::new_from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(YamlError::Syntax)?;
        builder.handle(event, span.start.line())?;
    }
    match builder.root {
        None | Some((Node::Null, _)) => Ok(Vec::new()),
        Some((Node::Map(entries), _)) => Ok(entries),
        Some((Node::Text(_) | Node::List(_), line)) => Err(YamlError::Document { line }),
    }
}

/// Turns events into nodes, without recursion.
#[derive(Default)]
struct Builder {
    /// With its line.
    root: Option<(Node, usize)>,
    /// The collections that have begun and not ended, outermost first.
    open: Vec<Open>,
    /// The scalars that have an anchor, by its number.
    anchors: HashMap<usize, Node>,
    /// Bytes that aliases have copied: never more than a file may have.
    aliased: usize,
}

/// A collection that has begun and not ended.
struct Open {
    line: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map {
        entries: Vec<Entry>,
        /// The key whose value comes next.
        key: Option<(Option<String>, usize)>,
    },
}

impl Builder {
    fn handle(&mut self, event: Event<'_>, line: usize) -> Result<(), YamlError> {
        match event {
            Event::SequenceStart(..) => self.begin(Content::List(Vec::new()), line),
            Event::MappingStart(..) => self.begin(
                Content::Map {
                    entries: Vec::new(),
                    key: None,
                },
                line,
            ),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open { line, content }) => {
                    let node = match content {
                        Content::List(items) => Node::List(items),
                        Content::Map { entries, .. } => Node::Map(entries),
                    };
                    self.add(node, line)
                }
                // The parser balances its events.
                None => Ok(()),
            },
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && tag.is_none();
                let node = match &*text {
                    "" | "~" | "null" | "Null" | "NULL" if plain => Node::Null,
                    text => Node::Text(text.to_owned()),
                };
                if anchor != 0 {
                    self.anchors.insert(anchor, node.clone());
                }
                self.add(node, line)
            }
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor);
                self.aliased += node.and_then(Node::text).map_or(0, str::len);
                match node.cloned() {
                    Some(node) if self.aliased <= MAX_FILE_BYTES => self.add(node, line),
                    Some(_) | None => Err(YamlError::Alias { line }),
                }
            }
            Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::StreamStart
            | Event::StreamEnd
            | Event::Nothing => Ok(()),
        }
    }

    fn begin(&mut self, content: Content, line: usize) -> Result<(), YamlError> {
        if self.open.len() >= MAX_DEPTH {
            return Err(YamlError::TooDeep { line });
        }
        self.open.push(Open { line, content });
        Ok(())
    }

    fn add(&mut self, node: Node, line: usize) -> Result<(), YamlError> {
        match self.open.last_mut().map(|open| &mut open.content) {
            Some(Content::Map { entries, key }) => match key.take() {
                Some((key, line)) => entries.push(Entry {
                    key,
                    line,
                    value: node,
                }),
                None => *key = Some((node.text().map(str::to_owned), line)),
            },
            Some(Content::List(items)) => items.push(node),
            // An end mark may be followed by nothing.
            None if self.root.is_some() && node == Node::Null => {}
            None if self.root.is_some() => return Err(YamlError::SecondDocument { line }),
            None => self.root = Some((node, line)),
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "yaml_tests.rs"]
mod tests;
