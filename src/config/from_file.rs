//! What a config file says: settings, labels, and the profiles of enrichment.
//!
//! Invariants: a key of the file has the name of its flag and is read by the flag's own parser.
//! Every mistake is named with its line.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use clap::{Arg, ArgMatches, Command, parser::ValueSource};

use super::{
    ConfigError,
    enrich_block::Block,
    file,
    settings::{Given, NOT_SETTINGS, Origin, is_setting, masked, refusal, takes_many},
    yaml::{self, Entry, Node},
};
use crate::{enrich::profile, nearest::nearest};

/// Groups whose flags are one setting together: if one of them is given, those of the file do
/// not count.
const ONE_SETTING: [&str; 2] = ["log-level", "log-to"];
/// The sections of the legacy relay's file.
pub(super) const SECTIONS: [&str; 2] = ["labels", "intake"];
/// The section of the profiles.
pub(super) const ENRICHMENT: &str = "enrichment";
/// The longest key of a label, in bytes (protocol 15.3).
pub(super) const MAX_LABEL_KEY: usize = 20;
/// The longest value of a label, in bytes (protocol 15.3).
pub(super) const MAX_LABEL_VALUE: usize = 40;

/// What a config file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FromFile {
    pub(super) path: PathBuf,
    /// By the id of the flag.
    pub(super) settings: BTreeMap<String, (Vec<String>, usize)>,
    pub(super) labels: BTreeMap<String, (String, usize)>,
    enrichment: Option<Block>,
    pub(super) warnings: Vec<String>,
}

impl FromFile {
    /// Reads a file by the definitions of `command`.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or has a mistake in it; all mistakes are named.
    pub(crate) fn read(path: &Path, command: &Command) -> Result<Self, ConfigError> {
        let unreadable = |source| ConfigError::Unreadable {
            path: path.to_owned(),
            source,
        };
        let bytes = file::read(path).map_err(unreadable)?;
        Self::parse(path, &bytes, command).map_err(|mistakes| ConfigError::File {
            path: path.to_owned(),
            mistakes: mistakes.join("; "),
        })
    }

