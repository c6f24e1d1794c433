//! Stores to measure on, filled as the allocator would have filled them.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
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
    let (key, pool) = cluster_data::pool();
    batch.put(key, Expect::Absent, pool);
    for number in 0..nodes {
        let of_node = cluster_data::block(number, if number == 0 { 0 } else { used });
        for (key, value) in std::iter::once(cluster_data::node(number)).chain(of_node) {
            batch.put(key, Expect::Absent, value);
        }
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
