//! The grammar: Go's `regexp/syntax` with its Perl flags.
//!
//! The parser keeps its open groups on a stack of its own, so nesting costs no stack of the
//! thread. A group without captures and with one part is that part, as in Go.

use std::{iter::Peekable, mem, str::Chars};

use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, Hir, Look, Repetition};

use super::class;

/// Copies of one part that nested counted repetitions may ask for.
const MAX_REPEAT: u32 = 1000;
/// How deeply groups and repetitions may nest.
const MAX_HEIGHT: usize = 1000;
/// Instructions that Go would compile an expression to, at most.
const MAX_SIZE: u64 = (128 << 20) / 40;

/// Why a text is not an expression, and the part that says so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: `{part}`")]
pub struct SyntaxError {
    /// What is wrong.
    pub kind: ErrorKind,
    /// Where: the offending part of the expression.
    pub part: String,
}

/// What is wrong with an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A range that is reversed, or a class that is not known.
    #[error("invalid character class or range")]
    Class,
    /// A backslash before a letter or digit that has no meaning.
    #[error("invalid escape sequence")]
    Escape,
    /// The name of a group is empty or has other characters than letters, digits and `_`.
    #[error("invalid name of a group")]
    GroupName,
    /// `(?` with something unknown behind it.
    #[error("unknown flag or group")]
    Group,
    /// A `*`, `+`, `?` or `{n}` directly behind another one.
    #[error("repetition of a repetition")]
    NestedRepeat,
    /// A count is over 1000, alone or with those around it, or ends before it begins.
    #[error("invalid repeat count")]
    RepeatCount,
    /// Nothing stands before a `*`, `+`, `?` or `{n}`.
    #[error("nothing to repeat")]
    NothingToRepeat,
    /// A `[` without its `]`.
    #[error("missing ]")]
    OpenClass,
    /// A `(` without its `)`.
    #[error("missing )")]
    OpenGroup,
    /// A `)` without its `(`.
    #[error("unexpected )")]
    UnexpectedParen,
    /// The last character is a backslash.
    #[error("trailing backslash")]
    TrailingBackslash,
    /// It nests more than 1000 levels deep.
    #[error("nested too deeply")]
    TooDeep,
    /// It would compile to more than about three million instructions.
    #[error("too large")]
    TooLarge,
}

/// Reads an expression.
pub(super) fn parse(expression: &str) -> Result<Hir, SyntaxError> {
    let mut parser = Parser {
        rest: expression.chars().peekable(),
        group: Group::default(),
        open: Vec::new(),
        flags: Flags::default(),
        after_repeat: false,
    };
    while let Some(next) = parser.rest.next() {
        parser
            .item(next)
            .map_err(|(kind, part)| SyntaxError { kind, part })?;
    }
    let node = parser
        .end()
        .map_err(|(kind, part)| SyntaxError { kind, part })?;
    Ok(node.hir)
}

type Parsed<T> = Result<T, (ErrorKind, String)>;

struct Parser<'a> {
    rest: Peekable<Chars<'a>>,
    group: Group,
    /// The groups around `group`, the outermost first.
    open: Vec<Group>,
    flags: Flags,
    /// Whether the item before is a repetition.
    after_repeat: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Flags {
    /// `i`
    fold: bool,
    /// `m`
    lines: bool,
    /// `s`
    dot_matches_newline: bool,
}

/// What has been read of a group.
#[derive(Default)]
struct Group {
    branches: Vec<Node>,
    /// The parts of the last branch.
    parts: Vec<Node>,
    captures: bool,
    /// The flags to go on with behind the group.
    flags: Flags,
}

/// A part, with what Go's limits ask of it.
struct Node {
    hir: Hir,
    height: usize,
    /// Instructions.
    size: u64,
    /// The largest product of nested counts in it.
    copies: u32,
    /// Whether Go would keep it as one literal or class.
    single: bool,
}

impl Node {
    fn single(hir: Hir) -> Self {
        Self {
            hir,
            height: 1,
            size: 1,
            copies: 1,
            single: true,
        }
    }

