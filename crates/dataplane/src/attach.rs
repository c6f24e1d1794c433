//! Attaching a container: the pair of interfaces is made, and both of its sides are set up.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use rustix::io::Errno;

use crate::attached::{Attached, Warning};
use crate::error::{AttachError, KernelRefusal};
use crate::kernel::{Side, Sides, with_sides};
use crate::links::{Link, is, is_unsupported};
use crate::routes::{Rival, Route, metric_behind, usual_metric};
use crate::sysctl::{self, Former, Need, Setting};
use crate::wiring::{Device, GATEWAY, HOST_MAC, Mac, Replaces, Wiring, host_route};

/// How many times the host's side is given its hardware address, and the pause between two tries.
const MAC_TRIES: u32 = 50;
const MAC_PAUSE: Duration = Duration::from_millis(100);

/// How many times a container's route is tried again when another program adds a route to the same
/// destination at the same moment.
const ROUTE_TRIES: u32 = 10;

/// The pauses between two looks for the link-local address of the host's side. The first pauses are short, as
/// the address is usually there within two milliseconds. The others are long, 5 seconds in all, because the
/// kernel reports changes of links late when many links change.
const LINK_LOCAL_PAUSES: [Duration; 110] = {
    let mut pauses = [Duration::from_millis(50); 110];
    let mut at = 0;
    while at < 10 {
        pauses[at] = Duration::from_millis(1);
        at += 1;
    }
    pauses
};

/// Attaches a container: makes the pair, and gives it its addresses, routes and settings.
///
/// A pair whose host's side has the wanted name already is deleted first, if [`Wiring::replaces`] allows
/// that; so attaching again makes everything anew. When attaching fails, everything that it made is deleted,
/// except where the error is [`AttachError::NotUndone`].
pub fn attach(wiring: &Wiring) -> Result<Attached, AttachError> {
    wiring.validate()?;
    with_sides(&wiring.netns, async |sides| {
        leave_room(&sides.container, wiring).await?;
        delete_stale(&sides.host, wiring).await?;
        let mut attempt = Attempt { wiring, sides, warnings: Vec::new(), former: Vec::new() };
        let device = attempt.make_pair().await?;
        match attempt.furnish().await {
            Ok((mac, mtu)) => Ok(Attached { mac, mtu, device, warnings: attempt.warnings }),
            Err(error) => Err(match attempt.undo().await {
                Ok(()) => error,
                Err(then) => AttachError::NotUndone { error: error.into(), then: then.into() },
            }),
        }
    })
}

async fn delete_stale(host: &Side, wiring: &Wiring) -> Result<(), AttachError> {
    let name = &wiring.host_interface;
    let look = |refusal| host.access_error(format_args!("look for {name}"), refusal);
    let Some(link) = host.link(name).await.map_err(look)? else { return Ok(()) };
    let may_go = match wiring.replaces {
        Replaces::Any => true,
        Replaces::None => false,
        Replaces::Index(index) => index == link.index,
    };
    if !link.pair || !may_go {
        return Err(name_taken(host, name));
    }
    // This check comes before the deletion: the new pair could not get the route that another interface has,
    // so the old pair would be deleted for nothing.
    for address in wiring.addresses.iter().filter(|_| wiring.want_host_routes) {
        let there = host.route_to(*address).await.filter(|route| {
            route.destination == host_route(*address)
                && route.gateway.is_none()
                && route.interface != link.index
        });
        if let Some(there) = there
            && !may_be_replaced(host, *address).await
        {
            return Err(route_taken(host, name, *address, Some(there), "another interface").await);
        }
    }
    host.delete_link_at(link.index)
        .await
        .map_err(|refusal| host.access_error(format_args!("delete the stale {name}"), refusal))?;
    Ok(())
}

/// Checks, before anything is changed, that each route that we add has a metric left behind the container's
/// own routes.
async fn leave_room(container: &Side, wiring: &Wiring) -> Result<(), AttachError> {
    let inner = &wiring.container_interface;
    let look = |refusal| container.access_error(format_args!("look for {inner}"), refusal);
    let former = container.link(inner).await.map_err(look)?.map(|link| link.index);
    for destination in wiring.destinations() {
        let refused =
            |refusal| container.access_error(format_args!("list the routes to {destination}"), refusal);
        let mut rivals = container.rivals(destination).await.map_err(refused)?;
        rivals.retain(|rival| former.is_none() || rival.interface != former);
        if metric_behind(destination, &rivals).is_err() {
            return Err(none_behind(container, destination, &rivals).await);
        }
    }
    Ok(())
}

