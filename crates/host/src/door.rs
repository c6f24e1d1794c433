//! The readers of the kernel's messages, as plain functions of bytes, for tests of other crates.

use std::sync::Arc;

use routes::Route;
use rtnetlink::packet_core::{NetlinkBuffer, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;

use crate::changes::{Changed, Known};
use crate::device::device_of;
use crate::error::Refusal;
use crate::interface::{Address, Interface, address_of, interface};
use crate::message::{addition, metric_of, outputs, permanent_entry, route_of};

/// Reads two datagrams, one after the other, as whoever listens to changes does.
pub fn changes(first: &[u8], second: &[u8]) -> Changed {
    let (mut known, mut changed) = (Known::default(), Changed::default());
    known.read(first, &mut changed);
    known.read(second, &mut changed);
    changed
}

/// What is in the messages of a datagram.
#[derive(Debug, Default)]
pub struct Heard {
    /// The interfaces.
    pub interfaces: Vec<Interface>,
    /// The addresses.
    pub addresses: Vec<Address>,
    /// The routes.
    pub routes: Vec<Route>,
    /// How many permanent entries there are.
    pub entries: usize,
    /// What the kernel refuses.
    pub refusals: Vec<String>,
}

/// Reads the messages of a datagram as answers, up to the first that cannot be read.
pub fn answers(mut datagram: &[u8]) -> Heard {
    let mut heard = Heard::default();
    while let Ok(buffer) = NetlinkBuffer::new_checked(datagram) {
        let Some((message, rest)) = datagram.split_at_checked(buffer.length() as usize) else { break };
        let Ok(message) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(message) else { break };
        heard.take(message.payload);
        datagram = rest;
    }
    heard
}

impl Heard {
    fn take(&mut self, payload: NetlinkPayload<RouteNetlinkMessage>) {
        match payload {
            NetlinkPayload::Error(error) => {
                self.refusals.push(Refusal::from(rtnetlink::Error::NetlinkError(error)).to_string());
            }
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => {
                let device = device_of(&link);
                // A device deviates from itself in nothing.
                assert!(device.deviations(&device).is_empty());
                self.interfaces.push(interface(&link));
            }
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewAddress(found)) => {
                self.addresses.extend(address_of(&found));
            }
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(found)) => {
                let mut name = |index: u32| Some(Arc::from(format!("if{index}")));
                let route = route_of(&found, &mut name);
                assert!(route.iter().all(|route| route.metric == metric_of(&found)));
                // What was understood can be asked for.
                route.iter().for_each(|route| drop(addition(route, outputs(&found).first().copied())));
                self.routes.extend(route);
            }
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNeighbour(found)) => {
                self.entries += usize::from(permanent_entry(&found).is_some());
            }
            _ => {}
        }
    }
}
