//! Interfaces, read and changed by netlink.

use std::io;
use std::pin::pin;

use futures_util::TryStreamExt;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::link::{
    InfoData, InfoKind, InfoNetkit, InfoVeth, LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo,
    LinkMessage, NetkitMode,
};
use rtnetlink::{LinkGetRequest, LinkMessageBuilder, LinkUnspec};
use rustix::io::Errno;

use crate::error::KernelRefusal;
use crate::kernel::{Side, Sides, answer_to};
use crate::wiring::{Device, HOST_MAC, Mac, Wiring};

/// What this crate reads of an interface.
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) mac: Option<Mac>,
    pub(crate) mtu: u32,
    pub(crate) up: bool,
    /// Whether it is a kind of pair that attachments make.
    pub(crate) pair: bool,
    /// The index of the other side of a pair, in that side's namespace.
    pub(crate) peer: Option<u32>,
    /// The number by which the host knows the other side's namespace; `None` where both sides are in one
    /// namespace.
    pub(crate) peer_namespace: Option<i32>,
    /// The alias that the program which made the interface gave it.
    pub(crate) alias: Option<String>,
}

impl Side {
    pub(crate) async fn link(&self, name: &str) -> Result<Option<Link>, KernelRefusal> {
        one(self.netlink.link().get().match_name(name)).await
    }

    pub(crate) async fn link_at(&self, index: u32) -> Result<Option<Link>, KernelRefusal> {
        one(self.netlink.link().get().match_index(index)).await
    }

    /// The name of the other side of a pair in that side's namespace; `None` where the kernel does not tell.
    pub(crate) async fn other_side(&self, link: &Link) -> Option<String> {
        let mut request = self.netlink.link().get().match_index(link.peer?);
        let there = link.peer_namespace.map(LinkAttribute::IfNetnsId);
        request.message_mut().attributes.extend(there);
        one(request).await.ok().flatten().map(|other| other.name)
    }

    /// Deletes an interface, and with it the other side of a pair. Returns whether the interface was there.
    pub(crate) async fn delete_link(&self, name: &str) -> Result<bool, KernelRefusal> {
        self.delete(LinkUnspec::new_with_name(name).build()).await
    }

    /// The same as [`Side::delete_link`], by the interface's index.
    pub(crate) async fn delete_link_at(&self, index: u32) -> Result<bool, KernelRefusal> {
        self.delete(LinkUnspec::new_with_index(index).build()).await
    }

    async fn delete(&self, message: LinkMessage) -> Result<bool, KernelRefusal> {
        match answer_to(self.netlink.link().del_with_message(message).execute()).await {
            Ok(()) => Ok(true),
            Err(gone) if is(&gone, Errno::NODEV) => Ok(false),
            Err(other) => Err(other),
        }
    }

    pub(crate) async fn set_up(&self, index: u32) -> Result<(), KernelRefusal> {
        self.change(LinkUnspec::new_with_index(index).up()).await
    }

    pub(crate) async fn set_alias(&self, index: u32, alias: &str) -> Result<(), KernelRefusal> {
        self.change(LinkUnspec::new_with_index(index).alias(alias)).await
    }

    pub(crate) async fn set_mac(&self, index: u32, mac: Mac) -> Result<(), KernelRefusal> {
        self.change(LinkUnspec::new_with_index(index).address(mac.0.to_vec())).await
    }

    async fn change(&self, message: LinkMessageBuilder<LinkUnspec>) -> Result<(), KernelRefusal> {
        answer_to(self.netlink.link().change(message.build()).execute()).await
    }
}

impl Sides {
    /// Makes the pair, each side in its namespace and down.
    ///
    /// The request for a veth pair goes to the container's namespace, that for a netkit pair to the host's:
    /// the side in the namespace of the request is a netkit's primary, which programs are attached to.
    pub(crate) async fn add_pair(&self, wiring: &Wiring, device: Device) -> Result<(), KernelRefusal> {
        let host = ends(wiring, &wiring.host_interface, Some(HOST_MAC));
        let container = ends(wiring, &wiring.container_interface, wiring.mac);
        let elsewhere = |attributes: Vec<LinkAttribute>, side: &Side| {
            let there = LinkAttribute::NetNsFd(side.namespace.descriptor());
            message(attributes.into_iter().chain([there]).collect())
        };
        let (maker, mut pair, kind, data) = match device {
            Device::Veth => {
                let peer = InfoVeth::Peer(elsewhere(host, &self.host));
                (&self.container, container, InfoKind::Veth, InfoData::Veth(peer))
            }
            Device::Netkit => {
                let peer = InfoNetkit::Peer(elsewhere(container, &self.container));
                let data = vec![InfoNetkit::Mode(NetkitMode::L2), peer];
                (&self.host, host, InfoKind::Netkit, InfoData::Netkit(data))
            }
        };
        pair.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind), LinkInfo::Data(data)]));
        answer_to(maker.netlink.link().add(message(pair)).execute()).await
    }
}

async fn one(request: LinkGetRequest) -> Result<Option<Link>, KernelRefusal> {
    let request = request.set_filter_mask(AddressFamily::Unspec, vec![LinkExtentMask::SkipStats]);
    match answer_to(pin!(request.execute()).try_next()).await {
        Ok(found) => Ok(found.map(Link::from)),
        Err(gone) if is(&gone, Errno::NODEV) => Ok(None),
        Err(other) => Err(other),
    }
}

fn ends(wiring: &Wiring, name: &str, mac: Option<Mac>) -> Vec<LinkAttribute> {
    let mut attributes = vec![LinkAttribute::IfName(name.to_owned())];
    attributes.extend(mac.map(|mac| LinkAttribute::Address(mac.0.to_vec())));
    if wiring.mtu != 0 {
        attributes.push(LinkAttribute::Mtu(wiring.mtu));
    }
    if wiring.queues != 0 {
        attributes.push(LinkAttribute::NumTxQueues(wiring.queues));
        attributes.push(LinkAttribute::NumRxQueues(wiring.queues));
    }
    attributes
}

fn message(attributes: Vec<LinkAttribute>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes = attributes;
    message
}

impl From<LinkMessage> for Link {
    fn from(found: LinkMessage) -> Self {
        let mut link = Self {
            index: found.header.index,
            name: String::new(),
            mac: None,
            mtu: 0,
            up: found.header.flags.contains(LinkFlags::Up),
            pair: false,
            peer: None,
            peer_namespace: None,
            alias: None,
        };
        for attribute in found.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name = name,
                LinkAttribute::Address(bytes) => link.mac = bytes.try_into().ok().map(Mac),
                LinkAttribute::Mtu(mtu) => link.mtu = mtu,
                LinkAttribute::Link(index) => link.peer = Some(index),
                LinkAttribute::LinkNetNsId(id) => link.peer_namespace = Some(id),
                LinkAttribute::IfAlias(alias) => link.alias = Some(alias),
                LinkAttribute::LinkInfo(infos) => {
                    link.pair = infos
                        .iter()
                        .any(|info| matches!(info, LinkInfo::Kind(InfoKind::Veth | InfoKind::Netkit)));
                }
                _ => {}
            }
        }
        link
    }
}

pub(crate) fn is(refusal: &KernelRefusal, errno: Errno) -> bool {
    refusal.source.raw_os_error() == Some(errno.raw_os_error())
}

/// Whether the kernel refused because it does not know the kind of the interface.
pub(crate) fn is_unsupported(refusal: &KernelRefusal) -> bool {
    is(refusal, Errno::OPNOTSUPP) || refusal.source.kind() == io::ErrorKind::Unsupported
}