async fn none_behind(container: &Side, destination: IpNet, rivals: &[Rival]) -> AttachError {
    let last = rivals.iter().filter(|rival| rival.leads).max_by_key(|rival| rival.metric);
    let route = match last {
        Some(last) => route_words(container, last).await,
        None => String::new(),
    };
    AttachError::NoneBehind { destination, route }
}

fn name_taken(side: &Side, name: &str) -> AttachError {
    AttachError::NameTaken { interface: name.to_owned(), namespace: side.namespace.name.clone() }
}

/// One attempt to attach, and what must be restored if it fails.
struct Attempt<'a> {
    wiring: &'a Wiring,
    sides: &'a Sides,
    warnings: Vec<Warning>,
    /// Settings of the container's whole namespace with the values that they had before, in the order in
    /// which they were changed.
    former: Vec<Former>,
}

impl Attempt<'_> {
    async fn make_pair(&mut self) -> Result<Device, AttachError> {
        let wanted = self.wiring.device;
        let refusal = match self.sides.add_pair(self.wiring, wanted).await {
            Ok(()) => return Ok(wanted),
            Err(refusal) => refusal,
        };
        if wanted == Device::Netkit && is_unsupported(&refusal) {
            self.warnings.push(Warning::NoNetkit { words: refusal.to_string() });
            return match self.sides.add_pair(self.wiring, Device::Veth).await {
                Ok(()) => Ok(Device::Veth),
                Err(refusal) => Err(self.no_pair(refusal).await),
            };
        }
        Err(self.no_pair(refusal).await)
    }

    /// Makes an error of the kernel's refusal. The kernel does not say which of the two names is taken, so
    /// this looks for the container's.
    async fn no_pair(&self, refusal: KernelRefusal) -> AttachError {
        let Sides { host, container } = self.sides;
        let (outer, inner) = (&self.wiring.host_interface, &self.wiring.container_interface);
        if is(&refusal, Errno::EXIST) {
            return match container.link(inner).await {
                Ok(Some(_)) => name_taken(container, inner),
                _ => name_taken(host, outer),
            };
        }
        container.access_error(format_args!("make the pair {outer} and {inner}"), refusal).into()
    }

    /// Does everything that follows the making of the pair, in Calico's order. Returns the container's
    /// hardware address and MTU.
    async fn furnish(&mut self) -> Result<(Mac, u32), AttachError> {
        let wiring = self.wiring;
        let Sides { host, container } = self.sides;
        let outer = find(host, &wiring.host_interface).await?;
        let inner = find(container, &wiring.container_interface).await?;
        let no_mac = || KernelRefusal {
            source: io::ErrorKind::InvalidData.into(),
            words: Some("it has none of 6 bytes".into()),
        };
        let mac = inner.mac.ok_or_else(no_mac).map_err(|refusal| {
            container.access_error(format_args!("tell the hardware address of {}", inner.name), refusal)
        })?;
        // The alias is set before any route leads to the interface: whoever finds such a route can then tell
        // whose it is.
        if let Some(alias) = &wiring.alias {
            let refused =
                |refusal| host.access_error(format_args!("note on {} whose it is", outer.name), refusal);
            host.set_alias(outer.index, alias).await.map_err(refused)?;
        }
        keep_mac(host, &outer).await?;

        container.namespace.enter()?;
        if wiring.has_ipv6() {
            self.set(container, &[sysctl::no_detection(&wiring.container_interface)])?;
        }
        host.namespace.enter()?;
        if wiring.has_ipv6() {
            self.set(host, &[sysctl::no_detection(&wiring.host_interface)])?;
        }
        self.set(host, &sysctl::of_host(wiring))?;
        set_up(host, &outer).await?;
        set_up(container, &inner).await?;

        container.namespace.enter()?;
        if wiring.has_ipv4() {
            let gateway = host_route(GATEWAY.into());
            let route = Route { destination: gateway, gateway: None, interface: inner.index };
            add_route(container, &inner, &route).await?;
            self.route_through(&inner, GATEWAY.into()).await?;
        }
        if wiring.has_ipv6() {
            self.set_lasting(&sysctl::ipv6_in_container(wiring))?;
            let gateway = link_local(host, &outer).await?;
            self.route_through(&inner, gateway).await?;
        }
        for address in &wiring.addresses {
            container.add_address(inner.index, *address).await.map_err(|refusal| {
                container.access_error(format_args!("give {} the address {address}", inner.name), refusal)
            })?;
        }
        self.set_lasting(&sysctl::forwarding_in_container(wiring))?;
        if wiring.want_host_routes {
            for address in &wiring.addresses {
                add_host_route(host, &outer, *address).await?;
            }
        }
        Ok((mac, inner.mtu))
    }

    /// Adds the routes whose address family is the gateway's.
    async fn route_through(&mut self, inner: &Link, gateway: IpAddr) -> Result<(), AttachError> {
        let same_family = |destination: &IpNet| destination.addr().is_ipv4() == gateway.is_ipv4();
        for destination in self.wiring.destinations().filter(same_family) {
            let route = Route { destination, gateway: Some(gateway), interface: inner.index };
            if let Some(behind) = add_route(&self.sides.container, inner, &route).await? {
                self.warnings.push(behind);
            }
        }
        Ok(())
    }

    /// Makes settings of an interface. The kernel drops them when the interface is deleted.
    fn set(&mut self, side: &Side, settings: &[Setting]) -> Result<(), AttachError> {
        for setting in settings {
            let Err(error) = setting.write() else { continue };
            match setting.need {
                Need::Must => return Err(setting.attach_error(&side.namespace.name, error)),
                Need::IfThere if error.kind() == io::ErrorKind::NotFound => {}
                Need::Should | Need::IfThere => self.warnings.push(Warning::Setting {
                    path: setting.path().display().to_string(),
                    value: setting.value,
                    words: error.to_string(),
                }),
            }
        }
        Ok(())
    }

    /// Makes settings of the container's whole namespace, which would outlast a failed attempt.
    ///
    /// The kernel copies the value of `all` to every interface. So every old value is read before the first
    /// new value is written, and the old values are restored in the order in which the new ones were written.
    /// A setting is written even if it has the wanted value already.
    fn set_lasting(&mut self, settings: &[Setting]) -> Result<(), AttachError> {
        let name = &self.sides.container.namespace.name;
        for setting in settings {
            let former = Former::of(setting).map_err(|error| setting.attach_error(name, error))?;
            self.former.extend(former);
        }
        for setting in settings {
            setting.write().map_err(|error| setting.attach_error(name, error))?;
        }
        Ok(())
    }

    /// Undoes the attempt. Deleting the container's side also deletes the host's side, and the routes and
    /// settings of both.
    async fn undo(&self) -> Result<(), AttachError> {
        let container = &self.sides.container;
        let inner = &self.wiring.container_interface;
        container
            .delete_link(inner)
            .await
            .map_err(|refusal| container.access_error(format_args!("delete {inner}"), refusal))?;
        container.namespace.enter()?;
        for former in &self.former {
            match former.restore() {
                // The setting belonged to the interface that was deleted.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                restored => {
                    restored.map_err(|error| former.setting.attach_error(&container.namespace.name, error))?
                }
            }
        }
        Ok(())
    }
}

