//! `calicoctl ipam split`

use crate::Context;
use crate::cli::{self, Config};
use crate::commands::later::not_yet;
use crate::failure::Failure;

/// Split a pool into smaller ones (not available yet).
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The network of the pool
    #[arg(long, value_name = "CIDR")]
    cidr: Option<String>,
    /// The name of the pool
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    config: Config,
    /// Into how many
    #[arg(value_name = "NUMBER")]
    words: Vec<String>,
}

pub(super) fn run(args: &Args, context: &mut Context<'_>) -> Result<(), Failure> {
    cli::exactly(1, &args.words).map_err(Failure::Message)?;
    context.globals.check().map_err(Failure::Message)?;
    Err(not_yet("ipam split"))
}
