//! Compares what the datastore holds after the guide with what the guide promises.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};
use ipnet::Ipv4Net;
use serde_json::Value as Json;

use super::{RACKS, Replica};

/// Checks every rack and gives a line for each.
///
/// `placed` holds each replica with the address that the plugin gave it, and the prefix length of the
/// address's block.
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

/// The annotations in which a Node names the addresses of its tunnels.
const TUNNELS: [&str; 2] = ["projectcalico.org/IPv4IPIPTunnelAddr", "projectcalico.org/IPv4VXLANTunnelAddr"];

/// Checks that the blocks hold the addresses of these pods and of these nodes' tunnels and no others, address
/// by address. Gives a line that says so.
///
/// `blocks` are IPAMBlocks, `pods` are Pods and `nodes` are Nodes, as kubectl shows them.
pub fn check_blocks(blocks: &Json, pods: &Json, nodes: &Json) -> Result<String> {
    let mut held = BTreeSet::new();
    for block in items(blocks)? {
        let cidr: Ipv4Net =
            block["spec"]["cidr"].as_str().unwrap_or_default().parse().context("the block's cidr")?;
        let ordinals = block["spec"]["allocations"].as_array().context("the block's allocations")?;
        let taken = cidr.network().to_bits();
        let taken = (taken..).zip(ordinals).filter(|(_, attribute)| !attribute.is_null());
        held.extend(taken.map(|(address, _)| Ipv4Addr::from_bits(address)));
    }
    let mut wanted = BTreeMap::new();
    for pod in items(pods)? {
        let name = &pod["metadata"]["name"];
        let address = pod["status"]["podIP"].as_str().with_context(|| format!("{name} has no address"))?;
        let twice = wanted.insert(address.parse::<Ipv4Addr>()?, name);
        ensure!(twice.is_none(), "{address} is that of {twice:?} and of {name}");
    }
    let pods = wanted.len();
    for node in items(nodes)? {
        let annotations = &node["metadata"]["annotations"];
        for address in TUNNELS.iter().filter_map(|annotation| annotations[annotation].as_str()) {
            let twice = wanted.insert(address.parse()?, &node["metadata"]["name"]);
            ensure!(twice.is_none(), "{address} is that of {twice:?} and of a tunnel");
        }
    }
    let leaked: Vec<_> = held.iter().filter(|address| !wanted.contains_key(address)).collect();
    ensure!(leaked.is_empty(), "the blocks still hold {leaked:?}, which no pod and no tunnel has");
    let lost: Vec<_> = wanted.iter().filter(|(address, _)| !held.contains(address)).collect();
    ensure!(lost.is_empty(), "the blocks do not hold what these have: {lost:?}");
    let list = held.iter().map(Ipv4Addr::to_string).collect::<Vec<_>>().join(", ");
    let tunnels = match wanted.len() - pods {
        0 => String::new(),
        tunnels => format!(", those of {tunnels} tunnels"),
    };
    Ok(format!("ok: {pods} pods run, and the blocks hold their addresses{tunnels} and no other: {list}"))
}

fn items(list: &Json) -> Result<&Vec<Json>> {
    list["items"].as_array().context("a list of objects")
}

/// The addresses in the WorkloadEndpoints, by pod.
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
    use crate::guide;

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

    #[test]
    fn blocks_hold_the_pods_addresses_and_no_other() {
        let block = json!({"spec": {"cidr": "192.168.7.128/30", "allocations": [null, 0, null, 1]}});
        let blocks = json!({"items": [block]});
        let pods = |addresses: &[&str]| {
            let pod = |address| json!({"metadata": {"name": "nginx"}, "status": {"podIP": address}});
            json!({"items": addresses.iter().map(pod).collect::<Vec<_>>()})
        };
        let nodes = |addresses: &[&str]| {
            let node = |address| json!({"metadata": {"name": "n", "annotations": {TUNNELS[1]: address}}});
            json!({"items": addresses.iter().map(node).collect::<Vec<_>>()})
        };
        let both = ["192.168.7.129", "192.168.7.131"];
        assert!(check_blocks(&blocks, &pods(&both), &nodes(&[])).is_ok());
        assert!(check_blocks(&blocks, &pods(&both[..1]), &nodes(&both[1..])).is_ok());
        check_blocks(&blocks, &pods(&both), &nodes(&both[1..])).unwrap_err();
        check_blocks(&blocks, &pods(&both), &nodes(&["192.168.7.130"])).unwrap_err();
        for (addresses, fault) in [
            (&both[..1], "the blocks still hold [192.168.7.131]"),
            (&[both[0], both[1], "192.168.7.130"], "the blocks do not hold"),
            (&[both[0], both[0]], "192.168.7.129 is that of"),
        ] {
            let error = check_blocks(&blocks, &pods(addresses), &nodes(&[])).unwrap_err().to_string();
            assert!(error.starts_with(fault), "{error}");
        }
    }
}
