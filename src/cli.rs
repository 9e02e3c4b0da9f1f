//! The command line of the one binary: the relay itself, or a tool.
//!
//! Absent here: what any of it does.

use std::{env, error::Error as _, ffi::OsString, path::PathBuf};

use clap::{
    ArgMatches, CommandFactory, Error, FromArgMatches, Parser, Subcommand,
    error::{ContextKind, ContextValue, ErrorKind},
};

use crate::{
    config::{Config, ConfigError, FromFile, NOT_UTF_8, RelayArgs, Settings, refusal},
    tools::{
        cluster::ClusterArgs,
        config::ConfigArgs,
        decode::DecodeArgs,
        demo::DemoArgs,
        explain::ExplainArgs,
        metadata::{enrich::EnrichArgs, lookup::LookupArgs},
        migrate::MigrateArgs,
        reducer::ReducerArgs,
        replay::ReplayArgs,
        shell::{CompletionsArgs, ManArgs},
        status::StatusArgs,
        tee::TeeArgs,
        watch_test::WatchTestArgs,
        watcher::WatcherArgs,
    },
};

/// Announces Kubernetes pods, their owners and containers to an OpenTelemetry eBPF reducer
///
/// Without a command this is the relay. It learns of pods, ReplicaSets and Jobs from legacy
/// watchers, which stream to it, or from native watches (--source native). It keeps the state,
/// and announces every change to the reducer. When the connection to the reducer was lost and is
/// back, the relay sends everything again.
///
/// If a flag is repeated, the last one counts. A flag takes precedence over its variable, the
/// variable over the config file, and the file over the default. An empty variable counts as unset.
#[derive(Parser, Clone, Debug)]
#[command(
    name = "k8s-relay",
    version,
    args_conflicts_with_subcommands = true,
    args_override_self = true,
    max_term_width = 100,
    after_help = "Also: config, completions, man. All settings and commands: k8s-relay --help",
    after_long_help = AFTER_HELP
)]
pub struct Cli {
    /// A tool; without one, the relay.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// The relay's settings.
    #[command(flatten)]
    pub relay: RelayArgs,

    /// The relay's settings with their origins; empty for a tool.
    #[arg(skip)]
    pub settings: Settings,
}

/// The tools. The help of each is at its arguments.
#[allow(missing_docs, reason = "a doc comment here would replace that help")]
#[derive(Subcommand, Clone, Debug)]
pub enum Command {
    Status(StatusArgs),
    Migrate(MigrateArgs),
    Explain(ExplainArgs),
    Lookup(LookupArgs),
    Enrich(EnrichArgs),
    Demo(DemoArgs),
    Cluster(ClusterArgs),
    Reducer(ReducerArgs),
    Decode(DecodeArgs),
    Tee(TeeArgs),
    Replay(ReplayArgs),
    Watcher(WatcherArgs),
    WatchTest(WatchTestArgs),
    Config(ConfigArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
}

const AFTER_HELP: &str = "\
Examples:
  Serve legacy watchers on every address of this machine, for the reducer of a cluster:
      k8s-relay --server-address 0.0.0.0:8712 --intake-host reducer.otel --intake-port 7000

  Watch the API server without a watcher:
      k8s-relay --source native --intake-host reducer.otel --intake-port 7000

  Check a command line, the environment and a file without starting anything:
      k8s-relay config check --config-file /etc/network-explorer/config.yaml

  Answer questions about metadata alone, without a reducer, and ask one:
      k8s-relay --source none
      k8s-relay lookup shop/web-5d4f8-x2x7p

  Show the state of a running relay, and why it announces a pod or does not:
      k8s-relay status
      k8s-relay explain shop/web-5d4f8-x2x7p

