//! Pools with overlapping networks, and the deletion and splitting of pools.

use std::time::Duration;

use api::{Affinity, AffinityState, Block, BlockCidr, Key, Kind, Owner, Value};
use serde_json::json;
use store::{MemoryStore, ReadSet};

use crate::common::{Fixed, allocation_keys, assign, client, id, pool, resource, run, stored};

#[test]
fn every_clash_is_told() {
    let (store, effects) = (MemoryStore::new(), Fixed::default());
    let client = client(&store, &effects);
    let disabled = resource(Kind::IPPool, "a", json!({"cidr": "10.0.0.0/24", "disabled": true}));
    run(client.create(&disabled)).unwrap();
    run(client.create(&pool("b", "10.0.1.0/24"))).unwrap();
    let error = run(client.create(&pool("c", "10.0.0.0/16"))).unwrap_err().to_string();
    assert!(error.contains("IPPool(c) CIDR overlaps with IPPool(a) CIDR 10.0.0.0/24"), "{error}");
    assert!(error.contains("IPPool(c) CIDR overlaps with IPPool(b) CIDR 10.0.1.0/24"), "{error}");
    let same = run(client.create(&pool("b", "10.0.1.0/24"))).unwrap_err();
    assert_eq!(same.to_string(), "resource already exists: IPPool(b) with error: <nil>");
}

#[test]
fn blocks_of_another_size_are_in_the_way() {
    let (store, effects) = (MemoryStore::new(), Fixed::default());
    let client = client(&store, &effects);
    run(client.create(&pool("a", "10.0.0.0/24"))).unwrap();
    assign(&store, &effects, "n1", "h1", 1);
    run(client.delete(&id(Kind::IPPool, "a"), None)).unwrap();
    let other = resource(Kind::IPPool, "b", json!({"cidr": "10.0.0.0/16", "blockSize": 26}));
    let error = run(client.create(&other)).unwrap_err().to_string();
    assert!(error.contains("IPPool.Spec.BlockSize = '26' (IPPool blocksSize conflicts"), "{error}");
    run(client.create(&pool("b", "10.0.0.0/16"))).unwrap();
}

#[test]
fn a_deleted_pool_leaves_used_blocks_without_owner_and_no_others() {
    let (store, effects) = (MemoryStore::new(), Fixed::default());
    let client = client(&store, &effects);
    run(client.create(&pool("a", "10.0.0.0/24"))).unwrap();
    let addresses = assign(&store, &effects, "n1", "h1", 5);
    let last = addresses[4];
    let planner =
        ipam::ReleaseIps::new(vec![ipam::ReleaseIp { addr: last, handle: None, sequence: None }]).planner();
    run(ipam::run(&store, &effects, planner, crate::common::WITHIN)).unwrap();
    run(client.delete(&id(Kind::IPPool, "a"), None)).unwrap();
    assert_eq!(stored(&store, &id(Kind::IPPool, "a")), None);
    let blocks: Vec<Block> = store.records().iter().filter_map(|r| r.block().cloned()).collect();
    assert_eq!(blocks.len(), 1, "the empty block is gone");
    assert_eq!(blocks[0].affinity, None);
    assert!(allocation_keys(&store).iter().all(|key| !key.contains("/host/")), "no affinity is left");
    let handle = ipam::ReleaseByHandle::new(vec![api::HandleId::new("h1").unwrap()], None).planner();
    run(ipam::run(&store, &effects, handle, crate::common::WITHIN)).unwrap();
    assert_eq!(allocation_keys(&store), Vec::<String>::new(), "what was in use goes without its pool too");
}

