#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;

/// The labels and the reducer of a file, in one line, and its warnings.
fn summary(text: &str) -> String {
    let (file, warnings) = match parse(text) {
        Ok(read) => read,
        Err(error) => return format!("error: {error}"),
    };
    let mut parts: Vec<String> = file
        .labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    parts.extend(
        file.intake
            .map(|intake| format!("-> {}:{}", intake.host, intake.port)),
    );
    parts.extend(warnings.iter().map(|warning| format!("warning: {warning}")));
    parts.join(" | ")
}

fn check(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(summary(text), *expected, "{text}");
    }
}

#[test]
fn a_scalar_is_the_text_that_was_written() {
    check(&[
        ("labels: {a: 1.10}", "a=1.10"),
        (
            "labels: {a: true, b: 1, c: 0x10, d: 1e3}",
            "a=true | b=1 | c=0x10 | d=1e3",
        ),
        ("labels: {a: 2026-01-01, b: .inf}", "a=2026-01-01 | b=.inf"),
        ("labels: {1: one, true: yes}", "1=one | true=yes"),
        ("labels: {a: 'it''s', b: \"x\\ty\"}", "a=it's | b=x\ty"),
        ("labels:\n  a: |\n    two\n    lines\n", "a=two\nlines\n"),
        ("labels: {a: !!int 007, b: !own x}", "a=007 | b=x"),
        ("\u{feff}labels: {a: b}", "a=b"),
        ("labels:\r\n  a: b\r\n", "a=b"),
    ]);
}

#[test]
fn a_null_is_the_text_null_and_an_empty_text_stays_empty() {
    check(&[
        (
            "labels: {a: , b: ~, c: null, d: Null, e: NULL}",
            "a=null | b=null | c=null | d=null | e=null",
        ),
        ("labels: {a: '', b: \"~\", c: !!str }", "a= | b=~ | c="),
        ("labels: {~: a}", "null=a"),
    ]);
}

#[test]
fn sections_may_be_absent_or_of_another_type() {
    let ignored = |name: &str| format!("warning: `{name}` is not a map and is ignored");
    check(&[
        ("", ""),
        ("# nothing\n", ""),
        ("---\n...\n", ""),
        ("~", ""),
        ("{}", ""),
        ("other: [1, {a: b}]\nlabels:\n", ""),
        ("labels: []", &ignored("labels")),
        ("labels: some", &ignored("labels")),
        ("labels: ''", &ignored("labels")),
        ("intake: [host, port]", &ignored("intake")),
        ("intake: reducer:7000", &ignored("intake")),
        ("? [a, b]\n: c\nlabels: {d: e}", "d=e"),
    ]);
}

#[test]
fn the_last_of_duplicate_keys_counts() {
    check(&[
        ("labels: {a: 1, b: 2, a: 3}", "a=3 | b=2"),
        ("labels: {a: 1}\nlabels: {b: 2}", "b=2"),
        ("intake: {host: a, port: 1, host: b}", "-> b:1"),
        ("intake:\nintake: {host: a, port: 1}", "-> a:1"),
    ]);
}

#[test]
fn labels_are_in_bytewise_order_of_their_keys() {
    check(&[(
        "labels: {é: 1, b: 2, Z: 3, a.b: 4, a: 5}",
        "Z=3 | a=5 | a.b=4 | b=2 | é=1",
    )]);
}

#[test]
fn a_label_is_skipped_when_it_has_too_many_bytes() {
    let (k20, k21, v40, v41) = (
        "k".repeat(20),
        "k".repeat(21),
        "v".repeat(40),
        "v".repeat(41),
    );
    let e21 = format!("{}k", "é".repeat(10)); // 11 characters, 21 bytes
    let skipped = |key: &str, key_len, value_len| {
        format!(
            "warning: label {key:?} is skipped: its key has {key_len} of at most 20 bytes, \
             its value {value_len} of at most 40"
        )
    };
    for (key, value, expected) in [
        (&k20, &v40, format!("{k20}={v40}")),
        (&k21, &v40, skipped(&k20, 21, 40)),
        (&k20, &v41, skipped(&k20, 20, 41)),
        (&e21, &v40, skipped(&e21, 21, 40)),
    ] {
        assert_eq!(summary(&format!("labels: {{{key}: {value}}}")), expected);
    }
    let earlier = format!("labels: {{a: kept, a: {v41}}}");
    assert_eq!(
        summary(&earlier),
        format!("a=kept | {}", skipped("a", 1, 41))
    );
}

