//! This project's own figures of addresses.

use api::Family as IpFamily;

use super::{Facts, Family, number};
use crate::reach;

/// The families.
pub(super) fn families(facts: Facts<'_>, left_out: usize) -> Vec<Family> {
    let usage = ipam::usage::pools(facts.view);
    let mut free = Family::gauge(
        "rackpool_ippool_addresses_free",
        "Addresses of the IP pool that are neither in use nor reserved nor cooling down.",
    );
    let mut in_use = Family::gauge(
        "rackpool_ippool_addresses_in_use",
        "Addresses of the IP pool that are assigned, or that a host keeps for itself.",
    );
    let mut cooling = Family::gauge(
        "rackpool_ippool_addresses_cooling",
        "Addresses of the IP pool that were released and are not assigned again yet.",
    );
    for pool in &usage.pools {
        let labels = [("ippool", pool.pool.name.as_str())];
        free.add(&labels, number(pool.usage.free));
        in_use.add(&labels, number(pool.usage.in_use.saturating_sub(pool.usage.cooling)));
        cooling.add(&labels, number(pool.usage.cooling));
    }
    let mut rack_free = Family::gauge(
        "rackpool_rack_addresses_free",
        "Addresses that new pods on the rack's nodes can get without naming a pool: neither in use nor reserved nor cooling down.",
    );
    let mut rack_total = Family::gauge(
        "rackpool_rack_addresses",
        "Addresses of the pools from which the rack's nodes can get any, less those that are reserved.",
    );
    if let Some(label) = facts.rack_label {
        for ((rack, family), reach) in reach::by_rack(facts.view, &usage, label) {
            let family = match family {
                IpFamily::V4 => "ipv4",
                IpFamily::V6 => "ipv6",
            };
            let labels = [("label", label), ("rack", rack.as_str()), ("family", family)];
            rack_free.add(&labels, number(reach.free));
            rack_total.add(&labels, number(reach.total));
        }
    }
    let mut absent = Family::gauge(
        "rackpool_node_series_left_out",
        "Series that name a node and are left out, since there would be too many of them; 0 where none is.",
    );
    absent.add(&[], number(left_out as u128));
    vec![free, in_use, cooling, rack_free, rack_total, absent]
}
