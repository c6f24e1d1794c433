//! `calicoctl datastore backup`: works on the embedded store only.

use std::path::Path;

use setup::{ConnectOptions, Purpose};

use super::restore::embedded_store;
use crate::Context;
use crate::cli::{self, Config};
use crate::failure::Failure;
use crate::session::Chosen;

/// Copy the embedded store into a new file, as of one moment, while others go on using it.
///
/// The copy is complete by itself. Never copy the store's file with cp: the latest changes are in another
/// file beside it.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: Config,
    /// The file to make
    #[arg(value_name = "FILE")]
    words: Vec<String>,
}

pub(super) fn run(args: &Args, context: &mut Context<'_>) -> Result<(), Failure> {
    cli::exactly(1, &args.words).map_err(Failure::Message)?;
    let chosen = Chosen::load(args.config.config.as_deref(), context.globals, context.environment)?;
    let failed = |text: String| Failure::in_calico_words(text);
    let session = chosen
        .open(context, Purpose::Read, ConnectOptions::existing())
        .map_err(|error| failed(error.to_string()))?;
    let store = embedded_store(&session)?;
    let target = &args.words[0];
    session
        .wait(store.backup(Path::new(target), session.within))
        .map_err(|error| failed(error.to_string()))?;
    Ok(writeln!(context.stdout, "Backed up {} to {target}", store.path().display())?)
}
