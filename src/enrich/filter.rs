//! Which labels and annotations are said of an object, and under which keys.
//!
//! Rules: filters see the original keys; only what they leave is dedotted or expanded (R-18).
//! Keys are taken in ascending byte order, those of a literal list in the list's order; of two
//! that become equal the later one stays (R-19).

use std::collections::BTreeMap;

use smallvec::SmallVec;

use super::{go_regexp::GoRegexp, json::JsonWriter, object::Pairs};

/// Keys that are meant, by their text or by expressions.
#[derive(Clone, Debug)]
pub enum Selection {
    /// These keys, in the order of the settings.
    Literal(Box<[Box<str>]>),
    /// Every key in which one of these matches anywhere, with their texts. Invalid expressions
    /// are not among them.
    Regex(Box<[(Box<str>, GoRegexp)]>),
}

/// An expression that does not compile, and why. It is left out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{expression}` is left out: {error}")]
pub struct InvalidExpression {
    /// As it stands in the settings.
    pub expression: String,
    /// What is wrong with it.
    pub error: String,
}

/// The filter settings of a main object, a node or a namespace.
#[derive(Clone, Debug)]
pub struct Filters {
    /// `include_labels`; `None` is all.
    pub include_labels: Option<Selection>,
    /// `exclude_labels`; it wins over what is included.
    pub exclude_labels: Option<Selection>,
    /// `include_annotations`; `None` is none.
    pub include_annotations: Option<Selection>,
    /// `labels.dedot`: dots become underscores; else keys are expanded at each dot.
    pub dedot_labels: bool,
    /// `annotations.dedot`.
    pub dedot_annotations: bool,
}

impl Default for Filters {
    fn default() -> Self {
        Self {
            include_labels: None,
            exclude_labels: None,
            include_annotations: None,
            dedot_labels: true,
            dedot_annotations: true,
        }
    }
}

impl Selection {
    /// What a list of the settings means; `None` if it is empty.
    pub fn new(list: &[String], regex: bool, invalid: &mut Vec<InvalidExpression>) -> Option<Self> {
        if list.is_empty() {
            return None;
        }
        if !regex {
            // An entry that stands twice counts where it stands last.
            let again = |at: usize, key| list.iter().skip(at + 1).any(|later| later == key);
            let each = list
                .iter()
                .enumerate()
                .filter(|(at, key)| !again(*at, *key));
            return Some(Self::Literal(
                each.map(|(_, key)| key.as_str().into()).collect(),
            ));
        }
        let compiled = list
            .iter()
            .filter_map(|expression| match GoRegexp::new(expression) {
                Ok(regexp) => Some((expression.as_str().into(), regexp)),
                Err(error) => {
                    let (expression, error) = (expression.clone(), error.to_string());
                    invalid.push(InvalidExpression { expression, error });
                    None
                }
            });
        Some(Self::Regex(compiled.collect()))
    }

    /// Whether a key is meant.
    pub fn selects(&self, key: &str) -> bool {
        match self {
            Self::Literal(keys) => keys.iter().any(|literal| **literal == *key),
            Self::Regex(all) => all.iter().any(|(_, regexp)| regexp.is_match(key)),
        }
    }

    fn texts(&self) -> (bool, impl Iterator<Item = &str>) {
        let (literals, regexps): (&[Box<str>], &[_]) = match self {
            Self::Literal(keys) => (keys, &[]),
            Self::Regex(all) => (&[], all),
        };
        let regexps = regexps.iter().map(|(text, _): &(Box<str>, _)| &**text);
        let is_regex = matches!(self, Self::Regex(_));
        (is_regex, literals.iter().map(|text| &**text).chain(regexps))
    }
}

impl PartialEq for Selection {
    /// Equal settings select equally.
    fn eq(&self, other: &Self) -> bool {
        let ((regex, texts), (other_regex, others)) = (self.texts(), other.texts());
        regex == other_regex && texts.eq(others)
    }
}

impl Eq for Selection {}

/// What a filter has left, in the order of the rules.
pub type Selected<'a> = SmallVec<[(&'a str, &'a str); 16]>;

impl Filters {
    /// The labels that are said.
    pub fn labels<'a>(&self, labels: &'a Pairs) -> Selected<'a> {
        let mut selected = match &self.include_labels {
            None => labels.iter().collect(),
            Some(selection) => select(labels, selection),
        };
        if let Some(exclude) = &self.exclude_labels {
            selected.retain(|(key, _)| !exclude.selects(key));
        }
        selected
    }

    /// The annotations that are said.
    pub fn annotations<'a>(&self, annotations: &'a Pairs) -> Selected<'a> {
        match &self.include_annotations {
            None => Selected::new(),
            Some(selection) => select(annotations, selection),
        }
    }
}

/// The pairs that a selection means, in the order of the rules.
pub fn select<'a>(pairs: &'a Pairs, selection: &Selection) -> Selected<'a> {
    match selection {
        Selection::Literal(keys) => keys.iter().filter_map(|key| pairs.get(key)).collect(),
        Selection::Regex(_) => pairs
            .iter()
            .filter(|(key, _)| selection.selects(key))
            .collect(),
    }
}

/// Writes pairs as an object under `key`; nothing if there are none.
pub(super) fn write(json: &mut JsonWriter, key: &str, selected: &Selected<'_>, dedot: bool) {
    if selected.is_empty() {
        return;
    }
    json.open(key);
    if dedot {
        // Of two keys that become equal one has an underscore where the other has a dot.
        let may_meet = selected.iter().any(|(key, _)| key.contains('_'));
        for (at, (key, value)) in selected.iter().enumerate() {
            let later = selected.get(at + 1..).unwrap_or_default();
            if !may_meet || !later.iter().any(|(other, _)| same_dedotted(key, other)) {
                json.field_dedotted(key, value);
            }
        }
    } else {
        expand(selected).write(json);
    }
    json.close();
}

