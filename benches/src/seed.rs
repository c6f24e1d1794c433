//! Stores to measure on, filled as the allocator would have filled them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use api::{
    Affinity, AffinityState, Attribute, Block, BlockCidr, Handle, HandleId, Key, Kind, Owner, Resource, Value,
};
use store::sqlite::{SqliteOptions, SqliteStore};
use store::{Batch, Expect, Store};

/// The node of the measured requests. Its block is empty in every store, so the request is the same in all of
/// them.
pub const EMPTY_NODE: &str = "node-0";

/// A node whose block is in use, in a large store.
pub const USED_NODE: &str = "node-4";

/// How many writes one commit has.
const AT_ONCE: usize = 4_000;

/// Makes a store with one pool and `nodes` nodes. Each node has a block with `used` addresses in use.
pub fn store(path: &Path, nodes: u32, used: u32) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let store = SqliteStore::open(path, SqliteOptions::default())?;
    let mut batch = Batch::new();
    let pool = serde_json::json!({"spec": {"cidr": "10.0.0.0/8", "ipipMode": "Always", "natOutgoing": true, "nodeSelector": "all()"}});
    put(&mut batch, Kind::IPPool, "pool", pool)?;
    for number in 0..nodes {
        node(&mut batch, number, if number == 0 { 0 } else { used })?;
        if batch.writes.len() >= AT_ONCE {
            commit(&runtime, &store, std::mem::take(&mut batch))?;
        }
    }
    commit(&runtime, &store, batch)
}

fn commit(runtime: &tokio::runtime::Runtime, store: &SqliteStore, batch: Batch) -> Result<()> {
    let report = runtime.block_on(store.commit(&batch, Duration::from_secs(60)))?;
    ensure!(report.is_applied(), "the store refused to be filled: {:?}", report.refusal());
    Ok(())
}

fn put(batch: &mut Batch, kind: Kind, name: &str, mut document: serde_json::Value) -> Result<()> {
    document["metadata"] = serde_json::json!({"name": name});
    let resource = Resource::from_json(kind, document)?;
    batch.put(resource.key(), Expect::Absent, Value::Resource(resource));
    Ok(())
}

fn node(batch: &mut Batch, number: u32, used: u32) -> Result<()> {
    let name = format!("node-{number}");
    put(batch, Kind::Node, &name, serde_json::json!({"spec": {}, "status": {}}))?;
    let first = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 0, 0, 0)) + number * 64);
    let cidr = BlockCidr::holding(IpAddr::V4(first), 26).context("a block")?;
    let owner = Owner::Host(name.clone());
    let affinity = Value::Affinity(Affinity::new(AffinityState::Confirmed));
    batch.put(Key::Affinity { owner: owner.clone(), block: cidr }, Expect::Absent, affinity);
    let mut block = Block {
        cidr,
        affinity: Some(owner.affinity_text().into()),
        affinity_claim_time: Some(api::Timestamp::from_second(1_785_578_400)?),
        allocations: vec![None; 64],
        unallocated: (used..64).collect(),
        attributes: Vec::new(),
        sequence_number: 1_785_578_400_123_456_789 + u64::from(used),
        sequence_numbers: Vec::new(),
        deleted: false,
        legacy_host_affinity: None,
        residue: None,
    };
    for ordinal in 0..used {
        let id = format!("net.{number:032x}{ordinal:032x}");
        let owner = BTreeMap::from([
            ("namespace".to_string(), "default".to_string()),
            ("node".to_string(), name.clone()),
            ("pod".to_string(), format!("pod-{number}-{ordinal}")),
            ("timestamp".to_string(), "2026-08-01 10:00:03.123456789 +0000 UTC".to_string()),
        ]);
        block.attributes.push(Arc::new(Attribute {
            handle_id: Some(id.clone()),
            owner,
            ..Attribute::default()
        }));
        block.allocations[ordinal as usize] = Some(ordinal);
        block.sequence_numbers.push((ordinal, 1_785_578_400_123_456_789 + u64::from(ordinal)));
        let handle = Handle { blocks: BTreeMap::from([(cidr, 1)]), deleted: false };
        batch.put(
            Key::Handle(HandleId::new(&id).context("a handle")?),
            Expect::Absent,
            Value::Handle(handle),
        );
    }
    batch.put(Key::Block(cidr), Expect::Absent, Value::Block(block));
    Ok(())
}
