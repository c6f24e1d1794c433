//! A large cluster in the embedded store.

#[path = "../shared/large.rs"]
mod shared;

use std::process::Command;
use std::time::Duration;

use cluster_data::Size;
use store::sqlite::{SqliteOptions, SqliteStore};
use store::{Batch, Expect, Store};

use crate::world::World;

/// How many writes one commit has.
const AT_ONCE: usize = 4_000;

fn fill(world: &World, size: Size) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let store = SqliteStore::open(world.path("rackpool.db"), SqliteOptions::default()).unwrap();
    let commit = |batch: Batch| {
        let report = runtime.block_on(store.commit(&batch, Duration::from_secs(60))).unwrap();
        assert!(report.is_applied(), "{:?}", report.refusal());
    };
    let mut batch = Batch::new();
    for (key, value) in cluster_data::records(size) {
        batch.put(key, Expect::Absent, value);
        if batch.writes.len() == AT_ONCE {
            commit(std::mem::take(&mut batch));
        }
    }
    commit(batch);
}

fn look(size: Size) {
    let world = World::new();
    fill(&world, size);
    shared::look(size, || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_calicoctl"));
        command.env_clear().envs(world.variables());
        command
    });
}

/// Looks at the whole cluster take no more memory than they may.
#[test]
fn a_large_cluster_is_looked_at_in_little_memory() {
    look(Size::LARGE);
}
