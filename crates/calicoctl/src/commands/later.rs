//! Commands of Calico that this program does not have: each says so, and fails.

use crate::failure::Failure;

/// Calico's agent on this machine; not part of this program.
///
/// Calico's own calicoctl has these commands (run, status, diags, checksystem).
#[derive(Debug, clap::Args)]
pub struct NodeArgs {
    #[arg(value_name = "COMMAND")]
    words: Vec<String>,
}

/// Diagnostics of a cluster; not part of this program.
///
/// Calico's own calicoctl has this command (diags).
#[derive(Debug, clap::Args)]
pub struct ClusterArgs {
    #[arg(value_name = "COMMAND")]
    words: Vec<String>,
}

pub(super) fn node(args: &NodeArgs) -> Result<(), Failure> {
    elsewhere("node", &args.words)
}

pub(super) fn cluster(args: &ClusterArgs) -> Result<(), Failure> {
    elsewhere("cluster", &args.words)
}

fn elsewhere(group: &str, words: &[String]) -> Result<(), Failure> {
    let command =
        std::iter::once(group).chain(words.first().map(String::as_str)).collect::<Vec<_>>().join(" ");
    Err(Failure::Message(format!(
        "`calicoctl {command}` is not part of this program: use Calico's own calicoctl for it"
    )))
}