    pub(super) fn parse(path: &Path, bytes: &[u8], command: &Command) -> Result<Self, Vec<String>> {
        let entries = yaml::parse(bytes).map_err(|error| vec![error.to_string()])?;
        // Only what is written in the file is looked at.
        let command = command
            .clone()
            .mut_args(|arg| arg.env(None::<&'static str>));
        let mut reading = Reading {
            command,
            file: Self {
                path: path.to_owned(),
                ..Self::default()
            },
            mistakes: Vec::new(),
        };
        for (at, entry) in entries.iter().enumerate() {
            let later = entries.get(at + 1..).unwrap_or_default();
            reading.entry(entry, later);
        }
        match reading.mistakes.is_empty() {
            true => Ok(reading.file),
            false => Err(reading.mistakes),
        }
    }

    /// The same command with these defaults. What was `given` otherwise may end a setting of
    /// several flags.
    pub(crate) fn below(&self, mut command: Command, given: &ArgMatches) -> Command {
        for (id, (values, _)) in &self.settings {
            if !is_decided_otherwise(&command, given, id) {
                command = command.mut_arg(id, |arg| arg.default_values(values.clone()));
            }
        }
        command
    }

    /// The labels for the reducer.
    pub(crate) fn labels(&self) -> BTreeMap<String, String> {
        let labels = self.labels.iter();
        labels
            .map(|(key, (value, _))| (key.clone(), value.clone()))
            .collect()
    }

    /// The block `enrichment`; nothing if the file has none.
    pub(crate) fn enrichment(&self) -> Option<profile::Setting> {
        self.enrichment.as_ref().map(Block::setting)
    }

    /// What that block says, but for its address, each with its name and line.
    pub(super) fn enrichment_rows(&self) -> Vec<(String, Given, usize)> {
        let rows = self.enrichment.as_ref().map(Block::rows);
        let rows = rows.unwrap_or_default().into_iter();
        rows.map(|(name, value, line)| (format!("{ENRICHMENT}.{name}"), value, line))
            .collect()
    }

    pub(super) fn origin(&self, line: usize) -> Origin {
        Origin::File {
            path: self.path.clone(),
            line,
        }
    }
}

fn is_given(given: &ArgMatches, id: &str) -> bool {
    matches!(
        given.value_source(id),
        Some(ValueSource::CommandLine | ValueSource::EnvVariable)
    )
}

/// Whether a flag of the same setting is given.
fn is_decided_otherwise(command: &Command, given: &ArgMatches, id: &str) -> bool {
    command
        .get_groups()
        .filter(|group| ONE_SETTING.contains(&group.get_id().as_str()))
        .map(|group| group.get_args().map(clap::Id::as_str).collect::<Vec<_>>())
        .filter(|members| members.contains(&id))
        .any(|members| members.into_iter().any(|member| is_given(given, member)))
}

/// A file that is being read.
struct Reading {
    /// Without variables.
    command: Command,
    file: FromFile,
    /// One line each, with their place.
    mistakes: Vec<String>,
}

impl Reading {
    fn entry(&mut self, entry: &Entry, later: &[Entry]) {
        let line = entry.line;
        let Some(key) = entry.key.as_deref() else {
            return self.mistake(line, "a key has parts");
        };
        if SECTIONS.contains(&key) {
            // Of these the last one counts (protocol 15.3).
            let again = later.iter().any(|other| other.key == entry.key);
            match (key, again) {
                (_, true) => {}
                ("labels", false) => self.labels(line, &entry.value),
                (_, false) => self.intake(line, &entry.value),
            }
            return;
        }
        if key == ENRICHMENT {
            return self.enrichment(line, &entry.value);
        }
        match arg(&self.command, key).cloned() {
            Some(arg) => self.setting(&arg, key, line, &entry.value),
            None if NOT_SETTINGS.contains(&key) => {
                self.mistake(line, &format!("`{key}` can be a flag only"));
            }
            None => {
                let known = names(&self.command).chain(SECTIONS).chain([ENRICHMENT]);
                let message = unknown(key, known);
                self.mistake(line, &message);
            }
        }
    }

    fn mistake(&mut self, line: usize, what: &str) {
        self.mistakes.push(format!("line {line}: {what}"));
    }

    fn setting(&mut self, arg: &Arg, key: &str, line: usize, value: &Node) {
        let texts = match value {
            Node::Null => return self.mistake(line, &format!("`{key}` has no value")),
            Node::Text(text) => vec![text.clone()],
            Node::Map(_) => {
                return self.mistake(line, &format!("`{key}` has a map for a value"));
            }
            Node::List(_) if !takes_many(arg) => {
                return self.mistake(line, &format!("`{key}` has one value, not a list"));
            }
            Node::List(items) => {
                let texts = items.iter().map(|item| match item {
                    Node::Text(text) => Some(text.clone()),
                    Node::Null | Node::List(_) | Node::Map(_) => None,
                });
                match texts.collect::<Option<Vec<String>>>() {
                    Some(texts) if !texts.is_empty() => texts,
                    Some(_) | None => {
                        let what = format!("`{key}` is not a list of plain values");
                        return self.mistake(line, &what);
                    }
                }
            }
        };
        self.add(arg, key, line, texts);
    }

    /// Takes values that the flag takes, too. `key` is how the file calls it.
    fn add(&mut self, arg: &Arg, key: &str, line: usize, texts: Vec<String>) {
        for text in &texts {
            if let Some(reason) = refusal(&self.command, arg, &text.into()) {
                let text = masked(text);
                self.mistake(line, &format!("`{key}` is {text:?}: {reason}"));
            }
        }
        let id = arg.get_id().as_str().to_owned();
        if let Some((_, before)) = self.file.settings.insert(id, (texts, line)) {
            self.mistake(line, &format!("`{key}` is set in line {before}, too"));
        }
    }

    fn labels(&mut self, line: usize, value: &Node) {
        let entries = match value {
            Node::Null => return,
            Node::Map(entries) => entries,
            Node::Text(_) | Node::List(_) => return self.mistake(line, "`labels` is not a map"),
        };
        for Entry { key, line, value } in entries {
            let Some(key) = key else {
                self.mistake(*line, "a key below `labels` has parts");
                continue;
            };
            let shown: String = key.chars().take(MAX_LABEL_KEY).collect();
            let Some(value) = value.text() else {
                self.mistake(*line, &format!("label {shown:?} has no plain value"));
                continue;
            };
            let (key_len, value_len) = (key.len(), value.len());
            if key_len > MAX_LABEL_KEY || value_len > MAX_LABEL_VALUE {
                self.file.warnings.push(format!(
                    "line {line}: label {shown:?} is skipped: its key has {key_len} of at most \
                     {MAX_LABEL_KEY} bytes, its value {value_len} of at most {MAX_LABEL_VALUE}"
                ));
            } else {
                let label = (value.to_owned(), *line);
                if let Some((_, before)) = self.file.labels.insert(key.clone(), label) {
                    self.file.warnings.push(format!(
                        "line {line}: label {shown:?} is set in line {before}, too: the last one \
                         counts"
                    ));
                }
            }
        }
    }

    /// The profiles, and `address`, which is `enrich-address`.
    fn enrichment(&mut self, line: usize, value: &Node) {
        let block = match Block::read(line, value) {
            Ok(block) => block,
            Err((line, mistake)) => return self.mistake(line, &mistake),
        };
        if let Some(before) = &self.file.enrichment {
            let again = format!("`{ENRICHMENT}` is set in line {}, too", before.line());
            return self.mistake(line, &again);
        }
        if let Some((address, line)) = block.address()
            && let Some(flag) = arg(&self.command, "enrich-address").cloned()
        {
            self.add(&flag, "enrichment.address", line, vec![address]);
        }
        self.file.enrichment = Some(block);
    }

    /// `intake: {host, port}` is `intake-host` and `intake-port`.
    fn intake(&mut self, line: usize, value: &Node) {
        let entries = match value {
            Node::Map(entries) => entries,
            Node::Null => return self.mistake(line, "`intake` has no value"),
            Node::Text(_) | Node::List(_) => return self.mistake(line, "`intake` is not a map"),
        };
        const PARTS: [&str; 2] = ["host", "port"];
        for Entry { key, line, .. } in entries {
            match key.as_deref() {
                Some(key) if PARTS.contains(&key) => {}
                Some(key) => {
                    let message = format!("below `intake`: {}", unknown(key, PARTS));
                    self.mistake(*line, &message);
                }
                None => self.mistake(*line, "a key below `intake` has parts"),
            }
        }
        for part in PARTS {
            let last = entries
                .iter()
                .rev()
                .find(|entry| entry.key.as_deref() == Some(part));
            let flag = arg(&self.command, &format!("intake-{part}")).cloned();
            match (last.map(|entry| (entry.line, &entry.value)), flag) {
                (Some((line, Node::Text(text))), Some(flag)) => {
                    self.add(&flag, &format!("intake.{part}"), line, vec![text.clone()]);
                }
                (_, _) => self.mistake(line, &format!("`intake` needs a plain `{part}`")),
            }
        }
    }
}

/// The flag that a key of the file stands for.
fn arg<'a>(command: &'a Command, key: &str) -> Option<&'a Arg> {
    let mut settings = command.get_arguments().filter(|arg| is_setting(arg));
    settings.find(|arg| {
        let aliases = arg.get_all_aliases().unwrap_or_default();
        arg.get_long() == Some(key) || aliases.contains(&key)
    })
}

fn names(command: &Command) -> impl Iterator<Item = &str> {
    let settings = command.get_arguments().filter(|arg| is_setting(arg));
    settings.filter_map(Arg::get_long)
}

fn unknown<'a>(key: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let shown: String = key.chars().take(50).collect();
    match nearest(key, known) {
        Some(near) => format!("unknown key {shown:?}; did you mean `{near}`?"),
        None => format!("unknown key {shown:?}"),
    }
}
