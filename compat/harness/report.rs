//! What is said about a run: a table for people, JSON and JUnit for programs.

use std::{fmt::Write as _, time::Duration};

use serde::Serialize;

use super::{
    case_result::{CaseResult, Word},
    outcome::Difference,
    plan::Must,
};

/// One comparison.
#[derive(Clone, Debug)]
pub struct Row {
    pub case: String,
    pub description: String,
    /// The second is compared with the first.
    pub peers: [String; 2],
    pub result: CaseResult,
    /// For how long each was busy; none of a recording and of a peer that failed.
    pub took: [Option<Duration>; 2],
    /// What it must be, if it is a self-test of the harness.
    pub must: Option<Must>,
}

impl Row {
    /// The harness itself is at fault.
    pub fn of_the_harness(why: &str) -> Self {
        Self {
            case: "the harness".to_owned(),
            description: String::new(),
            peers: ["harness".to_owned(), "harness".to_owned()],
            result: CaseResult::Different(Difference {
                what: "the harness failed".to_owned(),
                expected: None,
                got: Some(why.to_owned()),
                report: format!("{why}\n"),
            }),
            took: [None; 2],
            must: None,
        }
    }

    /// Whether this is as it should be.
    pub fn ok(&self) -> bool {
        match self.must {
            None => self.result.word() != Word::Different,
            Some(must) => self.result.word() == must.word && self.report().contains(must.says),
        }
    }

    /// The row of the table; below it what differs, if it should not.
    pub fn shown(&self) -> String {
        let result = match (&self.result, self.must) {
            (CaseResult::Equal, _) => "equal".to_owned(),
            (CaseResult::Exception { decision, .. }, _) => format!("exception {decision}"),
            (CaseResult::NotRun { .. }, _) => "not run".to_owned(),
            (CaseResult::Different(_), Some(_)) if self.ok() => "detected".to_owned(),
            (CaseResult::Different(_), _) => "DIFFERENT".to_owned(),
        };
        let [left, right] = &self.peers;
        let peers = format!("{left} | {right}");
        let mut row = format!("{result:<15} {peers:<30} {}", self.case);
        let seconds = self.took.iter().flatten();
        let seconds: Vec<String> = seconds
            .map(|took| format!("{:.2} s", took.as_secs_f64()))
            .collect();
        if !seconds.is_empty() {
            let _ = write!(row, "  ({})", seconds.join(" | "));
        }
        if let CaseResult::NotRun { why } = &self.result {
            let _ = write!(row, "  ({why})");
        }
        if let (CaseResult::Different(difference), Some(_), true) =
            (&self.result, self.must, self.ok())
        {
            let _ = write!(row, "  [{}]", difference.what);
        }
        if !self.ok() {
            if !self.description.is_empty() {
                let _ = write!(row, "\n  {}", self.description);
            }
            if let Some(must) = self.must {
                let _ = write!(row, "\n  must be {:?} and say {:?}", must.word, must.says);
            }
            let _ = write!(row, "\n  (- {left}, + {right})");
            for line in self.report().lines() {
                let _ = write!(row, "\n  {line}");
            }
        }
        row
    }

    fn report(&self) -> &str {
        match &self.result {
            CaseResult::Different(difference) => &difference.report,
            CaseResult::Equal | CaseResult::Exception { .. } | CaseResult::NotRun { .. } => "",
        }
    }
}

