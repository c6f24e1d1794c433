//! The agent of a node.

mod agent;
pub mod condition;
pub mod detect;
mod duties;
pub mod feed;
mod files;
pub mod finding;
mod host_commands;
pub mod introduce;
pub mod name;
mod pass;
mod plain_host;
mod plan;
pub mod record;
mod start;
mod status;
mod token_file;
mod told;
pub mod tunnels;
pub mod world;

use std::io::Write;
use std::process::ExitCode;

pub use plan::Shape;
use setup::Environment;
pub(crate) use start::{Opened, open};

use crate::cli::{Node, NodeCommand};

/// Why the command ended without doing what was asked for.
pub type Failure = Box<dyn std::error::Error>;

/// Runs `rackpoold node` and its commands.
///
/// # Errors
/// Whatever keeps the command from its work; the texts say what helps.
pub fn run(args: &Node, environment: &Environment, out: &mut impl Write) -> Result<ExitCode, Failure> {
    crate::log::begin(args.log, &args.log_level)?;
    let runtime = setup::full_runtime()?;
    match &args.command {
        None => runtime.block_on(start::agent(args, environment)).map(|()| ExitCode::SUCCESS),
        Some(NodeCommand::Status { output }) => {
            runtime.block_on(status::status(args, environment, output.as_deref() == Some("json"), out))
        }
        Some(NodeCommand::Ready) => host_commands::ready(args, environment, out),
        Some(NodeCommand::Sysctl) => runtime.block_on(host_commands::sysctl(args, out)),
        Some(NodeCommand::TakeOver) => runtime.block_on(host_commands::take_over(args, environment, out)),
        Some(NodeCommand::Uninstall) => runtime.block_on(host_commands::uninstall(args, environment, out)),
    }
}
