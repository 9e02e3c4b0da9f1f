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

/// The migration from legacy watchers to the native source.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Migration")]
pub struct MigrateArgs {
    /// Who cuts over and rolls back between the legacy watchers and the native source
    #[arg(long = "migrate", value_name = "WHO", default_value = "manual")]
    #[arg(env = "K8S_RELAY_MIGRATE", hide_env_values = true)]
    mode: Migrate,

    /// Keep the stage of the migration in this file over restarts
    ///
    /// The file counts as long as --source stays the same; if --source has changed, it wins. The
    /// file is created at the first change of stage, so its directory must be writable. Without
    /// it, a restart begins at --source.
    #[arg(long, value_name = "PATH")]
    #[arg(env = "K8S_RELAY_STATE_FILE", hide_env_values = true)]
    state_file: Option<PathBuf>,

    /// Confirm a difference between the sources after this time; 100ms to 10m
    ///
    /// One source always receives a change a little later than the other.
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    #[arg(env = "K8S_RELAY_SETTLE", hide_env_values = true)]
    #[arg(value_parser = |text: &str| within(text, LONGEST_SETTLE))]
    settle: Duration,

    /// Allow a cutover after this time without a confirmed difference; --settle to 7 days
    #[arg(long, value_name = "DURATION", default_value = "5m")]
    #[arg(env = "K8S_RELAY_PARITY_HOLD", hide_env_values = true)]
    #[arg(value_parser = |text: &str| within(text, LONGEST_HOLD))]
    parity_hold: Duration,

    /// With --migrate auto, roll back after the native source has failed this long; 100ms to 1h
    ///
    /// It rolls back only to a watcher that is synced. After each rollback, --parity-hold doubles
    /// for the next cutover; after the fourth, cutovers are left to an operator.
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    #[arg(env = "K8S_RELAY_ROLLBACK_AFTER", hide_env_values = true)]
    #[arg(value_parser = |text: &str| within(text, LONGEST_FAILURE))]
    rollback_after: Duration,
}

/// The settings of a migration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrateConfig {
    /// Who takes the steps that change the active source.
    pub mode: Migrate,
    /// The file that keeps the stage over restarts.
    pub state_file: Option<PathBuf>,
    /// A difference that has stood this long is confirmed.
    pub settle: Duration,
    /// A cutover is allowed after this long without a confirmed difference; at least
    /// [`Self::settle`].
    pub parity_hold: Duration,
    /// The native source may fail this long before the autopilot rolls back.
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
    /// Checks that the settings fit each other.
    ///
    /// # Errors
    ///
    /// A cutover could come before any difference is confirmed.
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