/// All rows, by case and peers.
pub struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// In whatever order the rows came.
    pub fn new(mut rows: Vec<Row>) -> Self {
        rows.sort_by(|a, b| (&a.case, &a.peers).cmp(&(&b.case, &b.peers)));
        Self { rows }
    }

    /// Whether nothing is different that should not be.
    pub fn ok(&self) -> bool {
        self.rows.iter().all(Row::ok)
    }

    /// How many there are of each result.
    pub fn summary(&self) -> String {
        let of = |word: Word| {
            let rows = self.rows.iter().filter(|row| row.must.is_none());
            rows.filter(|row| row.result.word() == word).count()
        };
        let self_tests = || self.rows.iter().filter(|row| row.must.is_some());
        format!(
            "{} equal, {} exceptions, {} DIFFERENT, {} not run; {} of {} self-tests of the harness passed",
            of(Word::Equal),
            of(Word::Exception),
            of(Word::Different),
            of(Word::NotRun),
            self_tests().filter(|row| row.ok()).count(),
            self_tests().count()
        )
    }

    /// The rows that are not as they should be.
    pub fn failures(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| !row.ok())
    }

    /// All as JSON; the fields are described in `docs/results.md`.
    pub fn json(&self) -> String {
        let report = Json {
            version: 1,
            ok: self.ok(),
            results: self.rows.iter().map(JsonRow::of).collect(),
        };
        // Texts, numbers and lists alone: nothing in it can fail.
        let mut text = serde_json::to_string_pretty(&report).unwrap_or_default();
        text.push('\n');
        text
    }

    /// All as JUnit's XML, as CI systems read it; described in `docs/results.md`.
    pub fn junit(&self) -> String {
        let seconds = |row: &Row| row.took.iter().flatten().sum::<Duration>().as_secs_f64();
        let failures = self.failures().count();
        let is_skipped = |row: &&Row| row.result.word() == Word::NotRun;
        let skipped = self.rows.iter().filter(is_skipped).count();
        let time: f64 = self.rows.iter().map(seconds).sum();
        let mut xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned();
        let tests = self.rows.len();
        xml += &format!(
            "<testsuite name=\"compat\" tests=\"{tests}\" failures=\"{failures}\" skipped=\"{skipped}\" time=\"{time:.3}\">\n"
        );
        for row in &self.rows {
            xml += &format!(
                "  <testcase classname=\"{}\" name=\"{}\" time=\"{:.3}\"",
                escaped(&row.peers.join(" | ")),
                escaped(&row.case),
                seconds(row)
            );
            let inside = match &row.result {
                _ if !row.ok() => {
                    let what = match &row.result {
                        CaseResult::Different(difference) => difference.what.as_str(),
                        CaseResult::Equal
                        | CaseResult::Exception { .. }
                        | CaseResult::NotRun { .. } => "not detected",
                    };
                    format!(
                        "    <failure message=\"{}\">{}</failure>\n",
                        escaped(what),
                        escaped(row.report())
                    )
                }
                CaseResult::NotRun { why } => {
                    format!("    <skipped message=\"{}\"/>\n", escaped(why))
                }
                CaseResult::Exception { decision, reason } => format!(
                    "    <system-out>exception {}: {}</system-out>\n",
                    escaped(decision),
                    escaped(reason)
                ),
                CaseResult::Equal | CaseResult::Different(_) => {
                    xml += "/>\n";
                    continue;
                }
            };
            xml += &format!(">\n{inside}  </testcase>\n");
        }
        xml + "</testsuite>\n"
    }
}

#[derive(Serialize)]
struct Json<'a> {
    version: u32,
    ok: bool,
    #[serde(rename = "verdicts")]
    results: Vec<JsonRow<'a>>,
}

#[derive(Serialize)]
struct JsonRow<'a> {
    case: &'a str,
    description: &'a str,
    peers: &'a [String; 2],
    #[serde(rename = "verdict")]
    result: Word,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    must: Option<Word>,
    seconds: [Option<f64>; 2],
    #[serde(skip_serializing_if = "Option::is_none")]
    exception: Option<JsonException<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    difference: Option<JsonDifference<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
}

#[derive(Serialize)]
struct JsonException<'a> {
    decision: &'a str,
    reason: &'a str,
}

#[derive(Serialize)]
struct JsonDifference<'a> {
    what: &'a str,
    expected: Option<&'a str>,
    got: Option<&'a str>,
    report: &'a str,
}

impl<'a> JsonRow<'a> {
    fn of(row: &'a Row) -> Self {
        let seconds =
            |took: Option<Duration>| took.map(|took| (took.as_secs_f64() * 1e3).round() / 1e3);
        let mut json = Self {
            case: &row.case,
            description: &row.description,
            peers: &row.peers,
            result: row.result.word(),
            ok: row.ok(),
            must: row.must.map(|must| must.word),
            seconds: row.took.map(seconds),
            exception: None,
            difference: None,
            why: None,
        };
        match &row.result {
            CaseResult::Equal => {}
            CaseResult::Exception { decision, reason } => {
                json.exception = Some(JsonException { decision, reason });
            }
            CaseResult::Different(difference) => {
                json.difference = Some(JsonDifference {
                    what: &difference.what,
                    expected: difference.expected.as_deref(),
                    got: difference.got.as_deref(),
                    report: &difference.report,
                });
            }
            CaseResult::NotRun { why } => json.why = Some(why),
        }
        json
    }
}

/// A text in XML, without the characters that XML cannot say.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\n' | '\t' => escaped.push(c),
            c if c.is_control() => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}
