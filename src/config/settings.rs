//! What settings there are, where each value comes from, and the config file among them.
//!
//! Invariants: the definitions of the flags are the only list of settings. A key of the file has
//! the name of its flag and is read by the flag's own parser. It becomes the flag's default, so
//! a flag and a variable go before it.
//!
//! Absent here: what a setting does.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt::{self, Write as _},
    path::{Path, PathBuf},
};

use clap::{
    Arg, ArgAction, ArgMatches, Command,
    error::{ContextKind, ContextValue, ErrorKind},
    parser::ValueSource,
};
use serde_json::{Value, json};

use super::{
    ConfigError, DEFAULT_ADMIN, file,
    nearest::nearest,
    variables,
    yaml::{self, Entry, Node},
};

/// Flags that say what is done with settings, and are none.
const NOT_SETTINGS: [&str; 3] = ["config-file", "check-config", "json"];
/// Groups whose flags are one setting together: if one of them is given, those of the file do
/// not count.
const ONE_SETTING: [&str; 2] = ["log-level", "log-to"];
/// The sections of the legacy relay's file.
const SECTIONS: [&str; 2] = ["labels", "intake"];
/// The longest key of a label, in bytes (protocol 15.3).
const MAX_LABEL_KEY: usize = 20;
/// The longest value of a label, in bytes (protocol 15.3).
const MAX_LABEL_VALUE: usize = 40;

/// Every setting of a command line with its origin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// In the order of `--help`, then the labels.
    all: Vec<Setting>,
    /// What is left out, and worth a warning in the log.
    pub warnings: Vec<String>,
}

/// A setting.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Setting {
    name: String,
    value: Given,
    origin: Origin,
}

/// A value as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Given {
    Nothing,
    Switch(bool),
    One(String),
    Many(Vec<String>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Origin {
    Flag,
    Variable(String),
    File { path: PathBuf, line: usize },
    Default,
}

/// What a config file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FromFile {
    path: PathBuf,
    /// By the id of the flag.
    settings: BTreeMap<String, (Vec<String>, usize)>,
    labels: BTreeMap<String, (String, usize)>,
    warnings: Vec<String>,
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

    fn parse(path: &Path, bytes: &[u8], command: &Command) -> Result<Self, Vec<String>> {
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
        match arg(&self.command, key).cloned() {
            Some(arg) => self.setting(&arg, key, line, &entry.value),
            None if NOT_SETTINGS.contains(&key) => {
                self.mistake(line, &format!("`{key}` can be a flag only"));
            }
            None => {
                let known = names(&self.command).chain(SECTIONS);
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

impl Settings {
    /// The settings that a command line came to. `command` is as it was defined.
    pub(crate) fn of(command: &Command, matches: &ArgMatches, file: Option<&FromFile>) -> Self {
        let mut all: Vec<Setting> = command
            .get_arguments()
            .filter_map(|arg| Setting::of(arg, matches, file))
            .collect();
        let mut warnings = Vec::new();
        if let Some(file) = file {
            for (key, (value, line)) in &file.labels {
                all.push(Setting {
                    name: format!("labels.{key}"),
                    value: Given::One(value.clone()),
                    origin: file.origin(*line),
                });
            }
            let path = file.path.display();
            let of_file = |warning: &String| format!("config file {path}: {warning}");
            warnings.extend(file.warnings.iter().map(of_file));
        }
        Self { all, warnings }
    }

    /// Adds what is to be said of variables that nothing reads.
    pub(crate) fn look_at_variables(&mut self, command: &Command) {
        let mut known: Vec<String> = Vec::new();
        let mut commands = vec![command];
        while let Some(command) = commands.pop() {
            let of_args = command.get_arguments().filter_map(Arg::get_env);
            known.extend(of_args.map(|name| name.to_string_lossy().into_owned()));
            commands.extend(command.get_subcommands());
        }
        let present = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
        let unknown = variables::unknown(present, known.iter().map(String::as_str));
        self.warnings.extend(unknown);
    }

    /// As a JSON object, one line; described in `docs/configuration.md`.
    pub fn to_json(&self) -> String {
        let settings: Vec<Value> = self.all.iter().map(Setting::json).collect();
        format!("{}\n", json!({ "settings": settings }))
    }
}

/// A line for each setting: `NAME = VALUE  # ORIGIN`.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.all.iter().try_for_each(|setting| {
            let Setting {
                name,
                value,
                origin,
            } = setting;
            writeln!(f, "{} = {value}  # {origin}", printable(name))
        })
    }
}

impl FromFile {
    fn origin(&self, line: usize) -> Origin {
        Origin::File {
            path: self.path.clone(),
            line,
        }
    }
}

impl Setting {
    fn of(arg: &Arg, matches: &ArgMatches, file: Option<&FromFile>) -> Option<Self> {
        let name = arg.get_long()?;
        if NOT_SETTINGS.contains(&name) && name != "config-file" {
            return None;
        }
        let id = arg.get_id().as_str();
        let origin = match matches.value_source(id) {
            Some(ValueSource::CommandLine) => Origin::Flag,
            Some(ValueSource::EnvVariable) => {
                let variable = arg.get_env().unwrap_or_default();
                Origin::Variable(variable.to_string_lossy().into_owned())
            }
            Some(_) | None => {
                let in_file = file.and_then(|file| {
                    let (values, line) = file.settings.get(id)?;
                    let counts = given(matches, id) == *values || takes_many(arg);
                    counts.then(|| file.origin(*line))
                });
                in_file.unwrap_or(Origin::Default)
            }
        };
        let mut values = given(matches, id);
        if values.is_empty() {
            values.extend(unsaid(name, matches).map(str::to_owned));
        }
        let value = match values.as_slice() {
            [] => Given::Nothing,
            [value] if is_switch(arg) => Given::Switch(value == "true"),
            _ if takes_many(arg) => Given::Many(values),
            [.., last] => Given::One(last.clone()),
        };
        Some(Self {
            name: name.to_owned(),
            value,
            origin,
        })
    }

