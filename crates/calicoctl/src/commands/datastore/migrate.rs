//! `calicoctl datastore migrate`

use clap::Subcommand;

use crate::Context;
use crate::cli::Config;
use crate::commands::later::not_yet;
use crate::commands::resource_set::Access;
use crate::failure::Failure;

/// Lock and unlock a store; move its contents to another.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lock the datastore, so that it can be moved or cleaned up
    Lock(LockArgs),
    /// Unlock the datastore
    Unlock(LockArgs),
    /// Write out everything that the datastore holds (not available yet)
    Export(LockArgs),
    /// Read in what was written out (not available yet)
    Import(ImportArgs),
}

#[derive(Debug, clap::Args)]
struct LockArgs {
    #[command(flatten)]
    config: Config,
    #[arg(hide = true)]
    words: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct ImportArgs {
    /// What was written out
    #[arg(short = 'f', long, value_name = "FILE")]
    filename: Option<String>,
    #[command(flatten)]
    lock: LockArgs,
}

pub(super) fn run(args: Args, context: &mut Context<'_>) -> Result<(), Failure> {
    match args.command {
        Command::Lock(args) => set_ready(&args, false, context),
        Command::Unlock(args) => set_ready(&args, true, context),
        Command::Export(_) => Err(not_yet("datastore migrate export")),
        Command::Import(args) => {
            let _ = (args.filename, args.lock);
            Err(not_yet("datastore migrate import"))
        }
    }
}

fn set_ready(args: &LockArgs, ready: bool, context: &mut Context<'_>) -> Result<(), Failure> {
    let session = Access::begin(args.config.config.as_deref(), context)?.quiet_session()?;
    let client = session.client();
    let changed = session.wait(async {
        if !ready {
            client.ensure_initialised().await?;
        }
        client.set_ready(ready).await
    });
    let (doing, done) = if ready { ("unlocking", "unlocked") } else { ("locking", "locked") };
    changed.map_err(|error| {
        Failure::message(format!("error retrieving ClusterInformation for {doing}: {error}"))
    })?;
    writeln!(context.stdout, "Datastore {done}.")?;
    crate::commands::ignored(context, &args.words)
}