async fn find(side: &Side, name: &str) -> Result<Link, AttachError> {
    let refused = |refusal| side.access_error(format_args!("find {name}, just made,"), refusal);
    let gone = || KernelRefusal {
        source: Errno::NODEV.into(),
        words: Some("somebody deleted or renamed it".into()),
    };
    Ok(side.link(name).await.and_then(|link| link.ok_or_else(gone)).map_err(refused)?)
}

/// Sets the hardware address of the host's side until the address stays. Programs on the host that name or
/// address new interfaces may replace the one that the interface was made with.
async fn keep_mac(host: &Side, outer: &Link) -> Result<(), AttachError> {
    let refused =
        |refusal| host.access_error(format_args!("set the hardware address of {}", outer.name), refusal);
    let mut seen = outer.mac;
    for _ in 0..MAC_TRIES {
        if seen == Some(HOST_MAC) {
            return Ok(());
        }
        host.set_mac(outer.index, HOST_MAC).await.map_err(refused)?;
        seen = host.link_at(outer.index).await.map_err(refused)?.and_then(|link| link.mac);
        if seen != Some(HOST_MAC) {
            tokio::time::sleep(MAC_PAUSE).await;
        }
    }
    Err(AttachError::MacChanged {
        interface: outer.name.clone(),
        found: seen.map_or_else(|| "none".into(), |mac| mac.to_string()),
        wanted: HOST_MAC,
        waited: MAC_PAUSE * MAC_TRIES,
    })
}

async fn set_up(side: &Side, link: &Link) -> Result<(), AttachError> {
    let refused = |refusal| side.access_error(format_args!("bring {} up", link.name), refusal);
    Ok(side.set_up(link.index).await.map_err(refused)?)
}

