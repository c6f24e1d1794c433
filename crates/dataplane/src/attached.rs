//! What comes of attaching a container.

use std::fmt;

use crate::wiring::{Device, Mac};

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attached {
    /// The hardware address of the container's side.
    pub mac: Mac,
    /// The MTU of the container's side in bytes.
    pub mtu: u32,
    /// The kind of the pair, which is not always the one wanted.
    pub device: Device,
    /// What is not as wanted, though packets flow.
    pub warnings: Vec<Warning>,
}

/// What is not as wanted, though packets flow.
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
        /// Its file.
        path: String,
        /// The value that it was to have.
        value: &'static str,
        /// The kernel's words.
        words: String,
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
        }
    }
}