  Keep a copy of every message, and read it:
      k8s-relay --record-intake-output /tmp/relay.rec
      k8s-relay decode /tmp/relay.rec

Config file (YAML); every key is optional:
  labels:                 # sent to the reducer; keys up to 20 bytes, values up to 40
    environment: staging
  intake:                 # both or none; intake-host and intake-port are the same
    host: reducer.otel
    port: 7000
  source: native          # each flag without its dashes
  namespace: [shop, billing]
  enrichment:             # profiles of metadata; see docs/enrichment.md
    profiles:
      default: {metricsets: [pod, container]}

Exit status: 0 after SIGTERM, SIGINT or SIGHUP, when everything was sent and kept; 1 when a part
failed, or something could not be sent or kept in time (a second signal ends the wait), with the
reason as the last line; 2 for a mistake in a setting. With profiles in a config file, and
with certificates off a terminal, SIGHUP does not end the relay: it loads these again.
Other EBPF_NET_* variables, which the Helm chart may set for the legacy relay, are ignored.";

/// The commands by what they are for, in the order of the help.
const GROUPS: [(&str, &[&str]); 4] = [
    (
        "Operate a running relay",
        &["status", "explain", "lookup", "enrich", "migrate"],
    ),
    (
        "Try it",
        &["demo", "cluster", "reducer", "watcher", "watch-test"],
    ),
    ("Diagnose", &["tee", "replay", "decode"]),
    (SET_UP, &["config", "completions", "man"]),
];

/// The group that `-h` names in its last line.
const SET_UP: &str = "Set up";

/// The settings that most relays need: `-h` shows these, `--help` all.
const MOST_USED: [&str; 11] = [
    "config_file",
    "source",
    "server_address",
    "kubeconfig",
    "namespace",
    "enrich_address",
    "reannounce",
    "state_file",
    "intake_host",
    "intake_port",
    "admin_address",
];

impl Cli {
    /// Reads a command line, program name first, the variables of this process, and for the
    /// relay the config file.
    ///
    /// # Errors
    ///
    /// What is wrong in one of them; also for `--help` and `--version`, whose text
    /// the error is. [`clap::Error::exit`] prints either in the right place.
    pub fn parse_line(line: impl IntoIterator<Item = OsString>) -> Result<Self, Error> {
        let line: Vec<OsString> = line.into_iter().collect();
        let is_brief = line.iter().any(|word| word == "-h");
        let mut defined = in_groups(defined(), is_brief);
        if is_brief {
            defined = in_brief(defined);
        }
        let command = forget_empty_variables(defined.clone());
        let matches = parse(&command, &line)?;
        // Of these the rest is a line of the relay.
        let config = match matches.subcommand() {
            Some(("config", of_config)) => of_config.subcommand_name(),
            Some(_) | None => None,
        };
        match config {
            Some("check") => {
                let check = Some("--check-config".into());
                Self::of_relay(&defined, &without_command(&line, check), false)
            }
            Some("print") => {
                let rest = without_command(&line, None);
                let mut cli = Self::of_relay(&defined, &rest, true)?;
                cli.command = Self::from_arg_matches(&matches)?.command;
                Ok(cli)
            }
            Some(_) | None if matches.subcommand().is_some() => Self::from_arg_matches(&matches),
            Some(_) | None => Self::of_relay(&defined, &line, false),
        }
    }

    /// Reads a line without a command, and the config file that it names.
    fn of_relay(defined: &clap::Command, line: &[OsString], prints: bool) -> Result<Self, Error> {
        let command = forget_empty_variables(defined.clone());
        let mut matches = parse(&command, line)?;
        let file = match matches.get_one::<PathBuf>("config_file") {
            Some(path) if !path.as_os_str().is_empty() => {
                Some(FromFile::read(path, &command).map_err(mistake)?)
            }
            Some(_) | None => None,
        };
        if let Some(file) = &file {
            matches = parse(&file.below(command.clone(), &matches), line)?;
        }
        let mut cli = Self::from_arg_matches(&matches)?;
        if cli.relay.json && !cli.relay.check_config && !prints {
            let what = "--json is for --check-config and `config print`";
            return Err(command
                .clone()
                .error(ErrorKind::MissingRequiredArgument, what));
        }
        cli.settings = Settings::of(&command, &matches, file.as_ref());
        cli.settings.look_at_variables(defined);
        cli.relay.enrichment = file.as_ref().and_then(FromFile::enrichment);
        cli.relay.labels = file.map(|file| file.labels()).unwrap_or_default();
        // Settings that contradict each other are a mistake of the line, too.
        let config = Config::new(cli.relay.clone()).map_err(mistake)?;
        cli.settings.look_at_profiles(&config.enrich);
        Ok(cli)
    }
}

/// The whole command line, as it is defined.
pub fn defined() -> clap::Command {
    // A check is asked for by its own word there.
    let hidden = |of: clap::Command| of.mut_arg("check_config", |arg| arg.hide(true));
    Cli::command().mut_subcommand("config", |config| {
        config
            .mut_subcommand("check", hidden)
            .mut_subcommand("print", hidden)
    })
}

fn parse(command: &clap::Command, line: &[OsString]) -> Result<ArgMatches, Error> {
    let matches = command.clone().try_get_matches_from(line);
    matches.map_err(|error| name_the_variable(error, command, line))
}

/// A line without `config` and the word behind it, and with another word instead.
fn without_command(line: &[OsString], instead: Option<OsString>) -> Vec<OsString> {
    let (program, rest) = line.split_at(line.len().min(1));
    let words = program.iter().chain(rest.iter().skip(2)).cloned();
    words.chain(instead).collect()
}

/// The help lists the commands by [`GROUPS`], which clap cannot.
fn in_groups(command: clap::Command, is_brief: bool) -> clap::Command {
    let header = command.get_styles().get_header();
    let literal = command.get_styles().get_literal();
    let mut listed = String::new();
    for (group, names) in GROUPS {
        if is_brief && group == SET_UP {
            continue;
        }
        listed += &format!("{header}{group}:{header:#}\n");
        for tool in names
            .iter()
            .filter_map(|name| command.find_subcommand(name))
        {
            let about = tool.get_about().map(ToString::to_string);
            let (name, about) = (tool.get_name(), about.unwrap_or_default());
            listed += &format!("  {literal}{name:<11}{literal:#}  {about}\n");
        }
        listed.push('\n');
    }
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{listed}{{all-args}}{{after-help}}"
    );
    // Else clap would list them a second time; without the usage, not even mention them.
    let usage = "k8s-relay [OPTIONS]\n       k8s-relay <COMMAND>";
    command
        .mut_subcommands(|tool| tool.hide(true))
        .override_usage(usage)
        .help_template(template)
}

