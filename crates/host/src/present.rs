//! What of ours is in the kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api::Family;
use routes::Present;
use rtnetlink::packet_route::route::{RouteAttribute, RouteMessage, RouteProtocol};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::io::Errno;

use crate::error::{HostError, Refusal};
use crate::kernel::Kernel;
use crate::message::{OURS, entries, main_table, outputs, permanent_entry, route_of};

impl Kernel {
    /// What of ours is there: the routes that have our mark, and whatever leads by these tunnel devices or is
    /// entered at them for good. Only what the kernel itself makes there, such as the routes to link-local
    /// addresses, is not ours.
    ///
    /// # Errors
    /// [`HostError::Refused`].
    pub async fn present(&self, devices: &[&str]) -> Result<Present, HostError> {
        self.present_of(devices)
            .await
            .map_err(|refusal| HostError::refused("list the routes and the entries of tunnels", refusal))
    }

    async fn present_of(&self, devices: &[&str]) -> Result<Present, Refusal> {
        let mut present = Present::default();
        let mut tunnels: BTreeMap<u32, Arc<str>> = BTreeMap::new();
        for device in devices {
            tunnels.extend(self.index_of(device)?.map(|index| (index, Arc::from(*device))));
        }
        let mut found = Vec::new();
        for of in Family::BOTH {
            let mut marked = main_table(of);
            marked.header.protocol = OURS;
            found.extend(self.routes(marked).await?.into_iter().filter(is_marked));
            for index in tunnels.keys() {
                let mut by_tunnel = main_table(of);
                by_tunnel.attributes.push(RouteAttribute::Oif(*index));
                let is_by_tunnel = |route: &RouteMessage| {
                    let is_kernels = route.header.protocol == RouteProtocol::Kernel;
                    !is_marked(route) && !is_kernels && outputs(route).contains(index)
                };
                found.extend(self.routes(by_tunnel).await?.into_iter().filter(is_by_tunnel));
            }
        }
        let names = self.names_of(found.iter().flat_map(outputs), &tunnels)?;
        let mut name = |index: u32| names.get(&index).cloned();
        present.routes = found.iter().filter_map(|route| route_of(route, &mut name)).collect();
        for (index, device) in &tunnels {
            for of in [AddressFamily::Inet, AddressFamily::Inet6, AddressFamily::Bridge] {
                let about = RouteNetlinkMessage::GetNeighbour(entries(*index, of));
                let listed = match self.list(about).await {
                    // The device has just gone, and its entries with it.
                    Err(refusal) if refusal.is_any(&[Errno::NODEV]) => continue,
                    listed => listed?,
                };
                for message in listed {
                    let RouteNetlinkMessage::NewNeighbour(entry) = message else { continue };
                    let Some((addr, mac)) =
                        permanent_entry(&entry).filter(|_| entry.header.ifindex == *index)
                    else {
                        continue;
                    };
                    match of {
                        AddressFamily::Bridge => drop(present.forwarding.insert((device.clone(), mac), addr)),
                        _ => drop(present.neighbours.insert((device.clone(), addr), mac)),
                    }
                }
            }
        }
        Ok(present)
    }

    /// The routes that a question is about.
    pub(crate) async fn routes(&self, about: RouteMessage) -> Result<Vec<RouteMessage>, Refusal> {
        let listed = match self.list(RouteNetlinkMessage::GetRoute(about)).await {
            // The table is made with its first route; and a device may just have gone.
            Err(refusal) if refusal.is_any(&[Errno::NOENT, Errno::NODEV]) => return Ok(Vec::new()),
            listed => listed?,
        };
        let route = |message| match message {
            RouteNetlinkMessage::NewRoute(route) => Some(route),
            _ => None,
        };
        Ok(listed.into_iter().filter_map(route).collect())
    }

    pub(crate) fn names_of(
        &self,
        indexes: impl Iterator<Item = u32>,
        known: &BTreeMap<u32, Arc<str>>,
    ) -> Result<BTreeMap<u32, Arc<str>>, Refusal> {
        let mut names = known.clone();
        for index in indexes.collect::<BTreeSet<u32>>() {
            if !names.contains_key(&index) {
                names.extend(self.name_of(index)?.map(|name| (index, Arc::from(name))));
            }
        }
        Ok(names)
    }
}

fn is_marked(route: &RouteMessage) -> bool {
    route.header.protocol == OURS
}
