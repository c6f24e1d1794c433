//! A whole cluster on this machine, with nothing in it mocked: a control plane, and nodes that are each a
//! real kubelet with its own containerd, runc and network plugins, in namespaces of their own, joined by a
//! bridge. `up` leaves one running, `down` ends it.
//!
//! [`supervisor`] tells which processes there are, and how it comes that nothing is left behind.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};

use xtask::cargo::{build_programs, target_dir};

mod cgroups;
mod cni;
mod control_plane;
mod figures;
mod handle;
mod image;
mod inside;
mod install;
mod network;
mod node;
mod pid1;
mod proxy;
mod requirements;
mod said;
mod site;
mod steward;
mod supervisor;

pub use figures::measure;
pub use handle::Lab;
#[cfg(test)]
pub use image::BUSYBOX;
pub use install::{CHART, PRESENT};
pub use requirements::{can_be_had, provide as prepare};
pub use site::{Cni, LabOptions, Platform};
pub use supervisor::remove_groups;

/// The programs of Kubernetes that a lab needs.
const KUBERNETES: [&str; 5] =
    ["kube-apiserver", "kube-scheduler", "kube-controller-manager", "kubelet", "kube-proxy"];
const NONE: &str = "no lab is running; start one: cargo xtask lab up";

/// Arguments of `cargo xtask lab`.
#[derive(Args)]
pub struct LabArguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Starts a lab, waits until all nodes are ready, and leaves it running. Needs root; the first time this
    /// builds Kubernetes, which takes minutes.
    Up(Up),
    /// Ends the lab, and removes all that it has made.
    Down,
    /// Installs and builds what `up` needs, and starts nothing.
    Prepare,
    /// Runs a shell, or a command, inside of the cluster, with kubectl as the administrator and the folder of
    /// `up --programs` on the path.
    Shell(Shell),
    /// Cuts the power of a node and boots it again, on the same disk.
    Restart {
        /// The node's name.
        node: String,
    },
    /// Runs one of the lab's own processes.
    #[command(hide = true)]
    Inside(inside::Inside),
}

#[derive(Args)]
struct Up {
    /// The number of nodes; they are named kube-node-0 and so on.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=i64::from(site::MOST_NODES)))]
    nodes: u8,
    /// The nodes' network plugin.
    #[arg(long, value_enum, default_value_t)]
    cni: Cni,
    /// Give the nodes the folders in which this distribution looks for plugins and networks.
    #[arg(long, value_enum)]
    platform: Option<Platform>,
    /// The folder of rackpool's programs. Without this argument, --cni calico builds them from this tree.
    #[arg(long)]
    programs: Option<PathBuf>,
    /// Do not install rackpool: its images are in the registry, and the nodes wait for their network.
    #[arg(long)]
    bare: bool,
}

#[derive(Args)]
struct Shell {
    /// The node to run on; without this argument, beside the nodes.
    #[arg(long)]
    node: Option<String>,
    /// The command to run; a shell if none is given.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

impl LabArguments {
    /// Runs the chosen verb.
    pub fn run(self) -> Result<()> {
        match self.verb {
            Verb::Up(up) => up.run(),
            Verb::Down => down(),
            Verb::Prepare => requirements::provide(),
            Verb::Shell(shell) => shell.run(),
            Verb::Restart { node } => restart(&node),
            Verb::Inside(inside) => inside.run(),
        }
    }
}

impl Up {
    fn run(self) -> Result<()> {
        if running().is_ok() {
            bail!("a lab is running already; end it: cargo xtask lab down");
        }
        remove_leftovers()?;
        let programs = match (self.programs, self.cni) {
            (Some(dir), _) => Some(fs::canonicalize(&dir).with_context(|| dir.display().to_string())?),
            (None, Cni::Calico) => Some(build_programs()?),
            (None, Cni::Ptp) => None,
        };
        let nodes = (0..self.nodes).map(|number| format!("kube-node-{number}")).collect();
        let start = now();
        let tell = |text: &str| println!("{:6.1} s  {text}", start.elapsed().as_secs_f64());
        let options =
            LabOptions { nodes, cni: self.cni, platform: self.platform, programs, is_audited: false };
        let lab = Lab::up(&options, tell)?;
        if self.cni == Cni::Calico && !self.bare {
            tell("installing rackpool by helm, without a pool");
            lab.install(&["--set", "defaultPool.enabled=false", "--set", "node.acceptLoss={bgp}"])?;
        }
        println!(
            "{} nodes ready after {:.1} s, with {:.2} GB of memory in all",
            lab.nodes().len(),
            start.elapsed().as_secs_f64(),
            lab.memory()? as f64 / 1e9
        );
        let file = file()?;
        fs::create_dir_all(file.parent().context("it is in a folder")?)?;
        fs::write(&file, lab.folder().display().to_string())?;
        println!(
            "to use it: cargo xtask lab shell -- kubectl get pods; logs: {}; to end it: cargo xtask lab down",
            lab.folder().display()
        );
        lab.leave_running()
    }
}

fn down() -> Result<()> {
    let Ok(lab) = running() else {
        println!("no lab is running");
        return remove_leftovers();
    };
    println!("ending {} nodes", lab.nodes().len());
    lab.down()?;
    remove_leftovers()
}

impl Shell {
    fn run(self) -> Result<()> {
        let lab = running()?;
        let shell = ["sh", "-c", "exec \"${SHELL:-/bin/sh}\""].map(str::to_string).to_vec();
        let words = if self.command.is_empty() { shell } else { self.command };
        let (program, arguments) = words.split_first().context("a command")?;
        let mut command = match &self.node {
            Some(node) => lab.on_node(node, program)?,
            None => lab.command(program)?,
        };
        Err(command.args(arguments).exec()).context("nsenter")
    }
}

fn restart(node: &str) -> Result<()> {
    let (lab, start) = (running()?, now());
    println!("cutting the power of {node}");
    lab.restart_node(node)?;
    println!("the kubelet of {node} answers after {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// The lab that was left running. There is at most one for each target folder.
fn running() -> Result<Lab> {
    let folder = fs::read_to_string(file()?).context(NONE)?;
    Lab::find(folder.as_ref()).context(NONE)
}

/// Removes what a lab has left behind whose supervisor and sweeper were both killed.
fn remove_leftovers() -> Result<()> {
    let file = file()?;
    if let Ok(folder) = fs::read_to_string(&file) {
        if Path::new(&folder).exists() {
            println!("removing what a lab has left that was killed");
        }
        supervisor::sweep(folder.as_ref())?;
        fs::remove_file(&file).with_context(|| file.display().to_string())?;
    }
    Ok(())
}

/// The path of the file that holds the folder of the lab that was left running.
fn file() -> Result<PathBuf> {
    Ok(target_dir()?.join("lab/folder"))
}

#[allow(clippy::disallowed_methods, reason = "tells the developer how long it takes")]
fn now() -> Instant {
    Instant::now()
}
