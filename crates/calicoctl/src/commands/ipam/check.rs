//! `calicoctl ipam check`: the options of the original; the command itself is not available yet.

use crate::cli::Config;
use crate::commands::later::not_yet;
use crate::failure::Failure;

/// Look for addresses that leaked, and other inconsistencies (not available yet).
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Tell of all addresses
    #[arg(long)]
    show_all_ips: bool,
    /// Tell of the addresses that have a problem
    #[arg(long)]
    show_problem_ips: bool,
    /// Write a report to this file
    #[arg(short = 'o', long, value_name = "FILE")]
    output: Option<String>,
    /// The kubeconfig with which services are looked up
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<String>,
    #[command(flatten)]
    config: Config,
    #[arg(hide = true)]
    words: Vec<String>,
}

pub(super) fn run(_: &Args) -> Result<(), Failure> {
    Err(not_yet("ipam check"))
}
