//! Tunnel devices.

use std::net::IpAddr;

use api::Family;
use ipnet::IpNet;
use routes::tunnel::{self, Kind, Tunnel};
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use rtnetlink::packet_route::link::{InfoKind, LinkFlags, LinkMessage};
use rustix::io::Errno;

use crate::device::{Deviation, Device, creation, device_of, difference, wanted};
use crate::error::{HostError, Refusal};
use crate::interface::{Interface, address_of};
use crate::kernel::{Kernel, family};

/// Whether an interface of that name is one of our tunnel devices.
pub(crate) fn is_tunnel(name: &str) -> bool {
    Kind::ALL.into_iter().any(|kind| kind.device() == name)
}

/// What became of a tunnel device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ensured {
    /// It was there, as it must be.
    Kept,
    /// It was changed; its routes and entries may have gone.
    Changed,
    /// It was made; it has no routes and no entries yet.
    Made,
    /// It was deleted and made anew, because the kernel cannot change what was wrong. Its routes and entries
    /// have gone.
    MadeAnew,
}

impl Kernel {
    /// Makes a tunnel device what it must be: `vni` and `port` are those of VXLAN, `uplink` is the interface
    /// that carries the node's address. What can be changed is changed in place. The device's address is
    /// the one that the node keeps; other addresses on it are removed, but for the link-local one.
    ///
    /// # Errors
    /// [`HostError::NoIpip`] where the kernel has no IPIP, [`HostError::NoLocal`] where the node has no
    /// address; [`HostError::Refused`].
    pub async fn ensure_tunnel(
        &self,
        tunnel: &Tunnel,
        uplink: &Interface,
        vni: u32,
        port: u16,
    ) -> Result<Ensured, HostError> {
        let (device, family) = (tunnel.device, tunnel.kind.family().number());
        let no_local = || HostError::NoLocal { device: device.to_string(), family };
        let local = tunnel.local.ok_or_else(no_local)?;
        let link = self.ensure_link(device, &wanted(tunnel, local, uplink.index, vni, port)).await?;
        let doing = || format!("set the address of {device}");
        let refused = |refusal| HostError::refused(doing(), refusal);
        let gone = || HostError::NoDevice { doing: doing(), device: device.to_string() };
        let index = self.index_of(device).map_err(refused)?.ok_or_else(gone)?;
        let is_changed = self.ensure_address(index, address_in_use(tunnel)).await.map_err(refused)?;
        Ok(if link == Ensured::Kept && is_changed { Ensured::Changed } else { link })
    }

    /// What of a tunnel device is not as [`Kernel::ensure_tunnel`] would make it. Changes nothing.
    ///
    /// # Errors
    /// [`HostError::NoLocal`], [`HostError::Refused`].
    pub async fn tunnel_deviations(
        &self,
        tunnel: &Tunnel,
        uplink: &Interface,
        vni: u32,
        port: u16,
    ) -> Result<Vec<Deviation>, HostError> {
        let (device, family) = (tunnel.device, tunnel.kind.family().number());
        let no_local = || HostError::NoLocal { device: device.to_string(), family };
        let local = tunnel.local.ok_or_else(no_local)?;
        let refused = |refusal| HostError::refused(format!("look at {device}"), refusal);
        let Some((index, found)) = self.device(device).await.map_err(refused)? else {
            let [wanted, found] = ["there", "missing"].map(str::to_string);
            return Ok(vec![Deviation { what: "device", wanted, found }]);
        };
        let mut deviations = found.deviations(&wanted(tunnel, local, uplink.index, vni, port));
        let shown = |nets: Vec<IpNet>| match nets.is_empty() {
            true => "none".to_string(),
            false => nets.iter().map(|net| net.addr().to_string()).collect::<Vec<_>>().join(", "),
        };
        let there = self.addresses_of(index).await.map_err(refused)?;
        let there = shown(there.into_iter().filter(|net| !is_link_local(net)).collect());
        let address = shown(address_in_use(tunnel).map(IpNet::from).into_iter().collect());
        if there != address {
            deviations.push(Deviation { what: "address", wanted: address, found: there });
        }
        Ok(deviations)
    }

    async fn ensure_link(&self, name: &str, wanted: &Device) -> Result<Ensured, HostError> {
        let refused = |doing: &str| {
            let doing = format!("{doing} {name}");
            move |refusal| HostError::refused(doing, refusal)
        };
        let Some((index, found)) = self.device(name).await.map_err(refused("look at"))? else {
            return self.make(name, wanted).await.map(|()| Ensured::Made);
        };
        if found == *wanted {
            return Ok(Ensured::Kept);
        }
        if found.can_become(wanted) {
            match self.change(RouteNetlinkMessage::NewLink(difference(index, &found, wanted)), 0).await {
                Ok(()) => return Ok(Ensured::Changed),
                // Older kernels change neither the local address nor the parent of a VXLAN.
                Err(_) if found.vxlan != wanted.vxlan => {}
                Err(refusal) => return Err(refused("change")(refusal)),
            }
        }
        self.delete(index).await.map_err(refused("delete"))?;
        self.make(name, wanted).await.map(|()| Ensured::MadeAnew)
    }

