//! The errors of this crate: one enum for each operation.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::check::Deviation;
use crate::wiring::Mac;

/// The kernel's refusal of a request, in its own words where it gives any.
#[derive(Debug)]
pub struct KernelRefusal {
    /// The number of the error.
    pub source: io::Error,
    /// The kernel's explanation, such as "mtu greater than device maximum".
    pub words: Option<String>,
}

impl fmt::Display for KernelRefusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.words {
            Some(words) => write!(out, "{words} ({})", self.source),
            None => write!(out, "{}", self.source),
        }
    }
}

impl std::error::Error for KernelRefusal {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Why a namespace or the kernel was out of reach.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// Nothing is at the namespace's path: the container is gone, or was never there.
    #[error(
        "network namespace {} does not exist: the container is gone or its runtime gave a wrong path; let the runtime make it anew",
        .0.display()
    )]
    NoNamespace(PathBuf),
    /// Something else is at the namespace's path.
    #[error("{} is not a network namespace (what mounted it may be gone); let the runtime make it anew", .0.display())]
    NotANamespace(PathBuf),
    /// The path leads to the namespace that the caller is in.
    #[error("{} is the plugin's own network namespace, not a container's; give the container's", .0.display())]
    SameNamespace(PathBuf),
    /// The process lacks capabilities.
    #[error("not permitted to {doing}: {refusal}; run as root, or with CAP_NET_ADMIN and CAP_SYS_ADMIN")]
    NotPermitted {
        /// What was tried, and where.
        doing: String,
        /// The kernel's words.
        refusal: KernelRefusal,
    },
    /// The kernel refused for another reason.
    #[error("the kernel refused to {doing}: {refusal}")]
    Refused {
        /// What was tried, and where.
        doing: String,
        /// The kernel's words.
        refusal: KernelRefusal,
    },
    /// The process could not get what it needs for itself: a thread, a socket.
    #[error("cannot {doing}: {source}; look at the limits of the process (ulimit -a)")]
    System {
        /// What was tried.
        doing: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

impl AccessError {
    pub(crate) fn from_refusal(doing: impl Into<String>, refusal: KernelRefusal) -> Self {
        let doing = doing.into();
        match refusal.source.kind() {
            io::ErrorKind::PermissionDenied => Self::NotPermitted { doing, refusal },
            _ => Self::Refused { doing, refusal },
        }
    }
}

/// Why a container could not be attached. Nothing is left of the attempt, except where the error is
/// [`AttachError::NotUndone`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttachError {
    /// The wiring cannot be made on any machine: correct the field.
    #[error("invalid {field} {value:?}: {reason}")]
    Invalid {
        /// The name of the wrong field.
        field: &'static str,
        /// Its value.
        value: String,
        /// What a right value would be.
        reason: &'static str,
    },
    /// A namespace or the kernel was out of reach.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// An interface that no attachment made has the name already: choose another name or delete the
    /// interface.
    #[error(
        "interface {interface} exists already in {namespace} and is not ours; delete it (ip link delete {interface}) or use another name"
    )]
    NameTaken {
        /// The name.
        interface: String,
        /// The namespace in which it is taken.
        namespace: String,
    },
    /// The host routes the address to another interface: some other container has it, or had it and was not
    /// detached.
    #[error(
        "the host's route to {destination} leads to {device}, not to {interface}: another container has the address, or was not detached; \
         detach it (ip link delete {device}) or release the address"
    )]
    RouteTaken {
        /// The address.
        destination: IpNet,
        /// The interface that has the route.
        device: String,
        /// The interface that was to have it.
        interface: String,
    },
    /// A route of the container leaves no metric for a route behind it: lower that route's metric or delete
    /// the route.
    #[error(
        "the container's route to {destination} ({route}) leaves no metric for one behind it; give it a lower one (ip route replace), or delete it (ip route del {destination} {route})"
    )]
    NoneBehind {
        /// The destination of both routes.
        destination: IpNet,
        /// The route that the container has, in the words of `ip route`.
        route: String,
    },
    /// A kernel setting cannot be made.
    #[error("cannot set {path} to {value} in {namespace}: {source}; {remedy}")]
    Sysctl {
        /// Its file.
        path: String,
        /// The value that the setting was to have.
        value: String,
        /// The namespace that the setting belongs to.
        namespace: String,
        /// Why it failed.
        source: io::Error,
        /// What may help.
        remedy: &'static str,
    },
    /// A program on the host changes the interface's hardware address each time that the address is set.
    #[error(
        "{interface} has hardware address {found} instead of {wanted} after {waited:?}; keep udev or the network manager from changing it"
    )]
    MacChanged {
        /// The host's side.
        interface: String,
        /// The hardware address that it has.
        found: String,
        /// The hardware address that was set.
        wanted: Mac,
        /// How long it was tried.
        waited: Duration,
    },
    /// The container's IPv6 packets have no gateway.
    #[error(
        "{interface} got no IPv6 link-local address within {waited:?}, so the container has no gateway; \
         enable IPv6 on the host (net.ipv6.conf.all.disable_ipv6=0, net.ipv6.conf.default.addr_gen_mode=0) or give no IPv6 address"
    )]
    NoLinkLocal {
        /// The host's side.
        interface: String,
        /// How long the address was waited for.
        waited: Duration,
    },
    /// The attempt failed, and undoing it failed too: detach the container.
    #[error("{error}; and then, when taking it back: {then}")]
    NotUndone {
        /// Why the attempt failed.
        error: Box<AttachError>,
        /// Why undoing the attempt failed.
        then: Box<AttachError>,
    },
}

/// Why a container could not be detached. Detaching again is safe.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DetachError {
    /// A namespace or the kernel was out of reach.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The kernel has not answered in time; it may still delete the interface.
    #[error("timed out deleting {interface} in {}: the kernel has not answered for {within:?}; try again", .netns.display())]
    TimedOut {
        /// The container's side.
        interface: String,
        /// Its namespace.
        netns: PathBuf,
        /// How long the kernel was given.
        within: Duration,
    },
    /// The kernel has not answered in time about the host's side; it may still delete it.
    #[error(
        "timed out deleting {interface} in the host: the kernel has not answered for {within:?}; try again"
    )]
    TimedOutOnHost {
        /// The host's side.
        interface: String,
        /// How long the kernel was given.
        within: Duration,
    },
}

/// Why a container's network is not as it should be, or could not be checked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// The network differs from its wiring: attach the container anew. The list has at least one deviation.
    #[error("the container's network is not as it was made: {}", in_one_line(.0))]
    Deviates(Vec<Deviation>),
    /// A namespace or the kernel was out of reach.
    #[error(transparent)]
    Access(#[from] AccessError),
}

fn in_one_line(deviations: &[Deviation]) -> String {
    deviations.iter().map(Deviation::to_string).collect::<Vec<_>>().join("; ")
}
