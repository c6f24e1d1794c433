//! `calicoctl validate`: checks input against the rules that need no store.

use super::resource_set::{Outcome, Refused, ResourceSet, Wording, nothing, report};
use crate::Context;
use crate::cli::Source;
use crate::failure::Failure;
use crate::manifest::Namespaces;

/// Check resources against the rules of their kinds, without a store.
///
/// Rules that involve other resources are not checked here: whether pools overlap, whether a field may
/// change, whether a resource exists.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where the resources come from.
    #[command(flatten)]
    source: Source,
    #[arg(hide = true)]
    words: Vec<String>,
}

pub(super) fn run(args: &Args, context: &mut Context<'_>) -> Result<(), Failure> {
    let set = match ResourceSet::load(&args.source, &args.words, context) {
        Ok(Some(set)) => set,
        Ok(None) => return nothing(context),
        Err(error) => return Err(error.failure("validate")),
    };
    let namespaces = Namespaces { namespace: args.source.namespace.as_deref(), all: false };
    let outcomes = set.each(namespaces, |resource| {
        let valid = api::validate::resource(resource).map(|()| Outcome::Done);
        valid.map_err(|error| Refused {
            help: resources::Error::from(error.clone()).help(),
            text: error.to_string(),
        })
    });
    report(context, &set, Wording { verb: "validate", done: "validated" }, &outcomes)
}
