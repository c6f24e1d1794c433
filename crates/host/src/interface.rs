//! The interfaces of a host, and the addresses by which it is reached.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use api::Family;
use ipnet::IpNet;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope};
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use rtnetlink::packet_route::route::{RouteAttribute, RouteMessage, RouteProtocol, RouteType};
use rustix::io::Errno;

use crate::error::{HostError, Refusal};
use crate::kernel::{Kernel, family};
use crate::message::{ip, main_table, metric_of, outputs};

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
    /// Whether it is a secondary address of its network (`IFA_F_SECONDARY`), such as a virtual one. For IPv6
    /// the same flag marks temporary addresses.
    pub is_secondary: bool,
    /// Whether it may be used beyond the host's own links (scope global).
    pub is_global: bool,
}

impl Kernel {
    /// The interfaces with their addresses, by number.
    ///
    /// # Errors
    /// [`HostError::Refused`].
    pub async fn interfaces(&self) -> Result<Vec<Interface>, HostError> {
        let refused = |refusal| HostError::refused("list the interfaces and their addresses", refusal);
        let links = self.list(RouteNetlinkMessage::GetLink(LinkMessage::default())).await.map_err(refused)?;
        let everywhere = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        let addresses = self.list(everywhere).await.map_err(refused)?;
        let mut found: BTreeMap<u32, Interface> = BTreeMap::new();
        for link in links {
            if let RouteNetlinkMessage::NewLink(link) = link {
                found.insert(link.header.index, interface(&link));
            }
        }
        for address in addresses {
            let RouteNetlinkMessage::NewAddress(message) = address else { continue };
            if let Some(interface) = found.get_mut(&message.header.index) {
                interface.addresses.extend(address_of(&message));
            }
        }
        Ok(found.into_values().collect())
    }

    /// From which of its addresses, and by which interface (a number), the host reaches an address. `None`
    /// where it does not reach it. It reaches its own addresses by the loopback interface.
    ///
    /// # Errors
    /// [`HostError::Refused`].
    pub async fn source_to(&self, addr: IpAddr) -> Result<Option<(IpAddr, u32)>, HostError> {
        self.source(addr, None)
            .await
            .map_err(|refusal| HostError::refused(format!("tell the route to {addr}"), refusal))
    }

    /// The address from which the host speaks with the world, and the interface (a number) of its default
    /// route. For IPv6 the kernel may prefer a temporary address; [`Address::is_secondary`] tells.
    ///
    /// # Errors
    /// [`HostError::Refused`].
    pub async fn default_source(&self, of: Family) -> Result<Option<(IpAddr, u32)>, HostError> {
        let refused = |refusal| HostError::refused("list the default routes", refusal);
        let routes = self.default_routes(of).await.map_err(refused)?;
        let first = routes.iter().min_by_key(|route| metric_of(route));
        let Some(by) = first.and_then(|route| outputs(route).first().copied()) else { return Ok(None) };
        // An address for documentation (RFC 5737, RFC 3849): nobody has it, so no narrower route leads there.
        let anywhere: IpAddr = match of {
            Family::V4 => Ipv4Addr::new(192, 0, 2, 1).into(),
            Family::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
        };
        self.source(anywhere, Some(by)).await.map_err(refused)
    }

    /// The interfaces (numbers) whose IPv6 default route came by router advertisement. A host that forwards
    /// believes advertisements only where `accept_ra` is 2.
    ///
    /// # Errors
    /// [`HostError::Refused`].
    pub async fn advertised_defaults(&self) -> Result<Vec<u32>, HostError> {
        let refused = |refusal| HostError::refused("list the default routes", refusal);
        let routes = self.default_routes(Family::V6).await.map_err(refused)?;
        let advertised = routes.iter().filter(|route| route.header.protocol == RouteProtocol::Ra);
        let mut by: Vec<u32> = advertised.flat_map(outputs).collect();
        by.sort_unstable();
        by.dedup();
        Ok(by)
    }

    async fn default_routes(&self, of: Family) -> Result<Vec<RouteMessage>, Refusal> {
        let routes = self.routes(main_table(of)).await?;
        let is_default = |route: &RouteMessage| {
            route.header.destination_prefix_length == 0 && route.header.kind == RouteType::Unicast
        };
        Ok(routes.into_iter().filter(is_default).collect())
    }

    async fn source(&self, addr: IpAddr, by: Option<u32>) -> Result<Option<(IpAddr, u32)>, Refusal> {
        let of = Family::of(addr);
        let mut message = RouteMessage::default();
        message.header.address_family = family(of);
        message.header.destination_prefix_length = of.bits();
        message.attributes.push(RouteAttribute::Destination(addr.into()));
        message.attributes.extend(by.map(RouteAttribute::Oif));
        let answer = match self.ask(RouteNetlinkMessage::GetRoute(message)).await {
            Ok(answer) => answer,
            // No route, an unreachable one, a blackhole, a prohibition.
            Err(refusal)
                if refusal.is_any(&[Errno::NETUNREACH, Errno::HOSTUNREACH, Errno::INVAL, Errno::ACCESS]) =>
            {
                return Ok(None);
            }
            Err(refusal) => return Err(refusal),
        };
        let Some(RouteNetlinkMessage::NewRoute(route)) = answer else { return Ok(None) };
        let source = route.attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::PrefSource(addr) => ip(addr),
            _ => None,
        });
        Ok(source.zip(outputs(&route).first().copied()))
    }
}

pub(crate) fn interface(link: &LinkMessage) -> Interface {
    let mut found = Interface {
        index: link.header.index,
        name: String::new(),
        mtu: 0,
        is_up: link.header.flags.contains(LinkFlags::Up),
        addresses: Vec::new(),
    };
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::IfName(name) => found.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => found.mtu = *mtu,
            _ => {}
        }
    }
    found
}

/// The address in the kernel's record of one. IPv4's own address is in the attribute `Local`; on a
/// point-to-point link, `Address` is the other end's. IPv6's own address is in `Address`, or in `Local` where
/// there is another end.
pub(crate) fn address_of(message: &AddressMessage) -> Option<Address> {
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(addr) => Some(*addr),
        _ => None,
    });
    let any = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Address(addr) => Some(*addr),
        _ => None,
    });
    Some(Address {
        net: IpNet::new(local.or(any)?, message.header.prefix_len).ok()?,
        is_secondary: message.header.flags.contains(AddressHeaderFlags::Secondary),
        is_global: message.header.scope == AddressScope::Universe,
    })
}
