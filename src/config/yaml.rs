//! The config file: a pure reading of the rules in spec 15.3.
//!
//! Laws: a scalar is the text that was written, whatever it looks like (`1.10` stays
//! `1.10`); aliases share, they never copy, so the work is bounded by the length of the
//! text; nesting is bounded.

use std::{collections::BTreeMap, rc::Rc, str};

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError};

use super::values::{self, ValueError};

/// The longest file that is read, in bytes: the most that fits a ConfigMap.
pub const MAX_FILE_BYTES: usize = 1 << 20;
/// The deepest nesting that is read. The file needs two levels.
const MAX_DEPTH: usize = 64;
/// The most anchors that are kept: through aliases each could be one level deeper.
const MAX_ANCHORS: usize = 256;
/// The longest key of a label, in bytes (spec 15.3).
const MAX_LABEL_KEY: usize = 20;
/// The longest value of a label, in bytes (spec 15.3).
const MAX_LABEL_VALUE: usize = 40;

/// What a config file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct File {
    /// Within their bounds, in bytewise order of the keys.
    pub labels: BTreeMap<String, String>,
    /// The reducer, if the file names it.
    pub intake: Option<IntakeSection>,
}

/// The `intake` section. It has both or it is an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntakeSection {
    /// A name or an address, never empty.
    pub host: String,
    /// Never 0.
    pub port: u16,
}

/// Something in the file that is left out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Warning {
    /// `labels` or `intake` is of another type.
    #[error("`{0}` is not a map and is ignored")]
    NotAMap(&'static str),
    /// A label is longer than the reducer takes.
    #[error(
        "label {key:?} is skipped: its key has {key_len} of at most 20 bytes, its value {value_len} of at most 40"
    )]
    LabelTooLong {
        /// The key, cut to 20 characters.
        key: String,
        /// Bytes.
        key_len: usize,
        /// Bytes.
        value_len: usize,
    },
    /// Only the first document counts.
    #[error("more than one document; only the first is read")]
    MoreDocuments,
}

/// Why a text is no config file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum YamlError {
    /// Longer than [`MAX_FILE_BYTES`].
    #[error("longer than {MAX_FILE_BYTES} bytes")]
    TooLong,
    /// Not text.
    #[error("not UTF-8")]
    Encoding(#[from] str::Utf8Error),
    /// Not YAML.
    #[error("not YAML: {} at line {}", .0.info(), .0.marker().line())]
    Syntax(ScanError),
    /// Deeper than anything that is meant.
    #[error("nested deeper than {MAX_DEPTH} levels, at line {line}")]
    TooDeep {
        /// Counted from 1.
        line: usize,
    },
    /// More anchors than anything that is meant.
    #[error("more than {MAX_ANCHORS} anchors, at line {line}")]
    TooManyAnchors {
        /// Counted from 1.
        line: usize,
    },
    /// An alias to nothing, or to the node it is in.
    #[error("an alias names no finished node, at line {line}")]
    Alias {
        /// Counted from 1.
        line: usize,
    },
    /// A scalar or a sequence where the sections should be.
    #[error("the document is not a map")]
    Document,
    /// A label whose key or value has parts.
    #[error("a key or value below `labels` is not a plain value: {0}")]
    Label(String),
    /// `intake` without a value.
    #[error("`intake` has no value")]
    NullIntake,
    /// `intake` without host or port, or with one that has parts.
    #[error("`intake` needs a plain `{0}`")]
    Intake(&'static str),
    /// A host or port that is none.
    #[error("`intake.{0}`: {1}")]
    IntakeValue(&'static str, ValueError),
}

/// Reads a config file.
///
/// # Errors
///
/// Whatever made the legacy relay abort (spec 15.3), each as a variant.
pub fn parse(text: &str) -> Result<(File, Vec<Warning>), YamlError> {
    if text.len() > MAX_FILE_BYTES {
        return Err(YamlError::TooLong);
    }
    let mut warnings = Vec::new();
    let document = load(text.strip_prefix('\u{feff}').unwrap_or(text), &mut warnings)?;
    let sections = match &*document {
        Node::Null => &[][..],
        Node::Map(entries) => entries,
        Node::Text(_) | Node::Sequence => return Err(YamlError::Document),
    };
    let mut file = File::default();
    match last(sections, "labels") {
        Some(Node::Map(entries)) => file.labels = labels(entries, &mut warnings)?,
        Some(Node::Text(_) | Node::Sequence) => warnings.push(Warning::NotAMap("labels")),
        Some(Node::Null) | None => {}
    }
    match last(sections, "intake") {
        Some(Node::Map(entries)) => file.intake = Some(intake(entries)?),
        Some(Node::Text(_) | Node::Sequence) => warnings.push(Warning::NotAMap("intake")),
        Some(Node::Null) => return Err(YamlError::NullIntake),
        None => {}
    }
    Ok((file, warnings))
}

/// [`parse`] for what a file contains.
pub(super) fn parse_bytes(bytes: &[u8]) -> Result<(File, Vec<Warning>), YamlError> {
    // The length first: a file that was read only in part may end within a character.
    if bytes.len() > MAX_FILE_BYTES {
        Err(YamlError::TooLong)
    } else {
        parse(str::from_utf8(bytes)?)
    }
}

fn labels(
    entries: &[(Rc<Node>, Rc<Node>)],
    warnings: &mut Vec<Warning>,
) -> Result<BTreeMap<String, String>, YamlError> {
    let mut labels = BTreeMap::new();
    for (key, value) in entries {
        let key = key
            .text()
            .ok_or_else(|| YamlError::Label("a key has parts".to_owned()))?;
        let value = value
            .text()
            .ok_or_else(|| YamlError::Label(format!("{:?}", shown(key))))?;
        if key.len() > MAX_LABEL_KEY || value.len() > MAX_LABEL_VALUE {
            warnings.push(Warning::LabelTooLong {
                key: shown(key),
                key_len: key.len(),
                value_len: value.len(),
            });
        } else {
            labels.insert(key.to_owned(), value.to_owned());
        }
    }
    Ok(labels)
}

fn intake(entries: &[(Rc<Node>, Rc<Node>)]) -> Result<IntakeSection, YamlError> {
    let text = |name| match last(entries, name) {
        Some(Node::Text(text)) => Ok(text.as_str()),
        Some(Node::Null | Node::Sequence | Node::Map(_)) | None => Err(YamlError::Intake(name)),
    };
    Ok(IntakeSection {
        host: values::host(text("host")?).map_err(|error| YamlError::IntakeValue("host", error))?,
        port: values::port(text("port")?).map_err(|error| YamlError::IntakeValue("port", error))?,
    })
}

/// Of duplicate keys the last one counts.
fn last<'a>(entries: &'a [(Rc<Node>, Rc<Node>)], name: &str) -> Option<&'a Node> {
    entries
        .iter()
        .rev()
        .find(|(key, _)| key.text() == Some(name))
        .map(|(_, value)| &**value)
}

