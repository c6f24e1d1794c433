//! Carries out the steps of a plan.

use std::collections::BTreeMap;

use api::{Cidr, Family};
use routes::{Route, Step, Target};
use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rustix::io::Errno;

use crate::error::{HostError, Refusal};
use crate::kernel::{Answers, Kernel, answers};
use crate::message::{addition, forwarding, neighbour, removal};
use crate::tunnel::is_tunnel;

/// So many requests are under way before their answers are read. The answers wait in the socket's buffer.
const UNDER_WAY: usize = 128;

/// What says that something is not there.
const GONE: [Errno; 4] = [Errno::SRCH, Errno::NOENT, Errno::NODEV, Errno::NXIO];

/// A request, and how it is to be carried out.
type Request = (RouteNetlinkMessage, u16);

impl Kernel {
    /// Carries out steps in their order, one message each. `uplink` is the interface (a number) that carries
    /// the node's address: routes that name no device lead by it. Gives the steps that failed; the others
    /// are carried out. Removing what is gone is no failure.
    pub async fn apply(&self, steps: &[Step], uplink: Option<u32>) -> Vec<(Step, HostError)> {
        let mut failed = Vec::new();
        let mut devices = Devices { kernel: self, uplink, found: BTreeMap::new() };
        for some in steps.chunks(UNDER_WAY) {
            let sent: Vec<_> = some.iter().map(|step| devices.send(step)).collect();
            for (step, sent) in some.iter().zip(sent) {
                if let Err(error) = devices.finish(step, sent).await {
                    failed.push((step.clone(), error));
                }
            }
        }
        failed
    }
}

/// The numbers of the interfaces that steps name.
struct Devices<'k> {
    kernel: &'k Kernel,
    uplink: Option<u32>,
    found: BTreeMap<String, Option<u32>>,
}

