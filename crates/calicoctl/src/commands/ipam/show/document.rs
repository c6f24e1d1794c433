//! The answers of `ipam show` as documents. A count is a number; one that 64 bits do not hold is
//! a text of digits.

use api::{IpamConfig, Persistence};
use ipam::usage::{Allocation, BlockUsage, BorrowedAddresses, ClusterUsage, PoolUsage, Usage};
use serde_json::{Map, Value as Json, json};

use super::{Address, Shown, block_of};

/// The document.
pub(super) fn of(shown: &Shown) -> Json {
    match shown {
        Shown::Pools(cluster, with_blocks) => pools(cluster, *with_blocks),
        Shown::Address(address) => of_address(address),
        Shown::Borrowed(found) => borrowed(found),
        Shown::Configuration(config) => configuration(config),
    }
}

fn pools(cluster: &ClusterUsage, with_blocks: bool) -> Json {
    let pool = |pool: &PoolUsage| {
        let mut out = json!({"name": pool.pool.name, "cidr": pool.pool.cidr.to_string(), "disabled": pool.pool.disabled});
        extend(&mut out, counts(&pool.usage));
        if with_blocks {
            out["blocks"] = pool.blocks.iter().map(block).collect();
        }
        out
    };
    let mut out = json!({"pools": cluster.pools.iter().map(pool).collect::<Vec<_>>()});
    if with_blocks {
        out["blocksWithoutPool"] = cluster.orphans.iter().map(block).collect();
    }
    let orphaned: u128 = cluster.orphans.iter().map(|block| block.usage.in_use).sum();
    out["inUseWithoutPool"] = number(orphaned);
    out
}

fn block(block: &BlockUsage) -> Json {
    let mut out = json!({"cidr": block.cidr.to_string(), "affinity": block.affinity.as_deref()});
    extend(&mut out, counts(&block.usage));
    out
}

fn counts(usage: &Usage) -> Json {
    json!({
        "total": number(usage.total),
        "inUse": number(usage.in_use),
        "cooling": number(usage.cooling),
        "reserved": number(usage.reserved),
        "free": number(usage.free),
    })
}

fn extend(out: &mut Json, more: Json) {
    if let (Json::Object(out), Json::Object(more)) = (out, more) {
        out.extend(more);
    }
}

fn number(count: u128) -> Json {
    match u64::try_from(count) {
        Ok(count) => count.into(),
        Err(_) => count.to_string().into(),
    }
}

fn of_address(Address { addr, allocation, pool }: &Address) -> Json {
    let mut out = Map::new();
    out.insert("address".into(), addr.to_string().into());
    let status = match allocation {
        Allocation::None => "free",
        Allocation::Cooling { .. } => "cooling",
        Allocation::Assigned { .. } => "assigned",
    };
    out.insert("status".into(), status.into());
    out.insert("pool".into(), pool.as_ref().map(|pool| pool.name.as_str()).into());
    out.insert("block".into(), block_of(allocation).map(|block| block.to_string()).into());
    match allocation {
        Allocation::None => {}
        Allocation::Cooling { since, .. } => drop(out.insert("releasedAt".into(), since.to_string().into())),
        Allocation::Assigned { attribute, sequence, .. } => {
            out.insert("handle".into(), attribute.handle_id.as_deref().into());
            out.insert("sequenceNumber".into(), (*sequence).into());
            out.insert("owner".into(), json!(attribute.owner));
            out.insert("alternateOwner".into(), json!(attribute.alternate_owner));
        }
    }
    Json::Object(out)
}

fn borrowed(found: &BorrowedAddresses) -> Json {
    let one = |one: &ipam::usage::Borrowed| {
        json!({
            "address": one.addr.to_string(),
            "node": one.node,
            "block": one.block.to_string(),
            "blockOwner": one.owner,
            "type": one.kind,
            "allocatedTo": one.user,
        })
    };
    json!({
        "borrowed": found.addresses.iter().map(one).collect::<Vec<_>>(),
        "withoutNode": found.without_node,
    })
}

fn configuration(config: &IpamConfig) -> Json {
    let persistence = match &config.persistence {
        Some(Persistence::Enabled) => Json::from("Enabled"),
        Some(Persistence::Disabled) => Json::from("Disabled"),
        Some(Persistence::Odd(odd)) => Json::from(odd.to_string()),
        None => Json::Null,
    };
    json!({
        "strictAffinity": config.strict_affinity,
        "autoAllocateBlocks": config.auto_allocate_blocks,
        "maxBlocksPerHost": config.max_blocks_per_host,
        "kubeVirtVMAddressPersistence": persistence,
        "ipCooldownSeconds": config.cooldown_seconds,
    })
}
