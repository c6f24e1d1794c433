//! What a tunnel device is and must be, in the kernel's words and back.

use std::fmt;
use std::net::IpAddr;

use routes::tunnel::Tunnel;
use routes::{Encapsulation, Mac};
use rtnetlink::packet_route::link::{
    InfoData, InfoKind, InfoVxlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};

use crate::interface::interface;

/// What makes a VXLAN device what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Vxlan {
    vni: u32,
    port: u16,
    local: Option<IpAddr>,
    parent: u32,
    /// Whether it does nothing beyond its entries: it learns nothing, and answers for nobody.
    is_plain: bool,
}

/// Something of a tunnel device that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deviation {
    /// What: `device`, `kind`, `state`, `mtu`, `mac`, `vni`, `port`, `local`, `parent`, `learns`, `address`.
    pub what: &'static str,
    /// The wanted value.
    pub wanted: String,
    /// The value that was found.
    pub found: String,
}

impl fmt::Display for Deviation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}, and must be {}", self.what, self.found, self.wanted)
    }
}

/// A device, as it is or as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Device {
    pub(crate) kind: InfoKind,
    is_up: bool,
    mtu: u32,
    mac: Option<Mac>,
    /// For VXLAN.
    pub(crate) vxlan: Option<Vxlan>,
}

/// What a device must be.
pub(crate) fn wanted(tunnel: &Tunnel, local: IpAddr, parent: u32, vni: u32, port: u16) -> Device {
    let is_vxlan = tunnel.kind.encapsulation() == Encapsulation::Vxlan;
    Device {
        kind: if is_vxlan { InfoKind::Vxlan } else { InfoKind::IpIp },
        is_up: true,
        mtu: tunnel.mtu,
        mac: tunnel.mac.filter(|_| is_vxlan),
        vxlan: is_vxlan.then_some(Vxlan { vni, port, local: Some(local), parent, is_plain: true }),
    }
}

impl Device {
    /// What of it is not as it must be: each with the wanted and the found value.
    pub(crate) fn deviations(&self, wanted: &Device) -> Vec<Deviation> {
        let addr = |addr: Option<IpAddr>| addr.map_or_else(|| "none".to_string(), |addr| addr.to_string());
        let facts = |device: &Device| {
            let mac = device.mac.map_or_else(|| "none".to_string(), |mac| mac.to_string());
            let mut facts = vec![
                ("kind", format!("{:?}", device.kind).to_lowercase()),
                ("state", if device.is_up { "up" } else { "down" }.to_string()),
                ("mtu", device.mtu.to_string()),
            ];
            if wanted.mac.is_some() {
                facts.push(("mac", mac));
            }
            if let Some(vxlan) = &device.vxlan {
                facts.push(("vni", vxlan.vni.to_string()));
                facts.push(("port", vxlan.port.to_string()));
                facts.push(("local", addr(vxlan.local)));
                facts.push(("parent", vxlan.parent.to_string()));
                let learns = if vxlan.is_plain { "nothing" } else { "or answers by itself" };
                facts.push(("learns", learns.to_string()));
            }
            facts
        };
        let found = facts(self);
        let differs = |(what, wanted): (&'static str, String)| {
            let found = found.iter().find(|(other, _)| *other == what).map(|(_, found)| found.clone());
            let found = found.unwrap_or_else(|| "none".to_string());
            (found != wanted).then_some(Deviation { what, wanted, found })
        };
        facts(wanted).into_iter().filter_map(differs).collect()
    }

    /// Whether the kernel may change it into that.
    pub(crate) fn can_become(&self, wanted: &Device) -> bool {
        let fixed =
            |device: &Device| device.vxlan.as_ref().map(|vxlan| (vxlan.vni, vxlan.port, vxlan.is_plain));
        self.kind == wanted.kind && fixed(self) == fixed(wanted)
    }
}

