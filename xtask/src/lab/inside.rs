//! The hidden commands that the lab's own processes run.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};

use super::site::Site;
use super::{cgroups, figures, node, pid1, steward, supervisor};

/// Arguments of a hidden command.
#[derive(Args)]
pub struct Inside {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Runs the supervisor, which owns a lab.
    Supervise {
        /// The lab's options, as JSON.
        options: String,
    },
    /// Enters one of the lab's control groups, and then becomes another program.
    Enter {
        folder: PathBuf,
        #[arg(long)]
        group: String,
        #[arg(last = true)]
        command: Vec<String>,
    },
    /// Runs the first process of a namespace.
    First {
        #[arg(last = true)]
        command: Vec<String>,
    },
    /// Runs the steward, which starts the cluster and serves it.
    Steward { folder: PathBuf },
    /// Measures the plugins of the node on which it runs, and prints the figures as JSON.
    Measure { rounds: usize },
    /// Runs a node.
    Node { folder: PathBuf, name: String },
}

impl Inside {
    /// Runs the chosen command.
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
