//! Frees the addresses of a pod's former container, when annotations of the pod's next container ask for the
//! same ones.

use std::net::IpAddr;

use cni::CniError;
use cni::log::Level;
use ipam::usage::{Allocation, allocation_of};
use ipam::{ReleaseIp, ReleaseIps};
use store::Store;

use crate::holdings;
use crate::kernel;
use crate::request::{Request, WITHIN};
use crate::wire;

/// Releases those of the addresses that a former container of the request's pod still holds on this node and
/// this network. The pod's next container asks for these addresses, and the former container's DEL is still
/// to come. The former container's pair of interfaces is removed first.
///
/// # Errors
/// Code 999 where the store or the kernel fails.
pub async fn release(request: &Request<'_, impl Store>, addresses: &[IpAddr]) -> Result<(), CniError> {
    let view = holdings::allocations(request, addresses).await?;
    let names = &request.names;
    let own = [("namespace", &names.namespace), ("pod", &names.ids.pod), ("node", &names.ids.node)];
    let network = format!("{}.", request.ask.conf.name());
    let former: Vec<(String, ReleaseIp)> = addresses
        .iter()
        .filter_map(|addr| match allocation_of(&view, *addr) {
            Allocation::Assigned { attribute, sequence, .. } => {
                let is_own = own.iter().all(|(key, value)| attribute.owner.get(*key) == Some(value));
                let handle = attribute.handle().filter(|_| is_own)?;
                let container = handle.strip_prefix(&network)?.to_string();
                // Releases exactly the allocation that was read above, and no later one.
                let handle = Some(handle.to_string());
                Some((container, ReleaseIp { addr: *addr, handle, sequence: Some(sequence) }))
            }
            Allocation::None | Allocation::Cooling { .. } => None,
        })
        .collect();
    let mut free = Vec::new();
    for (container, ip) in former {
        if take_down(request, &container, ip.addr).await? {
            free.push(ip);
        }
    }
    if free.is_empty() {
        return Ok(());
    }
    let planner = ReleaseIps::new(free).planner();
    let released = ipam::run(&request.store, &request.site.clock, planner, WITHIN).await;
    let released =
        released.map_err(|error| CniError::internal(format!("failed to release ipAddrs: {error}")))?;
    for addr in released.released {
        request.log.say(Level::Info, format!("released {addr} of the pod's former container"));
    }
    Ok(())
}

/// Removes the interfaces to which the host routes an address of a former container of the pod, before the
/// address goes to the next container. Gives `false` where the address still leads to another container's
/// interface.
///
/// # Errors
/// Code 999 where the kernel fails.
async fn take_down(
    request: &Request<'_, impl Store>,
    container: &str,
    addr: IpAddr,
) -> Result<bool, CniError> {
    for end in kernel::host_ends_to(&[addr]).await.map_err(CniError::internal)? {
        if wire::is_noted_for_another(&end, container) {
            let line =
                format!("{addr} is routed to {}, which is another container's, and stays", end.interface);
            request.log.say(Level::Error, line);
            return Ok(false);
        }
        wire::remove(request, &end).await?;
    }
    Ok(true)
}
