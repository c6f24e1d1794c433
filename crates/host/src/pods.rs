//! The addresses of this host's pods, as its routes tell them.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use api::{Cidr, Family};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::route::RouteMessage;

use crate::error::HostError;
use crate::kernel::Kernel;
use crate::message::{lookup, main_table, outputs, route_of};

impl Kernel {
    /// The addresses of pods of this host: whoever attaches a pod makes a route to each of its addresses, by
    /// the pod's interface.
    ///
    /// # Errors
    /// [`HostError::Refused`].
    pub async fn pod_addresses(&self) -> Result<BTreeSet<IpAddr>, HostError> {
        let refused = |refusal| HostError::refused("list the routes to pods", refusal);
        let mut found: Vec<RouteMessage> = Vec::new();
        for of in Family::BOTH {
            found.extend(self.routes(main_table(of)).await.map_err(refused)?);
        }
        let names = self.names_of(found.iter().flat_map(outputs), &Default::default()).map_err(refused)?;
        let mut name = |index: u32| names.get(&index).cloned();
        let to_pods = found
            .iter()
            .filter_map(|route| route_of(route, &mut name))
            .filter(|route| route.to == Cidr::single(route.to.first()) && route.target.leads_to_pod());
        Ok(to_pods.map(|route| route.to.first()).collect())
    }

    /// Whether packets to an address go to a pod of this host.
    pub(crate) async fn is_at_pod(&self, addr: IpAddr) -> bool {
        // The kernel refuses the question where packets go nowhere.
        let Ok(Some(RouteNetlinkMessage::NewRoute(found))) =
            self.ask(RouteNetlinkMessage::GetRoute(lookup(addr))).await
        else {
            return false;
        };
        let mut name = |index: u32| self.name_of(index).ok().flatten().map(Arc::from);
        route_of(&found, &mut name)
            .is_some_and(|route| route.to == Cidr::single(addr) && route.target.leads_to_pod())
    }
}
