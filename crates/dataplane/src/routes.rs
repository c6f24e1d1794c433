//! Addresses and routes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::pin::pin;

use futures_util::TryStreamExt;
use ipnet::IpNet;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};

use crate::error::Refusal;
use crate::kernel::{Side, answered};

/// A route by one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) destination: IpNet,
    /// The next hop; none where the destination is on the link.
    pub(crate) gateway: Option<IpAddr>,
    pub(crate) interface: u32,
}

impl Side {
    pub(crate) async fn add_address(&self, index: u32, address: IpAddr) -> Result<(), Refusal> {
        let prefix = IpNet::from(address).prefix_len();
        answered(self.netlink.address().add(index, address, prefix).execute()).await
    }

    /// The addresses of an interface with their prefix lengths.
    pub(crate) async fn addresses(&self, index: u32) -> Result<Vec<(IpAddr, u8)>, Refusal> {
        let mut request = self.netlink.address().get();
        request.message_mut().header.index = index;
        let found: Vec<AddressMessage> = answered(request.execute().try_collect()).await?;
        Ok(found.into_iter().filter_map(address_of).collect())
    }

    /// The address that an interface gave itself for its link, by which IPv6 neighbours reach it.
    pub(crate) async fn link_local(&self, index: u32) -> Result<Option<Ipv6Addr>, Refusal> {
        let addresses = self.addresses(index).await?;
        Ok(addresses.into_iter().find_map(|(address, _)| match address {
            IpAddr::V6(address) if address.is_unicast_link_local() => Some(address),
            _ => None,
        }))
    }

    pub(crate) async fn add_route(&self, route: &Route) -> Result<(), Refusal> {
        let mut message = about(route.destination);
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        message.header.protocol = RouteProtocol::Boot;
        message.header.kind = RouteType::Unicast;
        message.header.scope = if route.gateway.is_some() { RouteScope::Universe } else { RouteScope::Link };
        message.attributes.extend(route.gateway.map(|gateway| RouteAttribute::Gateway(gateway.into())));
        message.attributes.push(RouteAttribute::Oif(route.interface));
        answered(self.netlink.route().add(message).execute()).await
    }

    /// The routes of the main table by an interface.
    pub(crate) async fn routes(&self, index: u32) -> Result<Vec<Route>, Refusal> {
        let mut routes = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = RouteMessage::default();
            message.header.address_family = family;
            message.header.table = RouteHeader::RT_TABLE_MAIN;
            message.attributes.push(RouteAttribute::Oif(index));
            let found: Vec<RouteMessage> =
                answered(self.netlink.route().get(message).execute().try_collect()).await?;
            routes.extend(found.iter().filter_map(route_of));
        }
        Ok(routes)
    }

    /// The route, of whatever length, that packets to an address take; none where the kernel has none to give.
    pub(crate) async fn route_to(&self, address: IpAddr) -> Option<Route> {
        let mut message = about(address.into());
        message.header.flags = RouteFlags::FibMatch;
        let found = answered(pin!(self.netlink.route().get(message).execute()).try_next()).await;
        found.ok()?.as_ref().and_then(route_of)
    }
}

fn about(destination: IpNet) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(destination);
    message.header.destination_prefix_length = destination.prefix_len();
    message.attributes.push(RouteAttribute::Destination(destination.addr().into()));
    message
}

fn family(destination: IpNet) -> AddressFamily {
    match destination {
        IpNet::V4(_) => AddressFamily::Inet,
        IpNet::V6(_) => AddressFamily::Inet6,
    }
}

/// IPv4's interface address is the local one; a point-to-point's other end is in the place where IPv6 has its only one.
fn address_of(found: AddressMessage) -> Option<(IpAddr, u8)> {
    let prefix = found.header.prefix_len;
    let local = found.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    let any = found.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Address(address) => Some(*address),
        _ => None,
    });
    Some((local.or(any)?, prefix))
}

/// Unicast routes of one next hop; others are nothing that we made.
fn route_of(found: &RouteMessage) -> Option<Route> {
    if found.header.kind != RouteType::Unicast {
        return None;
    }
    let (mut destination, mut gateway, mut interface) = (None, None, None);
    for attribute in &found.attributes {
        match attribute {
            RouteAttribute::Destination(address) => destination = ip(address),
            RouteAttribute::Gateway(address) => gateway = ip(address),
            RouteAttribute::Oif(index) => interface = Some(*index),
            _ => {}
        }
    }
    let everywhere = match found.header.address_family {
        AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        _ => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let destination =
        IpNet::new(destination.unwrap_or(everywhere), found.header.destination_prefix_length).ok()?;
    Some(Route { destination, gateway, interface: interface? })
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}
