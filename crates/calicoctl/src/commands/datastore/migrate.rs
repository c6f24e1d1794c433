//! `calicoctl datastore migrate`: the datastore's lock, and the move to Kubernetes.

use clap::Subcommand;
use setup::{ConnectOptions, Datastore, Purpose};

use super::export;
use crate::Context;
use crate::cli::Config;
use crate::commands::resource_set::Access;
use crate::failure::Failure;
use crate::session::Chosen;

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
    Export(export::Args),
    Import(ImportArgs),
}

#[derive(Debug, clap::Args)]
struct LockArgs {
    #[command(flatten)]
    config: Config,
    #[arg(hide = true)]
    words: Vec<String>,
}

/// Read in what was exported; needs the Kubernetes datastore.
#[derive(Debug, clap::Args)]
struct ImportArgs {
    /// What was exported
    #[arg(short = 'f', long, value_name = "FILE")]
    filename: Option<String>,
    #[command(flatten)]
    lock: LockArgs,
}

pub(super) fn run(args: Args, context: &mut Context<'_>) -> Result<(), Failure> {
    match args.command {
        Command::Lock(args) => set_ready(&args, false, context),
        Command::Unlock(args) => set_ready(&args, true, context),
        Command::Export(args) => export::run(&args, context),
        Command::Import(args) => import(&args, context),
    }
}

/// Says why nothing is imported. On Kubernetes this is not available yet; on other stores Calico's import
/// does not work either, and `datastore copy` fills them.
fn import(args: &ImportArgs, context: &mut Context<'_>) -> Result<(), Failure> {
    let chosen = Chosen::load(args.lock.config.config.as_deref(), context.globals, context.environment)?;
    context.globals.check().map_err(Failure::Message)?;
    let choice =
        chosen.choice(context.environment).map_err(|error| Failure::in_calico_words(error.to_string()))?;
    Err(Failure::in_calico_words(match &choice.datastore {
        Datastore::Kubernetes(_) => {
            let file = args.filename.as_deref().unwrap_or("the file");
            match chosen.open(context, Purpose::Write, ConnectOptions::default()) {
                Err(error) => error.to_string(),
                Ok(_) => format!("importing {file} is not available yet; nothing was changed"),
            }
        }
        other => format!(
            "invalid datastore type: {} to import to for datastore migration. Datastore type must be kubernetes",
            other.type_name()
        ),
    }))
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
        Failure::in_calico_words(format!("error retrieving ClusterInformation for {doing}: {error}"))
    })?;
    writeln!(context.stdout, "Datastore {done}.")?;
    crate::commands::warn_ignored(context, &args.words)
}
