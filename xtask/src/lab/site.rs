//! What a lab consists of and where its things are; every process of it reads this from the lab's folder.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::cgroups::Hierarchy;

/// The bridge, at which the nodes reach the API server and the images.
pub const BRIDGE: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 1);
/// As many as there are node names worth typing; the addresses allow for it.
pub const MOST_NODES: u8 = 64;
/// The host part of the first node's addresses.
const FIRST_HOST: u8 = 10;

/// What gives pods their network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Cni {
    /// Debian's ptp with host-local: a /24 of 10.244.0.0/16 for each node.
    #[default]
    Ptp,
    /// rackpool's own calico and calico-ipam, with Kubernetes as the datastore.
    Calico,
}

/// What is asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LabOptions {
    /// The nodes' names.
    pub nodes: Vec<String>,
    /// Their network plugin.
    pub cni: Cni,
    /// The folder of rackpool's programs. What is in the lab finds them on its path; the nodes get the
    /// plugins of [`Cni::Calico`] from it.
    pub programs: Option<PathBuf>,
}

/// A lab.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Site {
    /// All that it keeps; goes with it.
    pub folder: PathBuf,
    /// What was asked for.
    pub options: LabOptions,
    /// The folder of Kubernetes' programs.
    pub kubernetes: PathBuf,
    /// kubectl.
    pub kubectl: PathBuf,
    /// Its control group in each hierarchy.
    pub hierarchies: Vec<Hierarchy>,
}

impl Site {
    /// What the folder tells.
    pub fn read(folder: &Path) -> Result<Site> {
        let path = folder.join("lab.json");
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        serde_json::from_str(&text).with_context(|| path.display().to_string())
    }

    /// Tells it.
    pub fn write(&self) -> Result<()> {
        self.put("lab.json", &serde_json::to_string_pretty(self)?)
    }

    /// A file or folder of the lab's own.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// What every node has in that folder of the root, below what it has of its own.
    pub fn common(&self, folder: &str) -> PathBuf {
        self.path("common").join(folder)
    }

    /// Writes a file into the lab's folder.
    pub fn put(&self, name: &str, text: &str) -> Result<()> {
        let path = self.path(name);
        fs::write(&path, text).with_context(|| path.display().to_string())
    }

    /// This very program, as it was when the lab was started.
    pub fn program(&self) -> PathBuf {
        self.path("xtask")
    }

    /// The node of that name.
    pub fn node(&self, name: &str) -> Result<Node<'_>> {
        match self.nodes().find(|node| node.name == name) {
            Some(node) => Ok(node),
            None => bail!("there is no node {name}; the nodes are {}", self.options.nodes.join(", ")),
        }
    }

    /// All nodes.
    pub fn nodes(&self) -> impl Iterator<Item = Node<'_>> {
        let numbered = self.options.nodes.iter().zip(0..MOST_NODES);
        numbered.map(|(name, number)| Node { site: self, name, number })
    }

    /// The administrator's way to the API server.
    pub fn kubeconfig(&self) -> PathBuf {
        self.path("admin.kubeconfig")
    }

    /// kubectl as the administrator, for those who are in the cluster's network already.
    pub fn kubectl(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.kubectl);
        command.arg("--kubeconfig").arg(self.kubeconfig()).args(arguments);
        command.env("KUBECACHEDIR", self.path("kubectl")).stdin(Stdio::null());
        command
    }
}

/// One of a lab's nodes.
#[derive(Clone, Copy)]
pub struct Node<'a> {
    pub site: &'a Site,
    pub name: &'a str,
    pub number: u8,
}

impl Node<'_> {
    /// Its disk.
    pub fn folder(&self) -> PathBuf {
        self.site.path("nodes").join(self.name)
    }

    /// A file or folder on its disk.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// What it has of its own in that folder of the root, on its disk.
    pub fn disk(&self, folder: &str) -> PathBuf {
        self.path("disk").join(folder)
    }

    /// Its address.
    pub fn address(&self) -> Ipv4Addr {
        let [a, b, c, _] = BRIDGE.octets();
        Ipv4Addr::new(a, b, c, self.host())
    }

    /// Its other address.
    pub fn address_v6(&self) -> Ipv6Addr {
        Ipv6Addr::new(0xfd00, 0x172, 0x30, 0, 0, 0, 0, self.host().into())
    }

    /// The last octet of its addresses, and of that of its network card.
    pub fn host(&self) -> u8 {
        FIRST_HOST + self.number
    }
}

/// The last lines of a log.
pub fn tail(log: &Path) -> String {
    const LINES: usize = 15;
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

/// Runs a program to its end; what it said, or an error with all of its words.
pub fn run(command: &mut Command) -> Result<String> {
    let shown = shown(command);
    let out = command.output().with_context(|| format!("cannot start {shown}"))?;
    if !out.status.success() {
        bail!("{shown} failed ({}):\n{}", out.status, String::from_utf8_lossy(&out.stderr));
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// A command in one line.
pub fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
