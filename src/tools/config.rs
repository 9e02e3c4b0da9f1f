//! `config`: what the settings come to, and which there are.
//!
//! `config check` is `--check-config`, and is done where a start is.

use std::io::{self, Write as _};

use clap::{Args, Subcommand};

use super::{ToolError, wrote};
use crate::config::{RelayArgs, Settings, schema};

const EXAMPLES: &str = "\
Examples:
  Look for mistakes before a start, without starting anything:
      k8s-relay config check --config-file /etc/network-explorer/config.yaml

  Turn a command line and an environment into a config file:
      k8s-relay config print --source native --namespace shop > config.yaml

  Let an editor know the keys of that file:
      k8s-relay config schema > k8s-relay.schema.json";

/// Check, print or describe the settings
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ConfigArgs {
    /// What to do with them.
    #[command(subcommand)]
    pub command: ConfigCommand,
}

/// What to do with the settings.
#[derive(Subcommand, Clone, Debug)]
pub enum ConfigCommand {
    /// Check the settings as a start does, and print each with its origin
    ///
    /// Flags, variables and the file are read as for a real start. A mistake in any of them is
    /// reported in the same way, with exit status 2.
    #[command(after_help = "Example:\n  k8s-relay config check --config-file config.yaml")]
    Check(Box<RelayArgs>),
    /// Print the effective settings as a config file, each with its origin
    ///
    /// Defaults are comments. So are values with a password, which is shown as ***.
    #[command(after_help = "Example:\n  k8s-relay config print --source native")]
    Print(Box<RelayArgs>),
    /// Print the JSON schema of the config file
    #[command(after_help = "Example:\n  k8s-relay config schema > k8s-relay.schema.json")]
    Schema,
}

/// Prints what was asked for. The settings are those that the rest of the line comes to.
///
/// # Errors
/// The output cannot be written.
pub fn run(args: &ConfigArgs, settings: &Settings, as_json: bool) -> Result<(), ToolError> {
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    let shown = match &args.command {
        ConfigCommand::Schema => format!("{:#}\n", schema()),
        ConfigCommand::Check(_) | ConfigCommand::Print(_) if as_json => settings.to_json(),
        ConfigCommand::Check(_) => settings.to_string(),
        ConfigCommand::Print(_) => settings.to_yaml(),
    };
    wrote(io::stdout().write_all(shown.as_bytes())).map(drop)
}
