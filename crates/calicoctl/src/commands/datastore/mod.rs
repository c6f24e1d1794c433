//! `calicoctl datastore`

mod backup;
mod copy;
#[cfg(feature = "kubernetes")]
mod define;
mod export;
mod init;
mod migrate;
mod restore;

use clap::Subcommand;

use crate::Context;
use crate::failure::Failure;

/// Begin, save, restore, copy and lock a store.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::Args),
    Backup(backup::Args),
    Restore(restore::Args),
    Copy(copy::Args),
    Migrate(migrate::Args),
}

pub(super) fn run(args: Args, context: &mut Context<'_>) -> Result<(), Failure> {
    match args.command {
        Command::Init(args) => init::run(&args, context),
        Command::Backup(args) => backup::run(&args, context),
        Command::Restore(args) => restore::run(&args, context),
        Command::Copy(args) => copy::run(&args, context),
        Command::Migrate(args) => migrate::run(args, context),
    }
}