#[test]
fn the_reducer_has_a_host_and_a_port_or_the_file_is_wrong() {
    let port = |text: &str| {
        format!("error: `intake.port`: expected a port number up to 65535, found `{text}`")
    };
    check(&[
        ("intake: {host: reducer, port: 7000}", "-> reducer:7000"),
        (
            "intake: {host: '::1', port: '7000', more: [x]}",
            "-> ::1:7000",
        ),
        ("intake: {host: '[::1]', port: 07000}", "-> ::1:7000"),
        ("intake:", "error: `intake` has no value"),
        ("intake: {}", "error: `intake` needs a plain `host`"),
        ("intake: {host: a}", "error: `intake` needs a plain `port`"),
        ("intake: {port: 1}", "error: `intake` needs a plain `host`"),
        (
            "intake: {host: , port: 1}",
            "error: `intake` needs a plain `host`",
        ),
        (
            "intake: {host: [a], port: 1}",
            "error: `intake` needs a plain `host`",
        ),
        (
            "intake: {host: a, port: {b: c}}",
            "error: `intake` needs a plain `port`",
        ),
        (
            "intake: {host: '', port: 1}",
            "error: `intake.host`: expected a host name or address",
        ),
        ("intake: {host: a, port: http}", &port("http")),
        ("intake: {host: a, port: 0}", &port("0")),
        ("intake: {host: a, port: 65536}", &port("65536")),
        ("intake: {host: a, port: 0x10}", &port("0x10")),
        ("intake: {host: a, port: ''}", &port("")),
    ]);
}

#[test]
fn what_made_the_legacy_abort_is_an_error_with_its_place() {
    let label =
        |what: &str| format!("error: a key or value below `labels` is not a plain value: {what}");
    check(&[
        ("some text", "error: the document is not a map"),
        ("7", "error: the document is not a map"),
        ("[labels]", "error: the document is not a map"),
        ("labels: {a: {b: c}}", &label("\"a\"")),
        ("labels: {a: [b]}", &label("\"a\"")),
        ("labels: {[a]: b}", &label("a key has parts")),
    ]);
    for (text, line) in [
        ("labels: {a: b", 2),
        ("labels:\n  a: b\n c: d\n", 3),
        ("\na: \"b", 2),
    ] {
        let error = summary(text);
        assert!(error.starts_with("error: not YAML: "), "{text}: {error}");
        assert!(
            error.ends_with(&format!(" at line {line}")),
            "{text}: {error}"
        );
    }
}

#[test]
fn only_the_first_document_is_read() {
    check(&[(
        "labels: {a: b}\n---\nlabels: {c: d}\n",
        "a=b | warning: more than one document; only the first is read",
    )]);
}

#[test]
fn aliases_stand_for_what_they_name() {
    check(&[
        ("x: &x {a: b}\nlabels: *x", "a=b"),
        ("x: &x text\nlabels: {a: *x, *x : c}", "a=text | text=c"),
        (
            "labels: {a: *nothing}",
            "error: not YAML: while parsing node, found unknown anchor at line 1",
        ),
        (
            "labels: &x {a: *x}",
            "error: an alias names no finished node, at line 1",
        ),
    ]);
}

#[test]
fn a_bomb_of_aliases_costs_no_more_than_its_text() {
    let bomb = |levels: usize| {
        let mut text = String::from("labels: {a: b}\na0: &a0 {x: y}\n");
        for level in 1..levels {
            let below = level - 1;
            text += &format!("a{level}: &a{level} {{p: *a{below}, q: *a{below}}}\n");
        }
        text
    };
    assert_eq!(summary(&bomb(MAX_ANCHORS)), "a=b");
    assert_eq!(
        summary(&bomb(20_000)),
        "error: more than 256 anchors, at line 259"
    );
}

#[test]
fn nesting_and_length_are_bounded() {
    let flow = |depth: usize| format!("x: {}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(summary(&flow(MAX_DEPTH - 1)), "");
    assert_eq!(
        summary(&flow(MAX_DEPTH)),
        "error: nested deeper than 64 levels, at line 1"
    );
    let block = |depth: usize| format!("{}x", "- ".repeat(depth));
    assert_eq!(
        summary(&block(MAX_DEPTH + 1)),
        "error: nested deeper than 64 levels, at line 1"
    );
    for endless in ["[", "{", "- ", "? ", "a: "] {
        let error = summary(&endless.repeat(MAX_FILE_BYTES / endless.len()));
        assert!(error.starts_with("error: "), "{endless}: {error}");
    }
    let long = format!("#{}", "x".repeat(MAX_FILE_BYTES));
    assert_eq!(summary(&long), "error: longer than 1048576 bytes");
}

#[test]
fn bytes_that_are_no_text_are_an_error() {
    assert!(matches!(
        parse_bytes(b"labels: {a: \xff}"),
        Err(YamlError::Encoding(_))
    ));
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[a-c:{}\\[\\],&*!|>'\"#? \\n\\t-]{0,60}") {
        let _ = parse(&text);
    }
}
