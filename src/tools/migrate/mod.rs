//! `k8s-relay migrate`: shows and steers the migration of a running relay.

mod text;

use http::Method;
use serde::Deserialize;

use super::ask::{self, AskArgs, AskError};
use crate::migrate::{Command, Status};

/// Show or steer the migration of a running relay
///
/// A migration leads from old watchers to the relay's own watches, in four stages:
///
///   legacy         old watchers alone
///   shadow         old watchers are told on; the relay's own watches run beside them
///   shadow-native  the relay's own watches are told on; old watchers are compared
///   native         the relay's own watches alone
///
/// Each step has effect at once, in the running process. Look at `status` before each.
#[derive(clap::Args, Clone, Debug)]
#[command(verbatim_doc_comment, after_help = ask::EXIT_STATUS)]
pub struct MigrateArgs {
    /// What is asked for.
    #[command(subcommand)]
    pub step: Step,

    /// Whom, and how it is shown.
    #[command(flatten)]
    pub ask: AskArgs,
}

/// What is asked for.
#[derive(clap::Subcommand, Clone, Copy, Debug)]
pub enum Step {
    /// Show the stage, the feeds, how they compare, and what a switch would send
    Status,
    /// Start the relay's own watches beside the old watchers; from native: compare again
    Shadow(StepArgs),
    /// Tell on the relay's own watches from now on
    Cutover(StepArgs),
    /// End the comparison: the relay's own watches stand alone
    Finish(StepArgs),
    /// Tell on old watchers again; from shadow: end the relay's own watches
    Rollback(StepArgs),
}

/// How a step is asked for.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct StepArgs {
    /// Waive what the step would otherwise wait for; it is logged and shown
    #[arg(long)]
    pub force: bool,
}

/// What has come of a step.
#[derive(Deserialize)]
struct Done {
    done: String,
}

/// Asks the relay, and prints what it says.
///
/// # Errors
/// It says no, or nothing.
pub async fn run(args: &MigrateArgs) -> Result<(), AskError> {
    let (command, how) = match args.step {
        Step::Status => return status(&args.ask).await,
        Step::Shadow(how) => (Command::Shadow, how),
        Step::Cutover(how) => (Command::Cutover, how),
        Step::Finish(how) => (Command::Finish, how),
        Step::Rollback(how) => (Command::Rollback, how),
    };
    let force = if how.force { "?force=true" } else { "" };
    let path = format!("/migrate/{command}{force}");
    let (json, Done { done }) = args.ask.ask(Method::POST, &path).await?;
    if args.ask.json {
        return ask::print(&json);
    }
    ask::print(ask::harmless(&done).as_bytes())
}

async fn status(asked: &AskArgs) -> Result<(), AskError> {
    let (json, status) = asked.ask::<Status>(Method::GET, "/statusz").await?;
    if asked.json {
        return ask::print(&json);
    }
    ask::print(text::status(&status).as_bytes())
}
