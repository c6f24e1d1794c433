//! Routes, neighbours and forwarding entries in the kernel's words, and back.

use std::net::IpAddr;
use std::sync::Arc;

use api::{Cidr, Family};
use routes::route::{PROTOCOL, default_metric};
use routes::{Mac, Route, Target};
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric, RouteNextHop,
    RouteNextHopFlags, RouteProtocol, RouteScope, RouteType,
};

use crate::kernel::family;

/// Our mark on a route.
pub(crate) const OURS: RouteProtocol = RouteProtocol::Other(PROTOCOL);

/// Asks for the routes of a family in the main table.
pub(crate) fn main_table(of: Family) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(of);
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message
}

/// Asks for the route that packets to an address take.
pub(crate) fn lookup(addr: IpAddr) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(Family::of(addr));
    message.header.destination_prefix_length = Cidr::single(addr).prefix();
    message.header.flags = RouteFlags::FibMatch;
    message.attributes.push(RouteAttribute::Destination(addr.into()));
    message
}

/// A route that is to be added, by the interface of that number where it leads anywhere. The gateways need no
/// route of their own (`onlink`): a tunnel's other sides are in no network of this host.
pub(crate) fn addition(route: &Route, by: Option<u32>) -> RouteMessage {
    let mut message = main_table(route.to.family());
    message.header.destination_prefix_length = route.to.prefix();
    message.header.protocol = OURS;
    message.header.kind = match route.target {
        Target::Via { .. } | Target::Link { .. } => RouteType::Unicast,
        Target::Blackhole => RouteType::BlackHole,
        Target::Unreachable => RouteType::Unreachable,
    };
    if matches!(route.target, Target::Link { .. }) {
        message.header.scope = RouteScope::Link;
    }
    let attributes = &mut message.attributes;
    attributes.push(RouteAttribute::Destination(route.to.first().into()));
    attributes.push(RouteAttribute::Priority(route.metric));
    attributes.extend(route.mtu.map(|mtu| RouteAttribute::Metrics(vec![RouteMetric::Mtu(mtu)])));
    let Some(by) = by else { return message };
    match &route.target {
        Target::Via { gateways, .. } if gateways.len() > 1 => {
            let hop = |gateway: &IpAddr| {
                let mut hop = RouteNextHop::default();
                hop.flags = RouteNextHopFlags::Onlink;
                hop.interface_index = by;
                hop.attributes.push(RouteAttribute::Gateway((*gateway).into()));
                hop
            };
            attributes.push(RouteAttribute::MultiPath(gateways.iter().map(hop).collect()));
        }
        Target::Via { gateways, .. } => {
            message.header.flags = RouteFlags::Onlink;
            attributes.extend(gateways.iter().map(|gateway| RouteAttribute::Gateway((*gateway).into())));
            attributes.push(RouteAttribute::Oif(by));
        }
        _ => attributes.push(RouteAttribute::Oif(by)),
    }
    message
}

/// A route that is to be removed, whatever its target has become: one of ours by our mark, one of a tunnel
/// device (a number) by the device.
pub(crate) fn removal(route: &Route, tunnel: Option<u32>) -> RouteMessage {
    let mut message = main_table(route.to.family());
    message.header.destination_prefix_length = route.to.prefix();
    message.header.scope = RouteScope::NoWhere;
    message.attributes.push(RouteAttribute::Destination(route.to.first().into()));
    message.attributes.push(RouteAttribute::Priority(route.metric));
    match tunnel {
        Some(index) => message.attributes.push(RouteAttribute::Oif(index)),
        None => message.header.protocol = OURS,
    }
    message
}

/// The route in the kernel's record. A kind of route that is never planned is one by no gateway: so it is
/// replaced, or removed. `None` where the record is about some packets only, or its interface is gone.
pub(crate) fn route_of(
    found: &RouteMessage,
    name: &mut impl FnMut(u32) -> Option<Arc<str>>,
) -> Option<Route> {
    if found.header.tos != 0 || found.header.source_prefix_length != 0 {
        return None;
    }
    let to = destination_of(found)?;
    let mut gateways = gateways_of(found);
    gateways.sort();
    let mut devices = Vec::new();
    if found.header.kind == RouteType::Unicast {
        for index in outputs(found) {
            devices.push(name(index)?);
        }
    }
    devices.dedup();
    let device = match devices.as_slice() {
        [device] => Some(device.clone()),
        _ => None,
    };
    let target = match (found.header.kind, device) {
        (RouteType::BlackHole, _) => Target::Blackhole,
        (RouteType::Unreachable, _) => Target::Unreachable,
        (RouteType::Unicast, Some(device)) if gateways.is_empty() => Target::Link { device },
        (RouteType::Unicast, device) => Target::Via { gateways, device },
        _ => Target::Via { gateways: Vec::new(), device: None },
    };
    let mtu = found.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Metrics(metrics) => metrics.iter().find_map(|metric| match metric {
            RouteMetric::Mtu(mtu) => Some(*mtu),
            _ => None,
        }),
        _ => None,
    });
    Some(Route { to, target, mtu, metric: metric_of(found) })
}

