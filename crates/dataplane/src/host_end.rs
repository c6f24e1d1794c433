//! The host's end of a pair, and how to tell which container the pair belongs to.
//!
//! The host's end has the same name for every sandbox of a pod, and the names for two pods may coincide. So
//! whoever deletes a host's end first looks whose it is. An end that this crate made says so in its alias. An
//! end that another program made has no alias: then the container's side and the host's routes tell whose it
//! is.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketType, socket};

use crate::detach::run_within;
use crate::error::{AccessError, DetachError};
use crate::kernel::{Side, run};
use crate::links::Link;
use crate::namespace::{Namespace, on_own_thread};
use crate::wiring::host_route;

/// The host's end of a pair as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostEnd {
    /// Its name.
    pub interface: String,
    /// Its index. The kernel never gives the same index to another interface, whatever that one's name is.
    pub index: u32,
    /// The note of the program that attached the container: which container it is. `None` where there is no
    /// note.
    pub alias: Option<String>,
    /// The addresses that the host routes to it.
    pub addresses: Vec<IpAddr>,
    /// The name of the container's side in the container; `None` where the kernel does not tell.
    pub other_side: Option<String>,
}

/// The host's end with that name; `None` where no interface has the name, or the interface is no side of a
/// pair.
pub fn host_end(interface: &str) -> Result<Option<HostEnd>, AccessError> {
    // Most containers are new, so no interface has the name: then one cheap request is enough.
    if !is_there(interface)? {
        return Ok(None);
    }
    on_own_thread(|| {
        run(async {
            let host = Side::open(Namespace::of_this_thread()?)?;
            let refused = |refusal| host.access_error(format_args!("look for {interface}"), refusal);
            match host.link(interface).await.map_err(refused)?.filter(|link| link.pair) {
                Some(link) => describe(&host, link).await.map(Some),
                None => Ok(None),
            }
        })
    })?
}

/// The host's end of the pair whose other side is `container_interface` in the namespace `netns`; `None`
/// where there is no such pair or no such namespace.
pub fn host_end_of(netns: &Path, container_interface: &str) -> Result<Option<HostEnd>, AccessError> {
    on_own_thread(|| {
        run(async {
            let host = Namespace::of_this_thread()?;
            let container = match Namespace::of_container(netns, &host).and_then(Side::open) {
                Ok(container) => container,
                Err(AccessError::NoNamespace(_) | AccessError::NotANamespace(_)) => return Ok(None),
                Err(error) => return Err(error),
            };
            let refused =
                |refusal| container.access_error(format_args!("look for {container_interface}"), refusal);
            let inner = container.link(container_interface).await.map_err(refused)?;
            let Some((inner, peer)) = inner.filter(|link| link.pair).and_then(|l| Some((l.index, l.peer?)))
            else {
                return Ok(None);
            };
            let host = Side::open(host)?;
            let refused = |refusal| {
                host.access_error(format_args!("look for the other side of {container_interface}"), refusal)
            };
            let outer = host.link_at(peer).await.map_err(refused)?;
            match outer.filter(|outer| outer.pair && outer.peer == Some(inner)) {
                Some(outer) => describe(&host, outer).await.map(Some),
                None => Ok(None),
            }
        })
    })?
}

/// The host's ends that the host routes one of the addresses to, whatever their names are.
pub fn host_ends_to(addresses: &[IpAddr]) -> Result<Vec<HostEnd>, AccessError> {
    if addresses.is_empty() {
        return Ok(Vec::new());
    }
    on_own_thread(|| {
        run(async {
            let host = Side::open(Namespace::of_this_thread()?)?;
            let mut ends: Vec<HostEnd> = Vec::new();
            for address in addresses {
                let refused =
                    |refusal| host.access_error(format_args!("look where {address} leads to"), refusal);
                let routes = host.rivals(host_route(*address)).await.map_err(refused)?;
                let direct = routes.iter().filter(|route| route.leads && route.gateway.is_none());
                for index in direct.filter_map(|route| route.interface) {
                    if ends.iter().any(|end| end.index == index) {
                        continue;
                    }
                    let link = host.link_at(index).await.map_err(refused)?;
                    if let Some(link) = link.filter(|link| link.pair) {
                        ends.push(describe(&host, link).await?);
                    }
                }
            }
            Ok(ends)
        })
    })?
}

/// Deletes a host's end; the kernel then deletes the container's side and the routes. Returns whether the end
/// was still there. It is found by its index, so a later interface with the same name is left alone.
pub fn remove(end: &HostEnd, within: Duration) -> Result<bool, DetachError> {
    let index = end.index;
    let interface = end.interface.clone();
    let work = async move {
        let host = Side::open(Namespace::of_this_thread()?)?;
        let refused = |refusal| host.access_error(format_args!("delete {interface}"), refusal);
        host.delete_link_at(index).await.map_err(refused)
    };
    run_within(within, work, || DetachError::TimedOutOnHost { interface: end.interface.clone(), within })
}

fn is_there(interface: &str) -> Result<bool, AccessError> {
    let system =
        |source: rustix::io::Errno| AccessError::System { doing: "open a socket", source: source.into() };
    let socket = socket(AddressFamily::UNIX, SocketType::DGRAM, None).map_err(system)?;
    // A name that is wrong in another way is refused when the interface is made.
    Ok(name_to_index(&socket, interface).is_ok())
}

async fn describe(host: &Side, link: Link) -> Result<HostEnd, AccessError> {
    let refused = |refusal| host.access_error(format_args!("list the routes to {}", link.name), refusal);
    let routes = host.routes(link.index).await.map_err(refused)?;
    let whole = routes.into_iter().filter(|route| {
        route.gateway.is_none() && route.destination.prefix_len() == route.destination.max_prefix_len()
    });
    // The link-local address that an IPv6 interface gives itself is among the routes, too.
    let addresses: Vec<IpAddr> =
        whole.map(|route| route.destination.addr()).filter(|addr| !is_link_local(addr)).collect();
    let other_side = host.other_side(&link).await;
    Ok(HostEnd { interface: link.name, index: link.index, alias: link.alias, addresses, other_side })
}

fn is_link_local(addr: &IpAddr) -> bool {
    matches!(addr, IpAddr::V6(addr) if addr.is_unicast_link_local())
}
