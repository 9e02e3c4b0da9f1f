//! `k8s-relay migrate`: takes the steps of a migration of a running relay.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use http::Method;
use indicatif::ProgressBar;
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use super::{
    ask::{self, AskArgs, AskError, harmless, span},
    status,
};
use crate::{admin::api::Status, migrate::Command};

/// Take a step of a migration in a running relay
///
/// A migration leads from legacy watchers to the native source, in four stages:
///
///   legacy         legacy watchers alone
///   shadow         legacy watchers are active; the native source runs alongside
///   shadow-native  the native source is active; legacy watchers are compared
///   native         the native source alone
///
/// Each step has effect at once, in the running process. See `k8s-relay status` before each.
#[derive(clap::Args, Clone, Debug)]
#[command(verbatim_doc_comment, after_help = EXAMPLES)]
pub struct MigrateArgs {
    /// What is asked for.
    #[command(subcommand)]
    pub step: Step,

    /// Whom, and how it is shown.
    #[command(flatten)]
    pub ask: AskArgs,
}

const EXAMPLES: &str = ask::with_exit_status!(
    "\
Examples:
  k8s-relay migrate shadow
  k8s-relay migrate cutover
  k8s-relay migrate rollback"
);

/// What is asked for.
#[derive(clap::Subcommand, Clone, Copy, Debug)]
pub enum Step {
    /// Show the state, as `k8s-relay status` does
    Status,
    /// Start the native source alongside the legacy watchers; from native: compare again
    Shadow,
    /// Make the native source active
    Cutover(CutoverArgs),
    /// End the comparison: the native source stands alone
    Finish,
    /// Make the legacy watchers active again; from shadow: end the native source
    Rollback,
}

/// How a cutover is asked for.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct CutoverArgs {
    /// Override what blocks the cutover; it is logged and shown
    #[arg(long)]
    pub force: bool,
}

/// What has come of a step, or that it goes on under this number.
#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    done: Option<String>,
    #[serde(default)]
    not_kept: Option<String>,
    #[serde(default)]
    number: Option<u64>,
    /// It is taken, and waits for a watcher.
    #[serde(default)]
    in_progress: Option<String>,
}

/// A step that goes on is looked at so often.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// And for so long. All that it can wait for has a limit of its own.
const FOLLOWED_FOR: Duration = Duration::from_secs(300);

/// Asks the relay, and prints what it says.
///
/// # Errors
/// It says no, or nothing.
pub async fn run(args: &MigrateArgs) -> Result<(), AskError> {
    let (command, force) = match args.step {
        Step::Status => return status::show(&args.ask).await,
        Step::Shadow => (Command::Shadow, false),
        Step::Cutover(how) => (Command::Cutover, how.force),
        Step::Finish => (Command::Finish, false),
        Step::Rollback => (Command::Rollback, false),
    };
    let force = if force { "?force=true" } else { "" };
    let path = format!("/migrate/{command}{force}");
    let (json, said) = args.ask.ask::<Said>(Method::POST, &path).await?;
    if let Some(number) = said.number {
        return follow(args, command, number).await;
    }
    let waits = said.in_progress.is_some();
    if args.ask.json {
        ask::print(&json)?;
    } else {
        let text = said.done.or(said.in_progress).unwrap_or_default();
        ask::print(harmless(&text).as_bytes())?;
    }
    ended(said.not_kept, waits)
}

/// Waits for the end of a step that takes longer than its request, and shows how it goes.
async fn follow(args: &MigrateArgs, command: Command, number: u64) -> Result<(), AskError> {
    let mut progress = Progress::new();
    let until = now() + FOLLOWED_FOR;
    while now() < until {
        let (_, status) = args.ask.ask::<Status>(Method::GET, "/statusz").await?;
        let last = status.last_step.filter(|step| step.number >= number);
        if let Some(step) = last {
            progress.end();
            if step.number != number {
                let other = harmless(&step.command);
                return Err(AskError::Unknown(format!(
                    "what has come of `{command}` is not known: `{other}` was taken since. \
                     See `k8s-relay status`."
                )));
            }
            if args.ask.json {
                let json = serde_json::to_vec(&step).unwrap_or_default();
                ask::print(&json)?;
            } else if let Some(done) = &step.done {
                ask::print(harmless(done).as_bytes())?;
            }
            return match step.failed {
                Some(why) => Err(AskError::Failed(harmless(&why))),
                None => ended(step.not_kept, step.waits_for.is_some()),
            };
        }
        match status.step.filter(|step| step.number == number) {
            Some(step) => progress.show(&format!(
                "`{command}` is in progress for {}: {}",
                span(step.seconds),
                harmless(&step.waits_for)
            )),
            // It is another process by now, or its number was given to nobody.
            None => break,
        }
        sleep(LOOK_EVERY).await;
    }
    progress.end();
    Err(AskError::InProgress)
}

/// A step that was taken; `waits`: it has not had its effect yet.
fn ended(not_kept: Option<String>, waits: bool) -> Result<(), AskError> {
    match (not_kept, waits) {
        (Some(why), _) => Err(AskError::NotKept(harmless(&why))),
        (None, true) => Err(AskError::InProgress),
        (None, false) => Ok(()),
    }
}

/// How a step goes, on standard error: in one place of a terminal, else said once.
enum Progress {
    Spinner(ProgressBar),
    Line { said: bool },
}

impl Progress {
    fn new() -> Self {
        match ask::shows_progress() {
            true => Self::Spinner(ProgressBar::new_spinner()),
            false => Self::Line { said: false },
        }
    }

    fn show(&mut self, text: &str) {
        match self {
            Self::Spinner(spinner) => {
                spinner.set_message(text.to_owned());
                spinner.tick();
            }
            Self::Line { said } => {
                if !std::mem::replace(said, true) {
                    // Without standard error there is nobody to inform.
                    let _ = writeln!(io::stderr(), "{text}");
                }
            }
        }
    }

    fn end(&self) {
        if let Self::Spinner(spinner) = self {
            spinner.finish_and_clear();
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a tool reads the clock")]
fn now() -> Instant {
    Instant::now()
}
