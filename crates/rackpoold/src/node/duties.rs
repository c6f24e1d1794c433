//! What the settings of this host's kernel depend on.

use std::collections::BTreeSet;

use api::Family;
use host::{Interface, Kernel, sysctl};
use routes::{Aggregation, Desired, Reason, Snapshot};

/// What this host is to do, as far as the kernel's settings depend on it.
pub async fn duties(
    kernel: &Kernel,
    snapshot: &Snapshot,
    desired: &Desired,
    uplink: Option<&Interface>,
    aggregation: Aggregation,
) -> sysctl::Duties {
    let families: BTreeSet<Family> = snapshot.pool_networks().map(|pool| pool.cidr.family()).collect();
    let advertised = kernel.advertised_defaults().await.unwrap_or_default();
    let name = |interface: &Interface| interface.name.clone();
    let is_gateway = aggregation == Aggregation::Node && has_plain_racks(desired);
    sysctl::Duties {
        families: families.into_iter().collect(),
        advertised: uplink
            .filter(|interface| advertised.contains(&interface.index))
            .map(name)
            .into_iter()
            .collect(),
        uplinks: uplink.map(name).into_iter().collect(),
        tunnels: desired.tunnels.iter().map(|tunnel| tunnel.device.to_string()).collect(),
        is_loose: is_gateway,
        is_gateway,
    }
}

/// Whether the node ends packets to its rack, so that routers send it what is for its neighbours.
fn has_plain_racks(desired: &Desired) -> bool {
    desired.routes.values().any(|wanted| matches!(wanted.reason, Reason::OwnRack { .. }))
}
