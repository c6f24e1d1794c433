//! The proof: what the datastore holds after the guide, against what the guide promises.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use ipnet::Ipv4Net;
use serde_json::Value as Json;

use super::guide::{RACKS, Replica};

/// Checks every rack and gives a line for each.
///
/// `placed` holds each replica and the address with its block's prefix, as the plugin gave it.
pub fn check(placed: &[(Replica, String)], endpoints: &Json, pools: &Json) -> Result<Vec<String>> {
    let recorded = recorded_addresses(endpoints)?;
    ensure!(
        recorded.len() == placed.len(),
        "{} endpoints are recorded, not {}",
        recorded.len(),
        placed.len()
    );
    let distinct: BTreeSet<&String> = recorded.values().collect();
    ensure!(distinct.len() == placed.len(), "an address is there twice: {recorded:?}");
    RACKS.iter().map(|rack| check_rack(*rack, placed, &recorded, pools)).collect()
}

fn check_rack(
    rack: usize,
    placed: &[(Replica, String)],
    recorded: &BTreeMap<String, String>,
    pools: &Json,
) -> Result<String> {
    let pool = pool_of(rack, pools)?;
    let mut blocks: BTreeMap<Ipv4Net, BTreeSet<&str>> = BTreeMap::new();
    let mut count = 0;
    for (replica, address) in placed.iter().filter(|(replica, _)| replica.rack == rack) {
        let block: Ipv4Net = address.parse().context("an address with its block's prefix")?;
        let stored =
            recorded.get(&replica.pod).with_context(|| format!("{} has no endpoint", replica.pod))?;
        ensure!(
            *stored == format!("{}/32", block.addr()),
            "{} got {address} and is recorded with {stored}",
            replica.pod
        );
        ensure!(
            pool.contains(&block.addr()),
            "{} on {} got {address}, outside of {pool}",
            replica.pod,
            replica.node
        );
        blocks.entry(block.trunc()).or_default().insert(replica.node);
        count += 1;
    }
    for (block, nodes) in &blocks {
        ensure!(nodes.len() == 1, "block {block} serves {nodes:?}");
    }
    let nodes: BTreeSet<&&str> = blocks.values().flatten().collect();
    ensure!(nodes.len() == 2, "rack {rack} has replicas on {nodes:?}, not on two nodes");
    let list = blocks
        .iter()
        .map(|(block, nodes)| format!("{block} on {}", nodes.iter().copied().collect::<String>()));
    let list = list.collect::<Vec<_>>().join(", ");
    Ok(format!(
        "ok: rack {rack}: {count} addresses, all in {pool}, and each node has a block of its own: {list}"
    ))
}

/// Addresses by pod.
fn recorded_addresses(endpoints: &Json) -> Result<BTreeMap<String, String>> {
    let items = endpoints["items"].as_array().context("the list of endpoints")?;
    let text = |json: &Json| json.as_str().map(str::to_string);
    let read = |item: &Json| Some((text(&item["spec"]["pod"])?, text(&item["spec"]["ipNetworks"][0])?));
    items.iter().map(|item| read(item).with_context(|| format!("an endpoint: {item}"))).collect()
}

/// The network of the pool that selects a rack.
fn pool_of(rack: usize, pools: &Json) -> Result<Ipv4Net> {
    let items = pools["items"].as_array().context("the list of pools")?;
    let selector = format!("rack == \"{rack}\"");
    let mut selecting = items.iter().filter(|pool| pool["spec"]["nodeSelector"] == selector.as_str());
    let pool = selecting.next().with_context(|| format!("no pool selects {selector}"))?;
    ensure!(selecting.next().is_none(), "several pools select {selector}");
    pool["spec"]["cidr"].as_str().unwrap_or_default().parse().context("the pool's cidr")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::demo::guide;

    fn world(addresses: &[&str]) -> (Vec<(Replica, String)>, Json, Json) {
        let placed: Vec<_> = guide::replicas().zip(addresses.iter().map(|a| a.to_string())).collect();
        let endpoint = |(replica, address): &(Replica, String)| {
            let addr = address.split('/').next().unwrap();
            json!({"spec": {"pod": replica.pod, "ipNetworks": [format!("{addr}/32")]}})
        };
        let endpoints = json!({"items": placed.iter().map(endpoint).collect::<Vec<_>>()});
        let pool = |rack: &usize| json!({"spec": {"nodeSelector": format!("rack == \"{rack}\""), "cidr": format!("192.168.{}.0/18", rack * 64)}});
        (placed, endpoints, json!({"items": RACKS.iter().map(pool).collect::<Vec<_>>()}))
    }

    const GOOD: [&str; 10] = [
        "192.168.7.128/26",
        "192.168.54.128/26",
        "192.168.89.192/26",
        "192.168.82.192/26",
        "192.168.153.192/26",
        "192.168.186.128/26",
        "192.168.208.192/26",
        "192.168.243.192/26",
        "192.168.82.193/26",
        "192.168.186.129/26",
    ];

    #[test]
    fn the_guides_own_result_passes() {
        let (placed, endpoints, pools) = world(&GOOD);
        assert_eq!(check(&placed, &endpoints, &pools).unwrap().len(), 4);
    }

    #[test]
    fn every_fault_is_found() {
        for (at, wrong) in [
            (0, "192.168.89.193/26"), // of another rack's pool
            (1, "192.168.7.129/26"),  // in the block of the rack's other node
            (8, "192.168.82.192/26"), // twice
        ] {
            let mut addresses = GOOD;
            addresses[at] = wrong;
            let (placed, endpoints, pools) = world(&addresses);
            assert!(check(&placed, &endpoints, &pools).is_err(), "{wrong}");
        }
    }
}