    fn look(look: Look) -> Self {
        Self {
            single: false,
            ..Self::single(Hir::look(look))
        }
    }

    fn class(class: ClassUnicode) -> Self {
        Self::single(Hir::class(Class::Unicode(class)))
    }

    /// Several in a row, or alternatives.
    fn of(nodes: Vec<Node>, join: impl FnOnce(Vec<Hir>) -> Hir, between: u64) -> Self {
        let all_single = nodes.iter().all(|node| node.single);
        let height = nodes.iter().map(|node| node.height).max().unwrap_or(0);
        let sizes = nodes.iter().map(|node| node.size);
        Self {
            height: if all_single { 1 } else { height + 1 },
            size: sizes.sum::<u64>().max(1) + between,
            copies: nodes.iter().map(|node| node.copies).max().unwrap_or(1),
            single: false,
            hir: join(nodes.into_iter().map(|node| node.hir).collect()),
        }
    }

    fn concat(mut parts: Vec<Node>) -> Self {
        match parts.pop() {
            Some(only) if parts.is_empty() => only,
            Some(last) => {
                parts.push(last);
                Self::of(parts, Hir::concat, 0)
            }
            None => Self {
                single: false,
                ..Self::single(Hir::empty())
            },
        }
    }

    fn alternation(mut branches: Vec<Node>) -> Self {
        match branches.pop() {
            Some(only) if branches.is_empty() => only,
            last => {
                branches.extend(last);
                let between = branches.len().saturating_sub(1) as u64;
                Self::of(branches, Hir::alternation, between)
            }
        }
    }

    fn captured(self) -> Self {
        Self {
            height: self.height + 1,
            size: self.size + 2,
            single: false,
            ..self
        }
    }

    fn repeated(self, count: Count) -> Self {
        let (min, size) = (u64::from(count.min), self.size);
        let size = match count.max {
            None if min == 0 => size + 2,
            None => 1 + min * size,
            Some(1) if min == 0 => size + 1,
            Some(max) => (u64::from(max) * size + u64::from(max.saturating_sub(count.min))).max(1),
        };
        Self {
            height: self.height + 1,
            size,
            // What is repeated zero times counts for nothing.
            copies: match count.max {
                Some(0) => 1,
                _ => self.copies * count.copies().max(1),
            },
            single: false,
            hir: Hir::repetition(Repetition {
                min: count.min,
                max: count.max,
                greedy: true,
                sub: Box::new(self.hir),
            }),
        }
    }

    fn within_limits(self) -> Parsed<Self> {
        if self.height > MAX_HEIGHT {
            return Err((ErrorKind::TooDeep, String::new()));
        }
        if self.size > MAX_SIZE {
            return Err((ErrorKind::TooLarge, String::new()));
        }
        Ok(self)
    }
}

#[derive(Clone, Copy)]
struct Count {
    min: u32,
    max: Option<u32>,
    /// Written with braces, which the limit of copies is for.
    counted: bool,
}

impl Count {
    /// How many copies of its part it makes, as the limit counts them.
    fn copies(self) -> u32 {
        match self.counted {
            true => self.max.unwrap_or(self.min),
            false => 1,
        }
    }
}