impl Devices<'_> {
    /// Sends the request that a step is; nothing, where what is to be removed went with its interface.
    fn send(&mut self, step: &Step) -> Result<Option<impl Answers + use<>>, HostError> {
        let Some((message, flags)) = self.request(step)? else { return Ok(None) };
        let sent = self.kernel.send(message, flags | NLM_F_ACK);
        sent.map(Some).map_err(|refusal| HostError::refused(doing(step), refusal))
    }

    async fn finish(
        &mut self,
        step: &Step,
        sent: Result<Option<impl Answers>, HostError>,
    ) -> Result<(), HostError> {
        let Some(stream) = sent? else { return Ok(()) };
        let Err(refusal) = answers(stream).await else { return Ok(()) };
        match step {
            step if is_removal(step) && refusal.is_any(&GONE) => Ok(()),
            Step::Route(route) => self.set_again(step, route, refusal).await,
            _ => Err(HostError::refused(doing(step), refusal)),
        }
    }

    /// Sets a route that the kernel refused at first. The route to an address that a pod here has by now is
    /// left alone.
    async fn set_again(&mut self, step: &Step, route: &Route, mut refusal: Refusal) -> Result<(), HostError> {
        if is_single(route) && self.kernel.is_at_pod(route.to.first()).await {
            return Ok(());
        }
        if refusal.is_any(&[Errno::EXIST]) {
            let message = RouteNetlinkMessage::NewRoute(addition(route, self.output(step, route)?));
            match self.kernel.change(message, NLM_F_CREATE | NLM_F_REPLACE).await {
                Ok(()) => return Ok(()),
                Err(other) => refusal = other,
            }
        }
        match route.to.family() == Family::V6 && refusal.is_any(&[Errno::INVAL]) {
            true => self.set_with_stones(step, route).await,
            false => Err(HostError::refused(doing(step), refusal)),
        }
    }

    /// The kernel refuses an IPv6 route by a gateway to which another route leads by another interface, even
    /// where that other route is the one to be replaced. So each gateway has a route of its own meanwhile.
    async fn set_with_stones(&mut self, step: &Step, route: &Route) -> Result<(), HostError> {
        let by = self.output(step, route)?;
        let (gateways, device) = match &route.target {
            Target::Via { gateways, device } => (gateways.as_slice(), device.clone().unwrap_or_default()),
            _ => Default::default(),
        };
        let mut laid = Vec::new();
        for gateway in gateways {
            let stone = Route::new(Cidr::single(*gateway), Target::Link { device: device.clone() });
            let message = RouteNetlinkMessage::NewRoute(addition(&stone, by));
            // A route that is there already is no stone of ours, and stays.
            if self.kernel.change(message, NLM_F_CREATE | NLM_F_EXCL).await.is_ok() {
                laid.push(stone);
            }
        }
        let message = RouteNetlinkMessage::NewRoute(addition(route, by));
        let mut outcome = self.kernel.change(message, NLM_F_CREATE | NLM_F_REPLACE).await;
        for stone in laid {
            let message = RouteNetlinkMessage::DelRoute(removal(&stone, by));
            outcome = outcome.and(self.kernel.change(message, 0).await);
        }
        outcome.map_err(|refusal| HostError::refused(doing(step), refusal))
    }

    /// The request that a step is; `None` where what is to be removed went with its interface.
    fn request(&mut self, step: &Step) -> Result<Option<Request>, HostError> {
        let set = NLM_F_CREATE | NLM_F_REPLACE;
        Ok(match step {
            Step::Forward(device, mac, at) => {
                let message = forwarding(self.must(step, device)?, *mac, Some(*at));
                Some((RouteNetlinkMessage::NewNeighbour(message), set))
            }
            Step::Neighbour(device, addr, mac) => {
                let message = neighbour(self.must(step, device)?, *addr, Some(*mac));
                Some((RouteNetlinkMessage::NewNeighbour(message), set))
            }
            Step::Route(route) => {
                let by = self.output(step, route)?;
                // Since the plan was made, a pod may have come to have the address, and a route of its own.
                let set = if is_single(route) { NLM_F_CREATE | NLM_F_EXCL } else { set };
                Some((RouteNetlinkMessage::NewRoute(addition(route, by)), set))
            }
            Step::RemoveRoute(route) => match tunnel_of(route) {
                None => Some((RouteNetlinkMessage::DelRoute(removal(route, None)), 0)),
                Some(device) => self
                    .index(step, device)?
                    .map(|index| (RouteNetlinkMessage::DelRoute(removal(route, Some(index))), 0)),
            },
            Step::RemoveNeighbour(device, addr) => self
                .index(step, device)?
                .map(|index| (RouteNetlinkMessage::DelNeighbour(neighbour(index, *addr, None)), 0)),
            Step::RemoveForward(device, mac) => self
                .index(step, device)?
                .map(|index| (RouteNetlinkMessage::DelNeighbour(forwarding(index, *mac, None)), 0)),
        })
    }

    fn output(&mut self, step: &Step, route: &Route) -> Result<Option<u32>, HostError> {
        match &route.target {
            Target::Blackhole | Target::Unreachable => Ok(None),
            Target::Link { device } | Target::Via { device: Some(device), .. } => {
                self.must(step, device).map(Some)
            }
            Target::Via { device: None, .. } => match self.uplink {
                Some(uplink) => Ok(Some(uplink)),
                None => Err(HostError::NoUplink { doing: doing(step) }),
            },
        }
    }

    fn must(&mut self, step: &Step, device: &str) -> Result<u32, HostError> {
        let found = self.index(step, device)?;
        found.ok_or_else(|| HostError::NoDevice { doing: doing(step), device: device.to_string() })
    }

    fn index(&mut self, step: &Step, device: &str) -> Result<Option<u32>, HostError> {
        if let Some(found) = self.found.get(device) {
            return Ok(*found);
        }
        let refused = |refusal: Refusal| HostError::refused(doing(step), refusal);
        let found = self.kernel.index_of(device).map_err(refused)?;
        self.found.insert(device.to_string(), found);
        Ok(found)
    }
}

/// The tunnel device by which a route leads, if it does.
fn tunnel_of(route: &Route) -> Option<&str> {
    match &route.target {
        Target::Link { device } | Target::Via { device: Some(device), .. } => {
            Some(device.as_ref()).filter(|device| is_tunnel(device))
        }
        _ => None,
    }
}

fn is_single(route: &Route) -> bool {
    route.to == Cidr::single(route.to.first())
}

fn is_removal(step: &Step) -> bool {
    matches!(step, Step::RemoveRoute(_) | Step::RemoveNeighbour(..) | Step::RemoveForward(..))
}

/// A step in words that follow "to".
fn doing(step: &Step) -> String {
    match step {
        Step::Forward(device, mac, at) => format!("set the forwarding entry {mac} dst {at} of {device}"),
        Step::Neighbour(device, addr, mac) => format!("set the neighbour {addr} lladdr {mac} of {device}"),
        Step::Route(route) => format!("set the route {route}"),
        Step::RemoveRoute(route) => format!("remove the route {route}"),
        Step::RemoveNeighbour(device, addr) => format!("remove the neighbour {addr} of {device}"),
        Step::RemoveForward(device, mac) => format!("remove the forwarding entry {mac} of {device}"),
    }
}
