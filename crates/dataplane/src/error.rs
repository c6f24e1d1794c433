//! What can go wrong.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::check::Deviation;
use crate::wiring::Mac;

/// The kernel's refusal of a request, in its own words where it gives any.
#[derive(Debug)]
pub struct Refusal {
    /// The error's number.
    pub source: io::Error,
    /// What the kernel adds to it, as "mtu greater than device maximum".
    pub words: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.words {
            Some(words) => write!(out, "{words} ({})", self.source),
            None => write!(out, "{}", self.source),
        }
    }
}

impl std::error::Error for Refusal {
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
        refusal: Refusal,
    },
    /// The kernel refused for another reason.
    #[error("the kernel refused to {doing}: {refusal}")]
    Refused {
        /// What was tried, and where.
        doing: String,
        /// The kernel's words.
        refusal: Refusal,
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
    pub(crate) fn refused(doing: impl Into<String>, refusal: Refusal) -> Self {
        let doing = doing.into();
        match refusal.source.kind() {
            io::ErrorKind::PermissionDenied => Self::NotPermitted { doing, refusal },
            _ => Self::Refused { doing, refusal },
        }
    }
}

/// Why a container could not be attached. Nothing is left of the attempt, except where it says so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttachError {
    /// The wiring cannot be made on any machine: correct the field.
    #[error("invalid {field} {value:?}: {reason}")]
    Invalid {
        /// What is wrong.
        field: &'static str,
        /// Its value.
        value: String,
        /// What it ought to be.
        reason: &'static str,
    },
    /// A namespace or the kernel was out of reach.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// An interface of the name is there that no attachment made: choose another name or delete it.
    #[error(
        "interface {interface} exists already in {namespace} and is not ours; delete it (ip link delete {interface}) or use another name"
    )]
    NameTaken {
        /// The name.
        interface: String,
        /// Where it is taken.
        namespace: String,
    },
    /// The host routes the address to another interface: some other container has it, or had it and was not detached.
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
    /// The container has a route already that no other can be behind.
    #[error(
        "the container's route to {destination} ({route}) leaves no metric for one behind it; give it a lower one (ip route replace), or delete it (ip route del {destination} {route})"
    )]
    NoneBehind {
        /// Where both lead.
        destination: IpNet,
        /// The one that is there, in the words of `ip route`.
        route: String,
    },
    /// A kernel setting cannot be made.
    #[error("cannot set {path} to {value} in {namespace}: {source}; {remedy}")]
    Sysctl {
        /// Its file.
        path: String,
        /// The value that it was to have.
        value: String,
        /// Where it was to be set.
        namespace: String,
        /// Why it failed.
        source: io::Error,
        /// What may help.
        remedy: &'static str,
    },
    /// Something on the host gives the interface another hardware address each time that it is set.
    #[error(
        "{interface} has hardware address {found} instead of {wanted} after {waited:?}; keep udev or the network manager from changing it"
    )]
    MacChanged {
        /// The host's side.
        interface: String,
        /// What it has.
        found: String,
        /// What was set.
        wanted: Mac,
        /// For how long it was tried.
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
        /// For how long it was waited for.
        waited: Duration,
    },
    /// The attempt failed, and taking back what it had done failed too: detach.
    #[error("{error}; and then, when taking it back: {then}")]
    NotUndone {
        /// Why the attempt failed.
        error: Box<AttachError>,
        /// Why it was not undone.
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
    /// The kernel has not answered; it may still delete the interface.
    #[error("timed out deleting {interface} in {}: the kernel has not answered for {within:?}; try again", .netns.display())]
    TimedOut {
        /// The container's side.
        interface: String,
        /// Its namespace.
        netns: PathBuf,
        /// For how long it was waited.
        within: Duration,
    },
    /// The same, of the host's side.
    #[error(
        "timed out deleting {interface} in the host: the kernel has not answered for {within:?}; try again"
    )]
    TimedOutOnHost {
        /// The host's side.
        interface: String,
        /// For how long it was waited.
        within: Duration,
    },
}

/// Why a container's network is not known to be as it should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// It is not as it should: attach the container anew. There is at least one deviation.
    #[error("the container's network is not as it was made: {}", listed(.0))]
    Deviates(Vec<Deviation>),
    /// A namespace or the kernel was out of reach.
    #[error(transparent)]
    Access(#[from] AccessError),
}

fn listed(deviations: &[Deviation]) -> String {
    deviations.iter().map(Deviation::to_string).collect::<Vec<_>>().join("; ")
}
