//! The answers of `ipam show` as text, in Calico's words.

use std::collections::BTreeMap;

use api::ipam_config::DEFAULT_MAX_BLOCKS_PER_HOST;
use api::{IpamConfig, Persistence};
use ipam::usage::{Allocation, BlockUsage, BorrowedAddresses, ClusterUsage, Usage};

use super::{Address, Shown, failure};
use crate::failure::Failure;
use crate::output::number;
use crate::output::table::{Align, boxed_table};

/// The text. An address that cools down is an error, as in Calico.
pub(super) fn of(shown: &Shown) -> Result<String, Failure> {
    Ok(match shown {
        Shown::Pools(cluster, with_blocks) => pools(cluster, *with_blocks),
        Shown::Address(address) => return of_address(address),
        Shown::Borrowed(found) => borrowed_addresses(found),
        Shown::Configuration(config) => configuration(config),
    })
}

fn of_address(Address { addr, allocation, .. }: &Address) -> Result<String, Failure> {
    let attribute = match allocation {
        Allocation::None => return Ok(format!("{addr} is not assigned\n")),
        Allocation::Cooling { .. } => return Err(failure(format!("address {addr} is in cooldown"))),
        Allocation::Assigned { attribute, .. } => attribute,
    };
    let handle = attribute.handle_id.as_deref().filter(|handle| !handle.is_empty()).unwrap_or("<none>");
    let mut text = format!("IP {addr} is in use\nHandle ID: {handle}\n");
    let lines = |owner: &BTreeMap<String, String>| -> String {
        owner.iter().map(|(key, value)| format!("  {key}: {value}\n")).collect()
    };
    match attribute.owner.is_empty() {
        true => text.push_str("No Active Owner attributes defined\n"),
        false => text.push_str(&format!("Active Owner Attributes:\n{}", lines(&attribute.owner))),
    }
    if !attribute.alternate_owner.is_empty() {
        text.push_str(&format!("Alternate Owner Attributes:\n{}", lines(&attribute.alternate_owner)));
    }
    Ok(text)
}

fn pools(cluster: &ClusterUsage, with_blocks: bool) -> String {
    let mut rows = Vec::new();
    for pool in &cluster.pools {
        rows.push(usage_row("IP Pool", pool.pool.cidr.to_string(), &pool.usage));
        if with_blocks {
            rows.extend(pool.blocks.iter().map(block_row));
        }
    }
    if with_blocks {
        rows.extend(cluster.orphans.iter().map(block_row));
    }
    let columns = [
        ("grouping", Align::Left),
        ("cidr", Align::Left),
        ("ips total", Align::Right),
        ("ips in use", Align::Right),
        ("ips reserved", Align::Right),
        ("ips free", Align::Right),
    ];
    boxed_table(&columns, &rows)
}

fn block_row(block: &BlockUsage) -> Vec<String> {
    usage_row("Block", block.cidr.to_string(), &block.usage)
}

fn usage_row(grouping: &str, cidr: String, usage: &Usage) -> Vec<String> {
    let share = |n: u128| number::count_and_share(n, usage.total);
    vec![
        grouping.to_string(),
        cidr,
        number::count(usage.total),
        share(usage.in_use),
        share(usage.reserved),
        share(usage.free),
    ]
}

fn borrowed_addresses(found: &BorrowedAddresses) -> String {
    let rows: Vec<Vec<String>> = found
        .addresses
        .iter()
        .map(|b| {
            let owner = b.owner.clone().unwrap_or_default();
            vec![
                b.addr.to_string(),
                b.node.clone(),
                b.block.to_string(),
                owner,
                b.kind.clone(),
                b.user.clone(),
            ]
        })
        .collect();
    let headings = ["ip", "borrowing-node", "block", "block owner", "type", "allocated-to"];
    let columns = headings.map(|heading| (heading, Align::Left));
    let mut text = boxed_table(&columns, &rows);
    if found.without_node > 0 {
        text.push_str(&format!(
            "\nNote: found {} IP allocations without an explicit node association. Unable to determine if they are borrowed.\n",
            found.without_node
        ));
    }
    text
}

fn configuration(config: &IpamConfig) -> String {
    let persistence = match &config.persistence {
        Some(Persistence::Enabled) => "Enabled",
        Some(Persistence::Disabled) => "Disabled",
        Some(Persistence::Odd(_)) => "cannot be read",
        None => "<nil>",
    };
    let rows = [
        ("StrictAffinity", config.strict_affinity.to_string()),
        ("AutoAllocateBlocks", config.auto_allocate_blocks.to_string()),
        ("MaxBlocksPerHost", config.max_blocks_per_host.to_string()),
        ("KubeVirtVMAddressPersistence", persistence.to_string()),
        ("IPCooldownSeconds", config.cooldown_seconds.to_string()),
    ];
    let rows: Vec<Vec<String>> =
        rows.into_iter().map(|(property, value)| vec![property.to_string(), value]).collect();
    let mut text = boxed_table(&[("property", Align::Left), ("value", Align::Left)], &rows);
    if config.max_blocks_per_host == 0 {
        text.push_str(&format!("MaxBlocksPerHost 0 means {DEFAULT_MAX_BLOCKS_PER_HOST}.\n"));
    }
    text
}
