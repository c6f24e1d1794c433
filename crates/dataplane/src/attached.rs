//! The result of attaching a container.

use std::fmt;

use ipnet::IpNet;

use crate::wiring::{Device, Mac};

/// What [`attach`](crate::attach()) has made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attached {
    /// The hardware address of the container's side.
    pub mac: Mac,
    /// The MTU of the container's side in bytes.
    pub mtu: u32,
    /// The kind of the pair that was made: a veth pair, if a netkit pair was wanted and the kernel has no
    /// netkit.
    pub device: Device,
    /// What differs from the wiring, although packets flow.
    pub warnings: Vec<Warning>,
}

/// Something that differs from the wiring, although packets flow.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// The kernel has no netkit.
    NoNetkit {
        /// The kernel's words.
        words: String,
    },
    /// A setting that helps could not be made.
    Setting {
        /// The setting's file.
        path: String,
        /// The value that the setting was to have.
        value: &'static str,
        /// The kernel's words.
        words: String,
    },
    /// Another network has a route to the same destination already, which stays in front.
    Behind {
        /// Where both routes lead.
        destination: IpNet,
        /// The route in front, in the words of `ip route`.
        first: String,
        /// The container's side, by which our route leads.
        interface: String,
        /// The metric of our route; `None` where the kernel chose it.
        metric: Option<u32>,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoNetkit { words } => {
                write!(
                    out,
                    "the kernel has no netkit ({words}; it needs Linux 6.7 with CONFIG_NETKIT): made a veth pair"
                )
            }
            Self::Setting { path, value, words } => write!(out, "cannot set {path} to {value}: {words}"),
            Self::Behind { destination, first, interface, metric } => {
                write!(
                    out,
                    "the container has a route to {destination} already ({first}): it stays first, and ours by {interface} is behind it"
                )?;
                metric.map_or(Ok(()), |metric| write!(out, " with metric {metric}"))
            }
        }
    }
}
