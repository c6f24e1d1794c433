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

use crate::error::KernelRefusal;
use crate::kernel::{Side, answer_to};

/// The metric that the kernel gives to an IPv6 route without one. An IPv4 route without one gets 0.
const IPV6_METRIC: u32 = 1024;

/// The mark on the routes of a node agent that knows only the cluster's records.
const AGENTS: RouteProtocol = RouteProtocol::Other(81);

/// A route by one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) destination: IpNet,
    /// The next hop; `None` where the destination is on the link.
    pub(crate) gateway: Option<IpAddr>,
    pub(crate) interface: u32,
}

/// A route of the container to a destination that we want to route, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rival {
    pub(crate) metric: u32,
    /// Whether packets follow it somewhere. Other kinds of route only say that a destination cannot be
    /// reached.
    pub(crate) leads: bool,
    pub(crate) gateway: Option<IpAddr>,
    /// The interface that it leads through; `None` where the route has several next hops.
    pub(crate) interface: Option<u32>,
    /// Whether a node agent made it.
    pub(crate) is_agents: bool,
}

impl Side {
    pub(crate) async fn add_address(&self, index: u32, address: IpAddr) -> Result<(), KernelRefusal> {
        let prefix = IpNet::from(address).prefix_len();
        answer_to(self.netlink.address().add(index, address, prefix).execute()).await
    }

    /// The addresses of an interface with their prefix lengths.
    pub(crate) async fn addresses(&self, index: u32) -> Result<Vec<(IpAddr, u8)>, KernelRefusal> {
        let mut request = self.netlink.address().get();
        request.message_mut().header.index = index;
        let found: Vec<AddressMessage> = answer_to(request.execute().try_collect()).await?;
        Ok(found.into_iter().filter_map(address_of).collect())
    }

    /// The link-local address that an interface gave itself, by which its IPv6 neighbours reach it.
    pub(crate) async fn link_local(&self, index: u32) -> Result<Option<Ipv6Addr>, KernelRefusal> {
        let addresses = self.addresses(index).await?;
        Ok(addresses.into_iter().find_map(|(address, _)| match address {
            IpAddr::V6(address) if address.is_unicast_link_local() => Some(address),
            _ => None,
        }))
    }

    /// Adds a route. Without `metric` the kernel chooses one.
    pub(crate) async fn add_route(&self, route: &Route, metric: Option<u32>) -> Result<(), KernelRefusal> {
        answer_to(self.netlink.route().add(addition(route, metric)).execute()).await
    }

    /// Puts a route in the place of the one of its destination and metric, in one step: packets always have
    /// one of the two.
    pub(crate) async fn replace_route(&self, route: &Route) -> Result<(), KernelRefusal> {
        answer_to(self.netlink.route().add(addition(route, None)).replace().execute()).await
    }

    /// The routes of the main table to exactly `destination`, by any interface.
    pub(crate) async fn rivals(&self, destination: IpNet) -> Result<Vec<Rival>, KernelRefusal> {
        let mut message = RouteMessage::default();
        message.header.address_family = family(destination);
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        let found: Vec<RouteMessage> =
            answer_to(self.netlink.route().get(message).execute().try_collect()).await?;
        Ok(found.iter().filter(|route| destination_of(route) == Some(destination)).map(Rival::from).collect())
    }

    /// The routes of the main table that lead through an interface.
    pub(crate) async fn routes(&self, index: u32) -> Result<Vec<Route>, KernelRefusal> {
        let mut routes = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = RouteMessage::default();
            message.header.address_family = family;
            message.header.table = RouteHeader::RT_TABLE_MAIN;
            message.attributes.push(RouteAttribute::Oif(index));
            let found: Vec<RouteMessage> =
                answer_to(self.netlink.route().get(message).execute().try_collect()).await?;
            routes.extend(found.iter().filter_map(route_of));
        }
        Ok(routes)
    }

    /// The route that packets to an address take, whatever its prefix length; `None` where the kernel gives
    /// none.
    pub(crate) async fn route_to(&self, address: IpAddr) -> Option<Route> {
        let mut message = about(address.into());
        message.header.flags = RouteFlags::FibMatch;
        let found = answer_to(pin!(self.netlink.route().get(message).execute()).try_next()).await;
        found.ok()?.as_ref().and_then(route_of)
    }
}

