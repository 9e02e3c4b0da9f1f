//! The flags of logging. The whitelists name parts of the legacy relay; each name
//! stands for the target here that does the same work.

use std::{collections::BTreeSet, path::PathBuf};

use clap::{ArgGroup, Args};

use super::values::ValueError;
use crate::logging::{Level, LogFormat, LoggingConfig};

/// With the modules inside it: when there is a connection, and how it came and went.
const LINK: &str = "k8s_relay::reducer";
const CLOUD: &str = "k8s_relay::reducer::cloud";

type Tokens = &'static [(&'static str, Option<&'static str>)];

const CHANNELS: Tokens = &[
    ("none", None),
    ("tls", Some(LINK)),
    ("reconnecting_channel", Some(LINK)),
    ("tcp", Some(LINK)),
    ("upstream", Some(LINK)),
];
const CLOUD_PLATFORMS: Tokens = &[
    ("unknown", None),
    ("aws", Some(CLOUD)),
    ("gcp", Some(CLOUD)),
];
const UTILITIES: Tokens = &[("none", None), ("curl", Some(CLOUD))];

const LEVELS: [&str; 6] = ["trace", "debug", "info", "warning", "error", "critical"];

/// What is logged, and where. The log goes to standard error, always.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Logging")]
#[command(group = ArgGroup::new("log-level").multiple(true).args(LEVELS))]
#[command(group = ArgGroup::new("log-to").multiple(true).args(["log_file", "no_log_file"]))]
pub struct LogArgs {
    /// Format of a log line
    #[arg(long, value_name = "FORM", default_value = "text")]
    #[arg(env = "K8S_RELAY_LOG_FORMAT", hide_env_values = true)]
    log_format: LogFormat,

    /// Log to this file, too; it is rotated at 1 MiB, and five files are kept
    #[arg(
        long,
        value_name = "PATH",
        env = "EBPF_NET_LOG_FILE_PATH",
        hide_env_values = true
    )]
    log_file: Option<PathBuf>,

    /// Write no log file, even if one is named
    #[arg(long)]
    no_log_file: bool,

    /// No effect: the log always goes to standard error
    #[arg(long)]
    log_console: bool,

    /// Log everything of the relay; of several levels the most verbose counts
    #[arg(long)]
    trace: bool,

    /// Log details
    #[arg(long)]
    debug: bool,

    /// Log changes of state (the default)
    #[arg(long)]
    info: bool,

    /// Log only what an operator should look at
    #[arg(long, alias = "warn")] // users of the chart write it so
    warning: bool,

    /// Log only errors
    #[arg(long)]
    error: bool,

    /// The same as --error
    #[arg(long)]
    critical: bool,

    /// Log all of the following in full, whatever the level
    #[arg(long)]
    log_whitelist_all: bool,

    /// Log these in full: none, tls, reconnecting_channel, tcp, upstream; `*` for all
    ///
    /// Names in a list are separated by commas, blanks, bars or semicolons.
    #[arg(long, value_name = "LIST", value_parser = |list: &str| whitelist(list, CHANNELS))]
    log_whitelist_channel: Option<Whitelist>,

    /// Log these in full: unknown, aws, gcp; `*` for all
    #[arg(long, value_name = "LIST", value_parser = |list: &str| whitelist(list, CLOUD_PLATFORMS))]
    log_whitelist_cloud_platform: Option<Whitelist>,

    /// Log these in full: none, curl; `*` for all
    #[arg(long, value_name = "LIST", value_parser = |list: &str| whitelist(list, UTILITIES))]
    log_whitelist_utility: Option<Whitelist>,

    /// No effect: accepted because the Helm chart sets it
    #[arg(long, value_name = "LIST")]
    log_whitelist_component: Option<String>,
}

/// The targets that a LIST stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Whitelist(BTreeSet<&'static str>);

impl LogArgs {
    /// The flags in their final form.
    pub fn into_config(self) -> LoggingConfig {
        let level = self.level();
        let whitelists = match self.log_whitelist_all {
            true => vec![all(CHANNELS), all(CLOUD_PLATFORMS), all(UTILITIES)],
            false => [
                self.log_whitelist_channel,
                self.log_whitelist_cloud_platform,
                self.log_whitelist_utility,
            ]
            .into_iter()
            .flatten()
            .collect(),
        };
        LoggingConfig {
            level,
            format: self.log_format,
            traced: whitelists.into_iter().flat_map(|list| list.0).collect(),
            file: if self.no_log_file {
                None
            } else {
                self.log_file
            },
        }
    }

    fn level(&self) -> Level {
        [
            (self.trace, Level::Trace),
            (self.debug, Level::Debug),
            (self.info, Level::Info),
            (self.warning, Level::Warning),
            (self.error, Level::Error),
            (self.critical, Level::Critical),
        ]
        .into_iter()
        .find_map(|(given, level)| given.then_some(level))
        .unwrap_or(Level::Info)
    }
}

/// Reads a LIST (protocol 15.1).
fn whitelist(list: &str, known: Tokens) -> Result<Whitelist, ValueError> {
    let separators = [',', ' ', '|', ';', '\t', '\r', '\n'];
    let tokens: Vec<&str> = list
        .split(separators)
        .filter(|token| !token.is_empty())
        .collect();
    if tokens == ["*"] {
        return Ok(all(known));
    }
    let mut targets = BTreeSet::new();
    for token in tokens {
        match known.iter().find(|(name, _)| *name == token) {
            Some((_, target)) => targets.extend(*target),
            None => {
                let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
                return Err(ValueError::Token {
                    token: token.to_owned(),
                    known: names.join(", "),
                });
            }
        }
    }
    Ok(Whitelist(targets))
}

fn all(known: Tokens) -> Whitelist {
    Whitelist(known.iter().filter_map(|(_, target)| *target).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_split_at_any_of_seven_separators_and_its_words_are_known() {
        let targets = |targets: &[&'static str]| Ok(Whitelist(targets.iter().copied().collect()));
        let unknown = |token: &str| {
            let known = "none, tls, reconnecting_channel, tcp, upstream".to_owned();
            Err(ValueError::Token {
                token: token.to_owned(),
                known,
            })
        };
        for (list, expected) in [
            ("", targets(&[])),
            ("none", targets(&[])),
            ("tcp", targets(&[LINK])),
            (
                "none,tcp upstream|tls;reconnecting_channel\tnone\r\ntcp",
                targets(&[LINK]),
            ),
            (",,tcp,", targets(&[LINK])),
            ("*", targets(&[LINK])),
            (" * ", targets(&[LINK])),
            ("*,tcp", unknown("*")),
            ("tcp,aws", unknown("aws")),
            ("TCP", unknown("TCP")),
            ("tcp:tls", unknown("tcp:tls")),
        ] {
            assert_eq!(whitelist(list, CHANNELS), expected, "{list:?}");
        }
    }
}
