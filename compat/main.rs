//! The compat harness as a program: `cargo test --test compat`. See `compat/README.md`.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub
)]

#[allow(dead_code, reason = "the rest of it is used by `tests/it`")]
mod harness;

use std::{fs, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;

use harness::{
    case::{self, Case},
    exceptions::Exceptions,
    peers::Peers,
    plan::{self, DEFAULT, Job, Options},
    recording, regexps,
    report::Report,
    self_test, streams,
};

/// Drives relays with the same input and compares what their reducers received.
///
/// Ends with 0 if nothing is DIFFERENT, with 1 if something is, and with 2 if it could not begin.
#[derive(Debug, Parser)]
#[command(
    name = "compat",
    after_help = "Without --peers: the recordings against this \
build, two of this build against each other, and bad peers, which it must detect."
)]
struct Arguments {
    /// Runs only cases whose name contains this; it is not an error if there are none.
    filter: Vec<String>,
    /// Runs only cases whose name contains this.
    #[arg(long, value_name = "SUBSTRING")]
    case: Vec<String>,
    /// The peers, each compared with the one before it: names of peers.toml.
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    peers: Vec<String>,
    /// Adds the peers of this file to those of compat/peers.toml.
    #[arg(long, value_name = "FILE")]
    peers_file: Option<PathBuf>,
    /// Reads cases from there instead of compat/cases; recordings stay.
    #[arg(long, value_name = "DIR")]
    cases: Option<PathBuf>,
    /// Plays these recordings of `k8s-relay tee`, too.
    #[arg(long, value_name = "FILE")]
    recording: Vec<PathBuf>,
    /// Writes all results there.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Writes all results there as JUnit's XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Lists the cases, and runs none.
    #[arg(long)]
    list: bool,
    /// Compares two of this build with the heavy cases, too.
    #[arg(long)]
    long: bool,
    /// Fails a peer that keeps a case waiting for longer.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = humantime::parse_duration)]
    limit: Duration,
    /// Runs up to this number of cases at once.
    #[arg(long, value_name = "N", default_value_t = 8)]
    jobs: usize,
    /// What `cargo test` hands to every test, without meaning here.
    #[arg(long, hide = true)]
    nocapture: bool,
    #[arg(long, hide = true)]
    exact: bool,
    #[arg(long, short, hide = true)]
    quiet: bool,
    #[arg(long, hide = true)]
    include_ignored: bool,
    #[arg(long, hide = true)]
    test_threads: Option<usize>,
}

fn main() -> ExitCode {
    match begin(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("compat: {error:#}");
            ExitCode::from(2)
        }
    }
}

#[tokio::main]
async fn begin(arguments: &Arguments) -> Result<bool> {
    let cases = cases(arguments)?;
    if arguments.list {
        for case in &cases {
            println!("{}  {}", case.name, case.description);
        }
        return Ok(true);
    }
    let exceptions = Exceptions::read()?;
    let jobs = jobs(arguments, &cases)?;
    let options = Options {
        exceptions,
        at_once: arguments.jobs.max(1),
        limit: arguments.limit,
    };
    let rows = plan::run(jobs, options, |row| println!("{}", row.shown())).await;
    let report = Report::new(rows);
    let failures: Vec<_> = report.failures().collect();
    if !failures.is_empty() {
        println!("\nnot as it should be:");
        failures.iter().for_each(|row| println!("{}", row.shown()));
    }
    println!("\n{}", report.summary());
    for (file, text) in [
        (&arguments.json, report.json()),
        (&arguments.junit, report.junit()),
    ] {
        if let Some(file) = file {
            fs::write(file, text).with_context(|| file.display().to_string())?;
        }
    }
    Ok(report.ok() & regexps_agree(arguments)?)
}

/// Whether our reader of Go's regular expressions agrees with Go; asked in the long form.
fn regexps_agree(arguments: &Arguments) -> Result<bool> {
    let is_whole = arguments.case.is_empty() && arguments.filter.is_empty();
    if !(arguments.long && is_whole && arguments.peers.is_empty()) {
        return Ok(true);
    }
    let differences = regexps::differences(PATTERNS, fastrand::u32(..))?;
    differences
        .iter()
        .for_each(|difference| println!("{difference}"));
    println!(
        "{PATTERNS} patterns: Go judges {} otherwise",
        differences.len()
    );
    Ok(differences.is_empty())
}

/// How many regular expressions Go judges.
const PATTERNS: usize = 100_000;

/// The recordings and our own cases that are asked for.
fn cases(arguments: &Arguments) -> Result<Vec<Arc<Case>>> {
    let names = recording::names()?;
    let recordings: Result<Vec<Case>> = names.iter().map(|name| recording::read(name)).collect();
    let mut cases = recordings?;
    let own = case::read_all(&case::folder())?;
    let known: Vec<Case> = cases.iter().cloned().chain(own).collect();
    let mistakes = Exceptions::read()?.mistakes(&known);
    ensure!(
        mistakes.is_empty(),
        "exceptions.toml: {}",
        mistakes.join("; ")
    );
    let folder = arguments.cases.clone().unwrap_or_else(case::folder);
    cases.extend(case::read_all(&folder)?);
    for file in &arguments.recording {
        cases.push(streams::read(file)?);
    }
    let wanted = |name: &str, parts: &[String]| {
        parts.is_empty() || parts.iter().any(|part| name.contains(part.as_str()))
    };
    cases.retain(|case| wanted(&case.name, &arguments.case));
    ensure!(
        !cases.is_empty(),
        "no case's name contains {:?}",
        arguments.case
    );
    cases.retain(|case| wanted(&case.name, &arguments.filter));
    Ok(cases.into_iter().map(Arc::new).collect())
}

fn jobs(arguments: &Arguments, cases: &[Arc<Case>]) -> Result<Vec<Job>> {
    let peers = Peers::read(arguments.peers_file.as_deref())?;
    if !arguments.peers.is_empty() {
        let names: Vec<&str> = arguments.peers.iter().map(String::as_str).collect();
        return plan::jobs(&peers, &names, cases, true);
    }
    let mut jobs = Vec::new();
    // One play of a heavy case is enough in the short form.
    let light: Vec<Arc<Case>> = cases
        .iter()
        .filter(|case| !case.is_heavy())
        .cloned()
        .collect();
    for (at, names) in DEFAULT.into_iter().enumerate() {
        let cases = if at == 0 || arguments.long {
            cases
        } else {
            &light
        };
        jobs.extend(plan::jobs(&peers, names, cases, arguments.long)?);
    }
    if arguments.case.is_empty() && arguments.filter.is_empty() {
        jobs.extend(self_test::jobs()?);
    }
    Ok(jobs)
}
