//! The table, JSON and JUnit.

use std::{fs, path::PathBuf, time::Duration};

use serde_json::{Map, Value};

use crate::harness::{
    case_result::{CaseResult, Word},
    outcome::Difference,
    plan::Must,
    report::{Report, Row},
};

#[test]
fn the_table_shows_a_difference_below_its_row() {
    let shown: Vec<String> = rows().iter().map(Row::shown).collect();
    insta::assert_snapshot!(shown.join("\n"), @r#"
    equal           recorded | this                A pod is sent  (0.02 s)
    exception D8    recorded | this                name_10000_bytes  (0.02 s)
    not run         recorded | this                queue_full_big_pods  (it is heavy: --long)
    DIFFERENT       recorded | this                A pod is deleted  (0.02 s | 0.32 s)
      What it <is> about.
      (- recorded, + this)
      output differs at line 2 (of 2, got 2):
          equal
        - pod "a"
        + pod "b"
    detected        recorded | this                self-test: a message is altered  (0.02 s)  [output]
    "#);
}

#[test]
fn json_has_the_documented_fields() {
    insta::assert_snapshot!(Report::new(rows()).json(), @r#"
    {
      "version": 1,
      "ok": false,
      "verdicts": [
        {
          "case": "A pod is deleted",
          "description": "What it <is> about.",
          "peers": [
            "recorded",
            "this"
          ],
          "verdict": "different",
          "ok": false,
          "seconds": [
            0.02,
            0.32
          ],
          "difference": {
            "what": "output",
            "expected": "pod \"a\"",
            "got": "pod \"b\"",
            "report": "output differs at line 2 (of 2, got 2):\n    equal\n  - pod \"a\"\n  + pod \"b\"\n"
          }
        },
        {
          "case": "A pod is sent",
          "description": "What it <is> about.",
          "peers": [
            "recorded",
            "this"
          ],
          "verdict": "equal",
          "ok": true,
          "seconds": [
            null,
            0.02
          ]
        },
        {
          "case": "name_10000_bytes",
          "description": "What it <is> about.",
          "peers": [
            "recorded",
            "this"
          ],
          "verdict": "exception",
          "ok": true,
          "seconds": [
            null,
            0.02
          ],
          "exception": {
            "decision": "D8",
            "reason": "Too long & cut."
          }
        },
        {
          "case": "queue_full_big_pods",
          "description": "What it <is> about.",
          "peers": [
            "recorded",
            "this"
          ],
          "verdict": "not_run",
          "ok": true,
          "seconds": [
            null,
            null
          ],
          "why": "it is heavy: --long"
        },
        {
          "case": "self-test: a message is altered",
          "description": "What it <is> about.",
          "peers": [
            "recorded",
            "this"
          ],
          "verdict": "different",
          "ok": true,
          "must": "different",
          "seconds": [
            null,
            0.02
          ],
          "difference": {
            "what": "output",
            "expected": "pod \"a\"",
            "got": "pod \"b\"",
            "report": "output differs at line 2 (of 2, got 2):\n    equal\n  - pod \"a\"\n  + pod \"b\"\n"
          }
        }
      ]
    }
    "#);
}

#[test]
fn junit_has_the_documented_fields() {
    insta::assert_snapshot!(Report::new(rows()).junit(), @r#"
    <?xml version="1.0" encoding="UTF-8"?>
    <testsuite name="compat" tests="5" failures="1" skipped="1" time="0.400">
      <testcase classname="recorded | this" name="A pod is deleted" time="0.340">
        <failure message="output">output differs at line 2 (of 2, got 2):
        equal
      - pod &quot;a&quot;
      + pod &quot;b&quot;
    </failure>
      </testcase>
      <testcase classname="recorded | this" name="A pod is sent" time="0.020"/>
      <testcase classname="recorded | this" name="name_10000_bytes" time="0.020">
        <system-out>exception D8: Too long &amp; cut.</system-out>
      </testcase>
      <testcase classname="recorded | this" name="queue_full_big_pods" time="0.000">
        <skipped message="it is heavy: --long"/>
      </testcase>
      <testcase classname="recorded | this" name="self-test: a message is altered" time="0.020"/>
    </testsuite>
    "#);
}

#[test]
fn the_fields_of_json_are_documented() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/results.md");
    let text = fs::read_to_string(path).unwrap();
    let json: Value = serde_json::from_str(&Report::new(rows()).json()).unwrap();
    let mut names: Vec<&String> = json.as_object().unwrap().keys().collect();
    for row in json["verdicts"].as_array().unwrap() {
        names.extend(row.as_object().unwrap().keys());
        for inner in ["exception", "difference"] {
            names.extend(row[inner].as_object().into_iter().flat_map(Map::keys));
        }
    }
    for name in names {
        assert!(text.contains(&format!("`{name}`")), "{name}");
    }
}

#[test]
fn one_difference_fails_a_run_and_a_self_test_that_finds_nothing_does_too() {
    assert!(!Report::new(rows()).ok());
    let mut rows = rows();
    rows.retain(Row::ok);
    let words: Vec<Word> = rows.iter().map(|row| row.result.word()).collect();
    assert_eq!(
        words,
        [Word::Equal, Word::Exception, Word::NotRun, Word::Different]
    );
    assert!(Report::new(rows.clone()).ok());
    for row in &mut rows {
        row.result = CaseResult::Equal;
    }
    assert!(!Report::new(rows).ok());
}

/// One of each kind.
fn rows() -> Vec<Row> {
    let row = |case: &str, result| Row {
        case: case.into(),
        description: "What it <is> about.".into(),
        peers: ["recorded".into(), "this".into()],
        result,
        took: [None, Some(Duration::from_millis(20))],
        must: None,
    };
    let different = |what: &str| {
        let lines = |text: &str| vec!["equal".to_owned(), text.to_owned()];
        CaseResult::Different(
            Difference::between(what, &lines("pod \"a\""), &lines("pod \"b\"")).unwrap(),
        )
    };
    let must = Some(Must {
        word: Word::Different,
        says: "pod \"b\"",
    });
    vec![
        row("A pod is sent", CaseResult::Equal),
        row(
            "name_10000_bytes",
            CaseResult::Exception {
                decision: "D8".into(),
                reason: "Too long & cut.".into(),
            },
        ),
        Row {
            took: [None; 2],
            ..row(
                "queue_full_big_pods",
                CaseResult::NotRun {
                    why: "it is heavy: --long".into(),
                },
            )
        },
        Row {
            took: [
                Some(Duration::from_millis(20)),
                Some(Duration::from_millis(320)),
            ],
            ..row("A pod is deleted", different("output"))
        },
        Row {
            must,
            ..row("self-test: a message is altered", different("output"))
        },
    ]
}