fn addition(route: &Route, metric: Option<u32>) -> RouteMessage {
    let mut message = about(route.destination);
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Boot;
    message.header.kind = RouteType::Unicast;
    message.header.scope = if route.gateway.is_some() { RouteScope::Universe } else { RouteScope::Link };
    message.attributes.extend(route.gateway.map(|gateway| RouteAttribute::Gateway(gateway.into())));
    message.attributes.push(RouteAttribute::Oif(route.interface));
    message.attributes.extend(metric.map(RouteAttribute::Priority));
    message
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

/// The address and the prefix length in the kernel's record of an address. IPv4's own address is in the
/// attribute `Local`; on a point-to-point link, `Address` is the other end's. IPv6's own address is in
/// `Address`.
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

/// The unicast route with one next hop in the kernel's record of a route. This crate never makes any other.
fn route_of(found: &RouteMessage) -> Option<Route> {
    if found.header.kind != RouteType::Unicast {
        return None;
    }
    let Rival { gateway, interface, .. } = Rival::from(found);
    Some(Route { destination: destination_of(found)?, gateway, interface: interface? })
}

/// The destination in the kernel's record of a route. The record of a default route has no such attribute.
fn destination_of(found: &RouteMessage) -> Option<IpNet> {
    let named = found.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(address) => ip(address),
        _ => None,
    });
    let everywhere = match found.header.address_family {
        AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        _ => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    IpNet::new(named.unwrap_or(everywhere), found.header.destination_prefix_length).ok()
}

impl From<&RouteMessage> for Rival {
    fn from(found: &RouteMessage) -> Self {
        let leads = found.header.kind == RouteType::Unicast;
        let is_agents = found.header.protocol == AGENTS;
        let mut rival = Self { metric: 0, leads, gateway: None, interface: None, is_agents };
        for attribute in &found.attributes {
            match attribute {
                RouteAttribute::Gateway(address) => rival.gateway = ip(address),
                RouteAttribute::Oif(index) => rival.interface = Some(*index),
                RouteAttribute::Priority(metric) => rival.metric = *metric,
                _ => {}
            }
        }
        rival
    }
}

/// The metric of a route that is added without one, as the kernel has it.
pub(crate) fn usual_metric(destination: IpNet) -> u32 {
    if destination.addr().is_ipv4() { 0 } else { IPV6_METRIC }
}

/// An existing route has so high a metric that no route can be behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoneBehind;

/// The metric that puts a route to `destination` behind all rivals that lead somewhere; `None` where the
/// metric that the kernel gives does so.
pub(crate) fn metric_behind(destination: IpNet, rivals: &[Rival]) -> Result<Option<u32>, NoneBehind> {
    let kernels_own = usual_metric(destination);
    let last = rivals.iter().filter(|rival| rival.leads).map(|rival| rival.metric).max();
    let first = match last {
        Some(last) => last.checked_add(1).ok_or(NoneBehind)?.max(kernels_own),
        None => kernels_own,
    };
    // For one destination the kernel takes one route of each metric.
    let mut free = (first..=u32::MAX).filter(|metric| rivals.iter().all(|rival| rival.metric != *metric));
    let metric = free.next().ok_or(NoneBehind)?;
    Ok((metric != kernels_own).then_some(metric))
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behind_all_that_lead_somewhere() {
        let there = |metrics: &[(u32, bool)]| -> Vec<Rival> {
            let rival = |(metric, leads): &(u32, bool)| Rival {
                metric: *metric,
                leads: *leads,
                gateway: None,
                interface: Some(2),
                is_agents: false,
            };
            metrics.iter().map(rival).collect()
        };
        let (v4, v6) = ("0.0.0.0/0", "::/0");
        for (destination, metrics, wanted) in [
            (v4, &[][..], None),
            (v6, &[], None),
            (v4, &[(0, true)], Some(1)),
            (v4, &[(100, true)], Some(101)),
            (v4, &[(100, true), (7, true)], Some(101)),
            (v6, &[(1024, true)], Some(1025)),
            (v6, &[(512, true)], None),
            (v6, &[(2048, true)], Some(2049)),
            // A route that says that a destination cannot be reached is a last resort, and no other
            // network's.
            (v4, &[(u32::MAX, false)], None),
            (v6, &[(u32::MAX, false)], None),
            (v4, &[(0, false)], Some(1)),
            (v4, &[(0, true), (1, false), (2, false)], Some(3)),
        ] {
            let found = metric_behind(destination.parse().unwrap(), &there(metrics));
            assert_eq!(found, Ok(wanted), "{destination} {metrics:?}");
        }
        for metrics in [&[(u32::MAX, true)][..], &[(u32::MAX - 1, true), (u32::MAX, false)]] {
            assert_eq!(metric_behind(v4.parse().unwrap(), &there(metrics)), Err(NoneBehind), "{metrics:?}");
        }
    }
}
