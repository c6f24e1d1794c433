//! `calicoctl patch`: merges JSON into one resource.

use resources::{Error, Identifier};

use super::resource_set::Access;
use crate::Context;
use crate::cli::{self, Config};
use crate::failure::Failure;
use crate::manifest::{self, Namespaces};

const EXAMPLES: &str = "\
Example:
  calicoctl patch ippool rack-0-ippool --patch '{\"spec\": {\"natOutgoing\": false}}'";

/// Change fields of a resource.
///
/// The patch is JSON. Its fields are merged into the resource; a null removes a field; a list replaces the
/// whole list.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The patch
    #[arg(short = 'p', long, value_name = "JSON", default_value = "", hide_default_value = true)]
    patch: String,
    /// Accepted because Calico accepts it, and ignored as Calico ignores it: a patch is always merged
    #[arg(short = 't', long = "type", value_name = "TYPE", default_value = "strategic")]
    kind_of_patch: String,
    /// The namespace, for kinds that have one
    #[arg(short = 'n', long, value_name = "NAME")]
    namespace: Option<String>,
    #[command(flatten)]
    config: Config,
    /// Kind and name
    #[arg(value_name = "KIND NAME")]
    words: Vec<String>,
}

pub(super) fn run(args: &Args, context: &mut Context<'_>) -> Result<(), Failure> {
    cli::exactly(2, &args.words).map_err(Failure::Message)?;
    let access = Access::begin(args.config.config.as_deref(), context)?;
    let resources =
        manifest::resources_named(&args.words[0], &args.words[1..]).map_err(Failure::in_calico_words)?;
    let session = access.session()?;
    let failed = |text: String| Failure::in_calico_words(format!("hit error: {text}"));
    let namespaces = Namespaces { namespace: args.namespace.as_deref(), all: false };
    for resource in &resources {
        let id = Identifier::of(&namespaces.place(resource).map_err(failed)?);
        match session.wait(session.client().patch(&id, &args.patch)) {
            Ok(_) => writeln!(context.stdout, "Successfully patched 1 '{}' resource", id.kind)?,
            Err(error @ (Error::DoesNotExist(..) | Error::Patch(_) | Error::Store(_))) => {
                return Err(match unknown_field(&error) {
                    Some(text) => Failure::Message(text),
                    None => failed(error.to_string()),
                });
            }
            Err(error) => return Err(failed(format!("updating existing resource: {error}"))),
        }
    }
    Ok(())
}

/// The text of an unknown field in a patch. For that error Calico prints this text alone, without its own
/// words around it.
fn unknown_field(error: &Error) -> Option<String> {
    match error {
        Error::Patch(resources::patch::PatchError::Input(unknown @ api::InputError::UnknownField { .. })) => {
            Some(unknown.to_string())
        }
        _ => None,
    }
}