fn same_dedotted(one: &str, other: &str) -> bool {
    let dedotted = |byte: u8| if byte == b'.' { b'_' } else { byte };
    one.len() == other.len() && one.bytes().map(dedotted).eq(other.bytes().map(dedotted))
}

/// Keys split at their dots.
#[derive(Default)]
struct Branch<'a>(BTreeMap<&'a str, Twig<'a>>);

/// A value, until others continue its key: then a branch.
#[derive(Default)]
struct Twig<'a> {
    value: Option<&'a str>,
    branch: Option<Branch<'a>>,
}

/// Where the value of a key goes that others continue.
const VALUE: &str = "value";

fn expand<'a>(selected: &Selected<'a>) -> Branch<'a> {
    let mut root = Branch::default();
    for (key, value) in selected {
        let mut branch = &mut root;
        let mut rest = *key;
        while let Some((first, further)) = rest.split_once('.') {
            branch = branch.0.entry(first).or_default().branch();
            rest = further;
        }
        let twig = branch.0.entry(rest).or_default();
        match &mut twig.branch {
            Some(continued) => {
                continued.0.insert(VALUE, Twig::of(value));
            }
            None => twig.value = Some(value),
        }
    }
    root
}

impl<'a> Twig<'a> {
    fn of(value: &'a str) -> Self {
        Self {
            value: Some(value),
            branch: None,
        }
    }

    /// The branch; a value that is here moves into it.
    fn branch(&mut self) -> &mut Branch<'a> {
        let moved = self.value.take().map(|value| (VALUE, Self::of(value)));
        self.branch
            .get_or_insert_with(|| Branch(moved.into_iter().collect()))
    }
}

impl Branch<'_> {
    /// Without recursion: a key may be one dot behind the other.
    fn write(&self, json: &mut JsonWriter) {
        let mut open = vec![self.0.iter()];
        while let Some(branch) = open.last_mut() {
            match branch.next() {
                Some((
                    key,
                    Twig {
                        branch: Some(inner),
                        ..
                    },
                )) => {
                    json.open(key);
                    open.push(inner.0.iter());
                }
                Some((key, twig)) => json.field(key, twig.value.unwrap_or_default()),
                None => {
                    open.pop();
                    if !open.is_empty() {
                        json.close();
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{enrich::object::PairLimits, model::SharedStr};

    fn written(keys: &[(&str, &str)], filters: &Filters) -> String {
        let texts = keys
            .iter()
            .map(|(key, value)| (SharedStr::from(*key), SharedStr::from(*value)));
        let pairs = Pairs::new(texts, PairLimits::LABELS);
        let mut json = JsonWriter::new(0);
        write(
            &mut json,
            "l",
            &filters.labels(&pairs),
            filters.dedot_labels,
        );
        json.finish()
    }

    fn including(keys: &[&str], dedot: bool) -> Filters {
        let list: Vec<_> = keys.iter().map(|key| (*key).to_owned()).collect();
        Filters {
            include_labels: Selection::new(&list, false, &mut Vec::new()),
            dedot_labels: dedot,
            ..Filters::default()
        }
    }

    #[test]
    fn of_keys_that_become_equal_the_later_one_stays() {
        let keys = [
            ("a.b", "dot"),
            ("a_b", "underscore"),
            ("a.value", "x"),
            ("a", "y"),
        ];
        for (filters, expected) in [
            (
                including(&[], true),
                r#"{"l":{"a":"y","a_value":"x","a_b":"underscore"}}"#,
            ),
            (including(&["a_b", "a.b"], true), r#"{"l":{"a_b":"dot"}}"#),
            (
                including(&["a.b", "a_b", "a.b"], true),
                r#"{"l":{"a_b":"dot"}}"#,
            ),
            (
                including(&["a", "a.value"], false),
                r#"{"l":{"a":{"value":"x"}}}"#,
            ),
            (
                including(&["a.value", "a"], false),
                r#"{"l":{"a":{"value":"y"}}}"#,
            ),
            (
                including(&["a", "a", "a.b"], false),
                r#"{"l":{"a":{"b":"dot","value":"y"}}}"#,
            ),
        ] {
            assert_eq!(written(&keys, &filters), expected, "{filters:?}");
        }
    }

    #[test]
    fn dots_at_the_ends_and_in_a_row_are_empty_names() {
        let off = including(&[], false);
        for (key, expected) in [
            ("a..b", r#"{"l":{"a":{"":{"b":"1"}}}}"#),
            (".a", r#"{"l":{"":{"a":"1"}}}"#),
            ("a.", r#"{"l":{"a":{"":"1"}}}"#),
            (".", r#"{"l":{"":{"":"1"}}}"#),
        ] {
            assert_eq!(written(&[(key, "1")], &off), expected);
        }
        let dots = ".".repeat(300);
        assert!(written(&[(&dots, "1")], &off).len() > 300);
    }

    #[test]
    fn expressions_that_do_not_compile_are_left_out_and_said() {
        let mut invalid = Vec::new();
        let list = ["(", "^a$"].map(str::to_owned);
        let selection = Selection::new(&list, true, &mut invalid).unwrap();
        assert!(selection.selects("a") && !selection.selects("("));
        assert_eq!(invalid.len(), 1);
        assert_eq!(invalid[0].to_string(), "`(` is left out: missing ): `(`");
        assert_eq!(
            Some(&selection),
            Selection::new(&list[1..], true, &mut Vec::new()).as_ref()
        );
        assert_ne!(
            Some(&selection),
            Selection::new(&list[1..], false, &mut Vec::new()).as_ref()
        );
    }
}