    fn json(&self) -> Value {
        let value = match &self.value {
            Given::Nothing => Value::Null,
            Given::Switch(on) => (*on).into(),
            Given::One(text) => masked(text).into(),
            Given::Many(texts) => texts.iter().map(|text| masked(text)).collect(),
        };
        let mut json = json!({ "name": self.name, "value": value });
        let mut add = |name: &str, value: Value| {
            if let Some(fields) = json.as_object_mut() {
                fields.insert(name.to_owned(), value);
            }
        };
        match &self.origin {
            Origin::Flag => add("origin", "flag".into()),
            Origin::Default => add("origin", "default".into()),
            Origin::Variable(name) => {
                add("origin", "variable".into());
                add("variable", name.as_str().into());
            }
            Origin::File { path, line } => {
                add("origin", "file".into());
                add("file", path.to_string_lossy().into());
                add("line", (*line).into());
            }
        }
        json
    }
}

impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => Ok(()),
            Self::Switch(on) => on.fmt(f),
            Self::One(text) => f.write_str(&printable(&masked(text))),
            Self::Many(texts) => {
                let texts: Vec<String> = texts.iter().map(|text| masked(text)).collect();
                f.write_str(&printable(&texts.join(",")))
            }
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::File { path, line } => {
                let path = path.to_string_lossy();
                write!(f, "file {}:{line}", printable(&path))
            }
            Self::Default => f.write_str("default"),
        }
    }
}

/// The values of a setting as they were given, those of a list one by one.
fn given(matches: &ArgMatches, id: &str) -> Vec<String> {
    let raw = matches.get_raw(id).into_iter().flatten();
    raw.map(|value| value.to_string_lossy().into_owned())
        .collect()
}

/// The default of a flag that has none itself, because it makes a difference whether it was given.
fn unsaid(name: &str, matches: &ArgMatches) -> Option<&'static str> {
    match name {
        "admin-address" => Some(DEFAULT_ADMIN),
        "stream-handover" => {
            let reconnect = given(matches, "reconnect").pop();
            let resets = reconnect.is_some_and(|how| how == "reset-watcher");
            Some(if resets { "legacy" } else { "seamless" })
        }
        _ => None,
    }
}

/// The flag that a key of the file stands for.
fn arg<'a>(command: &'a Command, key: &str) -> Option<&'a Arg> {
    command
        .get_arguments()
        .filter(|arg| {
            arg.get_long()
                .is_some_and(|name| !NOT_SETTINGS.contains(&name))
        })
        .find(|arg| {
            let aliases = arg.get_all_aliases().unwrap_or_default();
            arg.get_long() == Some(key) || aliases.contains(&key)
        })
}

fn names(command: &Command) -> impl Iterator<Item = &str> {
    let names = command.get_arguments().filter_map(Arg::get_long);
    names.filter(|name| !NOT_SETTINGS.contains(name))
}

fn unknown<'a>(key: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let shown: String = key.chars().take(50).collect();
    match nearest(key, known) {
        Some(near) => format!("unknown key {shown:?}; did you mean `{near}`?"),
        None => format!("unknown key {shown:?}"),
    }
}

fn is_switch(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::SetTrue | ArgAction::SetFalse)
}

fn takes_many(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
}

/// Why a flag does not take a value. `command` reads no variables.
pub(crate) fn refusal(command: &Command, arg: &Arg, value: &OsString) -> Option<String> {
    if is_switch(arg) {
        let fits = value == "true" || value == "false";
        return (!fits).then(|| "expected true or false".to_owned());
    }
    let mut word = OsString::from(format!("--{}=", arg.get_long()?));
    word.push(value);
    let line = [command.get_name().into(), word];
    let error = command.clone().try_get_matches_from(line).err()?;
    // That other flags are missing here says nothing of this value.
    const OF_OTHERS: [ErrorKind; 2] = [
        ErrorKind::MissingRequiredArgument,
        ErrorKind::ArgumentConflict,
    ];
    if OF_OTHERS.contains(&error.kind()) {
        return None;
    }
    if error.kind() == ErrorKind::InvalidUtf8 {
        return Some(NOT_UTF_8.to_owned());
    }
    if let Some(ContextValue::Strings(known)) = error.get(ContextKind::ValidValue)
        && !known.is_empty()
    {
        return Some(format!("expected one of: {}", known.join(", ")));
    }
    let reason = std::error::Error::source(&error).map(ToString::to_string);
    Some(reason.unwrap_or_else(|| error.kind().to_string()))
}

/// What [`refusal`] says of bytes that are no text.
pub(crate) const NOT_UTF_8: &str = "not UTF-8";

/// A text without what stands for a user in the URLs in it.
fn masked(text: &str) -> String {
    const AFTER_SCHEME: &str = "://";
    let mut shown = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(AFTER_SCHEME) {
        let (before, after) = rest.split_at(at + AFTER_SCHEME.len());
        shown += before;
        // A password may have anything in it but a blank.
        let end = after.find(char::is_whitespace).unwrap_or(after.len());
        let (url, after) = after.split_at(end);
        match url.rsplit_once('@') {
            Some((_, host)) => {
                let _ = write!(shown, "***@{host}");
            }
            None => shown += url,
        }
        rest = after;
    }
    shown + rest
}

/// A text in one line, as it is if it can be.
fn printable(text: &str) -> String {
    match text.chars().any(char::is_control) {
        true => format!("{text:?}"),
        false => text.to_owned(),
    }
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
