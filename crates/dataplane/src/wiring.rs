//! The description of a container's network.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::error::AttachError;

/// The hardware address of the host's side of every pair.
///
/// Containers remember this address in their neighbour tables, so it must be the same after a pair is made
/// anew. Besides, the kernel then need not make one up.
pub const HOST_MAC: Mac = Mac([0xee; 6]);

/// The address that containers send their IPv4 packets to. No interface has it: the host answers for it by
/// proxy ARP.
pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);

/// The most bytes of an interface's name.
const NAME_LENGTH: usize = 15;

/// The smallest and the largest MTU that the kernel takes for a veth.
const MTUS: std::ops::RangeInclusive<u32> = 68..=65535;

/// With a smaller MTU the kernel removes IPv6 from an interface.
const SMALLEST_IPV6_MTU: u32 = 1280;

/// The most queues that the kernel makes for an interface.
const MOST_QUEUES: u32 = 4096;

/// A hardware address. It is displayed with colons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, f] = self.0;
        write!(out, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
    }
}

/// The kind of a pair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Device {
    /// A pair of virtual Ethernet interfaces.
    #[default]
    Veth,
    /// A netkit pair in L2 mode, the host's side being the primary; a veth pair where the kernel has no
    /// netkit (it came with Linux 6.7).
    Netkit,
}

/// Which existing pair is deleted if its host's side has the wanted name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Replaces {
    /// Any pair.
    #[default]
    Any,
    /// No pair: a taken name is an error.
    None,
    /// Only the pair whose host's side has that index.
    Index(u32),
}

/// The description of a container's network.
#[derive(Clone, Debug)]
pub struct Wiring {
    /// The name of the host's side, at most 15 bytes.
    pub host_interface: String,
    /// The alias of the host's side, at most 255 bytes. It says which container the pair belongs to.
    pub alias: Option<String>,
    /// Which existing pair with the name of the host's side is deleted.
    pub replaces: Replaces,
    /// The name of the container's side, at most 15 bytes.
    pub container_interface: String,
    /// The file that stands for the container's network namespace.
    pub netns: PathBuf,
    /// The container's addresses. Each is given to its side as /32 or /128.
    pub addresses: Vec<IpAddr>,
    /// The MTU of both sides in bytes; 0 is the kernel's default.
    pub mtu: u32,
    /// The hardware address of the container's side; `None` lets the kernel make one up.
    pub mac: Option<Mac>,
    /// The number of queues of both sides for each direction; 0 is the kernel's default.
    pub queues: u32,
    /// The destinations that the container reaches through the host; if empty, every destination. Bits beyond
    /// a prefix are ignored, and so are routes of a family in which the container has no address.
    pub routes: Vec<IpNet>,
    /// Whether the container is to forward packets.
    pub ip_forward: bool,
    /// Whether the host is to route the addresses to the container. During a live migration it must not do so
    /// while another host still routes them.
    pub want_host_routes: bool,
    /// The kind of the pair.
    pub device: Device,
}

impl Wiring {
    /// The wiring with the kernel's defaults, host routes, no forwarding, and no address yet.
    pub fn new(
        host_interface: impl Into<String>,
        container_interface: impl Into<String>,
        netns: impl Into<PathBuf>,
    ) -> Self {
        Self {
            host_interface: host_interface.into(),
            alias: None,
            replaces: Replaces::Any,
            container_interface: container_interface.into(),
            netns: netns.into(),
            addresses: Vec::new(),
            mtu: 0,
            mac: None,
            queues: 0,
            routes: Vec::new(),
            ip_forward: false,
            want_host_routes: true,
            device: Device::default(),
        }
    }

    pub(crate) fn has_ipv4(&self) -> bool {
        self.addresses.iter().any(IpAddr::is_ipv4)
    }

    pub(crate) fn has_ipv6(&self) -> bool {
        self.addresses.iter().any(IpAddr::is_ipv6)
    }

    /// The destinations that the container reaches through the host, in the families of the container's
    /// addresses.
    pub(crate) fn destinations(&self) -> impl Iterator<Item = IpNet> {
        let everything = [IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())];
        let wanted = if self.routes.is_empty() { everything.to_vec() } else { self.routes.clone() };
        let (ipv4, ipv6) = (self.has_ipv4(), self.has_ipv6());
        wanted.into_iter().map(|route| route.trunc()).filter(move |route| match route {
            IpNet::V4(_) => ipv4,
            IpNet::V6(_) => ipv6,
        })
    }

    /// Finds, before anything is done, what the kernel would refuse, and what the kernel would wrongly
    /// accept.
    pub(crate) fn validate(&self) -> Result<(), AttachError> {
        validate_name("host interface", &self.host_interface)?;
        validate_name("container interface", &self.container_interface)?;
        if self.mtu != 0 && !MTUS.contains(&self.mtu) {
            return Err(invalid("MTU", self.mtu, "give 0 for the kernel's default, or 68 to 65535"));
        }
        if self.mtu != 0 && self.mtu < SMALLEST_IPV6_MTU && self.has_ipv6() {
            return Err(invalid("MTU", self.mtu, "an interface with an IPv6 address needs at least 1280"));
        }
        if self.queues > MOST_QUEUES {
            return Err(invalid(
                "number of queues",
                self.queues,
                "give 0 for the kernel's default, or at most 4096",
            ));
        }
        if let Some(mac) = self.mac
            && (mac.0[0] & 1 == 1 || mac.0 == [0; 6])
        {
            return Err(invalid("MAC address", mac, "an interface's address is neither zero nor of a group"));
        }
        for (at, address) in self.addresses.iter().enumerate() {
            if !assignable(*address) {
                return Err(invalid("address", address, "no interface can have it; give a unicast address"));
            }
            if self.addresses[..at].contains(address) {
                return Err(invalid("address", address, "it was given twice"));
            }
        }
        Ok(())
    }
}

/// The network that holds this address only.
pub(crate) fn host_route(address: IpAddr) -> IpNet {
    IpNet::from(address)
}

fn assignable(address: IpAddr) -> bool {
    let unusable = match address {
        IpAddr::V4(v4) => v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.to_ipv4_mapped().is_some(),
    };
    !(unusable || address.is_unspecified() || address.is_loopback() || address.is_multicast())
}

/// Checks a name. The name becomes part of a path below `/proc/sys`, where `all` and `default` stand for
/// every interface.
fn validate_name(field: &'static str, name: &str) -> Result<(), AttachError> {
    let plain = name.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'/' | b':' | b'%'));
    let reason = if name.is_empty() || name.len() > NAME_LENGTH {
        "an interface's name has 1 to 15 bytes"
    } else if !plain {
        "an interface's name has no space, '/', ':', '%' or control character"
    } else if matches!(name, "." | ".." | "all" | "default" | "lo") {
        "the name is the kernel's own; choose another"
    } else {
        return Ok(());
    };
    Err(invalid(field, name, reason))
}

fn invalid(field: &'static str, value: impl ToString, reason: &'static str) -> AttachError {
    AttachError::Invalid { field, value: value.to_string(), reason }
}
