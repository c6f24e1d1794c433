//! `calicoctl apply`: creates or replaces each resource of the input.

use super::resource_set::{Outcome, Wording, write_all};
use crate::Context;
use crate::cli::Source;
use crate::failure::Failure;

/// Create resources, or replace those that exist.
///
/// An existing resource is replaced as a whole: labels, annotations and fields that the input leaves out are
/// removed, or get their defaults. If the input has a resourceVersion, only that version of the resource is
/// replaced.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where the resources come from.
    #[command(flatten)]
    source: Source,
    #[arg(hide = true)]
    words: Vec<String>,
}

pub(super) fn run(args: &Args, context: &mut Context<'_>) -> Result<(), Failure> {
    let wording = Wording { verb: "apply", done: "applied" };
    write_all(context, &args.source, &args.words, wording, async |client, resource| {
        client.apply(resource).await.map(|_| Outcome::Done)
    })
}
