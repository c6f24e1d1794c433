//! `calicoctl patch`: merges JSON into one resource.

use resources::{Error, Identifier};

use super::resource_set::{Access, Refused, refused};
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
    /// strategic or merge: a patch is always merged
    #[arg(
        short = 't',
        long = "type",
        value_name = "TYPE",
        default_value = "strategic",
        hide_default_value = true
    )]
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
    let client = session.client();
    let failed = |text: String| Failure::in_calico_words(format!("hit error: {text}"));
    let kind = &args.kind_of_patch;
    let no_effect = match kind.as_str() {
        "strategic" | "merge" => String::new(),
        _ => format!("--type={kind} has no effect: a patch is an object, and is always merged"),
    };
    let namespaces = Namespaces { namespace: args.namespace.as_deref(), all: false };
    for resource in &resources {
        let id = Identifier::of(&namespaces.place(resource).map_err(failed)?);
        let Err(error) = session.wait(client.patch(&id, &args.patch)) else {
            writeln!(context.stdout, "Successfully patched 1 '{}' resource", id.kind)?;
            if !no_effect.is_empty() {
                writeln!(context.stderr, "warning: {no_effect}")?;
            }
            continue;
        };
        let is_told_alone = matches!(error, Error::DoesNotExist(..) | Error::Patch(_) | Error::Store(_));
        let unknown_field = unknown_field(&error);
        let Refused { text, help } = refused(&session, error);
        let failure = match unknown_field {
            Some(text) => Failure::Message(text),
            None if is_told_alone => failed(text),
            None => failed(format!("updating existing resource: {text}")),
        };
        let help = help.map(|help| format!("{id}: {help}")).unwrap_or_default();
        return Err(failure.and(&help).and(&no_effect));
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
