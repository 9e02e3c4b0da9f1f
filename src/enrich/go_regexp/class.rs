//! Classes of characters: `[a-z]`, `[:alpha:]`, `\d`, `\pL`, and escapes of one character.

use std::{iter::Peekable, str::Chars};

use regex_syntax::{
    Parser,
    hir::{Class, ClassUnicode, HirKind},
};

use super::parse::{ErrorKind, range};

type Parsed<T> = Result<T, (ErrorKind, String)>;
type Rest<'a> = Peekable<Chars<'a>>;

/// Every character, a newline only if asked for.
pub(super) fn any(newline: bool) -> ClassUnicode {
    match newline {
        true => ClassUnicode::new([range('\0', char::MAX)]),
        false => ClassUnicode::new([range('\0', '\x09'), range('\x0b', char::MAX)]),
    }
}

/// A character in each case that it has.
pub(super) fn folded(literal: char) -> ClassUnicode {
    fold(ClassUnicode::new([range(literal, literal)]), true)
}

fn fold(mut class: ClassUnicode, fold: bool) -> ClassUnicode {
    if fold {
        class.case_fold_simple();
    }
    class
}

fn negated(mut class: ClassUnicode, negate: bool) -> ClassUnicode {
    if negate {
        class.negate();
    }
    class
}

/// What stands in brackets, behind the `[`.
pub(super) fn bracket(rest: &mut Rest<'_>, folds: bool) -> Parsed<ClassUnicode> {
    let negate = rest.next_if_eq(&'^').is_some();
    let mut class = ClassUnicode::empty();
    let mut first = true;
    loop {
        if !first && rest.next_if_eq(&']').is_some() {
            return Ok(negated(class, negate));
        }
        first = false;
        if let Some(named) = named(rest, folds)? {
            class.union(&named);
            continue;
        }
        let mut ahead = rest.clone();
        if ahead.next_if_eq(&'\\').is_some()
            && let Some(name) = ahead.peek().copied()
            && let Some(escaped) = escape(&mut ahead, name, folds)?
        {
            *rest = ahead;
            class.union(&escaped);
            continue;
        }
        let low = class_char(rest)?;
        let mut ahead = rest.clone();
        let is_range = ahead.next_if_eq(&'-').is_some() && ahead.peek().is_some_and(|c| *c != ']');
        let high = match is_range {
            true => {
                *rest = ahead;
                class_char(rest)?
            }
            false => low,
        };
        if high < low {
            return Err((ErrorKind::Class, format!("{}-{}", shown(low), shown(high))));
        }
        if let Some(span) = span(low, high) {
            class.union(&fold(span, folds));
        }
    }
}

