//! What a lab consists of, and where its files are. Every process of the lab reads this from the lab's
//! folder.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::cgroups::Hierarchy;

/// The address of the bridge. The nodes reach the API server and the registry there.
pub const BRIDGE: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 1);
/// The largest number of nodes. The addresses allow for that many.
pub const MOST_NODES: u8 = 64;
/// The last octet of the first node's addresses.
const FIRST_HOST: u8 = 10;

/// The plugin that gives pods their network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Cni {
    /// Debian's ptp with host-local: a /24 of 10.244.0.0/16 for each node.
    #[default]
    Ptp,
    /// rackpool's own, which its chart brings when it is installed.
    Calico,
}

/// A distribution of Kubernetes, or a system for it, whose folders of plugins and networks the nodes have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Platform {
    /// Flatcar: the usual folders.
    Flatcar,
    /// k3s.
    K3s,
    /// RKE2: the usual folders.
    Rke2,
    /// MicroK8s.
    Microk8s,
}

impl Platform {
    /// The chart's value for it, as helm's `--set` takes it.
    pub fn setting(self) -> &'static str {
        match self {
            Platform::Flatcar => "platform=flatcar",
            Platform::K3s => "platform=k3s",
            Platform::Rke2 => "platform=rke2",
            Platform::Microk8s => "platform=microk8s",
        }
    }
}

/// The folders in which a container runtime looks for plugins and for networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Folders {
    /// That of the plugins.
    pub plugins: &'static str,
    /// That of the networks.
    pub networks: &'static str,
}

/// The options with which a lab is started.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LabOptions {
    /// The nodes' names.
    pub nodes: Vec<String>,
    /// The nodes' network plugin.
    pub cni: Cni,
    /// Whose folders of plugins and networks the nodes have; `None` for the usual ones.
    pub platform: Option<Platform>,
    /// The folder of rackpool's programs. It is on the path of commands in the lab, and with [`Cni::Calico`]
    /// the images in the registry are made of them.
    pub programs: Option<PathBuf>,
    /// Whether the API server writes an audit log. Requests cost more then.
    pub is_audited: bool,
}

/// A lab: its folder, its options, and the programs that it uses.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Site {
    /// The folder with all files of the lab; it is removed with the lab.
    pub folder: PathBuf,
    /// The options with which the lab was started.
    pub options: LabOptions,
    /// The folder of Kubernetes' programs.
    pub kubernetes: PathBuf,
    /// The path of kubectl.
    pub kubectl: PathBuf,
    /// The lab's control group in each hierarchy.
    pub hierarchies: Vec<Hierarchy>,
}

impl Site {
    /// Reads the lab's description from its folder.
    pub fn read(folder: &Path) -> Result<Site> {
        let path = folder.join("lab.json");
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        serde_json::from_str(&text).with_context(|| path.display().to_string())
    }

    /// Writes the lab's description into its folder.
    pub fn write(&self) -> Result<()> {
        self.put("lab.json", &serde_json::to_string_pretty(self)?)
    }

    /// The path of a file or folder in the lab's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The folder that every node sees as `folder` of its root, below the files of the node's own disk.
    pub fn common(&self, folder: &str) -> PathBuf {
        self.path("common").join(folder)
    }

    /// Writes a file into the lab's folder.
    pub fn put(&self, name: &str, text: &str) -> Result<()> {
        let path = self.path(name);
        fs::write(&path, text).with_context(|| path.display().to_string())
    }

    /// The folders in which the nodes' containerd looks.
    pub fn folders(&self) -> Folders {
        let (plugins, networks) = match self.options.platform {
            None | Some(Platform::Flatcar | Platform::Rke2) => ("/opt/cni/bin", "/etc/cni/net.d"),
            Some(Platform::K3s) => {
                ("/var/lib/rancher/k3s/data/cni", "/var/lib/rancher/k3s/agent/etc/cni/net.d")
            }
            Some(Platform::Microk8s) => {
                ("/var/snap/microk8s/current/opt/cni/bin", "/var/snap/microk8s/current/args/cni-network")
            }
        };
        Folders { plugins, networks }
    }

    /// The path of this program, as it was when the lab was started.
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

    /// The path of the administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.path("admin.kubeconfig")
    }

    /// A kubectl command as the administrator, for processes that are in the cluster's network already.
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
    /// The folder of the node's disk.
    pub fn folder(&self) -> PathBuf {
        self.site.path("nodes").join(self.name)
    }

    /// The path of a file or folder on the node's disk.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// The part of the node's disk that is mounted over `folder` of its root.
    pub fn disk(&self, folder: &str) -> PathBuf {
        self.path("disk").join(folder)
    }

    /// The node's IPv4 address.
    pub fn address(&self) -> Ipv4Addr {
        let [a, b, c, _] = BRIDGE.octets();
        Ipv4Addr::new(a, b, c, self.host())
    }

    /// The node's IPv6 address.
    pub fn address_v6(&self) -> Ipv6Addr {
        Ipv6Addr::new(0xfd00, 0x172, 0x30, 0, 0, 0, 0, self.host().into())
    }

    /// The last octet of the node's addresses, and of its network card's hardware address.
    pub fn host(&self) -> u8 {
        FIRST_HOST + self.number
    }
}

/// The last lines of a log file.
pub fn tail(log: &Path) -> String {
    const LINES: usize = 15;
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

/// Runs a program to its end. Gives its output, or an error with all that it has written.
pub fn run(command: &mut Command) -> Result<String> {
    let shown = shown(command);
    let out = command.output().with_context(|| format!("cannot start {shown}"))?;
    if !out.status.success() {
        bail!("{shown} failed ({}):\n{}", out.status, String::from_utf8_lossy(&out.stderr));
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// A command in one line, for messages.
pub fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
