//! `calicoctl ipam`: the commands about addresses, a file for each.

mod check;
mod configure;
mod explain;
mod release;
mod release_leaked;
mod show;
mod split;
mod witnesses;

use clap::Subcommand;

pub(super) use self::check::judge;
use crate::Context;
use crate::failure::Failure;

/// How many blocks are read at once. A block may say a lot about each of its addresses.
const BLOCKS: usize = 250;

/// Look at addresses, release them, and set how they are assigned.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Show(show::Args),
    Explain(explain::Args),
    Release(release::Args),
    Configure(configure::Args),
    Check(check::Args),
    Split(split::Args),
}

pub(super) fn run(args: Args, context: &mut Context<'_>) -> Result<(), Failure> {
    match args.command {
        Command::Show(args) => show::run(&args, context),
        Command::Explain(args) => explain::run(&args, context),
        Command::Release(args) => release::run(&args, context),
        Command::Configure(args) => configure::run(&args, context),
        Command::Check(args) => check::run(&args, context),
        Command::Split(args) => split::run(&args, context),
    }
}

/// Parses an address that the user typed; the address is in canonical form.
fn address(text: &str) -> Result<std::net::IpAddr, Failure> {
    let invalid =
        || Failure::OnStdout(format!("Error executing command: invalid IP address specified: {text}"));
    api::cidr::parse_addr(text).ok_or_else(invalid)
}
