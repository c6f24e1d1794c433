//! Checks that a container's network is still as it was made.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::error::{AccessError, CheckError};
use crate::kernel::{Side, Sides, with_sides};
use crate::links::Link;
use crate::sysctl::{self, Need, Setting};
use crate::wiring::{GATEWAY, HOST_MAC, Mac, Wiring, host_route};

/// A difference between the wiring and the container's network.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Deviation {
    /// An interface is missing.
    NoInterface {
        /// Its name.
        interface: String,
        /// The namespace that lacks it.
        namespace: String,
    },
    /// Both interfaces are there, but are not the two sides of one pair.
    NotAPair {
        /// The host's side.
        host: String,
        /// The container's side.
        container: String,
    },
    /// An interface is down.
    Down {
        /// Its name.
        interface: String,
    },
    /// An interface has another hardware address.
    Mac {
        /// Its name.
        interface: String,
        /// The address that it has.
        found: Option<Mac>,
        /// The address that it should have.
        wanted: Mac,
    },
    /// An interface has another MTU.
    Mtu {
        /// Its name.
        interface: String,
        /// The MTU that it has, in bytes.
        found: u32,
        /// The MTU that it should have, in bytes.
        wanted: u32,
    },
    /// The container lacks an address.
    NoAddress {
        /// The container's interface.
        interface: String,
        /// The address.
        address: IpNet,
    },
    /// A route is missing, or leads elsewhere.
    NoRoute {
        /// The destination of the route.
        destination: IpNet,
        /// Its next hop; `None` where the destination is on the link.
        gateway: Option<IpAddr>,
        /// The interface that it leads through.
        interface: String,
        /// The namespace that should have the route.
        namespace: String,
    },
    /// The host's side has no link-local address, so the container has no IPv6 gateway.
    NoLinkLocal {
        /// The host's side.
        interface: String,
    },
    /// A kernel setting has another value.
    Setting {
        /// The setting's file.
        path: String,
        /// The value that the setting has; `None` where there is no such file.
        found: Option<String>,
        /// The value that it should have.
        wanted: &'static str,
        /// The namespace that the setting belongs to.
        namespace: String,
    },
}

impl fmt::Display for Deviation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoInterface { interface, namespace } => {
                write!(out, "no interface {interface} in {namespace}")
            }
            Self::NotAPair { host, container } => {
                write!(out, "{host} of the host is not the other side of the container's {container}")
            }
            Self::Down { interface } => write!(out, "{interface} is down"),
            Self::Mac { interface, found: Some(found), wanted } => {
                write!(out, "{interface} has hardware address {found} instead of {wanted}")
            }
            Self::Mac { interface, found: None, wanted } => {
                write!(out, "{interface} has no hardware address instead of {wanted}")
            }
            Self::Mtu { interface, found, wanted } => {
                write!(out, "{interface} has MTU {found} instead of {wanted}")
            }
            Self::NoAddress { interface, address } => write!(out, "{interface} lacks address {address}"),
            Self::NoRoute { destination, gateway, interface, namespace } => {
                write!(out, "no route to {destination}")?;
                if let Some(gateway) = gateway {
                    write!(out, " via {gateway}")?;
                }
                write!(out, " dev {interface} in {namespace}")
            }
            Self::NoLinkLocal { interface } => write!(out, "{interface} has no IPv6 link-local address"),
            Self::Setting { path, found, wanted, namespace } => {
                let found = found.as_deref().unwrap_or("missing");
                write!(out, "{path} is {found} instead of {wanted} in {namespace}")
            }
        }
    }
}

/// Checks that a container's network is as [`attach`](crate::attach()) made it. Changes nothing.
pub fn check(wiring: &Wiring) -> Result<(), CheckError> {
    let deviations: Vec<Deviation> = with_sides(&wiring.netns, async |sides| {
        let mut check = Check { wiring, sides, deviations: Vec::new() };
        check.all().await.map(|()| check.deviations)
    })?;
    if deviations.is_empty() { Ok(()) } else { Err(CheckError::Deviates(deviations)) }
}

struct Check<'a> {
    wiring: &'a Wiring,
    sides: &'a Sides,
    deviations: Vec<Deviation>,
}

