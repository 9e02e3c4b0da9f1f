#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;

/// A file in one line: each key with its line and value.
fn summary(text: &str) -> String {
    match parse(text.as_bytes()) {
        Ok(entries) => shown(&entries),
        Err(error) => format!("error: {error}"),
    }
}

fn shown(entries: &[Entry]) -> String {
    let entries = entries.iter().map(|Entry { key, line, value }| {
        let key = key.as_deref().unwrap_or("(parts)");
        format!("{line}:{key}={}", shown_node(value))
    });
    entries.collect::<Vec<_>>().join(" ")
}

fn shown_node(node: &Node) -> String {
    match node {
        Node::Null => "(null)".to_owned(),
        Node::Text(text) => format!("{text:?}"),
        Node::List(items) => {
            let items: Vec<String> = items.iter().map(shown_node).collect();
            format!("[{}]", items.join(", "))
        }
        Node::Map(entries) => format!("{{{}}}", shown(entries)),
    }
}

fn check(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(summary(text), *expected, "{text}");
    }
}

#[test]
fn a_scalar_is_the_text_that_was_written() {
    check(&[
        ("a: 1.10", r#"1:a="1.10""#),
        (
            "{a: true, b: 1, c: 0x10, d: 1e3}",
            r#"1:a="true" 1:b="1" 1:c="0x10" 1:d="1e3""#,
        ),
        ("{a: 2026-01-01, b: .inf}", r#"1:a="2026-01-01" 1:b=".inf""#),
        ("{1: one, true: yes}", r#"1:1="one" 1:true="yes""#),
        ("{a: 'it''s', b: \"x\\ty\"}", r#"1:a="it's" 1:b="x\ty""#),
        ("a: |\n  two\n  lines\n", r#"1:a="two\nlines\n""#),
        ("{a: !!int 007, b: !own x}", r#"1:a="007" 1:b="x""#),
    ]);
}

#[test]
fn a_null_is_none_of_the_texts_that_look_like_it() {
    check(&[
        (
            "{a: , b: ~, c: null, d: Null, e: NULL}",
            "1:a=(null) 1:b=(null) 1:c=(null) 1:d=(null) 1:e=(null)",
        ),
        (
            "{a: '', b: \"~\", c: !!str , d: 'null'}",
            r#"1:a="" 1:b="~" 1:c="" 1:d="null""#,
        ),
        ("{~: a}", r#"1:null="a""#),
    ]);
}

#[test]
fn each_key_has_its_line_and_nothing_is_lost_or_merged() {
    check(&[
        ("", ""),
        ("# nothing\n", ""),
        ("---\n...\n", ""),
        ("~", ""),
        ("{}", ""),
        (
            "# first\na: 1\n\nb:\n  c: 2\n  d: [x, y]\na: 3\n",
            r#"2:a="1" 4:b={5:c="2" 6:d=["x", "y"]} 7:a="3""#,
        ),
        ("? [a, b]\n: c\nd: e", r#"1:(parts)="c" 3:d="e""#),
        ("<<: {a: b}", r#"1:<<={1:a="b"}"#),
        ("\u{feff}a: b", r#"1:a="b""#),
        ("a:\r\n  b: c\r\nd: e\r\n", r#"1:a={2:b="c"} 3:d="e""#),
    ]);
}

#[test]
fn what_is_no_map_of_settings_is_an_error_with_its_line() {
    check(&[
        (
            "some text",
            "error: line 1: the document is not a map of settings",
        ),
        (
            "\n7",
            "error: line 2: the document is not a map of settings",
        ),
        (
            "[labels]",
            "error: line 1: the document is not a map of settings",
        ),
        (
            "a: b\n---\nc: d\n",
            "error: line 3: a second document; all settings belong in one",
        ),
        ("a: b\n---\n", r#"1:a="b""#),
        ("a: b\n...\n", r#"1:a="b""#),
    ]);
    for (text, line) in [
        ("labels: {a: b", 2),
        ("labels:\n  a: b\n c: d\n", 3),
        ("a:\n\tb: c\n", 2),
    ] {
        let error = summary(text);
        let start = format!("error: line {line}: not YAML: ");
        assert!(error.starts_with(&start), "{text}: {error}");
    }
    let bytes = parse(b"labels: {a: \xff}").unwrap_err();
    assert!(matches!(bytes, YamlError::Encoding(_)));
}

#[test]
fn an_alias_stands_for_a_plain_value_alone() {
    let refused = |line: usize| {
        format!("error: line {line}: an alias must name a plain, short value that stands before it")
    };
    check(&[
        (
            "{x: &x text, y: *x, *x : c}",
            r#"1:x="text" 1:y="text" 1:text="c""#,
        ),
        ("x: &x {a: b}\ny: *x", &refused(2)),
        ("x: &x [a]\ny: *x", &refused(2)),
        ("labels: &x {a: *x}", &refused(1)),
    ]);
    let unknown = summary("a: *nothing");
    assert!(
        unknown.starts_with("error: line 1: not YAML: "),
        "{unknown}"
    );
}

#[test]
fn a_bomb_of_aliases_costs_no_more_than_its_text() {
    let long = "x".repeat(MAX_FILE_BYTES / 2);
    let bomb = |aliases: usize| format!("a: &a {long}\nb: [{}]", "*a, ".repeat(aliases));
    assert!(summary(&bomb(2)).starts_with("1:a="));
    let error = summary(&bomb(10_000));
    assert!(error.starts_with("error: line 2: an alias"), "{error}");
}

#[test]
fn nesting_and_length_are_bounded() {
    let flow = |depth: usize| format!("x: {}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(summary(&flow(MAX_DEPTH - 1)).starts_with("1:x=[["));
    let too_deep = "error: line 1: nested deeper than 64 levels";
    assert_eq!(summary(&flow(MAX_DEPTH)), too_deep);
    let block = |depth: usize| format!("{}x", "- ".repeat(depth));
    assert_eq!(summary(&block(MAX_DEPTH + 1)), too_deep);
    for endless in ["[", "{", "- ", "? ", "a: "] {
        let error = summary(&endless.repeat(MAX_FILE_BYTES / endless.len()));
        assert!(error.starts_with("error: "), "{endless}: {error}");
    }
    let long = format!("#{}", "x".repeat(MAX_FILE_BYTES));
    assert_eq!(summary(&long), "error: longer than 1048576 bytes");
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[a-c:{}\\[\\],&*!|>'\"#? \\n\\t-]{0,60}") {
        let _ = parse(text.as_bytes());
    }
}
