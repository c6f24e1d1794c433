//! `calicoctl explain`: prints the reference pages that the program carries.

use crate::Context;
use crate::cli;
use crate::failure::Failure;

/// Explain something at length. Topics: selectors.
///
/// `calicoctl explain selectors` is the reference of the language in which pools say which nodes and
/// namespaces they are for.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The topic
    #[arg(value_name = "TOPIC")]
    words: Vec<String>,
}

pub(super) fn run(args: &Args, context: &mut Context<'_>) -> Result<(), Failure> {
    cli::exactly(1, &args.words).map_err(Failure::Message)?;
    match args.words[0].as_str() {
        "selector" | "selectors" => Ok(writeln!(context.stdout, "{}", selector::REFERENCE.trim_end())?),
        other => Err(Failure::Message(format!("nothing is known of '{other}'; topics: selectors"))),
    }
}
