//! Blocks that change hands: one node gives a block up, another one claims it.

use std::time::Duration;

use api::{BlockCidr, Cidr, Owner};
use ipam::{ClaimAffinity, ReleaseAffinities, Which, run};
use setup::Clock;
use store::AnyStore;
use store::sqlite::{SqliteOptions, SqliteStore};

use crate::world::{Node, World};

const WITHIN: Duration = Duration::from_secs(20);

/// Makes a node the owner of a free block.
pub fn claim(world: &World, block: &str, node: &Node) {
    let (cidr, owner) = (block.parse::<Cidr>().unwrap(), Owner::Host(node.name.clone()));
    with_store(world, async |store, clock| {
        let claim = ClaimAffinity::new(cidr, owner).planner();
        let claimed = run(store, clock, claim, WITHIN).await.unwrap();
        assert_eq!((claimed.claimed.len(), claimed.failed.len()), (1, 0), "{claimed:?}");
    });
}

/// A node gives an empty block up.
pub fn release(world: &World, block: &str, node: &Node) {
    let (cidr, owner) = (block.parse::<BlockCidr>().unwrap(), Owner::Host(node.name.clone()));
    with_store(world, async |store, clock| {
        let release = ReleaseAffinities { which: Which::One(owner, cidr), must_be_empty: true };
        let released = run(store, clock, release.planner(), WITHIN).await.unwrap();
        assert_eq!(released.released, [cidr], "{released:?}");
    });
}

fn with_store(world: &World, act: impl AsyncFnOnce(&AnyStore, &Clock)) {
    let store = SqliteStore::open(world.store_file(), SqliteOptions::default()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(act(&AnyStore::Sqlite(store), &Clock::start()));
}
