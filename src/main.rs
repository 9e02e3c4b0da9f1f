//! `k8s-relay`: reads the command line, starts logging, runs what was asked for.

use std::{
    env,
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::{Context as _, Error};
use k8s_relay::{
    cli::{Cli, Command},
    config::{Config, RelayArgs},
    logging::{self, LoggingConfig},
    tools,
};
use tokio::runtime::{Builder, Runtime};

fn main() -> ExitCode {
    let cli = Cli::parse_line(env::args_os()).unwrap_or_else(|error| error.exit());
    let logging = match &cli.command {
        None => cli.relay.log.clone().into_config(),
        Some(_) => LoggingConfig::default(),
    };
    if let Err(error) = logging::start(&logging) {
        // There is no log to say it in.
        let _ = writeln!(io::stderr(), "k8s-relay: {:#}", Error::new(error));
        return ExitCode::FAILURE;
    }
    let ended = match cli.command {
        None => relay(cli.relay),
        Some(command) => tool(command),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn relay(args: RelayArgs) -> Result<(), Error> {
    let check_only = args.check_config;
    let config = Config::load(args)?;
    if check_only {
        return write!(io::stdout(), "{config}").context("cannot print the configuration");
    }
    runtime()?.block_on(app(config))
}

fn tool(command: Command) -> Result<(), Error> {
    match command {
        Command::WatchTest(args) => runtime()?.block_on(tools::watch_test::run(args)),
    }
    Ok(())
}

/// As many workers as there are cores for this process.
fn runtime() -> Result<Runtime, Error> {
    let runtime = Builder::new_multi_thread().enable_all().build();
    runtime.context("cannot start the runtime")
}

/// Stands in until the rooms are put together.
async fn app(_config: Config) -> Result<(), Error> {
    anyhow::bail!("only --check-config works yet")
}
