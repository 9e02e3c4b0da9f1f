//! The effective settings as a config file.

use std::fmt::Write as _;

use super::{
    from_file::ENRICHMENT,
    settings::{Given, Origin, Setting, Settings, masked},
};

impl Settings {
    /// As a config file: a start with that file alone comes to the same settings. Defaults are
    /// comments, and so is what must not be shown. Each value is followed by its origin.
    pub fn to_yaml(&self) -> String {
        let mut text = String::new();
        let mut open: Vec<&str> = Vec::new();
        for setting in &self.all {
            // The file itself is named by a flag.
            let is_out = setting.name == "config-file"
                || setting.origin == Origin::Default
                || setting.is_secret();
            let (parents, name) = path(&setting.name);
            let known = open.iter().zip(&parents);
            let known = known.take_while(|(one, other)| one == other).count();
            for (depth, parent) in parents.iter().enumerate().skip(known) {
                let _ = writeln!(
                    text,
                    "{:1$}{parent}:",
                    "",
                    2 * depth,
                    parent = scalar(parent)
                );
            }
            let mark = if is_out { "#" } else { "" };
            let (name, value, origin) = (scalar(name), of_value(&setting.value), &setting.origin);
            let depth = 2 * parents.len();
            let _ = writeln!(text, "{:depth$}{mark}{name}:{value}  # {origin}", "");
            open = parents;
        }
        text
    }
}

impl Setting {
    /// Whether its value is shown in part only.
    fn is_secret(&self) -> bool {
        let hides = |text: &String| masked(text) != *text;
        match &self.value {
            Given::Nothing | Given::Switch(_) => false,
            Given::One(text) => hides(text),
            Given::Many(texts) => texts.iter().any(hides),
        }
    }
}

/// The maps of a file that a setting is in, outermost first, and its key there. A key of a profile
/// may have dots itself.
fn path(name: &str) -> (Vec<&str>, &str) {
    match name.split_once('.') {
        None => (Vec::new(), name),
        Some((ENRICHMENT, rest)) => {
            let mut parts: Vec<&str> = [ENRICHMENT]
                .into_iter()
                .chain(rest.splitn(3, '.'))
                .collect();
            let key = parts.pop().unwrap_or_default();
            (parts, key)
        }
        Some((section, key)) => (vec![section], key),
    }
}

/// With a blank before it, if there is one.
fn of_value(value: &Given) -> String {
    match value {
        Given::Nothing => String::new(),
        Given::Switch(on) => format!(" {on}"),
        Given::One(text) => format!(" {}", scalar(&masked(text))),
        Given::Many(texts) => {
            let texts: Vec<String> = texts.iter().map(|text| scalar(&masked(text))).collect();
            format!(" [{}]", texts.join(", "))
        }
    }
}

/// As it is, if YAML takes it for nothing but that text.
fn scalar(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    let begins = text.bytes().next().is_some_and(|b| b != b'-' && b != b'.');
    let is_null = text.eq_ignore_ascii_case("null");
    match begins && !is_null && text.bytes().all(is_plain) {
        true => text.to_owned(),
        false => serde_json::Value::from(text).to_string(),
    }
}
