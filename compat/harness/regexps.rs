//! The reader of Go's regular expressions, against Go's own.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use k8s_relay::enrich::go_regexp::GoRegexp;
use serde::Deserialize;

/// What Go says of a pattern.
#[derive(Deserialize)]
struct GoAnswer {
    pattern: String,
    /// The places of the keys that match; `None` if it is no pattern.
    matches: Option<Vec<usize>>,
}

/// Compares the answers on this many patterns, and returns what differs.
///
/// # Errors
/// Go is missing, or its program does not run to its end.
pub fn differences(count: usize, seed: u32) -> Result<Vec<String>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("compat/regexp");
    let mut go = Command::new("go")
        .args(["run", ".", &count.to_string(), &seed.to_string()])
        .current_dir(folder)
        .stdout(Stdio::piped())
        .spawn()
        .context("go, which judges regular expressions")?;
    let Some(output) = go.stdout.take() else {
        bail!("the judge of regular expressions has no output");
    };
    let mut lines = BufReader::new(output).lines();
    let keys = lines.next().context("the judge said nothing")??;
    let keys: Vec<String> = serde_json::from_str(&keys)?;
    let mut differences = Vec::new();
    let mut judged = 0;
    for line in lines {
        let answer: GoAnswer = serde_json::from_str(&line?)?;
        judged += 1;
        let ours = GoRegexp::new(&answer.pattern).ok().map(|regexp| {
            let matched = |(at, key): (usize, &String)| regexp.is_match(key).then_some(at);
            keys.iter().enumerate().filter_map(matched).collect()
        });
        if ours != answer.matches {
            let (pattern, go) = (&answer.pattern, &answer.matches);
            differences.push(format!("{pattern:?}: {ours:?}, Go: {go:?}"));
        }
    }
    let status = go.wait()?;
    ensure!(
        status.success(),
        "the judge of regular expressions: {status}"
    );
    ensure!(judged == count, "{judged} of {count} patterns were judged");
    Ok(differences)
}
