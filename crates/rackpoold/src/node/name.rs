//! The node's name, and whether the Node of that name is this machine's.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hmac::{Hmac, Mac};
use host::Interface;
use setup::{DEFAULT_NODENAME_FILE, Environment, NodeNameError, node_name};
use sha2::Sha256;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The variable that names the file of the node's name.
const FILE: &str = "CALICO_NODENAME_FILE";
/// The file that tells which machine this is (machine-id(5)).
pub const MACHINE_ID: &str = "/etc/machine-id";
/// The annotation of a Node that tells which machine has the name.
pub const MACHINE_ANNOTATION: &str = "rackpool.io/machine-id";
/// What a machine's ID is hashed with, as machine-id(5) asks: the ID itself must not become known. It must
/// never change: all Nodes would be other machines' then.
const APPLICATION: &[u8] = b"rackpool.io/machine-id";

/// Why the node cannot have its name.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// There is no name.
    #[error(transparent)]
    None(#[from] NodeNameError),
    /// The file that tells which machine this is cannot be read.
    #[error("cannot read which machine this is from {path}: {error}")]
    Machine {
        /// The file.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// Another machine that is alive has the name.
    #[error(
        "another machine is Node({name}): {evidence}. Two machines of one name would have the same tunnel addresses. Give this machine another name: by NODENAME, or remove {file}, which may be a copy of the other machine's, and set another host name. If the other machine is to have no part in this, stop it; if it is gone and somebody else has its address now, remove the annotation {MACHINE_ANNOTATION} of the Node"
    )]
    Taken {
        /// The name.
        name: String,
        /// How it is known.
        evidence: String,
        /// The file of the node's name.
        file: String,
    },
}

/// The file of the node's name.
pub fn name_file(environment: &Environment) -> PathBuf {
    environment.get(FILE).unwrap_or(DEFAULT_NODENAME_FILE).into()
}

/// The node's name, the first of these that is not empty: `NODENAME`; the content of the file that
/// [`name_file`] names; `HOSTNAME` in lower case; the host's name in lower case.
///
/// # Errors
/// [`NameError::None`].
pub fn name(environment: &Environment) -> Result<String, NameError> {
    let hostname = environment.get("HOSTNAME").map(|name| name.trim().to_lowercase());
    let given = environment.get("NODENAME").map(str::trim);
    Ok(node_name(given, environment.get(FILE), hostname.as_deref())?)
}

/// A machine's identity: a hash of its ID, from which the ID cannot be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineId(String);

impl MachineId {
    /// The identity of the machine with that ID; `None` for a text that is no ID, such as `uninitialized`.
    pub fn of(id: &str) -> Option<MachineId> {
        let id = id.trim();
        if id.len() != 32 || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let mut hash = Hmac::<Sha256>::new_from_slice(APPLICATION).ok()?;
        hash.update(id.to_ascii_lowercase().as_bytes());
        let half = &hash.finalize().into_bytes()[..16];
        Some(MachineId(half.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// This machine's identity, from a file such as [`MACHINE_ID`]. `None` where the file does not exist or
    /// holds no ID yet.
    ///
    /// # Errors
    /// [`NameError::Machine`].
    pub fn read(path: &Path) -> Result<Option<MachineId>, NameError> {
        match outside::read_text(path, 4096) {
            Ok(text) => Ok(MachineId::of(&text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(NameError::Machine { path: path.to_path_buf(), error }),
        }
    }

    /// The identity as a Node's annotation holds it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a Node says of the machine that has its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holder {
    /// The identity that the machine's agent has noted.
    pub noted: Option<String>,
    /// The ID of the machine whose kubelet serves the Node, as that kubelet reports it.
    pub kubelet: Option<String>,
    /// The addresses of the machine.
    pub addresses: Vec<IpAddr>,
}

/// Whose a Node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// This machine's, or nobody's.
    Ours,
    /// Another machine's, which may be gone. Whether it is alive tells whether it answers at one of these
    /// addresses.
    Anothers(Vec<IpAddr>),
}

/// Judges whose a Node is, from what the Node says. One word for this machine is enough: on a machine that
/// was installed anew the kubelet is this machine's already, and the agent's note is of old.
pub fn whose(own: Option<&MachineId>, holder: &Holder, interfaces: &[Interface]) -> Whose {
    let Some(own) = own else { return Whose::Ours };
    let of_kubelet = holder.kubelet.as_deref().and_then(MachineId::of);
    let words: Vec<&str> =
        holder.noted.as_deref().into_iter().chain(of_kubelet.as_ref().map(MachineId::as_str)).collect();
    if words.is_empty() || words.contains(&own.as_str()) {
        return Whose::Ours;
    }
    let is_here = |addr: &IpAddr| {
        interfaces.iter().any(|interface| interface.addresses.iter().any(|own| own.net.addr() == *addr))
    };
    // An address of this machine's would answer, whatever has become of the other one.
    Whose::Anothers(holder.addresses.iter().copied().filter(|addr| !is_here(addr)).collect())
}

/// Ports of which one is open or refused on nearly every machine: SSH, kubelet, discard.
const KNOCK: [u16; 3] = [22, 10250, 9];

/// The first of these addresses at which a machine is alive: one that accepts or refuses a connection. A
/// machine whose firewall drops everything counts as gone.
pub async fn first_alive(addresses: &[IpAddr], within: Duration) -> Option<IpAddr> {
    for addr in addresses {
        for port in KNOCK {
            let is_alive = match timeout(within, TcpStream::connect((*addr, port))).await {
                Ok(Ok(_)) => true,
                Ok(Err(error)) => error.kind() == io::ErrorKind::ConnectionRefused,
                Err(_) => false,
            };
            if is_alive {
                return Some(*addr);
            }
        }
    }
    None
}

/// Refuses a name that another machine has, if that machine is alive.
///
/// # Errors
/// [`NameError::Taken`].
pub async fn refuse_taken(
    name: &str,
    own: Option<&MachineId>,
    holder: &Holder,
    interfaces: &[Interface],
    name_file: &str,
) -> Result<(), NameError> {
    let Whose::Anothers(addresses) = whose(own, holder, interfaces) else { return Ok(()) };
    match first_alive(&addresses, Duration::from_secs(1)).await {
        None => {
            tracing::info!(
                node = name,
                ?addresses,
                "the machine that had this node's name does not answer: this one takes its place"
            );
            Ok(())
        }
        Some(addr) => Err(NameError::Taken {
            name: name.to_string(),
            evidence: format!(
                "it answers at {addr}, and its identity is not this machine's (annotation {MACHINE_ANNOTATION}, or on Kubernetes status.nodeInfo.machineID)"
            ),
            file: name_file.to_string(),
        }),
    }
}
