//! The words of comments and of texts that users read, and the width of prose.

use std::{
    fs,
    path::{Path, PathBuf},
    str::Chars,
};

use super::{files, root};

/// Words that say nothing to somebody who has never seen the program, and why not.
const BANNED: &[(&str, &str)] = &[
    ("told", "pods are announced, messages are sent"),
    ("tell", "pods are announced, messages are sent"),
    ("tells", "documents describe, the relay announces and sends"),
    ("telling", "pods are announced, messages are sent"),
    ("anew", "the English word is `again`"),
    ("for ever", "the English word is `indefinitely`"),
    ("beside", "two things run alongside each other"),
    ("can not", "it is one word: `cannot`"),
    ("cut-over", "the noun is `cutover`, the verb `cut over`"),
    ("picture", "it is the reducer's state, or a snapshot of it"),
    ("pictures", "they are states"),
    ("twins", "they are the compared pair"),
    ("unwell", "a source is healthy or failing"),
    ("old watcher", "it is a legacy watcher"),
    ("old watchers", "they are legacy watchers"),
    ("old relay", "it is the legacy relay"),
    (
        "own watches",
        "they are the native watches, of the native source",
    ),
    ("greeting", "it is the reducer handshake"),
    ("greeted", "it is the reducer handshake"),
    ("dial", "it is a connection attempt"),
    ("dials", "they are connection attempts"),
    ("dialling", "the relay connects"),
    ("verdict", "the compat harness has results"),
    ("excused", "it is an expected difference, by an allow rule"),
    ("waived", "a check is overridden"),
    ("given up", "the autopilot is suspended"),
    ("cut texts", "they are truncated strings"),
    ("verdicts", "the compat harness has results"),
    ("yardstick", "it is the bare server"),
];

/// Banned words that are plain English where code is described.
const IN_COMMENTS: [&str; 2] = ["given up", "old relay"];

/// The widest line of prose, in characters.
const WIDTH: usize = 100;

/// What the texts of log lines and errors stand behind.
const OPENERS: [&str; 6] = [
    "error!(", "warn!(", "info!(", "debug!(", "trace!(", "#[error(",
];

#[test]
fn texts_for_users_have_the_words_of_the_field() {
    let mut wrong = Vec::new();
    let mut check = |place: &str, first: usize, text: &str| {
        for (line, word) in banned_in(text) {
            let (_, why) = BANNED.iter().find(|(banned, _)| *banned == word).unwrap();
            wrong.push(format!("{place}:{}: {word}: {why}", first + line));
        }
    };
    for (place, text) in documents() {
        check(&place, 1, &prose(&text));
    }
    let snapshots = files(&root().join("tests/it"));
    let name = "it__surface__the_help_teaches_the_program.snap";
    let help = snapshots.iter().find(|file| file.ends_with(name)).unwrap();
    check(name, 1, &fs::read_to_string(help).unwrap());
    // The names of metrics are words, too.
    let metrics = fs::read_to_string(root().join("docs/metrics.md")).unwrap();
    check("docs/metrics.md", 1, &metrics.replace('_', " "));
    for (place, text) in manifests() {
        check(&place, 1, &text);
    }
    let mut shown = 0;
    for file in files(&root().join("src")) {
        let code = fs::read_to_string(&file).unwrap();
        for (line, text) in shown_by(&code) {
            shown += 1;
            check(&of_root(&file), line, &without_placeholders(&text));
        }
    }
    assert!(shown > 200, "only {shown} texts of log lines and errors");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn comments_have_the_words_of_the_field() {
    let (mut wrong, mut read) = (Vec::new(), 0);
    for file in ["src", "tests", "compat", "benches"]
        .map(|of| files(&root().join(of)))
        .concat()
    {
        let place = of_root(&file);
        if !place.ends_with(".rs") || place.ends_with("tidy/words.rs") {
            continue;
        }
        for (first, comment) in comments_in(&fs::read_to_string(&file).unwrap()) {
            read += 1;
            let found = banned_in(&prose(&comment));
            let found = found.iter().filter(|(_, word)| !IN_COMMENTS.contains(word));
            wrong.extend(found.map(|(line, word)| format!("{place}:{}: {word}", first + line)));
        }
    }
    assert!(read > 5_000, "only {read} comments");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The texts of the comments that have lines of their own, each with the number of its first line.
fn comments_in(code: &str) -> Vec<(usize, String)> {
    let mut comments: Vec<(usize, String)> = Vec::new();
    let mut goes_on = false;
    for (number, line) in (1..).zip(code.lines()) {
        let comment = line.trim_start().strip_prefix("//");
        match (comment, comments.last_mut()) {
            (Some(text), Some((_, comment))) if goes_on => {
                comment.push('\n');
                comment.push_str(text.trim_start_matches(['/', '!', ' ']));
            }
            (Some(text), _) => {
                let text = text.trim_start_matches(['/', '!', ' ']);
                comments.push((number, text.to_owned()));
            }
            (None, _) => {}
        }
        goes_on = comment.is_some();
    }
    comments
}

#[test]
fn prose_is_at_most_100_columns_wide() {
    let mut wide = Vec::new();
    for (place, text) in documents() {
        for (number, line) in outside_code(&text) {
            if line.chars().count() > WIDTH && !line.trim_start().starts_with('|') {
                wide.push(format!("{place}:{number}"));
            }
        }
    }
    for (place, text) in manifests() {
        let lines = text.lines().enumerate();
        let too_wide = lines.filter(|(_, line)| line.chars().count() > WIDTH);
        wide.extend(too_wide.map(|(index, _)| format!("{place}:{}", index + 1)));
    }
    assert!(wide.is_empty(), "wider than {WIDTH}: {wide:?}");
}

/// All Markdown of the repository.
fn documents() -> Vec<(String, String)> {
    let all = super::texts();
    let documents: Vec<_> = all
        .iter()
        .filter(|file| file.extension().is_some_and(|extension| extension == "md"))
        .map(|file| (of_root(file), fs::read_to_string(file).unwrap()))
        .collect();
    assert!(documents.len() > 10);
    documents
}

/// The comments of the manifests, each on its line and in its columns.
fn manifests() -> Vec<(String, String)> {
    let all = files(&root().join("deploy"));
    assert!(!all.is_empty());
    let comments = |file: &PathBuf| -> String {
        let text = fs::read_to_string(file).unwrap();
        let comment = |line: &str| match line.trim_start().starts_with('#') {
            true => format!("{line}\n"),
            false => "\n".to_owned(),
        };
        text.lines().map(comment).collect()
    };
    let both = |file: &PathBuf| (of_root(file), comments(file));
    all.iter().map(both).collect()
}

fn of_root(file: &Path) -> String {
    file.strip_prefix(root()).unwrap().display().to_string()
}

/// The lines that are in no code block, with their numbers.
fn outside_code(markdown: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut inside = false;
    (1..).zip(markdown.lines()).filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        inside ^= fence;
        !inside && !fence && !line.starts_with("    ")
    })
}