/// What a device is, by the kernel's record.
pub(crate) fn device_of(link: &LinkMessage) -> Device {
    let seen = interface(link);
    let mut device = Device {
        kind: InfoKind::Other(String::new()),
        is_up: seen.is_up,
        mtu: seen.mtu,
        mac: None,
        vxlan: None,
    };
    let mut mac = None;
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::Address(bytes) => mac = bytes.as_slice().try_into().ok().map(Mac),
            LinkAttribute::LinkInfo(infos) => {
                for info in infos {
                    match info {
                        LinkInfo::Kind(kind) => device.kind = kind.clone(),
                        LinkInfo::Data(InfoData::Vxlan(data)) => device.vxlan = Some(vxlan_of(data)),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    // An IPIP device tells its local address in the place of a hardware address.
    device.mac = mac.filter(|_| device.kind == InfoKind::Vxlan);
    device
}

fn vxlan_of(data: &[InfoVxlan]) -> Vxlan {
    let mut found = Vxlan { vni: 0, port: 0, local: None, parent: 0, is_plain: true };
    for info in data {
        match info {
            InfoVxlan::Id(vni) => found.vni = *vni,
            InfoVxlan::Port(port) => found.port = *port,
            InfoVxlan::Local(addr) => found.local = Some((*addr).into()),
            InfoVxlan::Local6(addr) => found.local = Some((*addr).into()),
            InfoVxlan::Link(index) => found.parent = *index,
            InfoVxlan::Learning(true)
            | InfoVxlan::L2Miss(true)
            | InfoVxlan::L3Miss(true)
            | InfoVxlan::Proxy(true)
            | InfoVxlan::Rsc(true)
            | InfoVxlan::CollectMetadata(true)
            | InfoVxlan::Vnifilter(true)
            | InfoVxlan::Group(_)
            | InfoVxlan::Group6(_)
            | InfoVxlan::Gbp
            | InfoVxlan::Gpe => found.is_plain = false,
            _ => {}
        }
    }
    found
}

/// What makes a device.
pub(crate) fn creation(name: &str, wanted: &Device) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    message.attributes.push(LinkAttribute::IfName(name.to_string()));
    message.attributes.push(LinkAttribute::Mtu(wanted.mtu));
    message.attributes.extend(wanted.mac.map(|Mac(bytes)| LinkAttribute::Address(bytes.to_vec())));
    let mut info = vec![LinkInfo::Kind(wanted.kind.clone())];
    if let Some(vxlan) = &wanted.vxlan {
        let mut data =
            vec![InfoVxlan::Id(vxlan.vni), InfoVxlan::Port(vxlan.port), InfoVxlan::Learning(false)];
        data.extend(ends(vxlan));
        info.push(LinkInfo::Data(InfoData::Vxlan(data)));
    }
    message.attributes.push(LinkAttribute::LinkInfo(info));
    message
}

fn ends(vxlan: &Vxlan) -> Vec<InfoVxlan> {
    let local = vxlan.local.map(|addr| match addr {
        IpAddr::V4(addr) => InfoVxlan::Local(addr),
        IpAddr::V6(addr) => InfoVxlan::Local6(addr),
    });
    local.into_iter().chain([InfoVxlan::Link(vxlan.parent)]).collect()
}

/// What is to be changed of a device, in one message. It goes as RTM_NEWLINK: RTM_SETLINK leaves alone what
/// belongs to the kind of the device.
pub(crate) fn difference(index: u32, found: &Device, wanted: &Device) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    if !found.is_up {
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
    }
    if found.mtu != wanted.mtu {
        message.attributes.push(LinkAttribute::Mtu(wanted.mtu));
    }
    let mac = wanted.mac.filter(|mac| found.mac != Some(*mac));
    message.attributes.extend(mac.map(|Mac(bytes)| LinkAttribute::Address(bytes.to_vec())));
    if let Some(vxlan) = wanted.vxlan.as_ref().filter(|vxlan| found.vxlan.as_ref() != Some(*vxlan)) {
        let data = LinkInfo::Data(InfoData::Vxlan(ends(vxlan)));
        message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(wanted.kind.clone()), data]));
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    /// IPIP is not in every kernel, so its messages are looked at.
    #[test]
    fn an_ipip_device_is_made_up_and_of_its_size() {
        let wanted = Device { kind: InfoKind::IpIp, is_up: true, mtu: 1480, mac: None, vxlan: None };
        let made = creation("tunl0", &wanted);
        assert_eq!(made.header.flags, LinkFlags::Up);
        assert_eq!(
            made.attributes,
            [
                LinkAttribute::IfName("tunl0".to_string()),
                LinkAttribute::Mtu(1480),
                LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::IpIp)]),
            ]
        );
        // The module makes the device down and of another size; its local address is no hardware address.
        let mut there = LinkMessage::default();
        there.attributes = vec![
            LinkAttribute::Mtu(1400),
            LinkAttribute::Address(vec![0; 4]),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::IpIp)]),
        ];
        let found = device_of(&there);
        assert!(found.can_become(&wanted));
        let change = difference(7, &found, &wanted);
        assert_eq!((change.header.index, change.header.flags), (7, LinkFlags::Up));
        assert_eq!(change.attributes, [LinkAttribute::Mtu(1480)]);
        there.attributes[0] = LinkAttribute::Mtu(1480);
        there.header.flags = LinkFlags::Up;
        assert_eq!(device_of(&there), wanted);
    }
}
