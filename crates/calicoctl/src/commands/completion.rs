//! `calicoctl completion`: the script is made from the definition of the command line.

use clap_complete::Shell;

use crate::Context;
use crate::cli;
use crate::failure::Failure;

/// Write the completion script of a shell.
///
/// For bash: source <(calicoctl completion bash)
#[derive(Debug, clap::Args)]
pub struct Args {
    /// bash, zsh, fish, elvish or powershell
    #[arg(value_name = "SHELL")]
    words: Vec<String>,
}

pub(super) fn run(args: &Args, context: &mut Context<'_>) -> Result<(), Failure> {
    cli::exactly(1, &args.words).map_err(Failure::Message)?;
    let shell: Shell = args.words[0].parse().map_err(Failure::Message)?;
    clap_complete::generate(shell, &mut cli::command(), "calicoctl", &mut context.stdout);
    Ok(())
}