/// Enough of a key to find it by.
fn shown(key: &str) -> String {
    key.chars().take(MAX_LABEL_KEY).collect()
}

/// As much of YAML as the file can mean.
#[derive(Debug)]
enum Node {
    /// Nothing, `~` or `null`, neither quoted nor tagged.
    Null,
    /// A scalar as it was written.
    Text(String),
    /// What is in it never matters.
    Sequence,
    /// In the order of the text, duplicates included.
    Map(Vec<(Rc<Node>, Rc<Node>)>),
}

impl Node {
    /// The text that a scalar is taken as; a null is `null`.
    fn text(&self) -> Option<&str> {
        match self {
            Self::Null => Some("null"),
            Self::Text(text) => Some(text),
            Self::Sequence | Self::Map(_) => None,
        }
    }
}

/// Builds the first document.
fn load(text: &str, warnings: &mut Vec<Warning>) -> Result<Rc<Node>, YamlError> {
    let mut builder = Builder::default();
    let mut documents = 0;
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(YamlError::Syntax)?;
        if matches!(event, Event::DocumentStart(_)) {
            documents += 1;
        }
        if documents > 1 {
            warnings.push(Warning::MoreDocuments);
            break;
        }
        builder.handle(event, span.start.line())?;
    }
    Ok(builder.root.unwrap_or_else(|| Rc::new(Node::Null)))
}

/// Turns events into nodes, without recursion.
#[derive(Default)]
struct Builder {
    root: Option<Rc<Node>>,
    /// The collections that have begun and not ended, outermost first.
    open: Vec<Open>,
    /// The finished nodes that have an anchor, by its number.
    anchors: BTreeMap<usize, Rc<Node>>,
}

/// A collection that has begun and not ended.
struct Open {
    /// 0 is none.
    anchor: usize,
    content: Content,
}

enum Content {
    Sequence,
    Map {
        entries: Vec<(Rc<Node>, Rc<Node>)>,
        /// The key whose value comes next.
        key: Option<Rc<Node>>,
    },
}

impl Builder {
    fn handle(&mut self, event: Event<'_>, line: usize) -> Result<(), YamlError> {
        if self.anchors.len() > MAX_ANCHORS {
            return Err(YamlError::TooManyAnchors { line });
        }
        match event {
            Event::SequenceStart(anchor, _) => self.begin(anchor, Content::Sequence, line)?,
            Event::MappingStart(anchor, _) => {
                let content = Content::Map {
                    entries: Vec::new(),
                    key: None,
                };
                self.begin(anchor, content, line)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && tag.is_none();
                let node = match &*text {
                    "" | "~" | "null" | "Null" | "NULL" if plain => Node::Null,
                    text => Node::Text(text.to_owned()),
                };
                self.add(anchor, Rc::new(node));
            }
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned();
                self.add(0, node.ok_or(YamlError::Alias { line })?);
            }
            Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::StreamStart
            | Event::StreamEnd
            | Event::Nothing => {}
        }
        Ok(())
    }

    fn begin(&mut self, anchor: usize, content: Content, line: usize) -> Result<(), YamlError> {
        if self.open.len() >= MAX_DEPTH {
            return Err(YamlError::TooDeep { line });
        }
        self.open.push(Open { anchor, content });
        Ok(())
    }

    fn end(&mut self) {
        match self.open.pop() {
            Some(Open {
                anchor,
                content: Content::Map { entries, .. },
            }) => {
                self.add(anchor, Rc::new(Node::Map(entries)));
            }
            Some(Open {
                anchor,
                content: Content::Sequence,
            }) => {
                self.add(anchor, Rc::new(Node::Sequence));
            }
            // The parser balances its events.
            None => {}
        }
    }

    fn add(&mut self, anchor: usize, node: Rc<Node>) {
        if anchor != 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        match self.open.last_mut().map(|open| &mut open.content) {
            Some(Content::Map { entries, key }) => match key.take() {
                Some(key) => entries.push((key, node)),
                None => *key = Some(node),
            },
            Some(Content::Sequence) => {}
            None => self.root = Some(node),
        }
    }
}

#[cfg(test)]
#[path = "yaml_tests.rs"]
mod tests;