    async fn make(&self, name: &str, wanted: &Device) -> Result<(), HostError> {
        let made =
            self.change(RouteNetlinkMessage::NewLink(creation(name, wanted)), NLM_F_CREATE | NLM_F_EXCL);
        let is_ipip = wanted.kind == InfoKind::IpIp;
        match made.await {
            Err(refusal) if is_ipip && refusal.is_any(&[Errno::OPNOTSUPP]) => {
                Err(HostError::NoIpip { device: name.to_string() })
            }
            // Loading the module makes the device, as it is by default.
            Err(refusal) if is_ipip && refusal.is_any(&[Errno::EXIST]) => {
                let refused = |refusal| HostError::refused(format!("change {name}"), refusal);
                let found = self.device(name).await.map_err(refused)?;
                let Some((index, found)) = found else { return Err(refused(refusal)) };
                let change = RouteNetlinkMessage::NewLink(difference(index, &found, wanted));
                self.change(change, 0).await.map_err(refused)
            }
            made => made.map_err(|refusal| HostError::refused(format!("make {name}"), refusal)),
        }
    }

    /// Removes one of our tunnel devices, with all its routes and entries. The device that the IPIP module
    /// makes cannot be removed; it is set down, and loses its addresses.
    ///
    /// # Errors
    /// [`HostError::NotOurs`] where it is no device of ours; [`HostError::Refused`].
    pub async fn remove_tunnel(&self, device: &str) -> Result<(), HostError> {
        if !is_tunnel(device) {
            return Err(HostError::NotOurs { device: device.to_string() });
        }
        let refused = |refusal| HostError::refused(format!("delete {device}"), refusal);
        let Some(index) = self.index_of(device).map_err(refused)? else { return Ok(()) };
        self.delete(index).await.map_err(refused)?;
        if self.index_of(device).map_err(refused)? == Some(index) {
            self.ensure_address(index, None).await.map_err(refused)?;
            let mut down = LinkMessage::default();
            down.header.index = index;
            down.header.change_mask = LinkFlags::Up;
            self.change(RouteNetlinkMessage::SetLink(down), 0).await.map_err(refused)?;
        }
        Ok(())
    }

    async fn delete(&self, index: u32) -> Result<(), Refusal> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        match self.change(RouteNetlinkMessage::DelLink(message), 0).await {
            Err(refusal) if refusal.is_any(&[Errno::NODEV]) => Ok(()),
            deleted => deleted,
        }
    }

    async fn device(&self, name: &str) -> Result<Option<(u32, Device)>, Refusal> {
        let Some(index) = self.index_of(name)? else { return Ok(None) };
        let mut about = LinkMessage::default();
        about.header.index = index;
        match self.ask(RouteNetlinkMessage::GetLink(about)).await {
            Ok(Some(RouteNetlinkMessage::NewLink(link))) => Ok(Some((index, device_of(&link)))),
            Ok(_) => Ok(None),
            Err(refusal) if refusal.is_any(&[Errno::NODEV]) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    async fn addresses_of(&self, index: u32) -> Result<Vec<IpNet>, Refusal> {
        let mut about = AddressMessage::default();
        about.header.index = index;
        let listed = self.list(RouteNetlinkMessage::GetAddress(about)).await?;
        let net = |message: &RouteNetlinkMessage| match message {
            RouteNetlinkMessage::NewAddress(found) if found.header.index == index => {
                address_of(found).map(|addr| addr.net)
            }
            _ => None,
        };
        Ok(listed.iter().filter_map(net).collect())
    }

    /// Gives a device its address, and takes all others away, but for the link-local ones. Gives whether
    /// anything was changed.
    async fn ensure_address(&self, index: u32, wanted: Option<IpAddr>) -> Result<bool, Refusal> {
        let there = self.addresses_of(index).await?;
        let wanted = wanted.map(IpNet::from);
        let mut is_changed = false;
        if let Some(net) = wanted.filter(|net| !there.contains(net)) {
            let add = RouteNetlinkMessage::NewAddress(address_message(index, net));
            self.change(add, NLM_F_CREATE | NLM_F_EXCL).await?;
            is_changed = true;
        }
        for net in there {
            if Some(net) == wanted || is_link_local(&net) {
                continue;
            }
            let remove = RouteNetlinkMessage::DelAddress(address_message(index, net));
            match self.change(remove, 0).await {
                Err(refusal) if refusal.is_any(&[Errno::ADDRNOTAVAIL]) => {}
                removed => removed?,
            }
            is_changed = true;
        }
        Ok(is_changed)
    }
}

fn is_link_local(net: &IpNet) -> bool {
    matches!(net, IpNet::V6(net) if net.addr().is_unicast_link_local())
}

/// The address that a tunnel device must have: also one that is to be replaced or given up is in use until
/// the Node names it no more.
fn address_in_use(tunnel: &Tunnel) -> Option<IpAddr> {
    match tunnel.address {
        tunnel::Address::Keep(addr) => Some(addr),
        tunnel::Address::Take(addr) | tunnel::Address::GiveUp(addr) => addr,
    }
}

fn address_message(index: u32, net: IpNet) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = index;
    message.header.family = family(Family::of(net.addr()));
    message.header.prefix_len = net.prefix_len();
    // Nobody else is asked whether he has the address: it would be of no use for a second.
    message.header.flags = AddressHeaderFlags::Nodad;
    message.attributes.push(AddressAttribute::Local(net.addr()));
    message.attributes.push(AddressAttribute::Address(net.addr()));
    message
}
