//! The commands: one file a verb.

pub mod apply;
pub mod completion;
pub mod create;
pub mod datastore;
pub mod delete;
pub mod explain;
pub mod get;
pub mod ipam;
pub mod label;
pub mod later;
pub mod patch;
pub mod replace;
mod resource_set;
pub mod routes;
pub mod validate;
pub mod version;

use clap::Subcommand;

use crate::Context;
use crate::failure::Failure;

/// A command.
#[derive(Debug, Subcommand)]
#[allow(missing_docs, reason = "the documentation of the argument types is the help text")]
pub enum Verb {
    Create(create::Args),
    Apply(apply::Args),
    Replace(replace::Args),
    Patch(patch::Args),
    Delete(delete::Args),
    Get(get::Args),
    Label(label::Args),
    Validate(validate::Args),
    Ipam(ipam::Args),
    Routes(routes::Args),
    Datastore(datastore::Args),
    Version(version::Args),
    Explain(explain::Args),
    Completion(completion::Args),
    Node(later::NodeArgs),
    Cluster(later::ClusterArgs),
}

/// Runs a command.
///
/// # Errors
/// Why the command failed.
pub fn run(verb: Verb, mut context: Context<'_>) -> Result<(), Failure> {
    match verb {
        Verb::Create(args) => create::run(&args, &mut context),
        Verb::Apply(args) => apply::run(&args, &mut context),
        Verb::Replace(args) => replace::run(&args, &mut context),
        Verb::Patch(args) => patch::run(&args, &mut context),
        Verb::Delete(args) => delete::run(&args, &mut context),
        Verb::Get(args) => get::run(&args, &mut context),
        Verb::Label(args) => label::run(&args, &mut context),
        Verb::Validate(args) => validate::run(&args, &mut context),
        Verb::Ipam(args) => ipam::run(args, &mut context),
        Verb::Routes(args) => routes::run(args, &mut context),
        Verb::Datastore(args) => datastore::run(args, &mut context),
        Verb::Version(args) => version::run(&args, &mut context),
        Verb::Explain(args) => explain::run(&args, &mut context),
        Verb::Completion(args) => completion::run(&args, &mut context),
        Verb::Node(args) => later::node(&args),
        Verb::Cluster(args) => later::cluster(&args),
    }
}

/// Warns that arguments were ignored. Calico does not say so.
fn warn_ignored(context: &mut Context<'_>, extra: &[String]) -> Result<(), Failure> {
    if !extra.is_empty() {
        writeln!(context.stderr, "ignored: {}", extra.join(" "))?;
    }
    Ok(())
}
