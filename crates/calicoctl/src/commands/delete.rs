//! `calicoctl delete`: one deletion for each resource of the input.

use resources::{Error, Identifier};

use super::resource_set::{Access, Outcome, ResourceSet, SetError, count, errors, nothing, refused};
use crate::Context;
use crate::cli::Source;
use crate::failure::Failure;
use crate::manifest::Namespaces;

/// Delete resources, by kind and name or as a file names them.
///
/// A pool is disabled first, and its blocks lose their owners: empty blocks are deleted, and addresses in use
/// keep working. Deleting a node also deletes its workload endpoints and the resources that are for that node
/// alone, such as its BGP peers; it releases the addresses of these endpoints, the node's tunnel addresses
/// and its blocks.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where the resources come from.
    #[command(flatten)]
    source: Source,
    /// Succeed where a resource does not exist
    #[arg(short = 's', long)]
    skip_not_exists: bool,
    /// Kind, and names: ippool rack-0-ippool rack-1-ippool
    #[arg(value_name = "KIND NAME")]
    words: Vec<String>,
}

pub(super) fn run(args: &Args, context: &mut Context<'_>) -> Result<(), Failure> {
    let source = &args.source;
    let access = Access::begin(source.config.config.as_deref(), context)?;
    let set = match ResourceSet::load(source, &args.words, context) {
        Ok(Some(set)) => set,
        Ok(None) => return nothing(context),
        Err(SetError::Nothing) => {
            let text = "nothing to delete: give a kind and names, or name a file with --filename";
            return Err(Failure::Message(text.to_string()));
        }
        Err(error) => return Err(error.failure("delete")),
    };
    let session = access.session()?;
    let client = session.client();
    let namespaces = Namespaces { namespace: source.namespace.as_deref(), all: false };
    let outcomes = set.each(namespaces, |resource| {
        let version = resource.metadata().resource_version.as_deref();
        match session.wait(client.delete(&Identifier::of(resource), version)) {
            Err(Error::DoesNotExist(..)) if args.skip_not_exists => {
                Ok(Outcome::LeftAlone("does not exist, so nothing was deleted"))
            }
            other => other.map(|_| Outcome::Done).map_err(|error| refused(&session, error)),
        }
    });
    let ((good, left, _), noun) = (count(&outcomes), set.noun());
    let errors = errors(&outcomes);
    if good > 0 {
        writeln!(context.stdout, "Successfully deleted {good} {noun}resource(s)")?;
    } else if left > 0 && errors.is_empty() {
        writeln!(context.stdout, "Nothing deleted: {left} {noun}resource(s) do not exist")?;
    }
    if errors.is_empty() {
        return set.tell_left_alone(context, &outcomes);
    }
    let lines: String =
        errors.iter().map(|error| format!("Failed to delete {noun}resource: {error}\n")).collect();
    Err(Failure::in_calico_words(lines).and(&set.told(&outcomes)))
}