impl Parser<'_> {
    fn item(&mut self, next: char) -> Parsed<()> {
        let after_repeat = mem::take(&mut self.after_repeat);
        match next {
            '(' => self.open_group(),
            ')' => self.close_group(),
            '|' => {
                self.end_branch();
                Ok(())
            }
            '^' if self.flags.lines => self.push(Node::look(Look::StartLF)),
            '^' => self.push(Node::look(Look::Start)),
            '$' if self.flags.lines => self.push(Node::look(Look::EndLF)),
            '$' => self.push(Node::look(Look::End)),
            '.' => self.push(Node::class(class::any(self.flags.dot_matches_newline))),
            '[' => {
                let class = class::bracket(&mut self.rest, self.flags.fold)?;
                self.push(Node::class(class))
            }
            '*' => self.repeat(0, None, after_repeat, "*"),
            '+' => self.repeat(1, None, after_repeat, "+"),
            '?' => self.repeat(0, Some(1), after_repeat, "?"),
            '{' => match counts(&self.rest) {
                Some((counts, written)) => {
                    self.rest.nth(written.len() - 1);
                    self.counted(counts, after_repeat, &written)
                }
                None => self.literal('{'),
            },
            '\\' => self.escape(),
            literal => self.literal(literal),
        }
    }

    fn push(&mut self, node: Node) -> Parsed<()> {
        self.group.parts.push(node.within_limits()?);
        Ok(())
    }

    fn literal(&mut self, literal: char) -> Parsed<()> {
        let node = match self.flags.fold {
            true => Node::class(class::folded(literal)),
            false => {
                let mut bytes = [0; 4];
                Node::single(Hir::literal(literal.encode_utf8(&mut bytes).as_bytes()))
            }
        };
        self.push(node)
    }

    // === groups ===

    fn open_group(&mut self) -> Parsed<()> {
        let mut ahead = self.rest.clone();
        if ahead.next() != Some('?') {
            self.enter(true, self.flags);
            return Ok(());
        }
        self.rest = ahead.clone();
        let named = match ahead.next() {
            Some('<') => ahead.peek().is_some(),
            Some('P') => ahead.next() == Some('<') && ahead.peek().is_some(),
            _ => false,
        };
        if named {
            self.rest = ahead;
            self.group_name()?;
            self.enter(true, self.flags);
            return Ok(());
        }
        self.group_flags()
    }

    fn enter(&mut self, captures: bool, flags: Flags) {
        let inner = Group {
            captures,
            flags: self.flags,
            ..Group::default()
        };
        self.open.push(mem::replace(&mut self.group, inner));
        self.flags = flags;
    }

    fn group_name(&mut self) -> Parsed<()> {
        let mut name = String::new();
        loop {
            match self.rest.next() {
                Some('>') => break,
                Some(next) => name.push(next),
                None => return Err((ErrorKind::GroupName, name)),
            }
        }
        let is_word = |c: char| c == '_' || c.is_ascii_alphanumeric();
        if name.is_empty() || !name.chars().all(is_word) {
            return Err((ErrorKind::GroupName, name));
        }
        Ok(())
    }

    /// What stands behind `(?`: flags for the rest of this group, or for a new one.
    fn group_flags(&mut self) -> Parsed<()> {
        let mut flags = self.flags;
        let (mut value, mut named) = (true, false);
        let mut read = String::from("(?");
        for next in self.rest.by_ref() {
            read.push(next);
            match next {
                'i' => flags.fold = value,
                'm' => flags.lines = value,
                's' => flags.dot_matches_newline = value,
                // Which of several matches is preferred is not asked.
                'U' => {}
                '-' if value => {
                    (value, named) = (false, false);
                    continue;
                }
                ':' | ')' if value || named => {
                    match next {
                        ':' => self.enter(false, flags),
                        _ => self.flags = flags,
                    }
                    return Ok(());
                }
                _ => break,
            }
            named = true;
        }
        Err((ErrorKind::Group, read))
    }

    fn end_branch(&mut self) {
        let parts = mem::take(&mut self.group.parts);
        self.group.branches.push(Node::concat(parts));
    }

    fn close_group(&mut self) -> Parsed<()> {
        self.end_branch();
        let Some(outer) = self.open.pop() else {
            return Err((ErrorKind::UnexpectedParen, ")".to_owned()));
        };
        let inner = mem::replace(&mut self.group, outer);
        self.flags = inner.flags;
        let node = Node::alternation(inner.branches).within_limits()?;
        self.push(match inner.captures {
            true => node.captured(),
            false => node,
        })
    }

    fn end(mut self) -> Parsed<Node> {
        if !self.open.is_empty() {
            return Err((ErrorKind::OpenGroup, "(".to_owned()));
        }
        self.end_branch();
        Node::alternation(self.group.branches).within_limits()
    }

    // === repetitions ===

    fn counted(
        &mut self,
        (min, max): (u32, Option<u32>),
        after_repeat: bool,
        written: &str,
    ) -> Parsed<()> {
        if min > MAX_REPEAT || max.is_some_and(|max| max > MAX_REPEAT || max < min) {
            return Err((ErrorKind::RepeatCount, format!("{{{written}")));
        }
        let counted = true;
        self.repeat_by(Count { min, max, counted }, after_repeat, written)
    }

    fn repeat(
        &mut self,
        min: u32,
        max: Option<u32>,
        after_repeat: bool,
        written: &str,
    ) -> Parsed<()> {
        let counted = false;
        self.repeat_by(Count { min, max, counted }, after_repeat, written)
    }

    fn repeat_by(&mut self, count: Count, after_repeat: bool, written: &str) -> Parsed<()> {
        self.after_repeat = true;
        // Which of several matches is preferred is not asked.
        self.rest.next_if_eq(&'?');
        if after_repeat {
            return Err((ErrorKind::NestedRepeat, written.to_owned()));
        }
        let Some(part) = self.group.parts.pop() else {
            return Err((ErrorKind::NothingToRepeat, written.to_owned()));
        };
        let within = part.copies <= MAX_REPEAT / count.copies().max(1);
        if count.copies() >= 2 && !within {
            return Err((ErrorKind::RepeatCount, written.to_owned()));
        }
        self.push(part.repeated(count))
    }

    // === escapes ===

    fn escape(&mut self) -> Parsed<()> {
        match self.rest.peek().copied() {
            Some('A') => self.escaped(Node::look(Look::Start)),
            Some('z') => self.escaped(Node::look(Look::End)),
            Some('b') => self.escaped(Node::look(Look::WordAscii)),
            Some('B') => self.escaped(Node::look(Look::WordAsciiNegate)),
            Some('Q') => self.quoted(),
            Some(name) => match class::escape(&mut self.rest, name, self.flags.fold)? {
                Some(class) => self.push(Node::class(class)),
                None => match class::escaped_char(&mut self.rest)? {
                    Some(literal) => self.literal(literal),
                    // A surrogate, which no text has.
                    None => self.push(Node::class(ClassUnicode::empty())),
                },
            },
            None => Err((ErrorKind::TrailingBackslash, "\\".to_owned())),
        }
    }

    fn escaped(&mut self, node: Node) -> Parsed<()> {
        self.rest.next();
        self.push(node)
    }

    /// `\Q` … `\E`, or to the end.
    fn quoted(&mut self) -> Parsed<()> {
        self.rest.next();
        while let Some(next) = self.rest.next() {
            if next == '\\' && self.rest.next_if_eq(&'E').is_some() {
                break;
            }
            self.literal(next)?;
        }
        Ok(())
    }
}

/// The counts behind a `{`, if they are some, and how they are written, `}` included.
/// A count that is too large for the limit may be any other one that is.
fn counts(rest: &Peekable<Chars<'_>>) -> Option<((u32, Option<u32>), String)> {
    let mut written = String::new();
    for next in rest.clone() {
        written.push(next);
        match next {
            '}' => break,
            '0'..='9' | ',' => {}
            _ => return None,
        }
    }
    let inner = written.strip_suffix('}')?;
    let counts = match inner.split_once(',') {
        None => {
            let count = number(inner)?;
            (count, Some(count))
        }
        Some((min, "")) => (number(min)?, None),
        Some((min, max)) => (number(min)?, Some(number(max)?)),
    };
    Some((counts, written))
}

fn number(digits: &str) -> Option<u32> {
    let plain = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    let leads_with_zero = digits.len() > 1 && digits.starts_with('0');
    (plain && !leads_with_zero).then(|| digits.parse().unwrap_or(u32::MAX))
}

/// A class of the characters from `low` to `high`.
pub(super) fn range(low: char, high: char) -> ClassUnicodeRange {
    ClassUnicodeRange::new(low, high)
}
