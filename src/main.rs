//! `k8s-relay`: reads the command line, starts logging, runs what was asked for.

use std::{env, io::Write as _, process::ExitCode};

use anyhow::Context as _;
use k8s_relay::{
    cli::Cli,
    config::{Config, RelayArgs},
    logging,
};

fn main() -> ExitCode {
    let cli = Cli::parse_line(env::args_os()).unwrap_or_else(|error| error.exit());
    match cli.command {
        None => relay(cli.relay),
        Some(tool) => match tool {},
    }
}

fn relay(args: RelayArgs) -> ExitCode {
    if let Err(error) = logging::start(&args.log.clone().into_config()) {
        // There is no log to say it in.
        let _ = writeln!(
            std::io::stderr(),
            "k8s-relay: {:#}",
            anyhow::Error::new(error)
        );
        return ExitCode::FAILURE;
    }
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: RelayArgs) -> anyhow::Result<()> {
    let check_only = args.check_config;
    let config = Config::load(args)?;
    if check_only {
        return write!(std::io::stdout(), "{config}").context("cannot print the configuration");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(app(config))
}

/// Stands in until the rooms are put together.
async fn app(_config: Config) -> anyhow::Result<()> {
    anyhow::bail!("only --check-config works yet")
}
