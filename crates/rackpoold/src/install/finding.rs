//! What keeps containers of this host from their whole network, told by a condition of the node.

use std::fmt;
use std::path::PathBuf;

/// What is missing or wrong on this host, though the agent's own files are in their places.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// No folder of plugins has `loopback`, without which a container runtime starts no container.
    NoLoopback {
        /// The folders.
        folders: Vec<PathBuf>,
    },
    /// `portmap` cannot be used, so it was left out of the network, and host ports of containers do not work.
    NoPortmap {
        /// Why it cannot be used.
        reason: String,
    },
    /// Another network comes before the agent's, and the container runtime takes the first.
    Hidden {
        /// The configuration of that network.
        by: PathBuf,
    },
    /// The configuration that was given lets containers start before the agent has made the node ready.
    NoAgentSync,
}

impl Finding {
    /// The finding in one word, which does not change between releases.
    pub fn word(&self) -> &'static str {
        match self {
            Finding::NoLoopback { .. } => "no-loopback",
            Finding::NoPortmap { .. } => "no-portmap",
            Finding::Hidden { .. } => "network-hidden",
            Finding::NoAgentSync => "no-agent-sync",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const REMEDY: &str = "install the CNI reference plugins (Debian's package containernetworking-plugins, or github.com/containernetworking/plugins)";
        match self {
            Finding::NoLoopback { folders } => {
                let folders: Vec<String> =
                    folders.iter().map(|folder| folder.display().to_string()).collect();
                write!(
                    f,
                    "the plugin loopback is not in {}, and no container starts: {REMEDY}",
                    folders.join(", ")
                )
            }
            Finding::NoPortmap { reason } => {
                write!(f, "the plugin portmap is left out, and host ports do not work: {reason}: {REMEDY}")
            }
            Finding::Hidden { by } => write!(
                f,
                "the container runtime takes the network of {}, which comes before the agent's: remove that file, or give the agent's an earlier name by CNI_CONF_NAME",
                by.display()
            ),
            Finding::NoAgentSync => write!(
                f,
                "the network's configuration that CNI_NETWORK_CONFIG or CNI_NETWORK_CONFIG_FILE gives does not say \"require_agent_sync\": true for the plugin calico: after a start of the host, \
                 containers start before their routes and filter are there"
            ),
        }
    }
}