/// What `-h` shows fits on a screen: [`MOST_USED`] settings, a line each.
fn in_brief(command: clap::Command) -> clap::Command {
    let own = |arg: clap::Arg| match arg.get_id().as_str() {
        "help" | "version" => arg,
        id if MOST_USED.contains(&id) => {
            let hides_values = arg.get_action().takes_values();
            arg.hide_env(true)
                .hide_possible_values(hides_values)
                .help_heading("Most used options")
        }
        _ => arg.hide_short_help(true),
    };
    command.mut_args(own)
}

/// In one line, with the exit status of a wrong command line.
fn mistake(error: ConfigError) -> Error {
    let mut line = error.to_string();
    if let Some(source) = error.source() {
        line += &format!(": {source}");
    }
    Error::raw(ErrorKind::ValueValidation, line + "\n")
}

/// Clap blames the flag for a wrong value, wherever the value comes from.
fn name_the_variable(mut error: Error, command: &clap::Command, line: &[OsString]) -> Error {
    if error.kind() == ErrorKind::InvalidUtf8 {
        let all = [command].into_iter().chain(command.get_subcommands());
        let of_line = line.iter().find(|word| word.to_str().is_none());
        let named = all.filter_map(not_utf_8).next().or_else(|| {
            let word = of_line?.to_string_lossy();
            Some(format!("the argument `{word}` is not UTF-8"))
        });
        return match named {
            Some(named) => Error::raw(ErrorKind::InvalidUtf8, named + "\n"),
            None => error,
        };
    }
    let Some(ContextValue::String(blamed)) = error.get(ContextKind::InvalidArg) else {
        return error;
    };
    // As in `--intake-port <PORT>`.
    let Some(long) = blamed
        .split([' ', '='])
        .next()
        .and_then(|flag| flag.strip_prefix("--"))
    else {
        return error;
    };
    let commands = [command].into_iter().chain(command.get_subcommands());
    let arg = commands
        .flat_map(clap::Command::get_arguments)
        .find(|arg| arg.get_long() == Some(long));
    let Some(variable) = arg
        .and_then(clap::Arg::get_env)
        .and_then(|name| name.to_str())
    else {
        return error;
    };
    let flag = format!("--{long}");
    let is_given = line
        .iter()
        .filter_map(|word| word.to_str())
        .any(|word| word.split('=').next() == Some(&flag));
    if !is_given {
        let tip = format!("the value comes from the variable {variable}").into();
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
    }
    error
}

/// The first variable of a command whose bytes must be text and are none.
fn not_utf_8(command: &clap::Command) -> Option<String> {
    let alone = command
        .clone()
        .mut_args(|arg| arg.env(None::<&'static str>));
    command.get_arguments().find_map(|arg| {
        let name = arg.get_env()?;
        let value = env::var_os(name).filter(|value| value.to_str().is_none())?;
        let refused = refusal(&alone, arg, &value)?;
        (refused == NOT_UTF_8).then(|| {
            let name = name.to_string_lossy();
            format!("the value of the variable {name} is {NOT_UTF_8}")
        })
    })
}

/// An empty variable counts as unset (protocol 15.2), while clap takes it for a value.
fn forget_empty_variables(command: clap::Command) -> clap::Command {
    let empty = |name: &_| env::var_os(name).is_some_and(|value| value.is_empty());
    command
        .mut_args(|arg| match arg.get_env().is_some_and(empty) {
            true => arg.env(None::<&'static str>),
            false => arg,
        })
        .mut_subcommands(forget_empty_variables)
}