/// `[:alpha:]` or `[:^alpha:]`, if that is what comes next.
fn named(rest: &mut Rest<'_>, folds: bool) -> Parsed<Option<ClassUnicode>> {
    let mut ahead = rest.clone();
    if ahead.next() != Some('[') || ahead.next() != Some(':') {
        return Ok(None);
    }
    let mut name = String::new();
    loop {
        match ahead.next() {
            Some(':') if ahead.peek() == Some(&']') => break,
            Some(next) => name.push(next),
            None => return Ok(None),
        }
    }
    ahead.next();
    let (plain, negate) = match name.strip_prefix('^') {
        Some(plain) => (plain, true),
        None => (name.as_str(), false),
    };
    let ranges: &[(char, char)] = match plain {
        "alnum" => &[('0', '9'), ('A', 'Z'), ('a', 'z')],
        "alpha" => &[('A', 'Z'), ('a', 'z')],
        "ascii" => &[('\0', '\x7f')],
        "blank" => &[('\t', '\t'), (' ', ' ')],
        "cntrl" => &[('\0', '\x1f'), ('\x7f', '\x7f')],
        "digit" => DIGIT,
        "graph" => &[('!', '~')],
        "lower" => &[('a', 'z')],
        "print" => &[(' ', '~')],
        "punct" => &[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')],
        "space" => &[('\t', '\r'), (' ', ' ')],
        "upper" => &[('A', 'Z')],
        "word" => WORD,
        "xdigit" => &[('0', '9'), ('A', 'F'), ('a', 'f')],
        _ => return Err((ErrorKind::Class, format!("[:{name}:]"))),
    };
    *rest = ahead;
    Ok(Some(negated(fold(of(ranges), folds), negate)))
}

const DIGIT: &[(char, char)] = &[('0', '9')];
const WORD: &[(char, char)] = &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')];
const SPACE: &[(char, char)] = &[('\t', '\n'), ('\x0c', '\r'), (' ', ' ')];

fn of(ranges: &[(char, char)]) -> ClassUnicode {
    ClassUnicode::new(ranges.iter().map(|(low, high)| range(*low, *high)))
}

/// The class that an escape with this name stands for, if it is one of a class. `rest` stands
/// behind the backslash, and behind the escape if there is a class.
pub(super) fn escape(rest: &mut Rest<'_>, name: char, folds: bool) -> Parsed<Option<ClassUnicode>> {
    let ranges = match name {
        'd' | 'D' => DIGIT,
        's' | 'S' => SPACE,
        'w' | 'W' => WORD,
        'p' | 'P' => {
            rest.next();
            return property(rest, name == 'P', folds).map(Some);
        }
        _ => return Ok(None),
    };
    rest.next();
    let class = fold(of(ranges), folds);
    Ok(Some(negated(class, name.is_ascii_uppercase())))
}

/// What stands behind `\p`: one letter, or a name in braces.
fn property(rest: &mut Rest<'_>, negate: bool, folds: bool) -> Parsed<ClassUnicode> {
    let mut name = String::new();
    match rest.next() {
        Some('{') => loop {
            match rest.next() {
                Some('}') => break,
                Some(next) => name.push(next),
                None => return Err((ErrorKind::Class, format!("\\p{{{name}"))),
            }
        },
        Some(letter) => name.push(letter),
        None => return Err((ErrorKind::Class, "\\p".to_owned())),
    }
    let (plain, negate) = match name.strip_prefix('^') {
        Some(plain) => (plain, !negate),
        None => (name.as_str(), negate),
    };
    match table(&canonical(plain)) {
        Some(class) => Ok(negated(fold(class, folds), negate)),
        None => Err((ErrorKind::Class, format!("\\p{{{name}}}"))),
    }
}

/// A name as Go compares it: `_`, `-` and blanks do not count, the first letter is upper case and
/// the others are lower case.
fn canonical(name: &str) -> String {
    let kept = name.chars().filter(|c| !matches!(c, '_' | '-' | ' '));
    kept.enumerate()
        .map(|(at, c)| match at {
            0 => c.to_ascii_uppercase(),
            _ => c.to_ascii_lowercase(),
        })
        .collect()
}

fn table(name: &str) -> Option<ClassUnicode> {
    // No text has a surrogate.
    if matches!(name, "Cs" | "Surrogate") {
        return Some(ClassUnicode::empty());
    }
    let query = if SPECIAL.contains(&name) {
        format!(r"\p{{{name}}}")
    } else if CATEGORIES.contains(&name) {
        format!(r"\p{{gc={name}}}")
    } else if SCRIPTS.contains(&name) {
        format!(r"\p{{sc={name}}}")
    } else {
        return None;
    };
    let hir = Parser::new().parse(&query).ok()?;
    match hir.into_kind() {
        HirKind::Class(Class::Unicode(class)) => Some(class),
        // A class of one character.
        HirKind::Literal(literal) => {
            let text = std::str::from_utf8(&literal.0).ok()?;
            let only = text.chars().next()?;
            Some(ClassUnicode::new([range(only, only)]))
        }
        HirKind::Empty
        | HirKind::Class(Class::Bytes(_))
        | HirKind::Look(_)
        | HirKind::Repetition(_)
        | HirKind::Capture(_)
        | HirKind::Concat(_)
        | HirKind::Alternation(_) => None,
    }
}

/// One character of a class, as its number: surrogates have one, too.
fn class_char(rest: &mut Rest<'_>) -> Parsed<u32> {
    match rest.next() {
        Some('\\') => escaped_number(rest),
        Some(plain) => Ok(u32::from(plain)),
        None => Err((ErrorKind::OpenClass, "[".to_owned())),
    }
}

/// The characters between two numbers, without surrogates; `None` if that leaves none.
fn span(low: u32, high: u32) -> Option<ClassUnicode> {
    let first = (low..=high.min(low.saturating_add(0x800))).find_map(char::from_u32)?;
    let last = (low.max(high.saturating_sub(0x800))..=high)
        .rev()
        .find_map(char::from_u32)?;
    Some(ClassUnicode::new([range(first, last)]))
}

/// The character of an escape, behind the backslash. `None`: it is a surrogate.
pub(super) fn escaped_char(rest: &mut Rest<'_>) -> Parsed<Option<char>> {
    escaped_number(rest).map(char::from_u32)
}

fn escaped_number(rest: &mut Rest<'_>) -> Parsed<u32> {
    let Some(name) = rest.next() else {
        return Err((ErrorKind::TrailingBackslash, "\\".to_owned()));
    };
    let unknown = || (ErrorKind::Escape, format!("\\{name}"));
    let octal = |rest: &mut Rest<'_>| rest.next_if(|c| matches!(c, '0'..='7'));
    match name {
        '0'..='7' => {
            let mut number = u32::from(name) - u32::from('0');
            let mut digits = 1;
            while digits < 3
                && let Some(digit) = octal(rest)
            {
                number = number * 8 + u32::from(digit) - u32::from('0');
                digits += 1;
            }
            // One digit would refer to a group.
            if digits == 1 && name != '0' {
                return Err(unknown());
            }
            Ok(number)
        }
        'x' => hexadecimal(rest).ok_or_else(unknown),
        'a' => Ok(0x07),
        'f' => Ok(0x0c),
        'n' => Ok(0x0a),
        'r' => Ok(0x0d),
        't' => Ok(0x09),
        'v' => Ok(0x0b),
        plain if plain.is_ascii() && !plain.is_ascii_alphanumeric() => Ok(u32::from(plain)),
        _ => Err(unknown()),
    }
}

/// Two digits, or any number of them in braces.
fn hexadecimal(rest: &mut Rest<'_>) -> Option<u32> {
    let first = rest.next()?;
    if first != '{' {
        return Some(first.to_digit(16)? * 16 + rest.next()?.to_digit(16)?);
    }
    let mut number = None;
    loop {
        match rest.next()? {
            '}' => return number,
            digit => {
                let next = number.unwrap_or(0) * 16 + digit.to_digit(16)?;
                if next > u32::from(char::MAX) {
                    return None;
                }
                number = Some(next);
            }
        }
    }
}

fn shown(number: u32) -> String {
    char::from_u32(number).map_or_else(|| format!("\\x{{{number:x}}}"), String::from)
}

/// Names that are neither categories nor scripts.
const SPECIAL: &[&str] = &["Any", "Assigned", "Ascii"];

/// Categories and their longer names, as Go compares them.
const CATEGORIES: &[&str] = &[
    "C",
    "Casedletter",
    "Cc",
    "Cf",
    "Closepunctuation",
    "Cn",
    "Cntrl",
    "Co",
    "Combiningmark",
    "Connectorpunctuation",
    "Control",
    "Currencysymbol",
    "Dashpunctuation",
    "Decimalnumber",
    "Digit",
    "Enclosingmark",
    "Finalpunctuation",
    "Format",
    "Initialpunctuation",
    "L",
    "Lc",
    "Letter",
    "Letternumber",
    "Lineseparator",
    "Ll",
    "Lm",
    "Lo",
    "Lowercaseletter",
    "Lt",
    "Lu",
    "M",
    "Mark",
    "Mathsymbol",
    "Mc",
    "Me",
    "Mn",
    "Modifierletter",
    "Modifiersymbol",
    "N",
    "Nd",
    "Nl",
    "No",
    "Nonspacingmark",
    "Number",
    "Openpunctuation",
    "Other",
    "Otherletter",
    "Othernumber",
    "Otherpunctuation",
    "Othersymbol",
    "P",
    "Paragraphseparator",
    "Pc",
    "Pd",
    "Pe",
    "Pf",
    "Pi",
    "Po",
    "Privateuse",
    "Ps",
    "Punct",
    "Punctuation",
    "S",
    "Sc",
    "Separator",
    "Sk",
    "Sm",
    "So",
    "Spaceseparator",
    "Spacingmark",
    "Symbol",
    "Titlecaseletter",
    "Unassigned",
    "Uppercaseletter",
    "Z",
    "Zl",
    "Zp",
    "Zs",
];

/// The scripts that Go finds: those of one word. It looks up `Old_Italic` as `Olditalic`, and
/// does not find it.
const SCRIPTS: &[&str] = &[
    "Adlam",
    "Ahom",
    "Arabic",
    "Armenian",
    "Avestan",
    "Balinese",
    "Bamum",
    "Batak",
    "Bengali",
    "Bhaiksuki",
    "Bopomofo",
    "Brahmi",
    "Braille",
    "Buginese",
    "Buhid",
    "Carian",
    "Chakma",
    "Cham",
    "Cherokee",
    "Chorasmian",
    "Common",
    "Coptic",
    "Cuneiform",
    "Cypriot",
    "Cyrillic",
    "Deseret",
    "Devanagari",
    "Dogra",
    "Duployan",
    "Elbasan",
    "Elymaic",
    "Ethiopic",
    "Georgian",
    "Glagolitic",
    "Gothic",
    "Grantha",
    "Greek",
    "Gujarati",
    "Gurmukhi",
    "Han",
    "Hangul",
    "Hanunoo",
    "Hatran",
    "Hebrew",
    "Hiragana",
    "Inherited",
    "Javanese",
    "Kaithi",
    "Kannada",
    "Katakana",
    "Kawi",
    "Kharoshthi",
    "Khmer",
    "Khojki",
    "Khudawadi",
    "Lao",
    "Latin",
    "Lepcha",
    "Limbu",
    "Lisu",
    "Lycian",
    "Lydian",
    "Mahajani",
    "Makasar",
    "Malayalam",
    "Mandaic",
    "Manichaean",
    "Marchen",
    "Medefaidrin",
    "Miao",
    "Modi",
    "Mongolian",
    "Mro",
    "Multani",
    "Myanmar",
    "Nabataean",
    "Nandinagari",
    "Newa",
    "Nko",
    "Nushu",
    "Ogham",
    "Oriya",
    "Osage",
    "Osmanya",
    "Palmyrene",
    "Phoenician",
    "Rejang",
    "Runic",
    "Samaritan",
    "Saurashtra",
    "Sharada",
    "Shavian",
    "Siddham",
    "Sinhala",
    "Sogdian",
    "Soyombo",
    "Sundanese",
    "Syriac",
    "Tagalog",
    "Tagbanwa",
    "Takri",
    "Tamil",
    "Tangsa",
    "Tangut",
    "Telugu",
    "Thaana",
    "Thai",
    "Tibetan",
    "Tifinagh",
    "Tirhuta",
    "Toto",
    "Ugaritic",
    "Vai",
    "Vithkuqi",
    "Wancho",
    "Yezidi",
    "Yi",
];