async fn link_local(host: &Side, outer: &Link) -> Result<IpAddr, AttachError> {
    let refused = |refusal| host.access_error(format_args!("list the addresses of {}", outer.name), refusal);
    for pause in LINK_LOCAL_PAUSES {
        if let Some(address) = host.link_local(outer.index).await.map_err(refused)? {
            return Ok(address.into());
        }
        tokio::time::sleep(pause).await;
    }
    Err(AttachError::NoLinkLocal { interface: outer.name.clone(), waited: LINK_LOCAL_PAUSES.iter().sum() })
}

/// Adds a route to a container that may have routes of other networks already. Another network's route to the
/// same destination stays in front of ours; the returned warning says so.
async fn add_route(container: &Side, inner: &Link, route: &Route) -> Result<Option<Warning>, AttachError> {
    let destination = route.destination;
    let by = route.gateway.map_or_else(String::new, |gateway| format!(" through {gateway}"));
    let refused = |refusal| {
        container.access_error(format_args!("route {destination}{by} by {}", inner.name), refusal).into()
    };
    let mut tries = ROUTE_TRIES;
    loop {
        let mut rivals = container.rivals(destination).await.map_err(refused)?;
        rivals.retain(|rival| rival.interface != Some(route.interface));
        let Ok(metric) = metric_behind(destination, &rivals) else {
            return Err(none_behind(container, destination, &rivals).await);
        };
        match container.add_route(route, metric).await {
            // Another program added a route with this metric first.
            Err(refusal) if is(&refusal, Errno::EXIST) && tries > 0 => tries -= 1,
            Err(refusal) => return Err(refused(refusal)),
            Ok(()) => {
                let Some(first) = rivals.iter().filter(|rival| rival.leads).min_by_key(|rival| rival.metric)
                else {
                    return Ok(None);
                };
                let (first, interface) = (route_words(container, first).await, inner.name.clone());
                return Ok(Some(Warning::Behind { destination, first, interface, metric }));
            }
        }
    }
}

/// Describes a route in the words of `ip route`.
async fn route_words(side: &Side, route: &Rival) -> String {
    let via = route.gateway.map_or_else(String::new, |gateway| format!("via {gateway} "));
    let device = match route.interface {
        Some(index) => side.link_at(index).await.ok().flatten().map(|link| link.name),
        None => None,
    };
    let dev = device.map_or_else(String::new, |name| format!("dev {name} "));
    format!("{via}{dev}metric {}", route.metric)
}

/// Adds the host's route to a container. A route that exists already is right if it leads to the container: a
/// node agent that watches interfaces may have added it first. A node agent's route to where the address was
/// before is replaced: the agent has not yet read that the address is here now.
async fn add_host_route(host: &Side, outer: &Link, address: IpAddr) -> Result<(), AttachError> {
    let route = Route { destination: host_route(address), gateway: None, interface: outer.index };
    let refusal = match host.add_route(&route, None).await {
        Err(refusal) if is(&refusal, Errno::EXIST) => refusal,
        done => {
            return Ok(done.map_err(|refusal| {
                host.access_error(format_args!("route {address} to {}", outer.name), refusal)
            })?);
        }
    };
    let there = host.route_to(address).await;
    if there.as_ref() == Some(&route) {
        return Ok(());
    }
    if may_be_replaced(host, address).await {
        let refused = |refusal| {
            let doing = format_args!("replace the node agent's route to {address} by one to {}", outer.name);
            host.access_error(doing, refusal)
        };
        return Ok(host.replace_route(&route).await.map_err(refused)?);
    }
    let unknown = format!("another interface ({refusal})");
    Err(route_taken(host, &outer.name, address, there, &unknown).await)
}

/// Whether the host's route to an address may give way to a container's: a node agent made it, and it leads
/// to no container.
async fn may_be_replaced(host: &Side, address: IpAddr) -> bool {
    let destination = host_route(address);
    let Ok(mut rivals) = host.rivals(destination).await else { return false };
    rivals.retain(|rival| rival.metric == usual_metric(destination));
    for rival in &rivals {
        let by = match rival.interface {
            Some(index) => host.link_at(index).await.ok().flatten(),
            None => None,
        };
        if !rival.is_agents || by.is_some_and(|link| link.pair && rival.gateway.is_none()) {
            return false;
        }
    }
    !rivals.is_empty()
}

async fn route_taken(
    host: &Side,
    interface: &str,
    address: IpAddr,
    there: Option<Route>,
    unknown: &str,
) -> AttachError {
    let other = match there {
        Some(there) => host.link_at(there.interface).await.ok().flatten(),
        None => None,
    };
    AttachError::RouteTaken {
        destination: host_route(address),
        device: other.map_or_else(|| unknown.to_owned(), |link| link.name),
        interface: interface.to_owned(),
    }
}
