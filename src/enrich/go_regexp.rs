//! Regular expressions in the dialect of Go's `regexp` package, which selects labels.
//!
//! The grammar is read here and compiled by `regex_automata`; the text is never rewritten into
//! another dialect, because the two disagree in what is an error, a literal or a class.
//!
//! Invariants: an expression is accepted exactly if Go 1.26 accepts it; time to match is linear
//! in the key, whatever the expression; no expression overflows the stack.
//!
//! Two differences remain, neither of which a Kubernetes key can show, since keys are ASCII:
//! the tables of Unicode are those of `regex_syntax`, which are newer than Go's, and an expression
//! that is close to Go's own limits of size or nesting may fall on the other side of ours.
//!
//! Absent here: captures, positions, replacement. Only whether a text matches is asked.

mod class;
mod parse;

use regex_automata::{meta, nfa::thompson::WhichCaptures, util::syntax};

pub use parse::{ErrorKind, SyntaxError};

/// The memory that one compiled expression may take, in bytes. Go's own limit is 128 MiB; the
/// largest class, repeated a thousand times, takes about a third of this.
const MAX_COMPILED: usize = 128 << 20;

/// A compiled expression.
#[derive(Clone, Debug)]
pub struct GoRegexp {
    regex: meta::Regex,
}

/// Why a text is not an expression.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GoRegexpError {
    /// Go would refuse it, too.
    #[error("{0}")]
    Syntax(#[from] SyntaxError),
    /// It is an expression, but compiled it would take more than 128 MiB.
    #[error("the expression is too large")]
    TooLarge,
}

impl GoRegexp {
    /// Compiles an expression.
    ///
    /// # Errors
    /// Go would refuse it, or it is too large.
    pub fn new(expression: &str) -> Result<Self, GoRegexpError> {
        let hir = parse::parse(expression)?;
        let config = meta::Config::new()
            .nfa_size_limit(Some(MAX_COMPILED))
            .which_captures(WhichCaptures::None)
            .utf8_empty(true);
        let regex = meta::Builder::new()
            .configure(config)
            .syntax(syntax::Config::new())
            .build_from_hir(&hir)
            .map_err(|_| GoRegexpError::TooLarge)?;
        Ok(Self { regex })
    }

    /// Whether the expression matches anywhere in the text.
    pub fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }
}