/// A release stopped half-way: the affinity is marked for deletion, and the block is empty and has no owner.
/// Deleting the pool removes both, and so does deleting the node.
#[test]
fn an_empty_block_that_was_given_up_halfway_goes() {
    for kind in [Kind::IPPool, Kind::Node] {
        let (store, effects) = (MemoryStore::new(), Fixed::default());
        let client = client(&store, &effects);
        run(client.create(&pool("n1", "10.0.0.0/24"))).unwrap();
        run(client.create(&resource(Kind::Node, "n1", json!({})))).unwrap();
        let owner = Owner::Host("n1".to_string());
        let cidr: BlockCidr = "10.0.0.64/26".parse().unwrap();
        let mut block = ipam::block::create(cidr, &owner, None, store::Effects::now(&effects));
        ipam::block::disown(&mut block);
        store.put(Key::Block(cidr), Value::Block(block));
        let leaving = Value::Affinity(Affinity::new(AffinityState::PendingDeletion));
        store.put(Key::Affinity { owner, block: cidr }, leaving);
        assert_eq!(allocation_keys(&store).len(), 2);
        run(client.delete(&id(kind, "n1"), None)).unwrap();
        assert_eq!(allocation_keys(&store), Vec::<String>::new(), "{kind}");
    }
}

/// This client refuses a second pool on the same network, but Kubernetes' own tools can create one.
#[test]
fn the_blocks_of_an_overlapping_pool_keep_their_owners() {
    let (store, effects) = (MemoryStore::new(), Fixed::default());
    let client = client(&store, &effects);
    run(client.create(&pool("a", "10.0.0.0/28"))).unwrap();
    assign(&store, &effects, "n1", "h1", 1);
    let wide = api::defaults::on_write(&pool("wide", "10.0.0.0/16"));
    store.put(wide.key(), Value::Resource(wide));
    let before = allocation_keys(&store);
    run(client.delete(&id(Kind::IPPool, "wide"), None)).unwrap();
    assert_eq!(allocation_keys(&store), before);
    assert_eq!(stored(&store, &id(Kind::IPPool, "wide")), None);
}

#[test]
fn whoever_claims_late_is_swept_up() {
    let (store, effects) = (MemoryStore::new(), Fixed::default());
    run(client(&store, &effects).create(&pool("a", "10.0.0.0/24"))).unwrap();
    // An allocator that sets no guard claims a block after the pool is gone.
    let late = store.clone();
    let hook: store::testing::fault::Hook = std::sync::Arc::new(move |step| {
        let late = late.clone();
        Box::pin(async move {
            let gone = late.records().iter().all(|r| r.key != Key::global(Kind::IPPool, "a"));
            if matches!(step, store::testing::fault::Step::AfterWrite(_)) && gone {
                claim(&late, "10.0.0.16/30");
            }
        })
    });
    let store = store::testing::fault::Faulty::new(store, Default::default()).with_hook(hook);
    run(client(&store, &effects).delete(&id(Kind::IPPool, "a"), None)).unwrap();
    let left = allocation_keys(store.inner());
    assert!(left.iter().all(|key| !key.contains("10.0.0.16")), "{left:?}");
}

/// Lists an affinity that is not found by its name, as Kubernetes does where an object's name is not the one
/// that its content gives.
struct Misnamed(MemoryStore, Key);

impl store::Store for Misnamed {
    type Watch = <MemoryStore as store::Store>::Watch;
    async fn read(&self, set: &ReadSet, within: Duration) -> Result<store::View, store::StoreError> {
        let mut view = self.0.read(set, within).await?;
        if set.scopes.iter().any(|read| read.scope.holds(&self.1)) {
            view.insert(self.1.clone(), store::Slot::Key(api::Revision::from(7)));
        }
        Ok(view)
    }
    async fn commit(
        &self,
        batch: &store::Batch,
        within: Duration,
    ) -> Result<store::Report, store::StoreError> {
        self.0.commit(batch, within).await
    }
    async fn watch(&self, scope: store::Scope) -> Result<Self::Watch, store::StoreError> {
        self.0.watch(scope).await
    }
}

