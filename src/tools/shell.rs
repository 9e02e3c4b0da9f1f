//! `completions` and `man`: the command line, for shells and for `man`.

use std::{
    fs,
    io::{self, Write as _},
    path::PathBuf,
};

use clap::{Args, Command};
use clap_complete::Shell;

use super::{ToolError, wrote};

/// Print the completions of a shell
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  k8s-relay completions bash > /usr/share/bash-completion/completions/k8s-relay
  k8s-relay completions zsh > ~/.zfunc/_k8s-relay
  k8s-relay completions fish > ~/.config/fish/completions/k8s-relay.fish")]
pub struct CompletionsArgs {
    /// For this shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Write the pages of the manual into a directory
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Example:
  k8s-relay man /usr/local/share/man/man1")]
pub struct ManArgs {
    /// The directory; it is made if it is not there
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// Prints the completions of `command`.
///
/// # Errors
/// The output cannot be written.
pub fn complete(args: &CompletionsArgs, mut command: Command) -> Result<(), ToolError> {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    wrote(io::stdout().write_all(&script)).map(drop)
}

/// Writes a page for `command` and each command below it.
///
/// # Errors
/// They cannot be written.
pub fn man(args: &ManArgs, command: Command) -> Result<(), ToolError> {
    let written = fs::create_dir_all(&args.dir);
    let written = written.and_then(|()| clap_mangen::generate_to(command, &args.dir));
    written.map_err(ToolError::Write)
}
