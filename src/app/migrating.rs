//! How a migration is set up: from the flags, and from the state file.

use tokio::sync::watch;

use crate::{
    config::{self, Config},
    driver::{Migrating, WatchControl},
    migrate::{Numbered, Stage, State, StateFile, StateFileError, Written, auto, migration},
};

/// Where the migration stands, and the file that keeps it, if there is one.
pub(super) fn state(
    config: &Config,
    source: Stage,
) -> Result<(Option<StateFile>, State), StateFileError> {
    match &config.migrate.state_file {
        Some(path) => {
            let (file, state) = StateFile::open(path.clone(), source)?;
            Ok((Some(file), state))
        }
        None => Ok((None, State::begin(source))),
    }
}

/// Where the migration would stand after a start, which is not made.
pub(super) fn would_begin(config: &Config, source: Stage) -> Result<Stage, StateFileError> {
    match &config.migrate.state_file {
        Some(path) => Ok(StateFile::check(path, source)?.stage),
        None => Ok(source),
    }
}

/// For the loop.
pub(super) fn migrating(
    config: &Config,
    source: Stage,
    state: State,
    states: watch::Sender<Numbered>,
    written: Option<watch::Receiver<Written>>,
    native_alone: watch::Sender<bool>,
    control: WatchControl,
) -> Migrating {
    let migrate = &config.migrate;
    let timeouts = auto::Timeouts {
        hold: migrate.parity_hold,
        rollback_after: migrate.rollback_after,
    };
    Migrating {
        settings: migration::Settings {
            stage: state.stage,
            forced: state.forced,
            settle: migrate.settle,
            hold: migrate.parity_hold,
            auto: match migrate.mode {
                config::Migrate::Manual => None,
                config::Migrate::Auto => Some(timeouts),
            },
            record: state.auto,
        },
        source,
        states,
        written,
        native_alone,
        control,
    }
}
