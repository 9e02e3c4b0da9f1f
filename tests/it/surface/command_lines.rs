//! Every command line that the help and the documents show is one that the program accepts.

use std::{fs, path::Path};

use clap::{CommandFactory as _, error::ErrorKind};
use k8s_relay::cli::Cli;

use super::run;

const DOCUMENTS: [&str; 3] = ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md"];

#[test]
fn every_command_line_of_help_and_documents_is_accepted() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut texts: Vec<(String, String)> = DOCUMENTS
        .iter()
        .map(|name| root.join(name))
        .chain(
            fs::read_dir(root.join("docs"))
                .unwrap()
                .map(|entry| entry.unwrap().path()),
        )
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            (path.display().to_string(), text)
        })
        .collect();
    let help = |command: &str| run(&[], &["help", command]).stdout;
    for command in commands() {
        texts.push((format!("help of {command}"), help(&command)));
    }
    texts.push(("--help".to_owned(), run(&[], &["--help"]).stdout));

    let mut seen = 0;
    for (place, text) in &texts {
        for line in command_lines(text) {
            let words = words(&line);
            match Cli::command().try_get_matches_from(&words) {
                Ok(_) => seen += 1,
                Err(error) => assert!(
                    matches!(
                        error.kind(),
                        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
                    ),
                    "{place}: `{line}`: {error}"
                ),
            }
        }
    }
    assert!(seen > 40, "{seen} command lines were found");
}

#[test]
fn the_help_of_every_command_has_an_example() {
    for command in commands() {
        let help = run(&[], &["help", &command]).stdout;
        let needle = format!("k8s-relay {command} ");
        let alone = format!("    k8s-relay {command}\n");
        let examples = help.split_once("Example").map_or("", |(_, rest)| rest);
        assert!(
            examples.contains(&needle)
                || examples.contains(&alone)
                || examples.contains(&format!("k8s-relay {command}\n")),
            "{command}: {help}"
        );
    }
}

#[test]
fn the_short_help_fits_on_a_screen_and_lists_every_command() {
    let short = run(&[], &["-h"]).stdout;
    let lines = short.lines().count();
    assert!(lines <= 45, "{lines} lines:\n{short}");
    for line in short.lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
    let last = short.lines().last().unwrap();
    for command in commands() {
        let listed = format!("  {command} ");
        let is_listed = short.lines().any(|line| line.starts_with(&listed));
        let is_named =
            last.contains(&format!(" {command},")) || last.contains(&format!(" {command}."));
        assert!(is_listed || is_named, "{command}");
    }
}

/// The names of the tools.
fn commands() -> Vec<String> {
    let command = Cli::command();
    let tools = command.get_subcommands();
    tools.map(|tool| tool.get_name().to_owned()).collect()
}

/// The command lines of a text, continued lines joined: those that begin with the program, as a
/// shell, `cargo run` or `kubectl exec` starts it.
fn command_lines(text: &str) -> Vec<String> {
    let joined = text.replace("\\\n", " ");
    let lines = joined
        .lines()
        .map(|line| line.trim().trim_start_matches("$ "));
    lines
        .filter_map(|line| {
            let own = line.strip_prefix("k8s-relay ");
            let cargo = line.strip_prefix("cargo run --release -- ");
            let in_a_pod = line
                .starts_with("kubectl ")
                .then(|| line.split_once(" -- /srv/k8s-relay "))
                .flatten();
            let rest = own.or(cargo).or(in_a_pod.map(|(_, rest)| rest))?;
            // Prose and output also begin with the name.
            let is_command = rest.starts_with('-')
                || commands().iter().any(|name| {
                    rest.strip_prefix(name.as_str())
                        .is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
                });
            is_command.then(|| format!("k8s-relay {rest}"))
        })
        .collect()
}

/// The words that a shell would pass on: without comments, redirections and what follows a pipe.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut all = line.split_whitespace();
    while let Some(word) = all.next() {
        match word {
            "|" | "#" | "&" | "&&" | ";" => break,
            ">" | "<" | "2>" => _ = all.next(),
            _ => words.push(word.trim_matches(['\'', '"', '`']).to_owned()),
        }
    }
    words
}