fn destination_of(found: &RouteMessage) -> Option<Cidr> {
    let named = found.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(addr) => ip(addr),
        _ => None,
    });
    // The record of a default route has no destination.
    let everywhere: IpAddr = match found.header.address_family {
        AddressFamily::Inet => [0; 4].into(),
        _ => [0; 16].into(),
    };
    Cidr::of(named.unwrap_or(everywhere), found.header.destination_prefix_length)
}

fn gateways_of(found: &RouteMessage) -> Vec<IpAddr> {
    let gateway = |attribute: &RouteAttribute| match attribute {
        RouteAttribute::Gateway(addr) => ip(addr),
        _ => None,
    };
    let mut gateways = Vec::new();
    for attribute in &found.attributes {
        match attribute {
            RouteAttribute::MultiPath(hops) => {
                gateways.extend(hops.iter().flat_map(|hop| &hop.attributes).filter_map(gateway));
            }
            other => gateways.extend(gateway(other)),
        }
    }
    gateways
}

pub(crate) fn ip(addr: &RouteAddress) -> Option<IpAddr> {
    match addr {
        RouteAddress::Inet(addr) => Some((*addr).into()),
        RouteAddress::Inet6(addr) => Some((*addr).into()),
        _ => None,
    }
}

/// The metric. The kernel leaves out an IPv4 route's where it is 0.
pub(crate) fn metric_of(route: &RouteMessage) -> u32 {
    let named = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Priority(metric) => Some(*metric),
        _ => None,
    });
    named.unwrap_or_else(|| default_metric(Family::V4))
}

/// The interfaces by which a route leads: one for each of its gateways.
pub(crate) fn outputs(route: &RouteMessage) -> Vec<u32> {
    let mut found = Vec::new();
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Oif(index) => found.push(*index),
            RouteAttribute::MultiPath(hops) => found.extend(hops.iter().map(|hop| hop.interface_index)),
            _ => {}
        }
    }
    found
}

/// An entry of a tunnel device: the hardware address of a tunnel address.
pub(crate) fn neighbour(device: u32, addr: IpAddr, mac: Option<Mac>) -> NeighbourMessage {
    let mut message = entry(device, family(Family::of(addr)));
    message.attributes.push(NeighbourAttribute::Destination(addr.into()));
    message.attributes.extend(mac.map(|Mac(bytes)| NeighbourAttribute::LinkLayerAddress(bytes.to_vec())));
    message
}

/// An entry of a tunnel device: the node that has a hardware address.
pub(crate) fn forwarding(device: u32, Mac(mac): Mac, at: Option<IpAddr>) -> NeighbourMessage {
    let mut message = entry(device, AddressFamily::Bridge);
    message.header.flags = NeighbourFlags::Own;
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.to_vec()));
    message.attributes.extend(at.map(|addr| NeighbourAttribute::Destination(addr.into())));
    message
}

fn entry(device: u32, of: AddressFamily) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = of;
    message.header.ifindex = device;
    message.header.state = NeighbourState::Permanent;
    message
}

/// Asks for the entries of a device.
pub(crate) fn entries(device: u32, of: AddressFamily) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = of;
    message.attributes.push(NeighbourAttribute::IfIndex(device));
    message
}

/// The address and the hardware address of a permanent entry that has both.
pub(crate) fn permanent_entry(found: &NeighbourMessage) -> Option<(IpAddr, Mac)> {
    // The states are bits, and `bridge fdb` sets another one beside this.
    let is_permanent = u16::from(found.header.state) & u16::from(NeighbourState::Permanent) != 0;
    if !is_permanent {
        return None;
    }
    let addr = found.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(addr)) => Some(IpAddr::from(*addr)),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(addr)) => Some(IpAddr::from(*addr)),
        NeighbourAttribute::Destination(NeighbourAddress::Other(bytes)) => address_in(bytes),
        _ => None,
    });
    let mac = found.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::LinkLayerAddress(bytes) => Some(Mac(bytes.as_slice().try_into().ok()?)),
        _ => None,
    });
    Some((addr?, mac?))
}

/// The address in these bytes.
fn address_in(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}
