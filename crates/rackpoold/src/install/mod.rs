//! The agent's files on its host: the plugins' programs, their configuration, their kubeconfig, and what the
//! plugins read from the agent.
//!
//! Every file is written beside its place and renamed, and a file that has its content already is left alone.
//! The network's configuration comes last: a container runtime that finds it begins to start containers. What
//! was written is noted ([`Notes`]), so that [`uninstall()`] takes back these files and no others.

mod conflist;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod door;
mod finding;
#[cfg(feature = "kubernetes")]
pub mod kubeconfig;
pub mod mark;
mod notes;
mod place;
mod programs;
mod renewal;
mod template;
#[cfg(test)]
mod tests;
mod uninstall;

use std::io::Read;
use std::path::{Path, PathBuf};

use setup::Environment;

pub use conflist::{Network, NoConflist, conflist};
pub use finding::Finding;
pub use notes::Notes;
pub use place::Failed;
pub use programs::{Selection, programs};
pub use renewal::Renewal;
pub use template::{Template, TemplateError};
pub use uninstall::{TakenBack, uninstall};

/// Where the agent's files are, as the agent sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The folders in which the container runtime looks for plugins; the programs go to each.
    pub programs: Vec<PathBuf>,
    /// The folder in which the container runtime looks for networks.
    pub networks: PathBuf,
    /// The same folder as the plugins see it, which run outside the agent's container.
    pub networks_outside: PathBuf,
    /// The file's name of the network's configuration.
    pub network: String,
    /// The file that says that the agent has made the node ready: see [`mark`].
    pub mark: PathBuf,
    /// The file with the packet size of containers' interfaces, for the plugin `calico`.
    pub mtu: PathBuf,
    /// The file's name of a network's configuration that this one replaces, in the same folder.
    pub former_network: Option<String>,
    /// The file with the node's name, for the plugins.
    pub node_name: PathBuf,
    /// The file of the notes.
    pub notes: PathBuf,
}

impl Default for Places {
    fn default() -> Self {
        Places {
            programs: vec!["/opt/cni/bin".into()],
            networks: "/etc/cni/net.d".into(),
            networks_outside: "/etc/cni/net.d".into(),
            network: NETWORK.to_string(),
            former_network: None,
            mark: setup::DEFAULT_AGENT_SYNC_FILE.into(),
            mtu: "/var/lib/calico/mtu".into(),
            node_name: setup::DEFAULT_NODENAME_FILE.into(),
            notes: "/var/lib/rackpool/installed.json".into(),
        }
    }
}

impl Places {
    /// The usual places, with what Calico's variables say: `CNI_CONF_NAME`, the file's name of the network's
    /// configuration; `CNI_OLD_CONF_NAME`, that of the one that it replaces, by default the usual name;
    /// `CNI_NET_DIR`, the folder of networks as the plugins see it.
    ///
    /// # Errors
    /// When `CNI_CONF_NAME` or `CNI_OLD_CONF_NAME` is no name of a file.
    pub fn of(environment: &Environment) -> Result<Places, InstallError> {
        let named = |variable: &'static str| match environment.get(variable) {
            Some(name) if name.contains('/') || name == "." || name == ".." => {
                Err(InstallError::NoFileName { variable, name: name.to_string() })
            }
            name => Ok(name.unwrap_or(NETWORK).to_string()),
        };
        let (network, former) = (named("CNI_CONF_NAME")?, named("CNI_OLD_CONF_NAME")?);
        let former_network = Some(former).filter(|former| *former != network);
        let mut places = Places { network, former_network, ..Places::default() };
        if let Some(folder) = environment.get("CNI_NET_DIR") {
            places.networks_outside = folder.into();
        }
        Ok(places)
    }

    /// The network's configuration.
    pub fn conflist(&self) -> PathBuf {
        self.networks.join(&self.network)
    }

    /// The plugins' kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.networks.join(KUBECONFIG)
    }

    /// The plugins' kubeconfig, as the plugins see it.
    pub fn kubeconfig_outside(&self) -> PathBuf {
        self.networks_outside.join(KUBECONFIG)
    }
}

const KUBECONFIG: &str = "calico-kubeconfig";
/// The usual file's name of the network's configuration.
const NETWORK: &str = "10-calico.conflist";

/// Why a file was not written or removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// The system refused it.
    #[error(transparent)]
    File(#[from] Failed),
    /// The notes are not what the agent writes. Without them nobody knows which files are the agent's.
    #[error(
        "{} does not hold what rackpoold notes of the files that it wrote: restore it, or remove it and the files that it named",
        .0.display()
    )]
    Notes(PathBuf),
    /// A variable gives a name that no file can have.
    #[error(
        "{variable} is {name:?}, which is no name of a file: set it to a name such as 10-calico.conflist"
    )]
    NoFileName {
        /// The variable.
        variable: &'static str,
        /// What it says.
        name: String,
    },
    /// A variable of yes or no says something else.
    #[error("UPDATE_CNI_BINARIES is {0:?}: set it to true or false")]
    NoYesOrNo(String),
    /// The folder from which programs are to be installed does not have one of them.
    #[error("cannot install the plugin {name}: {} does not exist: unpack rackpool's programs into one folder, and name that folder", .file.display())]
    NoProgram {
        /// The program's name.
        name: &'static str,
        /// Where it was looked for.
        file: PathBuf,
    },
    /// The network's configuration cannot be made.
    #[error(transparent)]
    Conflist(#[from] NoConflist),
}

/// Whether a file had to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It was there already, with the same content and rights.
    Same,
    /// It was written.
    New,
}

/// Writes the packet size of containers' interfaces for the plugin `calico`, which takes it where its
/// configuration says none.
///
/// # Errors
/// When the file cannot be written.
pub fn mtu(places: &Places, notes: &mut Notes, bytes: u32) -> Result<Written, InstallError> {
    put_text(notes, &places.mtu, 0o644, &format!("{bytes}\n"))
}

/// Writes the node's name for the plugins, as it is.
///
/// # Errors
/// When the file cannot be written.
pub fn node_name(places: &Places, notes: &mut Notes, name: &str) -> Result<Written, InstallError> {
    put_text(notes, &places.node_name, 0o644, name)
}

/// Puts a text in its place, unless it is there.
fn put_text(notes: &mut Notes, file: &Path, mode: u32, text: &str) -> Result<Written, InstallError> {
    put(notes, file, mode, &notes::sum_of(text.as_bytes()), &mut text.as_bytes())
}

/// Puts a content with this check sum in its place, unless it is there. A file that is there and that the
/// agent did not write stays another's, even if it is equal.
fn put(
    notes: &mut Notes,
    file: &Path,
    mode: u32,
    sum: &str,
    content: &mut dyn Read,
) -> Result<Written, InstallError> {
    let present = notes::sum_of_file(file)?;
    if present.as_deref() == Some(sum) && place::mode(file)? == mode {
        return Ok(Written::Same);
    }
    if let Some(folder) = file.parent() {
        place::make_folder(folder)?;
    }
    notes.intend(file, present.as_deref(), sum)?;
    place::replace(file, mode, content)?;
    Ok(Written::New)
}
