//! Why the host could not be read or changed.

use std::fmt;
use std::io;

use rtnetlink::Error;

/// The kernel's refusal of a request, in its own words where it gives any.
#[derive(Debug)]
pub struct Refusal {
    /// The number of the error.
    pub source: io::Error,
    /// The kernel's explanation, such as "mtu greater than device maximum".
    pub words: Option<String>,
}

impl Refusal {
    pub(crate) fn of(errno: rustix::io::Errno) -> Refusal {
        Refusal { source: errno.into(), words: None }
    }

    /// The kernel says nothing.
    pub(crate) fn silence(kind: io::ErrorKind, words: &str) -> Refusal {
        Refusal { source: kind.into(), words: Some(words.to_string()) }
    }

    /// Whether it says one of these.
    pub(crate) fn is_any(&self, errors: &[rustix::io::Errno]) -> bool {
        let number = self.source.raw_os_error();
        errors.iter().any(|errno| number == Some(errno.raw_os_error()))
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        match error {
            Error::NetlinkError(message) => Refusal {
                source: message.to_io(),
                words: outside::netlink::explanation(&message.header).map(str::to_owned),
            },
            other => Refusal { source: io::Error::other(other.to_string()), words: None },
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.words {
            Some(words) => write!(out, "{words} ({})", self.source),
            None => write!(out, "{}", self.source),
        }
    }
}

/// Why the host could not be read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// The process lacks a capability. Give it CAP_NET_ADMIN.
    #[error("not permitted to {doing}: {refusal}; run as root, or with CAP_NET_ADMIN")]
    NotPermitted {
        /// What was tried.
        doing: String,
        /// The kernel's words.
        refusal: Refusal,
    },
    /// The kernel refused for another reason. Compare what is there with what is wanted, and try again.
    #[error("the kernel refused to {doing}: {refusal}")]
    Refused {
        /// What was tried.
        doing: String,
        /// The kernel's words.
        refusal: Refusal,
    },
    /// The interface does not exist. Make the tunnel first, or name the right uplink.
    #[error("cannot {doing}: there is no interface {device}; `ip link` shows those that there are")]
    NoDevice {
        /// What was tried.
        doing: String,
        /// The name of the interface.
        device: String,
    },
    /// It is not known by which interface the route is to lead.
    #[error(
        "cannot {doing}: no interface carries the node's address; compare `ip addr` with `calicoctl get node -o yaml`"
    )]
    NoUplink {
        /// What was tried.
        doing: String,
    },
    /// The kernel has no IPIP. Use VXLAN, or a kernel that has it.
    #[error(
        "cannot make {device}: this kernel has no IPIP tunnels (`modprobe ipip` would load them); have the pools use VXLAN: set their ipipMode to Never and their vxlanMode to Always"
    )]
    NoIpip {
        /// The device.
        device: String,
    },
    /// The node has no address from which the tunnel could send. Give its Node one.
    #[error(
        "cannot make {device}: the node has no IPv{family} address; `calicoctl get node -o yaml` shows what it has"
    )]
    NoLocal {
        /// The device.
        device: String,
        /// The family of the address: 4 or 6.
        family: u8,
    },
    /// The device is none of the tunnel devices that this program makes.
    #[error("{device} is none of our tunnel devices, so it is left alone")]
    NotOurs {
        /// The device.
        device: String,
    },
    /// The process could not get what it needs for itself.
    #[error("cannot {doing}: {source}; look at the limits of the process (ulimit -a)")]
    System {
        /// What was tried.
        doing: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

impl HostError {
    pub(crate) fn refused(doing: impl Into<String>, refusal: Refusal) -> HostError {
        let doing = doing.into();
        match refusal.source.kind() {
            io::ErrorKind::PermissionDenied => HostError::NotPermitted { doing, refusal },
            _ => HostError::Refused { doing, refusal },
        }
    }
}
