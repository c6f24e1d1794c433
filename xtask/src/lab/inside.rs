//! The lab's own processes: what the supervisor's tree is made of.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};

use super::site::Site;
use super::{cgroups, figures, node, pid1, steward, supervisor};

/// Arguments of the lab's own processes.
#[derive(Args)]
pub struct Inside {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Owns the lab.
    Supervise {
        /// The lab's options, in JSON.
        options: String,
    },
    /// Goes on as another program in one of the lab's control groups.
    Enter {
        folder: PathBuf,
        #[arg(long)]
        group: String,
        #[arg(last = true)]
        command: Vec<String>,
    },
    /// The first process of a namespace.
    First {
        #[arg(last = true)]
        command: Vec<String>,
    },
    /// Starts and serves the cluster.
    Steward { folder: PathBuf },
    /// On a node: measures its plugins, and says so in JSON.
    Measure { rounds: usize },
    /// A node.
    Node { folder: PathBuf, name: String },
}

impl Inside {
    /// Is that process.
    pub fn run(self) -> Result<()> {
        match self.role {
            Role::Supervise { options } => {
                supervisor::supervise(serde_json::from_str(&options).context("the lab's options")?)
            }
            Role::Enter { folder, group, command } => {
                cgroups::enter(&Site::read(&folder)?.hierarchies, &group)?;
                let (program, arguments) = command.split_first().context("a program to go on as")?;
                Err(Command::new(program).args(arguments).exec()).with_context(|| program.clone())
            }
            Role::First { command } => pid1::run(&command),
            Role::Steward { folder } => steward::run_cluster(&Site::read(&folder)?),
            Role::Measure { rounds } => figures::measure_here(rounds),
            Role::Node { folder, name } => node::run(Site::read(&folder)?.node(&name)?),
        }
    }
}