/// The text without code, line by line.
fn prose(markdown: &str) -> String {
    let mut lines = vec![""; markdown.lines().count()];
    for (number, line) in outside_code(markdown) {
        lines[number - 1] = line;
    }
    // Every second part is between backquotes; its line breaks stay.
    let text = lines.join("\n");
    let parts = text.split('`').enumerate();
    let parts = parts.map(|(index, part)| match index % 2 {
        0 => part.to_owned(),
        _ => format!("_{}", "\n".repeat(part.matches('\n').count())),
    });
    parts.collect()
}

/// Banned words, in any case and over line breaks, with the number of their line from 0.
fn banned_in(text: &str) -> Vec<(usize, &'static str)> {
    let words: Vec<(usize, String)> = text
        .lines()
        .enumerate()
        .flat_map(|(line, text)| {
            // A path or a flag is one word.
            text.split(|char: char| char.is_whitespace() || char == '\'')
                .map(|word| word.trim_matches(|char: char| !char.is_alphanumeric()))
                .filter(|word| !word.is_empty())
                .map(move |word| (line, word.to_lowercase()))
        })
        .collect();
    let mut found = Vec::new();
    for (banned, _) in BANNED {
        let parts: Vec<&str> = banned.split(' ').collect();
        for window in words.windows(parts.len()) {
            if window
                .iter()
                .map(|(_, word)| &**word)
                .eq(parts.iter().copied())
            {
                found.push((window[0].0, *banned));
            }
        }
    }
    found
}

/// The texts of log lines and errors in Rust code, with the line of each macro or attribute.
fn shown_by(code: &str) -> Vec<(usize, String)> {
    let mut shown = Vec::new();
    for opener in OPENERS {
        for (at, _) in code.match_indices(opener) {
            let (before, rest) = code.split_at(at + opener.len());
            let line = before.matches('\n').count() + 1;
            shown.extend(texts_of(rest).into_iter().map(|text| (line, text)));
        }
    }
    shown
}

/// The string literals before the parenthesis that closes.
fn texts_of(code: &str) -> Vec<String> {
    let (mut depth, mut texts) = (1, Vec::new());
    let mut chars = code.chars();
    while depth > 0 {
        match chars.next() {
            None => break,
            Some('(') => depth += 1,
            Some(')') => depth -= 1,
            Some('"') => texts.push(literal(&mut chars)),
            Some(_) => {}
        }
    }
    texts
}

/// The rest of a string literal.
fn literal(chars: &mut Chars<'_>) -> String {
    let mut text = String::new();
    while let Some(char) = chars.next() {
        match char {
            '"' => break,
            // An escaped line break ends nothing, so the words stay on one line.
            '\\' => text.extend(chars.next().filter(|char| *char != '\n')),
            char => text.push(char),
        }
    }
    text
}

/// A format string without the names of its arguments.
fn without_placeholders(text: &str) -> String {
    let parts = text.split('{').enumerate();
    let parts = parts.map(|(index, part)| match (index, part.split_once('}')) {
        (0, _) | (_, None) => part,
        (_, Some((_, rest))) => rest,
    });
    parts.collect::<Vec<_>>().join("_")
}

#[test]
fn banned_words_are_found_where_users_read_them_only() {
    let markdown =
        "An OLD\nwatcher `told` of a/told.\n```\nanew\n```\nIt is untold; `a\nb` verdict";
    let mut found = banned_in(&prose(markdown));
    found.sort_unstable();
    assert_eq!(found, [(0, "old watcher"), (6, "verdict")]);
    assert_eq!(
        comments_in("//! One\n//! `two`\nf(); // three\n    /// Four.\n"),
        [(1, "One\n`two`".to_owned()), (4, "Four.".to_owned())]
    );
    let code = "// told\nfn f() { warn!(told, %x(\")\"), \"the {sent} \\\"picture\\\" \\\n  says\"); }\n\
                #[error(\n\"cut-over {0}\")] struct E;";
    let texts: Vec<_> = shown_by(code)
        .into_iter()
        .map(|(line, text)| (line, without_placeholders(&text)))
        .collect();
    assert_eq!(
        texts,
        [
            (2, ")".to_owned()),
            (2, "the _ \"picture\"   says".to_owned()),
            (4, "cut-over _".to_owned())
        ]
    );
    assert_eq!(banned_in(&texts[1].1), [(0, "picture")]);
    assert_eq!(banned_in(&texts[2].1), [(0, "cut-over")]);
}
