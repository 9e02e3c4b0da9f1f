//! The flags of a migration.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use super::{
    ConfigError,
    values::{Migrate, ValueError},
};

/// Less would be shorter than an event takes from one feed to the other.
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST_SETTLE: Duration = Duration::from_secs(10 * 60);
const LONGEST_HOLD: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const LONGEST_FAILURE: Duration = Duration::from_secs(60 * 60);

/// The way from old watchers to our own watches.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Migration")]
pub struct MigrateArgs {
    /// Who cuts over and rolls back between old watchers and the relay's own watches
    #[arg(long = "migrate", value_name = "WHO", default_value = "manual")]
    #[arg(env = "K8S_RELAY_MIGRATE", hide_env_values = true)]
    mode: Migrate,

    /// Keep the stage of the migration in this file, so that a restart goes on with it
    ///
    /// It counts as long as --source stays the same; under another one the flag wins. The file
    /// is made at the first change of stage; its folder must be writable. Default: none, a
    /// restart begins at --source.
    #[arg(long, value_name = "PATH")]
    #[arg(env = "K8S_RELAY_STATE_FILE", hide_env_values = true)]
    state_file: Option<PathBuf>,

    /// How long a difference between both feeds must stand to count; 100ms to 10m
    ///
    /// One feed hears of everything a little later than the other.
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    #[arg(env = "K8S_RELAY_SETTLE", hide_env_values = true)]
    #[arg(value_parser = |text: &str| within(text, LONGEST_SETTLE))]
    settle: Duration,

    /// How long no difference may count before a cut-over; --settle to 7 days
    #[arg(long, value_name = "DURATION", default_value = "5m")]
    #[arg(env = "K8S_RELAY_PARITY_HOLD", hide_env_values = true)]
    #[arg(value_parser = |text: &str| within(text, LONGEST_HOLD))]
    parity_hold: Duration,

    /// How long the relay's own watches may fail before --migrate auto rolls back; 100ms to 1h
    ///
    /// It rolls back only to a watcher that has told its first lists. Each time --parity-hold
    /// doubles for the next cut-over; after the fourth time an operator decides.
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    #[arg(env = "K8S_RELAY_ROLLBACK_AFTER", hide_env_values = true)]
    #[arg(value_parser = |text: &str| within(text, LONGEST_FAILURE))]
    rollback_after: Duration,
}

/// How a migration goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrateConfig {
    /// Who takes the steps.
    pub mode: Migrate,
    /// The file that keeps the stage over restarts.
    pub state_file: Option<PathBuf>,
    /// How long a divergence must stand to count.
    pub settle: Duration,
    /// How long no divergence may count before a cut-over; at least [`Self::settle`].
    pub parity_hold: Duration,
    /// How long our own watches may fail before they are rolled back from.
    pub rollback_after: Duration,
}

impl Default for MigrateConfig {
    fn default() -> Self {
        Self {
            mode: Migrate::Manual,
            state_file: None,
            settle: Duration::from_secs(10),
            parity_hold: Duration::from_secs(5 * 60),
            rollback_after: Duration::from_secs(60),
        }
    }
}

impl MigrateConfig {
    /// Looks whether the settings fit each other.
    ///
    /// # Errors
    ///
    /// When a cut-over could come before any divergence counts.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        match self.parity_hold < self.settle {
            true => Err(ConfigError::HoldBelowSettle {
                hold: self.parity_hold,
                settle: self.settle,
            }),
            false => Ok(()),
        }
    }
}

impl From<MigrateArgs> for MigrateConfig {
    fn from(args: MigrateArgs) -> Self {
        Self {
            mode: args.mode,
            state_file: args.state_file,
            settle: args.settle,
            parity_hold: args.parity_hold,
            rollback_after: args.rollback_after,
        }
    }
}

/// A duration with its unit, within bounds.
fn within(text: &str, longest: Duration) -> Result<Duration, ValueError> {
    let time = super::values::time(text)?;
    match (SHORTEST..=longest).contains(&time) {
        true => Ok(time),
        false => Err(ValueError::Duration(format!(
            "expected {} to {}",
            humantime::format_duration(SHORTEST),
            humantime::format_duration(longest)
        ))),
    }
}
