//! `calicoctl label`: changes one label of one resource.

use resources::label::{LabelChange, LabelRefusal};
use resources::{Error, Identifier, Labelled};

use super::resource_set::{Access, SessionError};
use super::warn_ignored;
use crate::Context;
use crate::cli::{self, Config};
use crate::failure::Failure;
use crate::manifest::{self, Namespaces};

const EXAMPLES: &str = "\
Examples:
  calicoctl label node kube-node-0 rack=0
  calicoctl label node kube-node-0 rack=1 --overwrite
  calicoctl label node kube-node-0 rack --remove";

/// Set or remove a label of a resource.
///
/// Labels are what selectors look at: a pool with nodeSelector `rack == "0"` is for the nodes with the label
/// rack=0. See `calicoctl explain selectors`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Replace the value of a label that is there
    #[arg(long)]
    overwrite: bool,
    /// Remove the label
    #[arg(long)]
    remove: bool,
    /// The namespace, for kinds that have one
    #[arg(short = 'n', long, value_name = "NAME")]
    namespace: Option<String>,
    #[command(flatten)]
    config: Config,
    /// Kind, name, and KEY=VALUE or, to remove it, KEY
    #[arg(value_name = "KIND NAME LABEL")]
    words: Vec<String>,
}

pub(super) fn run(args: &Args, context: &mut Context<'_>) -> Result<(), Failure> {
    cli::at_least(3, &args.words).map_err(Failure::Message)?;
    let [kind, name, label] = [0, 1, 2].map(|at| args.words[at].as_str());
    let on = format!("{kind} {name}");
    let change = match (args.remove, label.split_once('=')) {
        (true, _) => LabelChange::Remove { key: label.to_string() },
        (false, Some((key, value))) => {
            LabelChange::Set { key: key.to_string(), value: value.to_string(), overwrite: args.overwrite }
        }
        (false, None) => return Err(Failure::in_calico_words(format!("invalid label {label}"))),
    };
    let cannot_get = |text: String| Failure::in_calico_words(format!("failed to get {on}, error {text}"));
    let access = match Access::begin(args.config.config.as_deref(), context) {
        Ok(access) => access,
        Err(SessionError::Version(text)) => return Err(cannot_get(text)),
        Err(error) => return Err(error.into()),
    };
    let resources = manifest::resources_named(kind, &[name.to_string()]).map_err(cannot_get)?;
    let session = access.session()?;
    let not_found = || Failure::in_calico_words(format!("{on} not found"));
    let client = session.client();
    let namespaces = Namespaces { namespace: args.namespace.as_deref(), all: false };
    let Some(resource) = resources.first() else { return Err(not_found()) };
    let id = Identifier::of(&namespaces.place(resource).map_err(|_| not_found())?);
    let key = match &change {
        LabelChange::Set { key, .. } | LabelChange::Remove { key } => key.clone(),
    };
    match session.wait(client.label(&id, &change)) {
        Ok(Ok(Labelled::Set)) => writeln!(context.stdout, "Successfully set label {key} on {on}")?,
        Ok(Ok(Labelled::Updated)) => writeln!(context.stdout, "Successfully updated label {key} on {on}")?,
        Ok(Ok(Labelled::Removed)) => {
            writeln!(context.stdout, "Successfully removed label {key} from {on}")?;
        }
        Ok(Err(LabelRefusal::Present)) => {
            return Err(Failure::in_calico_words(format!(
                "failed to update label of {on}, key {key} is already present. please use '--overwrite' to set a new value"
            )));
        }
        Ok(Err(LabelRefusal::Missing)) => {
            return Err(Failure::in_calico_words(format!(
                "cannot remove label of {on}, key {key} does not exist"
            )));
        }
        Err(Error::DoesNotExist(..)) => return Err(not_found().and(&session.wait(client.like(&id)))),
        Err(error @ Error::Store(_)) => return Err(cannot_get(error.to_string())),
        Err(error) => {
            let failure = Failure::in_calico_words(format!("failed to update {on}, label not changed"));
            return Err(failure.and(&error.to_string()).and(&error.help().unwrap_or_default()));
        }
    }
    warn_ignored(context, &args.words[3..])
}
