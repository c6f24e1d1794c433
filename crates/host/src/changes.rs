//! Tells that something changed in the kernel.
//!
//! The socket is read without a task or a queue in between: what is not read yet waits in the kernel's
//! buffer, and where that overflows the kernel says so, once. So a flood of changes costs no memory.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};

use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::{
    NLM_F_DUMP, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkBuffer, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::packet_route::link::LinkMessage;
use rtnetlink::packet_route::route::{RouteHeader, RouteMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{AsyncSocket, SocketAddr, TokioSocket};

use crate::error::HostError;
use crate::interface::interface;
use crate::kernel::Kernel;
use crate::message::{OURS, outputs};
use crate::tunnel::is_tunnel;

const GROUPS: [MulticastGroup; 6] = [
    MulticastGroup::Link,
    MulticastGroup::Neigh,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
];

/// The kernel's buffer for changes that have not been read: some thousand. The kernel gives less where
/// `net.core.rmem_max` is lower.
const BUFFER_BYTES: usize = 1 << 20;

/// No message of the kernel is longer.
const MESSAGE_BYTES: usize = 32 << 10;

/// After so many messages what is known is told, even if there are more.
const TOLD_AT_ONCE: usize = 1000;

/// How the names of interfaces begin that lead to pods.
const POD: &str = "cali";

/// What changed since the last time. Changes that only repeat what was there are told, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// An interface, or an address of one. The kernel removes routes of an interface that goes down without
    /// telling of each, so routes may have gone.
    pub interfaces: bool,
    /// An interface that leads to a pod, or an address or a route of one.
    pub pods: bool,
    /// A default route: the host may have another address to the world.
    pub default_route: bool,
    /// A route with our mark, a route or an entry of a tunnel device of ours, or a route that took the place
    /// of another one, which may have been ours.
    pub ours: bool,
    /// Changes were lost, because there were too many. Anything may have changed.
    pub is_incomplete: bool,
}

impl Changed {
    /// Whether what is there is to be compared with what is wanted.
    pub fn may_matter_to_routes(&self) -> bool {
        self.interfaces || self.ours || self.is_incomplete
    }
}

/// Tells that something changed in the network namespace of the thread that subscribed.
pub struct Changes {
    socket: TokioSocket,
    buffer: Vec<u8>,
    known: Known,
}

/// What is known of sockets and interfaces, by which a message is understood.
#[derive(Default)]
pub(crate) struct Known {
    /// The sockets whose changes are not told.
    own: BTreeSet<u32>,
    tunnels: BTreeSet<u32>,
    pods: BTreeSet<u32>,
}

impl Changes {
    /// Begins to listen. The first answer comes at once: it tells of all interfaces.
    ///
    /// # Errors
    /// [`HostError::System`].
    pub fn subscribe() -> Result<Changes, HostError> {
        let system = |source| HostError::System { doing: "listen to changes by netlink", source };
        let mut socket = TokioSocket::new(NETLINK_ROUTE).map_err(system)?;
        let groups = GROUPS.iter().fold(0, |groups, group| groups | 1 << (*group as u32 - 1));
        socket.socket_ref().set_rx_buf_sz(BUFFER_BYTES).map_err(system)?;
        socket.socket_mut().bind(&SocketAddr::new(0, groups)).map_err(system)?;
        let buffer = Vec::with_capacity(MESSAGE_BYTES);
        let changes = Changes { socket, buffer, known: Known::default() };
        changes.ask_for_interfaces().map_err(system)?;
        Ok(changes)
    }

    /// Does not tell of routes and neighbours that this socket changes.
    pub fn without(mut self, kernel: &Kernel) -> Changes {
        self.known.own.insert(kernel.port);
        self
    }

    /// The answers come as if all interfaces had changed. They tell which numbers tunnels and pods have.
    fn ask_for_interfaces(&self) -> io::Result<()> {
        let mut request = NetlinkMessage::from(RouteNetlinkMessage::GetLink(LinkMessage::default()));
        request.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.socket_ref().send_to(&bytes, &SocketAddr::new(0, 0), 0).map(drop)
    }

    /// Waits until something changed, and tells everything that changed until now. A call that is given up
    /// loses nothing.
    pub async fn next(&mut self) -> Changed {
        poll_fn(|context| self.poll(context)).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Changed> {
        let mut changed = Changed::default();
        for _ in 0..TOLD_AT_ONCE {
            self.buffer.clear();
            match self.socket.poll_recv(context, &mut self.buffer) {
                Poll::Pending if changed == Changed::default() => return Poll::Pending,
                Poll::Pending => return Poll::Ready(changed),
                Poll::Ready(Ok(())) => {
                    let read = std::mem::take(&mut self.buffer);
                    self.known.read(&read, &mut changed);
                    self.buffer = read;
                }
                // The buffer overflowed. What the kernel told of interfaces may be lost, too.
                Poll::Ready(Err(_)) => {
                    changed.is_incomplete = true;
                    if self.ask_for_interfaces().is_err() {
                        return Poll::Ready(changed);
                    }
                }
            }
        }
        Poll::Ready(changed)
    }
}

impl Known {
    /// Reads the messages of a datagram.
    pub(crate) fn read(&mut self, mut datagram: &[u8], changed: &mut Changed) {
        while !datagram.is_empty() {
            let length = NetlinkBuffer::new_checked(datagram).map(|buffer| buffer.length() as usize);
            let Some((message, rest)) = length.ok().and_then(|length| datagram.split_at_checked(length))
            else {
                changed.is_incomplete = true;
                return;
            };
            match NetlinkMessage::deserialize(message) {
                Ok(message) => self.take(message, changed),
                Err(_) => changed.is_incomplete = true,
            }
            datagram = rest;
        }
    }

    fn take(&mut self, message: NetlinkMessage<RouteNetlinkMessage>, changed: &mut Changed) {
        let NetlinkPayload::InnerMessage(inner) = message.payload else { return };
        let is_own = self.own.contains(&message.header.port_number);
        match inner {
            RouteNetlinkMessage::NewLink(link) => self.take_link(&link, true, changed),
            // A bridge tells so that the interface is no port of it any more.
            RouteNetlinkMessage::DelLink(link) => {
                let is_there = link.header.interface_family == AddressFamily::Bridge;
                self.take_link(&link, is_there, changed);
            }
            RouteNetlinkMessage::NewAddress(found) | RouteNetlinkMessage::DelAddress(found) => {
                match self.pods.contains(&found.header.index) {
                    true => changed.pods = true,
                    false => changed.interfaces = true,
                }
            }
            RouteNetlinkMessage::NewRoute(route) if !is_own => {
                let takes_a_place = message.header.flags & NLM_F_REPLACE != 0;
                self.take_route(&route, takes_a_place, changed);
            }
            RouteNetlinkMessage::DelRoute(route) if !is_own => self.take_route(&route, false, changed),
            RouteNetlinkMessage::NewNeighbour(entry) | RouteNetlinkMessage::DelNeighbour(entry) => {
                changed.ours |= !is_own && self.tunnels.contains(&entry.header.ifindex);
            }
            _ => {}
        }
    }

    fn take_link(&mut self, link: &LinkMessage, is_there: bool, changed: &mut Changed) {
        let found = interface(link);
        for (kind, is_one) in
            [(&mut self.tunnels, is_tunnel(&found.name)), (&mut self.pods, found.name.starts_with(POD))]
        {
            match is_one && is_there {
                true => kind.insert(found.index),
                false => kind.remove(&found.index),
            };
        }
        match found.name.starts_with(POD) {
            true => changed.pods = true,
            false => changed.interfaces = true,
        }
    }

    fn take_route(&self, route: &RouteMessage, takes_a_place: bool, changed: &mut Changed) {
        if route.header.table != RouteHeader::RT_TABLE_MAIN {
            return;
        }
        let by = outputs(route);
        changed.default_route |= route.header.destination_prefix_length == 0;
        changed.pods |= by.iter().any(|index| self.pods.contains(index));
        let is_by_tunnel = by.iter().any(|index| self.tunnels.contains(index));
        changed.ours |= takes_a_place || is_by_tunnel || route.header.protocol == OURS;
    }
}
