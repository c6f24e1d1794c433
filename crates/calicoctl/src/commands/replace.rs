//! `calicoctl replace`: one update for each resource of the input.

use super::resource_set::{Access, Outcome, ResourceSet, count, errors, nothing, refused};
use crate::Context;
use crate::cli::Source;
use crate::failure::Failure;
use crate::manifest::Namespaces;

/// Replace resources that exist.
///
/// As `apply`, but a resource that does not exist is an error.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where the resources come from.
    #[command(flatten)]
    source: Source,
    #[arg(hide = true)]
    words: Vec<String>,
}

/// Prints every error, and how many resources were really replaced. (Calico prints the last error only, and
/// counts resources that failed as replaced.)
pub(super) fn run(args: &Args, context: &mut Context<'_>) -> Result<(), Failure> {
    let source = &args.source;
    let access = Access::begin(source.config.config.as_deref(), context)?;
    let set = match ResourceSet::load(source, &args.words, context) {
        Ok(Some(set)) => set,
        Ok(None) => return nothing(context),
        Err(error) => return Err(error.failure("replace")),
    };
    let session = access.session()?;
    let client = session.client();
    // A store that cannot be written reports so again at the first resource.
    let _ = session.wait(client.ensure_initialised());
    let namespaces = Namespaces { namespace: source.namespace.as_deref(), all: false };
    let outcomes = set.each(namespaces, |resource| {
        let updated = session.wait(client.update(resource));
        updated.map(|_| Outcome::Done).map_err(|error| refused(&session, error))
    });
    let (total, noun) = (set.resources.len(), set.noun());
    let ((good, ..), errors) = (count(&outcomes), errors(&outcomes));
    if errors.is_empty() {
        return Ok(writeln!(context.stdout, "Successfully replaced {total} {noun}resource(s)")?);
    }
    if good > 0 {
        let names = set.names(&outcomes, |outcome| matches!(outcome, Outcome::Done));
        writeln!(context.stdout, "Partial success: replaced {good} out of {total} {noun}resources: {names}")?;
    }
    let failure = Failure::in_calico_words(match errors.as_slice() {
        [one] => format!("hit error: {one}"),
        many => format!("hit error: [{}]", many.join(" ")),
    });
    Err(failure.and(&set.told(&outcomes)))
}
