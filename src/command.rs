//! The whole of a process: reads the command line, starts logging, runs what was asked for, and
//! says by its exit status what happened.
//!
//! It is part of the library, so that the binary does not compile all that is asynchronous again.

use std::{
    env,
    ffi::OsString,
    io::{self, Write as _},
    process::ExitCode,
};

use crate::{
    app,
    cli::{Cli, Command, defined},
    companion,
    config::{Config, ConfigError, RelayArgs, Settings},
    logging::{self, Level, LoggingConfig},
    source::native,
    tools,
};
use anyhow::{Context as _, Error};
use tokio::runtime::Builder;

/// Runs what this command line asks for, to its end. The first word is the name of the program.
pub fn run(line: impl IntoIterator<Item = OsString>) -> ExitCode {
    let line: Vec<OsString> = line.into_iter().collect();
    if companion::is_meant(&line, env::vars_os()) {
        return accompany();
    }
    let cli = Cli::parse_line(line).unwrap_or_else(|error| error.exit());
    let logging = match &cli.command {
        // A check writes nothing.
        None if cli.relay.check_config => LoggingConfig {
            file: None,
            ..cli.relay.log.clone().into_config()
        },
        None => cli.relay.log.clone().into_config(),
        // The demo prints its own account of what happens.
        Some(Command::Demo(_)) => LoggingConfig {
            level: Level::Error,
            ..LoggingConfig::default()
        },
        Some(_) => LoggingConfig::default(),
    };
    let log = match logging::start(&logging) {
        Ok(log) => log,
        Err(error) => {
            // There is no log to say it in.
            let _ = writeln!(io::stderr(), "k8s-relay: {:#}", Error::new(error));
            return ExitCode::FAILURE;
        }
    };
    let checks = cli.command.is_none() && cli.relay.check_config;
    let is_relay = cli.command.is_none();
    // One line, like everything else that is logged.
    std::panic::set_hook(Box::new(|panic| {
        let words = panic.to_string().replace('\n', " ");
        tracing::error!("{words}");
    }));
    let as_json = cli.relay.json;
    let ended = match cli.command {
        None => relay(cli.relay, &cli.settings),
        Some(command) => tool(command, &cli.settings, as_json),
    };
    if log.lost_lines() > 0 {
        tracing::warn!(
            lines = log.lost_lines(),
            "log lines were lost: nothing read the log fast enough"
        );
    }
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if is_relay && !checks {
                tracing::error!("{error:#}");
            } else {
                // For the user who typed the command, not for a log.
                drop(log);
                let said = match checks {
                    // As a start would log it.
                    true => format!("{error:#}"),
                    false => in_brackets(&error),
                };
                let _ = writeln!(io::stderr(), "error: {said}");
            }
            let asked = error.downcast_ref().map(tools::ask::AskError::status);
            let looked_up = error
                .downcast_ref()
                .map(tools::metadata::MetadataError::status);
            let status = asked.or(looked_up).unwrap_or(1);
            // What a check finds is a mistake in a setting.
            let mistaken = checks || error.is::<ConfigError>();
            ExitCode::from(if mistaken { 2 } else { status })
        }
    }
}

/// Runs as the idle companion, in the legacy watcher's container.
fn accompany() -> ExitCode {
    // The watcher's level is not the relay's: the one line is always logged.
    let log = logging::start(&LoggingConfig::default());
    let ended = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(companion::run()),
        Err(error) => Err(error),
    };
    if let Err(error) = &ended {
        tracing::error!("cannot wait for signals: {error}");
    }
    drop(log);
    ExitCode::from(u8::from(ended.is_err()))
}

/// What happened, with why in brackets.
fn in_brackets(error: &Error) -> String {
    let mut causes = Vec::new();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        // Some say their cause themselves.
        if !error.to_string().contains(&cause) {
            causes.push(cause);
        }
    }
    match causes.as_slice() {
        [] => error.to_string(),
        some => format!("{error} ({})", some.join(": ")),
    }
}

fn relay(args: RelayArgs, settings: &Settings) -> Result<(), Error> {
    let (check_only, as_json) = (args.check_config, args.json);
    settings
        .warnings
        .iter()
        .for_each(|warning| tracing::warn!("{warning}"));
    settings
        .notes
        .iter()
        .for_each(|note| tracing::info!("{note}"));
    let config = Config::new(args)?;
    if check_only {
        wait_for(async { Ok(app::check(&config).await?) })?;
        logging::check(&config.logging)?;
        let shown = match as_json {
            true => settings.to_json(),
            false => settings.to_string(),
        };
        return match io::stdout().write_all(shown.as_bytes()) {
            // Who closes the pipe has read enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            printed => printed.context("cannot print the configuration"),
        };
    }
    let loop_thread = app::LoopThread::start().context("cannot start the thread of the loop")?;
    wait_for(async { Ok(app::run(config, &loop_thread).await?) })
}

fn tool(command: Command, settings: &Settings, as_json: bool) -> Result<(), Error> {
    match command {
        Command::Status(args) => wait_for(async { Ok(tools::status::run(&args).await?) }),
        Command::Migrate(args) => wait_for(async { Ok(tools::migrate::run(&args).await?) }),
        Command::Explain(args) => wait_for(async { Ok(tools::explain::run(&args).await?) }),
        Command::Lookup(args) => wait_for(async { Ok(tools::metadata::lookup::run(&args).await?) }),
        Command::Enrich(args) => wait_for(async { Ok(tools::metadata::enrich::run(&args).await?) }),
        Command::Demo(args) => wait_for(async { Ok(tools::demo::run(&args).await?) }),
        Command::Cluster(args) => wait_for(async { Ok(tools::cluster::run(&args).await?) }),
        Command::Reducer(args) => wait_for(async { Ok(tools::reducer::run(&args).await?) }),
        Command::Config(args) => Ok(tools::config::run(&args, settings, as_json)?),
        Command::Completions(args) => Ok(tools::shell::complete(&args, defined())?),
        Command::Man(args) => Ok(tools::shell::man(&args, defined())?),
        Command::Decode(args) => Ok(tools::decode::run(&args)?),
        Command::Tee(args) => wait_for(async { Ok(tools::tee::run(&args).await?) }),
        Command::Replay(args) => wait_for(async { Ok(tools::replay::run(&args).await?) }),
        Command::Watcher(args) => wait_for(async { Ok(tools::watcher::run(&args).await?) }),
        Command::WatchTest(args) => wait_for(async {
            tools::watch_test::run(args).await;
            Ok(())
        }),
    }
}

/// Runs on as many workers as there are cores for this process, and at least two: on one, a
/// worker that computes for long would hold up probes and signals. At the end nobody waits for
/// a name that is still being resolved, and no credential plugin is left behind.
fn wait_for(work: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let runtime = Builder::new_multi_thread()
        .worker_threads(cores.max(2))
        .enable_all()
        .build();
    let runtime = runtime.context("cannot start the runtime")?;
    let result = runtime.block_on(work);
    native::end_plugins();
    runtime.shutdown_background();
    result
}
