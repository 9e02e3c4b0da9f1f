//! All settings as a text for people: the tables of `docs/configuration.md`.

use std::fmt::Write as _;

use clap::{Arg, Command};

use super::settings::{is_setting, unsaid_default};

/// A table for each part of the help, in Markdown, of a program with these flags.
pub(crate) fn reference(command: &Command) -> String {
    let mut text = String::new();
    let mut heading = None;
    for arg in command.get_arguments().filter(|arg| is_setting(arg)) {
        if arg.get_help_heading() != heading {
            heading = arg.get_help_heading();
            let heading = heading.unwrap_or("Other");
            let _ = write!(
                text,
                "\n### {heading}\n\n| key and flag | variable | default | |\n|---|---|---|---|\n"
            );
        }
        let _ = writeln!(text, "{}", row(arg));
    }
    text
}

fn row(arg: &Arg) -> String {
    let name = arg.get_long().unwrap_or_default();
    let variable = arg.get_env().map(|name| code(&name.to_string_lossy()));
    let default = arg.get_default_values().iter();
    let default: Vec<String> = default.map(|one| code(&one.to_string_lossy())).collect();
    let default = match (default.as_slice(), unsaid_default(name)) {
        ([], Some(unsaid)) => code(unsaid),
        (some, _) => some.join(" "),
    };
    format!(
        "| `{name}` | {} | {} | {} |",
        variable.unwrap_or_default(),
        if arg.get_action().takes_values() {
            default
        } else {
            code("false")
        },
        cell(&about(arg)),
    )
}

/// What the help says, with the values that it may have.
fn about(arg: &Arg) -> String {
    let about = arg.get_long_help().or(arg.get_help());
    let mut text = about.map(ToString::to_string).unwrap_or_default();
    // The first line of the help is a title, without a full stop.
    if let Some((title, rest)) = text.split_once("\n\n") {
        text = format!("{title}. {rest}");
    }
    let values = arg.get_possible_values();
    if arg.get_action().takes_values() && !values.is_empty() {
        let values = values.iter().filter(|value| !value.is_hide_set());
        let values: Vec<String> = values
            .map(|value| {
                let help = value.get_help().map(ToString::to_string);
                let help = help.map_or(String::new(), |help| format!(": {help}"));
                format!("{}{help}", code(value.get_name()))
            })
            .collect();
        let about = text.trim_end_matches('.');
        text = format!("{about}. {}", values.join("; "));
    }
    text
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

/// In one line, and without what would end a cell.
fn cell(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").replace('|', "\\|").replace('<', "&lt;")
}