impl Check<'_> {
    async fn all(&mut self) -> Result<(), AccessError> {
        let wiring = self.wiring;
        let Sides { host, container } = self.sides;
        let outer = self.link(host, &wiring.host_interface, Some(HOST_MAC)).await?;
        let inner = self.link(container, &wiring.container_interface, wiring.mac).await?;
        if let (Some(outer), Some(inner)) = (&outer, &inner)
            && (outer.peer != Some(inner.index) || inner.peer != Some(outer.index))
        {
            self.deviations
                .push(Deviation::NotAPair { host: outer.name.clone(), container: inner.name.clone() });
        }
        if let Some(inner) = &inner {
            self.addresses(inner).await?;
            self.container_routes(inner, outer.as_ref()).await?;
        }
        if let Some(outer) = &outer {
            self.host_routes(outer).await;
            host.namespace.enter()?;
            self.settings(host, sysctl::of_host(wiring))?;
        }
        container.namespace.enter()?;
        self.settings(container, sysctl::forwarding_in_container(wiring))
    }

    async fn link(&mut self, side: &Side, name: &str, mac: Option<Mac>) -> Result<Option<Link>, AccessError> {
        let refused = |refusal| side.access_error(format_args!("look for {name}"), refusal);
        let Some(link) = side.link(name).await.map_err(refused)? else {
            let namespace = side.namespace.name.clone();
            self.deviations.push(Deviation::NoInterface { interface: name.to_owned(), namespace });
            return Ok(None);
        };
        let interface = name.to_owned();
        if !link.up {
            self.deviations.push(Deviation::Down { interface: interface.clone() });
        }
        if let Some(wanted) = mac
            && link.mac != Some(wanted)
        {
            self.deviations.push(Deviation::Mac { interface: interface.clone(), found: link.mac, wanted });
        }
        let wanted = self.wiring.mtu;
        if wanted != 0 && link.mtu != wanted {
            self.deviations.push(Deviation::Mtu { interface, found: link.mtu, wanted });
        }
        Ok(Some(link))
    }

    async fn addresses(&mut self, inner: &Link) -> Result<(), AccessError> {
        let container = &self.sides.container;
        let refused =
            |refusal| container.access_error(format_args!("list the addresses of {}", inner.name), refusal);
        let found = container.addresses(inner.index).await.map_err(refused)?;
        for wanted in self.wiring.addresses.iter().map(|address| host_route(*address)) {
            if !found.contains(&(wanted.addr(), wanted.prefix_len())) {
                let interface = inner.name.clone();
                self.deviations.push(Deviation::NoAddress { interface, address: wanted });
            }
        }
        Ok(())
    }

    async fn container_routes(&mut self, inner: &Link, outer: Option<&Link>) -> Result<(), AccessError> {
        let container = &self.sides.container;
        let refused =
            |refusal| container.access_error(format_args!("list the routes by {}", inner.name), refusal);
        let found = container.routes(inner.index).await.map_err(refused)?;
        let mut wanted = Vec::new();
        if self.wiring.has_ipv4() {
            wanted.push((host_route(GATEWAY.into()), None));
        }
        let ipv6_gateway = self.ipv6_gateway(outer).await?;
        for destination in self.wiring.destinations() {
            match destination {
                IpNet::V4(_) => wanted.push((destination, Some(IpAddr::V4(GATEWAY)))),
                IpNet::V6(_) => wanted.extend(ipv6_gateway.map(|gateway| (destination, Some(gateway)))),
            }
        }
        for (destination, gateway) in wanted {
            let there =
                found.iter().any(|route| route.destination == destination && route.gateway == gateway);
            if !there {
                self.deviations.push(Deviation::NoRoute {
                    destination,
                    gateway,
                    interface: inner.name.clone(),
                    namespace: container.namespace.name.clone(),
                });
            }
        }
        Ok(())
    }

    async fn ipv6_gateway(&mut self, outer: Option<&Link>) -> Result<Option<IpAddr>, AccessError> {
        let Some(outer) = outer.filter(|_| self.wiring.has_ipv6()) else { return Ok(None) };
        let host = &self.sides.host;
        let refused =
            |refusal| host.access_error(format_args!("list the addresses of {}", outer.name), refusal);
        let found = host.link_local(outer.index).await.map_err(refused)?;
        if found.is_none() {
            self.deviations.push(Deviation::NoLinkLocal { interface: outer.name.clone() });
        }
        Ok(found.map(IpAddr::V6))
    }

    /// Asks the kernel for the route to each address. Listing the host's table instead would take long, as
    /// that table is long.
    async fn host_routes(&mut self, outer: &Link) {
        if !self.wiring.want_host_routes {
            return;
        }
        for address in &self.wiring.addresses {
            let destination = host_route(*address);
            let there = self.sides.host.route_to(*address).await.is_some_and(|route| {
                route.destination == destination && route.interface == outer.index && route.gateway.is_none()
            });
            if !there {
                self.deviations.push(Deviation::NoRoute {
                    destination,
                    gateway: None,
                    interface: outer.name.clone(),
                    namespace: self.sides.host.namespace.name.clone(),
                });
            }
        }
    }

    fn settings(&mut self, side: &Side, settings: Vec<Setting>) -> Result<(), AccessError> {
        for setting in settings {
            let path = setting.path().display().to_string();
            let found = setting.read().map_err(|source| {
                side.access_error(
                    format_args!("read {path}"),
                    crate::error::KernelRefusal { source, words: None },
                )
            })?;
            let missing_is_fine = setting.need == Need::IfThere && found.is_none();
            if found.as_deref() != Some(setting.value) && !missing_is_fine && setting.need != Need::Should {
                self.deviations.push(Deviation::Setting {
                    path,
                    found,
                    wanted: setting.value,
                    namespace: side.namespace.name.clone(),
                });
            }
        }
        Ok(())
    }
}
