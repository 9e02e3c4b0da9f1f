//! What settings there are, and where each value comes from.
//!
//! Invariants: the definitions of the flags are the only list of settings. A key of the file has
//! the name of its flag ([`FromFile`]). It becomes the flag's default, so a flag and a variable go
//! before it.
//!
//! Absent here: what a setting does.

use std::{
    ffi::OsString,
    fmt::{self, Write as _},
    path::PathBuf,
};

use clap::{
    Arg, ArgAction, ArgMatches, Command,
    error::{ContextKind, ContextValue, ErrorKind},
    parser::ValueSource,
};
use serde_json::{Value, json};

use super::{
    DEFAULT_ADMIN, DEFAULT_ENRICH, EnrichConfig, from_file::FromFile, values::Source, variables,
};
use crate::enrich::profile;

/// Flags that say what is done with settings, and are none.
pub(super) const NOT_SETTINGS: [&str; 3] = ["config-file", "check-config", "json"];

/// Every setting of a command line with its origin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// In the order of `--help`, then the labels.
    pub(super) all: Vec<Setting>,
    /// What is left out, and worth a warning in the log.
    pub warnings: Vec<String>,
    /// What is left out as it should be, and worth a line in the log.
    pub notes: Vec<String>,
}

/// A setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) name: String,
    pub(super) value: Given,
    pub(super) origin: Origin,
}

/// A value as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Given {
    Nothing,
    Switch(bool),
    One(String),
    Many(Vec<String>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Flag,
    Variable(String),
    File { path: PathBuf, line: usize },
    Default,
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
            for (name, value, line) in file.enrichment_rows() {
                let origin = file.origin(line);
                all.push(Setting {
                    name,
                    value,
                    origin,
                });
            }
            let path = file.path.display();
            let of_file = |warning: &String| format!("config file {path}: {warning}");
            warnings.extend(file.warnings.iter().map(of_file));
        }
        warnings.extend(without_effect(command, &all));
        Self {
            all,
            warnings,
            notes: Vec::new(),
        }
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

    /// Adds what is to be said of the profiles of enrichment, which are valid.
    pub(crate) fn look_at_profiles(&mut self, enrich: &EnrichConfig) {
        let has_block = enrich.block != profile::Setting::Null;
        if has_block && !enrich.is_on() {
            self.warnings.push(
                "the block `enrichment` has no effect: no address is set to ask at \
                 (--enrich-address)"
                    .to_owned(),
            );
        }
        let Ok(set) = enrich.profiles() else { return };
        let mut unused = Vec::new();
        for (name, profile) in &set.profiles {
            let of_profile = |what: &String| format!("the profile `{name}`: {what}");
            self.warnings
                .extend(profile.warnings.iter().map(of_profile));
            if !profile.without_effect.is_empty() {
                unused.push(format!("{name}: {}", profile.without_effect.join(", ")));
            }
        }
        if !unused.is_empty() {
            self.notes.push(format!(
                "settings of profiles that have no effect here: {}",
                unused.join("; ")
            ));
        }
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
    let is = |setting, value: &str| {
        given(matches, setting)
            .pop()
            .is_some_and(|one| one == value)
    };
    match name {
        "enrich-address" if is("source", &Source::None.to_string()) => Some(DEFAULT_ENRICH),
        "stream-handover" if is("reconnect", "reset-watcher") => Some("legacy"),
        _ => unsaid_default(name),
    }
}

/// The same, where nothing else is given either.
pub(super) fn unsaid_default(name: &str) -> Option<&'static str> {
    match name {
        "admin-address" => Some(DEFAULT_ADMIN),
        "enrich-address" => Some("none"),
        "stream-handover" => Some("seamless"),
        _ => None,
    }
}

/// The settings of what `--source none` does without, as far as they are set: one warning.
fn without_effect(command: &Command, all: &[Setting]) -> Option<String> {
    let is = |setting: &&Setting, name| setting.name == name;
    let source = all.iter().find(|setting| is(setting, "source"))?;
    if source.value != Given::One(Source::None.to_string()) {
        return None;
    }
    let of_the_rest = |setting: &&Setting| {
        let mut args = command.get_arguments();
        let arg = args.find(|arg| arg.get_long() == Some(&setting.name));
        let heading = arg.and_then(Arg::get_help_heading).unwrap_or_default();
        setting.name.starts_with("labels.")
            || NOT_WITHOUT_PODS.contains(&setting.name.as_str())
            || NOT_WITHOUT_PODS.contains(&heading)
    };
    let set = all.iter().filter(|one| one.origin != Origin::Default);
    let names: Vec<&str> = set
        .filter(of_the_rest)
        .map(|setting| setting.name.as_str())
        .collect();
    (!names.is_empty()).then(|| {
        format!(
            "with --source none these settings have no effect: {}",
            names.join(", ")
        )
    })
}

/// Settings, and headings of settings, that are about pods on their way to a reducer.
const NOT_WITHOUT_PODS: [&str; 11] = [
    "server-address",
    "stream-handover",
    "stream-silence",
    "selector",
    "containers",
    "owner-wait",
    "relist-resync",
    "High availability",
    "Migration",
    "Pods",
    "Reducer",
];

/// Whether a flag is a setting, and so a key of the file.
pub(super) fn is_setting(arg: &Arg) -> bool {
    arg.get_long()
        .is_some_and(|name| !NOT_SETTINGS.contains(&name))
}

pub(super) fn is_switch(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::SetTrue | ArgAction::SetFalse)
}

pub(super) fn takes_many(arg: &Arg) -> bool {
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
pub(super) fn masked(text: &str) -> String {
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
