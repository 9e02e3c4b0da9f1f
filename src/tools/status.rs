//! `k8s-relay status`: how a running relay stands.

mod text;

use http::Method;

use super::ask::{self, AskArgs, AskError};
use crate::admin::api::Status;

/// Show the state of a running relay
///
/// It shows the connection to the reducer, and each source, stream and watch with its last error.
/// While two sources are compared (see `k8s-relay migrate`), it also shows how they differ, whether
/// a cutover is allowed, and what the next step would send.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct StatusArgs {
    /// Whom, and how it is shown.
    #[command(flatten)]
    pub ask: AskArgs,
}

const EXAMPLES: &str = ask::with_exit_status!(
    "\
Examples:
  k8s-relay status
  k8s-relay status --admin-address unix:/run/k8s-relay/admin.sock
  k8s-relay status --json"
);

/// Asks the relay, and prints what it says.
///
/// # Errors
/// It does not answer.
pub async fn run(args: &StatusArgs) -> Result<(), AskError> {
    show(&args.ask).await
}

pub(super) async fn show(asked: &AskArgs) -> Result<(), AskError> {
    let (json, status) = asked.ask::<Status>(Method::GET, "/statusz").await?;
    if asked.json {
        return ask::print(&json);
    }
    ask::print_styled(&text::status(&status))
}
