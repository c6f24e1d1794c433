//! `calicoctl datastore`: the commands about whole stores, a file for each.

mod backup;
mod copy;
#[cfg(feature = "kubernetes")]
mod define;
mod export;
mod init;
mod migrate;
mod preflight;
mod purge;
mod restore;

use std::fmt;
use std::io::Write;
use std::time::Duration;

use clap::Subcommand;
use setup::Clock;
use store::AnyStore;

use crate::Context;
use crate::failure::Failure;
use crate::session::Session;

/// Begin, save, restore, copy, lock and empty a store.
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
    Preflight(preflight::Args),
    Purge(purge::Args),
}

/// Lines about work that takes long, at most one a second.
struct Progress<'p> {
    effects: &'p Clock,
    stderr: &'p mut dyn Write,
    /// When there was a line last, or when the work began.
    told: Duration,
}

impl<'p> Progress<'p> {
    fn begin(effects: &'p Clock, stderr: &'p mut dyn Write) -> Progress<'p> {
        Progress { effects, stderr, told: effects.elapsed() }
    }

    fn tell(&mut self, line: fmt::Arguments<'_>) {
        let now = self.effects.elapsed();
        if now.saturating_sub(self.told) >= Duration::from_secs(1) {
            self.told = now;
            // A line of progress that cannot be written is no reason to stop.
            let _ = writeln!(self.stderr, "  {line}");
        }
    }
}

/// Moves everything that was just written into the file of an embedded store. A store that nobody uses yet
/// then does not depend on the `-wal` file beside it.
fn settle(session: &Session, context: &mut Context<'_>) -> Result<(), Failure> {
    let AnyStore::Sqlite(store) = session.store.inner() else { return Ok(()) };
    if let Err(error) = session.wait(store.checkpoint(session.within)) {
        writeln!(
            context.stderr,
            "What was written is stored, but still lies in {}-wal: {error}",
            store.path().display()
        )?;
    }
    Ok(())
}

pub(super) fn run(args: Args, context: &mut Context<'_>) -> Result<(), Failure> {
    match args.command {
        Command::Init(args) => init::run(&args, context),
        Command::Backup(args) => backup::run(&args, context),
        Command::Restore(args) => restore::run(&args, context),
        Command::Copy(args) => copy::run(&args, context),
        Command::Migrate(args) => migrate::run(args, context),
        Command::Preflight(args) => preflight::run(&args, context),
        Command::Purge(args) => purge::run(&args, context),
    }
}
