//! An IPReservation as the allocator sees it.

use serde_json::Value as Json;

use crate::cidr::{Cidr, parse_addr};
use crate::resource::Resource;

/// Networks whose addresses are not assigned automatically.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reservation {
    /// The networks.
    pub cidrs: Vec<Cidr>,
}

impl Reservation {
    /// What the resource reserves: networks, or single addresses. Entries that are neither are left out, as Calico's allocator leaves them
    /// out (`libcalico-go/lib/ipam/ipam.go`); validation refuses them on write.
    pub fn of(resource: &Resource) -> Reservation {
        let entries = resource.field(&["spec", "reservedCIDRs"]).and_then(Json::as_array);
        let read = |json: &Json| {
            let text = json.as_str()?.trim();
            text.parse().ok().or_else(|| parse_addr(text).map(Cidr::single))
        };
        Reservation { cidrs: entries.into_iter().flatten().filter_map(read).collect() }
    }
}
