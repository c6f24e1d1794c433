//! `calicoctl create`: one creation for each resource of the input.

use resources::Error;

use super::resource_set::{Outcome, Wording, write_all};
use crate::Context;
use crate::cli::Source;
use crate::failure::Failure;

/// Create resources.
///
/// All input is read before the first resource is created. Resources that exist already are errors; `apply`
/// replaces them instead.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where the resources come from.
    #[command(flatten)]
    source: Source,
    /// Leave resources that exist alone, and succeed
    #[arg(long)]
    skip_exists: bool,
    #[arg(hide = true)]
    words: Vec<String>,
}

pub(super) fn run(args: &Args, context: &mut Context<'_>) -> Result<(), Failure> {
    let wording = Wording { verb: "create", done: "created" };
    write_all(context, &args.source, &args.words, wording, async |client, resource| {
        match client.create(resource).await {
            Err(Error::AlreadyExists(..)) if args.skip_exists => {
                Ok(Outcome::LeftAlone("exists, and was left alone"))
            }
            other => other.map(|_| Outcome::Done),
        }
    })
}