/// The deletion ends, and says which affinity is in the way.
#[test]
fn an_affinity_that_cannot_be_released_ends_the_deletion() {
    let (memory, effects) = (MemoryStore::new(), Fixed::default());
    run(client(&memory, &effects).create(&pool("a", "10.0.0.0/24"))).unwrap();
    let affinity = |block: &str| {
        let owner = Owner::Host("n1".to_string());
        Key::Affinity { owner, block: block.parse().unwrap() }
    };
    let store = Misnamed(memory.clone(), affinity("10.0.0.16/30"));
    let error = run(client(&store, &effects).delete(&id(Kind::IPPool, "a"), None)).unwrap_err().to_string();
    for part in ["n1", "10.0.0.16/30", "10.0.0.0/24", "another name"] {
        assert!(error.contains(part), "{part} {error}");
    }
    assert!(stored(&memory, &id(Kind::IPPool, "a")).is_some(), "the pool stays");
    let store = Misnamed(memory.clone(), affinity("10.9.0.16/30"));
    run(client(&store, &effects).delete(&id(Kind::IPPool, "a"), None)).unwrap();
    assert_eq!(stored(&memory, &id(Kind::IPPool, "a")), None, "another pool's does not matter");
}

fn claim(store: &MemoryStore, cidr: &str) {
    let block: BlockCidr = cidr.parse().unwrap();
    let owner = Owner::Host("late".to_string());
    let key = Key::Affinity { owner: owner.clone(), block };
    // Only once, because the sweep deletes in several writes.
    if store.records().iter().any(|r| r.key == Key::IpamConfig) {
        return;
    }
    store.put(Key::IpamConfig, Value::IpamConfig(api::IpamConfig::default()));
    store.put(key, Value::Affinity(Affinity::new(AffinityState::Confirmed)));
    let now = api::Timestamp::new(1_785_578_400, 0).unwrap();
    store.put(Key::Block(block), Value::Block(ipam::block::create(block, &owner, None, now)));
}

#[test]
fn a_split_pool_keeps_its_addresses_and_owners() {
    let (store, effects) = (MemoryStore::new(), Fixed::default());
    let client = client(&store, &effects);
    run(client.create(&pool("a", "10.0.0.0/24"))).unwrap();
    assign(&store, &effects, "n1", "h1", 5);
    let before = allocation_keys(&store);
    let all = store.records();
    let refused = run(client.split_pool(&id(Kind::IPPool, "a"), 128)).unwrap().unwrap_err();
    assert!(
        refused
            .to_string()
            .starts_with("error using unsafe create to make split pool with cidr 10.0.0.0/31: ")
    );
    assert_eq!(store.records(), all, "a split that fails changes nothing");
    let parts = run(client.split_pool(&id(Kind::IPPool, "a"), 4)).unwrap().unwrap();
    assert_eq!(parts.len(), 4);
    assert_eq!(allocation_keys(&store), before);
    assert_eq!(stored(&store, &id(Kind::IPPool, "a")), None);
    let last = stored(&store, &id(Kind::IPPool, "split-a-3")).unwrap();
    assert_eq!(last.text(&["spec", "cidr"]), Some("10.0.0.192/26"));
    assign(&store, &effects, "n1", "h2", 1);
}

/// Without transactions, the parts are created before the pool is deleted. If the split stops in between, the
/// next try uses these parts.
#[test]
fn a_split_that_breaks_off_is_finished_by_the_next() {
    for writes in 0..5 {
        let (memory, effects) = (MemoryStore::new(), Fixed::default());
        run(client(&memory, &effects).create(&pool("a", "10.0.0.0/24"))).unwrap();
        let plan = store::testing::fault::FaultPlan::one_by_one()
            .fault(0, store::testing::fault::CommitFault::Crash { writes });
        let store = store::testing::fault::Faulty::new(memory.clone(), plan);
        let split = |store| run(client(store, &effects).split_pool(&id(Kind::IPPool, "a"), 4));
        split(&store).unwrap_err();
        store.revive();
        assert!(stored(&memory, &id(Kind::IPPool, "a")).is_some() || writes == 5, "{writes}");
        split(&store).unwrap().unwrap();
        let pools = run(client(&memory, &effects).list(Kind::IPPool, None)).unwrap().items;
        assert_eq!(pools.len(), 4, "{writes}");
    }
}
