//! The interfaces of a host, as values.

use ipnet::IpNet;

/// An interface of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its number in this namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// The largest packet, in bytes.
    pub mtu: u32,
    /// Whether it is set up.
    pub is_up: bool,
    /// Its addresses, in the kernel's order.
    pub addresses: Vec<Address>,
}

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The address with its prefix length.
    pub net: IpNet,
    /// Whether it is a secondary address of its network (`IFA_F_SECONDARY`), such as a virtual one.
    pub is_secondary: bool,
    /// Whether it may be used beyond the host's own links (scope global).
    pub is_global: bool,
}
